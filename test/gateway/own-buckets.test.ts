// Nobody reaches the gateway's own buckets: not as the bucket of any operation, not as the source of a copy, not as the bucket of a
// preflight, and not in a list. The store sees none of it.
import t from 'tap'
import { bucketKinds, isOwnBucket, kindBucket } from '../../src/config/config.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { headerSigned, Wire } from '../support/wire.ts'
import { operationRequest, operationRequests } from './operation-requests.ts'

const stateBucket = 'sealgate-state'
const own = [stateBucket, ...bucketKinds.map((kind) => kindBucket(stateBucket, kind))]
const names = [...own, 'bucket']

const store = await startTestStore({ buckets: ['bucket', ...own.slice(1)], keepBodies: false })
const gateway = await startTestGateway(store, { sections: { buckets: { '*': { encryption: 'on', key: 'main', publicRead: true } } } })
const wire = new Wire(gateway.endpoint)
const host = ['host', new URL(gateway.endpoint).host] as const
t.teardown(async () => {
  wire.close()
  await gateway.close()
  await store.close()
})

/** What the store was asked in the gateway's own buckets since: nothing but what the gateway does at start and in its checks. */
function reached(from: number): string[] {
  return store.requests.slice(from).filter(({ bucket, key, path }) =>
    isOwnBucket({ upstreams: { default: { stateBucket } } }, bucket) && (key !== '' || path.includes('cors')) && !key.startsWith('probe/')
  )
    .map(({ method, path }) => `${method} ${path}`)
}

await t.test('every operation, signed and anonymous', async (t) => {
  const from = store.requests.length
  let count = 0
  // All of them for the state bucket; the others take turns.
  const requests = [
    ...operationRequests(stateBucket, 'key'),
    ...operationRequests('', 'key').map(({ name }, i) => operationRequest(name, own[1 + i % 3]!, 'key'))
  ]
  for (const { name, row, draft, body } of requests) {
    if (row.level === 'service') continue
    const signed = await wire.send(headerSigned(gateway, draft, body), body)
    const codes = name === 'Preflight' ? ['BadRequest'] : ['NoSuchBucket', '']
    t.ok(codes.includes(signed.code) && signed.status >= 400, `${name} ${draft.target}: ${signed.status} ${signed.code}`)
    const anonymous = await wire.send({ ...draft, headers: [...draft.headers, host] }, body)
    t.ok(anonymous.status >= 400, `${name} ${draft.target}, anonymous: ${anonymous.status} ${anonymous.code}`)
    count += 2
  }
  t.same(reached(from), [])
  t.comment(`${count} requests`)
})

await t.test('sources of copies, preflights and the list of buckets', async (t) => {
  const from = store.requests.length
  for (const bucket of own) {
    for (const target of ['/bucket/copy', '/bucket/copy?partNumber=1&uploadId=u']) {
      const draft = { method: 'PUT', target, headers: [['x-amz-copy-source', `/${bucket}/probe/x`]] } as const
      t.match(await wire.send(headerSigned(gateway, draft)), { status: 404, code: 'NoSuchBucket' }, `${target} from ${bucket}`)
    }
    const asked = [host, ['origin', 'https://page.example'], ['access-control-request-method', 'GET']] as const
    t.match(await wire.send({ method: 'OPTIONS', target: `/${bucket}/key`, headers: asked }), { status: 403, code: 'AccessForbidden' })
  }
  t.same(reached(from), [])
  const list = (await wire.send(headerSigned(gateway, { method: 'GET', target: '/', headers: [] }))).body.toString()
  t.same(names.filter((name) => list.includes(`<Name>${name}</Name>`)), ['bucket'])
})
