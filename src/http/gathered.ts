/**
 * Bytes gathered piece by piece and taken from the front. Pieces are copied together as they come, into room for twice as
 * many: kept as they are, those of one byte each, as any client can frame them, would cost five hundred times their size, and
 * joined anew with each that comes they would cost the square of their number.
 */
export class Gathered {
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
