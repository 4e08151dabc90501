import type { Manifest, ManifestOf } from '../../envelope/manifest.ts'
import type { DataKey } from '../../envelope/data-key.ts'
import type { HeaderList } from '../../http/message.ts'
import type { OperationContext } from '../context.ts'
import {
  ENVELOPE_HEADER,
  KEY_ID_HEADER,
  CONTEXT_HEADER,
  type Attributes,
  type Checksum,
  type Envelope,
  type ObjectShape,
  type Place,
  openEnvelope,
  parseEnvelope,
  sizeOf
} from '../../envelope/envelope.ts'
import { EnvelopeError } from '../../envelope/encoding.ts'
import { metadataMatches } from '../../envelope/metadata.ts'
import { S3Error } from '../../errors.ts'
import { decodeContext } from '../../keys/sse-headers.ts'
import { requireCustomerKey } from '../../keys/ssec.ts'
import { hasMarks } from '../../s3ec/metadata.ts'
import { type ClientSealed, openClientSealed } from './client-sealed.ts'
import type { InStore } from './in-store.ts'
import { keyForRead, type CustomerKey } from './object-keys.ts'
import type { Validators } from '../../s3/conditions.ts'
import { opaqueEtag, showsMd5, visibleEtag } from './visible-etag.ts'

interface Sealed extends InStore {
  /** The place it is bound to. */
  readonly place: Place
  /** As the store returned it. It has opened, so it is authentic. */
  readonly envelope: Envelope
  readonly keyId: string
  readonly requestContext: Readonly<Record<string, string>>
  readonly dataKey: DataKey
  readonly attributes: Attributes
}

type OfKind<K extends ObjectShape['kind']> = Sealed & Extract<ObjectShape, { kind: K }>
export type SealedSingle = OfKind<'single'>
type SealedMultipart = OfKind<'multipart'>
type SealedEmpty = OfKind<'empty'>

/** An object that Sealgate wrote, whose envelope has opened for this request. */
type SealedObject = SealedWithBody | SealedEmpty
/** One with a manifest in its body. */
export type SealedWithBody = SealedSingle | SealedMultipart

/** An object that Sealgate did not write and does not open, in a bucket whose policy allows these. */
interface PlainObject extends InStore {
  readonly kind: 'plain'
}

export type StoredObject = SealedObject | ClientSealed | PlainObject

/** With the manifest: for multipart objects always, for singles where the client is shown digests from it. */
export type InspectedObject = InspectedSealed | ClientSealed | PlainObject
export type InspectedSealed =
  | SealedSingle & { readonly manifest: ManifestOf<'single'> | null }
  | SealedMultipart & { readonly manifest: ManifestOf<'multipart'> }
  | SealedEmpty

/** Whether Sealgate sealed it. */
export function isSealed(object: InspectedObject): object is InspectedSealed {
  return object.kind !== 'plain' && object.kind !== 's3ec'
}

/**
 * Opens the envelope in the headers of a HEAD or GET of the store (docs/FORMAT.md, order of a read, steps 3 to 6).
 * @param storedSize whole stored size in bytes: Content-Length, or the total of Content-Range.
 * @param factsOnly of an object of the S3 Encryption Client only the size is needed.
 * @throws S3Error SealgateIntegrityError, SealgatePlaintextRefused, SealgateKeyUnavailable; AccessDenied for an anonymous client where the object
 * needs the public mark and lacks it; the errors of key providers.
 */
