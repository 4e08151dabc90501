import { Readable } from 'node:stream'
import type { Dispatcher } from '../http/undici.ts'
import type { UpstreamResponse } from './types.ts'
import { Finding, S3Error } from '../errors.ts'
import { HeaderList } from '../http/message.ts'
import { NO_READ_AHEAD, pushed } from '../http/stage.ts'
import { diagnosis } from '../diagnosis.ts'
import { isConnectionFailure, toS3Error } from './errors.ts'

export interface ExchangePlan {
  readonly method: string
  /** The request in words without names, for the log. */
  readonly operation: string
  readonly path: string
  /** Name, value, name, value, … */
  readonly headers: string[]
  /** A stream has its first byte waiting, or length 0 was turned into null: see request-body.ts. */
  readonly body: Buffer | Readable | null
  readonly contentLength: number
  readonly signal: AbortSignal
  /** Seconds the store may be silent before it answers; null: without limit. */
  readonly answerSeconds: number | null
  /** Throws an S3Error for a head that must not be used. */
  readonly check: (status: number, headers: HeaderList) => void
  /** Bytes per second; 0: none. */
  readonly minRate: number
  readonly windowSeconds: number
}

/** More interim answers than any server sends (RFC 9110 15.2). */
const maxInterim = 16
/** Bytes: answers up to this size are read from the connection even without a reader, so that an unused document does not hold it. */
const unreadBytes = 16_384

