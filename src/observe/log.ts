// What the operator sees: the log, here; one access line per request (access-log.ts), the audit trail of keys, metrics, readiness and traces.
// Messages of other programs are never logged: failures are fields of a Diagnosis, and an access line has a closed list of fields.
// Metrics and their help texts are in metrics.ts.
import { hostname } from 'node:os'
import { pid } from 'node:process'
import { pino } from 'pino'
import { diagnosisOf, fieldsOf } from '../diagnosis.ts'
import { Finding, S3Error } from '../errors.ts'
import type { AccessRecord } from './access-log.ts'

/** The logged fields of a failure: never its message, which can quote a client or a store. */
interface FailureRecord {
  readonly requestId: string | null
  /** The operation that failed, in words without names. */
  readonly during: string
  readonly error: unknown
}

export interface Log {
  /** One line per request: made by `accessRecord`, which copies field by field. */
  access(record: AccessRecord): void
  /** Unexpected failures and failures of the gateway: the `Diagnosis` of the cause, error names, codes, and the frames of the stack. */
  failure(record: FailureRecord): void
  /** Events of the process. The fields are the gateway's own: numbers, names from the configuration, paths. */
  event(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, string | number | boolean | null>>): void
  /** Resolves when everything logged so far has been written. */
  flush(): Promise<void>
}

/** Lines are written together: each alone would cost a system call and a turn of the thread pool per request. */
const alone = { minLength: 12_288, maxWrite: 16_384 }
/** PIPE_BUF: up to this size the lines of several processes that share a pipe do not mix (POSIX, write). */
const together = { minLength: 3072, maxWrite: 4096 }
/** How long a line may wait for others, in milliseconds: a kill loses at most these lines. */
const gatherMs = 100

interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** Whether no other process writes to the same standard output; absent: no. */
  readonly alone?: boolean
  /** Where lines go; standard output when absent. */
  readonly write?: (line: string) => void
  /** Turns a JSON line into the text to write; absent: the line itself. Made by `prettyLines`. */
  readonly pretty?: (line: string) => string
}

/**
 * Lines for people, from JSON lines: time, level, message, fields. The package is loaded only when it is used.
 * @param colour whether to send colours to the terminal.
 */
export async function prettyLines(colour: boolean): Promise<(line: string) => string> {
  const { prettyFactory } = await import('pino-pretty')
  const format = prettyFactory({ colorize: colour, singleLine: true, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname' })
  // Fields contain text from clients. JSON escapes C0; DEL and the C1 controls would reach the terminal.
  return (line) => format(line).replaceAll(/[\u007f-\u009f]/g, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/**
 * The log of the gateway: JSON lines through pino. Only records whose fields are on a list are logged, so a new property of an object does not appear
 * until someone adds it there.
 */
export function createLog(options: LogOptions): Log {
  const settings = {
    level: options.level,
    base: { hostname: hostname(), pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) }
  }
  // A silent log has no destination: a destination has a timer that never ends.
  const standardOutput = options.write === undefined && options.level !== 'silent'
    ? pino.destination({ dest: 1, sync: false, ...options.alone === true ? alone : together, periodicFlush: gatherMs })
    : null
  const { pretty } = options
  const write = options.write ?? ((line: string) => {
    standardOutput?.write(line)
  })
  const logger = pino(
    settings,
    pretty !== undefined
      ? {
        write: (line) => {
          write(pretty(line))
        }
      }
      : standardOutput ?? { write }
  )
  return {
    access(record) {
      logger.info(record, 'request')
    },
    failure(record) {
      const { requestId, during, error } = record
      logger.error({ requestId, during, ...fieldsOf(diagnosisOf(error)), causes: describe(error) }, 'failure')
    },
    event(level, message, fields) {
      logger[level]({ ...fields }, message)
    },
    async flush() {
      // Not flushSync: it overtakes a write in progress.
      await new Promise<void>((resolve) => {
        if (standardOutput === null) resolve()
        else {standardOutput.flush(() => {
            resolve()
          })}
      })
    }
  }
}

interface Cause {
  readonly name: string
  readonly code: string | null
  /** Of a Finding: a message of the gateway. */
  readonly found?: string
  readonly at: readonly string[]
}

/** The chain of causes, without messages other than Findings. */
function describe(error: unknown): Cause[] {
  const causes: Cause[] = []
  for (let e = error; e instanceof Error && causes.length < 5; e = e.cause) {
    // An EnvelopeError has the kind of what did not verify.
    const code = 'code' in e && typeof e.code === 'string' ? e.code : 'kind' in e && typeof e.kind === 'string' ? e.kind : null
    // An S3Error is identified by its code; any other error needs its place.
    const frames = e instanceof S3Error || e instanceof Finding ? [] : (e.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line)).slice(0, 8)
    causes.push({ name: e.name, code, ...e instanceof Finding ? { found: e.message } : {}, at: frames.map((line) => line.trim()) })
  }
  return causes
}
