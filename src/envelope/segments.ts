import type { KeyObject } from 'node:crypto'
import { ByteWriter } from './encoding.ts'
import type { KeySource } from './primitives.ts'
import { HEADER_SIZE, segmentCount, segmentStart, TAG_SIZE } from './sizes.ts'

// STORED DATA depends on every constant here (docs/FORMAT.md, Streams): Tink's AES-GCM-HKDF streaming, fixed to
// HKDF-SHA-256 and AES-256-GCM.
const SALT_SIZE = 32
const PREFIX_SIZE = 7
const NONCE_SIZE = 12
const VERSION = 1
const LABEL = Buffer.from('sealgate', 'ascii')
const kindCodes = { single: 1, part: 2, manifest: 3 } as const

/** The fields that identify a stream in its associated data. */
export interface StreamPart {
  readonly kind: keyof typeof kindCodes
  /** 1 for a single, 1 to 10,000 for a part, 0 for a manifest. */
  readonly number: number
  /** Bytes. */
  readonly plaintextSize: number
}

/** Tink's associated data. */
function associatedData(part: StreamPart, suffix: Buffer): Buffer {
  return new ByteWriter()
    .bytes(LABEL)
    .u8(VERSION)
    .u8(kindCodes[part.kind])
    .u16(part.number)
    .u64(part.plaintextSize)
    .bytes(suffix)
    .end()
}

/** Key of all segments of one stream. @param suffix behind the fixed associated data: the footer of a manifest. */
export function segmentKey(streamKey: KeyObject, header: Buffer, part: StreamPart, suffix: Buffer): KeySource {
  return { from: streamKey, salt: header.subarray(1, 1 + SALT_SIZE), info: associatedData(part, suffix) }
}

/** Sizes and nonces of the segments of one stream; the nonce buffer is reused. */
export class Segments {
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
