import { setTimeout as delay } from 'node:timers/promises'
import { S3Error } from '../../errors.ts'
import { InFlight } from '../../concurrency/in-flight.ts'

/** How many times as long as its client a try waits for the store's answer, once the store has the whole body. */
const TIMES_AS_LONG = 6

interface DetachedPartWritesOptions {
  /** Tries that are waited for though their clients are not, at most: each holds a connection to the store. */
  readonly limit: number
  /** Seconds until a client is told that the store has not answered: `limits.upstreamFirstByteSeconds`. */
  readonly patienceSeconds: number
  /** Told what became of a try that outlasted its client. */
  readonly over: (outcome: 'recorded' | 'failed') => void
}

/** One try at a part. */
export interface PartTry {
  /** Aborts with the client until the store has the whole body; from then on only where a bound is reached. */
  readonly signal: AbortSignal
  /** Seconds of silence after which the store's answer is given up. */
  readonly answerSeconds: number
  /** To be called when the whole body has been handed over: from here on the store may carry it out at any time. */
  readonly bodySent: () => void
  /** To be called when the store has answered. */
  readonly answered: () => void
}

/**
 * Tries at parts that go on without their clients (docs/decisions/0012-parts-carried-out-late.md). A store that has the whole
 * body of a part may carry it out after its client has given up, and after that client's next try: what it keeps then is the try
 * of which nobody was told. So the answer is waited for all the same, and its record written.
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
   * Runs a try for a client. What it does after its client has gone is nobody's answer, and its failure nobody's error.
   * @throws the error of the try; the reason of `client` when that aborts; S3Error SealgateUpstreamTimeout when the store is silent.
   */
  async run<T>(client: AbortSignal, work: (one: PartTry) => Promise<T>): Promise<T> {
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

  /** Resolves when no try goes on without its client, after `graceMs` milliseconds at the latest. */
  async settle(graceMs: number): Promise<void> {
    const patience = new AbortController()
    const late = delay(graceMs, undefined, { signal: patience.signal }).catch(() => undefined)
    await Promise.race([this.#drain.empty(), late])
    patience.abort()
  }

  /** Gives up those that are left, and keeps no more. Resolves when they have ended. */
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
    // At once: it must not be counted, nor be given up again, while it ends.
    this.#late.delete(oldest)
    oldest.abort(new S3Error('SealgateUpstreamTimeout'))
  }
}
