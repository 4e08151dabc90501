// src/operations/objects/object-keys.ts: names under a prefix have keys of their own (buckets.NAME.prefixes), on writing and on reading.
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createKeyring } from '../../../src/keys/keyring-file.ts'
import t, { type Test } from 'tap'
import { headerSigned, Wire, type Answer } from '../../support/wire.ts'
import { startRewrapRig } from '../../support/rewrap-rig.ts'
import type { Headers } from '../../support/signing.ts'

const METRIC = 'sealgate_integrity_failures_total{kind="foreign-key"}'
const MIB_5 = 'x'.repeat(5 * 1024 * 1024)
const names = ['main', 't7', 't7b', 'deep', 'old']
const prefixes = { 't7/': { key: 't7', allowedKeys: ['t7b'], openKeys: ['old'] }, 't7/deep/': { key: 'deep' }, 'tenant-é/': { key: 't7b' } }
const KMS: Headers = [['x-amz-server-side-encryption', 'aws:kms']]
const named = (key: string): Headers => [...KMS, ['x-amz-server-side-encryption-aws-kms-key-id', key]]

async function rig(t: Test) {
  const folder = t.testdir({})
  for (const name of names) await createKeyring(`${folder}/${name}.json`, name, new Date())
  const keys = Object.fromEntries(names.map((name) => [name, { type: 'local', keyring: `${folder}/${name}.json` }]))
  const made = await startRewrapRig(t, { keys, buckets: { '*': { key: 'main', prefixes } } })
  const wire = new Wire(made.gateway.endpoint)
  t.teardown(() => {
    wire.close()
  })
  const send = (method: string, target: string, headers: Headers = [], body = ''): Promise<Answer> =>
    wire.send(headerSigned(made.gateway, { method, target, headers }, body), body)
  /** The key that has sealed the object, as the store has it. */
  const sealedWith = (key: string): string | undefined => store.object('bucket', key).metadata['sealgate-key']?.split(':')[1]
  const { store } = made
  const reload = (policy: Readonly<Record<string, unknown>>): Promise<void> => made.reload({ buckets: { '*': { key: 'main', ...policy } } })
  return { ...made, folder, send, sealedWith, reload }
}

