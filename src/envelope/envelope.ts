// The object format of docs/FORMAT.md, and nothing else: envelope, attributes, data keys, segments and streams, manifests, state of uploads.
// It knows neither HTTP nor S3, and imports no other room. Numbers and labels that are stored never change; test/vectors holds them.
// Read FORMAT.md first.
import { timingSafeEqual, type KeyObject } from 'node:crypto'
import { encodeAttributes, parseAttributes, type Attributes, type ClearShape, type ObjectShape } from './attributes.ts'
import { ByteReader, ByteWriter, decodeBase64url, fields, utf8, EnvelopeError, type EnvelopeErrorKind } from './encoding.ts'
import { DataKey, unwrap, wrap, WRAP_OVERHEAD } from './data-key.ts'
import { KEY_SIZE } from './primitives.ts'
import { HEADER_SIZE, plaintextSize } from './sizes.ts'

/** Names of the metadata entries that make an object a sealed one (FORMAT, Stored object). */
export const ENVELOPE_HEADER = 'x-amz-meta-sealgate'
export const KEY_ID_HEADER = 'x-amz-meta-sealgate-key'
export const CONTEXT_HEADER = 'x-amz-meta-sealgate-context'

export type { Attributes, Checksum, ObjectShape, SseMode } from './attributes.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Metadata).
const VERSION = 1
const SUITE = 1
const kindCodes = { single: 1, multipart: 2, empty: 3 } as const
const scopeCodes = { bucket: 1, object: 2 } as const
const MAX_BUCKET_SIZE = 255
const MAX_BLOB_SIZE = 6144
const COMMITMENT_SIZE = 32
const MAX_ENVELOPE_CHARACTERS = 9216

/** Kinds that have a body, and a manifest in it. */
export type BodyKind = Exclude<ObjectShape['kind'], 'empty'>
/** The scope of a bucket key, as in its provider's context: every object of its bucket, or this one alone. */
export type KeyScope = keyof typeof scopeCodes

/** The place an object is bound to. An object that was moved in the store does not open. */
export interface Place {
  /** Configured name of the upstream store or tenant. */
  readonly realm: string
  readonly bucket: string
  /** Object name, decoded. */
  readonly objectKey: string
}

/** The metadata entry `x-amz-meta-sealgate`, parsed. Nothing in it is authenticated before openEnvelope. */
export interface Envelope {
  readonly version: number
  readonly suite: number
  readonly shape: ClearShape
  /** The scope that the wrapped bucket key is bound to: needed to unwrap it. */
  readonly scope: KeyScope
  /** Name of the bucket it is bound to. */
  readonly bucket: string
  /** Bucket key, wrapped by the provider. */
  readonly blob: Buffer
  /** 32 bytes. */
  readonly commitment: Buffer
  readonly box: Buffer
}

export interface SealEnvelopeInput {
  /** Bucket key, or what an SSE-C key gives. */
  readonly kek: KeyObject
  readonly blob: Buffer
  readonly scope: KeyScope
  readonly dataKey: DataKey
  readonly place: Place
  readonly shape: ObjectShape
  readonly attributes: Attributes
}

/** The contents of the box, authenticated with the plaintext fields. */
export interface OpenedEnvelope {
  readonly dataKey: DataKey
  readonly shape: ObjectShape
  readonly attributes: Attributes
}

/**
 * The value of `x-amz-meta-sealgate` (docs/FORMAT.md, Metadata), base64url.
 * @throws RangeError for fields that have no encoding; EnvelopeError `place` for names that are not well-formed Unicode.
 */
export function sealEnvelope(input: SealEnvelopeInput): string {
  const { kek, blob, scope, dataKey, place, shape, attributes } = input
  if (shape.kind === 'single' && shape.streamHeader.length !== HEADER_SIZE) throw new RangeError('A stream header has 40 bytes.')
  const commitment = dataKey.commitment
  const secret = Buffer.concat([dataKey.secret.export(), encodeAttributes(attributes, shape)])
  const box = wrap(kek, secret, aadOf({ version: VERSION, suite: SUITE, shape, scope, commitment }, place))
  secret.fill(0)
  return encode({ version: VERSION, suite: SUITE, shape, scope, bucket: place.bucket, blob, commitment, box })
}

/**
 * The same envelope with its bucket key wrapped again. The provider binds blob and key id, so the box stays valid, and the bucket key need not be
 * known (docs/FORMAT.md, Metadata).
 * @param blob the same bucket key, wrapped for the same context. @throws RangeError for one of an impossible size.
 */
export function replaceBlob(envelope: Envelope, blob: Buffer): string {
  return encode({ ...envelope, blob })
}

