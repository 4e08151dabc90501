import { createHash } from 'node:crypto'
import type { BucketPolicy } from '../../config/config.ts'
import { unquoteEtag } from '../../s3/conditions.ts'

/** A multipart ETag whose digest says that the last of its parts is the gateway's own: the first six bits are zero. */
const withTailPart = /^(0[0-3][0-9a-f]{30})-([2-9]|[1-9]\d{1,4})$/

/**
 * Opaque mode: the visible ETag is a pure function of the store's. A bare MD5 (of ciphertext) gets the suffix `-0`, which
 * S3 itself never issues, so that no client takes it for the MD5 of its data; `-N` of multipart objects counts the client's parts, one
 * less than the store's where the digest says so (docs/FORMAT.md, ETags; docs/decisions/0033-parts-in-opaque-etags.md).
 * @param upstream as the store sent it, quotes included.
 */
export function opaqueEtag(upstream: string): string {
  const bare = unquoteEtag(upstream)
  const [, digest, parts] = withTailPart.exec(bare) ?? []
  if (digest !== undefined) return `"${digest}-${Number(parts) - 1}"`
  return bare === '' || bare.includes('-') ? `"${bare}"` : `"${bare}-0"`
}

/**
 * Whether the store will give an object of these parts an ETag that says its last part is the gateway's own; null where the store's ETags are
 * no MD5s, of which nothing can be foretold.
 * @param etags of the stored parts, in order, without quotes.
 */
export function saysTailPart(etags: readonly string[]): boolean | null {
  const hash = createHash('md5')
  for (const etag of etags) {
    if (!/^[0-9a-f]{32}$/i.test(etag)) return null
    hash.update(etag, 'hex')
  }
  return hash.digest().readUInt8(0) < 4
}

/** The ETag a client sees: the MD5 of the plaintext where it is known and the bucket shows it, else the opaque one. */
export function visibleEtag(policy: BucketPolicy, upstreamEtag: string, plaintextEtag: string | null): string {
  return policy.etag === 'md5' && plaintextEtag !== null ? `"${plaintextEtag}"` : opaqueEtag(upstreamEtag)
}
