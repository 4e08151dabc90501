import { S3Error } from '../errors.ts'
import { FairCache } from '../collections/bounded-cache.ts'
import { rejectOnAbort } from '../concurrency/in-flight.ts'

/** Seconds that a permanent refusal (disabled, denied, damaged) is answered from memory: enabling a key takes effect after this. */
const PERMANENT_FAILURE_SECONDS = 5
/** Seconds between two calls for one key while the service fails. */
const TRANSIENT_FAILURE_SECONDS = 1

interface SingleFlightCacheOptions {
  readonly maxAgeSeconds: number
  readonly maxEntries: number
  /** Milliseconds; only differences count. */
  readonly now: () => number
}

interface SingleFlight<V> {
  readonly result: Promise<V>
  readonly controller: AbortController
  waiters: number
}

/** A pending value. */
export interface Lookup<V> {
  /** No load was started for this caller: the result comes from memory, or from a load that another caller started. */
  readonly shared: boolean
  /** Rejects with the error of the load, current or cached; with the signal's reason when the caller aborts. */
  readonly value: Promise<V>
}

interface Entry<T> {
  readonly content: T
  readonly expires: number
}

/**
 * A bounded cache with one load per key at a time. Values live `maxAgeSeconds` from the start of their load (never longer, however often they are
 * used). Failures are cached briefly, in a map of their own, so that a store which invents blobs cannot evict good entries. A caller that aborts does
 * not stop the load unless it is the last one.
 */
export class SingleFlightCache<V> {
  readonly #options: SingleFlightCacheOptions
  readonly #values: FairCache<Entry<V>>
  readonly #failures: FairCache<Entry<unknown>>
  readonly #flights = new Map<string, SingleFlight<V>>()
  #sweeper: NodeJS.Timeout | null = null

  constructor(options: SingleFlightCacheOptions) {
    this.#options = options
    this.#values = new FairCache(options.maxEntries)
    this.#failures = new FairCache(options.maxEntries)
  }

  /** Number of entries: values and cached failures. */
  get size(): number {
    return this.#values.size + this.#failures.size
  }

  /**
   * @param owner for whom the value is loaded: one of a bounded number, each with a fair share of the cache
   * @param load gets a signal that aborts when every caller has aborted.
   */
  get(key: string, owner: string, signal: AbortSignal, load: (signal: AbortSignal) => Promise<V>): Lookup<V> {
    if (signal.aborted) return { shared: false, value: rejected(signal.reason) }
    const value = fresh(this.#values, key, this.#options.now())
    if (value !== null) return { shared: true, value: Promise.resolve(value.content) }
    const failure = fresh(this.#failures, key, this.#options.now())
    if (failure !== null) return { shared: true, value: rejected(failure.content) }
    const flight = this.#flights.get(key)
    return { shared: flight !== undefined, value: this.#join(key, flight ?? this.#start(key, owner, load), signal) }
  }

  async #join(key: string, flight: SingleFlight<V>, signal: AbortSignal): Promise<V> {
    flight.waiters += 1
    try {
      return await rejectOnAbort(signal, flight.result)
    } finally {
      flight.waiters -= 1
      if (flight.waiters === 0) this.#cancel(key, flight)
    }
  }

  /** Adds a value that was obtained elsewhere for an owner at time `loadedAt` (milliseconds, as `now` gives). */
  put(key: string, owner: string, value: V, loadedAt: number): void {
    this.#failures.delete(key)
    this.#values.set(key, { content: value, expires: loadedAt + this.#options.maxAgeSeconds * 1000 }, owner)
    this.#scheduleSweep()
  }

  /** The value, if it is cached and has not expired; nothing is loaded. */
  peek(key: string): V | undefined {
    return fresh(this.#values, key, this.#options.now())?.content
  }

  /** Drops everything about a key, including the result of a load in progress. */
  forget(key: string): void {
    this.#values.delete(key)
    this.#failures.delete(key)
    this.#flights.delete(key)
  }

  /** Drops an entry unless another caller has replaced it. */
  drop(key: string, value: V): void {
    if (this.#values.get(key)?.content === value) this.#values.delete(key)
  }

  /** Drops everything. Loads in progress reach their callers, but are not cached. */
  clear(): void {
    this.#values.clear()
    this.#failures.clear()
    this.#flights.clear()
    this.#stopSweeping()
  }

  /** Drops expired entries, so that keys leave memory when they expire and not at their next use. */
  sweep(): void {
    const now = this.#options.now()
    for (const cache of [this.#values, this.#failures]) cache.sweep(({ expires }) => expires <= now)
    if (this.size === 0) this.#stopSweeping()
  }

  #start(key: string, owner: string, load: (signal: AbortSignal) => Promise<V>): SingleFlight<V> {
    const controller = new AbortController()
    const startedAt = this.#options.now()
    const flight: SingleFlight<V> = { result: load(controller.signal), controller, waiters: 0 }
    this.#flights.set(key, flight)
    flight.result.then(
      (value) => {
        if (this.#settle(key, flight)) this.put(key, owner, value, startedAt)
      },
      (error: unknown) => {
        if (this.#settle(key, flight)) this.#remember(key, owner, error)
      }
    )
    return flight
  }

  /** True when the load still counts: not aborted by all callers, and started after the last clear. */
  #settle(key: string, flight: SingleFlight<V>): boolean {
    if (this.#flights.get(key) !== flight) return false
    this.#flights.delete(key)
    return true
  }

  #cancel(key: string, flight: SingleFlight<V>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key)
    flight.controller.abort(new DOMException('Every caller has left.', 'AbortError'))
  }

  #remember(key: string, owner: string, error: unknown): void {
    const seconds = isTransient(error) ? TRANSIENT_FAILURE_SECONDS : PERMANENT_FAILURE_SECONDS
    this.#failures.set(key, { content: error, expires: this.#options.now() + seconds * 1000 }, owner)
    this.#scheduleSweep()
  }

  #scheduleSweep(): void {
    if (this.#sweeper !== null) return
    // At most a tenth of the age late; unref, because an idle cache must not keep a process alive.
    const period = Math.min(Math.max(this.#options.maxAgeSeconds * 100, 1000), 30_000)
    this.#sweeper = setInterval(() => {
      this.sweep()
    }, period).unref()
  }

  #stopSweeping(): void {
    if (this.#sweeper !== null) clearInterval(this.#sweeper)
    this.#sweeper = null
  }
}

async function rejected(reason: unknown): Promise<never> {
  throw reason
}

/** Worth a retry soon. Other errors than S3Errors are faults of the gateway or the network, never of the key. */
function isTransient(error: unknown): boolean {
  return !(error instanceof S3Error) || error.code === 'ServiceUnavailable' || error.code === 'SlowDown'
}

/** The entry if it has not expired. */
function fresh<T>(cache: FairCache<Entry<T>>, key: string, now: number): Entry<T> | null {
  const entry = cache.get(key)
  if (entry === undefined) return null
  if (entry.expires > now) return entry
  cache.delete(key)
  return null
}
