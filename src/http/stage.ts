import { Transform, type TransformCallback } from 'node:stream'

/**
 * A step that bytes pass through: a state machine that takes chunks and gives chunks. A throw (or a rejection of final)
 * fails the whole transfer. Nothing that was held back is given out before `final` has returned.
 */
export interface ByteStage {
  /** May return the chunk it was given. The chunk belongs to the stage from then on. */
  update(chunk: Buffer): readonly Buffer[]
  /** Called once after the last chunk. */
  final(): readonly Buffer[] | Promise<readonly Buffer[]>
}

/** One Transform around several stages, so that a chunk crosses the stream machinery once however many stages there are. */
export class StageTransform extends Transform {
  readonly #stages: readonly ByteStage[]

  constructor(stages: readonly ByteStage[], highWaterMark = 65536) {
    super({ readableHighWaterMark: highWaterMark, writableHighWaterMark: highWaterMark, decodeStrings: false })
    this.#stages = stages
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#feed(chunk, 0)
      done()
    } catch (error) {
      done(error as Error)
    }
  }

  override _flush(done: TransformCallback): void {
    this.#finish().then(() => { done() }, (error: unknown) => { done(error as Error) })
  }

  #feed(chunk: Buffer, from: number): void {
    const stage = this.#stages[from]
    if (stage === undefined) {
      if (chunk.length > 0) this.push(chunk)
      return
    }
    for (const out of stage.update(chunk)) this.#feed(out, from + 1)
  }

  async #finish(): Promise<void> {
    for (const [i, stage] of this.#stages.entries()) {
      for (const out of await stage.final()) this.#feed(out, i + 1)
    }
  }
}
