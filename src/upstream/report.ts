import type { Exchange } from './exchange.ts'
import { toS3Error } from './failures.ts'
import type { UpstreamRequest } from './types.ts'

/** One exchange with the store, reported when it has ended, whichever way. */
export interface ExchangeReport {
  readonly pool: UpstreamRequest['pool']
  readonly method: string
  /** null: no answer. */
  readonly status: number | null
  /** Code of the S3Error the caller got, or `Aborted` when the caller wanted no answer any more; null when the exchange ended well. */
  readonly error: string | null
  readonly headSeconds: number | null
  readonly seconds: number
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** @param started milliseconds on the clock of `performance.now()` */
export function report(request: UpstreamRequest, exchange: Exchange, started: number): ExchangeReport {
  const failed = exchange.failure !== undefined
  return {
    pool: request.pool,
    method: request.method,
    status: exchange.status,
    error: !failed ? null : request.signal.aborted || exchange.givenUp ? 'Aborted' : toS3Error(exchange.failure).code,
    headSeconds: exchange.headAt === null ? null : (exchange.headAt - started) / 1000,
    seconds: (performance.now() - started) / 1000,
    bytesSent: exchange.bytesSent,
    bytesReceived: exchange.bytesReceived
  }
}
