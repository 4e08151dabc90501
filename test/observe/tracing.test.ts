import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import type { AccessRecord } from '../../src/observe/access-log.ts'
import { traceSettings } from '../../src/observe/trace-settings.ts'
import { parseTraceparent, Tracer } from '../../src/observe/tracing.ts'

interface Attribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}
interface SpanDocument {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly Attribute[]
  readonly events: readonly { readonly name: string }[]
  readonly status: { readonly code?: number }
}

interface Collected {
  readonly url: string
  readonly spans: SpanDocument[]
  readonly requests: IncomingMessage[]
  readonly texts: string[]
}

async function collector(t: { teardown(action: () => void): void }, status = 200): Promise<Collected> {
  const spans: SpanDocument[] = []
  const requests: IncomingMessage[] = []
  const texts: string[] = []
  const server = createServer((req, res) => {
    void (async () => {
      let text = ''
      for await (const chunk of req) text += String(chunk)
      requests.push(req)
      texts.push(text)
      const body = JSON.parse(text) as { resourceSpans: { scopeSpans: { spans: SpanDocument[] }[] }[] }
      spans.push(...body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)))
      res.writeHead(status).end('{}')
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, requests, texts }
}

const record = (over: Partial<AccessRecord> = {}): AccessRecord => ({
  requestId: 'R1',
  principal: 'client',
  sourceAddress: '127.0.0.1',
  secure: false,
  method: 'GET',
  operation: 'GetObject',
  upstream: null,
  bucket: 'b',
  key: 'secret-name',
  status: 200,
  code: null,
  bytesIn: 0,
  bytesOut: 7,
  seconds: 0.1,
  firstByteSeconds: 0.05,
  termination: '--',
  userAgent: null,
  ...over
})

const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

function tracer(env: Record<string, string>, failed: (reason: string, dropped: number) => void = () => undefined): Tracer {
  const settings = traceSettings(env, '1.2.3')
  if (settings === null) throw new Error('tracing disabled')
  return new Tracer(settings, failed)
}

await t.test('a request is a span with its children, under what the client sent', async (t) => {
  const { url, spans, requests, texts } = await collector(t)
  const own = tracer({
    OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-token=a%20b',
    OTEL_RESOURCE_ATTRIBUTES: 'service.name=other,zone=a',
    OTEL_SERVICE_NAME: 'gate'
  })
  await own.request('R1', parent, async () => {
    const end = own.child('store GET', { 'sealgate.pool': 'data' })
    await delay(5)
    own.past('KMS Decrypt', 0.002, 'throttled')
    own.event('R1', 'key unwrap', { cached: true })
    end(null, { 'http.response.status_code': 200 })
  })
  own.finish(record())
  own.child('outside', {})(null)
  own.past('outside', 1, null)
  await own.close()
  t.match(requests[0], { method: 'POST', url: '/v1/traces', headers: { 'content-type': 'application/json', 'x-token': 'a b' } })
  const root = spans.find(({ name }) => name === 'GetObject')!
  t.match(root, { traceId: '0af7651916cd43dd8448eb211c80319c', parentSpanId: 'b7ad6b7169203331', kind: 2, events: [{ name: 'key unwrap' }], status: {} })
  t.notOk(root.status.code)
  const children = spans.filter((span) => span !== root)
  t.same(children.map(({ name }) => name).sort(), ['KMS Decrypt', 'store GET'])
  for (const child of children) {
    t.match(child, { traceId: root.traceId, parentSpanId: root.spanId, kind: 3 })
    t.ok(BigInt(child.endTimeUnixNano) >= BigInt(child.startTimeUnixNano))
    t.ok(BigInt(child.startTimeUnixNano) >= BigInt(root.startTimeUnixNano))
  }
  t.equal(children.find(({ name }) => name === 'KMS Decrypt')?.status.code, 2)
  t.match(texts[0], /"key":"service.name","value":\{"stringValue":"gate"\}/)
  t.match(texts[0], /"key":"zone"/)
  t.match(texts[0], /"key":"http.response.status_code","value":\{"intValue":"200"\}/)
  t.notMatch(texts.join(''), /secret-name|client/, 'neither object names nor clients')
  t.equal(spans.length, 3, 'what belongs to no request is no span')
})

await t.test('requests that failed are marked, also those without a status', async (t) => {
  const { url, spans } = await collector(t)
  const own = tracer({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${url}/else` })
  for (
    const [requestId, over] of [['a', { status: 500, code: 'InternalError' }], ['b', { status: null }], ['c', { status: 404, code: 'NoSuchKey' }]] as const
  ) {
    own.request(requestId, undefined, () => undefined)
    own.finish(record({ requestId, ...over }))
  }
  await own.close()
  t.same(spans.map(({ status }) => status.code ?? 0), [2, 2, 0])
  t.equal(new Set(spans.map(({ traceId }) => traceId)).size, 3)
  t.same(spans.map(({ parentSpanId }) => parentSpanId), [undefined, undefined, undefined])
})

await t.test('a collector that is away or refuses costs spans, never the gateway', async (t) => {
  const told: [string, number][] = []
  const { url } = await collector(t, 503)
  for (const endpoint of [url, 'http://127.0.0.1:9']) {
    const own = tracer({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, (reason, dropped) => {
      told.push([reason, dropped])
    })
    own.request('a', undefined, () => undefined)
    own.finish(record({ requestId: 'a' }))
    await own.close()
  }
  t.match(told, [[/503/, 1], [/ECONNREFUSED/, 1]])
})

await t.test('more spans than can be sent are counted and dropped', async (t) => {
  const told: [string, number][] = []
  const { url, spans } = await collector(t)
  const own = tracer({ OTEL_EXPORTER_OTLP_ENDPOINT: url }, (reason, dropped) => {
    told.push([reason, dropped])
  })
  for (let i = 0; i < 3000; i += 1) {
    own.request(String(i), undefined, () => undefined)
    own.finish(record({ requestId: String(i) }))
  }
  await own.close()
  t.equal(spans.length + told.reduce((sum, [, dropped]) => sum + dropped, 0), 3000)
  t.ok(spans.length >= 2048)
})

await t.test('sampling', async (t) => {
  const sampled = (env: Record<string, string>, traceId: string, above: boolean | null) =>
    traceSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', ...env }, '1')?.sampler(traceId, above)
  const low = '00000000000000000000000000000001'
  const high = 'ffffffffffffffffffffffffffffffff'
  const ratio = { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.5' }
  t.same([sampled({}, low, null), sampled({}, low, false), sampled({}, low, true)], [true, false, true])
  t.same([sampled({ OTEL_TRACES_SAMPLER: 'always_on' }, low, false), sampled({ OTEL_TRACES_SAMPLER: 'always_off' }, low, true)], [true, false])
  t.same([sampled(ratio, low, false), sampled(ratio, high, true)], [true, false])
  t.same([
    sampled({ ...ratio, OTEL_TRACES_SAMPLER: 'parentbased_traceidratio' }, high, true),
    sampled({ ...ratio, OTEL_TRACES_SAMPLER: 'parentbased_traceidratio' }, high, null)
  ], [true, false])
  const off = tracer({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_TRACES_SAMPLER: 'always_off' }, () => {
    t.fail('nothing is sent')
  })
  t.equal(off.request('a', undefined, () => 5), 5)
  off.finish(record({ requestId: 'a' }))
  await off.close()
})

await t.test('settings from the environment', async (t) => {
  t.equal(traceSettings({}, '1'), null)
  t.equal(traceSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: ' ' }, '1'), null)
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318/base/' }
  t.equal(traceSettings({ ...endpoint, OTEL_SDK_DISABLED: 'true' }, '1'), null)
  t.equal(traceSettings({ ...endpoint, OTEL_TRACES_EXPORTER: 'none' }, '1'), null)
  t.equal(traceSettings(endpoint, '1')?.url.href, 'http://c:4318/base/v1/traces')
  t.equal(traceSettings({ ...endpoint, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://d/x' }, '1')?.url.href, 'http://d/x')
  for (
    const wrong of [
      { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
      { OTEL_TRACES_SAMPLER: 'sometimes' },
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '2' },
      { OTEL_EXPORTER_OTLP_TIMEOUT: 'soon' },
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' }
    ]
  ) t.throws(() => traceSettings({ ...endpoint, ...wrong }, '1'), JSON.stringify(wrong))
})

await t.test('traceparent', async (t) => {
  t.same(parseTraceparent(parent), { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', sampled: true })
  t.match(parseTraceparent(parent.replace(/01$/, '02')), { sampled: false })
  t.ok(parseTraceparent(`01${parent.slice(2)}-later`), 'a later version may have more fields')
  for (
    const bad of [
      undefined,
      '',
      `${parent}-more`,
      parent.toUpperCase(),
      `ff${parent.slice(2)}`,
      parent.replace(/0af7\w+/, '0'.repeat(32)),
      parent.replace(/b7ad\w+/, '0'.repeat(16)),
      parent.slice(0, -1)
    ]
  ) t.equal(parseTraceparent(bad), null, String(bad))
  fc.assert(fc.property(fc.string(), (text) => {
    parseTraceparent(text)
  }))
})
