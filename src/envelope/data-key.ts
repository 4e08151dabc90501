import { createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { EnvelopeError } from './error.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Keys).
const HKDF_SALT = Buffer.from('sealgate/v1/object-key-hkdf-salt', 'ascii')
export const KEY_SIZE = 32

/** HKDF-SHA-256 to 32 bytes. */
export function deriveKey(key: KeyObject, salt: Uint8Array, info: string | Uint8Array): KeyObject {
  const bytes = Buffer.from(hkdfSync('sha256', key, salt, info, KEY_SIZE))
  const derived = createSecretKey(bytes)
  bytes.fill(0)
  return derived
}

/**
 * The 32-byte key of one object and what is derived from it (docs/FORMAT.md, Keys). Holds KeyObjects only and shows
 * nothing when it is logged.
 */
export class ObjectKey {
  /** The object key itself: content of wraps and HKDF input, never a cipher's key. */
  readonly secret: KeyObject
  /** Input key of Tink's streams. */
  readonly stream: KeyObject
  /** 32 bytes, stored in clear. */
  readonly commitment: Buffer

  private constructor(secret: KeyObject) {
    this.secret = secret
    this.stream = deriveKey(secret, HKDF_SALT, 'sealgate/v1/stream')
    this.commitment = Buffer.from(hkdfSync('sha256', secret, HKDF_SALT, 'sealgate/v1/commitment', KEY_SIZE))
  }

  static random(): ObjectKey {
    return ObjectKey.#take(randomBytes(KEY_SIZE))
  }

  /**
   * Takes the bytes over: `bytes` is all zeros afterwards.
   * @throws EnvelopeError `box` unless they are 32 and not all zero.
   */
  static fromBytes(bytes: Buffer): ObjectKey {
    if (bytes.length !== KEY_SIZE || bytes.every((byte) => byte === 0)) throw new EnvelopeError('box')
    return ObjectKey.#take(bytes)
  }

  static #take(bytes: Buffer): ObjectKey {
    const secret = createSecretKey(bytes)
    bytes.fill(0)
    return new ObjectKey(secret)
  }

  /** KEK of the part records of a multipart upload. */
  get partRecord(): KeyObject {
    return deriveKey(this.secret, HKDF_SALT, 'sealgate/v1/part-record')
  }

  toJSON(): string {
    return 'ObjectKey(******)'
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toJSON()
  }
}
