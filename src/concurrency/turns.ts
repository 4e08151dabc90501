/** Runs work on one thing after the earlier work on it has ended, in this process. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** @param name of the thing. @throws what `work` throws; a failure of the earlier work is ignored. */
  async take<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const own = before.then(work, work)
    this.#last.set(name, own)
    try {
      return await own
    } finally {
      if (this.#last.get(name) === own) this.#last.delete(name)
    }
  }
}
