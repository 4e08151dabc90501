import { createHash } from 'node:crypto'
import type { Manifest } from '../../envelope/manifest.ts'
import type { DataKey } from '../../envelope/data-key.ts'
import type { HeaderList } from '../../http/message.ts'
import type { OperationContext } from '../context.ts'
import type { BucketPolicy } from '../../config/config.ts'
import {
  ENVELOPE_HEADER,
  KEY_ID_HEADER,
  CONTEXT_HEADER,
  type Attributes,
  type Envelope,
  type Place,
  openEnvelope,
  parseEnvelope,
  sizeOf
} from '../../envelope/envelope.ts'
import { EnvelopeError } from '../../envelope/encoding.ts'
import { metadataMatches } from '../../envelope/metadata.ts'
import { S3Error } from '../../errors.ts'
import { decodeContext } from '../../keys/sse-headers.ts'
import { keyForRead, type CustomerKey } from './object-keys.ts'
import { unquoteEtag } from '../../s3/conditions.ts'

interface InStore {
  /** Bytes in the store, by the store's word; `size` of a sealed object follows from it by the size law. */
  readonly storedSize: number
  /** Plaintext bytes. Of sealed objects authenticated: for singles at once, for multipart objects by their manifest. */
  readonly size: number
  /** The bucket it was asked for in; its bound bucket may be another one (a replica's source). */
  readonly bucket: string
  readonly key: string
  readonly upstreamEtag: string
  readonly versionId: string | null
  readonly headers: HeaderList
}

/** An object of ours whose envelope has opened for this request. */
export interface SealedObject extends InStore {
  readonly kind: 'sealed'
  /** Where it is bound to. */
  readonly place: Place
  readonly envelope: Envelope
  readonly keyId: string
  readonly requestContext: Readonly<Record<string, string>>
  readonly dataKey: DataKey
  readonly attributes: Attributes
}

/** An object Sealgate did not write, in a bucket whose policy allows such. */
interface PlainObject extends InStore {
  readonly kind: 'plain'
}

export type StoredObject = SealedObject | PlainObject

/**
 * Opens the envelope in the headers of a HEAD or GET of the store (docs/FORMAT.md, order of a read, steps 3 to 6).
 * @param storedSize whole stored size in bytes: Content-Length, or the total of Content-Range.
 * @throws S3Error SealgateIntegrityError, SealgatePlaintextRefused, SealgateKeyUnavailable, AccessDenied to everybody where an object
 * must say itself that it is public, or the errors of key providers.
 */
export async function openStored(
  ctx: OperationContext,
  place: Place,
  headers: HeaderList,
  storedSize: number,
  customerKey: CustomerKey | null
): Promise<StoredObject> {
  const shared = {
    storedSize,
    bucket: place.bucket,
    key: place.objectKey,
    upstreamEtag: headers.get('etag') ?? '',
    versionId: headers.get('x-amz-version-id') ?? null,
    headers
  }
  const value = headers.get(ENVELOPE_HEADER)
  const keyId = headers.get(KEY_ID_HEADER)
  if (value === undefined && keyId === undefined) {
    const { encryption, plaintext } = ctx.services.policyFor(place.bucket)
    if (encryption === 'off' || plaintext === 'allow') return { kind: 'plain', size: storedSize, ...shared }
    throw new S3Error('SealgatePlaintextRefused')
  }
  return verified(ctx, async () => {
    if (value === undefined || keyId === undefined) throw new EnvelopeError('format')
    const envelope = parseEnvelope(value)
    const requestContext = readContext(headers.get(CONTEXT_HEADER))
    const bound = boundPlace(ctx, place, envelope)
    const kek = await keyForRead(ctx, { envelope, keyId, place: bound, bucket: place.bucket, requestContext, customerKey, versionId: shared.versionId })
    const { dataKey, attributes } = openEnvelope(envelope, kek, bound)
    if (ctx.request.client === null && !attributes.isPublic && ctx.services.policyFor(place.bucket).publicRead === 'marked') throw new S3Error('AccessDenied')
    const size = sizeOf(envelope, attributes, storedSize)
    if (!isAsDescribed(headers, attributes)) throw new EnvelopeError('metadata')
    return { kind: 'sealed', place: bound, envelope, keyId, requestContext, dataKey, attributes, size, ...shared }
  })
}

/** Runs a step of verification: its failures become the one answer that tells a client nothing, and a metric with the kind. */
export async function verified<T>(ctx: OperationContext, step: () => Promise<T> | T): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw unverified(ctx, error)
  }
}

/** As `verified`, for steps that a body's every chunk passes. */
export function verifiedSync<T>(ctx: OperationContext, step: () => T): T {
  try {
    return step()
  } catch (error) {
    throw unverified(ctx, error)
  }
}