await t.test('the longest prefix of a name decides which key seals it, in every way of writing', async (t) => {
  const { send, sealedWith } = await rig(t)
  t.equal((await send('PUT', '/bucket/t7/source', [], 'body')).status, 200)
  const expected: readonly (readonly [name: string, key: string])[] = [
    ['t7/a', 't7'],
    ['t7/', 't7'],
    ['t7/deep/a', 'deep'],
    ['t7/deep', 't7'],
    ['t7', 'main'],
    ['T7/a', 'main'],
    ['x/t7/a', 'main'],
    ['tenant-é/a', 't7b'],
    ['tenant-e\u0301/a', 'main']
  ]
  for (const [name, key] of expected) {
    const target = `/bucket/${encodeURIComponent(name).replaceAll('%2F', '/')}`
    t.equal((await send('PUT', target, [], 'body')).status, 200, name)
    t.equal(sealedWith(name), key, name)
    t.equal((await send('GET', target)).body.toString(), 'body')
    t.equal((await send('PUT', target, [['x-amz-copy-source', '/bucket/t7/source']])).status, 200, `copy to ${name}`)
    t.equal(sealedWith(name), key, `copy to ${name}`)
    const id = /<UploadId>([^<]+)/.exec((await send('POST', `${target}?uploads`)).body.toString())?.[1] ?? ''
    t.equal((await send('PUT', `${target}?partNumber=1&uploadId=${id}`, [], 'part')).status, 200)
    const { headers: { etag } } = await send('PUT', `${target}?partNumber=1&uploadId=${id}`, [], 'part')
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(etag)}</ETag></Part></CompleteMultipartUpload>`
    t.equal((await send('POST', `${target}?uploadId=${id}`, [], list)).status, 200, `upload to ${name}`)
    t.equal(sealedWith(name), key, `upload to ${name}`)
    t.equal((await send('GET', target)).body.toString(), 'part')
  }
})

await t.test('a client may ask for the keys of the prefix and for no other', async (t) => {
  const { send, sealedWith } = await rig(t)
  t.match(await send('PUT', '/bucket/t7/a', named('t7b'), 'x'), { status: 200, headers: { 'x-amz-server-side-encryption-aws-kms-key-id': 't7b' } })
  t.equal(sealedWith('t7/a'), 't7b')
  t.match(await send('PUT', '/bucket/t7/a', KMS, 'x'), { status: 200, headers: { 'x-amz-server-side-encryption-aws-kms-key-id': 't7' } })
  for (const [name, key] of [['t7/b', 'main'], ['t7/b', 'old'], ['t7/b', 'deep'], ['t7/deep/b', 't7'], ['b', 't7'], ['b', 't7b']] as const) {
    t.match(await send('PUT', `/bucket/${name}`, named(key), 'x'), { status: 403, code: 'AccessDenied' }, `${name} with ${key}`)
    t.match(await send('POST', `/bucket/${name}?uploads`, named(key)), { status: 403, code: 'AccessDenied' }, `upload to ${name} with ${key}`)
  }
})

await t.test('the default encryption of the bucket does not take a prefix from its key', async (t) => {
  const { send, sealedWith } = await rig(t)
  const document = '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm>' +
    '<KMSMasterKeyID>main</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
  t.equal((await send('PUT', '/bucket?encryption', [], document)).status, 200)
  t.match(await send('PUT', '/bucket/a', [], 'x'), { status: 200, headers: { 'x-amz-server-side-encryption-aws-kms-key-id': 'main' } })
  t.match(await send('PUT', '/bucket/t7/a', [], 'x'), { status: 200, headers: { 'x-amz-server-side-encryption-aws-kms-key-id': 't7' } })
  t.equal(sealedWith('t7/a'), 't7')
  const other = document.replace('main', 't7')
  t.match(await send('PUT', '/bucket?encryption', [], other), { status: 403 }, 'nor may it name a key of a prefix')
})

await t.test('under a prefix its own keys open, and no key of the bucket or of another prefix', async (t) => {
  const { send, reload, gateway, store } = await rig(t)
  const objects = ['t7/single', 't7/multipart']
  t.equal((await send('PUT', '/bucket/t7/single', [], 'single')).status, 200)
  const begin = async (): Promise<{ id: string; list: string }> => {
    const id = /<UploadId>([^<]+)/.exec((await send('POST', '/bucket/t7/multipart?uploads')).body.toString())?.[1] ?? ''
    const { headers: { etag } } = await send('PUT', `/bucket/t7/multipart?partNumber=1&uploadId=${id}`, [], MIB_5)
    return { id, list: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(etag)}</ETag></Part></CompleteMultipartUpload>` }
  }
  const whole = await begin()
  t.equal((await send('POST', `/bucket/t7/multipart?uploadId=${whole.id}`, [], whole.list)).status, 200)
  const begun = await begin()
  // Every other key of the gateway may open elsewhere in the bucket: none of that helps under the prefix.
  await reload({ allowedKeys: ['t7', 't7b', 'deep', 'old'], prefixes: { 't7/': { key: 't7b' }, 'u/': { key: 't7' } } })
  const requests: Record<string, () => Promise<Answer>> = {
    'GET': () => send('GET', '/bucket/t7/single'),
    'range': () => send('GET', '/bucket/t7/multipart', [['Range', 'bytes=1-2']]),
    'HEAD': () => send('HEAD', '/bucket/t7/multipart'),
    'attributes': () => send('GET', '/bucket/t7/single?attributes', [['x-amz-object-attributes', 'ETag']]),
    'source of a copy': () => send('PUT', '/bucket/u/copy', [['x-amz-copy-source', '/bucket/t7/single']]),
    'source of a part': () => send('PUT', `/bucket/t7/multipart?partNumber=2&uploadId=${begun.id}`, [['x-amz-copy-source', '/bucket/t7/single']]),
    'part': () => send('PUT', `/bucket/t7/multipart?partNumber=2&uploadId=${begun.id}`, [], 'more'),
    'list of parts': () => send('GET', `/bucket/t7/multipart?uploadId=${begun.id}`),
    'complete': () => send('POST', `/bucket/t7/multipart?uploadId=${begun.id}`, [], begun.list)
  }
  for (const [name, request] of Object.entries(requests)) {
    const before = gateway.metric(METRIC)
    t.equal((await request()).status, 403, name)
    t.ok(gateway.metric(METRIC) > before, `${name}: counted`)
  }
  await reload({ prefixes: { 't7/': { key: 't7b', openKeys: ['t7'] } } })
  for (const name of objects) t.equal((await send('GET', `/bucket/${name}`)).status, 200, name)
  t.equal((await send('POST', `/bucket/t7/multipart?uploadId=${begun.id}`, [], begun.list)).status, 200)
  // What the store serves under another prefix does not open there, whichever keys that has.
  store.rules.add({
    when: { bucket: 'bucket', key: 'u/moved' },
    times: Infinity,
    fault: { type: 'substitute', bucket: 'bucket', key: 't7/single', what: 'both' }
  })
  await reload({ prefixes: { 'u/': { key: 't7' } } })
  t.match(await send('GET', '/bucket/u/moved'), { status: 500, code: 'SealgateIntegrityError' })
})

