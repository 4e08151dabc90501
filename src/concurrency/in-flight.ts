/** Counts who is inside, and lets one wait until nobody is. */
export class InFlight {
  #inside = 0
  #waiting: (() => void)[] = []

  /** @returns what the one who entered calls when leaving; more calls of it count once. */
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

  /** Resolves as soon as nobody is inside. */
  async empty(): Promise<void> {
    if (this.#inside > 0) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
    }
  }
}

/**
 * Waits for work, but no longer than the signal: the work itself goes on, its late failure is swallowed.
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
