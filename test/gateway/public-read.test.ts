// Who reads without a signature is the configuration's to say (decision 0007), under prefixes too.
import t, { type Test } from 'tap'
import { configWarnings } from '../../src/config/warnings.ts'
import { parseConfig } from '../../src/config/load.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { operationRequests } from './operation-requests.ts'
import { headerSigned, Wire, type Answer } from '../support/wire.ts'
import type { Headers } from '../support/signing.ts'

async function rig(t: Test, publicRead: unknown, more: Readonly<Record<string, unknown>> = {}) {
  const store = await startTestStore({ buckets: ['bucket'] })
  const gateway = await startTestGateway(store, { sections: { buckets: { '*': { encryption: 'on', key: 'main', publicRead, ...more } } } })
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  const host: Headers = [['Host', new URL(gateway.endpoint).host]]
  const signed = (method: string, target: string, headers: Headers = [], body = ''): Promise<Answer> =>
    wire.send(headerSigned(gateway, { method, target, headers }, body), body)
  const anyone = (target: string, method = 'GET', headers: Headers = []): Promise<Answer> => wire.send({ method, target, headers: [...host, ...headers] }, '')
  for (const key of ['public/a', 'public/deep/b', 'publicity', 'secret', 'img/c']) t.equal((await signed('PUT', `/bucket/${key}`, [], `of ${key}`)).status, 200)
  return { store, gateway, wire, host, signed, anyone }
}

await t.test('everybody may read and list objects under a public prefix, and nothing else', async (t) => {
  const { anyone, store } = await rig(t, { prefixes: ['public/', 'img/'] })
  for (const key of ['public/a', 'public/deep/b', 'img/c']) {
    t.match(await anyone(`/bucket/${key}`), { status: 200, body: Buffer.from(`of ${key}`) }, key)
    t.match(await anyone(`/bucket/${key}`, 'HEAD'), { status: 200 }, key)
    t.match(await anyone(`/bucket/${key}?attributes`, 'GET', [['x-amz-object-attributes', 'ObjectSize']]), { status: 200 }, key)
  }
  t.match((await anyone('/bucket?prefix=public/')).body.toString(), /<Key>public\/a<\/Key>[\s\S]*<Key>public\/deep\/b<\/Key>/)
  t.match((await anyone('/bucket?list-type=2&prefix=public%2F&delimiter=/')).body.toString(), /<Prefix>public\/deep\/<\/Prefix>/)
  t.match(await anyone('/bucket?list-type=2&prefix=public/deep'), { status: 200 }, 'a longer prefix too')
  const before = store.requests.length
  const refused = [
    '/bucket/secret',
    '/bucket/publicity',
    '/bucket/Public/a',
    '/bucket/public',
    '/bucket/public/../secret',
    '/bucket/public/%2e%2e/secret',
    '/bucket/public/./a',
    '/bucket/public/..%5csecret',
    '/bucket/public/a?versionId=null',
    '/bucket/public/a?acl',
    '/bucket/public/a?tagging',
    '/bucket',
    '/bucket?prefix=',
    '/bucket?prefix=pub',
    '/bucket?prefix=public',
    '/bucket?list-type=2',
    '/bucket?list-type=2&prefix=secret',
    '/bucket?list-type=2&prefix=public/../',
    '/bucket?versions&prefix=public/',
    '/bucket?uploads&prefix=public/',
    '/bucket?location',
    '/',
    '/other/public/../x'
  ]
  for (const target of refused) {
    for (const method of ['GET', 'HEAD']) {
      const { status } = await anyone(target, method)
      // 501: a HEAD of a sub-resource is no operation.
      t.ok([400, 403, 405, 501].includes(status), `${method} ${target}: ${status}`)
    }
  }
  t.equal(store.requests.length, before, 'none of them reaches the store')
})

await t.test('no other operation is opened by a prefix', async (t) => {
  const { wire, host, store } = await rig(t, { prefixes: ['public/'] })
  const open = new Set(['GetObject', 'HeadObject', 'GetObjectAttributes', 'Preflight'])
  const before = store.requests.length
  for (const { name, draft, body } of operationRequests('bucket', 'public/a')) {
    if (open.has(name)) continue
    const length: Headers = body === '' ? [] : [['Content-Length', String(body.length)]]
    const { status } = await wire.send({ ...draft, headers: [...host, ...draft.headers, ...length] }, body)
    if (status !== 400 && status !== 403) t.fail(`${name}: ${status}`)
  }
  t.equal(store.requests.length, before)
})

await t.test('a store that shows more of a listing than the public prefix', async (t) => {
  const { anyone, store, signed } = await rig(t, { prefixes: ['public/'] }, { etag: 'opaque' })
  for (const [element, inside] of [['Key', 'public/a'], ['Prefix', 'public/deep/']] as const) {
    const rule = store.rules.add({
      when: { method: 'GET', bucket: 'bucket', key: '' },
      times: Infinity,
      fault: {
        type: 'transform',
        change: (answer) => {
          const body = Buffer.from(answer.body.toString().replace(`<${element}>${inside}`, `<${element}>${'secret'.padEnd(inside.length, 'x')}`))
          return { ...answer, body }
        }
      }
    })
    t.match(await anyone('/bucket?prefix=public/&delimiter=/'), { status: 502 }, element)
    t.match(await signed('GET', '/bucket?prefix=public/&delimiter=/'), { status: 200 }, 'a client may list anything there')
    rule.remove()
  }
  t.match(await anyone('/bucket?prefix=public/&delimiter=/&encoding-type=url'), { status: 200 })
})

