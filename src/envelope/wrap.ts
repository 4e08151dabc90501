import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from 'node:crypto'
import { byUtf8, fields } from './encoding.ts'
import { EnvelopeError } from './error.ts'
import { deriveKey } from './data-key.ts'
import { TAG_SIZE } from './sizes.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Wrap).
const SALT_SIZE = 32
const INFO = 'sealgate/v1/wrap'
/** Zero is right here: the salt makes a key of its own for every wrap. */
const NONCE = Buffer.alloc(12)

/** How many bytes a wrap is longer than its plaintext. */
export const WRAP_OVERHEAD = SALT_SIZE + TAG_SIZE

/** Seals a short secret under a key-encryption key of 32 bytes. Result: salt (32) ‖ ciphertext ‖ tag (16). */
export function wrap(kek: KeyObject, plaintext: Buffer, aad: Buffer): Buffer {
  const salt = randomBytes(SALT_SIZE)
  const cipher = createCipheriv('aes-256-gcm', deriveKey(kek, salt, INFO), NONCE, { authTagLength: TAG_SIZE })
  cipher.setAAD(aad)
  return Buffer.concat([salt, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** @throws EnvelopeError `box` for anything that this key and AAD did not seal. */
export function unwrap(kek: KeyObject, wrapped: Buffer, aad: Buffer): Buffer {
  if (wrapped.length < WRAP_OVERHEAD) throw new EnvelopeError('box')
  const key = deriveKey(kek, wrapped.subarray(0, SALT_SIZE), INFO)
  const decipher = createDecipheriv('aes-256-gcm', key, NONCE, { authTagLength: TAG_SIZE })
  decipher.setAAD(aad)
  decipher.setAuthTag(wrapped.subarray(-TAG_SIZE))
  const plaintext = decipher.update(wrapped.subarray(SALT_SIZE, -TAG_SIZE))
  try {
    decipher.final()
  } catch {
    plaintext.fill(0)
    throw new EnvelopeError('box')
  }
  return plaintext
}

/**
 * AAD of a bucket key wrapped by a local master key (docs/FORMAT.md, Key providers).
 * @param objectKey name of the one object the bucket key serves; null when it serves the bucket.
 * @throws EnvelopeError `place` for text that is not well-formed Unicode.
 */
export function bucketKeyContext(
  realm: string, bucket: string, objectKey: string | null, requestContext: Readonly<Record<string, string>>
): Buffer {
  return fields('sealgate/v1/bucket-key', realm, bucket, objectKey ?? '', ...contextFields(requestContext))
}

/** Names and values of an encryption context in turn, sorted by name, bytewise. */
export function contextFields(requestContext: Readonly<Record<string, string>>): string[] {
  return Object.entries(requestContext).sort(([a], [b]) => byUtf8(a, b)).flat()
}
