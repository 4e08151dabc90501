// The native core (core.c): an accelerator for the segments of bodies, and nothing that the gateway needs. It is used where a binary for this platform
// is in the package and does in this process exactly what node:crypto does; everywhere else the TypeScript of src/envelope runs, which is the reference
// (docs/decisions/0182-a-native-core.md). This file is the one door to it.
import { createCipheriv, createHmac, createSecretKey, hkdfSync, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

/** A context of OpenSSL. What collects garbage frees it, and OpenSSL then cleanses the key in it. */
export type NativeStream = { readonly native: unique symbol }

/** What core.c exports. Every function throws an Error for arguments that it cannot take. */
export interface NativeCore {
  /** @param secret from which with salt and info the key is derived: see `derive` */
  create(secret: Buffer, salt: Buffer, info: Buffer, sealing: boolean): NativeStream
  /** Begins a segment. @param nonce 12 bytes; which may never repeat under one key, as with any cipher. */
  begin(stream: NativeStream, nonce: Buffer): void
  /** Seals or opens `length` bytes. The output is the same place as the input, or one that does not overlap with it. */
  update(stream: NativeStream, input: Buffer, from: number, length: number, output: Buffer, at: number): void
  /** Ends a segment that is sealed, and writes its tag of 16 bytes. */
  tag(stream: NativeStream, output: Buffer, at: number): void
  /** Ends a segment that is opened. @returns whether the tag of 16 bytes is that of its bytes. */
  verify(stream: NativeStream, tag: Buffer): boolean
  /**
   * HKDF-SHA-256 (RFC 5869).
   * @param secret 1 to 1,024 bytes. @param salt 1 to 64. @param info 1 to 1,024. @param output 1 to 32 bytes: its length is that of the derived key.
   */
  derive(secret: Buffer, salt: Buffer, info: Buffer, output: Buffer): void
  /** HMAC-SHA-256 (RFC 2104). @param key 1 to 64 bytes. @param output 32 bytes */
  sign(key: Buffer, text: Buffer, output: Buffer): void
  /** Fills 1 to 1,024 bytes from the generator that `randomBytes` uses. */
  random(output: Buffer): void
  /**
   * One message under a derived key that has no other.
   * @param ciphertext as long as the plaintext, and in its place or in one that does not overlap with it. @param tag 16 bytes, beside both
   */
  sealOnce(secret: Buffer, salt: Buffer, info: Buffer, nonce: Buffer, aad: Buffer, plaintext: Buffer, ciphertext: Buffer, tag: Buffer): void
  /** The places are as those of `sealOnce`. @returns whether the tag is right; else the plaintext is zeros. */
  openOnce(secret: Buffer, salt: Buffer, info: Buffer, nonce: Buffer, aad: Buffer, ciphertext: Buffer, plaintext: Buffer, tag: Buffer): boolean
  /** Gives memory that was freed back to the system: some milliseconds. @returns whether there was any */
  trim(): boolean
}

/** Of the platforms for which `npm run build-native` makes one. */
const binary = fileURLToPath(new URL(`./${process.platform}-${process.arch}.node`, import.meta.url))

interface Loaded {
  readonly core: NativeCore | null
  /** Why there is none; for the operator. */
  readonly reason: string
}

let loaded: Loaded = { core: null, reason: 'not loaded' }

/** The core that streams use from now on; null: TypeScript. */
export function nativeCore(): NativeCore | null {
  return loaded.core
}

/** What seals and opens the segments of bodies in this process, as operators see it. */
export function coreInUse(): 'native' | 'javascript' {
  return loaded.core === null ? 'javascript' : 'native'
}

/** Why it is not the native one; empty where it is. */
export function coreReason(): string {
  return loaded.reason
}

/**
 * Loads the native core if there is one for this platform and it passes its test. To be called once, before there are bodies.
 * @param enabled false: TypeScript runs.
 */
export function loadNativeCore(enabled: boolean): void {
  loaded = enabled ? load() : { core: null, reason: 'switched off' }
}

/** For tests: a core that records or fails, or null. */
export function replaceNativeCore(core: NativeCore | null): void {
  loaded = { core, reason: core === null ? 'replaced' : '' }
}

function load(): Loaded {
  if (!existsSync(binary)) return { core: null, reason: `there is none for ${process.platform}-${process.arch}` }
  try {
    const core = createRequire(import.meta.url)(binary) as NativeCore
    return sealsAlike(core) && derivesAlike(core) ? { core, reason: '' } : { core: null, reason: 'it did not pass its test' }
  } catch (error) {
    // Another C library, an OpenSSL without these functions, a damaged file.
    return { core: null, reason: `it could not be loaded: ${error instanceof Error && 'code' in error ? String(error.code) : 'unknown'}` }
  }
}

/** Bytes of the pieces of a test: around the blocks of AES, and what a stream brings. */
const TEST_SIZES = [0, 1, 15, 16, 17, 4096, 65_520]

/** Whether it seals as node:crypto does, opens what that has sealed, and refuses a wrong tag. */
function sealsAlike(core: NativeCore): boolean {
  const [secret, salt, info] = [randomBytes(32), randomBytes(32), randomBytes(20)]
  const key = Buffer.from(hkdfSync('sha256', secret, salt, info, 32))
  const sealing = core.create(secret, salt, info, true)
  const opening = core.create(secret, salt, info, false)
  return TEST_SIZES.every((size, i) => {
    const nonce = Buffer.alloc(12, i)
    const plaintext = randomBytes(size)
    const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: 16 })
    const wanted = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
    const sealed = Buffer.alloc(size + 16)
    const first = size >> 1
    core.begin(sealing, nonce)
    core.update(sealing, plaintext, 0, first, sealed, 0)
    core.update(sealing, plaintext, first, size - first, sealed, first)
    core.tag(sealing, sealed, size)
    if (!sealed.equals(wanted)) return false
    const open = (tag: Buffer): boolean => {
      const place = Buffer.from(wanted.subarray(0, size))
      core.begin(opening, nonce)
      core.update(opening, place, 0, size, place, 0)
      return core.verify(opening, tag) && place.equals(plaintext)
    }
    const tag = wanted.subarray(size)
    const wrong = Buffer.from(tag)
    wrong.writeUInt8(wrong.readUInt8(15) ^ 1, 15)
    return open(tag) && !open(wrong) && open(tag)
  })
}

