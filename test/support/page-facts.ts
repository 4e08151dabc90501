import { requestBuckets } from '../../src/observe/metrics.ts'
import type { Minute } from '../../src/observe/activity.ts'
import type { KeyFacts, ProcessReport, StoreFacts, WorkerFacts } from '../../src/page/facts.ts'
import { factsOf } from '../../src/page/merge.ts'

export const now = new Date('2026-11-29T12:00:30Z')
const ago = (seconds: number): string => new Date(now.getTime() - seconds * 1000).toISOString()
const enforced = { put: true, complete: true, copy: true, delete: true, copySourceIfMatch: true }

const key: KeyFacts = {
  name: 'main',
  type: 'local',
  keyId: 'local:main:20260101-0123abcd',
  versions: [{ id: '20250101-89abcdef', state: 'decrypt-only' }, { id: '20260101-0123abcd', state: 'enabled' }],
  ok: true,
  since: ago(90_000),
  code: null,
  reason: null,
  cause: {},
  uses: 1234,
  lastError: null,
  backup: { at: ago(3 * 86_400), missing: [] }
}

const store: StoreFacts = {
  name: 'default',
  endpoint: 'https://s3.example.org',
  region: 'eu-central-1',
  ready: true,
  clockSkewSeconds: 0,
  configured: {},
  capabilities: ['unversioned', 'versioned', 'suspended'].map((kind) => ({ kind, conditions: enforced, ageSeconds: 600, failure: null }))
}

/** Minutes with traffic that goes up and down, the newest last. */
export function minutes(count = 60): Minute[] {
  const newest = Math.floor(now.getTime() / 60_000)
  return Array.from({ length: count }, (_, i): Minute => {
    const requests = Math.round(400 + 300 * Math.sin(i / 7) + i * 37 % 50)
    const failed = i % 17 === 5 ? 40 : 0
    return {
      minute: newest - count + 1 + i,
      requests: { '2xx': requests, '4xx': i % 5 * 8, '5xx': failed },
      codes: { NoSuchKey: i % 5 * 8, ...failed === 0 ? {} : { SlowDown: 30, SealgateUpstreamTimeout: 10 } },
      bytesIn: requests * 90_000,
      bytesOut: Math.round(requests * 60_000 * (1 + Math.cos(i / 5))),
      durations: [...requestBuckets, Infinity].map((_, bound) => Math.round(requests * Math.exp(-Math.abs(bound - 3 - i % 3)) / 2)),
      store: { calls: requests * 2, failed, seconds: requests * 2 * (0.012 + 0.004 * Math.sin(i / 4)), longest: 0.4 },
      kms: { calls: 6, failed: 0, seconds: 6 * (0.015 + i % 9 * 0.002), longest: 0.03 }
    }
  })
}

/** What one process says where all is well. */
export function report(change: Partial<ProcessReport> = {}): ProcessReport {
  return {
    ready: true,
    checks: [
      { name: 'keys', store: null, ok: true, at: ago(4), since: ago(90_000), code: null, reason: null, cause: {} },
      { name: 'store', store: 'default', ok: true, at: ago(4), since: ago(90_000), code: null, reason: null, cause: {} },
      { name: 'stateBucket', store: 'default', ok: true, at: ago(4), since: ago(90_000), code: null, reason: null, cause: {} }
    ],
    keys: [key],
    heldBack: [],
    stores: [store],
    buckets: [{ pattern: '*', store: 'default', encryption: 'on', key: 'main', metadata: 'sealed', plaintext: 'refuse', publicRead: 'none' }],
    scans: [{ bucket: 'orders', store: 'default', pattern: '*', ended: ago(7200), versions: false, states: { sealed: { objects: 1_204_311, bytes: 9e11 } } }],
    activity: { minutes: minutes(), integrityFailures: [] },
    audited: true,
    auditFailure: null,
    certificateEnds: now.getTime() / 1000 + 60 * 86_400,
    reload: { ok: true, at: ago(90_000) },
    load: { connections: 41, requestsInFlight: 7 },
    ...change
  }
}

export function worker(number: number, change: Partial<WorkerFacts> = {}): WorkerFacts {
  return { number, state: 'serving', startedAt: ago(90_000), restarts: 0, lastEnd: null, load: { connections: 41, requestsInFlight: 7 }, ...change }
}

/** All of them together on one page. @param change of the only process */
export function facts(change: Partial<ProcessReport> = {}, workers: readonly WorkerFacts[] = [worker(1)]) {
  return factsOf({ version: '1.2.3', node: 'v24.0.0', host: 'gateway-1', at: now, uptimeSeconds: 90_000, workers, reports: [report(change)], departed: [] })
}

