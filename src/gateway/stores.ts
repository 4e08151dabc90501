import { isDeepStrictEqual } from 'node:util'
import type { Config, UpstreamConfig } from '../config/config.ts'
import type { Store } from '../operations/context.ts'
import type { Health } from '../observe/health.ts'
import type { ConditionProbe } from '../store-client/probe-conditions.ts'
import type { Upstream } from '../upstream/types.ts'
import type { Gauges, Observer, StoreObserver } from './observer.ts'
import type { OperatorLog } from './types.ts'
import { InFlight } from '../concurrency/in-flight.ts'
import { DetachedPartWrites } from '../operations/multipart/detached-writes.ts'
import { Capabilities } from '../store-client/capabilities.ts'
import { speaksTls } from '../upstream/diagnose.ts'
import { authorityOf } from '../store-client/authority.ts'
import { openUpstream } from '../store-client/store-adapter.ts'
import type { StoreUpstream } from '../upstream/upstream.ts'
import { capabilityLine, storeHealth } from './status.ts'

const HEALTH_EVERY_SECONDS = 15
/** A timer's longest: tries at parts are bounded in time themselves. */
const LONGEST_MS = 2 ** 31 - 1

/** Stores opened by this process: makes the id of each. */
let openings = 0

interface StoreParts {
  readonly limits: Config['limits']
  readonly observer: Observer
  readonly log: OperatorLog
  readonly probe: ConditionProbe | undefined
}

/** One store of the configuration. What it uses is its own: what hangs or fails here takes nothing from other stores. */
export class OpenStore implements Store {
  readonly id: string
  readonly settings: UpstreamConfig
  /** Of its certificate, as read when it was opened. */
  readonly authority: string | null
  readonly upstream: Upstream
  readonly capabilities: Capabilities
  readonly detachedWrites: DetachedPartWrites
  readonly health: Health
  readonly #door: StoreUpstream
  readonly #users = new InFlight()
  #clockSkew: number | null = null

  /** @throws Error of the file system where the certificate of its authority cannot be read. */
  constructor(settings: UpstreamConfig, { limits, observer, log, probe }: StoreParts) {
    const { name, connections } = settings
    openings += 1
    this.id = `${name} ${openings}`
    this.settings = settings
    this.authority = authorityOf(settings)
    const reports: StoreObserver = observer.store(name)
    this.#door = openUpstream(settings, limits, {
      ...reports,
      onSkew: (seconds) => {
        this.#clockSkew = seconds
      }
    })
    this.upstream = observer.traced(name, this.#door)
    this.detachedWrites = new DetachedPartWrites({
      // The others are for those who wait.
      limit: Math.ceil(connections / 4),
      patienceSeconds: limits.upstreamFirstByteSeconds,
      over: reports.latePart
    })
    this.capabilities = new Capabilities(this.#door, {
      ...settings,
      learned: (report) => {
        log(...capabilityLine(name, report))
      }
    }, probe)
    const endpoint = new URL(settings.endpoint)
    this.health = storeHealth({
      upstream: this.#door,
      settings,
      capabilities: this.capabilities,
      log,
      speaksTls: endpoint.protocol === 'http:' ? (signal) => speaksTls(endpoint, signal) : null,
      refused: reports.onRefused
    })
  }

  get pools(): ReturnType<StoreUpstream['stats']> {
    return this.#door.stats()
  }

  /** This clock minus the store's, in whole seconds; null: not known yet. */
  get clockSkewSeconds(): number | null {
    return this.#clockSkew
  }

  /** Tells that a request begins that may use the store at any time until it calls what this returns. */
  enter(): () => void {
    return this.#users.enter()
  }

  /** Asks whether it serves, now and from now on. */
  async start(): Promise<void> {
    await this.health.run()
    this.health.start(HEALTH_EVERY_SECONDS)
  }

  /** As `close`, once everything under way has ended: nothing of it is cut. */
  async retire(): Promise<void> {
    this.health.stop()
    await this.#users.empty()
    await this.detachedWrites.settle(LONGEST_MS)
    await this.#door.retire()
  }

  async close(): Promise<void> {
    this.health.drain()
    this.health.stop()
    await this.detachedWrites.close()
    await this.#door.close()
  }
}

/** The stores of a configuration. Those that a reload has removed or changed are kept until what uses them has ended. */
export class Stores {
  readonly #observer: Observer
  readonly #log: OperatorLog
  readonly #retired = new Set<OpenStore>()
  readonly #probe: ConditionProbe | undefined
  #open: ReadonlyMap<string, OpenStore> = new Map()

  /** @param probe finds out which conditions a store enforces. Default: `probeConditions`. */
  constructor(observer: Observer, log: OperatorLog, probe?: ConditionProbe) {
    this.#observer = observer
    this.#log = log
    this.#probe = probe
  }

  get byName(): ReadonlyMap<string, OpenStore> {
    return this.#open
  }

  get all(): readonly OpenStore[] {
    return [...this.#open.values()]
  }

  /** Of the stores, what metrics show. */
  get gauges(): Gauges['stores'] {
    return this.all.map(({ settings: { name }, pools, health, capabilities, clockSkewSeconds }) => ({
      name,
      clockSkewSeconds,
      pools,
      checks: health.report().checks,
      capabilities: capabilities.report()
    }))
  }

  /**
   * The stores that a configuration wants. Those that are open with the same settings, and the same certificates in the file of `ca`, stay open.
   * @throws Error of a certificate's file. Those opened before it are closed.
   */
  async prepare({ upstreams, limits }: Pick<Config, 'upstreams' | 'limits'>): Promise<ReadonlyMap<string, OpenStore>> {
    const next = new Map<string, OpenStore>()
    try {
      for (const [name, settings] of Object.entries(upstreams)) {
        const open = this.#open.get(name)
        const stays = open !== undefined && isDeepStrictEqual(open.settings, settings) && open.authority === authorityOf(settings)
        next.set(name, stays ? open : new OpenStore(settings, { limits, observer: this.#observer, log: this.#log, probe: this.#probe }))
      }
      return next
    } catch (error) {
      await Promise.all([...next.values()].filter((store) => !this.all.includes(store)).map((store) => store.close()))
      throw error
    }
  }

  /** Requests that come from now on use these. */
  use(next: ReadonlyMap<string, OpenStore>): void {
    const before = this.#open
    this.#open = next
    for (const [name, store] of before) if (next.get(name) !== store) this.#retire(store)
  }

  /** Asks every store that is new whether it serves, and the others again. */
  async start(): Promise<void> {
    await Promise.all(this.all.map((store) => store.start()))
  }

  async settle(graceMs: number): Promise<void> {
    await Promise.all(this.#everyOne().map(({ detachedWrites }) => detachedWrites.settle(graceMs)))
  }

  async close(): Promise<void> {
    await Promise.all(this.#everyOne().map((store) => store.close()))
  }

  #everyOne(): readonly OpenStore[] {
    return [...this.#retired, ...this.#open.values()]
  }

  #retire(store: OpenStore): void {
    this.#retired.add(store)
    const { name, endpoint } = store.settings
    void store.retire().then(
      () => {
        this.#retired.delete(store)
        this.#log('info', 'store no longer used', { upstream: name, endpoint })
      },
      (error: unknown) => {
        this.#log('warn', 'closing a store failed', { upstream: name, reason: error instanceof Error ? error.message : 'unknown error' })
      }
    )
  }
}
