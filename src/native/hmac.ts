import { createHmac, type KeyObject } from 'node:crypto'
import { nativeCore } from './core.ts'

/** Longer keys are hashed first (RFC 2104, 2), which the core does not do. */
const MOST_KEY_BYTES = 64

/** HMAC-SHA-256 of a short text, native where there is a core: node:crypto looks up the hash for each. @returns 32 bytes */
export function hmacSha256(key: KeyObject, text: string | Uint8Array): Buffer {
  const core = nativeCore()
  if (core === null) return createHmac('sha256', key).update(text).digest()
  const secret = key.export()
  try {
    if (secret.length > MOST_KEY_BYTES) return createHmac('sha256', key).update(text).digest()
    const digest = Buffer.allocUnsafe(32)
    core.sign(secret, typeof text === 'string' ? Buffer.from(text, 'utf8') : asBuffer(text), digest)
    return digest
  } finally {
    secret.fill(0)
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