function encode({ version, suite, shape, scope, bucket, blob, commitment, box }: Envelope): string {
  const name = utf8(bucket)
  if (name.length < 1 || name.length > MAX_BUCKET_SIZE) throw new RangeError('A bucket name has 1 to 255 bytes.')
  if (blob.length < 1 || blob.length > MAX_BLOB_SIZE) throw new RangeError('A wrapped bucket key has 1 to 6,144 bytes.')
  return new ByteWriter()
    .u8(version).u8(suite).u8(kindCodes[shape.kind]).u8(scopeCodes[scope])
    .u8(name.length).bytes(name)
    .u16(blob.length).bytes(blob)
    .bytes(commitment)
    .bytes(headerOf(shape))
    .bytes(box)
    .end().toString('base64url')
}

/** @throws EnvelopeError `format` for anything but a well-formed envelope of a known version, suite and kind. */
export function parseEnvelope(headerValue: string): Envelope {
  const source = headerValue.length <= MAX_ENVELOPE_CHARACTERS ? decodeBase64url(headerValue) : null
  if (source === null) throw new EnvelopeError('format')
  const reader = new ByteReader(source, 'format')
  const version = reader.u8()
  const suite = reader.u8()
  if (version !== VERSION || suite !== SUITE) throw new EnvelopeError('format')
  const kind = parseKind(reader.u8())
  const scope = parseScope(reader.u8(), 'format')
  const bucketBytes = reader.bytes(reader.u8())
  const bucket = bucketBytes.toString('utf8')
  const blob = reader.bytes(reader.u16())
  // Bytes that are not UTF-8 would decode to U+FFFD: two spellings of one name.
  if (bucket === '' || !Buffer.from(bucket, 'utf8').equals(bucketBytes)) throw new EnvelopeError('format')
  if (blob.length < 1 || blob.length > MAX_BLOB_SIZE) throw new EnvelopeError('format')
  const commitment = reader.bytes(COMMITMENT_SIZE)
  const shape: ClearShape = kind === 'single' ? { kind, streamHeader: reader.bytes(HEADER_SIZE) } : { kind }
  const box = reader.rest()
  if (box.length < WRAP_OVERHEAD + KEY_SIZE) throw new EnvelopeError('format')
  return { version, suite, shape, scope, bucket, blob, commitment, box }
}

/**
 * Opens the box and checks the commitment, in constant time, before the data key is returned.
 * @param place the object is bound to: for a replica its source, once the configuration has allowed it.
 * @throws EnvelopeError `place` (bound to another bucket), `box`, `commitment`, `format` (attributes).
 */
export function openEnvelope(envelope: Envelope, kek: KeyObject, place: Place): OpenedEnvelope {
  if (envelope.bucket !== place.bucket) throw new EnvelopeError('place')
  const secret = unwrap(kek, envelope.box, aadOf(envelope, place))
  if (secret.length < KEY_SIZE) throw new EnvelopeError('box')
  // Attributes are views of their source, and fromBytes zeroes its own.
  const attributeBytes = Buffer.from(secret.subarray(KEY_SIZE))
  const dataKey = DataKey.fromBytes(secret.subarray(0, KEY_SIZE))
  if (!timingSafeEqual(dataKey.commitment, envelope.commitment)) throw new EnvelopeError('commitment')
  return { dataKey, ...parseAttributes(attributeBytes, envelope.shape) }
}

/**
 * Bytes of plaintext, computed from the stored size according to the envelope. For multipart objects the manifest must still agree.
 * @throws EnvelopeError `length`: no other object can be cut to nothing, and no empty one given a body.
 */
export function sizeOf(shape: ObjectShape, storedSize: number): number {
  const size = shape.kind === 'empty' ? storedSize === 0 ? 0 : null : plaintextSize(storedSize)
  if (size === null || (shape.kind === 'single' && shape.plaintextSize !== size)) throw new EnvelopeError('length')
  return size
}

function parseKind(code: number): ObjectShape['kind'] {
  if (code === kindCodes.single) return 'single'
  if (code === kindCodes.multipart) return 'multipart'
  if (code === kindCodes.empty) return 'empty'
  throw new EnvelopeError('format')
}

/** @throws EnvelopeError of the kind given for an unknown code. */
export function parseScope(code: number, kind: EnvelopeErrorKind): KeyScope {
  if (code === scopeCodes.bucket) return 'bucket'
  if (code === scopeCodes.object) return 'object'
  throw new EnvelopeError(kind)
}

export function scopeCode(scope: KeyScope): number {
  return scopeCodes[scope]
}

/** Of a single; parts have their own, and an empty object has none. */
function headerOf(shape: ClearShape): Buffer {
  return shape.kind === 'single' ? shape.streamHeader : Buffer.alloc(0)
}

type Bound = Pick<Envelope, 'version' | 'suite' | 'shape' | 'scope' | 'commitment'>

/** All plaintext fields except blob and key id, which the provider binds, with the place. */
function aadOf({ version, suite, shape, scope, commitment }: Bound, place: Place): Buffer {
  return fields(
    'sealgate/v1/envelope',
    Buffer.from([version, suite, kindCodes[shape.kind], scopeCodes[scope]]),
    commitment,
    headerOf(shape),
    place.realm,
    place.bucket,
    place.objectKey
  )
}
