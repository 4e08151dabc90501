import { createHash, timingSafeEqual } from 'node:crypto'
import { METADATA_DIGEST_SIZE } from './attributes.ts'
import { fields } from './encoding.ts'

const USER_METADATA = 'x-amz-meta-'
/** Reserved for Sealgate: clients never see these entries and cannot set them. */
export const OWN_METADATA = 'x-amz-meta-sealgate'
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
