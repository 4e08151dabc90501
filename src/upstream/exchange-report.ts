import type { Exchange } from './exchange.ts'
import { diagnosis, troubleOf, type Trouble } from '../diagnosis.ts'
import type { S3Error } from '../errors.ts'
import { operationOf } from './diagnose.ts'
import { toS3Error } from './errors.ts'
import type { UpstreamRequest } from './types.ts'

/** One exchange with the store, reported when it has ended, however it ended. */
export interface ExchangeReport {
  readonly pool: UpstreamRequest['pool']
  readonly method: string
  /** null: no answer. */
  readonly status: number | null
  /** Code of the S3Error that the caller got, or `Aborted` when the caller aborted; null when the exchange ended well. */
  readonly error: string | null
  /** The kind of failure, error statuses from 500 included; null: none, or no fault of the store. */
  readonly trouble: Trouble | null
  readonly headSeconds: number | null
  readonly seconds: number
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** @param started milliseconds on the clock of `performance.now()` */
export function report(request: UpstreamRequest, exchange: Exchange, started: number): ExchangeReport {
  const failed = exchange.failure !== undefined
  const aborted = request.signal.aborted || exchange.givenUp
  const operation = operationOf(request)
  const error = failed && !aborted ? toS3Error(exchange.failure, operation) : null
  return {
    pool: request.pool,
    method: request.method,
    status: exchange.status,
    error: failed && aborted ? 'Aborted' : error?.code ?? null,
    trouble: error === null ? ofStatus(exchange.status, operation) : ofError(error),
    headSeconds: exchange.headAt === null ? null : (exchange.headAt - started) / 1000,
    seconds: (performance.now() - started) / 1000,
    bytesSent: exchange.bytesSent,
    bytesReceived: exchange.bytesReceived
  }
}

/** An error of the body's own source, such as a digest that did not match, carries no diagnosis. */
function ofError({ diagnosis: known }: S3Error): Trouble | null {
  return known === null ? null : troubleOf(known)
}

function ofStatus(status: number | null, operation: string): Trouble | null {
  return status === null || status < 500 || status === 501 ? null : troubleOf(diagnosis('store', operation, { status }))
}
