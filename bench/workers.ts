// CPU per request with two workers, against one.
import { clientAccount, KIB, say, type Rig } from './rig.ts'
import type { BenchClient } from './client.ts'

const atOnce = 64

async function load(client: BenchClient, method: 'GET' | 'PUT', count: number): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let i = next++; i < count; i = next++) {
      const path = `/opaque/workers-${i % 500}`
      const { status } = await client.send(method, path, method === 'PUT' ? { body: Buffer.alloc(4 * KIB, 1), size: 4 * KIB } : {})
      if (status !== 200) throw new Error(`${method} ${path}: ${status}`)
    }
  }))
}

export async function workers(rig: Rig, quick: boolean): Promise<void> {
  const [count, warm, rounds] = quick ? [4000, 4000, 3] : [6000, 30_000, 6]
  const store = await rig.store()
  const gateways = await Promise.all([1, 2].map(async (processes) => {
    const server = await rig.gateway(store.endpoint, { workers: processes })
    return { server, client: rig.client(server.endpoint, clientAccount, atOnce), best: Infinity }
  }))
  for (const method of ['PUT', 'GET'] as const) {
    // Each worker compiles for itself what it runs often: two take twice as long to be warm.
    for (const { client } of gateways) await load(client, method, warm)
    for (const gateway of gateways) gateway.best = Infinity
    for (let round = 0; round < rounds; round += 1) {
      for (const gateway of gateways) {
        const before = gateway.server.cpuSeconds()
        await load(gateway.client, method, count)
        // The least of several rounds is what the machine disturbed least.
        gateway.best = Math.min(gateway.best, gateway.server.cpuSeconds() - before)
      }
    }
    const [one = 0, two = 0] = gateways.map(({ best }) => best)
    say(
      `4 KiB ${method}, ${atOnce} at once: ${(count / one).toFixed(0)} per CPU-second with 1 worker, ${(count / two).toFixed(0)} with 2; CPU per request × ${
        (two / one).toFixed(2)
      }`
    )
  }
}
