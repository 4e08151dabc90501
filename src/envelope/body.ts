import type { Checksum } from './attributes.ts'
import type { DataKey } from './data-key.ts'
import { EnvelopeError, checkZeros, zeros } from './encoding.ts'
import { openTail, sealTail, type ManifestOf } from './manifest.ts'
import { storedSize, STORED_GEOMETRY, streamSize, type Geometry, storedPartSize } from './sizes.ts'
import { SegmentOpener, SegmentSealer } from './stream.ts'

/** Digests that were not known when the metadata was sent. */
export interface LateDigests {
  readonly md5: Buffer | null
  readonly checksums: readonly Checksum[]
}

export interface SingleSealerInput {
  readonly dataKey: DataKey
  /** Bytes. */
  readonly plaintextSize: number
  /** Called once, in `final`: digests for the manifest. None when all are in the metadata. */
  readonly digests?: () => LateDigests
  readonly geometry?: Geometry
}

/**
 * The whole body of a single PUT: plaintext in, stream ‖ zeros ‖ manifest ‖ footer out, storedSize(plaintextSize) bytes. The
 * last segment and the tail come out of `final` alone.
 */
export class SingleSealer {
  /** 40 bytes for the envelope. */
  readonly header: Buffer
  /** Content-Length of the upstream request. */
  readonly storedSize: number
  readonly #dataKey: DataKey
  readonly #plaintextSize: number
  readonly #digests: () => LateDigests
  readonly #geometry: Geometry
  readonly #sealer: SegmentSealer

  constructor({ dataKey, plaintextSize, digests = noDigests, geometry = STORED_GEOMETRY }: SingleSealerInput) {
    const part = { kind: 'single', number: 1, plaintextSize } as const
    this.#sealer = new SegmentSealer({ streamKey: dataKey.stream, part, segmentSize: geometry.segmentSize })
    this.header = this.#sealer.header
    this.storedSize = storedSize(plaintextSize, geometry.segmentSize)
    this.#dataKey = dataKey
    this.#plaintextSize = plaintextSize
    this.#digests = digests
    this.#geometry = geometry
  }

  /** @throws EnvelopeError `length` when more comes than was announced. */
  update(chunk: Buffer): readonly Buffer[] {
    return this.#sealer.update(chunk)
  }

  /** @throws EnvelopeError `length` when less came than was announced. */
  final(): readonly Buffer[] {
    const last = this.#sealer.final()
    const contents = { kind: 'single', plaintextSize: this.#plaintextSize, ...this.#digests() } as const
    return [...last, ...sealTail(this.#dataKey, contents, this.#geometry)]
  }
}

function noDigests(): LateDigests {
  return { md5: null, checksums: [] }
}

export interface SingleOpenerInput {
  readonly dataKey: DataKey
  /** From the envelope. */
  readonly header: Buffer
  /** From the sealed attributes. */
  readonly plaintextSize: number
  readonly geometry?: Geometry
}

/** Manifest and footer of a single are at most 156 bytes (docs/FORMAT.md, Proof): earlier bytes must be zeros. */
const KEPT_TAIL = 512

/**
 * The whole body of a single in, plaintext out. The last segment comes out of `final` alone, after byte count, zeros,
 * manifest and footer have verified.
 */
export class SingleOpener {
  readonly #dataKey: DataKey
  readonly #geometry: Geometry
  readonly #opener: SegmentOpener
  readonly #storedSize: number
  /** Stored bytes still missing: of the stream, of zeros that are not kept, of the kept tail. */
  #streamMissing: number
  #zerosMissing: number
  readonly #tail: Buffer
  #tailFilled = 0
  #manifest: ManifestOf<'single'> | null = null

  constructor({ dataKey, header, plaintextSize, geometry = STORED_GEOMETRY }: SingleOpenerInput) {
    const part = { kind: 'single', number: 1, plaintextSize } as const
    this.#opener = new SegmentOpener({ streamKey: dataKey.stream, part, header, segmentSize: geometry.segmentSize, owned: true })
    this.#dataKey = dataKey
    this.#geometry = geometry
    this.#storedSize = storedSize(plaintextSize, geometry.segmentSize)
    this.#streamMissing = streamSize(plaintextSize, geometry.segmentSize)
    this.#tail = Buffer.alloc(Math.min(KEPT_TAIL, this.#storedSize - this.#streamMissing))
    this.#zerosMissing = this.#storedSize - this.#streamMissing - this.#tail.length
  }

  /** The manifest with the late digests; null before `final`. */
  get manifest(): ManifestOf<'single'> | null {
    return this.#manifest
  }

  /** @throws EnvelopeError `header`, `segment`, `zeros`, `trailing`. */
  update(chunk: Buffer): readonly Buffer[] {
    const stream = chunk.subarray(0, this.#streamMissing)
    this.#streamMissing -= stream.length
    const opened = stream.length === 0 ? [] : this.#opener.update(stream)
    if (stream.length < chunk.length) this.#takeTail(chunk.subarray(stream.length))
    return opened
  }

  /** @throws EnvelopeError `truncated`, `zeros`, `footer`, `manifest`. */
  final(): readonly Buffer[] {
    if (this.#streamMissing > 0 || this.#zerosMissing > 0 || this.#tailFilled < this.#tail.length) throw new EnvelopeError('truncated')
    const opened = openTail(this.#tail, this.#storedSize, this.#dataKey, 'single', this.#geometry)
    if ('need' in opened) throw new EnvelopeError('footer')
    this.#manifest = opened
    return this.#opener.final()
  }

  #takeTail(bytes: Buffer): void {
    const gap = bytes.subarray(0, this.#zerosMissing)
    checkZeros(gap)
    this.#zerosMissing -= gap.length
    const kept = bytes.subarray(gap.length)
    if (this.#tailFilled + kept.length > this.#tail.length) throw new EnvelopeError('trailing')
    this.#tailFilled += kept.copy(this.#tail, this.#tailFilled)
  }
}

export interface PartSealerInput {
  readonly dataKey: DataKey
  /** 1 to 10,000. */
  readonly number: number
  /** Bytes. */
  readonly plaintextSize: number
  readonly geometry?: Geometry
}

/**
 * One attempt at a part of a multipart upload: plaintext in, stored bytes out (docs/FORMAT.md, Size law). From 5 MiB on these are stream ‖ zeros,
 * paddedPartSize bytes; below, the bare stream. The last segment comes out of `final` alone.
 */
export class PartSealer {
  /** 40 bytes for the part record and the manifest; new for every attempt. */
  readonly header: Buffer
  /** Content-Length of the upstream request, or of the inline record. */
  readonly storedSize: number
  readonly #sealer: SegmentSealer
  readonly #padding: number

  constructor({ dataKey, number, plaintextSize, geometry = STORED_GEOMETRY }: PartSealerInput) {
    const part = { kind: 'part', number, plaintextSize } as const
    this.#sealer = new SegmentSealer({ streamKey: dataKey.stream, part, segmentSize: geometry.segmentSize })
    this.header = this.#sealer.header
    this.storedSize = storedPartSize(plaintextSize, geometry)
    this.#padding = this.storedSize - streamSize(plaintextSize, geometry.segmentSize)
  }

  /** @throws EnvelopeError `length` when more comes than was announced. */
  update(chunk: Buffer): readonly Buffer[] {
    return this.#sealer.update(chunk)
  }

  /** @throws EnvelopeError `length` when less came than was announced. */
  final(): readonly Buffer[] {
    return [...this.#sealer.final(), ...zeros(this.#padding)]
  }
}
