import type { HttpResponse } from '../http/message.ts'
import type { BucketEncryption } from '../s3/bucket-encryption.ts'
import type { KeyContext, KeyUse } from '../keys/types.ts'
import type { Execution } from './context.ts'
import { bucketRecordHash, openBucketRecord, parseBucketRecord, sealBucketRecord, type RecordPlace } from '../envelope/bucket-record.ts'
import { S3Error } from '../errors.ts'
import { readBucketEncryption, renderBucketEncryption } from '../s3/bucket-encryption.ts'
import { clientDocument } from '../s3/documents.ts'
import { upstreamDocument } from '../s3/xml.ts'
import { readDocument } from './body.ts'
import { bucketOf, keyContext, keyUse, placeOf, send } from './context.ts'
import { StateBucket } from './multipart/state-bucket.ts'
import { openerIn } from './object-keys.ts'
import { relayError } from './relay-error.ts'
import { verified } from './stored-object.ts'

/**
 * Put-, Get- and DeleteBucketEncryption: a default of the gateway's own, kept sealed in the state bucket. The store never
 * hears of it, because what it would encrypt is sealed already. It chooses for writers who ask for nothing and may forbid
 * customers' keys; what the configuration demands it cannot loosen.
 */
export async function bucketEncryption(x: Execution): Promise<HttpResponse> {
  const bucket = bucketOf(x)
  if (x.operation.name === 'PutBucketEncryption') {
    // A document that is not the signed one must not make the gateway ask the store.
    const wanted = readBucketEncryption(await readDocument(x), clientDocument(x.parts.config.limits.xmlBytes))
    await checkOwner(x)
    await writeDefault(x, bucket, wanted)
    return { status: 200, headers: [['content-length', '0']], body: null }
  }
  await checkOwner(x)
  if (x.operation.name === 'DeleteBucketEncryption') {
    await removeBucketDefault(x, bucket)
    return { status: 204, headers: [], body: null }
  }
  const found = await readDefault(x, bucket)
  if (found === null) throw new S3Error('ServerSideEncryptionConfigurationNotFoundError', { fields: { BucketName: bucket } })
  const body = renderBucketEncryption(found)
  return { status: 200, headers: [['content-type', 'application/xml'], ['content-length', String(body.length)]], body }
}

/** The bucket's own default, from the cache or the state bucket; null when it has none. @throws S3Error SealgateIntegrityError. */
export async function bucketDefault(x: Execution, bucket: string): Promise<BucketEncryption | null> {
  const cached = x.parts.settings.encryption.get(bucket)
  if (cached !== undefined) return cached
  const found = await readDefault(x, bucket)
  x.parts.settings.encryption.set(bucket, found)
  return found
}

/** Also where there is none. @throws S3Error ServiceUnavailable when the store would not remove it. */
export async function removeBucketDefault(x: Execution, bucket: string): Promise<void> {
  if (await stateOf(x).remove([recordName(x, bucket)]) > 0) {
    throw new S3Error('ServiceUnavailable', { message: 'The state bucket of the gateway cannot be used.' })
  }
  // Now, and not before: a write in between may have read and remembered it.
  x.parts.settings.encryption.set(bucket, null)
}

/** The store says whether there is such a bucket, and whose it is: whoever may read its ACL may settle its encryption. */
async function checkOwner(x: Execution): Promise<void> {
  const response = await send(x, { method: 'GET', query: [['acl', null]], retry: true })
  if (response.status !== 200) throw await relayError(x, response)
  response.body.resume()
}

async function writeDefault(x: Execution, bucket: string, value: BucketEncryption): Promise<void> {
  const use = useOf(x, bucket)
  // A key that no write could use later is refused now.
  if (value.kmsKeyId !== null) x.parts.keys.resolve(value.kmsKeyId, x.policy, use)
  const { key, wrapped } = await x.parts.keys.providerFor(x.policy.key).generate(contextOf(x, bucket), use)
  await stateOf(x).put(recordName(x, bucket), sealBucketRecord(key, wrapped, recordPlace(x, bucket), renderBucketEncryption(value)), false)
  x.parts.settings.encryption.set(bucket, value)
}

async function readDefault(x: Execution, bucket: string): Promise<BucketEncryption | null> {
  const body = await stateOf(x).get(recordName(x, bucket))
  if (body === null) return null
  const document = await verified(x, async () => {
    const record = parseBucketRecord(body)
    const use = useOf(x, bucket)
    const kek = await openerIn(x, bucket, record.keyId, use).unwrap(record, contextOf(x, bucket), use)
    return openBucketRecord(record, kek, recordPlace(x, bucket))
  })
  return readBucketEncryption(document, upstreamDocument)
}

function stateOf(x: Execution): StateBucket {
  return new StateBucket(x.parts.upstream, x.parts.config.upstream.stateBucket, x.request.request.signal)
}

function recordPlace(x: Execution, bucket: string): RecordPlace {
  return { realm: x.parts.config.upstream.realm, bucket }
}

function recordName(x: Execution, bucket: string): string {
  return bucketDefaultName(recordPlace(x, bucket))
}

/** Where the default of a bucket lies in the state bucket. */
export function bucketDefaultName(place: RecordPlace): string {
  return `encryption/${bucketRecordHash(place).toString('hex')}`
}

function contextOf(x: Execution, bucket: string): KeyContext {
  return keyContext(placeOf(x, bucket, ''), true, {})
}

function useOf(x: Execution, bucket: string): KeyUse {
  return { ...keyUse(x, placeOf(x, bucket, '')), objectKey: null }
}
