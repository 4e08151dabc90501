import type { Header } from '../../http/message.ts'
import type { Conditions } from '../../store-client/probe-conditions.ts'
import { type BucketContext, type ObjectContext, conditionsIn, header } from '../context.ts'
import { pinsAt } from '../../config/pins.ts'
import { S3Error } from '../../errors.ts'
import { parseEtagList, unquoteEtag } from '../../s3/conditions.ts'
import { currentEtags } from './inspect.ts'
import { type SseRequest, sseOfWrite } from '../../keys/sse-headers.ts'
import { bucketDefault } from '../buckets/bucket-encryption.ts'
import { customerKeysAllowed } from './object-keys.ts'

/** No object has it: the ETags of stores are digests. */
const NO_ETAG = '"00000000000000000000000000000000"'

/** Operations whose conditions a store may or may not enforce, depending on the kind of bucket. */
type ConditionalWrite = 'put' | 'complete' | 'copy' | 'delete'

/**
 * Conditions of a write, translated for the store. The client's ETag is compared with the current object, and the store gets the ETag just seen: so
 * it enforces the condition itself, and no other write can come in between.
 * @throws S3Error NotImplemented when the store is known to ignore such conditions, PreconditionFailed, NoSuchKey.
 */
export async function writeConditions(ctx: ObjectContext, write: ConditionalWrite): Promise<Header[]> {
  const ifMatch = header(ctx, 'if-match')
  const ifNoneMatch = header(ctx, 'if-none-match')
  if (ifMatch === undefined && ifNoneMatch === undefined) return []
  const enforced = await conditionsIn(ctx, ctx.operation.bucket)
  if (!enforced[write]) {
    throw new S3Error('NotImplemented', {
      message: 'The store behind this gateway does not enforce conditions on this operation in this kind of bucket, or is not known to.',
      fields: { Header: ifMatch === undefined ? 'If-None-Match' : 'If-Match' }
    })
  }
  if (ifMatch !== undefined && ifNoneMatch !== undefined) throw new S3Error('NotImplemented', { fields: { Header: 'If-None-Match' } })
  if (ifNoneMatch !== undefined) return ifNoneMatch.trim() === '*' ? [['if-none-match', '*']] : unlessCurrent(ctx, enforced, ifNoneMatch)
  return onlyIfCurrent(ctx, enforced, ifMatch ?? '')
}

async function onlyIfCurrent(ctx: ObjectContext, enforced: Conditions, ifMatch: string): Promise<Header[]> {
  if (ifMatch.trim() === '*') return [['if-match', '*']]
  const current = await currentEtags(ctx, ctx.operation.bucket, ctx.operation.key)
  // The store's own error for a condition on a missing object. The client's ETag is not sent, because it may be the MD5 of plaintext.
  if (current === null) return [['if-match', storeEtag(enforced, NO_ETAG)]]
  if (!names(ifMatch, current.visible)) throw new S3Error('PreconditionFailed', { fields: { Condition: 'If-Match' } })
  return [['if-match', storeEtag(enforced, current.upstream)]]
}

/** `If-None-Match: "etag"`: Ceph accepts it on writes. The write replaces only the object that was compared. */
async function unlessCurrent(ctx: ObjectContext, enforced: Conditions, ifNoneMatch: string): Promise<Header[]> {
  const current = await currentEtags(ctx, ctx.operation.bucket, ctx.operation.key)
  if (current === null) return [['if-none-match', '*']]
  if (names(ifNoneMatch, current.visible)) throw new S3Error('PreconditionFailed', { fields: { Condition: 'If-None-Match' } })
  return [['if-match', storeEtag(enforced, current.upstream)]]
}

/** The store's ETag in the form that its PutObject accepts: radosgw 16 compares without quotes. */
function storeEtag({ putEtags }: Conditions, etag: string): string {
  return putEtags === 'bare' ? unquoteEtag(etag) : etag
}

function names(list: string, etag: string): boolean {
  const tags = parseEtagList(list)
  const bare = unquoteEtag(etag)
  return tags === '*' || tags.some(({ tag }) => tag === bare)
}

/**
 * The encryption of a write: what the client asks for, else the bucket's default. What the configuration demands, the client itself must ask for, so
 * that no default of the bucket can loosen it.
 * @throws S3Error as `sseOfWrite`; AccessDenied.
 */
export async function encryptionOfWrite(ctx: BucketContext, headers: ReadonlyMap<string, string> = ctx.request.headers): Promise<SseRequest> {
  const asked = sseOfWrite(headers, customerKeysAllowed(ctx))
  const { requireSse } = ctx.policy
  if (requireSse.length > 0 && !requireSse.some((mode) => mode === asked.mode)) {
    throw new S3Error('AccessDenied', { message: `Uploads to this bucket must ask for server-side encryption: ${requireSse.join(' or ')}.` })
  }
  if (asked.mode !== 'none' && asked.mode !== 'SSE-C') return asked
  const byDefault = await bucketDefault(ctx, ctx.operation.bucket)
  if (byDefault === null) return asked
  if (asked.mode === 'SSE-C') {
    if (!byDefault.customerKeysBlocked) return asked
    throw new S3Error('AccessDenied', { message: 'Server-side encryption with customer-provided keys is blocked for this bucket.' })
  }
  if (byDefault.algorithm === 'AES256') return { mode: 'AES256' }
  // The default names a key of the bucket, which may not seal under a prefix with keys of its own.
  const keyId = pinsAt(ctx.policy, ctx.operation.key) === ctx.policy.keys.bucket ? byDefault.kmsKeyId : null
  return { mode: 'aws:kms', keyId, context: {}, bucketKeyEnabled: byDefault.bucketKeyEnabled ? true : null }
}
