import { availableParallelism } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import cluster, { type Worker } from 'node:cluster'
import type { Config } from '../config/config.ts'
import type { GatewayStatus, CreateGateway, Readiness } from '../gateway/types.ts'
import type { ProcessReport } from '../page/facts.ts'
import type { Snapshot } from '../observe/registry.ts'
import type { ProcessSignals } from './signals.ts'
import { lookUntilEmpty, type Port } from '../listener/port.ts'
import { parseConfig } from '../config/load.ts'
import { exitCodes, type Platform } from './platform.ts'
import type { Unsealed } from './sealed-config.ts'
import { GatewayProcess } from './gateway-process.ts'

/** A configuration as its file had it, so that all workers have the same one, including those that start later. */
export interface ConfigText {
  readonly file: string
  readonly text: string
  readonly unsealed: Unsealed
  readonly workers: number
}

export type ToWorker =
  | { readonly type: 'start' | 'reload'; readonly config: ConfigText }
  | { readonly type: 'stop' | 'forceStop' }
  | { readonly type: 'report'; readonly id: number; readonly more: More }
  /** To each step of leaving. */
  | { readonly type: 'answer'; readonly last: boolean }

/** Steps of a worker that leaves the port: is there more to take; it wants to leave; it takes nothing more. */
export type Leaving = 'look' | 'leave' | 'left'

/** What a report has in addition. Probes want nothing: each snapshot of the metrics restarts the measurement of delays. */
type More = 'metrics' | 'page' | null

export interface Report {
  readonly ready: Readiness
  readonly metrics: Snapshot | null
  readonly status: GatewayStatus | null
  readonly page: ProcessReport | null
}

export type FromWorker =
  /** Listens to messages: earlier ones are lost. */
  | { readonly type: 'hello' }
  | { readonly type: 'listening'; readonly host: string; readonly port: number }
  | { readonly type: 'report'; readonly id: number; readonly report: Report }
  | { readonly type: Leaving }

/** From the primary. */
export function send({ worker }: { readonly worker: Worker }, message: ToWorker): void {
  // A message that cannot be delivered was for a process that has ended, which has an event of its own.
  if (worker.isConnected()) worker.send(message, () => undefined)
}

/** Number of processes that `workers` asks for: one per core that this process may use. */
export function workerCount(workers: Config['workers']): number {
  return workers === 'auto' ? availableParallelism() : workers
}

/**
 * The configuration of one worker: limits for the whole gateway are shared out evenly, and the admin port is the primary's.
 * @throws ConfigError.
 */
export function configOfWorker({ file, text, unsealed, workers }: ConfigText, env: Platform['env']): Config {
  const config = parseConfig(text, { file, env, unsealed })
  const share = (all: number): number => Math.ceil(all / workers)
  const { limits, upstreams, clients } = config
  return {
    ...config,
    admin: null,
    upstreams: Object.fromEntries(
      Object.entries(upstreams).map(([name, store]) => [name, { ...store, connections: share(store.connections) }])
    ),
    clients: clients.map((client) => withSharedLimits(client, workers)),
    limits: {
      ...limits,
      connections: share(limits.connections),
      requestsInFlight: share(limits.requestsInFlight),
      unauthenticatedRequests: share(limits.unauthenticatedRequests)
    }
  }
}

/** Keeps the property descriptors, so that a printed client still shows stars in place of its secret. */
function withSharedLimits(client: Config['clients'][number], workers: number): Config['clients'][number] {
  const { requests, requestsPerSecond, bytesPerSecond } = client.limits
  const part = (all: number | null): number | null => all === null ? null : all / workers
  const limits = {
    requests: requests === null ? null : Math.ceil(requests / workers),
    requestsPerSecond: part(requestsPerSecond),
    bytesPerSecond: part(bytesPerSecond)
  }
  return Object.defineProperties({ ...client }, { ...Object.getOwnPropertyDescriptors(client), limits: { value: limits, enumerable: true } })
}

/** A worker process: follows the messages of the primary, and ends with it. @returns the exit code. */
export async function runWorker(platform: Platform, signals: ProcessSignals, createGateway: CreateGateway): Promise<number> {
  const { worker } = cluster
  if (worker === undefined) throw new TypeError('This process is not a worker.')
  const link = new PrimaryLink(worker, signals)
  const read = (): Config => configOfWorker(link.config(), platform.env)
  try {
    const serving = await Promise.race([
      link.started.then(() => GatewayProcess.start(read(), platform, { createGateway, sharedPort: link.port })),
      signals.stopped
    ])
    if (serving === undefined) return exitCodes.done
    link.report(serving)
    return await serving.untilStopped(signals, read)
  } catch (error) {
    platform.stderr.write(`sealgate serve: ${error instanceof Error ? error.message : 'unknown error'}\n`)
    return exitCodes.failed
  }
}

/** Longer than the primary waits for other workers. */
const ASK_PATIENCE_MS = 2000
/** Milliseconds from question to answer in which hardly a connection can have come behind the primary's look. */
const SHORT_LOOK_MS = 2
/** The primary closes the port a message later than a look: so it must be quiet for a while. */
const EMPTY_LOOKS = 8
/** Where looks are never short or the port is never quiet: less than a first request may take. */
const LOOKS_MS = 500

