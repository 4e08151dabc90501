import { createHash } from 'node:crypto'
import { METADATA_DIGEST_SIZE } from './attributes.ts'
import { fields } from './encoding.ts'

const USER_METADATA = 'x-amz-meta-'
/** Reserved for Sealgate: clients never see these entries and cannot set them. */
export const OWN_METADATA = 'x-amz-meta-sealgate'
/** Stores name one of these when the client gave no content type. */
const defaultTypes: readonly string[] = ['binary/octet-stream', 'application/octet-stream']

/**
 * Binds content type and user metadata to the object, in a form that survives what stores do to them (docs/FORMAT.md,
 * Metadata digest). 16 bytes.
 * @param contentType null or empty when there is none.
 * @param entries headers with their names in full, in any case; all but user metadata are passed over.
 */
export function metadataDigest(contentType: string | null, entries: Iterable<readonly [name: string, value: string]>): Buffer {
  const values = new Map<string, string[]>()
  for (const [name, value] of entries) {
    // radosgw gives x-amz-meta-a_b back as x-amz-meta-a-b.
    const lower = name.toLowerCase().replaceAll('_', '-')
    if (!lower.startsWith(USER_METADATA) || lower.startsWith(OWN_METADATA)) continue
    const normal = normalise(value)
    if (normal !== '') values.set(lower, [...values.get(lower) ?? [], normal])
  }
  const sorted = [...values].sort(([a], [b]) => (a < b ? -1 : 1))
  const type = normalise(contentType ?? '')
  const encoded = fields(
    'sealgate/v1/metadata',
    defaultTypes.includes(type) ? '' : bindable(type),
    ...sorted.flatMap(([name, list]) => [name, bindable(list.join(','))])
  )
  return createHash('sha256').update(encoded).digest().subarray(0, METADATA_DIGEST_SIZE)
}

function normalise(value: string): string {
  // The lookbehind tries a run of blanks once, not once for each blank in it.
  return value.replace(/^[ \t]+|(?<![ \t])[ \t]+$/g, '').replace(/ +/g, ' ')
}

/** Stores re-encode other bytes, some as RFC 2047 encoded words: of such a value only the name can be bound. */
function bindable(value: string): string {
  return /[^\x20-\x7e]/.test(value) || value.includes('=?') ? '' : value
}
