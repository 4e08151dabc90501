/** One after the other for the same name; names do not wait for each other. */
export class Locks {
  readonly #tails = new Map<string, Promise<unknown>>()

  async hold<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name)
    const run = before === undefined ? work() : before.then(work, work)
    this.#tails.set(name, run)
    try {
      return await run
    } finally {
      if (this.#tails.get(name) === run) this.#tails.delete(name)
    }
  }
}
