/** Hands on results in the order in which their work began, whatever the order in which it ends. */
export class InOrder<T> {
  readonly #take: (result: T) => void | Promise<void>
  readonly #most: number
  readonly #done = new Map<number, T | null>()
  #begun = 0
  #next = 0
  #stopped = false
  #taking: Promise<void> = Promise.resolve()
  #waiting: (() => void)[] = []

  /** @param most results that may wait for one that began earlier: then work waits as well. */
  constructor(most: number, take: (result: T) => void | Promise<void>) {
    this.#most = most
    this.#take = take
  }

  /** @returns the place of work that begins now; every place is to be ended. */
  begin(): number {
    return this.#begun++
  }

  /** @param result null: there is none. Resolves when it has been taken, or may wait. @throws what `take` throws. */
  async end(place: number, result: T | null): Promise<void> {
    this.#done.set(place, result)
    const isNext = place === this.#next
    this.#advance()
    if (isNext) await this.#taking
    while (this.#done.size > this.#most && place > this.#next && !this.#stopped) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
    }
  }

  /** Something before may never end: nothing waits for it any more. */
  stop(): void {
    this.#stopped = true
    this.#wake()
  }

  /** Hands on what still waits, without that which never ends. @throws what `take` throws. */
  async flush(): Promise<void> {
    for (const [, result] of [...this.#done].toSorted(([a], [b]) => a - b)) this.#hand(result)
    this.#done.clear()
    await this.#taking
  }

  #advance(): void {
    for (let result = this.#done.get(this.#next); result !== undefined; result = this.#done.get(this.#next)) {
      this.#done.delete(this.#next)
      this.#next += 1
      this.#hand(result)
    }
    this.#wake()
  }

  #wake(): void {
    for (const go of this.#waiting.splice(0)) go()
  }

  #hand(result: T | null): void {
    if (result === null) return
    this.#taking = this.#taking.then(() => this.#take(result))
    // Told to who waits for it.
    this.#taking.catch(() => undefined)
  }
}
