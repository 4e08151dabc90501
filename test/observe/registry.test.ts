import fc from 'fast-check'
import t from 'tap'
import { exposition, mergeSnapshots, Registry } from '../../src/observe/registry.ts'

await t.test('the text of every type', async (t) => {
  const r = new Registry()
  r.counter('a_total', 'Help with \\ and\nline.')
  const labelled = r.counter('b_total', 'B.', ['code', 'method'])
  labelled.add({ code: '2xx', method: 'GET' })
  labelled.add({ method: 'GET', code: '2xx' }, 2)
  labelled.add({ code: 'quote " back \\ line \n', method: '' })
  const gauge = r.gauge('c', 'C.')
  gauge.set({}, -1.5)
  gauge.add({}, 0.25)
  const h = r.histogram('d_seconds', 'D.', [0.1, 1], ['op'])
  for (const value of [0.05, 0.1, 0.5, 1, 7]) h.observe({ op: 'x' }, value)
  t.equal(
    exposition(r.snapshot()),
    [
      '# HELP a_total Help with \\\\ and\\nline.',
      '# TYPE a_total counter',
      'a_total 0',
      '# HELP b_total B.',
      '# TYPE b_total counter',
      'b_total{code="2xx",method="GET"} 3',
      'b_total{code="quote \\" back \\\\ line \\n",method=""} 1',
      '# HELP c C.',
      '# TYPE c gauge',
      'c -1.25',
      '# HELP d_seconds D.',
      '# TYPE d_seconds histogram',
      'd_seconds_bucket{op="x",le="0.1"} 2',
      'd_seconds_bucket{op="x",le="1"} 4',
      'd_seconds_bucket{op="x",le="+Inf"} 5',
      'd_seconds_sum{op="x"} 8.65',
      'd_seconds_count{op="x"} 5',
      ''
    ].join('\n')
  )
})

await t.test('a counter only grows; a name is given once', async (t) => {
  const r = new Registry()
  const counter = r.counter('a_total', '')
  t.throws(() => {
    counter.add({}, -1)
  }, RangeError)
  t.throws(() => {
    counter.add({}, NaN)
  }, RangeError)
  t.throws(() => r.gauge('a_total', ''), /exists/)
})

await t.test('the number of series is bounded, and nothing is lost beyond', async (t) => {
  const r = new Registry()
  const counter = r.counter('a_total', '', ['x', 'y'])
  for (let i = 0; i < 10_000; i += 1) counter.add({ x: String(i), y: 'y' })
  const series = r.snapshot()[0]!.series
  t.ok(series.length <= 501, `${series.length} series`)
  t.equal(series.reduce((sum, { value }) => sum + value, 0), 10_000)
  t.equal(series.at(-1)?.labels.join(), 'other,other')
})

await t.test('label values cannot be confused with each other', async (t) => {
  const r = new Registry()
  const counter = r.counter('a_total', '', ['x', 'y'])
  counter.add({ x: 'a,b', y: 'c' })
  counter.add({ x: 'a', y: 'b,c' })
  t.equal(r.snapshot()[0]?.series.length, 2)
})

await t.test('workers add up: merged snapshots equal one process that saw it all, also after JSON', async (t) => {
  const event = fc.record({ worker: fc.nat(2), op: fc.constantFrom('a', 'b', 'c'), value: fc.integer({ min: 0, max: 20 }) })
  const make = () => {
    const r = new Registry()
    return {
      r,
      counter: r.counter('n_total', '', ['op']),
      hist: r.histogram('h', '', [1, 5, 10], ['op']),
      sum: r.gauge('sum', ''),
      max: r.gauge('max', '', [], 'max')
    }
  }
  let runs = 0
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const workers = [make(), make(), make()]
      const one = make()
      for (const { worker, op, value } of events) {
        for (const m of [workers[worker]!, one]) {
          m.counter.add({ op }, value)
          m.hist.observe({ op }, value)
          m.sum.add({}, value)
        }
      }
      for (const [i, m] of workers.entries()) m.max.set({}, i)
      one.max.set({}, 2)
      const merged = mergeSnapshots(workers.map(({ r }) => JSON.parse(JSON.stringify(r.snapshot())) as ReturnType<Registry['snapshot']>))
      const lines = (snapshot: ReturnType<Registry['snapshot']>) => exposition(snapshot).split('\n').sort().join('\n')
      runs += 1
      return lines(merged) === lines(one.r.snapshot())
    }),
    { numRuns: 200 }
  )
  t.equal(mergeSnapshots([]).length, 0)
  t.comment(`${runs} merges equal to one process`)
})

await t.test('a snapshot does not change after it was taken', async (t) => {
  const r = new Registry()
  const h = r.histogram('h', '', [1])
  h.observe({}, 0.5)
  const before = r.snapshot()
  const text = exposition(before)
  h.observe({}, 0.5)
  mergeSnapshots([before, r.snapshot()])
  t.equal(exposition(before), text)
})
