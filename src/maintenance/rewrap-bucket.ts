// Engines of the commands that work on whole buckets: `rewrap` here and in rewrap-object.ts, `keys usage` in key-usage.ts, `gc` in garbage.ts.
// They use the store through store-client and read objects as the handlers of `operations` do; no request of a client passes here.
// Each can be killed at any time and run again.
import type { BucketClient } from '../store-client/bucket-client.ts'
import type { NamedProvider } from '../keys/configured-key.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyContext, KeyUse, WrappedBucketKey } from '../keys/types.ts'
import type { KeyPins } from '../config/pins.ts'
import type { Conditions } from '../store-client/probe-conditions.ts'
import { type RewrapJob, rewrapObject } from './rewrap-object.ts'
import { S3Error } from '../errors.ts'
import { parallel, rowsOf } from '../concurrency/parallel.ts'
import { KeyCounts, storedBytes } from './key-usage.ts'
import { allVersions } from './sources.ts'
import { judge, type Reason } from './verdict.ts'
import { type BucketRecord, type RecordPlace, encodeBucketRecord, openBucketRecord, parseBucketRecord, sealBucketRecord } from '../envelope/bucket-record.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { bucketDefaultName } from '../operations/buckets/bucket-encryption.ts'
import { unquoteEtag } from '../s3/conditions.ts'

/** Consecutive failures after which the command stops: then the cause is not the objects. */
const FAILURES_IN_A_ROW = 25

interface RewrapRun {
  readonly prefix: string
  /** Check every object, but change and unwrap nothing. */
  readonly dryRun: boolean
  readonly concurrency: number
  readonly onObject: () => void
  /** Called for every object that could not be re-wrapped. */
  readonly onFailure: (key: string, error: S3Error) => void
}

/** Result of a re-wrap, by outcome. */
export interface Rewrapped {
  /** By the key id they had. In a dry run: those that would be re-wrapped. */
  readonly from: KeyCounts
  /** By the key id they got. */
  readonly to: KeyCounts
  readonly left: Readonly<Record<Reason, number>>
  readonly gone: number
  readonly busy: number
  readonly failed: number
}

/**
 * Re-wraps the current version of every object under a prefix that is not under the current version of its target key. It keeps no state: finished
 * objects are skipped, so it may be stopped and started again at any time.
 * @throws S3Error when the bucket cannot be listed or object after object fails; signal.reason when stopped.
 */
export async function rewrapBucket(job: RewrapJob, run: RewrapRun): Promise<Rewrapped> {
  const left: Record<Reason, number> = { current: 0, customer: 0, plain: 0, archived: 0, locked: 0, pinned: 0 }
  const counts = { gone: 0, busy: 0, failed: 0 }
  const from = new KeyCounts()
  const to = new KeyCounts()
  let inARow = 0
  const rows = rowsOf(job.bucket.objects(run.prefix))
  await parallel(rows, { limit: run.concurrency, signal: job.bucket.signal }, async ({ key }, signal) => {
    try {
      const result = run.dryRun ? await previewRewrap(job, key, signal) : await rewrapObject(job, key, signal)
      inARow = 0
      if (result.outcome === 'left') left[result.reason] += 1
      else if (result.outcome === 'rewrapped') {
        from.add(result.keyId, result.bytes)
        to.add(result.to, result.bytes)
      } else counts[result.outcome] += 1
    } catch (error) {
      // Aborted because another object failed: not a failure of this one.
      if (signal.aborted || !(error instanceof S3Error)) throw error
      counts.failed += 1
      inARow += 1
      run.onFailure(key, error)
      if (inARow >= FAILURES_IN_A_ROW) throw error
    }
    run.onObject()
  })
  return { from, to, left, ...counts }
}

async function previewRewrap(job: RewrapJob, key: string, signal: AbortSignal): ReturnType<typeof rewrapObject> {
  const headers = await job.bucket.until(signal).head(key)
  if (headers === null) return { outcome: 'gone' }
  const verdict = judge(headers, { ...job, pins: job.pinsFor(key) }, job.useFor(key, headers.get('x-amz-version-id') ?? null), new Date())
  return verdict.kind === 'leave'
    ? { outcome: 'left', reason: verdict.reason }
    : { outcome: 'rewrapped', keyId: verdict.keyId, to: verdict.to.currentKeyId() ?? '', bytes: storedBytes(headers) }
}

/** Number of objects under a prefix, and of their older versions. */
export interface BucketCount {
  readonly objects: number
  /** Versions that are not current: their keys stay as they are. */
  readonly noncurrent: number
}

export async function countObjects(bucket: BucketClient, prefix: string, versioned: boolean): Promise<BucketCount> {
  let objects = 0
  let noncurrent = 0
  if (!versioned) {
    for await (const page of bucket.objects(prefix)) objects += page.length
    return { objects, noncurrent }
  }
  for await (const page of allVersions(bucket, prefix)) {
    const versions = page.filter(({ deleteMarker }) => !deleteMarker)
    const current = versions.filter(({ isLatest }) => isLatest).length
    objects += current
    noncurrent += versions.length - current
  }
  return { objects, noncurrent }
}

interface DefaultJob {
  readonly state: BucketClient
  readonly place: RecordPlace
  readonly keys: KeyRegistry
  /** The keys of the bucket itself. */
  readonly pins: KeyPins
  /** null: it stays with the key that owns it. */
  readonly target: NamedProvider | null
  readonly conditions: Conditions
  readonly use: KeyUse
}

/**
 * Re-wraps the default encryption of a bucket, which is sealed in the state bucket, under the target key: under a disabled key it would make every
 * write fail.
 * @returns false when there is none or it is under the current key already.
 * @throws S3Error PreconditionFailed when it was changed meanwhile; of the key providers.
 */
export async function rewrapDefault(job: DefaultJob): Promise<boolean> {
  const { state, place, keys, pins, target, conditions, use } = job
  const key = bucketDefaultName(place)
  const { status, headers, body } = await state.answer({ method: 'GET', key, retry: true })
  if (status === 404) return false
  if (status !== 200) throw new S3Error('SealgateBadUpstream')
  const record = parse(body)
  const from = keys.openerOf(record.keyId, pins, use)
  const to = target ?? from
  if (to.currentKeyId() === record.keyId) return false
  const etag = headers.get('etag') ?? ''
  const condition = conditions.put ? [['if-match', conditions.putEtags === 'bare' ? unquoteEtag(etag) : etag] as const] : []
  const renewed = await renew(job, record, from, to)
  await state.document({ method: 'PUT', key, body: renewed, headers: condition })
  return true
}

async function renew({ place, use }: DefaultJob, record: BucketRecord, from: NamedProvider, to: NamedProvider): Promise<Buffer> {
  const context: KeyContext = { ...place, objectKey: null, requestContext: {} }
  const wrapped: WrappedBucketKey = { keyId: record.keyId, blob: record.blob }
  if (to.provider.rewraps(record.keyId)) return encodeBucketRecord({ ...await to.provider.rewrap(wrapped, context, context, use), box: record.box })
  const document = openBucketRecord(record, await from.provider.unwrap(wrapped, context, use), place)
  const fresh = await to.provider.generate(context, use)
  return sealBucketRecord(fresh.key, fresh.wrapped, place, document)
}

function parse(body: Buffer): BucketRecord {
  try {
    return parseBucketRecord(body)
  } catch (error) {
    if (error instanceof EnvelopeError) {
      throw new S3Error('SealgateIntegrityError', { message: 'The default encryption of the bucket does not open.', cause: error })
    }
    throw error
  }
}
