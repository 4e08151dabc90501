import { EnvelopeError } from './encoding.ts'

// Everything in this file is part of STORED DATA (docs/FORMAT.md: Streams, Size law, Limits). All sizes are in bytes.

export const HEADER_SIZE = 40
export const TAG_SIZE = 16
/** Ciphertext bytes of a segment; segment 0 shares them with the stream's header. */
export const SEGMENT_SIZE = 65536
/** Parts of at least this size are padded; S3 accepts a smaller one only as the last. */
export const MIN_PART_SIZE = 5 * 1024 * 1024
export const MAX_PARTS = 10_000
/** S3's limit of one PUT or part. */
export const MAX_STORED_SINGLE = 5 * 1024 ** 3
/** Greatest p with storedSize(p) <= MAX_STORED_SINGLE. */
export const MAX_SINGLE_PLAINTEXT = 5_367_070_708
/** Greatest L with paddedPartSize(L) <= MAX_STORED_SINGLE. */
export const MAX_PART_PLAINTEXT = 5_367_071_380
export const MAX_PLAINTEXT = MAX_PARTS * MAX_PART_PLAINTEXT

/** How stored data is divided. Tests use small segments to reach every boundary; stored data has STORED_GEOMETRY. */
export interface Geometry {
  /** Above HEADER_SIZE + TAG_SIZE; the size law holds from 144 on, with parts from some 20,000 bytes. */
  readonly segmentSize: number
  readonly minPartSize: number
}

export const STORED_GEOMETRY: Geometry = { segmentSize: SEGMENT_SIZE, minPartSize: MIN_PART_SIZE }

/** Segments of a stream; at least one. */
export function segmentCount(plaintextSize: number, segmentSize: number = SEGMENT_SIZE): number {
  return Math.ceil((plaintextSize + HEADER_SIZE) / (segmentSize - TAG_SIZE))
}

/** Size of the Tink ciphertext of a part. */
export function streamSize(plaintextSize: number, segmentSize: number = SEGMENT_SIZE): number {
  return plaintextSize + HEADER_SIZE + TAG_SIZE * segmentCount(plaintextSize, segmentSize)
}

/** Plaintext size of a stream of this size; null where no stream has it. */
export function streamPlaintextSize(size: number, segmentSize: number = SEGMENT_SIZE): number | null {
  const plaintext = size - HEADER_SIZE - TAG_SIZE * Math.ceil(size / segmentSize)
  return plaintext >= 0 && streamSize(plaintext, segmentSize) === size ? plaintext : null
}

/** The size law: stored size of an object, single or multipart. An empty object has no body, so the law does not apply to it. */
export function storedSize(plaintextSize: number, segmentSize: number = SEGMENT_SIZE): number {
  return plaintextSize + 512 + 20 * Math.ceil(plaintextSize / segmentSize)
}

/** Inverse of the size law; null for a size that no sealed object has. */
export function plaintextSize(storedSize: number, segmentSize: number = SEGMENT_SIZE): number | null {
  if (!Number.isSafeInteger(storedSize) || storedSize < 512) return null
  const segments = Math.ceil((storedSize - 512) / (segmentSize + 20))
  const plaintext = storedSize - 512 - 20 * segments
  return plaintext >= 0 && Math.ceil(plaintext / segmentSize) === segments ? plaintext : null
}

/** Stored size of a multipart part of at least MIN_PART_SIZE: its stream and zeros. */
export function paddedPartSize(plaintextSize: number, segmentSize: number = SEGMENT_SIZE): number {
  return plaintextSize + 20 * Math.floor(plaintextSize / segmentSize) - 160
}

/** Stored size of any multipart part: padded, or the bare stream below MIN_PART_SIZE. */
export function storedPartSize(plaintextSize: number, geometry: Geometry = STORED_GEOMETRY): number {
  return plaintextSize < geometry.minPartSize
    ? streamSize(plaintextSize, geometry.segmentSize)
    : paddedPartSize(plaintextSize, geometry.segmentSize)
}

/** Where each part starts, and where the last one's stored bytes end. */
export interface PartOffsets {
  /** Stored offset of each part's stream, in the order of the parts. */
  readonly stored: readonly number[]
  /** Plaintext offset of each part. */
  readonly plaintext: readonly number[]
  /** Stored bytes of all parts together: where the tail starts. */
  readonly storedEnd: number
  /** Plaintext bytes of all parts together. */
  readonly plaintextEnd: number
}

/**
 * Offsets of the parts of a multipart object from their plaintext sizes.
 * @throws EnvelopeError `length` when a part but the last is below the minimum, one is above the maximum, or the number of
 * parts is not 1 to 10,000.
 */
export function partOffsets(plaintextSizes: readonly number[], geometry: Geometry = STORED_GEOMETRY): PartOffsets {
  if (plaintextSizes.length < 1 || plaintextSizes.length > MAX_PARTS) throw new EnvelopeError('length')
  const stored: number[] = []
  const plaintext: number[] = []
  let storedEnd = 0
  let plaintextEnd = 0
  for (const [i, size] of plaintextSizes.entries()) {
    const last = i === plaintextSizes.length - 1
    if (size > MAX_PART_PLAINTEXT || (size < geometry.minPartSize && !last)) throw new EnvelopeError('length')
    stored.push(storedEnd)
    plaintext.push(plaintextEnd)
    storedEnd += storedPartSize(size, geometry)
    plaintextEnd += size
  }
  return { stored, plaintext, storedEnd, plaintextEnd }
}

/** Size of zeros, manifest and footer of a multipart object. @throws EnvelopeError as partOffsets does. */
export function tailSize(plaintextSizes: readonly number[], geometry: Geometry = STORED_GEOMETRY): number {
  const { storedEnd, plaintextEnd } = partOffsets(plaintextSizes, geometry)
  return storedSize(plaintextEnd, geometry.segmentSize) - storedEnd
}

interface SegmentRange {
  /** Relative to the start of the part's stream; segment 0 begins with the header. */
  readonly storedFirst: number
  /** Inclusive. */
  readonly storedLast: number
  readonly firstSegment: number
  readonly lastSegment: number
  /** Plaintext bytes of the first segment that lie before the range. */
  readonly skip: number
}

/**
 * The segments that cover plaintext bytes first to last (inclusive) of a part. A `partPlaintextSize` of Infinity serves when
 * the size is not known yet: the stored range may then reach past the stream.
 * @throws RangeError when the range is not inside of the part.
 */
export function segmentRange(
  first: number,
  last: number,
  partPlaintextSize: number,
  segmentSize: number = SEGMENT_SIZE
): SegmentRange {
  if (!(first >= 0 && first <= last && last < partPlaintextSize)) throw new RangeError('The range is not inside of the part.')
  const payload = segmentSize - TAG_SIZE
  const firstSegment = Math.floor((first + HEADER_SIZE) / payload)
  const lastSegment = Math.floor((last + HEADER_SIZE) / payload)
  return {
    storedFirst: firstSegment * segmentSize,
    storedLast: Math.min((lastSegment + 1) * segmentSize, streamSize(partPlaintextSize, segmentSize)) - 1,
    firstSegment,
    lastSegment,
    skip: first - segmentStart(firstSegment, segmentSize)
  }
}

/** Plaintext offset of a segment's first byte within its part. */
export function segmentStart(index: number, segmentSize: number = SEGMENT_SIZE): number {
  return index === 0 ? 0 : index * (segmentSize - TAG_SIZE) - HEADER_SIZE
}
