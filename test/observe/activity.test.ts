import t from 'tap'
import { ActivityRecorder, mergeActivities, quantile, sumOfCalls } from '../../src/observe/activity.ts'
import { requestBuckets } from '../../src/observe/metrics.ts'

const minute = 60_000
const request = { status: 200, code: null, seconds: 0.02, bytesIn: 10, bytesOut: 20 }

await t.test('requests by minutes, for one hour', async (t) => {
  let now = 1000 * minute
  const recorder = new ActivityRecorder(() => now)
  recorder.request(request)
  recorder.request({ ...request, status: 404, code: 'NoSuchKey' })
  recorder.request({ ...request, code: 'SealgateUpstreamTimeout' })
  recorder.request({ ...request, status: null, seconds: 1000 })
  recorder.called('kms', 0.5, true)
  recorder.called('kms', 0.1, false)
  const [first] = recorder.report().minutes
  t.match(first, {
    minute: 1000,
    requests: { '2xx': 1, '4xx': 1, '5xx': 1, 'none': 1 },
    codes: { NoSuchKey: 1, SealgateUpstreamTimeout: 1 },
    bytesIn: 40,
    bytesOut: 80,
    store: { calls: 0 },
    kms: { calls: 2, failed: 1, seconds: 0.6, longest: 0.5 }
  })
  t.strictSame(first?.codes, { NoSuchKey: 1, SealgateUpstreamTimeout: 1 }, 'a success has no code')
  t.equal(first?.durations.at(-1), 1, 'longer than every bound')
  now += 59 * minute
  recorder.request(request)
  t.same(recorder.report().minutes.map((one) => one.minute), [1000, 1059])
  now += minute
  t.same(recorder.report().minutes.map((one) => one.minute), [1059], 'also when nothing has happened since')
  now -= 30 * minute
  recorder.request(request)
  t.match(recorder.report().minutes, [{ minute: 1059, requests: { '2xx': 2 } }], 'a clock that is set back')
  now += 1000 * minute
  for (let i = 0; i < 100; i += 1) recorder.request(request)
  t.equal(recorder.report().minutes.length, 1)
})

await t.test('a minute begins with its first millisecond, and only the newest one is added to', async (t) => {
  let now = 0
  const recorder = new ActivityRecorder(() => now)
  for (const at of [0, minute - 1, minute, 3 * minute - 1, 3 * minute, 2 * minute]) {
    now = at
    recorder.request(request)
  }
  const { minutes } = recorder.report()
  t.same(minutes.map((one) => [one.minute, one.requests['2xx']]), [[0, 2], [1, 1], [2, 1], [3, 2]], 'a clock that is set back adds to the newest')
  t.same(minutes.map(({ durations }) => durations.length), minutes.map(() => requestBuckets.length + 1))
  t.strictSame(minutes[0]?.kms, { calls: 0, failed: 0, seconds: 0, longest: 0 })
  t.same(mergeActivities([{ minutes, integrityFailures: [] }]).minutes.map((one) => one.minute), [0, 1, 2, 3])
})

await t.test('codes of others: bounded in number and in length, whatever they are called', async (t) => {
  const recorder = new ActivityRecorder(() => 0)
  for (const code of ['constructor', 'toString', '__proto__', 'a'.repeat(1000), '<script>']) recorder.request({ ...request, status: 500, code })
  for (let i = 0; i < 1000; i += 1) recorder.request({ ...request, status: 500, code: `Code${i}` })
  const codes = recorder.report().minutes[0]?.codes ?? {}
  t.equal(Object.keys(codes).length, 24)
  t.equal(Object.values(codes).filter((count) => count === 1).length, 23, 'so many by name, the rest together')
  t.notOk(Object.hasOwn(codes, 'null'))
  t.match(Object.fromEntries(Object.entries(codes)), { constructor: 1, toString: 1 })
  t.equal(Object.values(codes).reduce((sum, count) => sum + count, 0), 1005)
  t.ok(Object.keys(codes).every((code) => /^[A-Za-z]\w{0,63}$/.test(code)))
})

