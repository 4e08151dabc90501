// Who may change a bucket's default encryption: the configuration says it, and the store can only refuse more.
import t, { type Test } from 'tap'
import { headerSigned, Wire, type Answer } from '../../support/wire.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import type { Fault } from '../../support/faults.ts'

const DOCUMENT = '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>' +
  '</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
const tenant = { accessKeyId: 'TENANT', secretAccessKey: 'tenant-secret' }
const reader = { accessKeyId: 'READER', secretAccessKey: 'reader-secret' }

async function rig(t: Test) {
  const store = await startTestStore({ buckets: ['bucket'] })
  const { accessKeyId, secretAccessKey } = store
  const gateway = await startTestGateway(store, {
    sections: {
      clients: [{ ...tenant, buckets: ['bucket'], upstream: { accessKeyId, secretAccessKey } }, { ...reader, buckets: ['bucket'], readOnly: true }, {
        accessKeyId: 'OWN',
        secretAccessKey: 'own-secret'
      }]
    }
  })
  const wire = new Wire(gateway.endpoint)
  t.teardown(async () => {
    wire.close()
    await gateway.close()
    await store.close()
  })
  const send = (who: typeof tenant, method: string, body = '', bucket = 'bucket'): Promise<Answer> =>
    wire.send(headerSigned({ ...gateway, ...who }, { method, target: `/${bucket}?encryption`, headers: [] }, body), body)
  /** What was asked of the client's bucket. */
  const asked = (): string[] =>
    store.requests.splice(0).filter(({ bucket }) => bucket === 'bucket').map(({ method, query }) =>
      `${method} ${[...query.parameters].map(({ name }) => name).join('&')}`
    )
  const answers = (method: string, name: string, fault: Fault): unknown =>
    store.rules.add({ when: { method, bucket: 'bucket', query: { [name]: true } }, times: Infinity, fault })
  asked()
  return { store, send, asked, answers }
}

const forbidden: Fault = { type: 'error', status: 403, code: 'AccessDenied' }

await t.test('a client without an identity of its own: the configuration decides, and the store is only asked whether the bucket exists', async (t) => {
  const { send, asked } = await rig(t)
  const own = { accessKeyId: 'OWN', secretAccessKey: 'own-secret' }
  t.equal((await send(own, 'PUT', DOCUMENT)).status, 200)
  t.equal((await send(own, 'GET')).status, 200)
  t.equal((await send(own, 'DELETE')).status, 204)
  t.same(asked(), ['HEAD ', 'HEAD ', 'HEAD '])
  t.match(await send(own, 'PUT', DOCUMENT, 'nowhere'), { status: 404, code: 'NoSuchBucket' })
  for (const method of ['PUT', 'DELETE']) t.match(await send(reader, method, method === 'PUT' ? DOCUMENT : ''), { status: 403 }, `read-only: ${method}`)
  t.same(asked(), [], 'nothing is asked for whom the configuration does not let write')
})

await t.test('a client with an identity of its own needs the same right at the store, and changes nothing there', async (t) => {
  const { send, asked, answers } = await rig(t)
  answers('GET', 'encryption', { type: 'answer', status: 200, body: DOCUMENT })
  answers('PUT', 'encryption', { type: 'answer', status: 200 })
  t.equal((await send(tenant, 'PUT', DOCUMENT.replace('AES256', 'aws:kms'))).status, 200)
  t.same(asked(), ['GET encryption', 'PUT encryption'])
  t.equal((await send(tenant, 'GET')).status, 200)
  t.same(asked(), ['GET encryption'])
})

await t.test('what the store refuses is refused', async (t) => {
  for (const known of [true, false]) {
    const { send, answers, store } = await rig(t)
    answers(
      'GET',
      'encryption',
      known ? { type: 'answer', status: 200, body: DOCUMENT } : { type: 'error', status: 404, code: 'ServerSideEncryptionConfigurationNotFoundError' }
    )
    answers(known ? 'PUT' : 'DELETE', 'encryption', forbidden)
    t.match(await send(tenant, 'PUT', DOCUMENT), { status: 403, code: 'AccessDenied' })
    t.match(await send(tenant, 'DELETE'), { status: 403, code: 'AccessDenied' })
    t.same(store.keys('sealgate-state').filter((key) => key.startsWith('encryption/')), [])
  }
  const { send, answers } = await rig(t)
  answers('GET', 'encryption', forbidden)
  for (const method of ['GET', 'DELETE']) t.match(await send(tenant, method), { status: 403 })
})

await t.test('a store that does not know the setting is never sent a change of it: radosgw 16 would make or remove the bucket', async (t) => {
  const unknown: Fault[] = [
    { type: 'answer', status: 200, body: '<ListBucketResult><Name>bucket</Name></ListBucketResult>' },
    { type: 'error', status: 501, code: 'NotImplemented' },
    { type: 'error', status: 404, code: 'NoSuchKey' },
    { type: 'answer', status: 200, body: 'no document' }
  ]
  for (const fault of unknown) {
    const { send, asked, answers } = await rig(t)
    answers('GET', 'encryption', fault)
    t.equal((await send(tenant, 'PUT', DOCUMENT)).status, 200)
    t.equal((await send(tenant, 'DELETE')).status, 204)
    t.same(asked(), ['GET encryption', 'GET acl', 'GET encryption', 'GET acl'])
    answers('GET', 'acl', forbidden)
    t.match(await send(tenant, 'PUT', DOCUMENT), { status: 403, code: 'AccessDenied' })
  }
})
