import { setTimeout as delay } from 'node:timers/promises'
import cluster, { type Worker } from 'node:cluster'
import type { Config } from '../config/config.ts'
import type { Readiness } from '../gateway/types.ts'
import type { Log } from '../observe/log.ts'
import type { ProcessSignals } from './signals.ts'
import { ConfigError, parseConfig, readConfigText } from '../config/load.ts'
import { createAdminListener } from '../listener/admin.ts'
import { mergeActivities, type Activity } from '../observe/activity.ts'
import type { WorkerFacts } from '../page/facts.ts'
import { unseal, type Unsealed } from './sealed-config.ts'
import { statusPage, toldByWorkers, type Told } from './status-page.ts'
import { exposition, mergeSnapshots, type Snapshot } from '../observe/registry.ts'
import { createMetrics, measureProcess } from '../observe/metrics.ts'
import { checkFiles } from './config-files.ts'
import { exitCodes, type Platform } from './platform.ts'
import { bind } from './start-up.ts'
import { Departures } from './departures.ts'
import { closeUntaken } from './handed-out.ts'
import { changedFixed } from './gateway-process.ts'
import { type ConfigText, type FromWorker, send, WorkerReports } from './worker.ts'

const seconds = 1000
/** First pause before a worker is replaced; doubles with each that ends early. */
const FIRST_PAUSE_MS = 1 * seconds
const LONGEST_PAUSE_MS = 30 * seconds
/** A worker that has run for this time does not count as having failed to start. */
const SETTLED_MS = 60 * seconds
const LOOK_AFTER_MS = 10 * seconds
/** Beyond the grace period, for a worker that does not cut its transfers. */
const STOP_MARGIN_MS = 10 * seconds

interface WorkersOptions {
  readonly file: string
  readonly text: string
  readonly unsealed: Unsealed
  readonly config: Config
  readonly workers: number
  readonly platform: Platform
  readonly signals: ProcessSignals
  readonly log: Log
}

/** One place among the workers; when its process ends, another one takes the place. */
interface Seat {
  readonly number: number
  worker: Worker
  startedAt: number
  greeted: boolean
  listening: boolean
  /** How many in a row ended early. */
  failures: number
  /** Its last counts, which must not be lost with the process. */
  last: Snapshot | null
  /** The same of its last hour. */
  activity: Activity | null
  restarts: number
  lastEnd: WorkerFacts['lastEnd']
}

/**
 * Runs several processes on one port: starts them, replaces those that end unexpectedly, passes on reloads and the stop, and answers for all of them
 * on the admin port.
 * @returns the exit code: 0 every transfer finished, 3 transfers were cut, 1 when the first workers could not start.
 */
export async function runWorkers(options: WorkersOptions): Promise<number> {
  return new Primary(options).run()
}

class Primary {
  readonly #options: WorkersOptions
  readonly #log: Log
  readonly #metrics = createMetrics()
  readonly #seats: Seat[] = []
  readonly #reports = new WorkerReports<Seat>(send)
  readonly #departures = new Departures(this.#seats, send)
  readonly #started = Promise.withResolvers<boolean>()
  readonly #gone = Promise.withResolvers<undefined>()
  #config: ConfigText
  /** Counters of ended processes: a smaller sum would look like a restart of everything. */
  #departed: Snapshot = []
  #departedActivity = mergeActivities([])
  #reloading = Promise.resolve()
  /** When the last reload was refused here; null: it was passed on. */
  #reloadRefused: string | null = null
  #stopping = false
  #cut = false

  constructor(options: WorkersOptions) {
    this.#options = options
    this.#config = { file: options.file, text: options.text, unsealed: options.unsealed, workers: options.workers }
    this.#log = options.log
  }

