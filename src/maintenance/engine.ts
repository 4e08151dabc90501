// The engine of the commands that work on existing objects: source (sources.ts, inventory.ts) → filter → action → report (report.ts, evidence.ts), with
// a ledger of what is done (ledger.ts). Actions: `scan` (classify.ts), `encrypt`, `decrypt`, `verify` (their -object.ts), `rewrap` (rewrap-bucket.ts),
// `keys usage` (key-usage.ts). `gc` (garbage.ts) walks the state of uploads instead. They use the store through store-client; no request of a client
// passes here, and each can be killed at any time and run again. Memory is the same for any number of objects.
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { TokenBucket } from '../collections/token-bucket.ts'
import { InOrder } from '../concurrency/in-order.ts'
import { parallel, rowsOf } from '../concurrency/parallel.ts'
import { S3Error } from '../errors.ts'
import type { Fault } from './faults.ts'

/** Every state, in the order of reports, with what it means. */
export const states = {
  'sealed': 'encrypted by Sealgate for this name',
  'sealed-elsewhere': 'encrypted by Sealgate for another bucket, name, realm or key: does not open here',
  'plaintext': 'not encrypted by Sealgate or a tool known to it',
  's3ec-v1': 'written by the Amazon S3 Encryption Client, version 1 of its format',
  's3ec-v2': 'written by the Amazon S3 Encryption Client, version 2 of its format',
  's3ec-v3': 'written by the Amazon S3 Encryption Client, version 3 of its format',
  'sse-c': 'encrypted with a key that only a client has',
  'encrypted-by-tool': 'encrypted by another tool, seen by its first bytes or its name',
  'store-file': 'written by the store itself: access log or inventory',
  'damaged': 'encrypted by Sealgate, and its metadata or its size is not what Sealgate wrote',
  'archived': 'in an archive class and not encrypted by Sealgate: its body cannot be read now',
  'delete-marker': 'a delete marker: nothing to encrypt'
} as const
type State = keyof typeof states
type FoundState = State | 'failed'

/** An object, or a version of one, as a listing or an inventory names it. null: the source does not say. */
export interface Row {
  readonly key: string
  readonly versionId: string | null
  readonly isLatest: boolean
  readonly deleteMarker: boolean
  /** Stored bytes. */
  readonly size: number | null
  /** Without quotes. */
  readonly etag: string | null
  /** Milliseconds since 1970, by the store's clock. */
  readonly lastModified: number | null
  readonly storageClass: string | null
}

/** Pages of rows. */
export type Source = AsyncIterable<readonly Row[]>

/** What was found out about one row, and what was done: a line of the report. */
export interface Finding {
  readonly key: string
  readonly versionId: string | null
  /** `failed`: it could not be examined; `detail` says why. null: the action does not find it out. */
  readonly state: FoundState | null
  /** Bytes as a client sees them; null where only opening the object would show them. */
  readonly size: number | null
  readonly storedBytes: number | null
  /** Of the store, without quotes, of the object that is there now; null: not known. */
  readonly etag: string | null
  /** Id of the key that sealed it. */
  readonly keyId: string | null
  /** For people; empty where the state says everything. */
  readonly detail: string
  /** What an action that changes objects came to, such as `encrypted`. */
  readonly outcome: string | null
  /** What `verify` came to. */
  readonly verdict: string | null
  /** What is wrong with it; null: nothing is known to be. */
  readonly fault: Fault | null
  /** Milliseconds since 1970. */
  readonly lastModified: number | null
}

/** Of an action that finds out the state. */
export type KnownFinding = Finding & { readonly state: FoundState }

/** Examines a row, and may change its object. null: there is no such object any more. @throws S3Error for what keeps it from being examined. */
export type Action = (row: Row, signal: AbortSignal) => Promise<Finding | null>

