// What a store does in one kind of bucket says nothing of another kind (decision 0025).
import { globSync, readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { bucketKinds, kindBucket, type BucketKind } from '../../src/config/config.ts'
import { Capabilities, type CapabilityReport } from '../../src/store-client/capabilities.ts'
import { probeConditions } from '../../src/store-client/probe-conditions.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { ask, upstreamTo } from '../support/raw-store.ts'
import { childrenOf, isNode, parseTypeScript, type SyntaxNode } from '../support/syntax.ts'

const signal = new AbortController().signal
const never = { put: false, complete: false, copy: false, delete: false, copySourceIfMatch: false }
const always = { put: true, complete: true, copySourceIfMatch: true }

async function rig(t: Test, options: Partial<ConstructorParameters<typeof Capabilities>[1]> = {}) {
  const store = await startTestStore({ buckets: ['state', 'target'] })
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  t.teardown(() => store.close())
  const upstream = upstreamTo(t, endpoint, {}, {}, { credentials: { accessKeyId, secretAccessKey, sessionToken: null } })
  const clock = { now: 0 }
  const told: CapabilityReport[] = []
  const capabilities = new Capabilities(upstream, {
    stateBucket: 'state',
    region,
    checksum: null,
    now: () => clock.now,
    learned: (report) => {
      told.push(report)
    },
    ...options
  })
  const write = async (bucket: string, key: string): Promise<number> => {
    const answer = await upstream.request(ask({ method: 'PUT', bucket, key, body: Buffer.from('x'), pool: 'control' }))
    answer.body.resume()
    return answer.status
  }
  const make = async (bucket: string, kind: BucketKind): Promise<string> => {
    const put = async (query: [string, string | null][], text: string): Promise<void> => {
      const answer = await upstream.request(ask({ method: 'PUT', bucket, key: null, query, body: text === '' ? null : Buffer.from(text), pool: 'control' }))
      answer.body.resume()
      t.equal(answer.status, 200, `${bucket} ${kind}`)
    }
    if (!made.has(bucket)) await put([], '')
    made.add(bucket)
    if (kind !== 'unversioned') {
      await put([['versioning', null]], `<VersioningConfiguration><Status>${kind === 'versioned' ? 'Enabled' : 'Suspended'}</Status></VersioningConfiguration>`)
    }
    return bucket
  }
  const made = new Set<string>()
  return { store, upstream, capabilities, clock, told, make, write, of: (bucket: string) => capabilities.of({ bucket, signal }) }
}

/** As radosgw 16 in buckets with versions: the condition is ignored, and the object is written. */
function ignoresConditions(store: TestStore, bucket: string): void {
  store.rules.add({
    when: { method: 'PUT', bucket, test: ({ headers }) => headers.has('if-none-match') },
    times: Infinity,
    fault: { type: 'answer', status: 200, headers: [['ETag', '"ignored"']] }
  })
}

await t.test('each kind is probed in its own bucket, once, and nothing is left there', async (t) => {
  const { store, capabilities, told, make, of } = await rig(t)
  ignoresConditions(store, 'state-versioned')
  t.match(await of('target'), never, 'nothing is known, nothing is believed')
  t.equal(store.requests.length, 0)
  t.equal(await capabilities.run(signal), true)
  t.match(await of('target'), always)
  t.match(await of(await make('versioned', 'versioned')), { put: false, complete: true })
  t.match(await of(await make('suspended', 'suspended')), always)
  t.same(told.map(({ kind, bucket, failure }) => [kind, bucket, failure]), [
    ['unversioned', 'state', null],
    ['versioned', 'state-versioned', null],
    ['suspended', 'state-suspended', null]
  ])
  t.same(capabilities.report().map(({ kind, conditions }) => [kind, conditions?.put]), [['unversioned', true], ['versioned', false], ['suspended', true]])
  for (const bucket of ['state', 'state-versioned', 'state-suspended']) {
    t.same(store.keys(bucket), [], bucket)
    t.equal(store.uploads(bucket), 0)
  }
  t.same(store.object('state-versioned', 'any').exists, false)
  const before = store.requests.length
  t.match(await of('versioned'), { put: false })
  t.match(await of('target'), always)
  t.equal(store.requests.length - before, 2, 'the kind of the bucket is asked for each time, and nothing else')
})

await t.test('versions and markers of a probe are removed as well', async (t) => {
  const { store, capabilities, make, of } = await rig(t)
  await capabilities.run(signal)
  await of(await make('versioned', 'versioned'))
  const deleted = store.requests.filter(({ method, bucket, query }) => method === 'DELETE' && bucket === 'state-versioned' && query.has('versionId'))
  t.ok(deleted.length > 6, `${deleted.length}`)
  const versions = new Set(deleted.map(({ query }) => query.get('versionId')))
  t.equal(versions.size, deleted.length)
})

await t.test('a bucket that changes its kind is another bucket with the next request', async (t) => {
  const { store, capabilities, make, of } = await rig(t)
  ignoresConditions(store, 'state-versioned')
  await capabilities.run(signal)
  await make('changing', 'unversioned')
  t.match(await of('changing'), always)
  await make('changing', 'versioned')
  t.match(await of('changing'), { put: false })
  await make('changing', 'suspended')
  t.match(await of('changing'), always)
})

await t.test('where all kinds behave alike, the kind of a bucket is not asked for', async (t) => {
  const { store, capabilities, clock, make, of } = await rig(t)
  await capabilities.run(signal)
  for (const kind of ['versioned', 'suspended'] as const) await of(await make(kind, kind))
  const before = store.requests.length
  t.match(await of('target'), always)
  t.match(await of('versioned'), always)
  t.equal(store.requests.length, before)
  // An hour later it may be another store.
  ignoresConditions(store, 'state-versioned')
  clock.now += 3_600_001
  t.match(await of('versioned'), { put: false })
  t.equal(await capabilities.run(signal), true, 'the state bucket is probed anew, too')
})

await t.test('what cannot be found out is refused: no bucket, another kind, no answer', async (t) => {
  const cases: Record<string, (store: TestStore) => void> = {
    'its own bucket may not be made': (store) => {
      store.rules.add({
        when: { method: 'PUT', bucket: 'state-versioned', key: '' },
        times: Infinity,
        fault: { type: 'error', status: 403, code: 'AccessDenied' }
      })
    },
    'its own bucket does not become versioned': (store) => {
      store.rules.add({
        when: { method: 'PUT', bucket: 'state-versioned', query: { versioning: true } },
        times: Infinity,
        fault: { type: 'answer', status: 200 }
      })
    },
    'it stops while it is probed': (store) => {
      store.rules.add({
        when: { method: 'PUT', bucket: 'state-versioned', key: /copy-to/ },
        times: Infinity,
        fault: { type: 'error', status: 500, code: 'InternalError' }
      })
    },
    'the bucket does not tell its kind': (store) => {
      store.rules.add({
        when: { bucket: 'versioned', query: { versioning: true } },
        times: Infinity,
        nth: 2,
        fault: { type: 'error', status: 403, code: 'AccessDenied' }
      })
    },
    'the bucket tells nonsense': (store) => {
      store.rules.add({
        when: { method: 'GET', bucket: 'versioned', query: { versioning: true } },
        times: Infinity,
        fault: { type: 'answer', status: 200, body: '<VersioningConfiguration><Status>Maybe</Status></VersioningConfiguration>' }
      })
    }
  }
  for (const [name, spoil] of Object.entries(cases)) {
    const { store, capabilities, make, of } = await rig(t)
    spoil(store)
    await capabilities.run(signal)
    await make('versioned', 'versioned')
    t.match(await of('versioned'), never, name)
    t.match(await of('target'), always, name)
  }
})

await t.test('a failed probe is logged, and tried again after a minute', async (t) => {
  const { store, capabilities, clock, make, of } = await rig(t)
  const rule = store.rules.add({
    when: { method: 'PUT', bucket: 'state-versioned', key: '' },
    times: Infinity,
    fault: { type: 'error', status: 403, code: 'AccessDenied' }
  })
  await capabilities.run(signal)
  await make('versioned', 'versioned')
  await Promise.all([of('versioned'), of('versioned'), of('versioned')])
  await of('versioned')
  t.equal(rule.fired, 1, 'one probe for all who wait, and none soon after')
  t.match(capabilities.report()[1], { kind: 'versioned', conditions: null, failure: /state-versioned cannot be used: PUT answers 403 AccessDenied/ })
  rule.remove()
  clock.now += 60_001
  t.match(await of('versioned'), always)
  t.match(capabilities.report()[1], { failure: null, ageSeconds: 0 })
})

await t.test('a bucket of somebody else under one of the names is left alone', async (t) => {
  const { store, capabilities, make, of, write } = await rig(t)
  await make('state-versioned', 'unversioned')
  await capabilities.run(signal)
  t.equal(await write('state-versioned', 'theirs'), 200)
  await make('versioned', 'versioned')
  t.match(await of('versioned'), never)
  t.match(capabilities.report()[1]?.failure, /state-versioned cannot be used: it is not versioned/)
  t.same(store.keys('state-versioned'), ['theirs'])
})

await t.test('what the operator says goes before what was found', async (t) => {
  const { capabilities, make, of } = await rig(t, { conditions: { put: false } })
  await capabilities.run(signal)
  t.match(await of('target'), { put: false, complete: true })
  t.match(await of(await make('versioned', 'versioned')), { put: false, complete: true })
})

await t.test('names of the own buckets are names of buckets', async (t) => {
  t.equal(kindBucket('a'.repeat(63), 'unversioned').length, 63)
  t.equal(kindBucket('state', 'suspended'), 'state-suspended')
})

await t.test('what tests take the test store to enforce is what the probe finds, in every kind of bucket', async (t) => {
  const { store, upstream, make } = await rig(t)
  for (const kind of bucketKinds) t.same(store.conditions, await probeConditions(upstream, await make(kind, kind), signal), kind)
  store.rules.add({ when: { method: 'DELETE' }, fault: { type: 'answer', status: 200 } })
  t.equal(store.conditions, null, 'with a rule it may be another')
})

await t.test('production gives no probe of its own', async (t) => {
  /** Most arguments that a call of this name has in a file. */
  const most = (node: SyntaxNode, name: string): number => {
    const { callee, arguments: given } = node
    const own = isNode(callee) && callee['name'] === name && Array.isArray(given) ? given.length : 0
    return Math.max(own, ...childrenOf(node).map((child) => most(child, name)))
  }
  const seen: Record<string, number> = {}
  for (const file of globSync('src/**/*.ts')) {
    const text = readFileSync(file, 'utf8')
    for (const name of ['createGateway', 'Capabilities']) {
      if (text.includes(`${name}(`)) seen[`${file} ${name}`] = most(parseTypeScript(text).tree, name)
    }
  }
  t.same(seen, {
    'src/cli/existing-actions.ts Capabilities': 2,
    'src/cli/gateway-process.ts createGateway': 3,
    'src/cli/own-gateway.ts createGateway': 2,
    'src/cli/rewrap.ts Capabilities': 2,
    // Passes requests on.
    'src/gateway/stores.ts Capabilities': 3,
    'src/gateway/gateway.ts createGateway': 0
  })
  // Without one, it is that of Capabilities.
  t.match(readFileSync('src/gateway/gateway.ts', 'utf8'), 'new GatewayImpl(config, log, { tracer, audit, probe })')
  t.match(readFileSync('src/gateway/stores.ts', 'utf8'), /^ +\}, probe\)$/m)
})
