import { Readable } from 'node:stream'
import { IncomingMessage } from 'node:http'
import { S3Error } from '../errors.ts'
import { NO_READ_AHEAD, pushed, ByteQueue } from '../http/stage.ts'

/**
 * The body of a request, detached from its socket. Destroying an IncomingMessage destroys its connection, so a pipeline that fails during an upload
 * would lose the error answer as well. Destroying this only stops the reading.
 */
export class RequestBody extends Readable {
  readonly #request: RequestMessage
  #asked = false
  #received = 0

  constructor(request: RequestMessage) {
    super({ highWaterMark: NO_READ_AHEAD, emitClose: true })
    this.#request = request
    // The handler may have ended before the client disconnects: only a reader gets the failure of the body.
    this.on('error', () => undefined)
    request.once('error', () => {
      this.cutShort()
    })
    request.once('close', () => {
      if (!request.complete) this.cutShort()
    })
  }

  /** True while the gateway waits for the client's bytes: some were requested and not all have arrived. */
  get waiting(): boolean {
    return this.#asked && !this.#request.complete && !this.#request.isPaused() && !this.destroyed
  }

  /** Bytes of the body that have come in. */
  get received(): number {
    return this.#received
  }

  /** The client disconnected, or its framing broke, before the body was whole. It never looks like an end. */
  cutShort(): void {
    if (!this.readableEnded) this.destroy(new S3Error('IncompleteBody'))
  }

  override _read(): void {
    if (this.#asked) {
      this.#request.resume()
      return
    }
    this.#asked = true
    this.#request.on('data', this.#onData)
    this.#request.once('end', this.#onEnd)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#request.off('data', this.#onData)
    this.#request.off('end', this.#onEnd)
    this.#request.pause()
    done(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#received += chunk.length
    if (!pushed(this, chunk)) this.#request.pause()
  }

  readonly #onEnd = (): void => {
    // Node also ends a message that was cut; only a complete one may end here.
    if (this.#request.complete) this.push(null)
    else this.cutShort()
  }
}

/** The body of a request that has none. */
export function noBody(): Readable {
  return new Readable({
    read() {
      this.push(null)
    }
  })
}

/** Chunks of fewer bytes are copied together while they wait to be read; larger ones cost little more than their bytes. */
const smallBytes = 1024
const blockBytes = 4096

/**
 * A request as Node's parser fills it, with few chunks waiting. Node counts bytes: of a body in chunks of one byte, each a Buffer of several hundred
 * bytes, 64 KiB and one read of the socket may wait, which takes 20 MiB.
 */
export class RequestMessage extends IncomingMessage {
  /** Made with the first small chunk that waits: most bodies have none. */
  #held: ByteQueue | null = null

  /** Bytes that have arrived and have not been read. */
  get waitingLength(): number {
    return this.readableLength + this.#heldLength
  }

  /** @returns false when the parser should stop the socket. */
  override push(chunk: Buffer | null): boolean {
    const flows = this.readableFlowing === true && this.#heldLength === 0
    if (chunk === null || chunk.length >= smallBytes || flows) {
      this.#flush()
      return super.push(chunk)
    }
    this.#held ??= new ByteQueue()
    this.#held.add(chunk)
    if (this.#held.length >= blockBytes) this.#flush()
    return this.waitingLength < this.readableHighWaterMark
  }

  /** Gives the block of waiting bytes to the reader. Without it a stopped socket would stay stopped. */
  override resume(): this {
    this.#flush()
    return super.resume()
  }

  #flush(): void {
    if (this.#held !== null && this.#held.length > 0) super.push(this.#held.take())
  }

  get #heldLength(): number {
    return this.#held?.length ?? 0
  }
}
