import type { ManifestOf } from './manifest.ts'
import type { DataKey } from './data-key.ts'
import type { StreamPart } from './segments.ts'
import { firstWhere } from '../collections/bisect.ts'
import { EnvelopeError, checkZeros } from './encoding.ts'
import { segmentCount, segmentRange, STORED_GEOMETRY, streamSize, type Geometry } from './sizes.ts'
import { SegmentOpener } from './stream.ts'

/** Consecutive segments of one part, and the requested bytes of them. */
interface ReadPiece {
  readonly part: StreamPart
  /** Authenticated 40-byte header of the part's stream. */
  readonly header: Buffer
  readonly firstSegment: number
  readonly lastSegment: number
  /** Plaintext bytes of the first segment before the requested ones. */
  readonly skip: number
  /** Plaintext bytes requested. */
  readonly take: number
  /** Zeros behind the stream that are read and checked. */
  readonly gap: number
}

/** One range request to the store, and how to decrypt its answer. */
export interface ReadPlan {
  /** Stored bytes to ask for; `storedLast` is inclusive. */
  readonly storedFirst: number
  readonly storedLast: number
  readonly pieces: readonly ReadPiece[]
  /** Plaintext bytes that come out. */
  readonly plaintextSize: number
}

/**
 * Plans the read of plaintext bytes first to last (inclusive) of a single. For its whole body there is SingleOpener.
 * @throws RangeError when the range is empty or not inside of the object.
 */
export function planSingle(
  single: { readonly header: Buffer; readonly plaintextSize: number },
  first: number,
  last: number,
  geometry: Geometry = STORED_GEOMETRY
): ReadPlan {
  const range = segmentRange(first, last, single.plaintextSize, geometry.segmentSize)
  const part = { kind: 'single', number: 1, plaintextSize: single.plaintextSize } as const
  const take = last - first + 1
  const { storedFirst, storedLast, firstSegment, lastSegment, skip } = range
  const piece = { part, header: single.header, firstSegment, lastSegment, skip, take, gap: 0 }
  return { storedFirst, storedLast, pieces: [piece], plaintextSize: take }
}

/**
 * Plans the read of plaintext bytes first to last (inclusive) of a multipart object: the parts are stored one after another, so one range request has
 * them all. A read of the whole (0 to size − 1, also 0 to −1 of an empty object) goes up to the manifest, so that every zero is checked.
 * @throws RangeError when the range is not inside the object.
 */
export function planMultipart(manifest: ManifestOf<'multipart'>, first: number, last: number, geometry: Geometry = STORED_GEOMETRY): ReadPlan {
  const whole = first === 0 && last === manifest.plaintextSize - 1
  const inside = first >= 0 && first <= last && last < manifest.plaintextSize
  if (!whole && !inside) throw new RangeError('The range is not inside of the object.')
  const { offsets, parts } = manifest
  const pieces: ReadPiece[] = []
  let storedFirst = 0
  let storedLast = 0
  for (let i = whole ? 0 : partAt(offsets.plaintext, first); i < parts.length; i += 1) {
    const part = parts[i]
    const start = offsets.plaintext[i] ?? 0
    if (part === undefined || (!whole && start > last)) break
    const { number, plaintextSize, header } = part
    const from = Math.max(first - start, 0)
    const to = Math.min(last - start, plaintextSize - 1)
    const range = plaintextSize === 0 ? emptyPart(geometry) : segmentRange(from, to, plaintextSize, geometry.segmentSize)
    const stored = offsets.stored[i] ?? 0
    const end = stored + streamSize(plaintextSize, geometry.segmentSize)
    const more = whole || last >= start + plaintextSize
    const gap = more ? (offsets.stored[i + 1] ?? manifest.manifestStart) - end : 0
    const { firstSegment, lastSegment, skip } = range
    if (pieces.length === 0) storedFirst = stored + range.storedFirst
    storedLast = stored + range.storedLast + gap
    pieces.push({ part: { kind: 'part', number, plaintextSize }, header, firstSegment, lastSegment, skip, take: to - from + 1, gap })
  }
  return { storedFirst, storedLast, pieces, plaintextSize: last - first + 1 }
}

/** The last part that begins at or before this byte: of 10,000, a range needs one or two. @param starts ascending, the first one 0 */
function partAt(starts: readonly number[], byte: number): number {
  return firstWhere(starts, (start) => start > byte) - 1
}

