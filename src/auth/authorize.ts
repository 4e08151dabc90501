import { S3Error } from '../errors.ts'
import type { Client } from './types.ts'

interface Access {
  /** null for requests to the service itself (ListBuckets). */
  readonly bucket: string | null
  /** Whether it is one of the gateway's own buckets (`isOwnBucket`), which nobody may use. */
  readonly own: boolean
  readonly write: boolean
  /** The configuration allows reads of this kind to everybody. */
  readonly publicRead?: boolean
}

/**
 * Whether a client may use a bucket. One function for the bucket of the request, the source of a copy, the buckets in a document and the bucket of a
 * preflight, so that their rules stay the same.
 * @param client null: anonymous, which may only do what the configuration allows everybody.
 * @throws S3Error AccessDenied, the same whether or not the bucket exists; NoSuchBucket for the gateway's own buckets.
 */
export function authorize(client: Client | null, access: Access): void {
  if (!isAllowed(client, access)) throw new S3Error('AccessDenied')
  if (access.own) throw new S3Error('NoSuchBucket')
}

/** As `authorize`, as a question: listings of buckets show only those that the client may use. */
export function mayAccess(client: Client | null, access: Access): boolean {
  return !access.own && isAllowed(client, access)
}

function isAllowed(client: Client | null, { bucket, write, publicRead = false }: Access): boolean {
  if (client === null) return !write && publicRead
  if (write && client.readOnly) return false
  return bucket === null || client.buckets.some((pattern) => matchesPattern(pattern, bucket))
}

/** Compares with a pattern in which "*" matches any text. Worst case: time proportional to the product of the lengths. */
function matchesPattern(pattern: string, name: string): boolean {
  if (!pattern.includes('*')) return pattern === name
  const pieces = pattern.split('*')
  const first = pieces[0] ?? ''
  const last = pieces.at(-1) ?? ''
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false
  let at = first.length
  const end = name.length - last.length
  for (const piece of pieces.slice(1, -1)) {
    const found = name.indexOf(piece, at)
    if (found < 0 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}
