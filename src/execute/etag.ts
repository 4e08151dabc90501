import type { BucketPolicy } from '../config.ts'
import { unquoteEtag } from '../s3/conditions.ts'

/**
 * Opaque mode: the visible ETag is a pure function of the store's. A bare MD5 (of ciphertext) gets the suffix `-0`, which
 * S3 itself never issues, so that no client takes it for the MD5 of its data; `-N` of multipart objects stays as it is
 * (docs/FORMAT.md, ETags).
 * @param upstream as the store sent it, quotes included.
 */
export function opaqueEtag(upstream: string): string {
  const bare = unquoteEtag(upstream)
  return bare === '' || bare.includes('-') ? `"${bare}"` : `"${bare}-0"`
}

/** The store's ETag behind an opaque one, without quotes: the reverse of `opaqueEtag`. */
export function upstreamOfOpaque(visible: string): string {
  const bare = unquoteEtag(visible)
  return bare.endsWith('-0') ? bare.slice(0, -2) : bare
}

/** The ETag a client sees: the MD5 of the plaintext where it is known and the bucket shows it, else the opaque one. */
export function visibleEtag(policy: BucketPolicy, upstreamEtag: string, plaintextEtag: string | null): string {
  return policy.etag === 'md5' && plaintextEtag !== null ? `"${plaintextEtag}"` : opaqueEtag(upstreamEtag)
}
