import { createCipheriv, createDecipheriv, type CipherGCM, type DecipherGCM, type KeyObject } from 'node:crypto'
import { type NativeCore, nativeCore, type NativeStream } from '../native/core.ts'
import { deriveKey, type KeySource, openNatively, sealNatively, streamNatively } from './primitives.ts'
import { TAG_SIZE } from './sizes.ts'

/** Seals the segments of one stream, one after the other, under its key. */
export interface SealingCipher {
  /** Begins a segment. @param nonce 12 bytes that no other segment under this key has; they stay as they are until its end */
  begin(nonce: Buffer): void
  /**
   * Seals `length` bytes of a chunk, which stays as it is, into `out`, behind what was sealed before. They may be plaintext there until the segment ends:
   * no byte of it may be released before.
   */
  seal(chunk: Buffer, from: number, length: number, out: Buffer, at: number): void
  /** Ends the segment: writes its tag of 16 bytes. */
  tag(out: Buffer, at: number): void
}

/** Opens the segments of one stream, one after the other, under its key. */
export interface OpeningCipher {
  /** Begins a segment. @param nonce 12 bytes, which stay as they are until its end */
  begin(nonce: Buffer): void
  /**
   * @param owned the piece may be overwritten.
   * @returns where its plaintext is, perhaps in the same memory, once the tag has verified: no byte of it may be released before.
   */
  open(piece: Buffer, owned: boolean): Buffer
  /** Ends the segment. @returns whether the tag, of 16 bytes, is that of its bytes. */
  verify(tag: Buffer): boolean
}

/** Bytes of a segment that is copied and then sealed in one call: more of them cost more to copy than a context costs. */
const SEALED_AT_ONCE = 16_384

/**
 * Native where there is a core (src/native), else of node:crypto. Both give the same bytes.
 * @param key of the stream. @param only bytes of the one segment that it has; null: it has several.
 */
export function sealingCipher(key: KeySource, only: number | null): SealingCipher {
  const core = nativeCore()
  if (core === null) return new NodeSealing(deriveKey(key))
  return only !== null && only <= SEALED_AT_ONCE ? new SealingAtOnce(core, key) : new NativeSealing(core, streamNatively(core, key, true))
}

/** As `sealingCipher`. @param only bytes of the one segment that will be opened; null: there are several. */
export function openingCipher(key: KeySource, only: number | null): OpeningCipher {
  const core = nativeCore()
  if (core === null) return new NodeOpening(deriveKey(key))
  return only === null ? new NativeOpening(core, streamNatively(core, key, false)) : new OpeningAtOnce(core, key, only)
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

const EMPTY = Buffer.alloc(0)

/** A stream of one short segment, without a context of its own: sealed in its place when all of it is there. */
class SealingAtOnce implements SealingCipher {
  readonly #core: NativeCore
  readonly #key: KeySource
  #nonce: Buffer | null = null
  /** Where the segment begins in the output; null: nothing has come. */
  #start: number | null = null

  constructor(core: NativeCore, key: KeySource) {
    this.#core = core
    this.#key = key
  }

  begin(nonce: Buffer): void {
    this.#nonce = nonce
    this.#start = null
  }

  seal(chunk: Buffer, from: number, length: number, out: Buffer, at: number): void {
    begun(this.#nonce)
    this.#start ??= at
    chunk.copy(out, at, from, from + length)
  }

  tag(out: Buffer, at: number): void {
    const nonce = begun(this.#nonce)
    this.#nonce = null
    const place = out.subarray(this.#start ?? at, at)
    sealNatively(this.#core, this.#key, nonce, { aad: EMPTY, plaintext: place, ciphertext: place, tag: out.subarray(at, at + TAG_SIZE) })
  }
}

/** One segment that is opened in its place when all of it is there, if it comes in one piece; else with a context. */
class OpeningAtOnce implements OpeningCipher {
  readonly #core: NativeCore
  readonly #key: KeySource
  readonly #size: number
  #nonce: Buffer | null = null
  #whole: Buffer | null = null
  #pieces: OpeningCipher | null = null

  constructor(core: NativeCore, key: KeySource, size: number) {
    this.#core = core
    this.#key = key
    this.#size = size
  }

  begin(nonce: Buffer): void {
    this.#nonce = nonce
    this.#whole = null
    this.#pieces = null
  }

  open(piece: Buffer, owned: boolean): Buffer {
    const nonce = begun(this.#nonce)
    if (piece.length === this.#size) {
      this.#whole = owned ? piece : Buffer.from(piece)
      return this.#whole
    }
    if (this.#pieces === null) {
      this.#pieces = new NativeOpening(this.#core, streamNatively(this.#core, this.#key, false))
      this.#pieces.begin(nonce)
    }
    return this.#pieces.open(piece, owned)
  }

  verify(tag: Buffer): boolean {
    const nonce = begun(this.#nonce)
    this.#nonce = null
    if (this.#pieces !== null) return this.#pieces.verify(tag)
    const place = this.#whole ?? EMPTY
    return openNatively(this.#core, this.#key, nonce, { aad: EMPTY, plaintext: place, ciphertext: place, tag })
  }
}
