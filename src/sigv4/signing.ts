import { createHmac, hash, timingSafeEqual, type KeyObject } from 'node:crypto'
import { algorithmV4, type SignatureClaim } from './claims.ts'
import { canonicalRequests, type SignableRequest } from './canonical.ts'

/** Hex SHA-256 of nothing. */
export const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** Hex SHA-256 of text whose characters stand for bytes (latin1), as header values do here. */
export function sha256Hex(text: string): string {
  return hash('sha256', Buffer.from(text, 'latin1'), 'hex')
}

/** Compares in time that does not depend on where the texts differ. Lengths are no secret. */
export function equalSignatures(expected: string, received: string): boolean {
  const a = Buffer.from(expected, 'latin1')
  const b = Buffer.from(received, 'latin1')
  // A character above U+00FF would lose its high byte in latin1 and could pass for another.
  return expected.length === received.length && Buffer.byteLength(received, 'utf8') === received.length && timingSafeEqual(a, b)
}

/** AWS, "Create a signed request", step 3. */
export function stringToSignV4(timestamp: string, scope: string, canonicalRequest: string): string {
  return `${algorithmV4}\n${timestamp}\n${scope}\n${sha256Hex(canonicalRequest)}`
}

/** @returns 64 lower-case hex digits. */
export function signV4(signingKey: KeyObject, stringToSign: string): string {
  return createHmac('sha256', signingKey).update(stringToSign, 'utf8').digest('hex')
}

export interface Verification {
  readonly valid: boolean
  /** What we signed, for the error that helps a developer find what his client signs otherwise. */
  readonly canonicalRequest: string
  readonly stringToSign: string
}

/**
 * Checks the signature of a request against every form it may have been signed in (see `canonicalRequests`).
 * @param timestamp ISO basic. @param payloadHash the hash or word that stands for the body.
 * @param withoutParameter the query parameter the signature does not cover, or null.
 */
export function verifySignatureV4(
  request: SignableRequest,
  claim: SignatureClaim,
  signed: { readonly timestamp: string; readonly payloadHash: string; readonly withoutParameter: string | null; readonly key: KeyObject }
): Verification {
  let first: Verification | undefined
  for (const canonicalRequest of canonicalRequests(request, claim.signedHeaders, signed.payloadHash, signed.withoutParameter)) {
    const stringToSign = stringToSignV4(signed.timestamp, claim.credential.scope, canonicalRequest)
    const valid = equalSignatures(signV4(signed.key, stringToSign), claim.signature)
    if (valid) return { valid, canonicalRequest, stringToSign }
    first ??= { valid, canonicalRequest, stringToSign }
  }
  return first ?? { valid: false, canonicalRequest: '', stringToSign: '' }
}
