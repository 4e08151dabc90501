// A store, a gateway with little patience in front of it, and clients, for one case of the fault matrix after the other.
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable, type ReadableOptions } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3'
import { parseConfig } from '../../src/config/load.ts'
import { StagedReadable } from '../../src/http/stage.ts'
import { RequestBody } from '../../src/listener/request-body.ts'
import { Exchange } from '../../src/upstream/exchange.ts'
import { runCli } from '../support/run-cli.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { isHealthCheck } from '../support/health-checks.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { Bucket, Plain, Versions, WrongAnswer, type Run, type Script } from './fault-script.ts'
import { integrityFailures } from '../support/reading.ts'
import type { Config } from '../../src/config/config.ts'
import type { Fault } from '../support/faults.ts'
import type { SeenRequest } from '../support/rules.ts'

/** What the gateway waits for the store, in milliseconds. */
export const firstByteMs = 1500
/** When the store carries out what it carries out late: the gateway has given up, and clients have tried again. */
export const lateMs = firstByteMs + 500
/** A client waits longer than the gateway may for all it does in one request. */
const patienceMs = 30_000
/** Time for freed resources to go away, even on a busy machine: idle connections live half a second. */
const restMs = 10_000

/** A request of the gateway to the store, as it is when all is well. */
export interface Point {
  readonly method: string
  readonly key: string
  readonly range: boolean
  readonly bodyLength: number
}

/** One script, one request of it, one fault. */
export interface Shot {
  readonly script: Script
  /** Which request of the gateway is hit, from 1. */
  readonly nth: number
  readonly name: string
  readonly fault: Fault
}

export interface Outcome {
  readonly acknowledged: boolean
  readonly problem: string | null
  /** False when the script makes fewer requests than `nth`. */
  readonly fired: boolean
}

/** Resources that are left when no request is in progress, by name. */
export type Leaks = Readonly<Record<string, number>>

const limits = { upstreamFirstByteSeconds: firstByteMs / 1000, minRate: 1024, minRateWindowSeconds: firstByteMs / 1000 }
const buckets = { '*': { encryption: 'on', key: 'main' }, [Plain]: { encryption: 'off' } }
const auth = { ssecOverHttp: true }

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const watched = [Exchange, StagedReadable, RequestBody]
/** Every object of these classes since this module was loaded. A walk of the heap for them would cost as much as all the runs of npm test. */
let made: WeakRef<object>[] = []

/** The base class of streams that are watched. */
class WatchedReadable extends Readable {
  constructor(options?: ReadableOptions) {
    super(options)
    made.push(new WeakRef(this))
  }
}
for (const type of [StagedReadable, RequestBody]) Object.setPrototypeOf(type, WatchedReadable)

Exchange.prototype.start = new Proxy(Reflect.get<Exchange, 'start'>(Exchange.prototype, 'start'), {
  apply: (start, self: Exchange, args: Parameters<Exchange['start']>) => {
    made.push(new WeakRef(self))
    start.apply(self, args)
  }
})

export class FaultRig {
  readonly #store: TestStore
  readonly #gateway: TestGateway
  /** File and contents of the configuration, for commands and reloads. */
  readonly #file: string
  readonly #config: Config
  /** Under fire: says what it is told, at once. */
  readonly #s3: S3Client
  /** Before and after: a connection that was broken just now must not count. */
  readonly #patient: S3Client
  readonly #name: string
  #runs = 0

  private constructor(store: TestStore, gateway: TestGateway, file: string, config: Config, name: string) {
    this.#store = store
    this.#gateway = gateway
    this.#file = file
    this.#config = config
    this.#name = name
    this.#s3 = gateway.client()
    const { endpoint, accessKeyId, secretAccessKey } = gateway
    this.#patient = new S3Client({ endpoint, region: store.region, forcePathStyle: true, maxAttempts: 3, credentials: { accessKeyId, secretAccessKey } })
  }

