import { setTimeout as delay } from 'node:timers/promises'
import type { Diagnosis } from '../../diagnosis.ts'
import { S3Error } from '../../errors.ts'
import { CircuitBreaker } from './breaker.ts'
import { serviceError, type ServiceCall, type ServiceErrors, type ServiceOutcome } from './errors.ts'

/** Counters for an observer. */
export interface ServiceMetrics {
  /** One call to the service. `seconds` is its duration. */
  call(operation: ServiceCall, outcome: ServiceOutcome, seconds: number): void
}

export interface ServiceLimits {
  /** Milliseconds for one call to the service. */
  readonly callMs: number
  /** Milliseconds for one key request: calls, retries and waits together. */
  readonly requestMs: number
  readonly attempts: number
  /** Most milliseconds of the first wait; it doubles with each retry. The wait is random below it (full jitter). */
  readonly retryMs: number
  readonly breakerFailures: number
  readonly breakerOpenMs: number
}

/** Milliseconds for one key request (docs/THREAT-MODEL.md, P10). */
export const REQUEST_MS = 5000

const SERVICE_LIMITS: ServiceLimits = {
  callMs: 2000,
  requestMs: REQUEST_MS,
  attempts: 3,
  retryMs: 100,
  breakerFailures: 5,
  breakerOpenMs: 1000
}

export interface ServiceOptions {
  readonly limits?: Partial<ServiceLimits> | undefined
  readonly metrics?: ServiceMetrics | undefined
}

/** Retries earned per call: 0.1 keeps the extra load of a throttled service at a tenth of the real one. */
const RETRIES_PER_CALL = 0.1
const MAX_SAVED_RETRIES = 10

/**
 * The calls to one endpoint of a key service, with deadlines, retries and a circuit breaker. A provider sends each call once and says what its
 * errors mean (`ServiceErrors`): retries of a client library ignore the gateway's deadline, and two layers of retries multiply.
 */
export class ServiceConnection {
  /** Milliseconds for one call, for the limits of a client library. */
  readonly callMs: number
  readonly #errors: ServiceErrors
  readonly #metrics: ServiceMetrics | undefined
  readonly #limits: ServiceLimits
  readonly #breaker: CircuitBreaker
  #savedRetries = MAX_SAVED_RETRIES
  /** Diagnosis of the last failed call, for calls that the breaker holds back. */
  #lastFound: Diagnosis | null = null

  constructor(errors: ServiceErrors, { limits, metrics }: ServiceOptions) {
    this.#errors = errors
    this.#metrics = metrics
    this.#limits = { ...SERVICE_LIMITS, ...limits }
    this.callMs = this.#limits.callMs
    this.#breaker = new CircuitBreaker({
      failures: this.#limits.breakerFailures,
      openMs: this.#limits.breakerOpenMs,
      now: () => performance.now()
    })
  }

  /** True from the last of too many failures until a call is answered: calls are refused, except for one probe at a time. */
  get holdsBack(): boolean {
    return this.#breaker.state !== 'closed'
  }

  /**
   * One key request: the call and its retries, within `requestMs`.
   * @param send sends the call once, and checks the answer (WrongServiceAnswer). It must end when the signal aborts, at the latest after `callMs`;
   * `rejectOnAbort` sees to that where the work itself does not heed it.
   * @throws S3Error as S3 words each failure of a KMS; signal.reason when the caller aborts.
   */
  async call<T>(operation: ServiceCall, keyId: string, signal: AbortSignal, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = AbortSignal.timeout(this.#limits.requestMs)
    this.#savedRetries = Math.min(MAX_SAVED_RETRIES, this.#savedRetries + RETRIES_PER_CALL)
    for (let attempt = 1;; attempt++) {
      signal.throwIfAborted()
      const settle = this.#breaker.enter()
      if (settle === null) {
        throw new S3Error('ServiceUnavailable', {
          message: 'The key service is not answering. Please try again.',
          endedBy: 'keys',
          diagnosis: this.#lastFound
        })
      }
      const startedAt = performance.now()
      let refusal: S3Error
      try {
        const within = AbortSignal.any([signal, deadline, AbortSignal.timeout(this.#limits.callMs)])
        const result = await send(within)
        settle('answered')
        this.#count(operation, 'ok', startedAt)
        return result
      } catch (error) {
        if (signal.aborted) {
          settle('unknown')
          throw signal.reason
        }
        const failure = this.#errors.classify(error)
        settle(failure === 'unavailable' || failure === 'no-credentials' ? 'failed' : 'answered')
        this.#count(operation, failure, startedAt)
        refusal = serviceError(failure, keyId, this.#errors.report(operation, error))
        this.#lastFound = refusal.diagnosis
        if (!this.#mayRetry(failure, attempt)) throw refusal
      }
      await this.#pause(attempt, AbortSignal.any([signal, deadline]))
      if (deadline.aborted) throw refusal
    }
  }

  #count(operation: ServiceCall, outcome: ServiceOutcome, startedAt: number): void {
    this.#metrics?.call(operation, outcome, (performance.now() - startedAt) / 1000)
  }

  #mayRetry(failure: ServiceOutcome, attempt: number): boolean {
    if (failure !== 'throttled' && failure !== 'unavailable' && failure !== 'no-credentials') return false
    if (attempt >= this.#limits.attempts || this.#savedRetries < 1) return false
    this.#savedRetries -= 1
    return true
  }

  async #pause(attempt: number, signal: AbortSignal): Promise<void> {
    const ceiling = this.#limits.retryMs * 2 ** (attempt - 1)
    // An abort ends the wait early; the caller checks for it.
    await delay(Math.random() * ceiling, undefined, { signal }).catch(() => undefined)
  }
}