await t.test('rewrap brings what is under a prefix to its key, and leaves what the target key must not seal', async (t) => {
  const { send, reload, run, sealedWith } = await rig(t)
  await reload({})
  for (const name of ['a', 't7/a', 't7/deep/a']) t.equal((await send('PUT', `/bucket/${name}`, [], 'x')).status, 200)
  await reload({ prefixes: { 't7/': { key: 't7', openKeys: ['main'] }, 't7/deep/': { key: 'deep', openKeys: ['main'] } } })
  t.match(await run('rewrap', '--bucket', 'bucket', '--to', 't7b'), { code: 2, err: /neither the key of the bucket or prefix nor in allowedKeys/ })
  t.match(await run('rewrap', '--bucket', 'bucket', '--to', 't7'), { code: 0, out: /2 objects left: under a prefix that the target key must not seal/ })
  t.strictSame(['a', 't7/a', 't7/deep/a'].map(sealedWith), ['main', 't7', 'main'])
  t.match(await run('rewrap', '--bucket', 'bucket', '--prefix', 't7/deep/', '--to', 'deep'), { code: 0 })
  t.equal(sealedWith('t7/deep/a'), 'deep')
  await reload({ prefixes: { 't7/': { key: 't7' }, 't7/deep/': { key: 'deep' } } })
  for (const name of ['a', 't7/a', 't7/deep/a']) t.equal((await send('GET', `/bucket/${name}`)).status, 200, name)
})