/** The one segment of a part of 0 bytes is read as well: it must be there and open. */
function emptyPart(geometry: Geometry): ReturnType<typeof segmentRange> {
  const size = streamSize(0, geometry.segmentSize)
  return { storedFirst: 0, storedLast: size - 1, firstSegment: 0, lastSegment: segmentCount(0, geometry.segmentSize) - 1, skip: 0 }
}

interface RangeOpenerInput {
  readonly dataKey: DataKey
  readonly plan: ReadPlan
  /** Stored bytes after those of the plan: a range asked for before the size was known may reach past the stream. They are counted and dropped. */
  readonly surplus?: number
  readonly geometry?: Geometry
}

/**
 * Opens the answer to a ReadPlan: stored bytes in, exactly the requested plaintext out. The last segment comes out of `final` alone, after the count
 * was right.
 */
export class RangeOpener {
  readonly #dataKey: DataKey
  readonly #segmentSize: number
  readonly #pieces: readonly ReadPiece[]
  #next = 0
  #opener: SegmentOpener | null = null
  /** Stored bytes still missing: of the current piece's stream, of the zeros behind it, and behind the plan. */
  #streamMissing = 0
  #gapMissing = 0
  #surplusMissing: number
  /** Plaintext bytes of the current piece still to be dropped, and to be returned. */
  #skip = 0
  #take = 0
  /** The last requested segment, when a part of 0 bytes behind it must still open. */
  readonly #held: Buffer[] = []

  constructor({ dataKey, plan, surplus = 0, geometry = STORED_GEOMETRY }: RangeOpenerInput) {
    this.#dataKey = dataKey
    this.#segmentSize = geometry.segmentSize
    this.#pieces = plan.pieces
    this.#surplusMissing = surplus
    this.#begin()
  }

  /** @throws EnvelopeError `header`, `segment`, `zeros`, `trailing`. */
  update(chunk: Buffer): readonly Buffer[] {
    const out: Buffer[] = []
    let rest = chunk
    while (rest.length > 0) {
      if (this.#streamMissing === 0 && this.#gapMissing === 0 && this.#next < this.#pieces.length) {
        this.#give(this.#opener?.final() ?? [], this.#nothingFollows() ? this.#held : out)
        this.#begin()
      }
      rest = rest.subarray(this.#consume(rest, out))
    }
    return out
  }

  /** @throws EnvelopeError `truncated`. */
  final(): readonly Buffer[] {
    const missing = this.#streamMissing + this.#gapMissing + this.#surplusMissing
    if (missing > 0 || this.#next < this.#pieces.length) throw new EnvelopeError('truncated')
    const out = [...this.#held]
    this.#give(this.#opener?.final() ?? [], out)
    return out
  }

  /** Only the last part can be empty (docs/FORMAT.md, Size law). */
  #nothingFollows(): boolean {
    return this.#next === this.#pieces.length - 1 && this.#pieces[this.#next]?.take === 0
  }

  #begin(): void {
    const piece = this.#pieces[this.#next]
    this.#next += 1
    if (piece === undefined) throw new RangeError('A plan has at least one piece.')
    const { part, header, firstSegment, lastSegment } = piece
    this.#opener = new SegmentOpener({
      streamKey: this.#dataKey.stream,
      part,
      header,
      firstSegment,
      lastSegment,
      segmentSize: this.#segmentSize,
      owned: true
    })
    this.#streamMissing = this.#opener.storedSize
    this.#gapMissing = piece.gap
    this.#skip = piece.skip
    this.#take = piece.take
  }

  /** Removes the next complete piece from the front. @returns its size */
  #consume(bytes: Buffer, out: Buffer[]): number {
    if (this.#streamMissing > 0) {
      const stream = bytes.subarray(0, this.#streamMissing)
      this.#streamMissing -= stream.length
      this.#give(this.#opener?.update(stream) ?? [], out)
      return stream.length
    }
    if (this.#gapMissing > 0) {
      const gap = bytes.subarray(0, this.#gapMissing)
      checkZeros(gap)
      this.#gapMissing -= gap.length
      return gap.length
    }
    if (bytes.length > this.#surplusMissing) throw new EnvelopeError('trailing')
    this.#surplusMissing -= bytes.length
    return bytes.length
  }

  /** Cuts verified plaintext to the requested bytes. */
  #give(opened: readonly Buffer[], out: Buffer[]): void {
    for (const plaintext of opened) {
      const wanted = plaintext.subarray(this.#skip, this.#skip + this.#take)
      this.#skip -= Math.min(this.#skip, plaintext.length)
      this.#take -= wanted.length
      if (wanted.length > 0) out.push(wanted)
    }
  }
}
