import type { NamedProvider } from '../keys/configured-key.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyContext, KeyUse, WrappedBucketKey } from '../keys/types.ts'
import type { BucketRecord, RecordPlace } from '../envelope/bucket-record.ts'
import type { KeyPins } from '../config/config.ts'
import type { Conditions } from '../store-client/probe-conditions.ts'
import { encodeBucketRecord, openBucketRecord, parseBucketRecord, sealBucketRecord } from '../envelope/bucket-record.ts'
import { EnvelopeError } from '../envelope/error.ts'
import { bucketDefaultName } from '../operations/buckets/bucket-encryption.ts'
import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import type { StoredBucket } from '../store-client/bucket-client.ts'

const RECORD_LIMIT_BYTES = 65_536

export interface DefaultJob {
  readonly state: StoredBucket
  readonly place: RecordPlace
  readonly keys: KeyRegistry
  /** Which keys may open what is of this bucket. */
  readonly pins: KeyPins
  /** null: it stays with the key that owns it. */
  readonly target: NamedProvider | null
  readonly conditions: Conditions
  readonly use: KeyUse
}

/**
 * Brings the default encryption of a bucket, which lies sealed in the state bucket, under the target key: under a key that was
 * disabled it would keep every write out.
 * @returns false when there is none or it is under the current key already.
 * @throws S3Error PreconditionFailed when it was set anew meanwhile; of the key providers.
 */
export async function rewrapDefault(job: DefaultJob): Promise<boolean> {
  const { state, place, keys, pins, target, conditions, use } = job
  const key = bucketDefaultName(place)
  const response = await state.send({ method: 'GET', key, retry: true })
  const body = await readAll(response.body, RECORD_LIMIT_BYTES, () => new S3Error('SealgateBadUpstream'))
  if (response.status === 404) return false
  if (response.status !== 200) throw new S3Error('SealgateBadUpstream')
  const record = parse(body)
  const from = keys.openerOf(record.keyId, pins, use)
  const to = target ?? from
  if (to.currentKeyId() === record.keyId) return false
  const etag = response.headers.get('etag') ?? ''
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
    if (error instanceof EnvelopeError) throw new S3Error('SealgateIntegrityError', { message: 'The default encryption of the bucket does not open.', cause: error })
    throw error
  }
}
