import t from 'tap'
import type { ProcessReport, WorkerFacts } from '../../src/page/facts.ts'
import { factsOf } from '../../src/page/merge.ts'
import { facts, minutes, now, report, worker } from '../support/page-facts.ts'

const ago = (seconds: number): string => new Date(now.getTime() - seconds * 1000).toISOString()
const day = 86_400
const titles = (change: Partial<ProcessReport>, workers?: readonly WorkerFacts[]): string[] =>
  facts(change, workers).findings.map(({ severity, subject, title }) => `${severity}: ${subject}: ${title}`)
const [key] = report().keys
const [store] = report().stores
const [scan] = report().scans

await t.test('each side of every limit', async (t) => {
  const backup = (days: number, missing: readonly string[] = []) => titles({ keys: [{ ...key!, backup: { at: ago(days * day), missing } }] })
  t.same(backup(89), [])
  t.same(backup(90), ['warning: key main: The backup of the keyring was last checked 90 days ago'])
  t.same(backup(1, ['a']), ['error: key main: The checked backup lacks 1 of the keyring\'s versions'])
  t.same(titles({ keys: [{ ...key!, type: 'aws-kms', backup: null }] }), [], 'a key service keeps its keys')

  const certificate = (days: number) => titles({ certificateEnds: now.getTime() / 1000 + days * day })
  t.same(certificate(15), [])
  t.same(certificate(13), ['warning: listen.tls.cert: The certificate expires in 13 d, 2026-12-12 12:00:30 UTC'])
  t.same(certificate(-1), ['error: listen.tls.cert: The certificate expired 2026-11-28 12:00:30 UTC'])

  const clock = (clockSkewSeconds: number) => titles({ stores: [{ ...store!, clockSkewSeconds }] })
  t.same([...clock(29), ...clock(-29)], [])
  t.same(clock(30), ['warning: store default: The clock of this machine is 30 s ahead of the store\'s'])
  t.same(clock(-300), ['error: store default: The clock of this machine is 5 min behind the store\'s'])

  const kms = (seconds: number, minutesAgo: number, failed = 0) =>
    titles({ activity: { integrityFailures: [], minutes: [{ ...minutes(minutesAgo + 1)[0]!, kms: { calls: 4, failed, seconds, longest: seconds } }] } })
  t.same(kms(2, 1), [])
  t.same(kms(2.1, 1), ['warning: key service: The key service (KMS) is slow'])
  t.same(kms(2.1, 11), [], 'a quarter of an hour ago is over')
  const young = (calls: number) =>
    factsOf({
      version: '1',
      node: 'v24',
      host: 'h',
      at: now,
      uptimeSeconds: 600,
      workers: [worker(1)],
      departed: [],
      reports: [report({ activity: { integrityFailures: [], minutes: [{ ...minutes(1)[0]!, kms: { calls, failed: 0, seconds: 99, longest: 9 } }] } })]
    }).findings.length
  t.same([young(3), young(4)], [0, 1], 'the first calls after a start show nothing')
  t.same(kms(0, 1, 1), ['warning: key service: 1 call of the key service failed'])

  const integrity = (seconds: number) => titles({ activity: { minutes: [], integrityFailures: [{ at: ago(seconds), kind: 'segment' }] } })
  t.same(integrity(3601), [])
  t.same(integrity(3599), ['error: integrity: 1 read did not verify in the last hour'])

  const ended = (seconds: number, state: WorkerFacts['state']) =>
    titles({}, [worker(1, { state, lastEnd: { at: ago(seconds), code: 1, signal: null }, startedAt: ago(seconds) })])
  t.same(ended(3601, 'serving'), [])
  t.same(ended(10, 'serving'), ['warning: worker 1: The worker died and was replaced'])
  t.same(titles({}, [worker(1, { state: 'starting', startedAt: ago(59) })]), [])
  t.same(titles({}, [worker(1, { state: 'starting', startedAt: ago(61) })]), ['warning: worker 1: The worker does not come up'])
})

