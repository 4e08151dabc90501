import { PutObjectCommand } from '@aws-sdk/client-s3'
import t from 'tap'
import { statusPage, toldAlone, toldByWorkers } from '../../src/cli/status-page.ts'
import { ActivityRecorder } from '../../src/observe/activity.ts'
import type { Facts } from '../../src/page/facts.ts'
import { contentSecurityPolicy } from '../../src/page/style.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { report } from '../support/page-facts.ts'

const admin = { host: '127.0.0.1', port: 9001, page: true }

await t.test('no page unless the configuration wants one', async (t) => {
  t.equal(statusPage(null, async () => ({ workers: [], reports: [], departed: [] })), null)
  t.equal(statusPage({ ...admin, page: false }, async () => ({ workers: [], reports: [], departed: [] })), null)
})

await t.test('of a process that serves alone: what the gateway reports, the same in both forms', async (t) => {
  const store = await startTestStore({ buckets: ['bucket'] })
  t.teardown(() => store.close())
  const gateway = await startTestGateway(store)
  t.teardown(() => gateway.close())
  const s3 = gateway.client()
  await s3.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'confidential', Body: 'x' }))
  const page = statusPage(admin, () => toldAlone({ report: async () => await gateway.gateway.report?.() ?? null }))
  const facts = await page?.json() as Facts
  t.match(facts, {
    ready: true,
    workers: [{ number: 1, state: 'serving' }],
    checks: [{ name: 'keys', store: null, ok: true }, { name: 'store', store: 'default', ok: true }, { name: 'stateBucket', ok: true }],
    keys: [{ name: 'main', type: 'local', ok: true, uses: 1, backup: null, versions: [{ state: 'enabled' }] }],
    stores: [{ name: 'default', endpoint: store.endpoint, ready: true }],
    buckets: [{ pattern: '*', encryption: 'on', key: 'main', publicRead: 'none' }],
    activity: { minutes: [{ requests: { '2xx': 1 } }] },
    findings: [{ subject: 'key main', title: 'No backup of the keyring was ever checked here' }]
  })
  t.equal(page?.policy, contentSecurityPolicy)
  const html = await page?.html(true) ?? ''
  for (const said of [facts.keys[0]?.keyId ?? '', store.endpoint, facts.findings[0]?.title ?? '']) t.ok(html.includes(said), said)
  t.notMatch(
    html + JSON.stringify(facts),
    new RegExp(`confidential|${gateway.accessKeyId}|${gateway.secretAccessKey}|${store.secretAccessKey}|${store.accessKeyId}`)
  )
})

await t.test('of workers: dead, starting and silent ones too, with the last hour they told', async (t) => {
  const recorder = new ActivityRecorder(() => 0)
  recorder.called('store', 1, false)
  const activity = recorder.report()
  const seat = (number: number, dead: boolean, listening: boolean) => ({
    number,
    worker: { isDead: () => dead },
    startedAt: 0,
    listening,
    activity,
    restarts: number,
    lastEnd: null
  })
  const seats = [seat(1, false, true), seat(2, true, false), seat(3, false, false), seat(4, false, true)]
  const answer = { ready: { ok: true, checks: {} }, metrics: null, status: null, page: report() }
  const told = toldByWorkers(seats, new Map([[seats[0]!, answer]]), activity)
  t.match(told.workers.map(({ number, state, restarts, load }) => [number, state, restarts, load === null]), [
    [1, 'serving', 1, false],
    [2, 'ended', 2, true],
    [3, 'starting', 3, true],
    [4, 'silent', 4, true]
  ])
  t.equal(told.reports.length, 1)
  t.same(told.departed, [activity, activity, activity, activity], 'once for those that were, and once for each that does not answer')
})
