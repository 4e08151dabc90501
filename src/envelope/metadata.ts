import { createHash, timingSafeEqual } from 'node:crypto'
import { type ByteReader, ByteWriter, EnvelopeError, fields } from './encoding.ts'

// STORED DATA depends on every constant and rule in this file (docs/FORMAT.md: Sealed metadata, Metadata digest).

const USER_METADATA = 'x-amz-meta-'
/** Reserved for Sealgate: clients never see these entries and cannot set them. */
const OWN_METADATA = 'x-amz-meta-sealgate'
/** S3's content type of an object that was written without one. */
export const DEFAULT_CONTENT_TYPE = 'binary/octet-stream'
/** The content type that the store gets for an object with sealed metadata. */
export const STORE_CONTENT_TYPE = 'application/octet-stream'

/** A header that describes an object, with its name in full; latin1 characters stand for the bytes of the value. */
export type MetadataEntry = readonly [name: string, value: string]

const CONTENT_ENCODING = 'content-encoding'
/** The describing headers, each at its code; from `userCode` on an entry contains its name. */
const describing = ['', 'content-type', 'content-encoding', 'content-language', 'content-disposition', 'cache-control', 'expires']
const userCode = describing.length
const PADDED_TO = 64
export const METADATA_DIGEST_SIZE = 16
const wellFormedName = /^(?!sealgate)[!#$%&'*+.^_`|~0-9a-z-]{0,255}$/
/** Values that a header can have (RFC 9110, 5.5), without white space at either end. */
const wellFormedValue = /^(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])$/

/** Whether a header is sealed with the object: those that describe it, and the clients' user metadata. */
export function isDescribing(lowerName: string): boolean {
  return codeOf(lowerName) < userCode || isClients(lowerName)
}

/** 1 to 6, or 7 for every other name. */
function codeOf(lowerName: string): number {
  const code = describing.indexOf(lowerName)
  return code > 0 ? code : userCode
}

/**
 * The headers that are sealed with an object, in the order of their encoding: each name once, in lower case.
 * @param headers others are skipped; the default content type has no entry.
 */
export function describingEntries(headers: Iterable<MetadataEntry>): MetadataEntry[] {
  const values = new Map<string, string>()
  for (const [name, value] of headers) {
    const lower = name.toLowerCase()
    if (!isDescribing(lower)) continue
    const before = values.get(lower)
    const own = lower === CONTENT_ENCODING ? withoutFraming(value) : trim(value)
    values.set(lower, before === undefined ? own : `${before},${own}`)
  }
  const said = [...values].filter(([name, value]) => codeOf(name) === userCode || !(value === '' || isDefaultType(name, value)))
  return said.sort(([a], [b]) => codeOf(a) - codeOf(b) || (a < b ? -1 : 1))
}

/** The codings of an object, without the one of its transfer. */
function withoutFraming(contentEncoding: string): string {
  return trim(contentEncoding.split(',').filter((coding) => !isFraming(coding)).join(','))
}

function isFraming(coding: string): boolean {
  return trim(coding).toLowerCase() === 'aws-chunked'
}

function isDefaultType(name: string, value: string): boolean {
  return name === 'content-type' && value === DEFAULT_CONTENT_TYPE
}

/** Bytes of entries before padding. */
export function entriesSize(entries: readonly MetadataEntry[]): number {
  return entries.reduce((sum, [name, value]) => sum + 3 + value.length + (codeOf(name) < userCode ? 0 : 1 + name.length - USER_METADATA.length), 0)
}

/** Bytes of entries with their padding. */
export function paddedSize(size: number): number {
  return PADDED_TO * Math.max(1, Math.ceil(size / PADDED_TO))
}

/**
 * Sealed metadata (docs/FORMAT.md).
 * @param entries from `describingEntries`. @throws RangeError when they have no encoding.
 */
export function encodeEntries(entries: readonly MetadataEntry[]): Buffer {
  const writer = new ByteWriter()
  for (const [name, value] of entries) {
    const code = codeOf(name)
    writer.u8(code)
    if (code === userCode) writer.u8(name.length - USER_METADATA.length).bytes(Buffer.from(name.slice(USER_METADATA.length), 'latin1'))
    writer.u16(value.length).bytes(Buffer.from(value, 'latin1'))
    if (!isWellFormed(name, value)) throw new RangeError('This metadata has no encoding.')
  }
  if (!ascend(entries)) throw new RangeError('Metadata is encoded in the order of its names.')
  const size = entriesSize(entries)
  return writer.bytes(Buffer.alloc(paddedSize(size) - size)).end()
}

