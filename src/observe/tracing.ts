import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { AccessRecord } from './access-log.ts'
import type { TraceSettings } from './trace-settings.ts'
import { statusClass } from './metrics.ts'

interface Trace {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | null
  readonly start: number
  readonly events: SpanEvent[]
}

/** Ends a child span. `error`: a code that is safe to publish; null on success. */
export type EndSpan = (error: string | null, attributes?: Attributes) => void

const noSpan: EndSpan = () => undefined

/**
 * One span per request, with children for what it waits for. The store gets no trace id: it would show which of a client's requests belong together
 * (docs/decisions/0008-own-trace-exporter.md).
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
   * Runs the work of a request so that its children find it. `finish` must follow.
   * @param traceparent of the client, if any (W3C Trace Context, 3.2).
   */
  request<T>(requestId: string, traceparent: string | undefined, work: () => T): T {
    const parent = parseTraceparent(traceparent)
    const traceId = parent?.traceId ?? randomBytes(16).toString('hex')
    if (!this.#settings.sampler(traceId, parent?.sampled ?? null)) return work()
    const trace: Trace = { traceId, spanId: randomBytes(8).toString('hex'), parentSpanId: parent?.spanId ?? null, start: now(), events: [] }
    this.#open.set(requestId, trace)
    return this.#current.run(trace, work)
  }

  /** Begins a child of the current request; does nothing outside a request. */
  child(name: string, attributes: Attributes): EndSpan {
    const trace = this.#current.getStore()
    if (trace === undefined) return noSpan
    const start = now()
    return (error, more = {}) => {
      this.#add(trace, name, start, error, { ...attributes, ...more })
    }
  }

  /** A child that ends now and took `seconds`. */
  past(name: string, seconds: number, error: string | null): void {
    const trace = this.#current.getStore()
    if (trace !== undefined) this.#add(trace, name, now() - seconds * 1000, error, {})
  }

  /** Records an event of a request, now. */
  event(requestId: string, name: string, attributes: Attributes): void {
    this.#open.get(requestId)?.events.push({ name, time: now(), attributes })
  }

  /** The request has ended. */
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

  /** Sends the spans that are left. */
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

type AttributeValue = string | number | boolean

/** null: left out. */
export type Attributes = Readonly<Record<string, AttributeValue | null>>

interface SpanEvent {
  readonly name: string
  readonly time: number
  readonly attributes: Attributes
}

/** A finished span. Times are milliseconds since 1970, with fractions. */
interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | null
  readonly name: string
  readonly kind: 'server' | 'client'
  readonly start: number
  readonly end: number
  readonly attributes: Attributes
  readonly events: readonly SpanEvent[]
  readonly failed: boolean
}

/** The defaults of the specification for its batching processor. */
const maxQueue = 2048
const maxBatch = 512

/**
 * Sends spans in batches as OTLP over HTTP in JSON. Spans that a collector does not accept are dropped: the gateway must not grow or wait because a
 * collector is down.
 */
export class TraceExport {
  readonly #settings: TraceSettings
  readonly #failed: (reason: string, dropped: number) => void
  readonly #timer: NodeJS.Timeout
  #queue: Span[] = []
  #overflow = 0
  #sending: Promise<void> = Promise.resolve()

  /** @param failed called with the number of dropped spans and the reason. */
  constructor(settings: TraceSettings, failed: (reason: string, dropped: number) => void) {
    this.#settings = settings
    this.#failed = failed
    this.#timer = setInterval(() => {
      this.#flush()
    }, settings.scheduleMs).unref()
  }

  add(span: Span): void {
    if (this.#queue.length >= maxQueue) {
      this.#overflow += 1
      return
    }
    this.#queue.push(span)
    if (this.#queue.length === maxBatch) this.#flush()
  }

  /** Sends the spans that are left; takes no longer than one export may. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#flush()
    await this.#sending
  }

  #flush(): void {
    this.#sending = this.#sending.then(() => this.#send())
  }

  async #send(): Promise<void> {
    const spans = this.#queue
    this.#queue = []
    const overflow = this.#overflow
    this.#overflow = 0
    if (overflow > 0) this.#failed('more spans than could be sent', overflow)
    for (let i = 0; i < spans.length; i += maxBatch) {
      const batch = spans.slice(i, i + maxBatch)
      try {
        await this.#post(Buffer.from(JSON.stringify(document(batch, this.#settings.resource))))
      } catch (error) {
        this.#failed(error instanceof Error ? error.message : 'unknown error', batch.length)
      }
    }
  }

  #post(body: Buffer): Promise<void> {
    const { url, headers, timeoutMs } = this.#settings
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method: 'POST',
      signal: AbortSignal.timeout(timeoutMs),
      headers: { ...headers, 'content-type': 'application/json', 'content-length': body.length }
    }, (response) => {
      response.resume()
      response.once('error', reject)
      const status = response.statusCode ?? 0
      if (status >= 200 && status < 300) resolve(undefined)
      else reject(new Error(`the collector answers ${status}`))
    })
    request.once('error', reject)
    request.end(body)
    return promise
  }
}

/** ExportTraceServiceRequest in the JSON of OTLP: ids in hex, 64-bit numbers as texts. */
function document(spans: readonly Span[], resource: Readonly<Record<string, string>>): unknown {
  return {
    resourceSpans: [{
      resource: { attributes: attributes(resource) },
      scopeSpans: [{ scope: { name: 'sealgate' }, spans: spans.map(spanDocument) }]
    }]
  }
}

function spanDocument(span: Span): unknown {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...span.parentSpanId === null ? {} : { parentSpanId: span.parentSpanId },
    name: span.name,
    kind: span.kind === 'server' ? 2 : 3,
    startTimeUnixNano: nanoseconds(span.start),
    endTimeUnixNano: nanoseconds(span.end),
    attributes: attributes(span.attributes),
    events: span.events.map(({ name, time, attributes: values }) => ({ name, timeUnixNano: nanoseconds(time), attributes: attributes(values) })),
    status: span.failed ? { code: 2 } : {}
  }
}

function nanoseconds(milliseconds: number): string {
  return String(BigInt(Math.round(milliseconds * 1000)) * 1000n)
}

function attributes(values: Attributes): unknown[] {
  return Object.entries(values).filter(([, value]) => value !== null).map(([key, value]) => ({ key, value: valueDocument(value ?? '') }))
}

function valueDocument(value: AttributeValue): unknown {
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
  return { stringValue: value }
}
