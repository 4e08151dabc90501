// Small objects: requests per CPU-second of the gateway, and the latency it adds at half of its load.
import { randomBytes } from 'node:crypto'
import { clientAccount, KIB, row, say, storeAccount, type Rig } from './rig.ts'
import { Pacer } from './pacer.ts'
import type { Account, BenchClient } from './client.ts'
import type { Measured } from './processes.ts'

interface Target {
  readonly name: string
  readonly server: Measured
  readonly account: Account
  readonly bucket: string
  readonly client: BenchClient
}

type Method = 'PUT' | 'GET'

const body = randomBytes(4 * KIB)
const atOnce = 16
/** Requests per CPU-second that the gateway is to reach: half of it is the load at which latency is looked at first. */
const aim: Readonly<Record<Method, number>> = { PUT: 1800, GET: 2500 }

function request({ client, bucket }: Target, method: Method, i: number): Promise<{ readonly status: number }> {
  return method === 'PUT' ? client.send('PUT', `/${bucket}/small-${i % 100}`, { body, size: body.length }) : client.send('GET', `/${bucket}/small-${i % 100}`)
}

/** Closed loop: `count` requests, 16 at once. @returns seconds of CPU of the server. */
async function load(target: Target, method: Method, count: number): Promise<number> {
  const cpu = target.server.cpuSeconds()
  let next = 0
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let i = next++; i < count; i = next++) {
      const { status } = await request(target, method, i)
      if (status !== 200) throw new Error(`${target.name} ${method}: ${status}`)
    }
  }))
  return target.server.cpuSeconds() - cpu
}

function quantile(sorted: Float64Array, q: number): string {
  return (sorted[Math.floor(sorted.length * q)] ?? Number.NaN).toFixed(2)
}

/** Open loop: a request every 1/rate seconds, whether earlier ones are back or not; the first quarter warms client and server up. */
async function latency({ name, server, bucket, client }: Target, method: Method, rate: number, seconds: number): Promise<void> {
  const requests = await Promise.all(Array.from({ length: 100 }, async (_, i) => client.wire(method, `/${bucket}/small-${i}`, method === 'PUT' ? body : null)))
  const pacer = new Pacer(server.endpoint)
  await pacer.run(requests, rate, seconds / 4)
  const cpu = server.cpuSeconds()
  const times = await pacer.run(requests, rate, seconds)
  const share = (server.cpuSeconds() - cpu) / seconds
  pacer.close()
  row(`${method} ${name}`, String(rate), `${(share * 100).toFixed(0)} %`, quantile(times, 0.5), quantile(times, 0.99), quantile(times, 0.999))
}

export async function small(rig: Rig, quick: boolean): Promise<void> {
  const [count, warm, rounds, seconds] = quick ? [4000, 8000, 2, 8] : [10_000, 20_000, 3, 20]
  const store = await rig.store()
  const relay = await rig.server('relay', store.endpoint)
  const reference = await rig.server('reference', store.endpoint)
  const gateway = await rig.gateway(store.endpoint)
  const target = (name: string, server: Measured, bucket: string, account: Account): Target => ({
    name,
    server,
    bucket,
    account,
    client: rig.client(server.endpoint, account)
  })
  const direct = target('store', store, 'off', storeAccount)
  const sealed = target('gateway, sealed, opaque', gateway, 'opaque', clientAccount)
  const targets = [
    target('bare undici relay', relay, 'off', storeAccount),
    target('Fastify, undici, 2 signatures, 1 decryption', reference, 'off', clientAccount),
    target('gateway, passing through', gateway, 'off', clientAccount),
    sealed,
    target('gateway, sealed, md5', gateway, 'md5', clientAccount)
  ]
  say(`Objects of 4 KiB, ${atOnce} at once, after ${warm} to warm up; requests per CPU-second, the best of ${rounds} × ${count}`)
  const rates = new Map<Method, number>()
  for (const method of ['PUT', 'GET'] as const) {
    const best = new Map<Target, number>()
    for (const each of targets) {
      await load(each, 'PUT', 100)
      await load(each, method, warm)
    }
    for (let round = 0; round < rounds; round += 1) {
      for (const each of targets) best.set(each, Math.max(best.get(each) ?? 0, count / await load(each, method, count)))
    }
    row(method, 'per CPU-s')
    for (const [each, rate] of best) row(each.name, rate.toFixed(0))
    rates.set(method, best.get(sealed) ?? 0)
    say()
  }
  await load(direct, 'PUT', 100)
  row(`Half of the aim, and half of the above, for ${seconds} s`, 'per second', 'its CPU', 'p50 ms', 'p99 ms', 'p99.9 ms')
  for (const [method, full] of rates) {
    // Client, store and gateway share the machine: at half of the aim a slow one would only queue.
    for (const rate of new Set([Math.min(aim[method], full) / 2, full / 2].map(Math.floor))) {
      for (const each of [direct, sealed]) await latency(each, method, rate, seconds)
    }
  }
  say()
}
