/** Lets work on one thing begin only when the work on it that came before has ended, in this process. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** @param name of the thing. @throws what `work` throws; what became of the work before is nobody's business here. */
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
