import { S3Error } from '../errors.ts'
import type { HttpResponse } from '../http/message.ts'
import type { AccessRecord } from '../observe/access-log.ts'
import type { Exchange } from './exchange.ts'
import { ClientGone } from './connection.ts'
import type { Log } from '../observe/log.ts'
import { RateWatch } from './rate-watch.ts'
import { respond, respondError, type RespondOptions } from './respond.ts'

interface AnswersOptions extends Omit<RespondOptions, 'report'> {
  /** Bytes per second. */
  readonly minRate: number
  readonly minRateWindowMs: number
  readonly log: Log
  /** Called for every finished request, for the metrics. */
  readonly observe: (record: AccessRecord) => void
}

/** Runs every exchange from the result of its handler to its line in the access log: the answer or the error, within the minimum rates. */
export class ResponseLifecycle {
  readonly #log: Log
  readonly #observe: (record: AccessRecord) => void
  readonly #rates: RateWatch
  readonly #respond: RespondOptions

  constructor({ minRate, minRateWindowMs, log, observe, ...respond }: AnswersOptions) {
    this.#log = log
    this.#observe = observe
    this.#rates = new RateWatch(minRate, minRateWindowMs)
    this.#respond = {
      ...respond,
      report: (exchange, error) => {
        this.#report(exchange, error)
      }
    }
  }

  /** Resolves when the exchange has ended and its line is written. */
  async perform(exchange: Exchange, handled: Promise<HttpResponse>): Promise<void> {
    const unwatch = this.#rates.watch(exchange)
    await this.#answer(exchange, handled)
    await exchange.closed
    unwatch()
    exchange.connection.end()
    this.log(exchange.record())
  }

  log(record: AccessRecord): void {
    this.#log.access(record)
    this.#observe(record)
  }

  stop(): void {
    this.#rates.stop()
  }

  async #answer(exchange: Exchange, handled: Promise<HttpResponse>): Promise<void> {
    let taken = false
    try {
      const response = await Promise.race([handled, exchange.ended])
      taken = true
      await respond(exchange, response, this.#respond)
    } catch (error) {
      if (!taken) void discard(handled)
      await this.#answerError(exchange, error)
    }
  }

  async #answerError(exchange: Exchange, error: unknown): Promise<void> {
    this.#report(exchange, error)
    if (exchange.over) return
    if (exchange.res.headersSent) {
      exchange.breakOff('gateway')
      return
    }
    const known = error instanceof S3Error ? error : new S3Error('InternalError')
    await respondError(exchange, known, this.#respond).catch((second: unknown) => {
      this.#report(exchange, second)
      exchange.breakOff('gateway')
    })
  }

  #report(exchange: Exchange, error: unknown): void {
    if (error instanceof ClientGone || (error instanceof S3Error && isRefusal(error))) return
    if (error instanceof S3Error && exchange.res.headersSent) exchange.broken(error)
    this.#log.failure({ requestId: exchange.id, during: exchange.res.headersSent ? 'response' : 'handling', error })
  }
}

/** A refusal by rule, 501 included, is not a failure. A refusal by a key service or a file system is one, with any status. */
function isRefusal({ status, diagnosis }: S3Error): boolean {
  return (status < 500 || status === 501) && (diagnosis === null || diagnosis.service === 'store')
}

/** For a handler that answers after the exchange has ended: closes what it opened. */
async function discard(handled: Promise<HttpResponse>): Promise<void> {
  try {
    const { body, pending } = await handled
    if (body !== null && !Buffer.isBuffer(body)) {
      body.on('error', () => undefined)
      body.destroy()
    }
    await pending?.document
  } catch {
    // There is no client left to answer, and the handler has the reason from the abort signal.
  }
}
