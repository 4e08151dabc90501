import t from 'tap'
import { exposition } from '../../src/observe/registry.ts'
import { createMetrics, statusClass, lateness, measureProcess } from '../../src/observe/metrics.ts'

await t.test('names and types follow the conventions', async (t) => {
  const metrics = createMetrics()
  t.teardown(measureProcess(metrics.registry))
  for (const { name, type, help, labelNames } of metrics.snapshot()) {
    t.match(name, /^(sealgate|process|nodejs)_[a-z0-9_]+$/, name)
    t.equal(name.endsWith('_total'), type === 'counter', `${name} is a ${type}`)
    t.match(help, /\.$/)
    for (const label of labelNames) t.match(label, /^[a-z]+$/)
  }
})

await t.test('every line of the exposition parses', async (t) => {
  const metrics = createMetrics()
  t.teardown(measureProcess(metrics.registry))
  metrics.requests.add({ operation: 'GetObject', status: statusClass(200, null) })
  metrics.requestSeconds.observe({ operation: 'GetObject' }, 0.003)
  metrics.integrityFailures.add({ kind: 'segment' })
  metrics.beforeSnapshot(() => {
    metrics.upstreamConnections.set({ pool: 'data', upstream: 'default' }, 7)
  })
  const text = exposition(metrics.snapshot())
  for (const line of text.trimEnd().split('\n')) {
    t.match(line, /^(# (HELP|TYPE) [a-z0-9_]+ .+|[a-z0-9_]+(\{([a-z]+="[^"]*",?)+\})? (-?\d[\d.e+-]*|\+Inf))$/, line)
  }
  t.match(text, /^sealgate_requests_total\{operation="GetObject",status="2xx"\} 1$/m)
  t.match(text, /^sealgate_upstream_connections\{pool="data",upstream="default"\} 7$/m)
  t.match(text, /^sealgate_integrity_failures_total\{kind="segment"\} 1$/m)
})

await t.test('the process is measured anew at each snapshot', async (t) => {
  const metrics = createMetrics()
  t.teardown(measureProcess(metrics.registry))
  const value = (name: string) => metrics.snapshot().find((f) => f.name === name)?.series[0]?.value ?? -1
  t.ok(value('process_resident_memory_bytes') > 1e6)
  const before = value('process_cpu_seconds_total')
  const end = process.cpuUsage().user + 30_000
  while (process.cpuUsage().user < end);
  const after = value('process_cpu_seconds_total')
  t.ok(after > before && after <= (process.cpuUsage().user + process.cpuUsage().system) / 1e6)
})

await t.test('an idle event loop is not late', async (t) => {
  t.equal(lateness(20e6), 0)
  t.equal(lateness(19.9e6), 0)
  t.equal(lateness(220e6), 0.2)
})

await t.test('status classes', async (t) => {
  t.same([200, 206, 304, 404, 503, null].map((status) => statusClass(status, null)), ['2xx', '2xx', '3xx', '4xx', '5xx', 'none'])
  t.same([200, 304, 404, null].map((status) => statusClass(status, 'Code')), ['5xx', '3xx', '4xx', 'none'], 'an error inside of a success')
})
