import { hkdfSync, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto'
import { EnvelopeError } from './error.ts'
import { deriveKey } from './data-key.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Key providers, SSE-C).
const SALT_SIZE = 32
const CHECK_SIZE = 16

/** What an SSE-C key gives for one object. */
export interface CustomerWrap {
  /** Seals the box. */
  readonly kek: KeyObject
  /** Salt (32) ‖ check value (16): stands where other objects have their wrapped bucket key. */
  readonly blob: Buffer
}

/** A fresh KEK from the 32-byte key of a customer. */
export function sealWithCustomerKey(customerKey: KeyObject): CustomerWrap {
  const salt = randomBytes(SALT_SIZE)
  return { kek: kekOf(customerKey, salt), blob: Buffer.concat([salt, checkOf(customerKey, salt)]) }
}

/** @throws EnvelopeError `format` for a blob of another size, `key` when it was made with another customer key. */
export function openWithCustomerKey(customerKey: KeyObject, blob: Buffer): KeyObject {
  if (blob.length !== SALT_SIZE + CHECK_SIZE) throw new EnvelopeError('format')
  const salt = blob.subarray(0, SALT_SIZE)
  if (!timingSafeEqual(blob.subarray(SALT_SIZE), checkOf(customerKey, salt))) throw new EnvelopeError('key')
  return kekOf(customerKey, salt)
}

function kekOf(customerKey: KeyObject, salt: Buffer): KeyObject {
  return deriveKey(customerKey, salt, 'sealgate/v1/ssec-wrap')
}

function checkOf(customerKey: KeyObject, salt: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', customerKey, salt, 'sealgate/v1/ssec-check', CHECK_SIZE))
}
