import type { HttpResponse } from '../../http/message.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import { type Manifest, type ManifestOf, openTail } from '../../envelope/manifest.ts'
import { type CustomerKey, customerKeyOfAccess, isCustomerSealed } from './object-keys.ts'
import { type ObjectContext, type OperationContext, placeIn, send } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { readingOf } from './client-body.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { sliceFor, requestedRange } from './read-range.ts'
import { objectHeaders } from './response-headers.ts'
import { relayError } from '../responses.ts'
import { ENVELOPE_HEADER, KEY_ID_HEADER, type BodyKind } from '../../envelope/envelope.ts'
import { clientEtag, type InspectedObject, needsManifest, openStored, type StoredObject, verified, type SealedWithBody } from './sealed-object.ts'
import { opaqueEtag } from './visible-etag.ts'
import { EnvelopeError } from '../../envelope/encoding.ts'
import { storedSize } from '../../envelope/sizes.ts'
import { readAll } from '../../http/stage.ts'

/** The object to inspect; copy sources are not the request's own target. */
interface ObjectAddress {
  readonly bucket: string
  readonly key: string
  readonly versionId: string | null
  readonly customerKey: CustomerKey | null
  /** The client's headers where it names the object itself: expected bucket owner, request payer. */
  readonly headers?: readonly (readonly [name: string, value: string])[]
  /** As `openStored` takes it. */
  readonly factsOnly?: boolean
}

/**
 * HEAD of the store, the envelope opened, the manifest read where needed: everything about an object except its bytes, all of it authenticated.
 * @throws the store's error (NoSuchKey, …), the errors of `openStored`, ObjectChanged.
 */
export async function inspectObject(ctx: OperationContext, at: ObjectAddress): Promise<InspectedObject> {
  const response = await send(ctx, {
    method: 'HEAD',
    bucket: at.bucket,
    key: at.key,
    query: at.versionId === null ? [] : [['versionId', at.versionId]],
    headers: at.headers ?? [],
    retry: true
  })
  if (response.status !== 200) {
    const error = await relayError(ctx, response)
    // A request may also name an upload, but here the object is missing.
    throw response.status === 404 ? new S3Error(at.versionId === null ? 'NoSuchKey' : 'NoSuchVersion', { headers: error.headers }) : error
  }
  response.body.resume()
  const length = response.headers.get('content-length')
  const storedSize = length === undefined ? await sizeByRange(ctx, at, response) : Number(length)
  if (!Number.isSafeInteger(storedSize)) throw new S3Error('SealgateBadUpstream')
  return withManifest(ctx, await openStored(ctx, placeIn(ctx, at.bucket, at.key), response.headers, storedSize, at.customerKey, at.factsOnly))
}

/**
 * The stored size where the answer to a HEAD has none: a server that would compress the body may leave it out (RFC 9110, 8.6).
 * @throws ObjectChanged when the object is another one by now.
 */
async function sizeByRange(ctx: OperationContext, at: ObjectAddress, { headers: seen }: UpstreamResponse): Promise<number> {
  const { status, headers, body } = await send(ctx, {
    method: 'GET',
    bucket: at.bucket,
    key: at.key,
    query: at.versionId === null ? [] : [['versionId', at.versionId]],
    headers: [...at.headers ?? [], ['range', 'bytes=0-0'], ['if-match', seen.get('etag') ?? '']],
    retry: true
  })
  body.destroy()
  if (status === 404 || status === 412 || headers.get(ENVELOPE_HEADER) !== seen.get(ENVELOPE_HEADER)) throw new ObjectChanged()
  // The range of an object without a byte cannot be satisfied (RFC 9110, 14.4).
  return Number(/^bytes (?:0-0|\*)\/(\d{1,16})$/.exec(headers.get('content-range') ?? '')?.[1] ?? Number.NaN)
}

