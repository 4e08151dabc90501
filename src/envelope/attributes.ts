import { createHash, timingSafeEqual } from 'node:crypto'
import { ByteReader, ByteWriter, EnvelopeError, type EnvelopeErrorKind, fields } from './encoding.ts'
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
const METADATA_DIGEST_SIZE = 16

/** What is sealed together with the object key. */
export interface Attributes {
  /** Bytes; null for multipart objects, whose manifest says it. */
  readonly plaintextSize: number | null
  /** MD5 of the plaintext, 16 bytes, where it was known before the body. */
  readonly md5: Buffer | null
  /** At most two. */
  readonly checksums: readonly Checksum[]
  /** Digests that came after the metadata stand in the manifest. */
  readonly digestsInManifest: boolean
  readonly sse: { readonly mode: SseMode; readonly bucketKeyEnabled: boolean }
  /** 16 bytes, from metadataDigest. */
  readonly metadataDigest: Buffer
}

/** @throws RangeError for attributes that have no encoding: a fault of the caller. */
export function encodeAttributes(attributes: Attributes): Buffer {
  const { plaintextSize, md5, sse } = attributes
  checkSize(attributes.metadataDigest, METADATA_DIGEST_SIZE)
  const writer = new ByteWriter()
    .u8(Number(md5 !== null) + 2 * Number(attributes.digestsInManifest) + 4 * Number(sse.bucketKeyEnabled))
    .u8(sseCodes[sse.mode])
    .u8(attributes.checksums.length)
    .bytes(attributes.metadataDigest)
  if (plaintextSize !== null) writer.u64(plaintextSize)
  if (md5 !== null) writer.bytes(checkSize(md5, MD5_SIZE))
  writeChecksums(writer, attributes.checksums)
  return writer.end()
}

/** @throws EnvelopeError `format`. */
export function parseAttributes(source: Buffer, kind: 'single' | 'multipart'): Attributes {
  const reader = new ByteReader(source, 'format')
  const [hasMd5, digestsInManifest = false, bucketKeyEnabled = false] = reader.flags(3)
  const mode = parseSse(reader.u8(), 'format')
  const count = checksumCount(reader, 'format')
  const metadataDigest = reader.bytes(METADATA_DIGEST_SIZE)
  const plaintextSize = kind === 'single' ? reader.u64(MAX_PLAINTEXT) : null
  const md5 = hasMd5 === true ? reader.bytes(MD5_SIZE) : null
  const checksums = readChecksums(reader, count, 'format')
  reader.end()
  return { plaintextSize, md5, checksums, digestsInManifest, sse: { mode, bucketKeyEnabled }, metadataDigest }
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

/** 0 stands for no algorithm. */
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

/** 0 stands for no type. */
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

const USER_METADATA = 'x-amz-meta-'
/** Reserved for Sealgate: clients never see these entries and cannot set them. */
const OWN_METADATA = 'x-amz-meta-sealgate'
const CONTENT_ENCODING = 'content-encoding'
/** Stores name one of these when the client gave no content type. */
const defaultTypes: readonly string[] = ['binary/octet-stream', 'application/octet-stream']

type Entries = Iterable<readonly [name: string, value: string]>

/**
 * Binds content type, content encoding and user metadata to the object, in a form that survives what stores do to them (docs/FORMAT.md,
 * Metadata digest). 16 bytes.
 * @param contentType null or empty when there is none.
 * @param entries headers with their names in full, in any case; all but content encoding and user metadata are passed over.
 */
export function metadataDigest(contentType: string | null, entries: Entries): Buffer {
  const list = [...entries]
  return digestOf(contentType, list, namesUnderscore(list))
}

/**
 * Whether what a store returns is what the digest was taken of.
 * @param entries as of `metadataDigest`, as the store returns them.
 */
export function metadataMatches(digest: Buffer, contentType: string | null, entries: Entries): boolean {
  const list = [...entries]
  // radosgw gives x-amz-meta-a_b back as x-amz-meta-a-b: names without "_" may have had some, names with it never had none.
  const forms = namesUnderscore(list) ? [true] : [false, true]
  return forms.some((underscored) => timingSafeEqual(digest, digestOf(contentType, list, underscored)))
}

/** @param underscored a name of the client's has "_": then "_" and "-" are one in all of them, and the digest says so. */
function digestOf(contentType: string | null, entries: Entries, underscored: boolean): Buffer {
  const values = new Map<string, string[]>()
  for (const [name, value] of entries) {
    const lower = name.toLowerCase()
    const bound = lower === CONTENT_ENCODING ? lower : underscored ? lower.replaceAll('_', '-') : lower
    if (bound !== CONTENT_ENCODING && !isClients(bound)) continue
    const normal = bound === CONTENT_ENCODING ? codings(value) : normalise(value)
    if (normal === '') continue
    const before = values.get(bound)
    if (before === undefined) values.set(bound, [normal])
    else before.push(normal)
  }
  const sorted = [...values].sort(([a], [b]) => (a < b ? -1 : 1))
  const type = normalise(contentType ?? '')
  const encoded = fields(
    'sealgate/v1/metadata',
    defaultTypes.includes(type) ? '' : bindable(type),
    ...sorted.flatMap(([name, list]) => [name, bindable(list.join(','))]),
    ...underscored ? ['_'] : []
  )
  return createHash('sha256').update(encoded).digest().subarray(0, METADATA_DIGEST_SIZE)
}

/** Whether a content type that a store returns is one the digest binds, or one that stores fill in where there was none. */
export function isTrustedType(contentType: string): boolean {
  const type = normalise(contentType)
  return defaultTypes.includes(type) || isBindable(type)
}

/** Whether the digest binds a value, and not its name alone. */
export function isBindable(value: string): boolean {
  return bindable(value) === value
}

function isClients(lowerName: string): boolean {
  return lowerName.startsWith(USER_METADATA) && !lowerName.startsWith(OWN_METADATA)
}

function namesUnderscore(entries: readonly (readonly [name: string, value: string])[]): boolean {
  return entries.some(([name, value]) => name.includes('_') && isClients(name.toLowerCase().replaceAll('_', '-')) && normalise(value) !== '')
}

/** Codings are names without case (RFC 9110, 8.4.1); `aws-chunked` is one of the way, which some stores keep. */
function codings(value: string): string {
  return value.split(',').map((coding) => normalise(coding).toLowerCase()).filter((coding) => coding !== '' && coding !== 'aws-chunked').join(',')
}

function normalise(value: string): string {
  // The lookbehind tries a run of blanks once, not once for each blank in it.
  return value.replace(/^[ \t]+|(?<![ \t])[ \t]+$/g, '').replace(/ +/g, ' ')
}

/** Stores re-encode other bytes, some as RFC 2047 encoded words: of such a value only the name can be bound. */
function bindable(value: string): string {
  return /[^\x20-\x7e]/.test(value) || value.includes('=?') ? '' : value
}
