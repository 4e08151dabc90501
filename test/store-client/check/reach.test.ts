// The first questions of `store check`: address, TLS, clock.
import t, { type Test } from 'tap'
import type { UpstreamConfig } from '../../../src/config/config.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { reachStore, type Reach } from '../../../src/store-client/check/reach.ts'
import { changesOf } from '../../../src/store-client/check/plan.ts'
import { openUpstream } from '../../../src/store-client/store-adapter.ts'
import type { StoreUpstream } from '../../../src/upstream/upstream.ts'
import { startTestStore } from '../../support/hostile.ts'
import { lookupBuckets, startNarrowStore } from '../../support/narrow-store.ts'

const store = await startTestStore({ keepBodies: false, buckets: ['sealgate-state'] })
t.teardown(async () => {
  await store.close()
})

const { endpoint, region, accessKeyId, secretAccessKey } = store

/** Asks as the command does. */
async function reach(t: Test, more: object, tls: Reach['tls'] = () => Promise.resolve(null)) {
  const clients = [{ accessKeyId: 'client', secretAccessKey: 'a-long-secret-of-a-client' }]
  const upstream = { endpoint, region, accessKeyId, secretAccessKey, ...more }
  const config = parseConfig(JSON.stringify({ upstream, clients, keys: { main: { type: 'local', keyring: '/keyring.json' } } }), {
    file: '/sealgate.yaml',
    env: {}
  })
  const settings = config.upstreams['default']!
  const opened: StoreUpstream[] = []
  const open = (asked: UpstreamConfig): StoreUpstream => {
    // TLS is asked apart from the exchanges, which need none here.
    const plain = asked.endpoint.startsWith('https:') ? { ...asked, endpoint, style: 'path' as const } : asked
    const one = openUpstream(plain, config.limits, { lookup: lookupBuckets })
    opened.push(one)
    return one
  }
  t.teardown(async () => {
    for (const one of opened) await one.close()
  })
  const { facts } = await reachStore({ config: settings, open, tls, signal: new AbortController().signal })
  const whole = facts.map((fact) => ({ means: '', settings: {}, bucket: 'unversioned' as const, ...fact }))
  return { facts, changes: changesOf(whole, settings), of: (id: string) => facts.find((fact) => fact.id === id) }
}

await t.test('the style that the store answers is proposed where it does not answer the one of the configuration', async (t) => {
  const front = await startNarrowStore(store, { style: 'virtual-host' })
  t.teardown(() => front.close())
  const access = { endpoint: front.endpoint, accessKeyId: front.accessKeyId, secretAccessKey: front.secretAccessKey }
  const path = await reach(t, { ...access, style: 'path' })
  t.match(path.of('style'), { verdict: 'fails', needed: true, seen: /^path: .*; virtual-host: works$/ })
  t.same(path.changes, { 'upstream.style': 'virtual-host' })
  const right = await reach(t, { ...access, style: 'virtual-host' })
  t.match(right.of('style'), { verdict: 'used', seen: 'virtual-host' })
  t.same(right.changes, {})
  const wrong = await reach(t, { endpoint: endpoint.replace('127.0.0.1', 'localhost'), style: 'virtual-host' })
  t.match(wrong.of('style'), { verdict: 'fails', seen: /^virtual-host: .*; path: works$/ })
  t.same(wrong.changes, { 'upstream.style': 'path' })
})

await t.test('a refusal is no reason for another style', async (t) => {
  await t.rejects(reach(t, { secretAccessKey: 'wrong' }), { name: 'S3Error' })
  store.rules.add({ times: 9, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  const refused = await reach(t, {})
  store.rules.clear()
  t.match([refused.of('style')?.verdict, refused.changes], ['unknown', {}])
})

await t.test('TLS: version, name and end of the certificate', async (t) => {
  t.match((await reach(t, {})).of('tls'), { verdict: 'unused', seen: 'none: plain HTTP' })
  const days = (count: number): Date => new Date(Date.now() + count * 86_400_000 + 60_000)
  const said = async (facts: Awaited<ReturnType<Reach['tls']>>, more: object = {}) => {
    const names: string[] = []
    const { of } = await reach(t, { endpoint: 'https://localhost', ...more }, (host) => {
      names.push(host)
      return Promise.resolve(facts)
    })
    return { reading: of('tls'), names }
  }
  const good = { protocol: 'TLSv1.3', expires: days(60), fault: null }
  t.match(await said(good), { names: ['localhost'], reading: { verdict: 'used', seen: /^TLSv1\.3, a certificate for localhost until \d{4}-\d\d-\d\d$/ } })
  t.match(await said(good, { style: 'virtual-host' }), { names: ['sealgate-state.localhost'] }, 'the name that requests for a bucket go to')
  t.match(await said({ ...good, expires: days(2) }), { reading: { verdict: 'fails', seen: /: 2 days$/, means: /renew/ } })
  const foreign = { ...good, fault: 'ERR_TLS_CERT_ALTNAME_INVALID' }
  t.match(await said(foreign), { reading: { verdict: 'fails', needed: true, seen: 'TLSv1.3, ERR_TLS_CERT_ALTNAME_INVALID for localhost' } })
  t.match(await said(null), { reading: { verdict: 'unknown' } })
})
