// CPU seconds per request with one and with two workers: node bench/workers.ts
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { createKeyring } from '../src/keys/keyring-file.ts'
import { BenchClient, type Account } from './client.ts'
import { cpuSecondsOf, startMeasured } from './processes.ts'

const storeAccount: Account = { accessKeyId: 'store', secretAccessKey: 'store-secret' }
const clientAccount: Account = { accessKeyId: 'client', secretAccessKey: 'client-secret' }
const requests = 4000
const atOnce = 64
const rounds = 6
const folder = mkdtempSync(join(tmpdir(), 'sealgate-workers-'))
await createKeyring(join(folder, 'keyring.json'), 'bench', new Date())
const store = await startMeasured('bench/store.ts', ['memory'])

interface Started {
  readonly client: BenchClient
  cpuSeconds(): number
  stop(): Promise<void>
}

async function start(workers: number): Promise<Started> {
  const config = join(folder, `${workers}.yaml`)
  writeFileSync(config, JSON.stringify({
    listen: { port: 0 }, upstream: { endpoint: store.endpoint, ...storeAccount }, clients: [clientAccount],
    keys: { main: { type: 'local', keyring: join(folder, 'keyring.json') } }, workers
  }))
  const child = spawn(process.execPath, ['src/main.ts', 'serve', '--config', config], { stdio: ['ignore', 'pipe', 'inherit'] })
  const wanted = workers === 1 ? 'listening' : 'workers listening'
  const lines = createInterface({ input: child.stdout })
  let port = 0
  for await (const line of lines) {
    const event = JSON.parse(line) as { msg: string; port: number }
    if (event.msg === wanted) {
      port = event.port
      break
    }
  }
  child.stdout.resume()
  const pid = child.pid ?? 0
  const pids = [pid, ...readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number)]
  return {
    client: new BenchClient(`http://127.0.0.1:${port}`, clientAccount, atOnce),
    cpuSeconds: () => pids.reduce((sum, each) => sum + cpuSecondsOf(each), 0),
    stop: async () => {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
  }
}

async function load(client: BenchClient, method: 'GET' | 'PUT'): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let i = next++; i < requests; i = next++) {
      const path = `/bench/${i % 500}`
      const body = method === 'PUT' ? { body: Buffer.alloc(4096, 1), size: 4096 } : {}
      const { status } = await client.send(method, path, body)
      if (status !== 200) throw new Error(`${method} ${path}: ${status}`)
    }
  }))
}

async function measure(one: Started, two: Started): Promise<void> {
  await one.client.send('PUT', '/bench', { size: 0 })
  for (const method of ['PUT', 'GET'] as const) {
    // Both are warm before the first round; the least of several rounds is what the machine did least disturb.
    const best = new Map<Started, number>()
    for (let round = 0; round <= rounds; round += 1) {
      for (const gateway of [one, two]) {
        const before = gateway.cpuSeconds()
        await load(gateway.client, method)
        if (round > 0) best.set(gateway, Math.min(best.get(gateway) ?? Infinity, gateway.cpuSeconds() - before))
      }
    }
    const [single = 0, double = 0] = [best.get(one), best.get(two)]
    process.stdout.write(`4 KiB ${method}: ${(requests / single).toFixed(0)} per CPU-second with 1 worker, ${(requests / double).toFixed(0)} with 2; ratio ${(double / single).toFixed(2)}\n`)
  }
}

const one = await start(1)
const two = await start(2)
try {
  await measure(one, two)
} finally {
  await Promise.all([one.stop(), two.stop(), store.stop()])
  rmSync(folder, { recursive: true })
}
process.exit(0)