/** Everything that the page can show goes wrong at once. */
export function troubled() {
  const cause = { service: 'store', operation: 'GET bucket ?versioning', system: 'ECONNREFUSED', trouble: 'unreachable' }
  return facts({
    ready: false,
    checks: [
      { name: 'keys', store: null, ok: true, at: ago(4), since: ago(90_000), code: null, reason: null, cause: {} },
      { name: 'store', store: 'far', ok: false, at: ago(4), since: ago(754), code: 'SealgateBadUpstream', reason: 'The store cannot be reached.', cause },
      { name: 'stateBucket', store: 'near', ok: false, at: null, since: null, code: 'NotYetRun', reason: null, cause: {} }
    ],
    keys: [
      { ...key, backup: null },
      {
        ...key,
        name: 'cloud',
        type: 'aws-kms',
        keyId: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab',
        versions: [],
        ok: false,
        since: ago(400),
        code: 'KMS.DisabledException',
        reason: 'Key cloud: its last use failed.',
        cause: { service: 'kms', operation: 'Decrypt', errorName: 'DisabledException', status: 400, trouble: 'denied' },
        lastError: { code: 'KMS.DisabledException', at: ago(3) },
        backup: null
      },
      { ...key, name: 'old', keyId: null, ok: null, since: null, backup: { at: ago(40 * 86_400), missing: ['20260101-0123abcd'] } }
    ],
    heldBack: ['eu-central-1'],
    stores: [
      {
        ...store,
        name: 'near',
        clockSkewSeconds: -431,
        capabilities: [
          { kind: 'unversioned', conditions: enforced, ageSeconds: 600, failure: null },
          { kind: 'versioned', conditions: { ...enforced, put: false, delete: false }, ageSeconds: 30, failure: null },
          { kind: 'suspended', conditions: null, ageSeconds: 20, failure: 'The probe took too long.' }
        ]
      },
      { ...store, name: 'far', ready: false, clockSkewSeconds: null, configured: { put: true, delete: false } }
    ],
    buckets: [
      { pattern: '*', store: 'near', encryption: 'on', key: 'main', metadata: 'sealed', plaintext: 'refuse', publicRead: 'none' },
      { pattern: 'archive-*', store: 'far', encryption: 'on', key: 'cloud', metadata: 'clear', plaintext: 'allow', publicRead: 'under site/, img/' },
      { pattern: 'public-site', store: 'near', encryption: 'off', key: 'main', metadata: 'clear', plaintext: 'refuse', publicRead: 'all' }
    ],
    scans: [
      {
        bucket: 'orders',
        store: 'near',
        pattern: '*',
        ended: ago(7200),
        versions: true,
        states: {
          'sealed': { objects: 120_431, bytes: 9e11 },
          'plaintext': { objects: 7531, bytes: 2.5e10 },
          's3ec-v2': { objects: 913, bytes: 4e9 },
          'damaged': { objects: 3, bytes: 3000 },
          'delete-marker': { objects: 12, bytes: 0 }
        }
      },
      { bucket: 'invoices', store: 'near', pattern: '*', ended: ago(86_400), versions: false, states: { sealed: { objects: 88, bytes: 1e6 } } }
    ],
    activity: { minutes: minutes(), integrityFailures: [{ at: ago(1900), kind: 'segment' }, { at: ago(100), kind: 'box' }] },
    auditFailure: { since: ago(320), at: ago(2), system: 'ENOSPC' },
    certificateEnds: now.getTime() / 1000 - 86_400,
    reload: { ok: false, at: ago(50) }
  }, [
    worker(1),
    worker(2, { state: 'ended', restarts: 3, load: null, lastEnd: { at: ago(1), code: null, signal: 'SIGKILL' } }),
    worker(3, { state: 'silent', load: null }),
    worker(4, { restarts: 1, lastEnd: { at: ago(1200), code: 134, signal: null } })
  ])
}

/** A gateway with two troubles: the picture of docs/OPERATIONS.md. */
export function picture() {
  const orders = { sealed: { objects: 1_203_900, bytes: 9e11 }, plaintext: { objects: 753, bytes: 4e9 } }
  return facts({
    keys: [{ ...key, backup: { at: ago(104 * 86_400), missing: [] } }],
    scans: [{ bucket: 'orders', store: 'default', pattern: '*', ended: ago(7200), versions: false, states: orders }]
  }, [worker(1), worker(2)])
}
