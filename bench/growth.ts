// What a gateway costs before it has anything to do, and whether that grows with what is configured or connected.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { clientAccount, KIB, row, say, type GatewayOptions, type Rig } from './rig.ts'
import type { BenchClient } from './client.ts'
import type { Measured } from './processes.ts'

const many = 10_000
/** 10,000 clients, and as many buckets with a policy of their own. */
const large: GatewayOptions = {
  sections: {
    clients: [clientAccount, ...Array.from({ length: many }, (_, i) => ({ accessKeyId: `client-${i}`, secretAccessKey: `secret-of-client-${i}` }))],
    buckets: {
      off: { encryption: 'off' },
      opaque: { etag: 'opaque' },
      ...Object.fromEntries(Array.from({ length: many }, (_, i) => [`bucket-${i}`, { etag: i % 2 === 0 ? 'md5' : 'opaque' }]))
    }
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** From the start of a process until it listens, and its memory a second later. */
async function starts(rig: Rig, endpoint: string, variants: readonly (readonly [name: string, options: GatewayOptions])[], rounds: number): Promise<void> {
  const seen = new Map(variants.map(([name]) => [name, { wall: [] as number[], cpu: [] as number[], rss: [] as number[] }]))
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, options] of variants) {
      const begun = performance.now()
      const gateway = await rig.gateway(endpoint, options)
      const figures = seen.get(name)
      figures?.wall.push(performance.now() - begun)
      figures?.cpu.push(gateway.cpuSeconds() * 1000)
      await delay(1000)
      figures?.rss.push(gateway.rssMiB())
    }
  }
  say(`From the start of a process until it listens, the median of ${rounds}; resident memory a second later`)
  row('', 'ms', 'ms of CPU', 'MiB')
  for (const [name, { wall, cpu, rss }] of seen) row(name, median(wall).toFixed(0), median(cpu).toFixed(0), median(rss).toFixed(0))
  say()
}

async function gets(client: BenchClient, count: number): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (let i = next++; i < count; i = next++) {
      const { status } = await client.send('GET', '/opaque/growth')
      if (status !== 200) throw new Error(`GET: ${status}`)
    }
  }))
}

/** Connections on which nothing is sent. @returns KiB of resident memory for each */
async function idle(gateway: Measured, count: number): Promise<number> {
  const before = gateway.rssMiB()
  const sockets: Socket[] = []
  const { hostname, port } = new URL(gateway.endpoint)
  for (let i = 0; i < count; i += 1) {
    sockets.push(connect(Number(port), hostname).on('error', () => undefined))
    if (i % 250 === 249) await delay(50)
  }
  await delay(500)
  const each = (gateway.rssMiB() - before) * 1024 / count
  for (const socket of sockets) socket.destroy()
  return each
}

export async function growth(rig: Rig, quick: boolean): Promise<void> {
  const [rounds, count, connections] = quick ? [3, 3000, 2000] : [7, 10_000, 5000]
  const { endpoint } = await rig.store()
  const folder = mkdtempSync(join(tmpdir(), 'sealgate-package-'))
  try {
    const made = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '.ci/package.ts', '--to', folder], { stdio: 'inherit' })
    if (made.status !== 0) throw new Error('The package could not be made.')
    for (const name of ['node_modules', 'package.json', 'config']) symlinkSync(resolve(name), join(folder, name))
    const main = join(folder, 'dist', 'main.js')
    await starts(rig, endpoint, [['sources', {}], ['package', { main }], [`package, ${many} clients and buckets`, { main, ...large }]], rounds)
    await requests(rig, endpoint, [['1 client, 3 buckets', { main }], [`${many} clients and buckets`, { main, ...large }]], { rounds, count })
    const gateway = await rig.gateway(endpoint, { main, sections: { limits: { connections: connections + 100 } } })
    await gets(rig.client(gateway.endpoint), 2000)
    say(`${connections} idle connections: ${(await idle(gateway, connections)).toFixed(1)} KiB each`)
    say()
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function requests(
  rig: Rig,
  endpoint: string,
  variants: readonly (readonly [name: string, options: GatewayOptions])[],
  { rounds, count }: { readonly rounds: number; readonly count: number }
): Promise<void> {
  const running = await Promise.all(variants.map(async ([name, options]) => {
    const gateway = await rig.gateway(endpoint, options)
    return { name, gateway, client: rig.client(gateway.endpoint), costs: [] as number[] }
  }))
  await running[0]?.client.send('PUT', '/opaque/growth', { body: Buffer.alloc(4 * KIB), size: 4 * KIB })
  for (const { client } of running) await gets(client, 2 * count)
  for (let round = 0; round < rounds; round += 1) {
    for (const { gateway, client, costs } of running) {
      const before = gateway.cpuSeconds()
      await gets(client, count)
      costs.push((gateway.cpuSeconds() - before) * 1e6 / count)
    }
  }
  say(`GET of 4 KiB, microseconds of CPU for each, the median of ${rounds} × ${count}`)
  const [first] = running
  for (const { name, costs } of running) row(name, median(costs).toFixed(0), (median(costs) / median(first?.costs ?? [])).toFixed(2))
  say()
}
