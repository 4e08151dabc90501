import { S3Error } from '../errors.ts'
import type { Client } from './types.ts'

interface Access {
  /** null for requests to the service itself (ListBuckets). */
  readonly bucket: string | null
  readonly write: boolean
  /** The bucket answers anonymous reads of this kind. */
  readonly publicRead?: boolean
}

/**
 * Whether a client may touch a bucket. One function for the bucket of the request and for the source of a copy, so that
 * the two cannot drift apart.
 * @param client null: anonymous, which may do what the configuration leaves to everybody and nothing else.
 * @throws S3Error AccessDenied, the same whether or not the bucket exists.
 */
export function authorize(client: Client | null, access: Access): void {
  if (!mayAccess(client, access)) throw new S3Error('AccessDenied')
}

/** As `authorize`, as a question: listings of buckets show only what the client may touch. */
export function mayAccess(client: Client | null, access: Access): boolean {
  const { bucket, write, publicRead = false } = access
  if (client === null) return bucket !== null && !write && publicRead
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
