import type { Readable } from 'node:stream'
import { S3Error } from '../errors.ts'
import { ByteQueue } from '../http/stage.ts'

/** Reads the bytes of a multipart/form-data body piece by piece (RFC 2046 5.1, RFC 7578). */
export class FormSource {
  /** CRLF, two hyphens, boundary: the end of a part. */
  readonly delimiter: Buffer
  readonly #chunks: AsyncIterator<Buffer, undefined>
  readonly #held = new ByteQueue()
  #taken = 0

  constructor(body: Readable, boundary: string) {
    this.delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
    // The body belongs to the connection, which must still carry the answer after an error here.
    this.#chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer, undefined>
  }

  /** Bytes of the body returned so far. */
  get taken(): number {
    return this.#taken
  }

  /** Reads the first boundary, before which the CRLF may be missing. */
  async start(): Promise<void> {
    while (this.#held.length < 2) await this.#more()
    if (!this.#held.view.subarray(0, 2).equals(this.delimiter.subarray(0, 2))) {
      const first = this.#held.take()
      this.#held.add(this.delimiter.subarray(0, 2))
      this.#held.add(first)
      this.#taken -= 2
    }
    while (this.#held.length < this.delimiter.length) await this.#more()
    if (!this.#held.view.subarray(0, this.delimiter.length).equals(this.delimiter)) throw new S3Error('MalformedPOSTRequest')
    this.#take(this.delimiter.length)
    if (await this.afterDelimiter() === 'end') throw new S3Error('MalformedPOSTRequest')
  }

  /**
   * Reads the bytes before `mark`, and the mark.
   * @param limit most bytes to search
   * @throws S3Error MaxMessageLengthExceeded, MalformedPOSTRequest when the body ends first
   */
  async until(mark: Buffer | string, limit: number): Promise<Buffer> {
    let from = 0
    for (;;) {
      const held = this.#held.view
      const at = held.indexOf(mark, from)
      if (at >= 0 && at <= limit) {
        const found = held.subarray(0, at)
        this.#take(at + mark.length)
        return found
      }
      if (held.length > limit + mark.length) throw new S3Error('MaxMessageLengthExceeded')
      from = Math.max(0, held.length - mark.length + 1)
      await this.#more()
    }
  }

  /** Reads what follows a delimiter: CRLF and another part, or two hyphens and the end. @throws S3Error MalformedPOSTRequest */
  async afterDelimiter(): Promise<'part' | 'end'> {
    while (this.#held.length < 2) await this.#more()
    const next = this.#held.view.toString('latin1', 0, 2)
    this.#take(2)
    if (next === '\r\n') return 'part'
    if (next === '--') return 'end'
    throw new S3Error('MalformedPOSTRequest')
  }

  /**
   * The bytes of the part that begins here. Ends only after the whole form has ended properly; parts that follow are skipped.
   * @throws S3Error MalformedPOSTRequest
   */
  async *file(): AsyncGenerator<Buffer, void> {
    yield* this.#part()
    while (await this.afterDelimiter() === 'part') {
      const passedOver = this.#part()
      while ((await passedOver.next()).done !== true) continue
    }
    // Bytes after the end are an epilogue, to be ignored (RFC 2046 5.1.1). They are read, so that the connection stays usable.
    while ((await this.#chunks.next()).done !== true) continue
  }

  async *#part(): AsyncGenerator<Buffer, void> {
    for (;;) {
      const held = this.#held.view
      const at = held.indexOf(this.delimiter)
      const safe = at >= 0 ? at : this.#safeLength(held)
      const bytes = held.subarray(0, safe)
      this.#take(at >= 0 ? at + this.delimiter.length : safe)
      if (bytes.length > 0) yield bytes
      if (at >= 0) return
      await this.#more()
    }
  }

  /** How many of the held bytes cannot be the beginning of a delimiter. */
  #safeLength(held: Buffer): number {
    const tail = Math.max(0, held.length - this.delimiter.length + 1)
    const start = held.indexOf(0x0d, tail)
    return start < 0 ? held.length : start
  }

  #take(bytes: number): void {
    this.#held.drop(bytes)
    this.#taken += bytes
  }

  async #more(): Promise<void> {
    const next = await this.#chunks.next()
    if (next.done === true) throw new S3Error('MalformedPOSTRequest')
    this.#held.add(next.value)
  }
}
