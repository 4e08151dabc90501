import type { HttpResponse } from '../../http/message.ts'
import type { BucketEncryption } from '../../s3/bucket-settings.ts'
import type { KeyContext, KeyUse } from '../../keys/types.ts'
import { type BucketContext, type OperationContext, keyContext, keyUse, placeIn, send, storeHere, storeOf } from '../context.ts'
import { bucketRecordHash, openBucketRecord, parseBucketRecord, sealBucketRecord, type RecordPlace } from '../../envelope/bucket-record.ts'
import { S3Error } from '../../errors.ts'
import { readBucketEncryption, renderBucketEncryption } from '../../s3/bucket-settings.ts'
import { clientDocument } from '../../s3/documents.ts'
import { parseErrorXml } from '../../s3/error-document.ts'
import { parseXml, upstreamDocument } from '../../s3/xml.ts'
import { readDocument } from '../request-body.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { StateBucket } from '../../store-client/state-bucket.ts'
import { openerIn } from '../objects/object-keys.ts'
import { relayError, documentOf, expectSuccess, xmlResponse } from '../responses.ts'
import { verified } from '../objects/sealed-object.ts'

/**
 * Put-, Get- and DeleteBucketEncryption: a default of the gateway's own, kept sealed in the state bucket. It is never sent to the store, whose bytes
 * are sealed already. It applies to writes that ask for no encryption, and it may forbid customers' keys. It cannot loosen what the configuration
 * demands. The configuration decides who may change it: clients that may write to the bucket. The store can refuse as well (`checkRight`), but it
 * cannot grant.
 */
export async function bucketEncryption(ctx: OperationContext<'PutBucketEncryption' | 'GetBucketEncryption' | 'DeleteBucketEncryption'>): Promise<HttpResponse> {
  const bucket = ctx.operation.bucket
  if (ctx.operation.name === 'PutBucketEncryption') {
    // Before the body is verified no request goes to the store.
    const wanted = readBucketEncryption(await readDocument(ctx), clientDocument(ctx.services.config.limits.xmlBytes))
    await checkRight(ctx)
    await writeDefault(ctx, bucket, wanted)
    return { status: 200, headers: [['content-length', '0']], body: null }
  }
  await checkRight(ctx)
  if (ctx.operation.name === 'DeleteBucketEncryption') {
    await removeBucketDefault(ctx, bucket)
    return { status: 204, headers: [], body: null }
  }
  const found = await readDefault(ctx, bucket)
  if (found === null) throw new S3Error('ServerSideEncryptionConfigurationNotFoundError', { fields: { BucketName: bucket } })
  return xmlResponse(renderBucketEncryption(found))
}

/** The bucket's own default, from the cache or the state bucket; null when it has none. @throws S3Error SealgateIntegrityError. */
export async function bucketDefault(ctx: OperationContext, bucket: string): Promise<BucketEncryption | null> {
  const cached = ctx.services.settings.encryption.get(bucket)
  if (cached !== undefined) return cached
  const found = await readDefault(ctx, bucket)
  ctx.services.settings.encryption.set(bucket, found)
  return found
}

/** Also where there is none. @throws S3Error ServiceUnavailable when the store would not remove it. */
export async function removeBucketDefault(ctx: OperationContext, bucket: string): Promise<void> {
  if (await stateOf(ctx, bucket).remove([recordName(ctx, bucket)]) > 0) {
    throw new S3Error('ServiceUnavailable', { message: 'The state bucket of the gateway cannot be used.' })
  }
  // After the removal: a write that ran in between may have cached the old default.
  ctx.services.settings.encryption.set(bucket, null)
}

/**
 * Whether the bucket exists and, for a client with an identity of its own at the store, whether the store would allow it the same operation. The
 * store's own setting is read. For a change it is written back unchanged, or removed where it has none: this changes nothing and needs exactly the
 * right in question (s3:GetEncryptionConfiguration, s3:PutEncryptionConfiguration). A store without this setting is asked for the bucket's ACL, which
 * the owner may read.
 * @throws S3Error of the store.
 */
