/** Counts work in progress, and waits until there is none. */
export class InFlight {
  #inside = 0
  #waiting: (() => void)[] = []

  /** @returns to be called at the end of the work; further calls do nothing. */
  enter(): () => void {
    this.#inside += 1
    let left = false
    return () => {
      if (left) return
      left = true
      this.#inside -= 1
      if (this.#inside > 0) return
      for (const wake of this.#waiting.splice(0)) wake()
    }
  }

  /** Resolves as soon as no work is in progress. */
  async empty(): Promise<void> {
    if (this.#inside > 0) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
    }
  }
}

/**
 * Waits for work until the signal aborts. The work itself is not stopped; its failure after that is ignored.
 * @throws signal.reason as soon as the signal aborts.
 */
export function rejectOnAbort<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const leave = (): void => {
      reject(signal.reason as Error)
    }
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', leave)
    }).catch(leave)
  })
}