await t.test('keys usage, inspect and scan tell what lies under a prefix with a key that is not its own', async (t) => {
  const { send, run, reload, folder } = await rig(t)
  for (const name of ['a', 't7/a', 't7/deep/a', 'u/a', 'u/b']) t.equal((await send('PUT', `/bucket/${name}`, [], 'x')).status, 200)
  t.equal((await send('PUT', '/bucket/t7/b', named('t7b'), 'x')).status, 200)
  await reload({ prefixes: { ...prefixes, 'u/': { key: 't7b' } } })
  interface Row {
    readonly prefix: string | null
    readonly key: string | null
    readonly objects: number
    readonly opens: boolean | null
    readonly example: string
  }
  const usage = async () => (JSON.parse((await run('keys', 'usage', '--bucket', 'bucket', '--json')).out) as Row[])
  const shown = (rows: readonly Row[]) => rows.map(({ prefix, key, objects, opens }) => [prefix, key, objects, opens])
  t.strictSame(shown(await usage()), [
    [null, 'main', 1, true],
    ['t7/', 't7', 1, true],
    ['t7/', 't7b', 1, true],
    ['t7/deep/', 'deep', 1, true],
    ['u/', 'main', 2, false]
  ])
  const text = await run('keys', 'usage', '--bucket', 'bucket')
  t.match(text, {
    code: 0,
    out: /^names without a prefix of the configuration \(key main\):\n  local:main:\S+  1 objects  \d+ bytes\nnames under "t7\/" \(key t7\):\n/
  })
  t.match(
    text.out,
    /names under "u\/" \(key t7b\):\n  local:main:\S+  2 objects  [\d,]+ bytes  DO NOT OPEN: key main, which may not open here; such as "u\/a"\n$/
  )

  const inspect = async (name: string) => {
    const { code, out } = await run('inspect', '--object', `s3://bucket/${name}`, '--json')
    return { code, shown: JSON.parse(out) as object, text: (await run('inspect', '--object', `s3://bucket/${name}`)).out }
  }
  t.match(await inspect('a'), { code: 0, shown: { state: 'sealed', pinned: { prefix: null, key: 'main' } }, text: /keys here +of the bucket: main\n/ })
  t.match(await inspect('t7/a'), {
    code: 0,
    shown: { state: 'sealed', pinned: { prefix: 't7/', key: 't7', allowedKeys: ['t7b'], openKeys: ['old'] } },
    text: /keys here +of the prefix "t7\/": t7; t7b at a client's wish; old to open only\n/
  })
  t.match(await inspect('u/a'), {
    code: 4,
    shown: { state: 'sealed-elsewhere', fault: 'key-not-here', pinned: { prefix: 'u/', key: 't7b' }, sealedBy: { key: 'main' } },
    text: /detail +sealed with key main; objects of this name open with t7b only\n/
  })
  t.match(await run('scan', '--bucket', 'bucket'), { code: 4 }, 'clients get errors: not "everything is encrypted and opens"')

  type Line = Record<'keyId' | 'fault' | 'state', string | null> & { readonly key: string }
  const reported = async (...more: string[]) => {
    t.match(await run('keys', 'usage', '--bucket', 'bucket', '--report', `${folder}/keys.jsonl`, ...more), { code: 0 })
    t.notOk(existsSync(`${folder}/keys.jsonl.evidence.json`), 'no key is used')
    const lines = readFileSync(`${folder}/keys.jsonl`, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Line)
    return new Map(lines.map(({ key, keyId, fault, state }) => [key, [keyId?.split(':')[1], fault, state]]))
  }
  const wanted = { 'a': ['main', null, null], 't7/a': ['t7', null, null], 't7/b': ['t7b', null, null], 't7/deep/a': ['deep', null, null] }
  t.strictSame(Object.fromEntries(await reported()), { ...wanted, 'u/a': ['main', 'key-not-here', null], 'u/b': ['main', 'key-not-here', null] })
  copyFileSync(`${folder}/keys.jsonl`, `${folder}/names.jsonl`)
  t.strictSame(Object.fromEntries(await reported('--keys', `${folder}/names.jsonl`, '--filter', 'name=u/*')), {
    'u/a': ['main', 'key-not-here', null],
    'u/b': ['main', 'key-not-here', null]
  })
  t.match(await run('keys', 'usage', '--bucket', 'bucket', '--report', 'keys.html'), { code: 2, err: /\.csv, \.jsonl/ })

  await rm(`${folder}/main.json`)
  const unread = await reported()
  t.strictSame(
    ['a', 'u/a'].map((key) => unread.get(key)),
    [['main', null, null], ['main', null, null]],
    'a keyring that is away says nothing against an object'
  )
  const lost = await run('keys', 'usage', '--bucket', 'bucket', '--json')
  t.match(lost, { code: 0, err: /Key main cannot be read, so its objects are not known/ })
  t.strictSame(shown(JSON.parse(lost.out) as Row[]).filter(([prefix]) => prefix !== 't7/'), [
    [null, null, 1, null],
    ['t7/deep/', 'deep', 1, true],
    ['u/', null, 2, null]
  ])
})
