// The configuration decides which keys may open objects of a bucket, never the store (decision 0026).
import { createKeyring } from '../../../src/keys/keyring-file.ts'
import t, { type Test } from 'tap'
import { headerSigned, Wire, type Answer } from '../../support/wire.ts'
import { startRewrapRig } from '../../support/rewrap-rig.ts'
import type { Headers } from '../../support/signing.ts'

const AES = '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>' +
  '</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
const METRIC = 'sealgate_integrity_failures_total{kind="foreign-key"}'
const MIB_5 = 'x'.repeat(5 * 1024 * 1024)

/** Two keys that one gateway holds; `ka` has sealed everything there is in the bucket, and then the bucket becomes one of `kb`. */
async function rig(t: Test) {
  const folder = t.testdir({})
  for (const name of ['ka', 'kb']) await createKeyring(`${folder}/${name}.json`, name, new Date())
  const keys = { ka: { type: 'local', keyring: `${folder}/ka.json` }, kb: { type: 'local', keyring: `${folder}/kb.json` } }
  const made = await startRewrapRig(t, { keys, buckets: { '*': { key: 'ka' }, 'other': { key: 'kb', allowedKeys: ['kb'] } } })
  const wire = new Wire(made.gateway.endpoint)
  t.teardown(() => {
    wire.close()
  })
  const send = (method: string, target: string, headers: Headers = [], body = ''): Promise<Answer> =>
    wire.send(headerSigned(made.gateway, { method, target, headers }, body), body)
  t.equal((await send('PUT', '/other')).status, 200)
  t.equal((await send('PUT', '/bucket/single', [], 'single')).status, 200)
  t.equal((await send('PUT', '/bucket?encryption', [], AES)).status, 200)
  const begin = async (key: string): Promise<{ id: string; list: string }> => {
    const id = /<UploadId>([^<]+)/.exec((await send('POST', `/bucket/${key}?uploads`)).body.toString())?.[1] ?? ''
    const { headers: { etag } } = await send('PUT', `/bucket/${key}?partNumber=1&uploadId=${id}`, [], MIB_5)
    return { id, list: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(etag)}</ETag></Part></CompleteMultipartUpload>` }
  }
  const whole = await begin('multipart')
  t.equal((await send('POST', `/bucket/multipart?uploadId=${whole.id}`, [], whole.list)).status, 200)
  const begun = await begin('begun')
  const policy = (bucket: Readonly<Record<string, unknown>>): Promise<void> =>
    made.reload({ buckets: { '*': { key: 'ka' }, 'other': { key: 'kb' }, 'bucket': bucket } })
  const reload = (change: Readonly<Record<string, unknown>>): Promise<void> => made.reload(change)
  return { ...made, send, begun, policy, reload }
}

await t.test('what the store says is sealed with another key than the bucket may open with is refused, wherever that key is named', async (t) => {
  const { send, begun, policy, gateway, store, run } = await rig(t)
  await policy({ key: 'kb', allowedKeys: ['kb'] })
  const requests: Record<string, () => Promise<Answer>> = {
    'GET': () => send('GET', '/bucket/single'),
    'GET of a range': () => send('GET', '/bucket/single', [['Range', 'bytes=1-2']]),
    'GET of parts': () => send('GET', '/bucket/multipart?partNumber=1'),
    'HEAD': () => send('HEAD', '/bucket/multipart'),
    'attributes': () => send('GET', '/bucket/single?attributes', [['x-amz-object-attributes', 'ETag']]),
    'source of a copy': () => send('PUT', '/other/copy', [['x-amz-copy-source', '/bucket/single']]),
    'copy onto itself': () => send('PUT', '/bucket/single', [['x-amz-copy-source', '/bucket/single'], ['x-amz-metadata-directive', 'REPLACE']]),
    'part of an upload': () => send('PUT', `/bucket/begun?partNumber=2&uploadId=${begun.id}`, [], 'more'),
    'list of parts': () => send('GET', `/bucket/begun?uploadId=${begun.id}`),
    'complete': () => send('POST', `/bucket/begun?uploadId=${begun.id}`, [], begun.list),
    'default encryption': () => send('GET', '/bucket?encryption'),
    'write under the default encryption': () => send('PUT', '/bucket/new', [], 'new'),
    'condition': () => send('PUT', '/bucket/single', [['If-Match', '"x"'], ['x-amz-server-side-encryption', 'AES256']], 'new')
  }
  for (const [name, request] of Object.entries(requests)) {
    const before = gateway.metric(METRIC)
    const answer = await request()
    t.equal(answer.status, 403, name)
    if (name !== 'HEAD') t.match(answer.body.toString(), /<Code>SealgateKeyUnavailable<\/Code>/, name)
    t.ok(gateway.metric(METRIC) > before, `${name}: counted`)
  }
  const listing = await send('GET', '/bucket')
  t.match(listing.body.toString(), /<Key>single<\/Key>[\s\S]*?<ETag>&quot;[0-9a-f]{32}-0/, 'a row that does not open shows no MD5')

  // Laundering: a re-wrap would make of it an object that opens.
  const sealedWith = (): string | undefined => store.object('bucket', 'single').metadata['sealgate-key']
  const before = sealedWith()
  for (const more of [['--to', 'kb'], [], ['--to', 'kb', '--dry-run']]) {
    const ran = await run('rewrap', '--bucket', 'bucket', ...more)
    t.equal(ran.code, 1, more.join(' '))
    t.match(ran.err, /must not open it here/)
  }
  t.equal(sealedWith(), before)
  t.match(await run('rewrap', '--bucket', 'bucket', '--to', 'ka'), { code: 2, err: /neither the key of the bucket or prefix nor in allowedKeys/ })
})

await t.test('openKeys open, seal nothing, and are what a migration needs', async (t) => {
  const { send, begun, policy, run, gateway } = await rig(t)
  await policy({ key: 'kb', openKeys: ['ka'] })
  t.equal((await send('GET', '/bucket/single')).body.toString(), 'single')
  t.equal((await send('HEAD', '/bucket/multipart')).status, 200)
  t.equal((await send('POST', `/bucket/begun?uploadId=${begun.id}`, [], begun.list)).status, 200)
  t.equal((await send('GET', '/bucket?encryption')).status, 200)
  const asked: Headers = [['x-amz-server-side-encryption', 'aws:kms'], ['x-amz-server-side-encryption-aws-kms-key-id', 'ka']]
  t.match(await send('PUT', '/bucket/new', asked, 'new'), { status: 403, code: 'AccessDenied' })
  t.match(await run('rewrap', '--bucket', 'bucket', '--to', 'ka'), { code: 2 })
  t.match(await run('rewrap', '--bucket', 'bucket', '--to', 'kb'), { code: 0, out: /re-wrapped 3 objects/ })
  await policy({ key: 'kb' })
  for (const key of ['single', 'multipart', 'begun']) t.equal((await send('GET', `/bucket/${key}`)).status, 200, key)
  t.equal((await send('GET', '/bucket?encryption')).status, 200)
  t.equal(gateway.metric(METRIC), 0)
})

await t.test('a replica opens with the keys of its own bucket', async (t) => {
  const { store, send, reload, policy } = await rig(t)
  const buckets = { '*': { key: 'ka' }, 'other': { key: 'kb', aliases: ['bucket'] } }
  await policy({ key: 'ka' })
  // As replication writes: the same body and metadata under another bucket.
  store.rules.add({ when: { bucket: 'other', key: 'single' }, times: Infinity, fault: { type: 'substitute', bucket: 'bucket', key: 'single', what: 'both' } })
  await reload({ buckets })
  t.match(await send('GET', '/other/single'), { status: 403, code: 'SealgateKeyUnavailable' })
  await reload({ buckets: { ...buckets, other: { ...buckets.other, openKeys: ['ka'] } } })
  t.match(await send('GET', '/other/single'), { status: 200, body: Buffer.from('single') })
})

await t.test('config check reports keys that no bucket may use', async (t) => {
  const { run, reload } = await rig(t)
  t.notMatch((await run('config', 'check')).out, /warning/)
  await reload({ buckets: { '*': { key: 'ka' }, 'plain': { encryption: 'off', key: 'kb' } } })
  const ran = await run('config', 'check')
  t.match(ran.out, /keys\.kb: no bucket may use it/)
  t.equal(ran.code, 0)
})