export async function openStored(
  ctx: OperationContext,
  place: Place,
  headers: HeaderList,
  storedSize: number,
  customerKey: CustomerKey | null,
  factsOnly = false
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
    const { encryption, plaintext, s3ec } = ctx.services.policyFor(place.bucket)
    const found = s3ec === null ? null : await openClientSealed(ctx, shared, s3ec, factsOnly || customerKey !== null)
    if (found !== null) {
      requireCustomerKey('', customerKey)
      return found
    }
    if (encryption === 'off' || plaintext === 'allow') return { kind: 'plain', size: storedSize, ...shared }
    throw new S3Error('SealgatePlaintextRefused')
  }
  return verified(ctx, async () => {
    if (value === undefined || keyId === undefined) throw new EnvelopeError('format')
    const envelope = parseEnvelope(value)
    const requestContext = readContext(headers.get(CONTEXT_HEADER))
    const bound = boundPlace(ctx, place, envelope)
    const kek = await keyForRead(ctx, { envelope, keyId, place: bound, bucket: place.bucket, requestContext, customerKey, versionId: shared.versionId })
    const { dataKey, shape, attributes } = openEnvelope(envelope, kek, bound)
    if (ctx.request.client === null && !attributes.isPublic && ctx.services.policyFor(place.bucket).publicRead === 'marked') throw new S3Error('AccessDenied')
    const size = sizeOf(shape, storedSize)
    if (!isAsDescribed(headers, attributes)) throw new EnvelopeError('metadata')
    // Sealed metadata leaves none for the store: whoever put these there wants the object to be taken for another kind.
    if (attributes.metadata.kind === 'sealed' && ctx.services.policyFor(place.bucket).s3ec !== null && hasMarks(headers)) throw new EnvelopeError('metadata')
    return { ...shape, place: bound, envelope, keyId, requestContext, dataKey, attributes, size, ...shared }
  })
}

/** Runs a step of verification. Its failures become one error that reveals nothing to a client, and a metric with the kind. */
export async function verified<T>(ctx: OperationContext, step: () => Promise<T> | T): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw unverified(ctx, error)
  }
}

/** As `verified`, for steps that run for every chunk of a body. */
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

/** Whether content type and encoding and user metadata are as they were written. Sealed metadata does not depend on the store. */
export function isAsDescribed(headers: HeaderList, { metadata }: Attributes): boolean {
  if (metadata.kind === 'sealed') return true
  const entries = [...headers.names()].map((name) => [name, headers.get(name) ?? ''] as const)
  return metadataMatches(metadata.digest, headers.get('content-type') ?? '', entries)
}

/** The ETag that clients see in every operation. */
export function clientEtag(ctx: OperationContext, object: InspectedObject): string {
  const { etag } = ctx.services.policyFor(object.bucket)
  if (object.kind === 'plain') return etag === 'opaque' ? opaqueEtag(etag, object.upstreamEtag) : object.upstreamEtag
  // The store's may be the MD5 of what the client encrypted.
  if (object.kind === 's3ec') return opaqueEtag(etag, object.upstreamEtag)
  return visibleEtag(etag, object, object.upstreamEtag, plaintextEtag(object))
}

/** What conditions on reads compare (RFC 9110 8.8). */
export function validatorsOf(ctx: OperationContext, object: InspectedObject): Validators {
  return { etag: clientEtag(ctx, object), lastModified: object.headers.get('last-modified') }
}

/** Hex MD5 of a single object, or hex MD5 of the parts' MD5s with `-N`; null where no MD5 was computed. */
export function plaintextEtag(object: InspectedSealed): string | null {
  if (object.attributes.sse.mode === 'SSE-C') return null
  const md5 = object.attributes.md5 ?? lateDigests(object)?.md5 ?? null
  if (md5 === null) return null
  return object.kind === 'multipart' ? `${md5.toString('hex')}-${object.manifest.parts.length}` : md5.toString('hex')
}

/** All known checksums of an object. */
export function checksumsOf(object: InspectedObject): readonly Checksum[] {
  return !isSealed(object) ? [] : [...object.attributes.checksums, ...lateDigests(object)?.checksums ?? []]
}

/** A checksum as S3 writes it: base64, with the number of parts behind one over the checksums of parts (AWS, "Checking object integrity"). */
export function checksumText(object: InspectedObject, { type, value }: Checksum): string {
  const parts = object.kind === 'multipart' ? object.manifest.parts.length : 1
  return value.toString('base64') + (type === 'composite' ? `-${parts}` : '')
}

/** Digests that were known only after the metadata had been sent. */
function lateDigests(object: InspectedSealed): Manifest | null {
  return object.kind === 'empty' ? null : object.manifest
}

/** Whether digests of a single that a client is shown are in its manifest and not in the metadata. */
export function needsManifest(ctx: OperationContext, object: SealedSingle): boolean {
  return object.attributes.digestsInManifest && (showsMd5(ctx.services.policyFor(object.bucket).etag, object) || wantsChecksum(ctx))
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

/** @throws EnvelopeError `format`: the gateway never wrote what does not parse. */
function readContext(value: string | undefined): Readonly<Record<string, string>> {
  try {
    return value === undefined ? {} : decodeContext(value)
  } catch {
    throw new EnvelopeError('format')
  }
}
