import type { ObjectKey } from './data-key.ts'
import { storedPartSize, STORED_GEOMETRY, streamSize, type Geometry } from './sizes.ts'
import { SegmentSealer } from './stream.ts'
import { zeros } from './zeros.ts'

export interface PartSealerInput {
  readonly objectKey: ObjectKey
  /** 1 to 10,000. */
  readonly number: number
  /** Bytes. */
  readonly plaintextSize: number
  readonly geometry?: Geometry
}

/**
 * One attempt at a part of a multipart upload: plaintext in, what the store gets out (docs/FORMAT.md, Size law). From 5 MiB on that
 * is stream ‖ zeros, paddedPartSize bytes; below, the bare stream. The last segment comes out of `final` alone.
 */
export class PartSealer {
  /** 40 bytes for the part record and the manifest; new for every attempt. */
  readonly header: Buffer
  /** Content-Length of the upstream request, or of the inline record. */
  readonly storedSize: number
  readonly #sealer: SegmentSealer
  readonly #padding: number

  constructor({ objectKey, number, plaintextSize, geometry = STORED_GEOMETRY }: PartSealerInput) {
    const part = { kind: 'part', number, plaintextSize } as const
    this.#sealer = new SegmentSealer({ streamKey: objectKey.stream, part, segmentSize: geometry.segmentSize })
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
