import { ByteReader, ByteWriter, EnvelopeError, type EnvelopeErrorKind } from './encoding.ts'
import { encodeEntries, METADATA_DIGEST_SIZE, readEntries, type MetadataEntry } from './metadata.ts'
import { MAX_PLAINTEXT } from './sizes.ts'

// The codes and sizes in this file are part of STORED DATA (docs/FORMAT.md: Checksums, Metadata).

export const checksumCodes = {
  crc32: { code: 1, bytes: 4 },
  crc32c: { code: 2, bytes: 4 },
  crc64nvme: { code: 3, bytes: 8 },
  sha1: { code: 4, bytes: 20 },
  sha256: { code: 5, bytes: 32 },
  md5: { code: 6, bytes: 16 },
  sha512: { code: 7, bytes: 64 },
  xxhash64: { code: 8, bytes: 8 },
  xxhash3: { code: 9, bytes: 8 },
  xxhash128: { code: 10, bytes: 16 }
} as const

export type ChecksumName = keyof typeof checksumCodes
const checksumNames = Object.keys(checksumCodes) as ChecksumName[]

const typeCodes = { full: 1, composite: 2 } as const
export type ChecksumKind = keyof typeof typeCodes

export interface Checksum {
  readonly algorithm: ChecksumName
  /** `full`: over the object's bytes; `composite`: over the checksums of its parts. */
  readonly type: ChecksumKind
  /** The digest, big-endian: 4 to 64 bytes by algorithm. */
  readonly value: Buffer
}

const sseCodes = { 'none': 0, 'AES256': 1, 'aws:kms': 2, 'SSE-C': 3 } as const
/** Server-side encryption the client asked for. */
export type SseMode = keyof typeof sseCodes

const MAX_CHECKSUMS = 2
export const MD5_SIZE = 16

/** What the plaintext fields of an envelope say of the object's body. */
export type ClearShape =
  /** `streamHeader`: 40 bytes. */
  | { readonly kind: 'single'; readonly streamHeader: Buffer }
  /** The manifest has size and streams. */
  | { readonly kind: 'multipart' }
  /** 0 bytes, not uploaded in parts: there is no body. */
  | { readonly kind: 'empty' }

type SingleShape = Extract<ClearShape, { kind: 'single' }>
/** The same with its sealed part: the plaintext size of a single, in bytes. */
export type ObjectShape = Exclude<ClearShape, SingleShape> | SingleShape & { readonly plaintextSize: number }

/** The attributes sealed together with the data key, of objects of every kind. */
export interface Attributes {
  /** MD5 of the plaintext, 16 bytes, where it was known before the body. */
  readonly md5: Buffer | null
  /** At most two. */
  readonly checksums: readonly Checksum[]
  /** Digests that arrived after the metadata are in the manifest. */
  readonly digestsInManifest: boolean
  readonly sse: { readonly mode: SseMode; readonly bucketKeyEnabled: boolean }
  readonly metadata: ObjectMetadata
  /** The public mark: the writer made the object readable for everybody. */
  readonly isPublic: boolean
}

/** The metadata of the object: sealed with its key, or kept by the store in plaintext and bound by `metadataDigest`, 16 bytes. */
type ObjectMetadata =
  | { readonly kind: 'sealed'; readonly entries: readonly MetadataEntry[] }
  | { readonly kind: 'clear'; readonly digest: Buffer }

/** @throws RangeError for attributes that have no encoding: a bug in the caller. */
export function encodeAttributes(attributes: Attributes, shape: ObjectShape): Buffer {
  const { md5, sse, metadata } = attributes
  if (shape.kind === 'empty' && attributes.digestsInManifest) throw new RangeError('An empty object has no manifest.')
  const flags = [md5 !== null, attributes.digestsInManifest, sse.bucketKeyEnabled, metadata.kind === 'sealed', attributes.isPublic]
  const writer = new ByteWriter()
    .u8(flags.reduce((sum, flag, bit) => sum + Number(flag) * 2 ** bit, 0))
    .u8(sseCodes[sse.mode])
    .u8(attributes.checksums.length)
  if (metadata.kind === 'clear') writer.bytes(checkSize(metadata.digest, METADATA_DIGEST_SIZE))
  if (shape.kind === 'single') writer.u64(shape.plaintextSize)
  if (md5 !== null) writer.bytes(checkSize(md5, MD5_SIZE))
  writeChecksums(writer, attributes.checksums)
  if (metadata.kind === 'sealed') writer.bytes(encodeEntries(metadata.entries))
  return writer.end()
}