/** Reads all entries. @throws EnvelopeError `format` for everything except the one encoding of some entries. */
export function readEntries(reader: ByteReader): MetadataEntry[] {
  const entries: MetadataEntry[] = []
  let padding = 0
  while (!reader.done && padding === 0) {
    const code = reader.u8()
    if (code > userCode) throw new EnvelopeError('format')
    if (code === 0) {
      const rest = reader.rest()
      if (rest.some((byte) => byte !== 0)) throw new EnvelopeError('format')
      padding = 1 + rest.length
    } else {
      const name = code === userCode ? `${USER_METADATA}${reader.bytes(reader.u8()).toString('latin1')}` : describing[code] ?? ''
      entries.push([name, reader.bytes(reader.u16()).toString('latin1')])
    }
  }
  const size = entriesSize(entries)
  if (size + padding !== paddedSize(size) || !ascend(entries) || !entries.every(([name, value]) => isWellFormed(name, value))) {
    throw new EnvelopeError('format')
  }
  return entries
}

function isWellFormed(name: string, value: string): boolean {
  if (!wellFormedValue.test(value) || (name === CONTENT_ENCODING && value.split(',').some(isFraming))) return false
  return codeOf(name) < userCode ? value !== '' && !isDefaultType(name, value) : wellFormedName.test(name.slice(USER_METADATA.length))
}

function ascend(entries: readonly MetadataEntry[]): boolean {
  return entries.every(([name], i) => {
    const before = entries[i - 1]?.[0]
    if (before === undefined) return true
    return codeOf(before) < codeOf(name) || (codeOf(name) === userCode && codeOf(before) === userCode && before < name)
  })
}

function trim(value: string): string {
  // The lookbehind tries a run of blanks once, not once for each blank in it.
  return value.replace(/^[ \t]+|(?<![ \t])[ \t]+$/g, '')
}

/** The content types that stores use when the client gave none. */
const defaultTypes: readonly string[] = [DEFAULT_CONTENT_TYPE, STORE_CONTENT_TYPE]

type Entries = Iterable<MetadataEntry>

/**
 * Binds content type, content encoding and user metadata to the object, in a form that survives the changes that stores make (docs/FORMAT.md,
 * Metadata digest). 16 bytes.
 * @param contentType null or empty when there is none.
 * @param entries headers with their full names, in any case; all except content encoding and user metadata are skipped.
 */
export function metadataDigest(contentType: string | null, entries: Entries): Buffer {
  const list = [...entries]
  return digestOf(contentType, list, namesUnderscore(list))
}

/**
 * Whether the metadata that a store returns matches the digest.
 * @param entries as of `metadataDigest`, as the store returns them.
 */
export function metadataMatches(digest: Buffer, contentType: string | null, entries: Entries): boolean {
  const list = [...entries]
  // radosgw returns x-amz-meta-a_b as x-amz-meta-a-b: names without "_" may have had some, names with it always had it.
  const forms = namesUnderscore(list) ? [true] : [false, true]
  return forms.some((underscored) => timingSafeEqual(digest, digestOf(contentType, list, underscored)))
}

/** @param underscored some name of the client's has "_": then "_" and "-" are equal in all of them, and the digest records this. */
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

/** Whether a content type from the store is the one that the digest binds, or one that stores use where there was none. */
export function isTrustedType(contentType: string): boolean {
  const type = normalise(contentType)
  return defaultTypes.includes(type) || isBindable(type)
}

/** Whether the digest binds a value, and not only its name. */
export function isBindable(value: string): boolean {
  return bindable(value) === value
}

function isClients(lowerName: string): boolean {
  return lowerName.startsWith(USER_METADATA) && !lowerName.startsWith(OWN_METADATA)
}

function namesUnderscore(entries: readonly MetadataEntry[]): boolean {
  return entries.some(([name, value]) => name.includes('_') && isClients(name.toLowerCase().replaceAll('_', '-')) && normalise(value) !== '')
}

/** Codings are names without case (RFC 9110, 8.4.1); `aws-chunked` belongs to the transfer, but some stores keep it. */
function codings(value: string): string {
  return value.split(',').map((coding) => normalise(coding).toLowerCase()).filter((coding) => coding !== '' && !isFraming(coding)).join(',')
}

function normalise(value: string): string {
  return trim(value).replace(/ +/g, ' ')
}

/** Stores re-encode other bytes, some as RFC 2047 encoded words: only the name of such a value can be bound. */
function bindable(value: string): string {
  return /[^\x20-\x7e]/.test(value) || value.includes('=?') ? '' : value
}
