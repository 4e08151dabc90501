import { createHash, timingSafeEqual } from 'node:crypto'
import { type ByteReader, ByteWriter, EnvelopeError, fields } from './encoding.ts'

// STORED DATA depends on every constant and rule in this file (docs/FORMAT.md: Sealed metadata, Metadata digest).

const USER_METADATA = 'x-amz-meta-'
/** Reserved for Sealgate: clients never see these entries and cannot set them. */
const OWN_METADATA = 'x-amz-meta-sealgate'
/** What S3 shows of an object that was written without a content type. */
export const DEFAULT_CONTENT_TYPE = 'binary/octet-stream'
/** What the store is told of an object whose metadata is sealed. */
export const STORE_CONTENT_TYPE = 'application/octet-stream'

/** A header that describes an object, with its name in full; latin1 characters stand for the bytes of the value. */
export type MetadataEntry = readonly [name: string, value: string]

const CONTENT_ENCODING = 'content-encoding'
/** The describing headers, each at its code; from `userCode` on the entry has a name. */
const describing = ['', 'content-type', 'content-encoding', 'content-language', 'content-disposition', 'cache-control', 'expires']
const userCode = describing.length
const PADDED_TO = 64
export const METADATA_DIGEST_SIZE = 16
const wellFormedName = /^(?!sealgate)[!#$%&'*+.^_`|~0-9a-z-]{0,255}$/
/** What a header can carry (RFC 9110, 5.5), without blanks at either end. */
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
 * What of an object's headers is sealed with it, in the order it is encoded in: each name once, in lower case.
 * @param headers those that are not sealed are passed over; the default content type has no entry.
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

/** The codings of an object, without that of its transfer. */
function withoutFraming(contentEncoding: string): string {
  return trim(contentEncoding.split(',').filter((coding) => !isFraming(coding)).join(','))
}

function isFraming(coding: string): boolean {
  return trim(coding).toLowerCase() === 'aws-chunked'
}

function isDefaultType(name: string, value: string): boolean {
  return name === 'content-type' && value === DEFAULT_CONTENT_TYPE
}

/** Bytes that entries take before padding. */
export function entriesSize(entries: readonly MetadataEntry[]): number {
  return entries.reduce((sum, [name, value]) => sum + 3 + value.length + (codeOf(name) < userCode ? 0 : 1 + name.length - USER_METADATA.length), 0)
}

/** Bytes that entries of so many bytes take with their padding. */
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

/** Reads them to the end. @throws EnvelopeError `format` for everything but the one encoding of some entries. */
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

/** Stores name one of these when the client gave no content type. */
const defaultTypes: readonly string[] = [DEFAULT_CONTENT_TYPE, STORE_CONTENT_TYPE]

type Entries = Iterable<MetadataEntry>

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

function namesUnderscore(entries: readonly MetadataEntry[]): boolean {
  return entries.some(([name, value]) => name.includes('_') && isClients(name.toLowerCase().replaceAll('_', '-')) && normalise(value) !== '')
}

/** Codings are names without case (RFC 9110, 8.4.1); `aws-chunked` is one of the way, which some stores keep. */
function codings(value: string): string {
  return value.split(',').map((coding) => normalise(coding).toLowerCase()).filter((coding) => coding !== '' && !isFraming(coding)).join(',')
}

function normalise(value: string): string {
  return trim(value).replace(/ +/g, ' ')
}

/** Stores re-encode other bytes, some as RFC 2047 encoded words: of such a value only the name can be bound. */
function bindable(value: string): string {
  return /[^\x20-\x7e]/.test(value) || value.includes('=?') ? '' : value
}