function unverified(ctx: OperationContext, error: unknown): unknown {
  if (!(error instanceof EnvelopeError)) return error
  ctx.services.integrityFailure(error.kind)
  return new S3Error('SealgateIntegrityError', { cause: error })
}

/** Whether what must not be swapped unnoticed is as it was written: content type and encoding, and user metadata. Sealed, nobody asks the store. */
function isAsDescribed(headers: HeaderList, { metadata }: Attributes): boolean {
  if (metadata.kind === 'sealed') return true
  const entries = [...headers.names()].map((name) => [name, headers.get(name) ?? ''] as const)
  return metadataMatches(metadata.digest, headers.get('content-type') ?? '', entries)
}

/** The ETag clients see, in every operation. A manifest is needed where the digests came after the metadata. */
export function clientEtag(ctx: OperationContext, object: StoredObject, manifest: Manifest | null): string {
  const policy = ctx.services.policyFor(object.bucket)
  if (object.kind === 'plain') return policy.etag === 'md5' ? object.upstreamEtag : visibleEtag(policy, object.upstreamEtag, null)
  return visibleEtag(policy, object.upstreamEtag, plaintextEtag(object, manifest))
}

/** Hex MD5 of a single object, or hex MD5 of the parts' MD5s with `-N`; null where no MD5 was ever computed. */
export function plaintextEtag(object: SealedObject, manifest: Manifest | null): string | null {
  if (object.attributes.sse.mode === 'SSE-C') return null
  const md5 = object.attributes.md5 ?? manifest?.md5 ?? null
  if (md5 === null) return null
  return object.envelope.kind === 'multipart' ? `${md5.toString('hex')}-${manifest?.parts.length ?? 0}` : md5.toString('hex')
}

/** Whether the facts a client is shown stand in the manifest and not in the metadata. */
export function needsManifest(ctx: OperationContext, object: StoredObject): boolean {
  if (object.kind === 'plain') return false
  if (object.envelope.kind === 'multipart') return true
  return object.attributes.digestsInManifest && (ctx.services.policyFor(object.bucket).etag === 'md5' || wantsChecksum(ctx))
}

/** `x-amz-checksum-mode: ENABLED`: the client asks for the checksum it stored (AWS API, HeadObject). */
export function wantsChecksum(ctx: OperationContext): boolean {
  return ctx.request.headers.get('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED'
}

function boundPlace(ctx: OperationContext, place: Place, envelope: Envelope): Place {
  if (envelope.bucket === place.bucket) return place
  if (ctx.services.policyFor(place.bucket).aliases.includes(envelope.bucket)) return { ...place, bucket: envelope.bucket }
  throw new EnvelopeError('place')
}

/** @throws EnvelopeError `format`: what does not parse was not written by the gateway. */
function readContext(value: string | undefined): Readonly<Record<string, string>> {
  try {
    return value === undefined ? {} : decodeContext(value)
  } catch {
    throw new EnvelopeError('format')
  }
}

/** A multipart ETag whose digest says that the last of its parts is the gateway's own: the first six bits are zero. */
const withTailPart = /^(0[0-3][0-9a-f]{30})-([2-9]|[1-9]\d{1,4})$/

/**
 * Opaque mode: the visible ETag is a pure function of the store's. A bare MD5 (of ciphertext) gets the suffix `-0`, which
 * S3 itself never issues, so that no client takes it for the MD5 of its data; `-N` of multipart objects counts the client's parts, one
 * less than the store's where the digest says so (docs/FORMAT.md, ETags; docs/decisions/0033-parts-in-opaque-etags.md).
 * @param upstream as the store sent it, quotes included.
 */
export function opaqueEtag(upstream: string): string {
  const bare = unquoteEtag(upstream)
  const [, digest, parts] = withTailPart.exec(bare) ?? []
  if (digest !== undefined) return `"${digest}-${Number(parts) - 1}"`
  return bare === '' || bare.includes('-') ? `"${bare}"` : `"${bare}-0"`
}

/**
 * Whether the store will give an object of these parts an ETag that says its last part is the gateway's own; null where the store's ETags are
 * no MD5s, of which nothing can be foretold.
 * @param etags of the stored parts, in order, without quotes.
 */
export function saysTailPart(etags: readonly string[]): boolean | null {
  const hash = createHash('md5')
  for (const etag of etags) {
    if (!/^[0-9a-f]{32}$/i.test(etag)) return null
    hash.update(etag, 'hex')
  }
  return hash.digest().readUInt8(0) < 4
}

/** The ETag a client sees: the MD5 of the plaintext where it is known and the bucket shows it, else the opaque one. */
export function visibleEtag(policy: BucketPolicy, upstreamEtag: string, plaintextEtag: string | null): string {
  return policy.etag === 'md5' && plaintextEtag !== null ? `"${plaintextEtag}"` : opaqueEtag(upstreamEtag)
}