await t.test('with "store" the store decides who reads plaintext, which is said at start and by config check', async (t) => {
  const { store, anyone } = await rig(t, 'store')
  store.rules.add({ when: { bucket: 'bucket', key: 'secret' }, fault: { type: 'substitute', key: 'secret', what: 'both' } })
  t.match(await anyone('/bucket/secret'), { status: 403 }, 'as far as it is honest')
  const told: unknown[][] = []
  const gateway = await startTestGateway(store, {
    sections: { buckets: { '*': { key: 'main' }, 'pages': { key: 'main', publicRead: 'store' } } },
    operatorLog: (level, message, fields) => {
      told.push([level, message, fields])
    }
  })
  await gateway.close()
  t.match(told.filter(([level]) => level === 'warn'), [['warn', 'configuration', {
    path: 'buckets.pages.publicRead',
    reason: /the store decides who reads plaintext here/
  }]])
})

await t.test('with "marked" a store that grants everything opens only what was written to be public', async (t) => {
  const { anyone, signed, store } = await rig(t, 'marked')
  const acl: Headers = [['x-amz-acl', 'public-read']]
  t.equal((await signed('PUT', '/bucket/page', acl, 'page')).status, 200)
  await signed('PUT', '/bucket/copy', [['x-amz-copy-source', '/bucket/page']])
  await signed('PUT', '/bucket/shared', [['x-amz-copy-source', '/bucket/secret'], ...acl])
  const upload = /<UploadId>([^<]+)/.exec((await signed('POST', '/bucket/parts?uploads', acl)).body.toString())?.[1] ?? ''
  const part = await signed('PUT', `/bucket/parts?partNumber=1&uploadId=${upload}`, [], 'page')
  const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(part.headers['etag'])}</ETag></Part></CompleteMultipartUpload>`
  t.equal((await signed('POST', `/bucket/parts?uploadId=${upload}`, [], list)).status, 200)
  // The store returns everything, whatever the request.
  for (const key of store.keys('bucket')) t.equal((await signed('PUT', `/bucket/${key}?acl`, acl)).status, 200)
  for (const key of ['page', 'shared', 'parts']) {
    for (const method of ['GET', 'HEAD']) t.equal((await anyone(`/bucket/${key}`, method)).status, 200, `${method} ${key}`)
    t.equal((await anyone(`/bucket/${key}`, 'GET', [['Range', 'bytes=0-1']])).status, 206, key)
  }
  for (const key of ['secret', 'copy', 'public/a']) {
    for (const method of ['GET', 'HEAD']) t.equal((await anyone(`/bucket/${key}`, method)).status, 403, `${method} ${key}`)
    t.equal((await anyone(`/bucket/${key}`, 'GET', [['Range', 'bytes=0-1']])).status, 403, key)
    t.equal((await signed('GET', `/bucket/${key}`)).status, 200)
  }
  await signed('PUT', '/bucket/page?acl', [['x-amz-acl', 'private']])
  t.equal((await anyone('/bucket/page')).status, 403, 'nor does the mark open what the store does not grant')
  const secret = store.rules.add({ when: { key: 'shared' }, times: Infinity, fault: { type: 'substitute', key: 'secret', what: 'both' } })
  t.equal((await anyone('/bucket/shared')).status, 500, 'a private object under a public name')
  secret.remove()
})

await t.test('a policy that leaves reads to the store gives a warning, and other policies do not', async (t) => {
  const warned = (sections: Readonly<Record<string, unknown>>): string[] => {
    const base = {
      upstream: { endpoint: 'http://127.0.0.1:1', accessKeyId: 'a', secretAccessKey: 'b' },
      clients: [{ accessKeyId: 'c', secretAccessKey: 'd' }],
      keys: { main: { type: 'local', keyring: 'k' } }
    }
    return configWarnings(parseConfig(JSON.stringify({ ...base, ...sections }), { file: '/x/y.yaml', env: {} })).map(({ path }) => path)
  }
  const client = (accessKeyId: string, buckets: readonly string[], upstream: string | null): unknown => ({
    accessKeyId,
    secretAccessKey: 's',
    buckets,
    ...upstream === null ? {} : { upstream: { accessKeyId: upstream, secretAccessKey: 's' } }
  })
  t.same(warned({}), [])
  t.same(warned({ buckets: { '*': { publicRead: true }, 'a': { publicRead: { prefixes: ['p/'] } }, 'off': { encryption: 'off', publicRead: 'store' } } }), [])
  t.same(warned({ buckets: { '*': { publicRead: 'store' } } }), ['buckets.*.publicRead'])
  t.same(warned({ clients: [client('one', ['a-*'], 'x'), client('two', ['b-*'], 'y')] }), [])
  t.same(warned({ clients: [client('one', ['a-*'], 'x'), client('two', ['a-1'], 'y'), client('three', ['z'], null)] }), [
    'clients.0.upstream',
    'clients.1.upstream'
  ])
  t.same(warned({ clients: [client('one', ['*'], 'x'), client('two', ['a'], null)] }), ['clients.0.upstream'])
  t.same(warned({ clients: [client('one', ['*'], 'x'), client('two', ['a'], 'x')] }), [], 'one identity: the store does not tell them apart')
  for (const wrong of ['yes', { prefixes: [] }, { prefixes: [''] }, { prefix: 'a' }, ['a']]) {
    t.throws(() => warned({ buckets: { '*': { publicRead: wrong } } }), { name: 'ConfigError' }, JSON.stringify(wrong))
  }
})
