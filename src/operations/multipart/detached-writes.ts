import { setTimeout as delay } from 'node:timers/promises'
import { S3Error } from '../../errors.ts'
import { InFlight } from '../../concurrency/in-flight.ts'

/** An attempt waits this many times as long as its client for the store's answer, once the store has the whole body. */
const TIMES_AS_LONG = 6

interface DetachedPartWritesOptions {
  /** Most attempts that continue without their clients: each holds a connection to the store. */
  readonly limit: number
  /** Seconds until a client gets the error that the store has not answered: `limits.upstreamFirstByteSeconds`. */
  readonly patienceSeconds: number
  /** Called with the outcome of an attempt that outlasted its client. */
  readonly over: (outcome: 'recorded' | 'failed') => void
}

/** One attempt at a part. */
export interface PartAttempt {
  /** Aborts with the client until the store has the whole body; after that only where a limit is reached. */
  readonly signal: AbortSignal
  /** Seconds of silence after which the attempt fails. */
  readonly answerSeconds: number
  /** To be called when the whole body has been sent: from then on the store may carry it out at any time. */
  readonly bodySent: () => void
  /** To be called when the store has answered. */
  readonly answered: () => void
}

/**
 * Attempts at parts that continue without their clients (docs/decisions/0012-parts-carried-out-late.md). A store that has the whole body of a part
 * may store it after the client has given up, and even after the client's next attempt. The store then keeps an attempt that no client
 * knows of. So the gateway still waits for the answer and writes the record.
 */
export class DetachedPartWrites {
  readonly #options: DetachedPartWritesOptions
  /** The oldest first. */
  readonly #late = new Set<AbortController>()
  readonly #drain = new InFlight()
  #closed = false

  constructor(options: DetachedPartWritesOptions) {
    this.#options = options
  }

  /**
   * Runs an attempt for a client. After its client has gone, its result and its error go to nobody.
   * @throws the error of the attempt; the reason of `client` when that aborts; S3Error SealgateUpstreamTimeout when the store is silent.
   */
  async run<T>(client: AbortSignal, work: (one: PartAttempt) => Promise<T>): Promise<T> {
    client.throwIfAborted()
    const { patienceSeconds } = this.#options
    const own = new AbortController()
    const left = Promise.withResolvers<never>()
    let sent = false
    let patience: NodeJS.Timeout | undefined
    const leave = (reason: unknown): void => {
      if (!sent || this.#closed) own.abort(reason)
      else {
        this.#keep(own, done)
        left.reject(reason)
      }
    }
    const onGone = (): void => {
      leave(client.reason)
    }
    client.addEventListener('abort', onGone, { once: true })
    const done = work({
      signal: own.signal,
      answerSeconds: patienceSeconds * TIMES_AS_LONG,
      bodySent: () => {
        sent = true
        patience = setTimeout(() => {
          leave(new S3Error('SealgateUpstreamTimeout'))
        }, patienceSeconds * 1000)
      },
      answered: () => {
        clearTimeout(patience)
      }
    })
    try {
      return await Promise.race([done, left.promise])
    } finally {
      clearTimeout(patience)
      client.removeEventListener('abort', onGone)
    }
  }

  /** Resolves when no attempt runs without its client, after `graceMs` milliseconds at the latest. */
  async settle(graceMs: number): Promise<void> {
    const patience = new AbortController()
    const late = delay(graceMs, undefined, { signal: patience.signal }).catch(() => undefined)
    await Promise.race([this.#drain.empty(), late])
    patience.abort()
  }

  /** Aborts those that are left, and accepts no more. Resolves when they have ended. */
  async close(): Promise<void> {
    this.#closed = true
    for (const own of this.#late) own.abort(new S3Error('ServiceUnavailable'))
    await this.#drain.empty()
  }

  #keep(own: AbortController, done: Promise<unknown>): void {
    const leave = this.#drain.enter()
    this.#late.add(own)
    const over = (outcome: 'recorded' | 'failed') => () => {
      this.#late.delete(own)
      this.#options.over(outcome)
      leave()
    }
    done.then(over('recorded'), over('failed'))
    if (this.#late.size > this.#options.limit) this.#giveUpOldest()
  }

  #giveUpOldest(): void {
    const [oldest] = this.#late
    if (oldest === undefined) return
    // Removed at once, so that it is neither counted nor aborted again while it ends.
    this.#late.delete(oldest)
    oldest.abort(new S3Error('SealgateUpstreamTimeout'))
  }
}
