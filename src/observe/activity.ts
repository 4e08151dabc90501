import { nameOf } from '../diagnosis.ts'
import { requestBuckets, statusClass } from './metrics.ts'

const MINUTE_MS = 60_000
/** Minutes that are kept. */
export const MINUTES = 60
/** Error codes that are counted by name in one minute. */
const MOST_CODES = 24
/** Integrity failures that are kept. */
const MOST_FAILURES = 50

/** Calls of stores or of key services. */
export interface Calls {
  readonly calls: number
  readonly failed: number
  /** Of all together, and of the longest. */
  readonly seconds: number
  readonly longest: number
}

export interface Minute {
  /** Since 1970. */
  readonly minute: number
  /** By class of status: see `statusClass`. */
  readonly requests: Readonly<Record<string, number>>
  readonly codes: Readonly<Record<string, number>>
  /** Bytes of bodies from and to clients. */
  readonly bytesIn: number
  readonly bytesOut: number
  /** Requests by duration, as in `sealgate_request_duration_seconds`: one number for each bound, and one for longer ones. */
  readonly durations: readonly number[]
  readonly store: Calls
  readonly kms: Calls
}

export interface IntegrityFailure {
  /** ISO 8601. */
  readonly at: string
  readonly kind: string
}

/** What happened in the last hour. Minutes in which nothing happened are left out. */
export interface Activity {
  readonly minutes: readonly Minute[]
  /** The last ones since the start, oldest first. */
  readonly integrityFailures: readonly IntegrityFailure[]
}

type Writable<T> = T extends number ? T : { -readonly [K in keyof T]: Writable<T[K]> }

const noCalls: Calls = { calls: 0, failed: 0, seconds: 0, longest: 0 }

/** Counts the last hour by minutes, for the status page. It needs the same memory whatever clients and stores do. */
export class ActivityRecorder {
  readonly #now: () => number
  #minutes: Writable<Minute>[] = []
  #failures: readonly IntegrityFailure[] = []

  /** @param now milliseconds since 1970: the minutes of several processes are added up. */
  constructor(now: () => number = () => Date.now()) {
    this.#now = now
  }

  request(
    record: { readonly status: number | null; readonly code: string | null; readonly seconds: number; readonly bytesIn: number; readonly bytesOut: number }
  ): void {
    const minute = this.#minute()
    count(minute.requests, statusClass(record.status, record.code))
    if (record.code !== null) {
      const code = nameOf(record.code) ?? 'other'
      count(minute.codes, Object.hasOwn(minute.codes, code) || Object.keys(minute.codes).length < MOST_CODES ? code : 'other')
    }
    minute.bytesIn += record.bytesIn
    minute.bytesOut += record.bytesOut
    const found = requestBuckets.findIndex((seconds) => record.seconds <= seconds)
    const bound = found === -1 ? requestBuckets.length : found
    minute.durations[bound] = (minute.durations[bound] ?? 0) + 1
  }

  called(service: 'store' | 'kms', seconds: number, failed: boolean): void {
    const calls = this.#minute()[service]
    calls.calls += 1
    if (failed) calls.failed += 1
    calls.seconds += seconds
    calls.longest = Math.max(calls.longest, seconds)
  }

  /** @param kind from a closed set */
  integrityFailure(kind: string): void {
    this.#failures = [...this.#failures, { at: new Date(this.#now()).toISOString(), kind }].slice(-MOST_FAILURES)
  }

  report(): Activity {
    this.#forget(this.#number())
    return { minutes: structuredClone(this.#minutes), integrityFailures: this.#failures }
  }

  /** A clock that is set back adds to the newest minute. */
  #number(): number {
    return Math.max(Math.floor(this.#now() / MINUTE_MS), this.#minutes.at(-1)?.minute ?? 0)
  }

  #minute(): Writable<Minute> {
    const number = this.#number()
    const last = this.#minutes.at(-1)
    if (last?.minute === number) return last
    this.#forget(number)
    const durations = new Array<number>(requestBuckets.length + 1).fill(0)
    const fresh = { minute: number, requests: {}, codes: {}, bytesIn: 0, bytesOut: 0, durations, store: { ...noCalls }, kms: { ...noCalls } }
    this.#minutes.push(fresh)
    return fresh
  }

  #forget(newest: number): void {
    this.#minutes = this.#minutes.filter(({ minute }) => minute > newest - MINUTES)
  }
}

/** The activity of several processes. */
export function mergeActivities(all: readonly Activity[]): Activity {
  const merged = new Map<number, Minute>()
  for (const minute of all.flatMap(({ minutes }) => minutes)) {
    const before = merged.get(minute.minute)
    merged.set(minute.minute, before === undefined ? minute : addedMinutes(before, minute))
  }
  const minutes = [...merged.values()].toSorted((a, b) => a.minute - b.minute)
  return {
    minutes: minutes.filter(({ minute }) => minute > (minutes.at(-1)?.minute ?? 0) - MINUTES),
    integrityFailures: all.flatMap(({ integrityFailures }) => integrityFailures).toSorted((a, b) => a.at < b.at ? -1 : 1).slice(-MOST_FAILURES)
  }
}

function addedMinutes(a: Minute, b: Minute): Minute {
  return {
    minute: a.minute,
    requests: addedCounts(a.requests, b.requests),
    codes: addedCounts(a.codes, b.codes),
    bytesIn: a.bytesIn + b.bytesIn,
    bytesOut: a.bytesOut + b.bytesOut,
    durations: a.durations.map((number, i) => number + (b.durations[i] ?? 0)),
    store: added(a.store, b.store),
    kms: added(a.kms, b.kms)
  }
}

function added(a: Calls, b: Calls): Calls {
  return { calls: a.calls + b.calls, failed: a.failed + b.failed, seconds: a.seconds + b.seconds, longest: Math.max(a.longest, b.longest) }
}

function addedCounts(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> {
  const sum = { ...a }
  for (const [name, number] of Object.entries(b)) count(sum, name, number)
  return sum
}

/** The sum of calls over minutes. */
export function sumOfCalls(minutes: readonly Minute[], service: 'store' | 'kms'): Calls {
  return minutes.map((minute) => minute[service]).reduce(added, noCalls)
}

/**
 * The duration that a share of the requests did not exceed, from the counts of a minute, as Prometheus interpolates it (`histogram_quantile`).
 * @param share between 0 and 1. @returns seconds; null: there were no requests.
 */
export function quantile(durations: readonly number[], share: number): number | null {
  const all = durations.reduce((sum, number) => sum + number, 0)
  if (all === 0) return null
  let before = 0
  for (const [i, number] of durations.entries()) {
    const upper = requestBuckets[i]
    const lower = requestBuckets[i - 1] ?? 0
    if (upper === undefined) return lower
    if (before + number >= all * share && number > 0) return lower + (upper - lower) * Math.max(0, all * share - before) / number
    before += number
  }
  return null
}

/** Names may be those of every object's members. */
function count(counts: Record<string, number>, name: string, more = 1): void {
  counts[name] = (Object.hasOwn(counts, name) ? counts[name] ?? 0 : 0) + more
}
