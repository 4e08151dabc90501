import { S3Error } from '../errors.ts'

interface Waiter {
  readonly grant: () => void
}

/**
 * At most `limit` exchanges at once; a bounded line behind them. The line is kept here and not in undici's pool because
 * that one has no bound and does not let a request leave before it reached a connection.
 */
export class Slots {
  readonly #limit: number
  readonly #lineLimit: number
  readonly #waitMs: number
  readonly #line = new Set<Waiter>()
  #taken = 0

  constructor(limit: number, lineLimit: number, waitMs: number) {
    this.#limit = limit
    this.#lineLimit = lineLimit
    this.#waitMs = waitMs
  }

  get taken(): number {
    return this.#taken
  }

  get waiting(): number {
    return this.#line.size
  }

  /**
   * @returns a function that gives the slot back; calling it again does nothing
   * @throws S3Error SlowDown when the line is full or the wait too long; the signal's reason when it aborts
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#taken < this.#limit) {
      this.#taken += 1
    } else {
      if (this.#line.size >= this.#lineLimit) throw new S3Error('SlowDown')
      await this.#wait(signal)
    }
    return this.#release()
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    const waiter: Waiter = { grant: () => { resolve(undefined) } }
    const leave = (reason: unknown) => {
      // A waiter no longer in line already holds a slot, which must not be lost.
      if (this.#line.delete(waiter)) reject(reason)
    }
    const onAbort = () => { leave(signal.reason) }
    const timer = setTimeout(() => { leave(new S3Error('SlowDown')) }, this.#waitMs)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#line.add(waiter)
    try {
      await promise
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  #release(): () => void {
    let held = true
    return () => {
      if (!held) return
      held = false
      const [next] = this.#line
      if (next === undefined) {
        this.#taken -= 1
        return
      }
      this.#line.delete(next)
      next.grant()
    }
  }
}
