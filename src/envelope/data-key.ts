import { createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { EnvelopeError, byUtf8, fields } from './encoding.ts'
import { deriveBytes, deriveKey, fillRandom, KEY_SIZE, type KeySource, openOnce, sealOnce } from './primitives.ts'
import { TAG_SIZE } from './sizes.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Keys).
const HKDF_SALT = Buffer.from('sealgate/v1/object-key-hkdf-salt', 'ascii')
const STREAM = Buffer.from('sealgate/v1/stream', 'ascii')
const COMMITMENT = Buffer.from('sealgate/v1/commitment', 'ascii')
const PART_RECORD = Buffer.from('sealgate/v1/part-record', 'ascii')

/** The 32-byte key of one object and the keys derived from it (docs/FORMAT.md, Keys). Holds KeyObjects only and shows nothing when it is logged. */
export class DataKey {
  /** The data key itself: content of wraps and HKDF input, never a cipher's key. */
  readonly secret: KeyObject
  /** Input key of Tink's streams. */
  readonly stream: KeyObject
  /** 32 bytes, stored in plaintext. */
  readonly commitment: Buffer
  #partRecord: KeyObject | null = null

  /** @param bytes stay the caller's, who overwrites them. */
  private constructor(bytes: Buffer) {
    this.secret = createSecretKey(bytes)
    this.stream = deriveKey(ofObject(bytes, STREAM))
    this.commitment = deriveBytes(ofObject(bytes, COMMITMENT))
  }

  static random(): DataKey {
    return DataKey.#take(fillRandom(Buffer.allocUnsafe(KEY_SIZE)))
  }

  /**
   * Takes ownership of the bytes: `bytes` is all zeros afterwards.
   * @throws EnvelopeError `box` unless they are 32 and not all zero.
   */
  static fromBytes(bytes: Buffer): DataKey {
    if (bytes.length !== KEY_SIZE || bytes.every((byte) => byte === 0)) throw new EnvelopeError('box')
    return DataKey.#take(bytes)
  }

  static #take(bytes: Buffer): DataKey {
    try {
      return new DataKey(bytes)
    } finally {
      bytes.fill(0)
    }
  }

  /** KEK of the part records of a multipart upload: derived once, because a Complete opens up to 10,000 of them. */
  get partRecord(): KeyObject {
    return this.#partRecord ??= deriveKey(ofObject(this.secret, PART_RECORD))
  }

  toJSON(): string {
    return 'DataKey(******)'
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toJSON()
  }
}

function ofObject(from: KeySource['from'], info: Buffer): KeySource {
  return { from, salt: HKDF_SALT, info }
}

/** Of `originOf`. */
export const ORIGIN_BYTES = 32

/**
 * Bytes that show which upload and list of parts an object of the S3 Encryption Client was made of (docs/MULTIPART-STATE.md). Who has not its key can
 * not make them for other bytes.
 * @param key of the body. @param upload from uploadHash. @param list from completedListHash.
 */
export function originOf(key: KeyObject, upload: Buffer, list: Buffer): Buffer {
  return deriveBytes(ofObject(key, fields('sealgate/v1/s3ec-origin', upload, list)), ORIGIN_BYTES)
}

// STORED DATA depends on every constant here (docs/FORMAT.md, Wrap).
const SALT_SIZE = 32
const INFO = Buffer.from('sealgate/v1/wrap', 'ascii')
const SSEC_WRAP = Buffer.from('sealgate/v1/ssec-wrap', 'ascii')
const SSEC_CHECK = Buffer.from('sealgate/v1/ssec-check', 'ascii')
/** A nonce of zeros is safe here: the salt gives every wrap a key of its own. */
const NONCE = Buffer.alloc(12)

/** Bytes by which a wrap is longer than its plaintext. */
export const WRAP_OVERHEAD = SALT_SIZE + TAG_SIZE

/** Seals a short secret under a key-encryption key of 32 bytes. Result: salt (32) ‖ ciphertext ‖ tag (16). */
export function wrap(kek: KeyObject, plaintext: Buffer, aad: Buffer): Buffer {
  const salt = fillRandom(Buffer.allocUnsafe(SALT_SIZE))
  return Buffer.concat([salt, sealOnce({ from: kek, salt, info: INFO }, NONCE, aad, plaintext)])
}

/** @throws EnvelopeError `box` for anything that this key and AAD did not seal. */
export function unwrap(kek: KeyObject, wrapped: Buffer, aad: Buffer): Buffer {
  if (wrapped.length < WRAP_OVERHEAD) throw new EnvelopeError('box')
  const plaintext = openOnce({ from: kek, salt: wrapped.subarray(0, SALT_SIZE), info: INFO }, NONCE, aad, wrapped.subarray(SALT_SIZE))
  if (plaintext === null) throw new EnvelopeError('box')
  return plaintext
}

/**
 * AAD of a bucket key wrapped by a local master key (docs/FORMAT.md, Key providers).
 * @param objectKey name of the one object the bucket key serves; null when it serves the bucket.
 * @throws EnvelopeError `place` for text that is not well-formed Unicode.
 */
export function bucketKeyContext(
  realm: string,
  bucket: string,
  objectKey: string | null,
  requestContext: Readonly<Record<string, string>>
): Buffer {
  return fields('sealgate/v1/bucket-key', realm, bucket, objectKey ?? '', ...contextFields(requestContext))
}

/** Names and values of an encryption context in turn, sorted by name, bytewise. */
export function contextFields(requestContext: Readonly<Record<string, string>>): string[] {
  return Object.entries(requestContext).sort(([a], [b]) => byUtf8(a, b)).flat()
}

// STORED DATA depends on every constant here (docs/FORMAT.md, Key providers, SSE-C).
const CHECK_SIZE = 16

/** The keys that an SSE-C key gives for one object. */
export interface CustomerWrap {
  /** Seals the box. */
  readonly kek: KeyObject
  /** Salt (32) ‖ check value (16): in the place of the wrapped bucket key of other objects. */
  readonly blob: Buffer
}

/** A new KEK from the 32-byte key of a customer. */
export function sealWithCustomerKey(customerKey: KeyObject): CustomerWrap {
  const salt = fillRandom(Buffer.allocUnsafe(SALT_SIZE))
  return { kek: kekOf(customerKey, salt), blob: Buffer.concat([salt, checkOf(customerKey, salt)]) }
}

/**
 * @param scope from the envelope: a customer's key has no bucket key, whose scope could differ from `bucket`.
 * @throws EnvelopeError `format` for a blob of another size or another scope, `key` when it was made with another customer key.
 */
export function openWithCustomerKey(customerKey: KeyObject, { blob, scope }: { readonly blob: Buffer; readonly scope: 'bucket' | 'object' }): KeyObject {
  if (blob.length !== SALT_SIZE + CHECK_SIZE || scope !== 'bucket') throw new EnvelopeError('format')
  const salt = blob.subarray(0, SALT_SIZE)
  if (!timingSafeEqual(blob.subarray(SALT_SIZE), checkOf(customerKey, salt))) throw new EnvelopeError('key')
  return kekOf(customerKey, salt)
}

function kekOf(customerKey: KeyObject, salt: Buffer): KeyObject {
  return deriveKey({ from: customerKey, salt, info: SSEC_WRAP })
}

function checkOf(customerKey: KeyObject, salt: Buffer): Buffer {
  return deriveBytes({ from: customerKey, salt, info: SSEC_CHECK }, CHECK_SIZE)
}
