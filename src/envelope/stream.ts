import { createCipheriv, createDecipheriv, randomBytes, type CipherGCM, type DecipherGCM, type KeyObject } from 'node:crypto'
import { EnvelopeError } from './encoding.ts'
import { PREFIX_SIZE, SALT_SIZE, segmentKey, Segments, type StreamPart } from './segments.ts'
import { HEADER_SIZE, SEGMENT_SIZE, streamSize, TAG_SIZE } from './sizes.ts'

const EMPTY = Buffer.alloc(0)

export interface SegmentSealerInput {
  /** DataKey.stream. */
  readonly streamKey: KeyObject
  readonly part: StreamPart
  readonly segmentSize?: number
  /** Behind the fixed associated data: the footer of a manifest. */
  readonly associatedSuffix?: Buffer
}

/**
 * Seals one stream: plaintext in, Tink ciphertext out, in buffers of one stored segment. Salt and nonce prefix are always new and cannot be chosen,
 * so that no (key, nonce) pair can repeat. The last segment comes out of `final` alone: without that call the stream never opens.
 */
export class SegmentSealer {
  /** 40 bytes, to be kept in the envelope or manifest. */
  readonly header: Buffer
  readonly #key: KeyObject
  readonly #segments: Segments
  #index = 0
  /** Plaintext bytes that the current segment still lacks. */
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
  /** DataKey.stream. */
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
  /** Stored bytes that this opener expects. */
  readonly storedSize: number
  readonly #header: Buffer
  readonly #key: KeyObject
  readonly #segments: Segments
  readonly #lastSegment: number
  readonly #tag = Buffer.allocUnsafeSlow(TAG_SIZE)
  #index: number
  /** Bytes of the stored header still to be compared. */
  #headerMissing: number
  /** Ciphertext bytes that the current segment still lacks, then tag bytes. */
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
    const end = Math.min((this.#lastSegment + 1) * segmentSize, streamSize(part.plaintextSize, segmentSize))
    this.storedSize = end - firstSegment * segmentSize
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

  /** Removes the next complete piece from the front. @returns its size */
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
    if (this.#out === null) {
      // A segment that comes in one piece needs no copy. A segment that is read in part takes only the memory of that part.
      this.#out = plaintext
    } else {
      if (this.#out.length === this.#filled) this.#out = this.#wholeSegment(this.#out)
      plaintext.copy(this.#out, this.#filled)
    }
    this.#filled += plaintext.length
    return piece.length
  }

  /** Room for all of the current segment, with its bytes so far. */
  #wholeSegment(first: Buffer): Buffer {
    const segment = Buffer.allocUnsafeSlow(this.#segments.size(this.#index))
    first.copy(segment)
    return segment
  }

  #verify(): void {
    this.#decipher.setAuthTag(this.#tag)
    try {
      this.#decipher.final()
    } catch {
      throw new EnvelopeError('segment')
    }
  }

  /** Returns the verified segment and moves to the next. */
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