async function checkRight(ctx: OperationContext): Promise<void> {
  const { client } = ctx.request
  if (client !== null && client.identities[storeHere(ctx).settings.name] === undefined) return tried(ctx, { method: 'HEAD', retry: true })
  const query = [['encryption', null]] as const
  const response = await send(ctx, { method: 'GET', query, retry: true })
  if (response.status === 403) throw await relayError(ctx, response)
  const document = await documentOf(response)
  const known = response.status === 200 && rootOf(document) === 'ServerSideEncryptionConfiguration'
  // radosgw 16 handles this GET as a listing, and would handle the DELETE as one of the bucket.
  const absent = response.status === 404 && parseErrorXml(document)?.code === 'ServerSideEncryptionConfigurationNotFoundError'
  if (!known && !absent) return tried(ctx, { method: 'GET', query: [['acl', null]], retry: true })
  if (ctx.operation.name === 'GetBucketEncryption') return
  await (known
    ? tried(ctx, { method: 'PUT', query, headers: [contentMd5(document), ['content-type', 'application/xml']], body: document })
    : tried(ctx, { method: 'DELETE', query }))
}

async function tried(ctx: OperationContext, sent: Parameters<typeof send>[1]): Promise<void> {
  await expectSuccess(ctx, await send(ctx, sent))
}

function rootOf(document: Buffer): string | null {
  try {
    return parseXml(document, upstreamDocument).root.name
  } catch {
    return null
  }
}

async function writeDefault(ctx: BucketContext, bucket: string, value: BucketEncryption): Promise<void> {
  const use = useOf(ctx, bucket)
  // A key that no write could use later is refused now.
  if (value.kmsKeyId !== null) ctx.services.keys.resolve(value.kmsKeyId, ctx.policy.keys.bucket, use)
  const { key, wrapped } = await ctx.services.keys.providerFor(ctx.policy.keys.bucket.key).generate(contextOf(ctx, bucket), use)
  await stateOf(ctx, bucket).put(recordName(ctx, bucket), sealBucketRecord(key, wrapped, recordPlace(ctx, bucket), renderBucketEncryption(value)), false)
  ctx.services.settings.encryption.set(bucket, value)
}

async function readDefault(ctx: OperationContext, bucket: string): Promise<BucketEncryption | null> {
  const body = await stateOf(ctx, bucket).get(recordName(ctx, bucket))
  if (body === null) return null
  const document = await verified(ctx, async () => {
    const record = parseBucketRecord(body)
    const use = useOf(ctx, bucket)
    const kek = await openerIn(ctx, { bucket, key: null }, record.keyId, use).unwrap(record, contextOf(ctx, bucket), use)
    return openBucketRecord(record, kek, recordPlace(ctx, bucket))
  })
  return readBucketEncryption(document, upstreamDocument)
}

function stateOf(ctx: OperationContext, bucket: string): StateBucket {
  const { upstream, settings } = storeOf(ctx.services, bucket)
  return new StateBucket(upstream, settings.stateBucket, ctx.signal)
}

function recordPlace(ctx: OperationContext, bucket: string): RecordPlace {
  return { realm: storeOf(ctx.services, bucket).settings.realm, bucket }
}

function recordName(ctx: OperationContext, bucket: string): string {
  return bucketDefaultName(recordPlace(ctx, bucket))
}

/** Name of the record of a bucket's default in the state bucket. */
export function bucketDefaultName(place: RecordPlace): string {
  return `encryption/${bucketRecordHash(place).toString('hex')}`
}

function contextOf(ctx: OperationContext, bucket: string): KeyContext {
  return keyContext(placeIn(ctx, bucket, ''), true, {})
}

function useOf(ctx: OperationContext, bucket: string): KeyUse {
  return { ...keyUse(ctx, placeIn(ctx, bucket, '')), objectKey: null }
}
