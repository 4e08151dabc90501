import { IncomingMessage } from 'node:http'
import { Gathered } from '../http/gathered.ts'

/** Chunks below this many bytes are copied together while nobody takes them; larger ones cost little more than their bytes. */
const smallBytes = 1024
const blockBytes = 4096

/**
 * A request as Node's parser fills it, whose chunks stay small in number while they wait. Node counts bytes: a body in chunks of one
 * byte, each a Buffer of several hundred, may wait 64 KiB and a read of the socket deep, which is 20 MiB.
 */
export class RequestMessage extends IncomingMessage {
  /** Made with the first small chunk that waits: most bodies have none. */
  #held: Gathered | null = null

  /** Bytes that have come in and that nobody has taken. */
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
    this.#held ??= new Gathered()
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
