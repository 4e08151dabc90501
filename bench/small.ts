// Small objects: requests per CPU-second of the gateway, and the latency it adds at half of its load.
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { clientAccount, KIB, row, say, storeAccount, type Rig } from './rig.ts'
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

/** Open loop: a request every 1/rate seconds, whether earlier ones are back or not. @returns sorted milliseconds. */
async function paced(target: Target, method: Method, rate: number, seconds: number): Promise<number[]> {
  const times: number[] = []
  const running: Promise<void>[] = []
  const from = performance.now()
  for (let i = 0; i < rate * seconds; i += 1) {
    const due = from + i * 1000 / rate
    while (performance.now() < due) await delay(Math.max(0, due - performance.now() - 1))
    const sent = performance.now()
    running.push(request(target, method, i).then(() => { times.push(performance.now() - sent) }))
  }
  await Promise.all(running)
  return times.sort((a, b) => a - b)
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.floor(sorted.length * q)] ?? Number.NaN
}

async function latency(target: Target, method: Method, rate: number, seconds: number): Promise<void> {
  const cpu = target.server.cpuSeconds()
  const times = await paced(target, method, rate, seconds)
  const share = (target.server.cpuSeconds() - cpu) / seconds
  row(`${method} ${target.name}`, String(rate), `${(share * 100).toFixed(0)} %`, quantile(times, 0.5).toFixed(2), quantile(times, 0.99).toFixed(2))
}

export async function small(rig: Rig, quick: boolean): Promise<void> {
  const [count, warm, rounds, seconds] = quick ? [4000, 8000, 2, 5] : [10_000, 20_000, 3, 20]
  const store = await rig.store()
  const relay = await rig.server('relay', store.endpoint)
  const reference = await rig.server('reference', store.endpoint)
  const gateway = await rig.gateway(store.endpoint)
  const target = (name: string, server: Measured, bucket: string, account: Account): Target =>
    ({ name, server, bucket, account, client: rig.client(server.endpoint, account) })
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
  row(`Half of the aim, and half of the above, for ${seconds} s`, 'per second', 'its CPU', 'p50 ms', 'p99 ms')
  for (const [method, full] of rates) {
    for (const rate of [aim[method] / 2, Math.floor(full / 2)]) for (const each of [direct, sealed]) await latency(each, method, rate, seconds)
  }
  say()
}
