import type { KeyObject } from 'node:crypto'
import { EnvelopeError } from './encoding.ts'
import { fillRandom } from './primitives.ts'
import { type OpeningCipher, openingCipher, type SealingCipher, sealingCipher } from './segment-cipher.ts'
import { segmentKey, Segments, type StreamPart } from './segments.ts'
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
  readonly #cipher: SealingCipher
  readonly #segments: Segments
  #index = 0
  /** Plaintext bytes that the current segment still lacks. */
  #missing: number
  /** The segment as it is stored, filled from the front. */
  #out: Buffer
  #filled: number

  constructor(input: SegmentSealerInput) {
    const { streamKey, part, segmentSize = SEGMENT_SIZE, associatedSuffix = EMPTY } = input
    this.header = newHeader()
    this.#segments = new Segments(part.plaintextSize, segmentSize, this.header)
    this.#cipher = sealingCipher(segmentKey(streamKey, this.header, part, associatedSuffix), this.#segments.last === 0 ? part.plaintextSize : null)
    this.#missing = this.#segments.size(0)
    this.#out = Buffer.allocUnsafeSlow(HEADER_SIZE + this.#missing + TAG_SIZE)
    this.#filled = this.header.copy(this.#out)
    this.#cipher.begin(this.#segments.nonce(0))
  }

  /** @throws EnvelopeError `length` when more comes than was announced. */
  update(chunk: Buffer): readonly Buffer[] {
    const done: Buffer[] = []
    let offset = 0
    while (offset < chunk.length) {
      if (this.#missing === 0) this.#advance(done)
      const length = Math.min(chunk.length - offset, this.#missing)
      this.#cipher.seal(chunk, offset, length, this.#out, this.#filled)
      this.#filled += length
      this.#missing -= length
      offset += length
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
    this.#cipher.begin(this.#segments.nonce(this.#index))
  }

  #finish(): Buffer {
    this.#cipher.tag(this.#out, this.#filled)
    return this.#out
  }
}

/** Its own size (1) ‖ salt (32) ‖ nonce prefix (7). */
function newHeader(): Buffer {
  const header = Buffer.allocUnsafeSlow(HEADER_SIZE)
  header.writeUInt8(HEADER_SIZE)
  fillRandom(header.subarray(1))
  return header
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
  /** `update` may overwrite the chunks that it is given, as a ByteStage may. */
  readonly owned?: boolean
}

/** Pieces of a segment that are kept as they came. What comes in more is copied into one buffer: any store can send bytes one by one. */
const MOST_PIECES = 16

/**
 * Opens one stream, or consecutive segments of it: stored bytes in, plaintext out, and none of a segment before its tag has verified. A segment comes out
 * in the pieces that it came in. The last segment asked for comes out of `final` alone, after the count was right.
 */
export class SegmentOpener {
  /** Stored bytes that this opener expects. */
  readonly storedSize: number
  readonly #header: Buffer
  readonly #cipher: OpeningCipher
  readonly #owned: boolean
  readonly #segments: Segments
  readonly #lastSegment: number
  readonly #tag = Buffer.allocUnsafeSlow(TAG_SIZE)
  #index: number
  /** Bytes of the stored header still to be compared. */
  #headerMissing: number
  /** Ciphertext bytes that the current segment still lacks, then tag bytes. */
  #missing: number
  #tagMissing = TAG_SIZE
  /** The plaintext of the current segment, not to be released yet. */
  #opened: Buffer[] = []
  /** The last of it where there are many pieces, filled from the front. */
  #rest: Buffer | null = null
  #filled = 0

  constructor(input: SegmentOpenerInput) {
    const { streamKey, part, header, segmentSize = SEGMENT_SIZE, firstSegment = 0, associatedSuffix = EMPTY } = input
    if (header.length !== HEADER_SIZE || header.readUInt8() !== HEADER_SIZE) throw new EnvelopeError('header')
    this.#header = header
    this.#owned = input.owned ?? false
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
    const only = firstSegment === this.#lastSegment ? this.#missing : null
    this.#cipher = openingCipher(segmentKey(streamKey, header, part, associatedSuffix), only)
    this.#cipher.begin(this.#segments.nonce(firstSegment))
  }

  /** @throws EnvelopeError `header`, `segment`, `trailing`. */
  update(chunk: Buffer): readonly Buffer[] {
    const opened: Buffer[] = []
    let offset = 0
    while (offset < chunk.length) {
      if (this.#tagMissing === 0) throw new EnvelopeError('trailing')
      offset += this.#take(chunk.subarray(offset))
      if (this.#tagMissing === 0 && this.#index < this.#lastSegment) opened.push(...this.#advance())
    }
    return opened
  }

  /** @throws EnvelopeError `truncated` when stored bytes are missing. */
  final(): readonly Buffer[] {
    if (this.#tagMissing > 0 || this.#index !== this.#lastSegment) throw new EnvelopeError('truncated')
    return this.#opened
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
    this.#missing -= piece.length
    this.#keep(this.#cipher.open(piece, this.#owned))
    return piece.length
  }

  #keep(plaintext: Buffer): void {
    if (this.#rest === null && this.#opened.length < MOST_PIECES) {
      this.#opened.push(plaintext)
      return
    }
    if (this.#rest === null) {
      this.#rest = Buffer.allocUnsafeSlow(plaintext.length + this.#missing)
      this.#filled = 0
      this.#opened.push(this.#rest)
    }
    this.#filled += plaintext.copy(this.#rest, this.#filled)
  }

  #verify(): void {
    if (!this.#cipher.verify(this.#tag)) throw new EnvelopeError('segment')
  }

  /** Returns the verified segment and moves to the next. */
  #advance(): Buffer[] {
    const plaintext = this.#opened
    this.#index += 1
    this.#missing = this.#segments.size(this.#index)
    this.#tagMissing = TAG_SIZE
    this.#opened = []
    this.#rest = null
    this.#cipher.begin(this.#segments.nonce(this.#index))
    return plaintext
  }
}