export interface Limits {
  /** Rows at once. */
  readonly concurrency: number
  /** Rows per second; null: no limit. */
  readonly perSecond: number | null
  /** Stored bytes per second, counted before an object is begun; null: no limit. */
  readonly bytesPerSecond: number | null
}

/** One of several runs that share a bucket: `index` counts from 1. */
export interface Shard {
  readonly index: number
  readonly of: number
}

export interface Run {
  readonly source: Source
  /** False: the row is not of interest, and is not counted. */
  readonly filter: (row: Row) => boolean
  readonly action: Action
  readonly limits: Limits
  readonly shard: Shard | null
  /** A row is passed over when this knows it as done; absent: none is. */
  readonly isDone?: (row: Row) => boolean
  /** Called for every finding, one after the other, in the order of the source. */
  readonly onFinding: (finding: Finding, row: Row) => void | Promise<void>
  /** Called once, with the totals as they grow: what a run that is stopped has come to. */
  readonly onTotals?: (totals: Totals) => void
  readonly signal: AbortSignal
}

/** Counts of one state or outcome. */
export interface Count {
  objects: number
  /** As clients see them, where known. */
  bytes: number
  storedBytes: number
  /** Milliseconds since 1970, of the oldest; null: not known. */
  oldest: number | null
  /** Keys of the first ten. */
  readonly examples: string[]
}

/** The result of a run. Labels are the words of this program, so they are few. */
export interface Totals {
  readonly states: ReadonlyMap<FoundState, Count>
  /** Outcomes and verdicts. */
  readonly outcomes: ReadonlyMap<string, Count>
  readonly faults: ReadonlyMap<Fault, Count>
  /** Deleted since they were listed. */
  readonly gone: number
  /** Passed over, because they were done before. */
  readonly skipped: number
  /** Stored bytes of those, where the source says them. */
  readonly skippedBytes: number
  /** Every row of the source that passed the filter and belongs to the shard. */
  readonly rows: number
}

/** Failures one after the other after which a run stops: then the cause is not the objects. */
const FAILURES_IN_A_ROW = 25
const EXAMPLES = 10
/** Findings that may wait for an object before them, which may be a large one: some MiB. */
const MOST_WAITING = 10_000

/**
 * Runs an action over all rows of a source. A row that fails is a finding; the run goes on.
 * @throws S3Error when row after row fails or the source fails; signal.reason when stopped. What was found before has been told.
 */
export async function runEngine(run: Run): Promise<Totals> {
  const totals = noTotals()
  run.onTotals?.(totals)
  const pace = paceOf(run.limits)
  const told = new InOrder<readonly [Finding, Row]>(MOST_WAITING, ([finding, row]) => {
    count(totals, finding)
    return run.onFinding(finding, row)
  })
  const examine = examiner(run)
  try {
    await parallel(rowsOf(run.source), { limit: run.limits.concurrency, signal: run.signal }, async (row, signal) => {
      if (!run.filter(row) || (run.shard !== null && !isIn(run.shard, row.key))) return
      totals.rows += 1
      if (run.isDone?.(row) === true) {
        totals.skipped += 1
        totals.skippedBytes += row.size ?? 0
        return
      }
      const place = told.begin()
      try {
        await pace(row.size ?? 0, signal)
        const finding = await examine(row, signal)
        if (finding === null) totals.gone += 1
        await told.end(place, finding === null ? null : [finding, row])
      } catch (error) {
        told.stop()
        throw error
      }
    })
  } finally {
    await told.flush()
  }
  return totals
}

/** Runs the action. A row that cannot be examined is a finding, until too many are, one after the other. */
function examiner({ action }: Run): Action {
  let inARow = 0
  return async (row, signal) => {
    try {
      const finding = await action(row, signal)
      inARow = 0
      return finding
    } catch (error) {
      // Aborted because another row failed: not a failure of this one.
      if (signal.aborted || !(error instanceof S3Error)) throw error
      inARow += 1
      if (inARow >= FAILURES_IN_A_ROW) throw error
      return failureOf(row, error)
    }
  }
}

