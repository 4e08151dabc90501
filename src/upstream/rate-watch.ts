/**
 * Says when the other side has been slower than the minimum for a whole window. Time in which it was not the other side
 * that was waited for does not count, so that a slow client is never blamed on the store.
 */
export class RateWatch {
  readonly #bytesPerSecond: number
  readonly #windowSeconds: number
  #seconds = 0
  #bytes = 0

  /** @param bytesPerSecond 0 switches the watch off */
  constructor(bytesPerSecond: number, windowSeconds: number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#windowSeconds = windowSeconds
  }

  /**
   * @param seconds since the last call
   * @param bytes moved since the last call
   * @param waiting the other side is the one waited for
   * @returns true when it is too slow
   */
  tooSlow(seconds: number, bytes: number, waiting: boolean): boolean {
    if (!waiting) {
      this.#seconds = 0
      this.#bytes = 0
      return false
    }
    this.#seconds += seconds
    this.#bytes += bytes
    if (this.#seconds < this.#windowSeconds) return false
    const slow = this.#bytes < this.#bytesPerSecond * this.#seconds
    this.#seconds = 0
    this.#bytes = 0
    return slow
  }
}
