import { createCipheriv, createDecipheriv, randomBytes, type CipherGCM, type DecipherGCM, type KeyObject } from 'node:crypto'
import { EnvelopeError } from './error.ts'
import { deriveKey } from './object-key.ts'
import { HEADER_SIZE, SEGMENT_SIZE, segmentCount, segmentStart, streamSize, TAG_SIZE } from './sizes.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Streams): Tink's AES-GCM-HKDF streaming, fixed to
// HKDF-SHA-256 and AES-256-GCM.
const SALT_SIZE = 32
const PREFIX_SIZE = 7
const NONCE_SIZE = 12
const VERSION = 1
const kindCodes = { single: 1, part: 2, manifest: 3 } as const

/** What a stream says of itself in its associated data. */
export interface StreamPart {
  readonly kind: keyof typeof kindCodes
  /** 1 for a single, 1 to 10,000 for a part, 0 for a manifest. */
  readonly number: number
  /** Bytes. */
  readonly plaintextSize: number
}

/** Tink's associated data. @param suffix the footer, for a manifest. */
function associatedData(part: StreamPart, suffix: Buffer): Buffer {
  const fixed = Buffer.alloc(20)
  fixed.write('sealgate', 'ascii')
  fixed.writeUInt8(VERSION, 8)
  fixed.writeUInt8(kindCodes[part.kind], 9)
  fixed.writeUInt16BE(part.number, 10)
  fixed.writeBigUInt64BE(BigInt(part.plaintextSize), 12)
  return Buffer.concat([fixed, suffix])
}

function segmentKey(streamKey: KeyObject, header: Buffer, part: StreamPart, suffix: Buffer): KeyObject {
  return deriveKey(streamKey, header.subarray(1, 1 + SALT_SIZE), associatedData(part, suffix))
}

const EMPTY = Buffer.alloc(0)

/** Sizes and nonces of the segments of one stream; the nonce buffer is reused. */
class Segments {
  readonly #segmentSize: number
  readonly #plaintextSize: number
  readonly #nonce = Buffer.alloc(NONCE_SIZE)
  readonly last: number

