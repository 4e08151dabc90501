import { IncomingMessage } from 'node:http'
import { Gathered } from '../http/gathered.ts'

/** Chunks below this many bytes are copied together while nobody takes them; larger ones cost little more than their bytes. */
const smallBytes = 1024
const blockBytes = 4096

/**
 * Keeps the chunks of a body small in number while they wait. Node counts bytes: a body in chunks of one byte, each a Buffer
 * of several hundred, may wait 32 KiB and a read of the socket deep, which is 20 MiB. Stands between Node's parser and the message.
 */
export class SmallChunks {
  readonly #message: IncomingMessage
  /** Made with the first small chunk that waits: most bodies have none. */
  #held: Gathered | null = null

  constructor(message: IncomingMessage) {
    this.#message = message
    message.push = this.#arrive
  }

  /** Bytes that wait here and not in the message. */
  get length(): number {
    return this.#held?.length ?? 0
  }

  /** Gives what waits here to the message: to be called whenever it is taken from. */
  flush(): void {
    if (this.#held !== null && this.#held.length > 0) this.#push(this.#held.take())
  }

  /** @returns false when the parser is to stop the socket. */
  readonly #arrive = (chunk: Buffer | null): boolean => {
    const flows = this.#message.readableFlowing === true && this.length === 0
    if (chunk === null || chunk.length >= smallBytes || flows) {
      this.flush()
      return this.#push(chunk)
    }
    this.#held ??= new Gathered()
    this.#held.add(chunk)
    if (this.length >= blockBytes) this.flush()
    return this.#message.readableLength + this.length < this.#message.readableHighWaterMark
  }

  #push(chunk: Buffer | null): boolean {
    return IncomingMessage.prototype.push.call(this.#message, chunk)
  }
}