class PrimaryLink {
  /** Resolves when there is a configuration. */
  readonly started: Promise<undefined>
  /** The primary takes the connections, and hands them out. */
  readonly port: Port = {
    emptied: async (taken) => {
      const look = async (): Promise<boolean> => this.#look()
      await lookUntilEmpty(taken, look, EMPTY_LOOKS, LOOKS_MS)
      if (await this.#ask('leave')) await lookUntilEmpty(taken, look, EMPTY_LOOKS, LOOKS_MS)
    },
    left: async () => {
      await this.#ask('left')
    }
  }
  readonly #worker: Worker
  readonly #signals: ProcessSignals
  readonly #start = Promise.withResolvers<undefined>()
  #config: ConfigText | null = null
  #serving: GatewayProcess | null = null
  #answered: (last: boolean) => void = () => undefined

  constructor(worker: Worker, signals: ProcessSignals) {
    this.started = this.#start.promise
    this.#worker = worker
    this.#signals = signals
    worker.on('message', (message: ToWorker) => {
      this.#hear(message)
    })
    this.#send({ type: 'hello' })
  }

  /** What the primary sent last. */
  config(): ConfigText {
    if (this.#config === null) throw new TypeError('The primary has not sent a configuration.')
    return this.#config
  }

  report(serving: GatewayProcess): void {
    this.#serving = serving
    this.#send({ type: 'listening', ...serving.address })
  }

  #hear(message: ToWorker): void {
    switch (message.type) {
      case 'start':
        this.#config = message.config
        this.#start.resolve(undefined)
        break
      case 'reload':
        this.#config = message.config
        this.#signals.reload()
        break
      case 'stop':
        this.#signals.stop()
        break
      case 'forceStop':
        this.#signals.forceStop()
        break
      case 'report':
        void this.#answer(message.id, message.more)
        break
      case 'answer':
        this.#answered(message.last)
        break
    }
  }

  async #answer(id: number, more: More): Promise<void> {
    const serving = this.#serving
    if (serving === null) return
    const report = {
      ready: await serving.ready(),
      metrics: more === 'metrics' ? serving.snapshot() : null,
      status: serving.status(),
      page: more === 'page' ? await serving.report() : null
    }
    this.#send({ type: 'report', id, report })
  }

  async #look(): Promise<boolean> {
    const began = performance.now()
    await this.#ask('look')
    return performance.now() - began <= SHORT_LOOK_MS
  }

  /** A primary that does not answer holds up no stop. @returns whether no other worker stays. */
  async #ask(type: Leaving): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#answered = resolve
    const patience = new AbortController()
    const late = delay(ASK_PATIENCE_MS, false, { signal: patience.signal }).catch(() => false)
    this.#send({ type })
    const last = await Promise.race([promise, late])
    patience.abort()
    return last
  }

  #send(message: FromWorker): void {
    // When the primary is gone this process ends; a message to it is lost.
    this.#worker.send(message, () => undefined)
  }
}

/** How long to wait for a report. */
const PATIENCE_MS = 2000
/** Consecutive rounds without an answer after which a process counts as hanging: no working process blocks its event loop for that time. */
const SILENT_ROUNDS = 6

interface Asked {
  readonly listening: boolean
}

/** Asks workers for their state, and detects which have stopped answering. */
export class WorkerReports<Seat extends Asked> {
  readonly #send: (seat: Seat, message: ToWorker) => void
  readonly #patienceMs: number
  readonly #waiting = new Map<number, (report: Report) => void>()
  /** Rounds of `silent` without an answer. */
  readonly #misses = new Map<Seat, number>()
  #count = 0

  constructor(send: (seat: Seat, message: ToWorker) => void, patienceMs = PATIENCE_MS) {
    this.#send = send
    this.#patienceMs = patienceMs
  }

  heard(id: number, report: Report): void {
    this.#waiting.get(id)?.(report)
  }

  /** @returns the reports of the listening workers that answer in time. */
  async ask(seats: readonly Seat[], more: More): Promise<ReadonlyMap<Seat, Report>> {
    const asked = await Promise.all(seats.filter(({ listening }) => listening).map(async (seat) => [seat, await this.#askOne(seat, more)] as const))
    return new Map(asked.flatMap(([seat, report]) => report === null ? [] : [[seat, report]]))
  }

  /**
   * One round of checks of the listening workers. Counted in rounds and not in seconds, so that after a suspend of the machine no worker counts as
   * hanging.
   * @returns those that have not answered for too many rounds.
   */
  async silent(seats: readonly Seat[]): Promise<Seat[]> {
    await Promise.all(seats.map(async (seat) => {
      const answered = !seat.listening || await this.#askOne(seat, null) !== null
      this.#misses.set(seat, answered ? 0 : (this.#misses.get(seat) ?? 0) + 1)
    }))
    return seats.filter((seat) => (this.#misses.get(seat) ?? 0) >= SILENT_ROUNDS)
  }

  async #askOne(seat: Seat, more: More): Promise<Report | null> {
    this.#count += 1
    const id = this.#count
    const { promise, resolve } = Promise.withResolvers<Report>()
    this.#waiting.set(id, resolve)
    const patience = new AbortController()
    this.#send(seat, { type: 'report', id, more })
    const late = delay(this.#patienceMs, null, { signal: patience.signal }).catch(() => null)
    const report = await Promise.race([promise, late])
    patience.abort()
    this.#waiting.delete(id)
    return report
  }
}
