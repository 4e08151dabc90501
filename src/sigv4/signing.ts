import { hash, timingSafeEqual, type KeyObject, createSecretKey } from 'node:crypto'
import { inspect } from 'node:util'
import { BoundedCache } from '../collections/bounded-cache.ts'
import { emptySha256 } from '../http/checksums.ts'
import { hmacSha256 } from '../native/hmac.ts'
import { algorithmV4, type SignatureClaim } from './claims.ts'
import { canonicalRequests, type SignableRequest } from './canonical.ts'

/** Hex SHA-256 of text in which a character is a byte (latin1), as in header values here. */
function sha256Hex(text: string): string {
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
function stringToSignV4(timestamp: string, scope: string, canonicalRequest: string): string {
  return `${algorithmV4}\n${timestamp}\n${scope}\n${sha256Hex(canonicalRequest)}`
}

/** @returns 64 lower-case hex digits. */
export function signV4(signingKey: KeyObject, stringToSign: string): string {
  return hmacSha256(signingKey, stringToSign).toString('hex')
}

interface Verification {
  readonly valid: boolean
  /** The text that was signed here, for the error that helps a developer find the difference. */
  readonly canonicalRequest: string
  readonly stringToSign: string
}

/**
 * Checks the signature of a request against every form it may have been signed in (see `canonicalRequests`).
 * @param timestamp ISO basic. @param payloadHash the hash of the body, or the word in its place.
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

/**
 * The chain of chunk signatures of STREAMING-AWS4-HMAC-SHA256-PAYLOAD and …-TRAILER (AWS, "Signature calculations for the
 * Authorization header: transferring payload in multiple chunks"): each signs the one before it, the first signs the
 * signature of the request. So chunks can be neither dropped, swapped nor taken from another request.
 */
export class ChunkSignatureChain {
  readonly #key: KeyObject
  readonly #place: string
  #previous: string

  /** @param timestamp ISO basic, of the request. @param seed the verified signature of the request. */
  constructor(key: KeyObject, timestamp: string, scope: string, seed: string) {
    this.#key = key
    this.#place = `${timestamp}\n${scope}`
    this.#previous = seed
  }

  /** @returns the expected hex signature of the next chunk. Advances the chain. */
  next(sha256OfChunk: Buffer): string {
    this.#previous = signV4(this.#key, `AWS4-HMAC-SHA256-PAYLOAD\n${this.#place}\n${this.#previous}\n${emptySha256}\n${sha256OfChunk.toString('hex')}`)
    return this.#previous
  }

  /** @returns the expected hex signature of the trailer block. Advances the chain. */
  trailer(sha256OfCanonicalTrailers: Buffer): string {
    this.#previous = signV4(this.#key, `AWS4-HMAC-SHA256-TRAILER\n${this.#place}\n${this.#previous}\n${sha256OfCanonicalTrailers.toString('hex')}`)
    return this.#previous
  }
}

/** Signing keys kept per secret. A client signs for one region and, around midnight UTC, two days; the rest is margin. */
const keptSigningKeys = 16

/**
 * A secret access key that cannot be printed: it is kept in key objects, and every conversion to text gives stars. Holds the signing keys derived
 * from it, so that a reload with a new secret leaves none behind.
 */
export class SigningSecret {
  readonly #v4: KeyObject
  readonly #v2: KeyObject
  readonly #signingKeys = new BoundedCache<KeyObject>(keptSigningKeys)

  constructor(secretAccessKey: string) {
    this.#v4 = createSecretKey(`AWS4${secretAccessKey}`, 'utf8')
    this.#v2 = createSecretKey(secretAccessKey, 'utf8')
  }

  /** HMAC-SHA1 key of Signature Version 2: the secret itself. */
  get v2Key(): KeyObject {
    return this.#v2
  }

  /**
   * The SigV4 signing key of a day and region for service s3 (AWS, "Create a signed request": kDate … kSigning).
   * @param date YYYYMMDD
   */
  signingKey(date: string, region: string): KeyObject {
    const scope = `${date}/${region}`
    const known = this.#signingKeys.get(scope)
    if (known !== undefined) return known
    let key = this.#v4
    for (const step of [date, region, 's3', 'aws4_request']) {
      const derived = hmacSha256(key, step)
      key = createSecretKey(derived)
      derived.fill(0)
    }
    this.#signingKeys.set(scope, key)
    return key
  }

  toString(): string {
    return '******'
  }

  toJSON(): string {
    return '******'
  }

  [inspect.custom](): string {
    return '******'
  }
}
