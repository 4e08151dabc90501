import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import type { AccessRecord } from './access-log.ts'
import { statusClass } from './metrics.ts'
import { TraceExport, type Attributes, type SpanEvent } from './trace-export.ts'
import type { TraceSettings } from './trace-settings.ts'

interface Trace {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | null
  readonly start: number
  readonly events: SpanEvent[]
}

/** Ends a child span. `error`: a code fit for anyone's eyes; null when it went well. */
export type EndSpan = (error: string | null, attributes?: Attributes) => void

const noSpan: EndSpan = () => undefined

/**
 * One span per request, with children for what it waits for. Nothing of it is sent to the store: a trace id there would show which of
 * a client's requests belong together (docs/decisions/0008-own-trace-exporter.md).
 */
export class Tracer {
  readonly #settings: TraceSettings
  readonly #export: TraceExport
  readonly #current = new AsyncLocalStorage<Trace>()
  readonly #open = new Map<string, Trace>()

  constructor(settings: TraceSettings, failed: (reason: string, dropped: number) => void) {
    this.#settings = settings
    this.#export = new TraceExport(settings, failed)
  }

  /**
   * Does the work of a request so that its children find it. `finish` must follow.
   * @param traceparent what the client sent, if anything (W3C Trace Context, 3.2).
   */
  request<T>(requestId: string, traceparent: string | undefined, work: () => T): T {
    const parent = parseTraceparent(traceparent)
    const traceId = parent?.traceId ?? randomBytes(16).toString('hex')
    if (!this.#settings.sampler(traceId, parent?.sampled ?? null)) return work()
    const trace: Trace = { traceId, spanId: randomBytes(8).toString('hex'), parentSpanId: parent?.spanId ?? null, start: now(), events: [] }
    this.#open.set(requestId, trace)
    return this.#current.run(trace, work)
  }

  /** Begins a child of the request that is being handled; does nothing outside of one. */
  child(name: string, attributes: Attributes): EndSpan {
    const trace = this.#current.getStore()
    if (trace === undefined) return noSpan
    const start = now()
    return (error, more = {}) => {
      this.#add(trace, name, start, error, { ...attributes, ...more })
    }
  }

  /** A child that ends now and has taken `seconds`. */
  past(name: string, seconds: number, error: string | null): void {
    const trace = this.#current.getStore()
    if (trace !== undefined) this.#add(trace, name, now() - seconds * 1000, error, {})
  }

  /** Notes something that happened in a request, now. */
  event(requestId: string, name: string, attributes: Attributes): void {
    this.#open.get(requestId)?.events.push({ name, time: now(), attributes })
  }

  /** The request is over. */
  finish(record: AccessRecord): void {
    const trace = this.#open.get(record.requestId)
    if (trace === undefined) return
    this.#open.delete(record.requestId)
    this.#export.add({
      ...trace,
      name: record.operation ?? record.method,
      kind: 'server',
      end: now(),
      attributes: {
        'http.request.method': record.method,
        'http.response.status_code': record.status,
        'http.request.body.size': record.bytesIn,
        'http.response.body.size': record.bytesOut,
        'url.scheme': record.secure ? 'https' : 'http',
        'aws.s3.bucket': record.bucket,
        'aws.request_id': record.requestId,
        'error.type': record.code,
        'sealgate.termination': record.termination
      },
      failed: ['5xx', 'none'].includes(statusClass(record.status, record.code))
    })
  }

  /** Sends what has not been sent. */
  async close(): Promise<void> {
    await this.#export.close()
  }

  #add(trace: Trace, name: string, start: number, error: string | null, attributes: Attributes): void {
    this.#export.add({
      traceId: trace.traceId,
      spanId: randomBytes(8).toString('hex'),
      parentSpanId: trace.spanId,
      name,
      kind: 'client',
      start,
      end: now(),
      attributes: { ...attributes, 'error.type': error },
      events: [],
      failed: error !== null
    })
  }
}

/** @returns null for what is absent or malformed: the trace then begins here, as the recommendation demands. */
export function parseTraceparent(
  text: string | undefined
): { readonly traceId: string; readonly spanId: string; readonly sampled: boolean } | null {
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(text ?? '')
  const [, version = 'ff', traceId = '', spanId = '', flags = '', rest] = match ?? []
  if (version === 'ff' || (version === '00' && rest !== undefined) || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  return { traceId, spanId, sampled: (parseInt(flags, 16) & 1) === 1 }
}

function now(): number {
  return performance.timeOrigin + performance.now()
}