/**
 * One request on one connection and its answer. It uses undici's dispatch interface, below `request()`, where bytes sent can be counted without
 * another stream: a 2xx that comes before the store can have the whole body must fail, and progress decides whether a slow store is cut.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #answer = Promise.withResolvers<UpstreamResponse>()
  readonly #closed = Promise.withResolvers<undefined>()
  readonly answer: Promise<UpstreamResponse> = this.#answer.promise
  /** Settles when undici has released the request and its connection. */
  readonly closed: Promise<void> = this.#closed.promise
  bytesSent = 0
  bytesReceived = 0
  /** HTTP status, once there is one. */
  status: number | null = null
  /** Milliseconds on the clock of `performance.now()` when the head arrived. */
  headAt: number | null = null
  /** As undici or the signal gave it. */
  failure: unknown = undefined
  /** True when its reader aborted it. */
  givenUp = false

  readonly #plan: ExchangePlan
  readonly #watch: RateWatch
  readonly #onAbort = (): void => {
    this.abort(this.#plan.signal.reason)
  }
  #controller: Dispatcher.DispatchController | null = null
  #body: ResponseBody | null = null
  #answered = false
  #isClosed = false
  #interim = 0
  #sampledBytes = 0

  constructor(plan: ExchangePlan) {
    this.#plan = plan
    this.#watch = new RateWatch(plan.minRate, plan.windowSeconds)
    plan.signal.addEventListener('abort', this.#onAbort, { once: true })
    // undici stops listening when it is done; destroying the source after that must not end the process.
    if (plan.body instanceof Readable) plan.body.on('error', () => undefined)
  }

  start(dispatcher: Dispatcher): void {
    const { method, path, headers, body, answerSeconds } = this.#plan
    const headersTimeout = answerSeconds === null ? null : answerSeconds * 1000
    const options = { method, path, headers, body, headersTimeout }
    // By default undici closes the connection after every HEAD: with S3 that would be one handshake per HEAD.
    dispatcher.dispatch(method === 'HEAD' ? { ...options, reset: false } : options, this)
  }

  /** True when a second attempt cannot do the work twice: no answer came back, and the connection failed. */
  get failedBeforeAnswer(): boolean {
    return !this.#answered && isConnectionFailure(this.failure)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Ends the exchange; the connection is destroyed unless the answer is already complete. */
  abort(reason: unknown): void {
    if (this.#isClosed) return
    this.failure ??= reason
    this.#settleFailed()
    this.#controller?.abort(asError(this.failure))
  }

  /** As `abort`, by the reader of the answer: no fault of the store. */
  giveUp(reason: unknown): void {
    this.givenUp ||= this.failure === undefined
    this.abort(reason)
  }

  /** Called about once a second. Cuts the exchange when the store has been too slow for a whole window. */
  sample(seconds: number): void {
    const bytes = this.bytesSent + this.bytesReceived
    const slow = this.#watch.tooSlow(seconds, bytes - this.#sampledBytes, this.#waitsForStore())
    this.#sampledBytes = bytes
    if (slow) {
      this.abort(
        new S3Error('SealgateUpstreamTimeout', {
          message: 'The store transfers data too slowly.',
          diagnosis: diagnosis('store', this.#plan.operation, { status: this.status, system: 'ETIMEDOUT' })
        })
      )
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.failure !== undefined) controller.abort(asError(this.failure))
  }

  onBodySent(chunk: Buffer): void {
    this.bytesSent += chunk.length
  }

  onResponseStarted(): void {
    this.#answered = true
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) {
      this.#interim += 1
      if (this.#interim > maxInterim) controller.abort(tooManyInterim(this.#plan.operation))
      return
    }
    this.status = status
    this.headAt = performance.now()
    const headers = headerList(controller.rawHeaders)
    try {
      this.#plan.check(status, headers)
      this.#checkBodySent(status)
    } catch (error) {
      controller.abort(asError(error))
      return
    }
    this.#body = new ResponseBody(this, controller)
    this.#answer.resolve({ status, headers, body: this.#body })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.bytesReceived += chunk.length
    if (this.#body !== null && !pushed(this.#body, chunk) && this.bytesReceived > unreadBytes) controller.pause()
  }

  onResponseEnd(): void {
    this.#close()
    this.#body?.push(null)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.failure ??= error
    this.#settleFailed()
    this.#close()
  }

  /** A 2xx acknowledges all bytes, so it must not come before they were sent. */
  #checkBodySent(status: number): void {
    if (status < 300 && this.#plan.body !== null && this.bytesSent < this.#plan.contentLength) {
      throw new S3Error('SealgateBadUpstream', {
        cause: new Finding('success before the whole body was sent'),
        diagnosis: diagnosis('store', this.#plan.operation, { status })
      })
    }
  }

  #waitsForStore(): boolean {
    if (this.#isClosed || this.#controller === null) return false
    if (this.#body !== null) return !this.#controller.paused
    const { body, contentLength } = this.#plan
    // undici pauses the source while the socket takes no more; otherwise it is the source that is slow.
    return body instanceof Readable && this.bytesSent < contentLength && body.isPaused()
  }

  #settleFailed(): void {
    const error = this.#plan.signal.aborted ? asError(this.#plan.signal.reason) : toS3Error(this.failure, this.#plan.operation)
    if (this.#body === null) this.#answer.reject(error)
    else this.#body.destroy(error)
    if (this.#plan.body instanceof Readable) this.#plan.body.destroy(error)
  }

  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#plan.signal.removeEventListener('abort', this.#onAbort)
    this.#closed.resolve(undefined)
  }
}

/** Body of an answer: unread bytes stay in the kernel and in the socket's one buffer. */
class ResponseBody extends Readable {
  readonly #exchange: Exchange
  readonly #controller: Dispatcher.DispatchController

  constructor(exchange: Exchange, controller: Dispatcher.DispatchController) {
    super({ highWaterMark: NO_READ_AHEAD })
    this.#exchange = exchange
    this.#controller = controller
    // The store may fail before the reader listens; a later reader still gets the error.
    this.on('error', () => undefined)
  }

  override _read(): void {
    this.#controller.resume()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // After a good end too, where an Error and its stack would only cost.
    if (!this.#exchange.isClosed) this.#exchange.giveUp(error ?? new Error('the answer was not read to its end'))
    done(error)
  }
}

function headerList(raw: Dispatcher.DispatchController['rawHeaders']): HeaderList {
  if (!Array.isArray(raw)) throw new TypeError('undici gave no raw headers')
  const entries: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) entries.push([latin1(raw[i]), latin1(raw[i + 1])])
  return new HeaderList(entries)
}

function latin1(field: string | Buffer | undefined): string {
  return typeof field === 'string' ? field : field?.toString('latin1') ?? ''
}

function tooManyInterim(operation: string): S3Error {
  return new S3Error('SealgateBadUpstream', { cause: new Finding('too many interim answers'), diagnosis: diagnosis('store', operation) })
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}

/**
 * Detects that the other side has been slower than the minimum for a whole window. Time in which it was not waited for does not count, so that a slow
 * client is never blamed on the store.
 */
export class RateWatch {
  readonly #bytesPerSecond: number
  readonly #windowSeconds: number
  #seconds = 0
  #bytes = 0

  /** @param bytesPerSecond 0 switches the watch off */
  constructor(bytesPerSecond: number, windowSeconds: number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#windowSeconds = windowSeconds
  }

  /**
   * @param seconds since the last call
   * @param bytes moved since the last call
   * @param waiting whether the other side is waited for
   * @returns true when it is too slow
   */
  tooSlow(seconds: number, bytes: number, waiting: boolean): boolean {
    if (!waiting) {
      this.#seconds = 0
      this.#bytes = 0
      return false
    }
    this.#seconds += seconds
    this.#bytes += bytes
    if (this.#seconds < this.#windowSeconds) return false
    const slow = this.#bytes < this.#bytesPerSecond * this.#seconds
    this.#seconds = 0
    this.#bytes = 0
    return slow
  }
}
