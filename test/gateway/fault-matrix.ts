// Scripts × every request the gateway makes for them × everything that can go wrong with it.
import { setTimeout as sleep } from 'node:timers/promises'
import { S3Client } from '@aws-sdk/client-s3'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { Bucket, scripts, WrongAnswer, type Script } from './fault-scripts.ts'
import { integrityFailures, settled } from './reading.ts'
import type { Fault } from '../support/faults.ts'
import type { SeenRequest } from '../support/rules.ts'

const firstByteMs = 1500

const on = (header: string, change: (value: string) => string): Fault => ({
  type: 'transform',
  // What a store says of its own writes it is believed: nobody else knows.
  change: (answer, { method }) => method === 'PUT' || method === 'POST' ? answer : ({ ...answer, headers: answer.headers.map(([name, value]) => name.toLowerCase() === header ? [name, change(value)] : [name, value]) })
})

/** Each kind of fault where it makes a difference: before, in the middle of, and after the work. */
export const faults: Readonly<Record<string, Fault>> = {
  'refused': { type: 'refuse' },
  'reset before': { type: 'reset', at: 'before' },
  'reset in the upload': { type: 'mid-upload', bytes: 1, then: 'reset' },
  'reset late in the upload': { type: 'mid-upload', bytes: 66_000, then: 'reset' },
  'reset after the work': { type: 'reset', at: 'after-request' },
  'reset in the head': { type: 'reset', at: 'mid-head' },
  'reset after the head': { type: 'reset', at: 'after-head' },
  'reset in the body': { type: 'reset', at: 'mid-body', bytes: 66_000 },
  'reset at the first byte': { type: 'reset', at: 'mid-body', bytes: 1 },
  'stalled before': { type: 'stall', at: 'before' },
  'stalled in the upload': { type: 'mid-upload', bytes: 1, then: 'stall' },
  'stalled after the work': { type: 'stall', at: 'after-request' },
  'stalled in the head': { type: 'stall', at: 'mid-head' },
  'stalled after the head': { type: 'stall', at: 'after-head' },
  'stalled in the body': { type: 'stall', at: 'mid-body', bytes: 30 },
  'cut': { type: 'truncate', bytes: 30 },
  'cut to nothing': { type: 'truncate', bytes: 0 },
  'no end but the connection\'s': { type: 'close-delimited' },
  'a little late': { type: 'delay', milliseconds: 30 },
  'too late': { type: 'delay', milliseconds: firstByteMs * 2 },
  '500': { type: 'error', status: 500, code: 'InternalError' },
  '503': { type: 'error', status: 503, code: 'SlowDown' },
  '403': { type: 'error', status: 403, code: 'SignatureDoesNotMatch' },
  '500 after the work': { type: 'lost-answer', status: 500, code: 'InternalError' },
  '503 after the work': { type: 'lost-answer', status: 503, code: 'SlowDown' },
  'longer than announced': { type: 'content-length', value: 10 },
  'shorter than announced': { type: 'content-length', value: 10_000_000 },
  'another range': { type: 'shift', by: 16 },
  'another Content-Range': on('content-range', (value) => value.replace(/\d+/, (first) => String(Number(first) + 1))),
  'another ETag': on('etag', () => '"00000000000000000000000000000000"'),
  'garbage': { type: 'garbage' },
  'garbage with a status line': { type: 'garbage', bytes: Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n') },
  'an answer too many': { type: 'extra', where: 'after-response', bytes: Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil') },
  'a redirect': { type: 'redirect', status: 307, location: 'http://127.0.0.1:1/elsewhere' },
  'a header twice': { type: 'headers', add: [['ETag', '"00000000000000000000000000000000"']] },
  'bad request': { type: 'answer', status: 400, body: 'no XML at all' }
}

export interface Case {
  readonly script: Script
  /** Which request of the gateway is hit, from 1. */
  readonly nth: number
  readonly fault: string
}

export interface Outcome {
  readonly acknowledged: boolean
  readonly problem: string | null
  /** False when the script makes fewer requests than `nth`. */
  readonly fired: boolean
}

/** A store and a gateway with little patience, for one case after the other. */
export class FaultRig {
  readonly #store: TestStore
  readonly #gateway: TestGateway
  /** Under fire: says what it is told, at once. */
  readonly #s3: S3Client
  /** Before and after: a connection that was broken just now must not count. */
  readonly #patient: S3Client
  readonly #name: string
  #runs = 0

  private constructor(store: TestStore, gateway: TestGateway, name: string) {
    this.#store = store
    this.#gateway = gateway
    this.#name = name
    this.#s3 = gateway.client()
    const { endpoint, accessKeyId, secretAccessKey } = gateway
    this.#patient = new S3Client({ endpoint, region: store.region, forcePathStyle: true, maxAttempts: 3, credentials: { accessKeyId, secretAccessKey } })
  }

  static async open(name: string): Promise<FaultRig> {
    const store = await startTestStore({ buckets: [Bucket], keepBodies: false, keepAliveMs: 500 })
    const gateway = await startTestGateway(store, {
      sections: { limits: { upstreamFirstByteSeconds: firstByteMs / 1000, minRate: 1024, minRateWindowSeconds: firstByteMs / 1000 } }
    })
    return new FaultRig(store, gateway, name)
  }

  /** How many requests a script makes when all is well. */
  async points(script: Script): Promise<number> {
    const run = this.#next()
    const state = await script.prepare(run)
    const rule = this.#store.rules.add({ when: { test: isWork }, nth: 1_000_000, fault: { type: 'refuse' } })
    await script.act(run, state)
    rule.remove()
    return rule.matched
  }

  async run({ script, nth, fault }: Case): Promise<Outcome> {
    const run = this.#next()
    await sleep(10)
    const calm = { ...run, s3: this.#patient }
    const state = await script.prepare(calm)
    const rule = this.#store.rules.add({ when: { test: isWork }, nth, fault: faults[fault]! })
    const problems: string[] = []
    const before = integrityFailures(this.#gateway)
    let acknowledged = false
    try {
      await within(20_000, script.act(run, state))
      acknowledged = true
    } catch (error) {
      // A row that did not verify is shown as it is stored: it opens in no other operation either.
      const unverified = integrityFailures(this.#gateway) > before && error instanceof WrongAnswer && error.message.startsWith('ETag')
      if ((error instanceof WrongAnswer && !unverified) || error instanceof Hanging) problems.push(`${error.constructor.name}: ${error.message}`)
      if (error instanceof Error && error.name === 'InternalError' && !fault.startsWith('500')) problems.push('answered as a fault of the gateway')
    }
    const { fired } = rule
    this.#store.rules.clear()
    await this.#store.listen()
    // A connection whose answer was whole to the gateway is idle to it, and dead or about to be.
    if (fault.startsWith('stalled')) this.#store.traffic.breakAll()
    if (fault.startsWith('reset')) await sleep(40)
    if (this.#busy()) await within(5000, this.#calm()).catch(() => problems.push('requests are still in flight'))
    try {
      const wrong = await within(20_000, script.check(calm, state, acknowledged))
      if (wrong !== undefined) problems.push(`${acknowledged ? 'acknowledged' : 'refused'}: ${wrong}`)
    } catch (error) {
      problems.push(`${acknowledged ? 'acknowledged' : 'refused'}, and afterwards: ${String(error)}`)
    }
    const problem = problems.length === 0 ? null : `${script.name}, request ${nth} ${fault}: ${problems.join('; ')}`
    return { acknowledged, fired: fired > 0, problem }
  }

  /** Closes down. @returns connections to the store that were left open though nothing was under way */
  async close(): Promise<number> {
    this.#s3.destroy()
    this.#patient.destroy()
    await settled(this.#store, 0)
    const { open } = this.#store.traffic
    await this.#gateway.close()
    await this.#store.close()
    return open
  }

  #next(): { s3: S3Client; id: string } {
    this.#runs += 1
    return { s3: this.#s3, id: `${this.#name}-${this.#runs}` }
  }

  #busy(): boolean {
    return this.#gateway.listener.counts().requestsInFlight > 0
  }

  async #calm(): Promise<void> {
    while (this.#busy()) await sleep(10)
  }
}

class Hanging extends Error {}

/** Health checks come when they come. */
function isWork({ method, bucket, key, query }: SeenRequest): boolean {
  return !(bucket === 'sealgate-state' && key === '' && (method === 'HEAD' || query.has('versioning')))
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => { reject(new Hanging(`nothing for ${milliseconds} ms`)) }, milliseconds)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Every case, or one in `every`, the choice moving on from point to point so that all kinds meet all scripts in time. */
export async function cases(every: number): Promise<Case[]> {
  const rig = await FaultRig.open('count')
  const found: Case[] = []
  let turn = 0
  for (const script of scripts) {
    const points = await rig.points(script)
    for (let nth = 1; nth <= points; nth += 1) {
      for (const fault of Object.keys(faults)) {
        turn += 1
        if (turn % every === 0) found.push({ script, nth, fault })
      }
    }
  }
  await rig.close()
  return found
}

export interface Summary {
  readonly runs: number
  readonly acknowledged: number
  readonly problems: readonly string[]
  readonly leaked: number
}

/** Runs cases on several rigs at once: most of the time goes in waiting for timeouts. */
export async function runCases(chosen: readonly Case[], rigs: number, progress: (done: number) => void = () => undefined): Promise<Summary> {
  const queue = chosen.values()
  const problems: string[] = []
  let runs = 0
  let acknowledged = 0
  let leaked = 0
  await Promise.all(Array.from({ length: rigs }, async (_, i) => {
    const rig = await FaultRig.open(`rig${i}`)
    for (const one of queue) {
      const outcome = await rig.run(one)
      if (outcome.problem !== null) problems.push(outcome.problem)
      runs += Number(outcome.fired)
      acknowledged += Number(outcome.fired && outcome.acknowledged)
      progress(runs)
    }
    leaked += await rig.close()
  }))
  return { runs, acknowledged, problems, leaked }
}
