import { setImmediate } from 'node:timers/promises'

/** What is copied between two turns of the event loop: some 2 ms. */
const SPLICES_AT_ONCE = 8192

/** Replacements in a document of bytes; none overlaps another. */
export class Splices {
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #texts: string[] = []

  /** @param text of which nothing is escaped any more. Added in almost the order of the document: each is moved in front of those that follow it. */
  add(start: number, end: number, text: string): void {
    let at = this.#starts.length
    while (at > 0 && (this.#starts[at - 1] ?? 0) > start) at -= 1
    if (at === this.#starts.length) {
      this.#starts.push(start)
      this.#ends.push(end)
      this.#texts.push(text)
    } else {
      this.#starts.splice(at, 0, start)
      this.#ends.splice(at, 0, end)
      this.#texts.splice(at, 0, text)
    }
  }

  /** @returns the bytes themselves where nothing is replaced */
  async applyTo(bytes: Buffer): Promise<Buffer> {
    if (this.#starts.length === 0) return bytes
    // A UTF-16 unit has at most three bytes in UTF-8.
    const out = Buffer.allocUnsafeSlow(this.#texts.reduce((sum, text) => sum + 3 * text.length, bytes.length))
    let from = 0
    let to = 0
    for (const [i, start] of this.#starts.entries()) {
      if (i % SPLICES_AT_ONCE === SPLICES_AT_ONCE - 1) await setImmediate()
      to += bytes.copy(out, to, from, start)
      to += out.write(this.#texts[i] ?? '', to)
      from = this.#ends[i] ?? 0
    }
    to += bytes.copy(out, to, from)
    return out.subarray(0, to)
  }
}