/** An object whose envelope has opened, with its manifest where the client is shown facts from it. @throws as `readManifest`. */
export async function withManifest(ctx: OperationContext, object: StoredObject): Promise<InspectedObject> {
  switch (object.kind) {
    case 'plain':
    case 's3ec':
    case 'empty':
      return object
    case 'single':
      return { ...object, manifest: needsManifest(ctx, object) ? await readManifest(ctx, object) : null }
    case 'multipart':
      return { ...object, manifest: await readManifest(ctx, object) }
  }
}

/** The same, with the digests of a single even where the client is not shown them. @throws as `readManifest`. */
export async function withDigests<T extends InspectedObject>(ctx: OperationContext, object: T): Promise<T> {
  if (object.kind !== 'single' || object.manifest !== null || !object.attributes.digestsInManifest) return object
  return { ...object, manifest: await readManifest(ctx, object) }
}

/**
 * As `inspectObject`, for an object that the request itself names. The answer to a HEAD has no error code, so the store is asked whether the bucket
 * is missing, unless the client sent a HEAD as well. The rows of a list do not justify that extra request.
 */
export async function inspectNamed(ctx: OperationContext, at: ObjectAddress): Promise<InspectedObject> {
  try {
    return await inspectObject(ctx, at)
  } catch (error) {
    const asked = error instanceof S3Error && error.status === 404 && ctx.request.http.method !== 'HEAD'
    if (!asked || error.headers.some(([name]) => name.toLowerCase() === 'x-amz-delete-marker')) throw error
    const bucket = await send(ctx, { method: 'HEAD', bucket: at.bucket, key: null, retry: true })
    bucket.body.resume()
    throw bucket.status === 404 ? new S3Error('NoSuchBucket', { fields: { BucketName: at.bucket } }) : error
  }
}

/** The object the request is for. */
export function targetOf(ctx: ObjectContext): ObjectAddress {
  return {
    bucket: ctx.operation.bucket,
    key: ctx.operation.key,
    versionId: ctx.operation.query.get('versionId') ?? null,
    customerKey: customerKeyOfAccess(ctx),
    headers: upstreamHeaders(ctx.request.headers, 'document')
  }
}

/** HeadObject (AWS API): sizes, digests and ETag of the plaintext. */
export async function headObject(ctx: OperationContext<'HeadObject'>): Promise<HttpResponse> {
  return retryOnChange(async () => {
    const wanted = requestedRange(ctx)
    const object = await inspectNamed(ctx, targetOf(ctx))
    const slice = sliceFor(ctx, wanted, object)
    // As a GET would answer.
    if (object.kind === 's3ec') readingOf(ctx, object, slice)
    return { status: slice.status, headers: objectHeaders(ctx, object, slice), body: null }
  })
}

/** The object was replaced between two requests of one read: the caller starts again, once. */
export class ObjectChanged extends Error {
  constructor() {
    super('The object changed between two requests of one read.')
    this.name = 'ObjectChanged'
  }
}

/** Covers the manifest of some 500 parts (FORMAT, Manifest); longer ones take a second read. */
const SUFFIX_BYTES = 65536
/** The tail of a single object: one part record, fixed fields and footer, at most 456 bytes. */
const SINGLE_SUFFIX_BYTES = 512

/**
 * The manifest of an object whose envelope has opened: from the cache, or by one suffix read on condition of the ETag just seen.
 * @throws ObjectChanged when the object was replaced, re-wrapped or deleted since; S3Error SealgateIntegrityError when the tail cannot be opened.
 */
async function readManifest<K extends BodyKind>(ctx: OperationContext, object: SealedWithBody & { readonly kind: K }): Promise<ManifestOf<K>> {
  const cached = ctx.services.objects.manifest(object.dataKey.commitment, object.upstreamEtag)
  // Each answer of the store states the stored size anew: a cached manifest must be checked against it.
  if (cached !== undefined && isOfKind(cached, object.kind) && storedSize(cached.plaintextSize) === object.storedSize) return cached
  let wanted = Math.min(object.storedSize, object.kind === 'single' ? SINGLE_SUFFIX_BYTES : SUFFIX_BYTES)
  // The footer is not authenticated before the manifest is: without a bound, a footer that asks for more each time would be read for ever.
  for (let readings = 0; readings < 2; readings += 1) {
    const suffix = await readSuffix(ctx, object, wanted)
    const opened = await verified(ctx, () => openTail(suffix, object.storedSize, object.dataKey, object.kind))
    if (!('need' in opened)) {
      ctx.services.objects.rememberManifest(object.dataKey.commitment, object.upstreamEtag, opened)
      return opened
    }
    wanted = opened.need
  }
  throw new S3Error('SealgateIntegrityError')
}

