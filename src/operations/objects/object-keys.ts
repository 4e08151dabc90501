import type { Header } from '../../http/message.ts'
import type { KeyObject } from 'node:crypto'
import type { Attributes, Envelope, Place, SseMode } from '../../envelope/envelope.ts'
import type { KeyProvider, KeyUse, WrappedBucketKey } from '../../keys/types.ts'
import { type BucketContext, type OperationContext, keyContext, keyUse } from '../context.ts'
import { pinsAt } from '../../config/pins.ts'
import { S3Error } from '../../errors.ts'
import { ForeignKey } from '../../keys/registry.ts'
import { sseOfAccess, sseResponseHeaders, type SseApplied, type SseRequest } from '../../keys/sse-headers.ts'
import { customerKeyOf, requireCustomerKey, SSEC_KEY_ID, type CustomerKey } from '../../keys/ssec.ts'

/** The key of a write, and the headers that describe it to the client. */
export interface WriteKey {
  /** Wraps the data key: a bucket key, or what a customer's key gives. */
  readonly kek: KeyObject
  readonly wrapped: WrappedBucketKey
  readonly scope: Envelope['scope']
  readonly sse: { readonly mode: SseMode; readonly bucketKeyEnabled: boolean }
  readonly requestContext: Readonly<Record<string, string>>
  readonly responseHeaders: readonly Header[]
}

/** SSE-C keys are accepted over TLS only, to the gateway or to a trusted front end (AWS S3 User Guide, SSE-C). */
export function customerKeysAllowed(ctx: OperationContext): boolean {
  return ctx.request.http.secure || ctx.services.config.auth.ssecOverHttp
}

/**
 * The key that will seal a new object. It is requested before a byte goes upstream.
 * @throws S3Error of the key provider, KMS.NotFoundException or AccessDenied for key ids the client may not name.
 */
export async function keyForWrite(ctx: BucketContext, place: Place, asked: SseRequest): Promise<WriteKey> {
  const use = keyUse(ctx, place)
  if (asked.mode === 'SSE-C') {
    const { key, wrapped } = ctx.services.keys.sealForCustomer(asked.customer, keyContext(place, false, {}), use)
    const applied: SseApplied = { mode: 'SSE-C', md5: asked.customer.md5 }
    return {
      kek: key,
      wrapped,
      scope: 'bucket',
      sse: { mode: 'SSE-C', bucketKeyEnabled: false },
      requestContext: {},
      responseHeaders: sseResponseHeaders(applied, 'write')
    }
  }
  const requestContext = asked.mode === 'aws:kms' ? asked.context : {}
  // S3 returns the key id in the form in which the client named it.
  const requestedId = asked.mode === 'aws:kms' ? asked.keyId : null
  const { provider } = ctx.services.keys.resolve(requestedId, pinsAt(ctx.policy, place.objectKey), use)
  const bucketKeyEnabled = asked.mode === 'aws:kms' && asked.bucketKeyEnabled !== null ? asked.bucketKeyEnabled : ctx.policy.bucketKeys
  const { key, wrapped } = await provider.generate(keyContext(place, bucketKeyEnabled, requestContext), use)
  return {
    kek: key,
    wrapped,
    scope: bucketKeyEnabled ? 'bucket' : 'object',
    sse: { mode: asked.mode, bucketKeyEnabled },
    requestContext,
    responseHeaders: sseResponseHeaders(
      asked.mode === 'aws:kms' || (asked.mode === 'none' && ctx.policy.announce === 'aws:kms')
        ? { mode: 'aws:kms', keyId: requestedId ?? ctx.services.keys.shownId(wrapped.keyId), context: requestContext, bucketKeyEnabled }
        : { mode: asked.mode },
      'write'
    )
  }
}

interface ReadKeyInput {
  readonly envelope: Pick<Envelope, 'blob' | 'scope'>
  readonly keyId: string
  /** The place the wrap is bound to. */
  readonly place: Place
  /** The bucket of the object, whose policy says which keys may open it. A replica is bound to another bucket, under the same name. */
  readonly bucket: string
  readonly requestContext: Readonly<Record<string, string>>
  readonly customerKey: CustomerKey | null
  readonly versionId: string | null
}

/**
 * The key that opens an object's envelope. SSE-C headers must be present if and only if the object was sealed with such a key. The configuration
 * decides which provider may unwrap, never the object.
 */
