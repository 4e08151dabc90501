// Headers of the store for a sealed object: which are bound, which are relayed, and which are dropped (decision 0028).
import t from 'tap'
import { headerSigned, Wire, type Answer } from '../../support/wire.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import type { Headers } from '../../support/signing.ts'

const store = await startTestStore({ buckets: ['bucket'] })
const gateway = await startTestGateway(store, { sections: { buckets: { '*': { metadata: 'clear' } } } })
const wire = new Wire(gateway.endpoint)
t.teardown(async () => {
  wire.close()
  await gateway.close()
  await store.close()
})
const send = (method: string, target: string, headers: Headers = [], body = ''): Promise<Answer> =>
  wire.send(headerSigned(gateway, { method, target, headers }, body), body)

await t.test('what cannot be bound is refused when it is written', async (t) => {
  const bad = ['text/html; x==?', 'text/html; x==?utf-8?q?y?=', 'text/h\xe4ml', 'text/html; =?']
  for (const name of ['Content-Type', 'Content-Encoding']) {
    for (const value of bad) {
      for (const [method, target] of [['PUT', '/bucket/bad'], ['POST', '/bucket/bad?uploads']] as const) {
        t.match(await send(method, target, [[name, value]]), { status: 400, code: 'InvalidArgument' }, `${method} ${name}: ${value}`)
      }
    }
  }
  t.equal((await send('PUT', '/bucket/source', [], 'x')).status, 200)
  t.match(await send('PUT', '/bucket/copy', [['x-amz-copy-source', '/bucket/source'], ['x-amz-metadata-directive', 'REPLACE'], ['Content-Type', bad[0]!]]), {
    status: 400,
    code: 'InvalidArgument'
  })
  t.same(store.keys('bucket'), ['source'])
  t.equal((await send('PUT', '/bucket/good', [['Content-Type', 'text/html; charset="utf-8"'], ['Content-Encoding', 'gzip']], 'x')).status, 200)
  t.match((await send('GET', '/bucket/good')).headers, { 'content-type': 'text/html; charset="utf-8"', 'content-encoding': 'gzip' })
})

await t.test('a store gives an object no type, encoding or name that was not written', async (t) => {
  t.equal((await send('PUT', '/bucket/none', [['x-amz-meta-a-b', '1']], '<script>')).status, 200)
  t.equal((await send('GET', '/bucket/none')).headers['content-type'], 'binary/octet-stream', 'as AWS shows none')
  const lies: Record<string, Readonly<Record<string, string | null>>> = {
    'a type': { 'Content-Type': 'text/html' },
    'an encoding': { 'Content-Encoding': 'gzip' },
    'a name': { 'x-amz-meta-a-b': null, 'x-amz-meta-a_b': '1' }
  }
  for (const [name, set] of Object.entries(lies)) {
    for (const method of ['GET', 'HEAD']) {
      const rule = store.rules.add({ when: { method, key: 'none' }, times: Infinity, fault: { type: 'headers', set } })
      t.equal((await send(method, '/bucket/none')).status, 500, `${method} ${name}`)
      rule.remove()
    }
  }
  for (const type of ['text/html; x==?', 'text/html; x="\xe4"']) {
    const rule = store.rules.add({ when: { key: 'none' }, times: Infinity, fault: { type: 'headers', set: { 'Content-Type': type } } })
    t.match(await send('GET', '/bucket/none'), { status: 200, headers: { 'content-type': 'application/octet-stream' } }, type)
    t.match(await send('HEAD', '/bucket/none'), { status: 200, headers: { 'content-type': 'application/octet-stream' } }, type)
    // Nor does a copy make the type its own.
    await send('PUT', '/bucket/copied', [['x-amz-copy-source', '/bucket/none']])
    rule.remove()
    t.equal((await send('GET', '/bucket/copied')).headers['content-type'], 'application/octet-stream')
  }
})

await t.test('unbound headers: advice on caching and display is relayed; redirects and CORS headers are not', async (t) => {
  t.equal((await send('PUT', '/bucket/told', [['Cache-Control', 'no-store'], ['x-amz-website-redirect-location', '/there']], 'x')).status, 200)
  const relayed = { 'cache-control': 'public', 'content-disposition': 'inline', 'content-language': 'de', 'expires': 'Thu, 01 Jan 2037 00:00:00 GMT' }
  const withheld = {
    'x-amz-website-redirect-location': 'https://elsewhere.example/',
    'access-control-allow-origin': '*',
    'access-control-allow-credentials': 'true',
    'location': '/x',
    'refresh': '0; url=/x',
    'link': '</x>; rel=preload',
    'set-cookie': 'a=b',
    'content-security-policy': 'x',
    'service-worker-allowed': '/',
    'vary': '*'
  }
  store.rules.add({ when: { method: ['GET', 'HEAD'], key: 'told' }, times: Infinity, fault: { type: 'headers', set: { ...relayed, ...withheld } } })
  for (const [method, more] of [['GET', []], ['HEAD', []], ['GET', [['Range', 'bytes=0-0']]], ['GET', [['Origin', 'https://page.example']]]] as const) {
    const { headers } = await send(method, '/bucket/told', more)
    t.match(headers, relayed)
    t.same(
      Object.keys(withheld).filter((name) => name in headers && headers[name] === withheld[name as keyof typeof withheld]),
      [],
      `${method} ${JSON.stringify(more)}`
    )
  }
  t.equal(store.object('bucket', 'told').version.headers['x-amz-website-redirect-location'] ?? '/there', '/there', 'the store keeps it for its own website')
})
