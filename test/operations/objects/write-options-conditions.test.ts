// Conditions that a client sets must decide something, or be refused: never be passed over.
import t, { type Test } from 'tap'
import { headerSigned, Wire, type Answer } from '../../support/wire.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import type { Headers } from '../../support/signing.ts'

async function rig(t: Test) {
  const store = await startTestStore({ buckets: ['sealed', 'plain-a'] })
  const gateway = await startTestGateway(store, { sections: { buckets: { '*': { encryption: 'on', key: 'main' }, 'plain-*': { encryption: 'off' } } } })
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  const send = (method: string, target: string, headers: Headers = [], body = ''): Promise<Answer> =>
    wire.send(headerSigned(gateway, { method, target, headers }, body), body)
  return { store, send }
}

void t.test('regression: a range of an object that is another one by now is answered with the whole', async (t) => {
  const { send } = await rig(t)
  const range: Headers = [['Range', 'bytes=3-5']]
  for (const bucket of ['sealed', 'plain-a']) {
    const target = `/${bucket}/k`
    const old = await send('PUT', target, [], 'old old old')
    const stored = await send('PUT', target, [], '0123456789')
    const [etag, modified] = [String(stored.headers['etag']), String((await send('HEAD', target)).headers['last-modified'])]
    for (const validator of [etag, modified]) {
      t.match(await send('GET', target, [...range, ['If-Range', validator]]), { status: 206, body: Buffer.from('345') }, `${bucket} ${validator}`)
      t.match(await send('HEAD', target, [...range, ['If-Range', validator]]), { status: 206, headers: { 'content-length': '3' } })
    }
    for (const validator of [String(old.headers['etag']), 'Sat, 01 Jan 2000 00:00:00 GMT', '"x"']) {
      t.match(await send('GET', target, [...range, ['If-Range', validator]]), { status: 200, body: Buffer.from('0123456789') }, `${bucket} ${validator}`)
      t.match(await send('HEAD', target, [...range, ['If-Range', validator]]), { status: 200, headers: { 'content-length': '10' } })
      t.match(await send('GET', target, [['Range', 'bytes=99-'], ['If-Range', validator]]), { status: 200 }, 'also where the range lies behind the end')
    }
    t.match(await send('GET', target, [['If-Range', '"x"']]), { status: 200, body: Buffer.from('0123456789') }, 'without a range it says nothing')
  }
})

void t.test('regression: a copy out of a sealed bucket keeps its conditions and its encryption', async (t) => {
  const { store, send } = await rig(t)
  await send('PUT', '/sealed/source', [], 'new')
  const { headers: { etag } } = await send('PUT', '/plain-a/there', [], 'old')
  const copy = (more: Headers): Promise<Answer> => send('PUT', '/plain-a/there', [['x-amz-copy-source', '/sealed/source'], ...more])
  t.match(await copy([['If-None-Match', '*']]), { status: 412, code: 'PreconditionFailed' })
  t.match(await copy([['If-Match', '"x"']]), { status: 412, code: 'PreconditionFailed' })
  t.equal((await store.object('plain-a', 'there').body()).toString(), 'old')
  t.match(await copy([['x-amz-server-side-encryption', 'AES256']]), { status: 501, code: 'NotImplemented' }, 'what the test store says to that')
  t.equal((await store.object('plain-a', 'there').body()).toString(), 'old')
  t.match(await copy([['If-Match', String(etag)]]), { status: 200 })
  t.equal((await store.object('plain-a', 'there').body()).toString(), 'new')
})

void t.test('regression: the expected owner of a source is sent to the store when the source is inspected', async (t) => {
  const { store, send } = await rig(t)
  await send('PUT', '/sealed/source', [], 'x')
  for (const target of ['/sealed/copy', '/plain-a/copy']) {
    store.requests.length = 0
    t.match(await send('PUT', target, [['x-amz-copy-source', '/sealed/source'], ['x-amz-source-expected-bucket-owner', '111122223333']]), { status: 200 })
    t.same(store.requests.filter(({ method }) => method === 'HEAD').map(({ headers }) => headers.get('x-amz-expected-bucket-owner')), ['111122223333'], target)
  }
})

void t.test('regression: a quiet DeleteObjects reports every key whose condition failed', async (t) => {
  const { store, send } = await rig(t)
  for (const key of ['a', 'b', 'c']) await send('PUT', `/sealed/${key}`, [], key)
  // The way AWS writes a document with nothing in it.
  store.rules.add({
    when: { query: { delete: true } },
    fault: { type: 'answer', status: 200, body: '<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>' }
  })
  const answer = await send(
    'POST',
    '/sealed?delete',
    [],
    '<Delete><Quiet>true</Quiet><Object><Key>a</Key><ETag>"x"</ETag></Object><Object><Key>b</Key></Object><Object><Key>c</Key><ETag>"x"</ETag></Object></Delete>'
  )
  t.equal(answer.status, 200)
  t.same([...answer.body.toString().matchAll(/<Error><Key>(.)<\/Key><Code>PreconditionFailed</g)].map(([, key]) => key), ['a', 'c'])
})

void t.test('regression: the MD5 of an object that is gone does not reach the store in a condition', async (t) => {
  const { store, send } = await rig(t)
  const etag = String((await send('PUT', '/sealed/k', [], 'plaintext')).headers['etag'])
  await send('DELETE', '/sealed/k')
  store.requests.length = 0
  t.match(await send('PUT', '/sealed/k', [['If-Match', etag]], 'x'), { status: 404, code: 'NoSuchKey' })
  const { headers: { 'etag': none } } = await send('HEAD', '/sealed/k')
  t.equal(none, undefined)
  t.notMatch(JSON.stringify(store.requests.map(({ headers }) => headers.entries)), etag.slice(1, -1))
})
