import { createCipheriv, createDecipheriv, type CipherGCM, type DecipherGCM, type KeyObject } from 'node:crypto'
import { type NativeCore, nativeCore, type NativeStream } from '../native/core.ts'
import { deriveKey, type KeySource, withBytes } from './primitives.ts'
import { TAG_SIZE } from './sizes.ts'

/** Seals the segments of one stream, one after the other, under its key. */
export interface SealingCipher {
  /** Begins a segment. @param nonce 12 bytes that no other segment under this key has */
  begin(nonce: Buffer): void
  /** Seals `length` bytes of a chunk, which stays as it is, into `out`. */
  seal(chunk: Buffer, from: number, length: number, out: Buffer, at: number): void
  /** Ends the segment: writes its tag of 16 bytes. */
  tag(out: Buffer, at: number): void
}

/** Opens the segments of one stream, one after the other, under its key. */
export interface OpeningCipher {
  /** Begins a segment. @param nonce 12 bytes */
  begin(nonce: Buffer): void
  /**
   * @param owned the piece may be overwritten.
   * @returns its plaintext, perhaps in the same memory. No byte of it may be released before the tag has verified.
   */
  open(piece: Buffer, owned: boolean): Buffer
  /** Ends the segment. @returns whether the tag, of 16 bytes, is that of its bytes. */
  verify(tag: Buffer): boolean
}

/** Native where there is a core (src/native), else of node:crypto. Both give the same bytes. @param key of the stream */
export function sealingCipher(key: KeySource): SealingCipher {
  const core = nativeCore()
  return core === null ? new NodeSealing(deriveKey(key)) : new NativeSealing(core, streamOf(core, key, true))
}

/** As `sealingCipher`. */
export function openingCipher(key: KeySource): OpeningCipher {
  const core = nativeCore()
  return core === null ? new NodeOpening(deriveKey(key)) : new NativeOpening(core, streamOf(core, key, false))
}

class NodeSealing implements SealingCipher {
  readonly #key: KeyObject
  #cipher: CipherGCM | null = null

  constructor(key: KeyObject) {
    this.#key = key
  }

  begin(nonce: Buffer): void {
    this.#cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_SIZE })
  }

  seal(chunk: Buffer, from: number, length: number, out: Buffer, at: number): void {
    begun(this.#cipher).update(chunk.subarray(from, from + length)).copy(out, at)
  }

  tag(out: Buffer, at: number): void {
    const cipher = begun(this.#cipher)
    this.#cipher = null
    cipher.final()
    cipher.getAuthTag().copy(out, at)
  }
}

class NodeOpening implements OpeningCipher {
  readonly #key: KeyObject
  #decipher: DecipherGCM | null = null

  constructor(key: KeyObject) {
    this.#key = key
  }

  begin(nonce: Buffer): void {
    this.#decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_SIZE })
  }

  open(piece: Buffer): Buffer {
    return begun(this.#decipher).update(piece)
  }

  verify(tag: Buffer): boolean {
    const decipher = begun(this.#decipher)
    this.#decipher = null
    decipher.setAuthTag(tag)
    try {
      decipher.final()
      return true
    } catch {
      return false
    }
  }
}

function begun<T>(cipher: T | null): T {
  if (cipher === null) throw new Error('No segment has begun.')
  return cipher
}

/** The key is there for this call only: OpenSSL copies it into the context. */
function streamOf(core: NativeCore, key: KeySource, sealing: boolean): NativeStream {
  return withBytes(key, (bytes) => core.create(bytes, sealing))
}

class NativeSealing implements SealingCipher {
  readonly #core: NativeCore
  readonly #stream: NativeStream

  constructor(core: NativeCore, stream: NativeStream) {
    this.#core = core
    this.#stream = stream
  }

  begin(nonce: Buffer): void {
    this.#core.begin(this.#stream, nonce)
  }

  seal(chunk: Buffer, from: number, length: number, out: Buffer, at: number): void {
    this.#core.update(this.#stream, chunk, from, length, out, at)
  }

  tag(out: Buffer, at: number): void {
    this.#core.tag(this.#stream, out, at)
  }
}

class NativeOpening implements OpeningCipher {
  readonly #core: NativeCore
  readonly #stream: NativeStream

  constructor(core: NativeCore, stream: NativeStream) {
    this.#core = core
    this.#stream = stream
  }

  begin(nonce: Buffer): void {
    this.#core.begin(this.#stream, nonce)
  }

  open(piece: Buffer, owned: boolean): Buffer {
    const plaintext = owned ? piece : Buffer.allocUnsafeSlow(piece.length)
    this.#core.update(this.#stream, piece, 0, piece.length, plaintext, 0)
    return plaintext
  }

  verify(tag: Buffer): boolean {
    return this.#core.verify(this.#stream, tag)
  }
}
