import t from 'tap'
import { factsOf } from '../../src/page/merge.ts'
import { minutes, now, report, worker } from '../support/page-facts.ts'

const process = { version: '1', node: 'v24', host: 'h', at: now, uptimeSeconds: 1, departed: [] }

await t.test('of several processes: the worst state, the sum of the traffic', async (t) => {
  const [key] = report().keys
  const [check, ...checks] = report().checks
  const failing = { ...check!, ok: false, since: '2026-11-29T11:00:00.000Z', code: 'ServiceUnavailable', reason: 'why' }
  const failed = report({
    ready: false,
    checks: [failing, ...checks],
    keys: [{ ...key!, ok: false, uses: 6, lastError: { code: 'AccessDenied', at: '2026-11-29T11:30:00.000Z' } }],
    stores: [{ ...report().stores[0]!, clockSkewSeconds: -90, ready: false }],
    certificateEnds: 5,
    auditFailure: { since: '2026-11-29T11:00:00.000Z', at: '2026-11-29T11:30:00.000Z', system: 'ENOSPC' },
    reload: { ok: false, at: '2026-11-29T10:00:00.000Z' }
  })
  const facts = factsOf({ ...process, workers: [worker(1), worker(2), worker(3)], reports: [report(), failed, report()] })
  t.match(facts, { ready: false, certificateEnds: 5, auditFailure: { system: 'ENOSPC' }, reload: { ok: false } })
  t.match(facts.checks, [failing, ...checks])
  t.match(facts.keys, [{ name: 'main', ok: false, uses: 2 * 1234 + 6, lastError: { code: 'AccessDenied' } }])
  t.match(facts.stores, [{ ready: false, clockSkewSeconds: -90 }])
  t.equal(facts.activity.minutes.length, 60)
  t.equal(facts.activity.minutes[7]?.requests['2xx'], 3 * (minutes()[7]?.requests['2xx'] ?? 0))
  t.same(facts.buckets, report().buckets)
})

await t.test('a dead worker makes the gateway not ready, and its last hour counts on', async (t) => {
  const dead = worker(2, { state: 'ended', lastEnd: { at: now.toISOString(), code: null, signal: 'SIGKILL' } })
  const facts = factsOf({ ...process, workers: [worker(1), dead], reports: [report()], departed: [report().activity] })
  t.equal(facts.ready, false)
  t.equal(facts.activity.minutes[7]?.requests['2xx'], 2 * (minutes()[7]?.requests['2xx'] ?? 0))
  t.match(facts.findings, [{ severity: 'error', subject: 'worker 2', title: 'The worker is dead' }])
})

await t.test('what was found out last about a store counts', async (t) => {
  const [store] = report().stores
  const capability = (ageSeconds: number | null, put: boolean | null) => ({
    kind: 'versioned',
    conditions: put === null ? null : { put },
    ageSeconds,
    failure: null
  })
  const asked = (...found: ReturnType<typeof capability>[]) =>
    factsOf({ ...process, workers: [worker(1)], reports: found.map((one) => report({ stores: [{ ...store!, capabilities: [one] }] })) }).stores[0]?.capabilities
  t.match(asked(capability(null, null), capability(50, false), capability(9, true)), [{ ageSeconds: 9, conditions: { put: true } }])
  t.match(asked(capability(null, null), capability(null, null)), [{ ageSeconds: null, conditions: null }])
})

await t.test('no worker answers: not ready, and nothing is made up', async (t) => {
  const facts = factsOf({ ...process, workers: [worker(1, { state: 'silent', load: null })], reports: [] })
  t.match(facts, { ready: false, checks: [], keys: [], stores: [], findings: [{ title: 'The worker does not answer' }] })
})

await t.test('where several say something: the earliest failure, the last error, the largest skew, the newest scan, the first certificate to end', async (t) => {
  const [key] = report().keys
  const [check] = report().checks
  const [store] = report().stores
  const [scan] = report().scans
  const at = (minute: number): string => `2026-11-29T11:${minute}:00.000Z`
  const told = (minute: number, change: Parameters<typeof report>[0] = {}) =>
    report({
      checks: [{ ...check!, ok: false, since: at(minute), reason: `${minute}` }],
      keys: [{ ...key!, lastError: { code: `${minute}`, at: at(minute) } }],
      stores: [{ ...store!, clockSkewSeconds: minute - 30 }],
      scans: [{ ...scan!, ended: at(minute) }],
      heldBack: [`${minute}`, 'all'],
      auditFailure: { since: at(minute), at: at(minute), system: null },
      certificateEnds: minute,
      reload: { ok: true, at: at(minute) },
      ...change
    })
  for (const order of [[12, 50, 31], [50, 31, 12], [31, 12, 50]]) {
    const facts = factsOf({ ...process, workers: [], reports: order.map((minute) => told(minute)) })
    t.match(facts, {
      checks: [{ reason: '12' }],
      keys: [{ lastError: { code: '50' } }],
      stores: [{ clockSkewSeconds: 20 }],
      scans: [{ ended: at(50) }],
      auditFailure: { since: at(12) },
      certificateEnds: 12,
      reload: { ok: true, at: at(50) }
    })
    t.same(facts.heldBack.toSorted(), ['12', '31', '50', 'all'])
  }
  const refused = factsOf({ ...process, workers: [], reports: [told(12, { reload: { ok: false, at: at(12) } }), told(50)] })
  t.same(refused.reload, { ok: false, at: at(12) }, 'a reload that one process refused is news')
  const above = factsOf({ ...process, workers: [], reports: [told(50)], reloadRefused: at(55) })
  t.same(above.reload, { ok: false, at: at(55) }, 'one that no worker has heard of as well')
  const untried = factsOf({ ...process, workers: [], reports: [told(12, { keys: [key!] }), told(12, { keys: [{ ...key!, ok: null }] })] })
  t.equal(untried.keys[0]?.ok, null, 'a key is not said to work before every process has tried it')
})
