// `rewrap` of an object, as an action of the engine, and of the default encryption of a bucket. How one object is re-wrapped is in rewrap-object.ts.
import type { BucketClient } from '../store-client/bucket-client.ts'
import type { NamedProvider } from '../keys/configured-key.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyContext, KeyUse, WrappedBucketKey } from '../keys/types.ts'
import type { KeyPins } from '../config/pins.ts'
import type { Conditions } from '../store-client/probe-conditions.ts'
import { type RewrapJob, rewrapObject } from './rewrap-object.ts'
import { S3Error } from '../errors.ts'
import { unexamined, type Action, type Finding } from './engine.ts'
import { storedBytes, type KeyCounts } from './key-usage.ts'
import { judge, outcomes } from './verdict.ts'
import { type BucketRecord, type RecordPlace, encodeBucketRecord, openBucketRecord, parseBucketRecord, sealBucketRecord } from '../envelope/bucket-record.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { bucketDefaultName } from '../operations/buckets/bucket-encryption.ts'
import { unquoteEtag } from '../s3/conditions.ts'

/** Objects by the key id that they had, and by the one that they got. In a dry run: would have had and got. */
export interface RewrapCounts {
  readonly from: KeyCounts
  readonly to: KeyCounts
}

/**
 * Re-wraps the current version of an object that is not under the current version of its target key. It keeps no state: what is done is skipped, so a
 * run may be stopped and started again at any time.
 * @param dryRun examines every object, but changes and unwraps nothing.
 */
export function rewrapAction(job: RewrapJob, dryRun: boolean, counts: RewrapCounts): Action {
  return async (row, signal) => {
    const result = dryRun ? await previewRewrap(job, row.key, signal) : await rewrapObject(job, row.key, signal)
    if (result.outcome === 'gone') return null
    const found = (outcome: string, keyId: string | null = null): Finding => ({ ...unexamined(row), keyId, outcome })
    if (result.outcome === 'busy') return found(outcomes.busy)
    if (result.outcome === 'left') return found(outcomes[result.reason])
    counts.from.add(result.keyId, result.bytes)
    counts.to.add(result.to, result.bytes)
    return found(dryRun ? outcomes.due : outcomes.done, result.to)
  }
}

async function previewRewrap(job: RewrapJob, key: string, signal: AbortSignal): ReturnType<typeof rewrapObject> {
  const headers = await job.bucket.until(signal).head(key)
  if (headers === null) return { outcome: 'gone' }
  const verdict = judge(headers, { ...job, pins: job.pinsFor(key) }, job.useFor(key, headers.get('x-amz-version-id') ?? null), new Date())
  return verdict.kind === 'leave'
    ? { outcome: 'left', reason: verdict.reason }
    : { outcome: 'rewrapped', keyId: verdict.keyId, to: verdict.to.currentKeyId() ?? '', bytes: storedBytes(headers) }
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
