import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { nativeCore } from '../native/core.ts'
import { TAG_SIZE } from './sizes.ts'

/** Bytes of every key of the format. */
export const KEY_SIZE = 32

/** What a key is derived from by HKDF-SHA-256 (docs/FORMAT.md, Keys). */
export interface KeySource {
  readonly from: KeyObject
  readonly salt: Buffer
  readonly info: Buffer
}

/**
 * HKDF-SHA-256 (RFC 5869), native where there is a core (src/native).
 * @param size 1 to 32 bytes. @returns bytes of the caller alone, to be overwritten where they are secret.
 */
export function deriveBytes({ from, salt, info }: KeySource, size: number = KEY_SIZE): Buffer {
  const core = nativeCore()
  if (core === null || from.symmetricKeySize !== KEY_SIZE) return Buffer.from(hkdfSync('sha256', from, salt, info, size))
  const secret = from.export()
  const derived = Buffer.allocUnsafe(size)
  try {
    core.derive(secret, salt, info, derived)
  } finally {
    secret.fill(0)
  }
  return derived
}

/** A key of 32 bytes. */
export function deriveKey(source: KeySource): KeyObject {
  const bytes = deriveBytes(source)
  const derived = createSecretKey(bytes)
  bytes.fill(0)
  return derived
}

/** AES-256-GCM of one message under a derived key that has no other. @returns ciphertext and tag */
export function sealOnce(source: KeySource, nonce: Buffer, aad: Buffer, plaintext: Buffer): Buffer {
  const core = nativeCore()
  if (core === null) {
    const cipher = createCipheriv('aes-256-gcm', deriveKey(source), nonce, { authTagLength: TAG_SIZE }).setAAD(aad)
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  }
  const sealed = Buffer.allocUnsafe(plaintext.length + TAG_SIZE)
  withBytes(source, (key) => {
    core.sealOnce(key, nonce, aad, plaintext, sealed)
  })
  return sealed
}

/** @param sealed of `sealOnce`. @returns null unless it was sealed under this key, with this nonce and AAD */
export function openOnce(source: KeySource, nonce: Buffer, aad: Buffer, sealed: Buffer): Buffer | null {
  if (sealed.length < TAG_SIZE) return null
  const core = nativeCore()
  if (core === null) return openInNode(deriveKey(source), nonce, aad, sealed)
  const plaintext = Buffer.allocUnsafe(sealed.length - TAG_SIZE)
  return withBytes(source, (key) => core.openOnce(key, nonce, aad, sealed, plaintext)) ? plaintext : null
}

function openInNode(key: KeyObject, nonce: Buffer, aad: Buffer, sealed: Buffer): Buffer | null {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_SIZE }).setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-TAG_SIZE))
  const plaintext = decipher.update(sealed.subarray(0, -TAG_SIZE))
  try {
    decipher.final()
    return plaintext
  } catch {
    plaintext.fill(0)
    return null
  }
}

/** Derives a key for one use, and overwrites it. */
export function withBytes<T>(source: KeySource, use: (key: Buffer) => T): T {
  const key = deriveBytes(source)
  try {
    return use(key)
  } finally {
    key.fill(0)
  }
}