function count({ states, outcomes, faults }: ReturnType<typeof noTotals>, finding: Finding): void {
  const cameTo = finding.outcome ?? finding.verdict
  if (finding.state !== null) add(states, finding.state, finding)
  if (cameTo !== null) add(outcomes, cameTo, finding)
  if (finding.fault !== null) add(faults, finding.fault, finding)
}

/** The totals of a run that has not begun. */
export function noTotals() {
  return {
    states: new Map<FoundState, Count>(),
    outcomes: new Map<string, Count>(),
    faults: new Map<Fault, Count>(),
    gone: 0,
    skipped: 0,
    skippedBytes: 0,
    rows: 0
  }
}

/** What the source says of a row, and nothing else. */
export function unexamined({ key, versionId, size, etag, lastModified }: Row): Finding {
  const unknown = { state: null, size: null, keyId: null, outcome: null, verdict: null, fault: null }
  return { ...unknown, key, versionId, storedBytes: size, etag, detail: '', lastModified }
}

function failureOf(row: Row, { code, message }: S3Error): Finding {
  return { ...unexamined(row), state: 'failed', detail: `${code}: ${message}` }
}

function add<K extends string>(counts: Map<K, Count>, label: K, { key, size, storedBytes, lastModified }: Finding): void {
  const count = counts.get(label) ?? { objects: 0, bytes: 0, storedBytes: 0, oldest: null, examples: [] }
  counts.set(label, count)
  count.objects += 1
  count.bytes += size ?? 0
  count.storedBytes += storedBytes ?? 0
  if (lastModified !== null && (count.oldest === null || lastModified < count.oldest)) count.oldest = lastModified
  if (count.examples.length < EXAMPLES) count.examples.push(key)
}

/** Which shard a key belongs to is the same in every run and on every machine. All versions of an object are in one. */
function isIn({ index, of }: Shard, key: string): boolean {
  return createHash('sha256').update(key).digest().readUInt32BE(0) % of === index - 1
}

/** Waits until a row may begin. Bytes of an object that is longer than a second's worth are a debt of those that follow. */
function paceOf({ perSecond, bytesPerSecond }: Limits): (bytes: number, signal: AbortSignal) => Promise<void> {
  const rows = perSecond === null ? null : new TokenBucket(perSecond, Math.max(1, perSecond))
  const traffic = bytesPerSecond === null ? null : new TokenBucket(bytesPerSecond, bytesPerSecond)
  return async (bytes, signal) => {
    for (;;) {
      const seconds = Math.max(rows?.secondsUntil(1) ?? 0, traffic?.secondsUntil(0) ?? 0)
      if (seconds === 0) break
      await delay(Math.ceil(seconds * 1000), undefined, { signal })
    }
    rows?.spend(1)
    traffic?.spend(bytes)
  }
}

/** Milliseconds below which the first wait after a transient failure is; it doubles each time. */
export const RETRY_MS = 200
const ATTEMPTS = 6

/** The store is overloaded, or the connection failed: trying again may help. */
export function isTransient(error: unknown): boolean {
  return error instanceof S3Error && [500, 502, 503, 504].includes(error.status) && error.code !== 'SealgateIntegrityError'
}

/**
 * Runs work that may be repeated, until it fails for a lasting reason or has failed six times. Waits are random, so that tasks side by side do not
 * come back together.
 * @param retryMs most milliseconds of the first wait. @throws the last failure; the reason of the signal.
 */
export async function withRetries<T>(work: () => Promise<T>, signal: AbortSignal, retryMs: number = RETRY_MS): Promise<T> {
  for (let attempt = 1;; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (!isTransient(error) || attempt === ATTEMPTS) throw error
      await delay(Math.random() * retryMs * 2 ** (attempt - 1), undefined, { signal })
    }
  }
}