  static async open(name: string): Promise<FaultRig> {
    const store = await startTestStore({ buckets: [Bucket, Versions, Plain], keepBodies: false, keepAliveMs: 500 })
    const gateway = await startTestGateway(store, { sections: { limits, buckets, auth } })
    const { endpoint, region, accessKeyId, secretAccessKey } = store
    const file = join(dirname(gateway.keyring), 'sealgate.yaml')
    const text = JSON.stringify({
      listen: { host: '127.0.0.1', port: 0 },
      upstream: { endpoint, region, accessKeyId, secretAccessKey, stateBucket: 'sealgate-state', realm: 'test' },
      clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey, buckets: ['*'] }],
      keys: { main: { type: 'local', keyring: gateway.keyring } },
      limits,
      buckets,
      auth
    })
    await writeFile(file, text)
    const rig = new FaultRig(store, gateway, file, parseConfig(text, { file, env: {} }), name)
    await rig.#patient.send(new PutBucketVersioningCommand({ Bucket: Versions, VersioningConfiguration: { Status: 'Enabled' } }))
    return rig
  }

  /** The requests a script makes when all is well. */
  async points(script: Script): Promise<Point[]> {
    const run = this.#next(this.#s3)
    const state = await script.prepare(run)
    await this.#forget()
    const before = this.#store.requests.length
    await script.act(run, state)
    return this.#store.requests.slice(before).filter(isWork).map(({ method, key, headers, bodyLength }) => ({
      method,
      key,
      range: headers.has('range'),
      bodyLength
    }))
  }

  async run({ script, nth, name, fault }: Shot): Promise<Outcome> {
    const run = this.#next(this.#s3)
    await sleep(10)
    const calm = { ...run, s3: this.#patient }
    const state = await within(patienceMs, script.prepare(calm))
    await this.#forget()
    // A connection that is idle since the case before may be closing: what fails then is no fault of ours.
    this.#s3.destroy()
    const rule = this.#store.rules.add({ when: { test: isWork }, nth, fault })
    const problems: string[] = []
    const before = integrityFailures(this.#gateway)
    let acknowledged = false
    try {
      await within(patienceMs, script.act(run, state))
      acknowledged = true
    } catch (error) {
      // A row that did not verify is shown as it is stored: it opens in no other operation either.
      const unverified = integrityFailures(this.#gateway) > before && error instanceof WrongAnswer && error.message.startsWith('ETag')
      if ((error instanceof WrongAnswer && !unverified) || error instanceof Hanging) problems.push(`${error.constructor.name}: ${error.message}`)
      if (error instanceof Error && error.name === 'InternalError' && !name.startsWith('500')) problems.push('answered as a fault of the gateway')
    }
    const { fired } = rule
    await this.#ceaseFire(fault)
    if (this.#busy()) await within(5000, this.#calm()).catch(() => problems.push('requests are still in flight'))
    const said = acknowledged ? 'acknowledged' : 'refused'
    try {
      const wrong = await within(patienceMs, script.check(calm, state, acknowledged))
      if (wrong !== undefined) problems.push(`${said}: ${wrong}`)
    } catch (error) {
      problems.push(`${said}, and afterwards: ${String(error)}`)
    }
    const strays = this.#strays(run.id)
    if (strays.length > 0) problems.push(`${said}: nobody asked for ${strays.join()}`)
    const problem = problems.length === 0 ? null : `${script.name}, request ${nth} ${name}: ${problems.join('; ')}`
    return { acknowledged, fired: fired > 0, problem }
  }

  /** Lets go of the clients and waits until the gateway has let go of everything that was for them. */
  async rest(): Promise<Leaks> {
    this.#s3.destroy()
    this.#patient.destroy()
    const deadline = performance.now() + restMs
    while (Object.values(this.#open()).some((left) => left > 0) && performance.now() < deadline) await sleep(20)
    return this.#open()
  }

  #open(): Leaks {
    const { connections, requestsInFlight } = this.#gateway.listener.counts()
    return { 'connections to the store': this.#store.traffic.open, 'connections of clients': connections, 'requests in flight': requestsInFlight }
  }

  /** Streams and exchanges that something still holds, in the whole process: what costs memory, and with an exchange its slot. For rigs at rest. */
  static async alive(): Promise<Leaks> {
    const deadline = performance.now() + restMs
    for (let pause = 10;; pause *= 2) {
      // What a weak reference has given out lives until this turn is over.
      await sleep(pause)
      collect()
      made = made.filter((one) => one.deref() !== undefined)
      if (made.length === 0 || performance.now() > deadline) {
        return Object.fromEntries(watched.map((type) => [`objects of ${type.name} alive`, made.filter((one) => one.deref() instanceof type).length]))
      }
    }
  }

  async close(): Promise<void> {
    await this.#gateway.close()
    await this.#store.close()
  }

  #next(s3: S3Client): Run {
    this.#runs += 1
    return {
      s3,
      id: `${this.#name}-${this.#runs}`,
      gateway: this.#gateway,
      store: this.#store,
      command: async (name, ...args) => (await runCli([name, '--config', this.#file, ...args], dirname(this.#file))).code
    }
  }

  /** So that the requests of a script are the same every time: nothing is known from one before. */
  async #forget(): Promise<void> {
    await this.#gateway.gateway.reload(this.#config)
  }

  async #ceaseFire(fault: Fault): Promise<void> {
    this.#store.rules.clear()
    await this.#store.listen()
    // A connection whose answer was whole to the gateway is idle to it, and dead or about to be.
    // One with an answer too many is out of step: it gives the next request another's answer, which is no end of the fault.
    if (fault.type === 'stall' || fault.type === 'extra' || (fault.type === 'mid-upload' && fault.then === 'stall')) this.#store.traffic.breakAll()
    if (fault.type === 'late') await sleep(lateMs - firstByteMs)
    if (fault.type === 'reset' || (fault.type === 'mid-upload' && fault.then === 'reset')) await sleep(40)
  }

  /** Keys of a run that its script does not know of. */
  #strays(id: string): string[] {
    return [Bucket, Versions, Plain].flatMap((bucket) =>
      this.#store.keys(bucket).filter((key) => key.startsWith(id) && !/^[^/]*(\/(1|2|copy|source))?$/.test(key))
    )
  }

  #busy(): boolean {
    return this.#gateway.listener.counts().requestsInFlight > 0
  }

  async #calm(): Promise<void> {
    while (this.#busy()) await sleep(10)
  }
}

class Hanging extends Error {}

function isWork(request: SeenRequest): boolean {
  return !isHealthCheck(request)
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new Hanging(`nothing for ${milliseconds} ms`))
  }, milliseconds)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