  async run(): Promise<number> {
    const { config, signals, workers } = this.#options
    signals.onReload(() => {
      this.#reloading = this.#reloading.then(() => this.#reload())
    })
    const stopMeasuring = measureProcess(this.#metrics.registry)
    const admin = config.admin === null ? null : createAdminListener(config.admin, {
      ready: () => this.#ready(),
      metrics: async () => exposition(await this.#snapshot()),
      status: () => this.#status(),
      page: statusPage(config.admin, () => this.#told())
    })
    if (admin !== null && config.admin !== null) await bind('admin', config.admin, () => admin.start())
    for (let number = 1; number <= workers; number += 1) this.#seats.push(this.#seat(number))
    const looking = setInterval(() => {
      void this.#killSilent()
    }, LOOK_AFTER_MS)
    const started = await Promise.race([this.#started.promise, signals.stopped.then(() => true)])
    if (started) await signals.stopped
    clearInterval(looking)
    await this.#stopAll((config.limits.drainSeconds + config.limits.graceSeconds) * seconds)
    await admin?.stop()
    stopMeasuring()
    this.#log.event(this.#cut ? 'warn' : 'info', 'workers stopped', { outcome: this.#cut ? 'cut' : 'drained' })
    await this.#log.flush()
    if (!started) return exitCodes.failed
    return this.#cut ? exitCodes.cut : exitCodes.done
  }

  #seat(number: number): Seat {
    const seat: Seat = {
      number,
      worker: cluster.fork(),
      startedAt: performance.now(),
      greeted: false,
      listening: false,
      failures: 0,
      last: null,
      activity: null,
      restarts: 0,
      lastEnd: null
    }
    this.#follow(seat)
    return seat
  }

  #follow(seat: Seat): void {
    const { worker } = seat
    closeUntaken(worker)
    worker.on('message', (message: FromWorker) => {
      this.#hear(seat, message)
    })
    worker.on('error', (error) => {
      this.#log.failure({ requestId: null, during: 'worker', error })
    })
    worker.once('exit', (code: number | null, signal: string | null) => {
      void this.#ended(seat, code, signal)
    })
  }

  #hear(seat: Seat, message: FromWorker): void {
    switch (message.type) {
      case 'hello':
        seat.greeted = true
        send(seat, this.#stopping ? { type: 'stop' } : { type: 'start', config: this.#config })
        break
      case 'listening':
        this.#listening(seat, message)
        break
      case 'report':
        seat.last = message.report.metrics ?? seat.last
        seat.activity = message.report.page?.activity ?? seat.activity
        this.#reports.heard(message.id, message.report)
        break
      case 'look':
      case 'leave':
      case 'left':
        this.#departures.heard(seat, message.type)
        break
    }
  }

  #listening(seat: Seat, { host, port }: { readonly host: string; readonly port: number }): void {
    seat.listening = true
    if (!this.#seats.every(({ listening }) => listening)) return
    this.#log.event('info', 'workers listening', { host, port, workers: this.#seats.length })
    this.#started.resolve(true)
  }

  async #ended(seat: Seat, code: number | null, signal: string | null): Promise<void> {
    this.#keepCounts(seat)
    const { listening } = seat
    seat.listening = false
    this.#departures.ended(seat)
    seat.lastEnd = { at: new Date().toISOString(), code, signal }
    if (this.#stopping) {
      if (listening && code !== exitCodes.done) this.#cut = true
      if (this.#seats.every(({ worker }) => worker.isDead())) this.#gone.resolve(undefined)
      return
    }
    // Before all workers have been up once, a fault affects all of them: the process reports it and ends, instead of trying again.
    this.#started.resolve(false)
    const lived = performance.now() - seat.startedAt
    seat.failures = lived > SETTLED_MS ? 1 : seat.failures + 1
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (seat.failures - 1))
    this.#log.event('error', 'worker ended', { worker: seat.number, code, signal, replacedInSeconds: pause / seconds })
    await delay(pause, undefined, { ref: false })
    this.#replace(seat)
  }

  #replace(seat: Seat): void {
    if (this.#stopping) return
    this.#metrics.workerRestarts.add({})
    seat.restarts += 1
    seat.worker = cluster.fork()
    seat.startedAt = performance.now()
    seat.greeted = false
    this.#follow(seat)
  }

  #keepCounts(seat: Seat): void {
    if (seat.activity !== null) this.#departedActivity = mergeActivities([this.#departedActivity, seat.activity])
    seat.activity = null
    if (seat.last === null) return
    this.#departed = mergeSnapshots([this.#departed, seat.last.filter(({ type }) => type !== 'gauge')])
    seat.last = null
  }

  /** Checked here first, so that either all workers apply it or none. */
  async #reload(): Promise<void> {
    const { platform, file } = this.#options
    try {
      const text = readConfigText(file)
      const unsealed = await unseal(text, file, platform.env)
      const config = parseConfig(text, { file, env: platform.env, unsealed })
      await checkFiles(config, file)
      this.#config = { ...this.#config, text, unsealed }
      for (const seat of this.#seats) if (seat.greeted) send(seat, { type: 'reload', config: this.#config })
      this.#metrics.reloadSuccessful.set({}, 1)
      this.#reloadRefused = null
      this.#log.event('info', 'configuration sent to workers', { needRestart: changedFixed(this.#options.config, config).join(', ') })
    } catch (error) {
      const known = error instanceof ConfigError
      this.#metrics.reloadSuccessful.set({}, 0)
      this.#reloadRefused = new Date().toISOString()
      this.#log.event('error', 'configuration not reloaded', { faults: known ? error.message : 'see failure' })
      if (!known) this.#log.failure({ requestId: null, during: 'reload', error })
    }
  }

  async #ready(): Promise<Readiness> {
    if (this.#stopping) return { ok: false, checks: { gateway: 'stopping' } }
    const reports = [...(await this.#reports.ask(this.#seats, null)).values()]
    const all = this.#seats.length
    const checks: Record<string, string> = { workers: reports.length === all ? 'ok' : `${reports.length} of ${all}` }
    for (const { ready } of reports) {
      for (const [name, state] of Object.entries(ready.checks)) if (checks[name] === undefined || state !== 'ok') checks[name] = state
    }
    return { ok: checks['workers'] === 'ok' && reports.every(({ ready }) => ready.ok), checks }
  }

  /** One entry for each worker that answers. */
  async #status(): Promise<{ readonly workers: readonly unknown[] }> {
    const reports = await this.#reports.ask(this.#seats, null)
    return { workers: [...reports.values()].map(({ status }) => status) }
  }

  async #told(): Promise<Told> {
    return { ...toldByWorkers(this.#seats, await this.#reports.ask(this.#seats, 'page'), this.#departedActivity), reloadRefused: this.#reloadRefused }
  }

  /** For a worker that is too busy to answer: its last report. */
  async #snapshot(): Promise<Snapshot> {
    await this.#reports.ask(this.#seats, 'metrics')
    const latest = this.#seats.flatMap(({ last }) => last === null ? [] : [last])
    return mergeSnapshots([this.#metrics.snapshot(), this.#departed, ...latest])
  }

  /** A hanging process would keep its connections, and its share of new ones, for ever. */
  async #killSilent(): Promise<void> {
    for (const seat of await this.#reports.silent(this.#seats)) {
      if (this.#stopping || !seat.listening) continue
      this.#log.event('error', 'worker does not answer', { worker: seat.number })
      seat.worker.process.kill('SIGKILL')
    }
  }

  /** @param ms after which every worker should have ended. */
  async #stopAll(ms: number): Promise<void> {
    this.#stopping = true
    this.#departures.stop()
    if (this.#seats.every(({ worker }) => worker.isDead())) return
    for (const seat of this.#seats) {
      if (seat.greeted) send(seat, { type: 'stop' })
      else seat.worker.process.kill('SIGTERM')
    }
    void this.#options.signals.forced.then(() => {
      for (const seat of this.#seats) send(seat, { type: 'forceStop' })
    })
    const late = setTimeout(() => {
      for (const { worker } of this.#seats) worker.process.kill('SIGKILL')
    }, ms + STOP_MARGIN_MS)
    await this.#gone.promise
    clearTimeout(late)
  }
}
