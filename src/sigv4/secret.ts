import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'

/** Signing keys kept per secret. A client signs for one region and, around midnight UTC, two days; the rest is slack. */
const keptSigningKeys = 16

/**
 * A secret access key that cannot be printed: it lives in key objects, and every way of turning it into text gives
 * stars. Holds the signing keys derived from it, so that a reload with a new secret leaves none behind.
 */
export class SigningSecret {
  readonly #v4: KeyObject
  readonly #v2: KeyObject
  readonly #signingKeys = new Map<string, KeyObject>()

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
      const derived = createHmac('sha256', key).update(step, 'utf8').digest()
      key = createSecretKey(derived)
      derived.fill(0)
    }
    if (this.#signingKeys.size >= keptSigningKeys) {
      for (const oldest of this.#signingKeys.keys()) {
        this.#signingKeys.delete(oldest)
        break
      }
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
