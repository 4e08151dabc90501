import { Readable } from 'node:stream'
import { IncomingMessage } from 'node:http'
import { S3Error } from '../errors.ts'
import { NO_READ_AHEAD, pushed, ByteQueue } from '../http/stage.ts'

/**
 * The body of a request, detached from its socket. Destroying an IncomingMessage destroys the connection under it, so a
 * pipeline that fails in mid-upload would take the error answer with it; destroying this only stops the reading.
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

  /** True while we wait for the client's bytes: it has been asked for them and has not given all. */
  get waiting(): boolean {
    return this.#asked && !this.#request.complete && !this.#request.isPaused() && !this.destroyed
  }

  /** Bytes of the body that have come in. */
  get received(): number {
    return this.#received
  }

  /** The client went away, or its framing broke, before the body was whole. Never looks like an end. */
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

/** Chunks below this many bytes are copied together while they wait to be read; larger ones cost little more than their bytes. */
const smallBytes = 1024
const blockBytes = 4096

/**
 * A request as Node's parser fills it, whose chunks stay small in number while they wait. Node counts bytes: a body in chunks of one
 * byte, each a Buffer of several hundred, may wait 64 KiB and a read of the socket deep, which is 20 MiB.
 */
export class RequestMessage extends IncomingMessage {
  /** Made with the first small chunk that waits: most bodies have none. */
  #held: ByteQueue | null = null

  /** Bytes that have arrived and have not been read. */
  get waitingLength(): number {
    return this.readableLength + this.#heldLength
  }

  /** @returns false when the parser is to stop the socket. */
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

  /** Gives what waits to become a block to those who read. Without it the socket, if that has been stopped, would stay so. */
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
