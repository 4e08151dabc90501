// Conditions in buckets of several kinds, in front of a store that enforces them in some (as radosgw 16 does). Decision 0025.
import t, { type Test } from 'tap'
import { headerSigned, Wire, type Answer } from '../../support/wire.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import type { Headers } from '../../support/signing.ts'

const ENABLED = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'
const SUSPENDED = ENABLED.replace('Enabled', 'Suspended')

async function rig(t: Test) {
  const store = await startTestStore({ buckets: ['plain', 'versioned', 'suspended'] })
  const gateway = await startTestGateway(store)
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  const send = (method: string, target: string, headers: Headers = [], body = ''): Promise<Answer> =>
    wire.send(headerSigned(gateway, { method, target, headers }, body), body)
  // Whatever is versioned ignores conditions: what goes there with one is written, over whatever there is.
  store.rules.add({
    when: {
      test: ({ bucket, headers, method }) =>
        /^(versioned|sealgate-state-versioned)$/.test(bucket) && method !== 'GET' && (headers.has('if-none-match') || headers.has('if-match'))
    },
    times: Infinity,
    fault: { type: 'answer', status: 200, headers: [['ETag', '"ignored"']], body: '<R><ETag>"ignored"</ETag></R>' }
  })
  await send('PUT', '/versioned?versioning', [], ENABLED)
  await send('PUT', '/suspended?versioning', [], SUSPENDED)
  for (const bucket of ['plain', 'versioned', 'suspended']) t.equal((await send('PUT', `/${bucket}/k`, [], 'first')).status, 200)
  await send('PUT', '/plain/source', [], 'source')
  return { store, send }
}

void t.test('a conditional write over an object is 412 or 501, never 200, in every kind of bucket', async (t) => {
  const { store, send } = await rig(t)
  for (const [bucket, status] of [['plain', 412], ['versioned', 501], ['suspended', 412], ['versioned', 501]] as const) {
    t.equal((await send('PUT', `/${bucket}/k`, [['If-None-Match', '*']], 'second')).status, status, bucket)
    t.equal((await send('PUT', `/${bucket}/k`, [['If-Match', '"x"']], 'second')).status, status, bucket)
    t.equal((await send('PUT', `/${bucket}/k`, [['x-amz-copy-source', '/plain/source'], ['If-None-Match', '*']])).status, status, `copy to ${bucket}`)
    t.equal((await send('DELETE', `/${bucket}/k`, [['If-Match', '"x"']])).status, status, `delete in ${bucket}`)
    const created = await send('POST', `/${bucket}/k?uploads`)
    const id = /<UploadId>([^<]+)/.exec(created.body.toString())?.[1] ?? ''
    const part = await send('PUT', `/${bucket}/k?partNumber=1&uploadId=${id}`, [], 'part')
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(part.headers['etag'])}</ETag></Part></CompleteMultipartUpload>`
    const completed = await send('POST', `/${bucket}/k?uploadId=${id}`, [['If-None-Match', '*']], list)
    const late = completed.status === 200 ? /<Code>PreconditionFailed</.test(completed.body.toString()) ? 412 : 200 : completed.status
    t.equal(late, status, `complete in ${bucket}`)
    t.match(await send('GET', `/${bucket}/k`), { status: 200, body: Buffer.from('first') }, bucket)
  }
  t.notOk(store.requests.some(({ bucket, headers }) => bucket === 'versioned' && headers.has('if-none-match')), 'what would be ignored is not sent')
})

void t.test('versioning that is switched on through anybody counts with the next request', async (t) => {
  const { send } = await rig(t)
  t.equal((await send('PUT', '/plain/new', [['If-None-Match', '*']], 'x')).status, 200)
  await send('PUT', '/plain?versioning', [], SUSPENDED)
  t.equal((await send('PUT', '/plain/newer', [['If-None-Match', '*']], 'x')).status, 200)
})

void t.test('a copy out of a suspended bucket is held by a condition where that holds there, else its bytes pass the gateway', async (t) => {
  const { store, send } = await rig(t)
  t.match(await send('PUT', '/plain/copy', [['x-amz-copy-source', '/suspended/k']]), { status: 200 })
  t.ok(store.requests.some(({ bucket, headers }) => bucket === 'plain' && headers.has('x-amz-copy-source-if-match')))
  t.equal((await send('GET', '/plain/copy')).body.toString(), 'first')
})

void t.test('no client may use the buckets of the gateway', async (t) => {
  const { send } = await rig(t)
  await send('PUT', '/versioned/k', [['If-None-Match', '*']], 'x')
  for (const bucket of ['sealgate-state', 'sealgate-state-versioned', 'sealgate-state-suspended', 'sealgate-state-unversioned']) {
    t.match(await send('GET', `/${bucket}`), { status: 404, code: 'NoSuchBucket' })
    t.match(await send('PUT', `/${bucket}?versioning`, [], SUSPENDED), { status: 404, code: 'NoSuchBucket' })
    t.match(await send('PUT', '/plain/copied', [['x-amz-copy-source', `/${bucket}/k`]]), { status: 404, code: 'NoSuchBucket' })
  }
  t.notMatch((await send('GET', '/')).body.toString(), /sealgate-state/)
})
