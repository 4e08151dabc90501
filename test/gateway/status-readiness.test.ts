import t, { type Test } from 'tap'
import { StoreChecks } from '../../src/gateway/status.ts'
import { startTestStore } from '../support/hostile.ts'
import type { Match } from '../support/rules.ts'
import { upstreamTo } from '../support/raw-store.ts'
import { codeOf } from '../support/error-code.ts'

const never = new AbortController().signal
const stateBucket = 'state'

async function rig(t: Test) {
  const store = await startTestStore({ buckets: [stateBucket] })
  t.teardown(() => store.close())
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const upstream = upstreamTo(t, endpoint, {}, {}, { credentials: { accessKeyId, secretAccessKey, sessionToken: null } })
  const clock = { now: 0 }
  let told = 0
  const checks = new StoreChecks(upstream, {
    stateBucket,
    region,
    now: () => clock.now,
    markers: () => {
      told += 1
    }
  })
  return {
    store,
    checks,
    clock,
    told: () => told,
    outcome: async () => ({ store: await codeOf(checks.store(never)), stateBucket: await codeOf(checks.stateBucket(never)) }),
    refuse: (when: Match) =>
      store.rules.add({ when: { bucket: stateBucket, ...when }, times: Infinity, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  }
}

await t.test('a state bucket that can no longer be written, read or emptied is found out within a minute, and the store is not to blame', async (t) => {
  const { store, clock, outcome, refuse } = await rig(t)
  const good = { store: 'ok', stateBucket: 'ok' }
  t.same(await outcome(), good)
  for (const method of ['PUT', 'GET', 'DELETE']) {
    const rule = refuse({ method, key: /./ })
    clock.now += 59_000
    t.same(await outcome(), good, `${method}: proved a short while ago`)
    clock.now += 1000
    t.same(await outcome(), { store: 'ok', stateBucket: 'ServiceUnavailable' }, method)
    t.same(await outcome(), { store: 'ok', stateBucket: 'ServiceUnavailable' }, `${method}: asked again at once`)
    rule.remove()
    t.same(await outcome(), good)
  }
  const other = store.rules.add({ when: { method: 'GET', key: /./ }, fault: { type: 'answer', status: 200, body: 'something else' } })
  clock.now += 60_000
  t.same(await outcome(), { store: 'ok', stateBucket: 'ServiceUnavailable' })
  other.remove()
  t.same(await outcome(), good)
  t.same(store.keys(stateBucket), [], 'nothing is left behind')
})

await t.test('a state bucket that is gone and may not be made is not the fault of the store; a store that fails is', async (t) => {
  const { store, outcome, refuse } = await rig(t)
  const rule = refuse({ key: '' })
  t.same(await outcome(), { store: 'ok', stateBucket: 'ServiceUnavailable' })
  rule.remove()
  store.rules.add({ times: Infinity, fault: { type: 'error', status: 503, code: 'SlowDown' } })
  t.same(await outcome(), { store: 'ServiceUnavailable', stateBucket: 'ServiceUnavailable' })
  store.rules.clear()
  store.rules.add({ times: Infinity, fault: { type: 'error', status: 403, code: 'InvalidAccessKeyId' } })
  t.match(await outcome(), { store: 'SealgateBadUpstream' })
})

await t.test('suspended versioning is accepted, and logged once', async (t) => {
  const { store, checks, told } = await rig(t)
  store.rules.add({
    when: { method: 'GET', query: { versioning: true } },
    times: Infinity,
    fault: { type: 'answer', status: 200, body: '<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>' }
  })
  await checks.stateBucket(never)
  await checks.stateBucket(never)
  t.equal(told(), 1)
})