export async function keyForRead(ctx: OperationContext, input: ReadKeyInput): Promise<KeyObject> {
  requireCustomerKey(input.keyId, input.customerKey)
  const wrapped = { keyId: input.keyId, blob: input.envelope.blob }
  const context = keyContext(input.place, input.envelope.scope === 'bucket', input.requestContext)
  const use = keyUse(ctx, input.place, input.versionId)
  try {
    if (input.customerKey !== null) return ctx.services.keys.openForCustomer(input.customerKey, wrapped, context, use)
    return await openerIn(ctx, { bucket: input.bucket, key: input.place.objectKey }, input.keyId, use).unwrap(wrapped, context, use)
  } catch (error) {
    // A wrap that cannot be opened was damaged or is from another place, so it counts as an integrity failure, as a damaged segment does.
    if (error instanceof S3Error && error.code === 'SealgateIntegrityError') ctx.services.integrityFailure('box')
    throw error
  }
}

/**
 * The key that opens what has this key id, which the store states, at a place.
 * @param at key: null for what belongs to the bucket as a whole.
 * @throws S3Error SealgateKeyUnavailable. A key that may not open there counts as an integrity failure: the gateway never writes one there.
 */
export function openerIn(ctx: OperationContext, at: { readonly bucket: string; readonly key: string | null }, keyId: string, use: KeyUse): KeyProvider {
  try {
    return ctx.services.keys.openerOf(keyId, pinsAt(ctx.services.policyFor(at.bucket), at.key), use).provider
  } catch (error) {
    if (error instanceof S3Error && error.cause instanceof ForeignKey) ctx.services.integrityFailure('foreign-key')
    throw error
  }
}

/** The customer's key of a request that reads or continues an upload; null when it sends none. */
export function customerKeyOfAccess(ctx: OperationContext): CustomerKey | null {
  const { headers } = ctx.request
  // The other encryption headers of a request that continues an upload are checked against the upload's record.
  return ctx.operation.uploadId === null ? sseOfAccess(headers, customerKeysAllowed(ctx)) : customerKeyOf(headers, 'object', customerKeysAllowed(ctx))
}

/** The customer's key for the source of a copy. */
export function customerKeyOfSource(ctx: OperationContext): CustomerKey | null {
  return customerKeyOf(ctx.request.headers, 'copy-source', customerKeysAllowed(ctx))
}

/** The encryption that is shown to a client that reads an object or continues an upload. */
interface ShownEncryption {
  readonly sse: { readonly mode: SseMode; readonly bucketKeyEnabled: boolean }
  readonly keyId: string
  readonly requestContext: Readonly<Record<string, string>>
  /** The bucket of the request. */
  readonly bucket: string
}

/** Encryption headers for a read of an object. */
export function readEncryptionHeaders(
  ctx: OperationContext,
  object: Omit<ShownEncryption, 'sse'> & { readonly attributes: Pick<Attributes, 'sse'> }
): readonly Header[] {
  const { keyId, requestContext, bucket } = object
  return accessEncryptionHeaders(ctx, { sse: object.attributes.sse, keyId, requestContext, bucket })
}

/** Encryption headers of an object or upload, in the answer to a request that did not choose the encryption. */
export function accessEncryptionHeaders(ctx: OperationContext, { sse, keyId, requestContext, bucket }: ShownEncryption): readonly Header[] {
  const { mode, bucketKeyEnabled } = sse
  switch (mode) {
    case 'SSE-C': {
      const customer = customerKeyOfAccess(ctx)
      return customer === null ? [] : sseResponseHeaders({ mode, md5: customer.md5 }, 'access')
    }
    case 'aws:kms':
      return sseResponseHeaders({ mode, keyId: ctx.services.keys.shownId(keyId), context: requestContext, bucketKeyEnabled }, 'access')
    case 'AES256':
      return sseResponseHeaders({ mode }, 'access')
    case 'none':
      return ctx.services.policyFor(bucket).announce === 'aws:kms'
        ? sseResponseHeaders({ mode: 'aws:kms', keyId: ctx.services.keys.shownId(keyId), context: {}, bucketKeyEnabled }, 'access')
        : []
  }
}

/** True for objects that open only with a key the customer sends. */
export function isCustomerSealed(keyId: string | undefined): boolean {
  return keyId === SSEC_KEY_ID
}

export type { CustomerKey } from '../../keys/ssec.ts'
