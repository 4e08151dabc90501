import type { ByteStage } from '../../http/stage.ts'
import type { ObjectKey } from '../../envelope/data-key.ts'
import type { PartRecord } from '../../envelope/upload-records.ts'
import { MIN_PART_SIZE } from '../../envelope/sizes.ts'
import { SegmentOpener } from '../../envelope/stream.ts'

/**
 * A small part on its way from the state bucket to the store: passes unchanged, but its end only after the whole of it has
 * opened, and then the tail behind it. So an upload is never completed with a part that could not be read.
 */
export class SmallPartWithTail implements ByteStage {
  readonly #opener: SegmentOpener
  readonly #tail: readonly Buffer[]
  #held: Buffer | null = null

  /** @param tail from sealTail. */
  constructor(objectKey: ObjectKey, part: Pick<PartRecord, 'number' | 'plaintextSize' | 'header'>, tail: readonly Buffer[]) {
    const { number, plaintextSize, header } = part
    this.#opener = new SegmentOpener({ streamKey: objectKey.stream, part: { kind: 'part', number, plaintextSize }, header })
    this.#tail = tail
  }

  /** @throws EnvelopeError `header`, `segment`, `trailing`. */
  update(chunk: Buffer): readonly Buffer[] {
    this.#opener.update(chunk)
    const before = this.#held
    this.#held = chunk
    return before === null ? [] : [before]
  }

  /** @throws EnvelopeError `truncated`. */
  final(): readonly Buffer[] {
    this.#opener.final()
    return [...this.#held === null ? [] : [this.#held], ...this.#tail]
  }
}

/** Whether a part waits in the state bucket: S3 accepts one below 5 MiB as the last only, where the tail belongs behind it. */
export function isSmall(plaintextSize: number): boolean {
  return plaintextSize < MIN_PART_SIZE
}