await t.test('plaintext is a fault only where the policy is to seal', async (t) => {
  const found = (encryption: string) =>
    titles({
      buckets: [{ ...report().buckets[0]!, encryption }],
      scans: [{ ...scan!, states: { plaintext: { objects: 2, bytes: 9 }, sealed: { objects: 1, bytes: 1 } } }]
    })
  t.same(found('on'), ['error: bucket orders: 2 objects in plaintext'])
  t.same(found('off'), [])
})

await t.test('a state bucket of a store that is down is no second trouble, one of a store that is up is', async (t) => {
  const failing = (...names: readonly string[]) =>
    titles({ checks: report().checks.map((check) => names.includes(check.name) ? { ...check, ok: false, code: 'ServiceUnavailable', reason: 'why' } : check) })
  t.same(failing('store', 'stateBucket'), ['error: store default: The store cannot be used'])
  t.same(failing('stateBucket'), ['error: store default: The state bucket cannot be used'])
  t.same(failing('keys'), ['error: check keys: No key can be used'])
})

await t.test('errors come first', async (t) => {
  const severities = facts({ keys: [{ ...key!, backup: null }], reload: { ok: false, at: ago(1) }, certificateEnds: 1 }).findings.map(({ severity }) =>
    severity
  )
  t.same(severities, ['error', 'warning', 'warning'])
})

await t.test('conditions that a store ignores are a note; what the configuration says of them has precedence', async (t) => {
  const found = (conditions: Record<string, boolean> | null, configured: Record<string, boolean> = {}, failure: string | null = null) =>
    facts({ stores: [{ ...store!, configured, capabilities: [{ kind: 'versioned', conditions, ageSeconds: 1, failure }] }] }).findings.map((
      { severity, detail }
    ) => `${severity}: ${detail}`)
  t.same(found({ put: true }), [])
  t.match(found({ put: false, copy: false, delete: true }), [/^note: .* no effect on: put, copy\./])
  t.match(found({ put: false, copy: false }, { copy: true }), [/ no effect on: put\./])
  t.same(found({ put: false }, { put: true }), [])
  t.match(found({ put: true }, { put: false }), [/ no effect on: put\./])
  const kinds = ['unversioned', 'versioned', 'suspended'].map((kind, i) => ({ kind, conditions: { put: i === 1 }, ageSeconds: 1, failure: null }))
  t.same(titles({ stores: [{ ...store!, capabilities: kinds }] }), [
    'note: store default: The store does not enforce conditions in buckets that are unversioned or suspended'
  ])
  t.match(found(null, {}, 'Why.'), [/^warning: Why\./])
})

await t.test('a dead worker: how it ended, and how often it was started again', async (t) => {
  const detail = (lastEnd: WorkerFacts['lastEnd'], restarts: number) => facts({}, [worker(1, { state: 'ended', lastEnd, restarts })]).findings[0]?.detail
  t.match(detail({ at: ago(1), code: null, signal: 'SIGKILL' }, 0), /^It ended by SIGKILL\. The log/)
  t.match(detail({ at: ago(1), code: 134, signal: null }, 1), /^It ended with exit code 134\. Started again 1 time\. The log/)
  t.match(detail({ at: ago(1), code: null, signal: null }, 2), /^It ended with exit code unknown\. Started again 2 times\./)
})

await t.test('the audit file: the words of the system, or none', async (t) => {
  const detail = (system: string | null) => facts({ auditFailure: { since: ago(9), at: ago(1), system } }).findings[0]?.detail
  t.match(detail('ENOSPC'), /^The system says: no space left on the disk \(ENOSPC\); last tried 2026-11-29 12:00:29 UTC/)
  t.match(detail('EIO'), /error of the system \(EIO\)/)
  t.match(detail(null), /unknown error;/)
})

await t.test('titles of integrity failures name their kinds once', async (t) => {
  const found = facts({ activity: { minutes: [], integrityFailures: ['segment', 'box', 'segment'].map((kind, i) => ({ at: ago(30 - i), kind })) } }).findings
  t.match(found, [{ title: '3 reads did not verify in the last hour', detail: /^Kinds: segment, box\./, since: ago(30) }])
})
