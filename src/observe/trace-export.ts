import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { TraceSettings } from './trace-settings.ts'

type AttributeValue = string | number | boolean

/** null: left out. */
export type Attributes = Readonly<Record<string, AttributeValue | null>>

export interface SpanEvent {
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
 * Sends spans in batches as OTLP over HTTP in JSON. Spans that a collector does not take are dropped: a gateway must not grow or wait
 * because its observer is away.
 */
export class TraceExport {
  readonly #settings: TraceSettings
  readonly #failed: (reason: string, dropped: number) => void
  readonly #timer: NodeJS.Timeout
  #queue: Span[] = []
  #overflow = 0
  #sending: Promise<void> = Promise.resolve()

  /** @param failed called with the number of spans that were dropped, and why. */
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

  /** Sends what is left; takes no longer than one export may. */
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
