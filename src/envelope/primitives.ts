import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, KeyObject, randomFillSync } from 'node:crypto'
import { type NativeCore, nativeCore, type NativeStream } from '../native/core.ts'
import { TAG_SIZE } from './sizes.ts'

/** Bytes of every key of the format. */
export const KEY_SIZE = 32

/** What a key is derived from by HKDF-SHA-256 (docs/FORMAT.md, Keys). */
export interface KeySource {
  /** Bytes only where a key has just come into being: they stay the caller's, who overwrites them. */
  readonly from: KeyObject | Buffer
  readonly salt: Buffer
  readonly info: Buffer
}

/** Fills a buffer of at most 1,024 bytes with random ones: those of `randomBytes` of node:crypto, without a job for each call. @returns the buffer */
export function fillRandom(bytes: Buffer): Buffer {
  const core = nativeCore()
  if (core === null) return randomFillSync(bytes)
  core.random(bytes)
  return bytes
}

/**
 * HKDF-SHA-256 (RFC 5869), native where there is a core (src/native).
 * @param size 1 to 32 bytes. @returns bytes of the caller alone, to be overwritten where they are secret.
 */
export function deriveBytes(source: KeySource, size: number = KEY_SIZE): Buffer {
  const core = nativeCore()
  if (core === null) return Buffer.from(hkdfSync('sha256', source.from, source.salt, source.info, size))
  const derived = Buffer.allocUnsafe(size)
  withSecret(source.from, (secret) => {
    core.derive(secret, source.salt, source.info, derived)
  })
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
  sealNatively(core, source, nonce, { aad, plaintext, ciphertext: sealed.subarray(0, -TAG_SIZE), tag: sealed.subarray(-TAG_SIZE) })
  return sealed
}

/** @param sealed of `sealOnce`. @returns null unless it was sealed under this key, with this nonce and AAD */
export function openOnce(source: KeySource, nonce: Buffer, aad: Buffer, sealed: Buffer): Buffer | null {
  if (sealed.length < TAG_SIZE) return null
  const core = nativeCore()
  if (core === null) return openInNode(deriveKey(source), nonce, aad, sealed)
  const plaintext = Buffer.allocUnsafe(sealed.length - TAG_SIZE)
  return openNatively(core, source, nonce, { aad, plaintext, ciphertext: sealed.subarray(0, -TAG_SIZE), tag: sealed.subarray(-TAG_SIZE) }) ? plaintext : null
}

interface Box {
  readonly aad: Buffer
  readonly plaintext: Buffer
  /** As long as the plaintext, and perhaps in its place. */
  readonly ciphertext: Buffer
  readonly tag: Buffer
}

/** As `sealOnce`, into a place. */
export function sealNatively(core: NativeCore, { from, salt, info }: KeySource, nonce: Buffer, { aad, plaintext, ciphertext, tag }: Box): void {
  withSecret(from, (secret) => {
    core.sealOnce(secret, salt, info, nonce, aad, plaintext, ciphertext, tag)
  })
}

/** As `openOnce`, into a place, which is zeros where the answer is false. */
export function openNatively(core: NativeCore, { from, salt, info }: KeySource, nonce: Buffer, { aad, plaintext, ciphertext, tag }: Box): boolean {
  return withSecret(from, (secret) => core.openOnce(secret, salt, info, nonce, aad, ciphertext, plaintext, tag))
}

/** A context for the segments of one stream. */
export function streamNatively(core: NativeCore, { from, salt, info }: KeySource, sealing: boolean): NativeStream {
  return withSecret(from, (secret) => core.create(secret, salt, info, sealing))
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

/** The bytes of a key are outside of its KeyObject for this call only. */
function withSecret<T>(from: KeyObject | Buffer, use: (secret: Buffer) => T): T {
  if (!(from instanceof KeyObject)) return use(from)
  const secret = from.export()
  try {
    return use(secret)
  } finally {
    secret.fill(0)
  }
}
