import { createHash } from 'node:crypto'
import type { BucketPolicy } from '../../config/config.ts'
import type { ObjectShape } from '../../envelope/envelope.ts'
import { unquoteEtag } from '../../s3/conditions.ts'

/** What ETags clients see in a bucket (docs/FORMAT.md, ETags). */
type Mode = BucketPolicy['etag']

/**
 * Bytes of plaintext up to which `md5-small` shows the MD5 of an object that is one piece. The command line and the SDKs of AWS send what is
 * larger in parts (AWS CLI, multipart_threshold: 8 MiB), and then no client has an MD5 of the whole to compare.
 */
export const SMALL_BYTES = 8 * 1024 * 1024

interface Shown {
  readonly kind: ObjectShape['kind']
  /** Bytes of plaintext. */
  readonly size: number
}

/** Whether clients see an MD5 of the plaintext as the ETag of such an object, and so whether one is computed when it is written. */
export function showsMd5(mode: Mode, { kind, size }: Shown): boolean {
  return mode === 'md5' || (mode === 'md5-small' && kind !== 'multipart' && size <= SMALL_BYTES)
}

/**
 * The visible ETag: the MD5 of the plaintext where it is known and the bucket shows it, else the opaque one.
 * @param upstream as the store sent it, quotes included.
 * @param plaintext without quotes; null where no MD5 was computed.
 */
export function visibleEtag(mode: Mode, object: Shown, upstream: string, plaintext: string | null): string {
  return plaintext !== null && showsMd5(mode, object) ? `"${plaintext}"` : opaqueEtag(mode, upstream)
}

/** A multipart ETag whose digest marks the last of its parts as the gateway's own: the first six bits are zero. */
const withTailPart = /^(0[0-3][0-9a-f]{30})-([2-9]|[1-9]\d{1,4})$/

/**
 * The opaque ETag is a pure function of the store's. A bare MD5 (of ciphertext) gets a suffix, so that no client compares it with the MD5 of its data:
 * `-0`, which S3 itself never uses, or with `md5-small` `-1`, as S3 has it behind the ETag of an upload of one part. `-N` of multipart objects counts
 * the client's parts: one less than the store's where the digest has the mark (docs/FORMAT.md, ETags;
 * docs/decisions/0033-parts-in-opaque-etags.md).
 * @param upstream as the store sent it, quotes included.
 */
export function opaqueEtag(mode: Mode, upstream: string): string {
  return `"${opaqueTag(mode, unquoteEtag(upstream))}"`
}

/** As `opaqueEtag`, without quotes on either side. */
export function opaqueTag(mode: Mode, bare: string): string {
  if (!bare.includes('-')) return bare === '' ? '' : `${bare}-${mode === 'md5-small' ? 1 : 0}`
  const [, digest, parts] = withTailPart.exec(bare) ?? []
  return digest === undefined ? bare : `${digest}-${Number(parts) - 1}`
}

/**
 * Tells whether the store will give an object of these parts an ETag that marks its last part as the gateway's own; null where the store's ETags are
 * not MD5s, so that they cannot be predicted.
 * @param etags of the stored parts, in order, without quotes. What is returned takes those of the parts behind them, and hashes no others again.
 */
export function tailPartTeller(etags: readonly string[]): (behind: readonly string[]) => boolean | null {
  const before = etags.every(isMd5) ? createHash('md5').update(etags.join(''), 'hex') : null
  return (behind) => {
    if (before === null || !behind.every(isMd5)) return null
    return before.copy().update(behind.join(''), 'hex').digest().readUInt8(0) < 4
  }
}

function isMd5(etag: string): boolean {
  return /^[0-9a-f]{32}$/i.test(etag)
}
