import { setTimeout as delay } from 'node:timers/promises'
import type { KMSClient, KMSClientConfig } from '@aws-sdk/client-kms'
import type * as Sdk from '@aws-sdk/client-kms'
import type { Diagnosis } from '../../diagnosis.ts'
import { S3Error } from '../../errors.ts'
import { rejectOnAbort } from '../../concurrency/in-flight.ts'
import { classifyKmsError, kmsS3Error, NoKmsCredentials, type KmsOutcome } from './kms-errors.ts'

type KmsOperation = 'GenerateDataKey' | 'Decrypt' | 'Encrypt' | 'ReEncrypt'

/** Counters for an observer. */
export interface KmsMetrics {
  /** One call to the service. `seconds` is its duration. */
  call(operation: KmsOperation, outcome: KmsOutcome, seconds: number): void
}

export interface KmsLimits {
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

const KMS_LIMITS: KmsLimits = {
  callMs: 2000,
  requestMs: 5000,
  attempts: 3,
  retryMs: 100,
  breakerFailures: 5,
  breakerOpenMs: 1000
}

interface KmsConnectionOptions {
  readonly region: string
  /** null: the public endpoint of the region. */
  readonly endpoint: string | null
  /** Absent: the standard AWS credential chain. */
  readonly credentials?: KMSClientConfig['credentials']
  readonly limits?: Partial<KmsLimits>
  readonly metrics?: KmsMetrics
}

/** Sends one command. `options` must be passed to `client.send`. */
type KmsSend<T> = (client: KMSClient, sdk: typeof Sdk, options: { abortSignal: AbortSignal }) => Promise<T>

/** Retries earned per call: 0.1 keeps the extra load of a throttled service at a tenth of the real one. */
const RETRIES_PER_CALL = 0.1
const MAX_SAVED_RETRIES = 10

/**
 * The calls to one KMS region, with deadlines, retries and a circuit breaker. The SDK's own retries are off: its waits ignore the gateway's deadline,
 * and two layers of retries multiply.
 */
export class KmsConnection {
  readonly #options: KmsConnectionOptions
  readonly #limits: KmsLimits
  readonly #breaker: CircuitBreaker
  #client: Promise<[KMSClient, typeof Sdk]> | null = null
  #savedRetries = MAX_SAVED_RETRIES
  /** Diagnosis of the last failed call, for calls that the breaker holds back. */
  #lastFound: Diagnosis | null = null

  constructor(options: KmsConnectionOptions) {
    this.#options = options
    this.#limits = { ...KMS_LIMITS, ...options.limits }
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
   * @param send also checks the answer, and throws WrongKmsAnswer.
   * @throws S3Error as S3 words each failure of a KMS; signal.reason when the caller aborts.
   */
  async call<T>(operation: KmsOperation, keyId: string, signal: AbortSignal, send: KmsSend<T>): Promise<T> {
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
        const result = await this.#attempt(AbortSignal.any([signal, deadline]), send)
        settle('answered')
        this.#count(operation, 'ok', startedAt)
        return result
      } catch (error) {
        if (signal.aborted) {
          settle('unknown')
          throw signal.reason
        }
        const failure = classifyKmsError(error)
        settle(failure === 'unavailable' || failure === 'no-credentials' ? 'failed' : 'answered')
        this.#count(operation, failure, startedAt)
        refusal = kmsS3Error(failure, keyId, operation, error)
        this.#lastFound = refusal.diagnosis
        if (!this.#mayRetry(failure, attempt)) throw refusal
      }
      await this.#pause(attempt, AbortSignal.any([signal, deadline]))
      if (deadline.aborted) throw refusal
    }
  }

  /** Closes idle connections. */
  async close(): Promise<void> {
    if (this.#client === null) return
    const [client] = await this.#client
    client.destroy()
  }

  async #attempt<T>(signal: AbortSignal, send: KmsSend<T>): Promise<T> {
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(this.#limits.callMs)])
    const waits = { forCredentials: false }
    try {
      // Loading the SDK and the credential chain do not react to the signal.
      return await rejectOnAbort(
        abortSignal,
        this.#connect().then(async ([client, sdk]) => {
          // Called separately, so that missing credentials, or an unreachable instance metadata service, are not reported as a key service that does
          // not answer.
          waits.forCredentials = true
          await client.config.credentials()
          waits.forCredentials = false
          return send(client, sdk, { abortSignal })
        })
      )
    } catch (error) {
      throw waits.forCredentials ? new NoKmsCredentials(error) : error
    }
  }

  #count(operation: KmsOperation, outcome: KmsOutcome, startedAt: number): void {
    this.#options.metrics?.call(operation, outcome, (performance.now() - startedAt) / 1000)
  }

  #mayRetry(failure: KmsOutcome, attempt: number): boolean {
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

  /** Imports the SDK with the first key request: a gateway on a local keyring never loads it. */
  #connect(): Promise<[KMSClient, typeof Sdk]> {
    this.#client ??= import('@aws-sdk/client-kms').then((sdk) => [
      new sdk.KMSClient({
        region: this.#options.region,
        maxAttempts: 1,
        requestHandler: { connectionTimeout: this.#limits.callMs, requestTimeout: this.#limits.callMs },
        ...this.#options.endpoint === null ? {} : { endpoint: this.#options.endpoint },
        ...this.#options.credentials === undefined ? {} : { credentials: this.#options.credentials }
      }),
      sdk
    ])
    return this.#client
  }
}

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
class CircuitBreaker {
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
