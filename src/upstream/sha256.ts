import { isAscii } from 'node:buffer'
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'

type Secret = string | ArrayBuffer | ArrayBufferView

/**
 * SHA-256, or HMAC-SHA-256 when made with a secret, in the shape the signing library asks for. Made for its use, which
 * is one short text per digest: no state in native memory that the garbage collector would have to follow.
 */
export class Sha256 {
  readonly #secret: Secret | undefined
  #text: Uint8Array = new Uint8Array()

  constructor(secret?: Secret) {
    this.#secret = secret
  }

  update(chunk: Uint8Array): void {
    this.#text = this.#text.length === 0 ? chunk : Buffer.concat([this.#text, chunk])
  }

  async digest(): Promise<Uint8Array> {
    if (this.#secret !== undefined) return createHmac('sha256', hmacKey(this.#secret)).update(this.#text).digest()
    return hash('sha256', onTheWire(this.#text), 'buffer')
  }

  reset(): void {
    this.#text = new Uint8Array()
  }
}

/**
 * The library encodes the canonical request as UTF-8. Header values here are latin1 characters that stand for the bytes
 * on the wire, and those bytes are what the store hashes.
 */
function onTheWire(text: Uint8Array): Uint8Array {
  return isAscii(text) ? text : Buffer.from(Buffer.from(text).toString('utf8'), 'latin1')
}

/** The library keeps the signing key of a day and hands over the same array each time. */
const keys = new WeakMap<object, KeyObject>()
/** It also takes an HMAC with the secret itself for every request, to find that key. As many as it keeps. */
const textKeys = new Map<string, KeyObject>()
const maxTextKeys = 50

/** Given the bytes themselves Node 24's HMAC takes five times as long as with a KeyObject. */
function hmacKey(secret: Secret): KeyObject {
  if (typeof secret === 'string') return textKey(secret)
  let key = keys.get(secret)
  if (key === undefined) {
    key = createSecretKey(ArrayBuffer.isView(secret)
      ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
      : new Uint8Array(secret))
    keys.set(secret, key)
  }
  return key
}

function textKey(secret: string): KeyObject {
  let key = textKeys.get(secret)
  if (key === undefined) {
    for (const oldest of textKeys.keys()) {
      if (textKeys.size < maxTextKeys) break
      textKeys.delete(oldest)
    }
    key = createSecretKey(secret, 'utf8')
    textKeys.set(secret, key)
  }
  return key
}