function isOfKind<K extends BodyKind>(manifest: Manifest, kind: K): manifest is ManifestOf<K> {
  return manifest.kind === kind
}

async function readSuffix(ctx: OperationContext, object: SealedWithBody, bytes: number): Promise<Buffer> {
  const first = object.storedSize - bytes
  const response = await send(ctx, {
    method: 'GET',
    bucket: object.bucket,
    key: object.key,
    query: object.versionId === null ? [] : [['versionId', object.versionId]],
    headers: [['range', `bytes=${first}-${object.storedSize - 1}`], ['if-match', object.upstreamEtag]],
    retry: true
  })
  try {
    if (response.status === 412 || response.status === 404) throw new ObjectChanged()
    await verified(ctx, () => {
      checkSuffix(response, object, first)
    })
    return await readAll(response.body, bytes, () => new S3Error('SealgateBadUpstream'))
  } catch (error) {
    response.body.destroy()
    throw error
  }
}

/** Both answers of one read must be of the same object. */
function checkSuffix(response: UpstreamResponse, object: SealedWithBody, first: number): void {
  if (response.status !== 206) throw new S3Error(response.status >= 500 ? 'ServiceUnavailable' : 'SealgateBadUpstream')
  if (response.headers.get('content-range') !== `bytes ${first}-${object.storedSize - 1}/${object.storedSize}`) throw new EnvelopeError('length')
  // A copy onto itself, a re-wrap among them, may keep the ETag.
  if (response.headers.get(ENVELOPE_HEADER) !== object.headers.get(ENVELOPE_HEADER)) throw new ObjectChanged()
}

/** Runs a read that takes several requests. When the object was replaced in between, the read runs once more from the start. */
export async function retryOnChange<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof ObjectChanged)) throw error
  }
  try {
    return await read()
  } catch (error) {
    // Replaced again and again: the client may retry. Two versions are never mixed.
    throw error instanceof ObjectChanged ? new S3Error('SlowDown', { endedBy: 'store', cause: error }) : error
  }
}

interface CurrentEtags {
  /** As clients see it, quoted. */
  readonly visible: string
  /** As the store sent it. */
  readonly upstream: string
}

/**
 * Both ETags of the current object of a name; null when there is none. Objects sealed with a customer's key need no key here, because their visible
 * ETag is opaque.
 */
export async function currentEtags(ctx: OperationContext, bucket: string, key: string): Promise<CurrentEtags | null> {
  try {
    const object = await retryOnChange(() => inspectObject(ctx, { bucket, key, versionId: null, customerKey: null }))
    return { visible: clientEtag(ctx, object), upstream: object.upstreamEtag }
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    if (error.status === 404) return null
    if (error.code === 'InvalidRequest') return customerSealedEtags(ctx, bucket, key)
    throw error
  }
}

async function customerSealedEtags(ctx: OperationContext, bucket: string, key: string): Promise<CurrentEtags | null> {
  const response = await send(ctx, { method: 'HEAD', bucket, key, retry: true })
  response.body.resume()
  const upstream = response.headers.get('etag')
  if (response.status === 404) return null
  if (response.status !== 200 || upstream === undefined || !isCustomerSealed(response.headers.get(KEY_ID_HEADER))) {
    throw new S3Error('SealgateBadUpstream')
  }
  return { visible: opaqueEtag(ctx.services.policyFor(bucket).etag, upstream), upstream }
}
