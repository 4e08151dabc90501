import { Readable } from 'node:stream'
import { noteBodyBytes } from './gc-tuning.ts'

/**
 * A step that bytes pass through: a state machine that takes chunks and returns chunks. A throw (or a rejection of final) fails the whole transfer.
 * Bytes that were held back are returned only by `final`.
 */
export interface ByteStage {
  /** May return the chunk it was given. The stage owns the chunk from then on. */
  update(chunk: Buffer): readonly Buffer[]
  /** Called once after the last chunk. */
  final(): readonly Buffer[] | Promise<readonly Buffer[]>
}

interface StagedOptions {
  /**
   * Whether the end of this stream is the end of its source. True for bodies from the store (a client that disconnected must free the upstream
   * socket); false for bodies from a client (destroying a request destroys the socket that must carry the error answer).
   */
  readonly destroySource: boolean
}

/**
 * A source with stages behind it, as one Readable: a chunk passes the stream machinery once, without a promise, however many stages there are. Ends
 * only after every stage has returned from `final`.
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
    // The source may fail before a reader listens; a later reader still gets the error.
    this.on('error', () => undefined)
    // A source that failed before emits no further event: waiting for one would never end.
    if (source.destroyed && !source.readableEnded) this.destroy(source.errored ?? closedEarly())
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
    if (this.#state === 'idle' || this.#state === 'flowing') this.destroy(closedEarly())
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
 * High-water mark of the streams of a transfer: nothing is fetched for a reader that does not read. A stalled transfer then holds only the bytes that
 * were in flight when the reader stopped, and not one or two segments more in every stream.
 */
export const NO_READ_AHEAD = 0

/**
 * Pushes a chunk. @returns false when the source must be paused: the chunk waits here, or its reader has paused since. Node returns false only for
 * the next chunk, which would then wait as well. Empty chunks are dropped: they would not be read, and so no more would be requested.
 */
export function pushed(stream: Readable, chunk: Buffer): boolean {
  return chunk.length === 0 || (stream.push(chunk) && !stream.isPaused())
}

/**
 * Reads a stream into one Buffer. The stream is destroyed when that fails.
 * @throws the stream's error, or `tooLarge()` when more than `limit` bytes come.
 */
export async function readAll(source: Readable, limit: number, tooLarge: () => Error): Promise<Buffer> {
  try {
    return await collect(source, asItIs, limit, tooLarge)
  } catch (error) {
    source.destroy()
    throw error
  }
}

/**
 * As `readAll`, through a stage. When that fails the source is paused and not destroyed: it may be a request, whose connection must carry the answer.
 * @throws what the stage throws, too.
 */
export function readThrough(source: Readable, stage: ByteStage, limit: number, tooLarge: () => Error): Promise<Buffer> {
  return collect(source, stage, limit, tooLarge)
}

const asItIs: ByteStage = { update: (chunk) => [chunk], final: () => [] }

/** By events: an iteration over the stream takes a promise and several listeners for each chunk, and a stream between the two as much again. */
function collect(source: Readable, stage: ByteStage, limit: number, tooLarge: () => Error): Promise<Buffer> {
  const read = new ByteQueue(limit)
  const take = (pieces: readonly Buffer[]): void => {
    for (const piece of pieces) {
      if (read.length + piece.length > limit) throw tooLarge()
      read.add(piece)
    }
  }
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      source.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose)
    }
    const fail = (error: Error): void => {
      leave()
      source.pause()
      reject(error)
    }
    const onData = (chunk: Buffer): void => {
      noteBodyBytes(chunk.length)
      try {
        take(stage.update(chunk))
      } catch (error) {
        fail(error as Error)
      }
    }
    const finish = async (): Promise<Buffer> => {
      take(await stage.final())
      return read.take()
    }
    const onEnd = (): void => {
      leave()
      finish().then(resolve, reject)
    }
    const onError = (error: Error): void => {
      fail(error)
    }
    const onClose = (): void => {
      fail(source.errored ?? closedEarly())
    }
    // A later failure is nobody's, and must not end the process.
    source.on('error', ignored)
    if (source.readableEnded) onEnd()
    else if (source.destroyed) onClose()
    else source.on('end', onEnd).on('error', onError).on('close', onClose).on('data', onData).resume()
  })
}

function ignored(): void {
  // Whoever reads has the error.
}

function closedEarly(): Error {
  return new Error('The source of the transfer closed before its end.')
}

/**
 * Bytes that are added piece by piece and removed from the front. Pieces are copied into one buffer of up to twice their size. Kept separately,
 * pieces of one byte, which any client can send, would cost five hundred times their size; joined with each new piece, they would cost the square of
 * their number.
 */
export class ByteQueue {
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0
  #length = 0
  readonly #most: number

  /** @param most bytes that are ever added, where nothing is dropped: it then takes no more memory than that. */
  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most
  }

  get length(): number {
    return this.#length
  }

  /** The bytes in the queue. The result does not change when bytes are added or dropped afterwards. */
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

  /** Drops bytes at the front. @param bytes at most `length` */
  drop(bytes: number): void {
    this.#start += bytes
    this.#length -= bytes
  }

  /** All bytes; the queue is empty afterwards. */
  take(): Buffer {
    const bytes = this.view
    this.#bytes = Buffer.alloc(0)
    this.#start = 0
    this.#length = 0
    return bytes
  }

  #grow(length: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(length, Math.min(2 * this.#length, this.#most)))
    this.view.copy(larger)
    this.#bytes = larger
    this.#start = 0
  }
}
