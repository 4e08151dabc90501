import { Readable } from 'node:stream'
import { noteBodyBytes } from './gc-tuning.ts'

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

interface StagedOptions {
  /**
   * Whether the end of this stream is the end of its source. True for bodies from the store (a client that went away
   * must free the upstream socket); false for bodies from a client (destroying a request destroys the socket that the
   * error answer has to go out on).
   */
  readonly destroySource: boolean
}

/**
 * A source with stages behind it, as one Readable: a chunk crosses the stream machinery once, without a promise,
 * however many stages there are. Ends only after every stage has returned from `final`.
 */
export class StagedReadable extends Readable {
  readonly #source: Readable
  readonly #stages: readonly ByteStage[]
  readonly #destroySource: boolean
  #state: 'idle' | 'flowing' | 'finishing' | 'done' = 'idle'

  constructor(source: Readable, stages: readonly ByteStage[], options: StagedOptions) {
    super({ highWaterMark: NO_READ_AHEAD })
    this.#source = source
    this.#stages = stages
    this.#destroySource = options.destroySource
    source.on('error', this.#onError)
    source.on('close', this.#onClose)
    // The source may fail before a reader has had its turn to listen; whoever reads later still gets the error.
    this.on('error', () => undefined)
    // A source that failed before this existed says nothing any more: to wait for it would be to wait for ever.
    if (source.destroyed && !source.readableEnded) this.destroy(source.errored ?? new Error('The source of the transfer closed before its end.'))
  }

  override _read(): void {
    if (this.#state === 'idle') {
      this.#state = 'flowing'
      this.#source.on('end', this.#onEnd)
      this.#source.on('data', this.#onData)
    } else if (this.#state === 'flowing') {
      this.#source.resume()
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#state = 'done'
    this.#source.off('data', this.#onData)
    this.#source.off('end', this.#onEnd)
    this.#source.off('close', this.#onClose)
    if (this.#destroySource && !this.#source.destroyed) this.#source.destroy()
    else this.#source.pause()
    done(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    noteBodyBytes(chunk.length)
    try {
      if (!this.#feed(chunk, 0)) this.#source.pause()
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  readonly #onEnd = (): void => {
    if (this.#state === 'done') return
    this.#state = 'finishing'
    this.#finish().then(
      () => {
        if (!this.destroyed) this.push(null)
      },
      (error: unknown) => {
        this.destroy(error as Error)
      }
    )
  }

  readonly #onError = (error: Error): void => {
    this.destroy(error)
  }

  readonly #onClose = (): void => {
    if (this.#state === 'idle' || this.#state === 'flowing') this.destroy(new Error('The source of the transfer closed before its end.'))
  }

  #feed(chunk: Buffer, from: number): boolean {
    const stage = this.#stages[from]
    if (stage === undefined) return this.destroyed || pushed(this, chunk)
    let wanted = true
    for (const out of stage.update(chunk)) wanted = this.#feed(out, from + 1) && wanted
    return wanted
  }

  async #finish(): Promise<void> {
    for (const [i, stage] of this.#stages.entries()) {
      for (const out of await stage.final()) this.#feed(out, i + 1)
    }
  }
}

/**
 * High-water mark of the streams of a transfer: nothing is fetched for a reader that does not read. What waits in a stalled
 * transfer then is what was on its way when the reader stopped, and not a segment or two in every stream besides.
 */
export const NO_READ_AHEAD = 0

/**
 * Pushes a chunk. @returns false when the source is to be paused: the chunk has to wait here, or was taken by a reader that
 * wants no more. Node says so of the next chunk only, which then would have to wait, too. Empty chunks are dropped: nobody
 * would read them and so ask for more.
 */
export function pushed(stream: Readable, chunk: Buffer): boolean {
  return chunk.length === 0 || (stream.push(chunk) && !stream.isPaused())
}

/** Reads a stream into one Buffer. @throws the stream's error, or `tooLarge()` when more than `limit` bytes come. */
export async function readAll(source: Readable, limit: number, tooLarge: () => Error): Promise<Buffer> {
  const read = new ByteQueue()
  for await (const chunk of source as AsyncIterable<Buffer>) {
    if (read.length + chunk.length > limit) {
      source.destroy()
      throw tooLarge()
    }
    read.add(chunk)
  }
  return read.take()
}

/**
 * Bytes gathered piece by piece and taken from the front. Pieces are copied together as they come, into room for twice as
 * many: kept as they are, those of one byte each, as any client can frame them, would cost five hundred times their size, and
 * joined anew with each that comes they would cost the square of their number.
 */
export class ByteQueue {
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** What is held. Stays as it is, whatever is added or dropped afterwards. */
  get view(): Buffer {
    return this.#bytes.subarray(this.#start, this.#start + this.#length)
  }

  add(piece: Buffer): void {
    if (this.#length === 0) {
      this.#bytes = piece
      this.#start = 0
    } else {
      if (this.#start + this.#length + piece.length > this.#bytes.length) this.#grow(this.#length + piece.length)
      piece.copy(this.#bytes, this.#start + this.#length)
    }
    this.#length += piece.length
  }

  /** Lets go of bytes at the front, of which at least so many are held. */
  drop(bytes: number): void {
    this.#start += bytes
    this.#length -= bytes
  }

  /** All of them, and begins anew. */
  take(): Buffer {
    const bytes = this.view
    this.#bytes = Buffer.alloc(0)
    this.#start = 0
    this.#length = 0
    return bytes
  }

  #grow(length: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#length))
    this.view.copy(larger)
    this.#bytes = larger
    this.#start = 0
  }
}