/** Whether it derives keys and signs as node:crypto does, and one of its boxes is one of node:crypto; whether it gives bytes that differ. */
function derivesAlike(core: NativeCore): boolean {
  const [secret, salt, info, nonce, aad] = [32, 32, 40, 12, 50].map((size) => randomBytes(size)) as [Buffer, Buffer, Buffer, Buffer, Buffer]
  const key = Buffer.from(hkdfSync('sha256', secret, salt, info, 32))
  const derived = Buffer.alloc(32)
  core.derive(secret, salt, info, derived)
  if (!derived.equals(key)) return false
  core.sign(secret, info, derived)
  if (!derived.equals(createHmac('sha256', secret).update(info).digest())) return false
  const plaintext = randomBytes(100)
  const sealed = Buffer.alloc(100)
  const tag = Buffer.alloc(16)
  core.sealOnce(secret, salt, info, nonce, aad, plaintext, sealed, tag)
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: 16 }).setAAD(aad)
  if (!sealed.equals(Buffer.concat([cipher.update(plaintext), cipher.final()])) || !tag.equals(cipher.getAuthTag())) return false
  const opened = Buffer.alloc(100)
  if (!core.openOnce(secret, salt, info, nonce, aad, sealed, opened, tag) || !opened.equals(plaintext)) return false
  if (core.openOnce(secret, salt, info, nonce, salt, sealed, opened, tag) || opened.some((byte) => byte !== 0)) return false
  const drawn = [Buffer.alloc(32), Buffer.alloc(32), Buffer.alloc(32)]
  for (const each of drawn.slice(1)) core.random(each)
  return new Set(drawn.map((each) => each.toString('hex'))).size === drawn.length
}