await t.test('the last integrity failures, with their times', async (t) => {
  let now = 0
  const recorder = new ActivityRecorder(() => now)
  for (let i = 0; i < 60; i += 1) {
    now += 1000
    recorder.integrityFailure(i === 59 ? 'box' : 'segment')
  }
  const { integrityFailures } = recorder.report()
  t.equal(integrityFailures.length, 50)
  t.same(integrityFailures.at(-1), { at: '1970-01-01T00:01:00.000Z', kind: 'box' })
})

await t.test('several processes are added up by minutes', async (t) => {
  const [a, b] = [new ActivityRecorder(() => 5 * minute), new ActivityRecorder(() => 6 * minute)]
  const c = new ActivityRecorder(() => 5 * minute)
  for (const recorder of [a, b, c, c]) {
    recorder.request({ ...request, status: 404, code: 'NoSuchKey' })
    recorder.called('store', 2, false)
  }
  c.integrityFailure('x')
  const merged = mergeActivities([b.report(), a.report(), c.report()])
  t.match(merged, {
    minutes: [{ minute: 5, requests: { '4xx': 3 }, codes: { NoSuchKey: 3 }, bytesIn: 30, store: { calls: 3, seconds: 6, longest: 2 } }, {
      minute: 6,
      requests: { '4xx': 1 }
    }],
    integrityFailures: [{ kind: 'x' }]
  })
  t.same(sumOfCalls(merged.minutes, 'store'), { calls: 4, failed: 0, seconds: 8, longest: 2 })
  const [sum] = merged.minutes
  t.match(sum, { bytesOut: 60, kms: { calls: 0 } })
  t.equal(sum?.durations.reduce((all, one) => all + one, 0), 3)
  t.same(merged.minutes[1]?.durations, a.report().minutes[0]?.durations)
  const failures = (...times: readonly number[]) => ({
    minutes: [],
    integrityFailures: times.map((time) => ({ at: new Date(time).toISOString(), kind: 'box' }))
  })
  const timesOf = (...all: readonly ReturnType<typeof failures>[]) => mergeActivities(all).integrityFailures.map(({ at }) => Date.parse(at))
  t.same(timesOf(failures(1, 4), failures(2), failures(3)), [1, 2, 3, 4])
  const many = Array.from({ length: 30 }, (_, i) => i)
  t.same(timesOf(failures(...many.map((i) => i * 2)), failures(...many.map((i) => i * 2 + 1))), Array.from({ length: 50 }, (_, i) => i + 10), 'the newest 50')
  t.same(mergeActivities([]), { minutes: [], integrityFailures: [] })
  const late = new ActivityRecorder(() => 66 * minute)
  late.request(request)
  t.same(mergeActivities([a.report(), late.report(), b.report()]).minutes.map((one) => one.minute), [66], 'what is more than an hour before the newest is over')
})

await t.test('quantiles between the bounds', async (t) => {
  const recorder = new ActivityRecorder(() => 0)
  for (let i = 0; i < 100; i += 1) recorder.request({ ...request, seconds: i < 90 ? 0.02 : 0.3 })
  const { durations } = recorder.report().minutes[0]!
  t.equal(quantile(durations, 0.5)! > 0.01 && quantile(durations, 0.5)! <= 0.025, true)
  t.equal(quantile(durations, 0.99)! > 0.25 && quantile(durations, 0.99)! <= 0.5, true)
  t.equal(quantile([], 0.5), null)
  t.equal(quantile([1], 1), 0.001, 'of one request')
  t.equal(quantile([0, 5], 0), 0.001, 'the first bound below that there is one')
  const ten = new ActivityRecorder(() => 0)
  for (let i = 0; i < 10; i += 1) ten.request({ ...request, seconds: i < 5 ? 0.001 : 0.02 })
  const { durations: half } = ten.report().minutes[0]!
  // Five up to 1 ms, and five of more than 10 and up to 25 ms.
  for (const [share, seconds] of [[0.25, 0.0005], [0.5, 0.001], [0.7, 0.016], [1, 0.025]] as const) t.equal(Number(quantile(half, share)?.toFixed(6)), seconds)
  recorder.request({ ...request, seconds: 1e9 })
  t.equal(quantile(recorder.report().minutes[0]!.durations, 1), 300, 'of what is longer than every bound: the last bound')
})
