type BreakerState = 'closed' | 'open' | 'half-open'

interface BreakerOptions {
  /** Consecutive failures that open it. */
  readonly failures: number
  /** Milliseconds it stays open before one probe is allowed. */
  readonly openMs: number
  /** Milliseconds; only differences count. */
  readonly now: () => number
}

/** Outcome of a call that was allowed. `unknown`: the caller aborted before there was an answer. */
type CallOutcome = 'answered' | 'failed' | 'unknown'

/**
 * Closed: every call passes. After `failures` consecutive failures it is open: no call passes for `openMs`. Then it is half-open: one call at a time
 * passes; an answer closes it, a failure opens it again. Every response of the service is an answer, even a refusal.
 */
export class CircuitBreaker {
  readonly #options: BreakerOptions
  #state: BreakerState = 'closed'
  #failuresInARow = 0
  #openedAt = 0
  #probing = false

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  get state(): BreakerState {
    return this.#state
  }

  /** @returns what to call with the outcome, or null when the call must not be made. */
  enter(): ((outcome: CallOutcome) => void) | null {
    if (this.#state === 'closed') {
      return (outcome) => {
        this.#settle(outcome)
      }
    }
    if (this.#state === 'open' && this.#options.now() - this.#openedAt >= this.#options.openMs) this.#state = 'half-open'
    if (this.#state === 'open' || this.#probing) return null
    this.#probing = true
    return (outcome) => {
      this.#probing = false
      this.#settle(outcome)
    }
  }

  #settle(outcome: CallOutcome): void {
    if (outcome === 'unknown') return
    if (outcome === 'answered') {
      this.#failuresInARow = 0
      this.#state = 'closed'
      return
    }
    this.#failuresInARow += 1
    if (this.#state === 'half-open' || this.#failuresInARow >= this.#options.failures) {
      this.#openedAt = this.#options.now()
      this.#state = 'open'
    }
  }
}