  constructor(plaintextSize: number, segmentSize: number, header: Buffer) {
    if (segmentSize <= HEADER_SIZE + TAG_SIZE) throw new RangeError('A segment must have room for header and tag.')
    this.#segmentSize = segmentSize
    this.#plaintextSize = plaintextSize
    this.last = segmentCount(plaintextSize, segmentSize) - 1
    header.copy(this.#nonce, 0, 1 + SALT_SIZE)
  }

  /** Plaintext bytes of a segment. */
  size(index: number): number {
    const end = index === this.last ? this.#plaintextSize : segmentStart(index + 1, this.#segmentSize)
    return end - segmentStart(index, this.#segmentSize)
  }

  nonce(index: number): Buffer {
    this.#nonce.writeUInt32BE(index, PREFIX_SIZE)
    this.#nonce.writeUInt8(index === this.last ? 1 : 0, NONCE_SIZE - 1)
    return this.#nonce
  }
}

export interface SegmentSealerInput {
  /** ObjectKey.stream. */
  readonly streamKey: KeyObject
  readonly part: StreamPart
  readonly segmentSize?: number
  /** Behind the fixed associated data: the footer of a manifest. */
  readonly associatedSuffix?: Buffer
}

/**
 * Seals one stream: plaintext in, Tink ciphertext out, in buffers of one stored segment. Salt and nonce prefix are always
 * fresh and cannot be given, so that no (key, nonce) pair can repeat. The last segment comes out of `final` alone: whatever
 * makes a caller not call it leaves a stream that never opens.
 */
export class SegmentSealer {
  /** 40 bytes, to be kept in the envelope or manifest. */
  readonly header: Buffer
  readonly #key: KeyObject
  readonly #segments: Segments
  #index = 0
  /** Plaintext bytes the current segment still lacks. */
  #missing: number
  /** The segment as it is stored, filled from the front. */
  #out: Buffer
  #filled: number
  #cipher: CipherGCM

  constructor(input: SegmentSealerInput) {
    const { streamKey, part, segmentSize = SEGMENT_SIZE, associatedSuffix = EMPTY } = input
    this.header = Buffer.concat([Buffer.from([HEADER_SIZE]), randomBytes(SALT_SIZE + PREFIX_SIZE)])
    this.#key = segmentKey(streamKey, this.header, part, associatedSuffix)
    this.#segments = new Segments(part.plaintextSize, segmentSize, this.header)
    this.#missing = this.#segments.size(0)
    this.#out = Buffer.allocUnsafeSlow(HEADER_SIZE + this.#missing + TAG_SIZE)
    this.#filled = this.header.copy(this.#out)
    this.#cipher = this.#newCipher()
  }

  /** @throws EnvelopeError `length` when more comes than was announced. */
  update(chunk: Buffer): readonly Buffer[] {
    const done: Buffer[] = []
    let offset = 0
    while (offset < chunk.length) {
      if (this.#missing === 0) this.#advance(done)
      const piece = chunk.subarray(offset, offset + this.#missing)
      this.#filled += this.#cipher.update(piece).copy(this.#out, this.#filled)
      this.#missing -= piece.length
      offset += piece.length
    }
    return done
  }

  /** @throws EnvelopeError `length` when less came than was announced. */
  final(): readonly Buffer[] {
    if (this.#missing > 0 || this.#index !== this.#segments.last) throw new EnvelopeError('length')
    return [this.#finish()]
  }

  #advance(done: Buffer[]): void {
    if (this.#index === this.#segments.last) throw new EnvelopeError('length')
    done.push(this.#finish())
    this.#index += 1
    this.#missing = this.#segments.size(this.#index)
    this.#out = Buffer.allocUnsafeSlow(this.#missing + TAG_SIZE)
    this.#filled = 0
    this.#cipher = this.#newCipher()
  }

  #finish(): Buffer {
    this.#cipher.final()
    this.#cipher.getAuthTag().copy(this.#out, this.#filled)
    return this.#out
  }

  #newCipher(): CipherGCM {
    return createCipheriv('aes-256-gcm', this.#key, this.#segments.nonce(this.#index), { authTagLength: TAG_SIZE })
  }
}

export interface SegmentOpenerInput {
  /** ObjectKey.stream. */
  readonly streamKey: KeyObject
  readonly part: StreamPart
  /** 40 bytes from an authenticated place: envelope or manifest. */
  readonly header: Buffer
  readonly segmentSize?: number
  /** Segments that will come, both inclusive; the whole stream by default. Segment 0 comes with the stored header. */
  readonly firstSegment?: number
  readonly lastSegment?: number
  /** Behind the fixed associated data: the footer of a manifest. */
  readonly associatedSuffix?: Buffer
}

/**
 * Opens one stream, or consecutive segments of it: stored bytes in, plaintext out, one buffer a segment and none before its
 * tag has verified. The last segment asked for comes out of `final` alone, after the count was right.
 */
export class SegmentOpener {
  /** Stored bytes this opener takes. */
  readonly storedSize: number
  readonly #header: Buffer
  readonly #key: KeyObject
  readonly #segments: Segments
  readonly #lastSegment: number
  readonly #tag = Buffer.allocUnsafeSlow(TAG_SIZE)
  #index: number
  /** Bytes of the stored header still to be compared. */
  #headerMissing: number
  /** Ciphertext bytes the current segment still lacks, then tag bytes. */
  #missing: number
  #tagMissing = TAG_SIZE
  #out: Buffer | null = null
  #filled = 0
  #decipher: DecipherGCM

  constructor(input: SegmentOpenerInput) {
    const { streamKey, part, header, segmentSize = SEGMENT_SIZE, firstSegment = 0, associatedSuffix = EMPTY } = input
    if (header.length !== HEADER_SIZE || header.readUInt8() !== HEADER_SIZE) throw new EnvelopeError('header')
    this.#header = header
    this.#key = segmentKey(streamKey, header, part, associatedSuffix)
    this.#segments = new Segments(part.plaintextSize, segmentSize, header)
    this.#lastSegment = input.lastSegment ?? this.#segments.last
    if (firstSegment < 0 || firstSegment > this.#lastSegment || this.#lastSegment > this.#segments.last) {
      throw new RangeError('The stream has no such segments.')
    }
    this.storedSize = Math.min((this.#lastSegment + 1) * segmentSize, streamSize(part.plaintextSize, segmentSize)) - firstSegment * segmentSize
    this.#index = firstSegment
    this.#headerMissing = firstSegment === 0 ? HEADER_SIZE : 0
    this.#missing = this.#segments.size(firstSegment)
    this.#decipher = this.#newDecipher()
  }

  /** @throws EnvelopeError `header`, `segment`, `trailing`. */
  update(chunk: Buffer): readonly Buffer[] {
    const opened: Buffer[] = []
    let offset = 0
    while (offset < chunk.length) {
      if (this.#tagMissing === 0) throw new EnvelopeError('trailing')
      offset += this.#take(chunk.subarray(offset))
      if (this.#tagMissing === 0 && this.#index < this.#lastSegment) opened.push(this.#advance())
    }
    return opened
  }

  /** @throws EnvelopeError `truncated` when stored bytes are missing. */
  final(): readonly Buffer[] {
    if (this.#tagMissing > 0 || this.#index !== this.#lastSegment) throw new EnvelopeError('truncated')
    return [this.#plaintext()]
  }

  /** Takes from the front what belongs together, and says how much. */
  #take(bytes: Buffer): number {
    if (this.#headerMissing > 0) return this.#takeHeader(bytes)
    if (this.#missing > 0) return this.#takeCiphertext(bytes)
    const piece = bytes.subarray(0, this.#tagMissing)
    piece.copy(this.#tag, TAG_SIZE - this.#tagMissing)
    this.#tagMissing -= piece.length
    if (this.#tagMissing === 0) this.#verify()
    return piece.length
  }

  #takeHeader(bytes: Buffer): number {
    const piece = bytes.subarray(0, this.#headerMissing)
    const at = HEADER_SIZE - this.#headerMissing
    if (!piece.equals(this.#header.subarray(at, at + piece.length))) throw new EnvelopeError('header')
    this.#headerMissing -= piece.length
    return piece.length
  }

  #takeCiphertext(bytes: Buffer): number {
    const piece = bytes.subarray(0, this.#missing)
    const plaintext = this.#decipher.update(piece)
    this.#missing -= piece.length
    // A segment that comes in one piece needs no copy.
    if (this.#out === null && this.#missing === 0) {
      this.#out = plaintext
    } else {
      this.#out ??= Buffer.allocUnsafeSlow(this.#segments.size(this.#index))
      this.#filled += plaintext.copy(this.#out, this.#filled)
    }
    return piece.length
  }

  #verify(): void {
    this.#decipher.setAuthTag(this.#tag)
    try {
      this.#decipher.final()
    } catch {
      throw new EnvelopeError('segment')
    }
  }

  /** Gives out the verified segment and goes on to the next. */
  #advance(): Buffer {
    const plaintext = this.#plaintext()
    this.#index += 1
    this.#missing = this.#segments.size(this.#index)
    this.#tagMissing = TAG_SIZE
    this.#out = null
    this.#filled = 0
    this.#decipher = this.#newDecipher()
    return plaintext
  }

  #plaintext(): Buffer {
    return this.#out ?? EMPTY
  }

  #newDecipher(): DecipherGCM {
    return createDecipheriv('aes-256-gcm', this.#key, this.#segments.nonce(this.#index), { authTagLength: TAG_SIZE })
  }
}
