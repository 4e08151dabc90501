import { rejectOnAbort } from './in-flight.ts'

interface Waiting {
  readonly amount: number
  readonly owner: string
  readonly enter: () => void
}

/**
 * An amount that work side by side shares, in the order in which it came. One owner gets at most half of it, so that what one holds for long leaves
 * room for others.
 */
export class Budget {
  readonly #total: number
  readonly #held = new Map<string, number>()
  #free: number
  #waiting: Waiting[] = []

  constructor(total: number) {
    this.#total = total
    this.#free = total
  }

  /** What is not held. */
  get free(): number {
    return this.#free
  }

  /** As `take`, without waiting. @returns null: it is not there now. */
  takeNow(amount: number, owner: string): (() => void) | null {
    if (this.#waiting.length > 0 || !this.#fits(amount, owner)) return null
    return this.#give(amount, owner)
  }

  /**
   * Waits for an amount.
   * @param amount at most half of the total. @returns to be called once it is not needed any more; further calls do nothing.
   * @throws signal.reason when the signal aborts first.
   */
  async take(amount: number, owner: string, signal: AbortSignal): Promise<() => void> {
    const now = this.takeNow(amount, owner)
    if (now !== null) return now
    const { promise, resolve } = Promise.withResolvers<() => void>()
    const own: Waiting = {
      amount,
      owner,
      enter: () => {
        resolve(this.#give(amount, owner))
      }
    }
    this.#waiting.push(own)
    this.#admit()
    try {
      return await rejectOnAbort(signal, promise)
    } catch (error) {
      if (this.#waiting.includes(own)) this.#waiting = this.#waiting.filter((one) => one !== own)
      // Given in the meantime: nobody will return it.
      else {void promise.then((give) => {
          give()
        })}
      this.#admit()
      throw error
    }
  }

  #fits(amount: number, owner: string): boolean {
    return amount <= this.#free && (this.#held.get(owner) ?? 0) + amount <= this.#total / 2
  }

  #give(amount: number, owner: string): () => void {
    this.#free -= amount
    this.#held.set(owner, (this.#held.get(owner) ?? 0) + amount)
    let given = true
    return () => {
      if (!given) return
      given = false
      this.#free += amount
      const left = (this.#held.get(owner) ?? 0) - amount
      if (left > 0) this.#held.set(owner, left)
      else this.#held.delete(owner)
      this.#admit()
    }
  }

  /** In order; who waits for their own half lets others pass. */
  #admit(): void {
    for (const one of [...this.#waiting]) {
      if (one.amount > this.#free) return
      if (!this.#fits(one.amount, one.owner)) continue
      this.#waiting = this.#waiting.filter((other) => other !== one)
      one.enter()
    }
  }
}
