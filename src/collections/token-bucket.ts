/** An average rate that allows bursts. Spending never waits: spending beyond the level is a debt, which time repays. */
export class TokenBucket {
  readonly #perSecond: number
  readonly #burst: number
  readonly #now: () => number
  #level: number
  #at: number

  /**
   * @param burst the amount available after idle time
   * @param now milliseconds; only differences count
   */
  constructor(perSecond: number, burst: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#now = now
    this.#level = burst
    this.#at = now()
  }

  spend(amount: number): void {
    this.#refill()
    this.#level -= amount
  }

  /** Seconds until `amount` can be spent without a debt; 0: now. */
  secondsUntil(amount: number): number {
    this.#refill()
    return Math.max(0, (Math.min(amount, this.#burst) - this.#level) / this.#perSecond)
  }

  /** Spends an amount if it is available. @returns false when it is not; then nothing is spent. */
  take(amount: number): boolean {
    if (this.secondsUntil(amount) > 0) return false
    this.spend(amount)
    return true
  }

  #refill(): void {
    const now = this.#now()
    this.#level = Math.min(this.#burst, this.#level + ((now - this.#at) / 1000) * this.#perSecond)
    this.#at = now
  }
}
