import { hostname } from 'node:os'
import { pino } from 'pino'
import { S3Error } from '../errors.ts'

/** Who ended an exchange, and what it was doing then. */
export type Termination = 'complete' | `${'client' | 'gateway' | 'store'}/${'request' | 'handling' | 'response'}`

/** One line per request. These fields and no others: what is not named here cannot reach the log. */
export interface AccessRecord {
  readonly requestId: string
  readonly method: string
  readonly operation: string | null
  readonly bucket: string | null
  /** Access key id of the client; null until its signature has verified. */
  readonly client: string | null
  /** null when nothing was answered. */
  readonly status: number | null
  readonly errorCode: string | null
  /** Bytes on the wire for this exchange, heads included. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly durationMs: number
  readonly remote: string
  readonly termination: Termination
}

/** What may be said about a failure: never its message, which can quote what a client or a store sent. */
export interface FailureRecord {
  readonly requestId: string | null
  /** What was being done, in words of ours. */
  readonly during: string
  readonly error: unknown
}

export interface Log {
  access(record: AccessRecord): void
  /** Unexpected failures and failures of ours: error names, codes, and the frames of the stack. */
  failure(record: FailureRecord): void
  /** Events of the process. The fields are ours: numbers, names from the configuration, paths. */
  event(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, string | number | boolean | null>>): void
}

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** Where lines go; standard output when absent. */
  readonly write?: (line: string) => void
}

/**
 * The log of the gateway: JSON lines through pino. Redaction is by construction: every record is copied field by field, so
 * a new property of an object does not appear until someone adds it here.
 */
export function createLog(options: LogOptions): Log {
  const settings = {
    level: options.level,
    base: { host: hostname() },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) }
  }
  const write = options.write
  const logger = write === undefined ? pino(settings, pino.destination({ dest: 1, sync: false })) : pino(settings, { write })
  return {
    access(record) {
      logger.info({
        requestId: record.requestId, method: record.method, operation: record.operation, bucket: record.bucket, client: record.client,
        status: record.status, errorCode: record.errorCode, bytesIn: record.bytesIn, bytesOut: record.bytesOut,
        durationMs: record.durationMs, remote: record.remote, termination: record.termination
      }, 'request')
    },
    failure(record) {
      logger.error({ requestId: record.requestId, during: record.during, causes: describe(record.error) }, 'failure')
    },
    event(level, message, fields) {
      logger[level]({ ...fields }, message)
    }
  }
}

interface Cause {
  readonly name: string
  readonly code: string | null
  readonly at: readonly string[]
}

/** The chain of causes, without messages. */
function describe(error: unknown): Cause[] {
  const causes: Cause[] = []
  for (let e = error; e instanceof Error && causes.length < 5; e = e.cause) {
    const code = 'code' in e && typeof e.code === 'string' ? e.code : null
    // An S3Error is told by its code; anything else needs the place it came from.
    const frames = e instanceof S3Error ? [] : (e.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line)).slice(0, 8)
    causes.push({ name: e.name, code, at: frames.map((line) => line.trim()) })
  }
  return causes
}
