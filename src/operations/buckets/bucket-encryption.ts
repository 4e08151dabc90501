import type { HttpResponse } from '../../http/message.ts'
import type { BucketEncryption } from '../../s3/bucket-encryption.ts'
import type { KeyContext, KeyUse } from '../../keys/types.ts'
import type { Execution } from '../context.ts'
import { bucketRecordHash, openBucketRecord, parseBucketRecord, sealBucketRecord, type RecordPlace } from '../../envelope/bucket-record.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { readBucketEncryption, renderBucketEncryption } from '../../s3/bucket-encryption.ts'
import { clientDocument } from '../../s3/documents.ts'
import { parseErrorXml } from '../../s3/error-document.ts'
import { parseXml, upstreamDocument } from '../../s3/xml.ts'
import { readDocument } from '../request-body.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { bucketOf, keyContext, keyUse, placeOf, send } from '../context.ts'
import { StateBucket } from '../multipart/upload-state.ts'
import { openerIn } from '../objects/object-keys.ts'
import { relayError } from '../responses.ts'
import { verified } from '../objects/sealed-object.ts'

/**
 * Put-, Get- and DeleteBucketEncryption: a default of the gateway's own, kept sealed in the state bucket. The store never
 * hears of it, because what it would encrypt is sealed already. It chooses for writers who ask for nothing and may forbid
 * customers' keys; what the configuration demands it cannot loosen. The configuration says who may change it: clients that may write to the
 * bucket. The store can refuse in addition (`checkRight`), and grant nothing.
 */
export async function bucketEncryption(x: Execution): Promise<HttpResponse> {
  const bucket = bucketOf(x)
  if (x.operation.name === 'PutBucketEncryption') {
    // A document that is not the signed one must not make the gateway ask the store.
    const wanted = readBucketEncryption(await readDocument(x), clientDocument(x.parts.config.limits.xmlBytes))
    await checkRight(x)
    await writeDefault(x, bucket, wanted)
    return { status: 200, headers: [['content-length', '0']], body: null }
  }
  await checkRight(x)
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

/**
 * Whether there is such a bucket, and for a client with an identity of its own at the store, whether the store would let it do the same there:
 * the store's own setting is read, and for a change written back as it is (or removed where it has none), which changes nothing and needs
 * exactly the right in question (s3:GetEncryptionConfiguration, s3:PutEncryptionConfiguration). A store that does not know the setting is asked
 * for the bucket's ACL, which its owner may read.
 * @throws S3Error of the store.
 */
async function checkRight(x: Execution): Promise<void> {
  const { client } = x.request
  if (client !== null && client.upstream === null) return expectSuccess(x, { method: 'HEAD', retry: true })
  const query = [['encryption', null]] as const
  const response = await send(x, { method: 'GET', query, retry: true })
  if (response.status === 403) throw await relayError(x, response)
  const document = await readAll(response.body, upstreamDocument.maxBytes, () => new S3Error('SealgateBadUpstream'))
  const known = response.status === 200 && rootOf(document) === 'ServerSideEncryptionConfiguration'
  // radosgw 16 takes this GET for a listing, and would take the DELETE for one of the bucket.
  const absent = response.status === 404 && parseErrorXml(document)?.code === 'ServerSideEncryptionConfigurationNotFoundError'
  if (!known && !absent) return expectSuccess(x, { method: 'GET', query: [['acl', null]], retry: true })
  if (x.operation.name === 'GetBucketEncryption') return
  await (known
    ? expectSuccess(x, { method: 'PUT', query, headers: [contentMd5(document), ['content-type', 'application/xml']], body: document })
    : expectSuccess(x, { method: 'DELETE', query }))
}

async function expectSuccess(x: Execution, sent: Parameters<typeof send>[1]): Promise<void> {
  const response = await send(x, sent)
  if (response.status >= 300) throw await relayError(x, response)
  response.body.resume()
}

function rootOf(document: Buffer): string | null {
  try {
    return parseXml(document, upstreamDocument).root.name
  } catch {
    return null
  }
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
