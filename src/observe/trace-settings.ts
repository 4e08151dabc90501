import { hostname } from 'node:os'

/** How traces are made and sent, from the standard environment variables (opentelemetry.io, "SDK configuration"). */
export interface TraceSettings {
  /** Where batches are posted. */
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly scheduleMs: number
  readonly resource: Readonly<Record<string, string>>
  readonly sampler: Sampler
}

/** Decides whether a request is traced. `parent`: the client's own decision in its traceparent, null without one. */
type Sampler = (traceId: string, parent: boolean | null) => boolean

type Environment = Readonly<Record<string, string | undefined>>

/**
 * @returns null when no endpoint is set, or tracing is disabled.
 * @throws Error, with a message for the operator, when a variable asks for something unsupported.
 */
export function traceSettings(env: Environment, version: string): TraceSettings | null {
  const own = text(env, 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')
  const shared = text(env, 'OTEL_EXPORTER_OTLP_ENDPOINT')
  if (own === null && shared === null) return null
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true' || env['OTEL_TRACES_EXPORTER'] === 'none') return null
  const protocol = text(env, 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') ?? text(env, 'OTEL_EXPORTER_OTLP_PROTOCOL')
  // Collectors accept JSON and protobuf on the same port and path; gRPC has another.
  if (protocol === 'grpc') throw new Error('traces are sent over HTTP: OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported')
  const address = own ?? `${(shared ?? '').replace(/(?<!\/)\/+$/, '')}/v1/traces`
  if (!/^https?:/.test(address) || !URL.canParse(address)) throw new Error('OTEL_EXPORTER_OTLP_ENDPOINT is not an http(s) URL')
  return {
    url: new URL(address),
    headers: pairs(text(env, 'OTEL_EXPORTER_OTLP_TRACES_HEADERS') ?? text(env, 'OTEL_EXPORTER_OTLP_HEADERS') ?? ''),
    timeoutMs: milliseconds(env, 'OTEL_EXPORTER_OTLP_TIMEOUT', 10_000),
    scheduleMs: milliseconds(env, 'OTEL_BSP_SCHEDULE_DELAY', 5000),
    resource: {
      'service.name': text(env, 'OTEL_SERVICE_NAME') ?? 'sealgate',
      'service.version': version,
      'host.name': hostname(),
      ...pairs(text(env, 'OTEL_RESOURCE_ATTRIBUTES') ?? ''),
      ...text(env, 'OTEL_SERVICE_NAME') === null ? {} : { 'service.name': text(env, 'OTEL_SERVICE_NAME') ?? '' }
    },
    sampler: sampler(text(env, 'OTEL_TRACES_SAMPLER') ?? 'parentbased_always_on', text(env, 'OTEL_TRACES_SAMPLER_ARG'))
  }
}

function text(env: Environment, name: string): string | null {
  const value = env[name]?.trim() ?? ''
  return value === '' ? null : value
}

function milliseconds(env: Environment, name: string, otherwise: number): number {
  const value = Number(text(env, name) ?? otherwise)
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name} is not a number of milliseconds`)
  return value
}

/** `name=value,name=value`, percent-encoded (W3C baggage, as the specification prescribes for both variables). */
function pairs(list: string): Record<string, string> {
  return Object.fromEntries(
    list.split(',').filter((item) => item.includes('=')).map((item) => {
      const at = item.indexOf('=')
      return [item.slice(0, at).trim(), decodeURIComponent(item.slice(at + 1).trim())]
    })
  )
}

function sampler(name: string, argument: string | null): Sampler {
  const rootName = name.replace(/^parentbased_/, '')
  const root = rootSampler(rootName, argument)
  return name === rootName ? root : (traceId, parent) => parent ?? root(traceId, null)
}

function rootSampler(name: string, argument: string | null): Sampler {
  if (name === 'always_on') return () => true
  if (name === 'always_off') return () => false
  if (name !== 'traceidratio') throw new Error(`OTEL_TRACES_SAMPLER=${name} is not known`)
  const ratio = Number(argument ?? 1)
  if (!(ratio >= 0 && ratio <= 1)) throw new Error('OTEL_TRACES_SAMPLER_ARG is not a ratio between 0 and 1')
  // The last 56 bits are the random ones (W3C Trace Context level 2).
  return (traceId) => parseInt(traceId.slice(-14), 16) < ratio * 2 ** 56
}