/** @throws EnvelopeError `format`. */
export function parseAttributes(source: Buffer, clear: ClearShape): { readonly shape: ObjectShape; readonly attributes: Attributes } {
  const reader = new ByteReader(source, 'format')
  const [hasMd5, digestsInManifest = false, bucketKeyEnabled = false, isSealed, isPublic = false] = reader.flags(5)
  if (clear.kind === 'empty' && digestsInManifest) throw new EnvelopeError('format')
  const mode = parseSse(reader.u8(), 'format')
  const count = checksumCount(reader, 'format')
  const digest = isSealed === true ? null : reader.bytes(METADATA_DIGEST_SIZE)
  const shape: ObjectShape = clear.kind === 'single' ? { ...clear, plaintextSize: reader.u64(MAX_PLAINTEXT) } : clear
  const md5 = hasMd5 === true ? reader.bytes(MD5_SIZE) : null
  const checksums = readChecksums(reader, count, 'format')
  const metadata: ObjectMetadata = digest === null ? { kind: 'sealed', entries: readEntries(reader) } : { kind: 'clear', digest }
  reader.end()
  return { shape, attributes: { md5, checksums, digestsInManifest, sse: { mode, bucketKeyEnabled }, metadata, isPublic } }
}

export function sseCode(mode: SseMode): number {
  return sseCodes[mode]
}

/** @throws EnvelopeError of the kind given for an unknown code. */
export function parseSse(code: number, kind: EnvelopeErrorKind): SseMode {
  const mode = (Object.keys(sseCodes) as SseMode[]).find((name) => sseCodes[name] === code)
  if (mode === undefined) throw new EnvelopeError(kind)
  return mode
}

/** 0: no algorithm. */
export function checksumCode(algorithm: ChecksumName | null): number {
  return algorithm === null ? 0 : checksumCodes[algorithm].code
}

/** @throws EnvelopeError of the kind given for an unknown code. */
export function parseChecksumCode(code: number, kind: EnvelopeErrorKind): ChecksumName | null {
  if (code === 0) return null
  const algorithm = checksumNames.find((name) => checksumCodes[name].code === code)
  if (algorithm === undefined) throw new EnvelopeError(kind)
  return algorithm
}

/** 0: no type. */
export function checksumTypeCode(type: ChecksumKind | null): number {
  return type === null ? 0 : typeCodes[type]
}

/** @throws EnvelopeError of the kind given for an unknown code. */
export function parseChecksumType(code: number, kind: EnvelopeErrorKind): ChecksumKind | null {
  if (code === 0) return null
  if (code === typeCodes.full) return 'full'
  if (code === typeCodes.composite) return 'composite'
  throw new EnvelopeError(kind)
}

/** @throws RangeError for a wrong number or size of checksums. */
export function writeChecksums(writer: ByteWriter, checksums: readonly Checksum[]): void {
  if (checksums.length > MAX_CHECKSUMS) throw new RangeError('An object has at most two checksums.')
  for (const { algorithm, type, value } of checksums) {
    writer.u8(checksumCode(algorithm)).u8(checksumTypeCode(type)).bytes(checkSize(value, checksumCodes[algorithm].bytes))
  }
}

/** @throws EnvelopeError of the kind given when there are more than two. */
export function checksumCount(reader: ByteReader, kind: EnvelopeErrorKind): number {
  const count = reader.u8()
  if (count > MAX_CHECKSUMS) throw new EnvelopeError(kind)
  return count
}

/** @throws EnvelopeError of the kind given. */
export function readChecksums(reader: ByteReader, count: number, kind: EnvelopeErrorKind): Checksum[] {
  return Array.from({ length: count }, () => {
    const algorithm = parseChecksumCode(reader.u8(), kind)
    const type = parseChecksumType(reader.u8(), kind)
    if (algorithm === null || type === null) throw new EnvelopeError(kind)
    return { algorithm, type, value: reader.bytes(checksumCodes[algorithm].bytes) }
  })
}

/** @throws RangeError when a digest has another size than its algorithm. */
export function checkSize(value: Buffer, size: number): Buffer {
  if (value.length !== size) throw new RangeError(`A digest of ${value.length} bytes, not ${size}.`)
  return value
}
