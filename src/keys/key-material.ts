import { createSecretKey, type KeyObject } from 'node:crypto'
import { bucketKeyContext } from '../envelope/data-key.ts'
import type { KeyContext } from './types.ts'

/** Bytes in every master key, bucket key and customer key. */
export const KEY_BYTES = 32

/**
 * Makes the KeyObject and zeroes its source: `bytes` is all zeros afterwards, even after an error. V8 and OpenSSL may hold copies that JavaScript
 * cannot reach, so this only shortens the time a key stays in memory.
 * @returns null unless `bytes` are 32 and not all zero. Products have used an all-zero key without noticing.
 */
export function takeKey(bytes: Uint8Array): KeyObject | null {
  try {
    if (bytes.length !== KEY_BYTES || bytes.every((byte) => byte === 0)) return null
    return createSecretKey(bytes)
  } finally {
    bytes.fill(0)
  }
}

/** Decodes base64 and accepts only the one canonical spelling, so that two texts never name the same bytes. */
export function decodeBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : null
}

/** The context as additional authenticated data of a wrap, as docs/FORMAT.md (Key providers) has it. @throws EnvelopeError `place` for malformed Unicode. */
export function bindingOf(context: KeyContext): Buffer {
  return bucketKeyContext(context.realm, context.bucket, context.objectKey, context.requestContext)
}
