// Copies that take longer than clients wait in silence: white space keeps them waiting, and errors come inside of the 200.
import t from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectTaggingCommand,
  PutBucketCorsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { headerSigned, Wire } from '../../support/wire.ts'
import { Bucket, bytes, create, rig } from '../../support/multipart-rig.ts'

const plain = 'plain-bucket'
const sections = { buckets: { '*': { encryption: 'on', key: 'main' }, 'plain-*': { encryption: 'off' } } }
const buckets = [Bucket, plain, 'plain-other']
/** Many heartbeats, and many times the patience before the first. */
const late = { type: 'delay', milliseconds: 250 } as const
const waited = /^<\?xml [^>]+\?>\n +</

await t.test('every kind of copy, and the Complete of a bucket that is not encrypted', async (t) => {
  const { store, gateway, s3 } = await rig(t, { sections, buckets, heartbeatMs: 5 })
  const wire = new Wire(gateway.endpoint)
  t.teardown(() => {
    wire.close()
  })
  for (const bucket of buckets) await s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'source', Body: bytes(100_000) }))
  const ask = (method: string, path: string, headers: [string, string][] = [], body = '') =>
    wire.send(headerSigned(gateway, { method, target: path, headers }, body), body)
  const ways = [[`sealed`, Bucket, Bucket], ['into plain', Bucket, plain], ['out of plain', plain, Bucket], ['plain', plain, 'plain-other']] as const
  for (const [name, from, to] of ways) {
    const copy = () => ask('PUT', `/${to}/copy`, [['x-amz-copy-source', `/${from}/source`]])
    const rule = { when: { method: 'PUT', bucket: to, key: 'copy' } } as const
    store.rules.add({ ...rule, fault: late })
    const { status, body, headers } = await copy()
    t.match([status, body.toString(), headers['transfer-encoding']], [200, waited, 'chunked'], name)
    t.match(body.toString(), /<CopyObjectResult/, name)
    store.rules.add({ when: { method: 'HEAD', bucket: from }, fault: late })
    store.rules.add({ ...rule, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
    if (from !== plain || to === Bucket) t.match(await copy(), { status: 200, code: 'AccessDenied' }, `${name}: a late error stands in the 200`)
    store.rules.clear()
  }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: plain, Key: 'whole' }))
  const { ETag } = await s3.send(new UploadPartCommand({ Bucket: plain, Key: 'whole', UploadId, PartNumber: 1, Body: 'part' }))
  store.rules.add({ when: { method: 'POST', bucket: plain }, fault: late })
  const document = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${ETag!}</ETag></Part></CompleteMultipartUpload>`
  const done = await ask('POST', `/${plain}/whole?uploadId=${encodeURIComponent(UploadId!)}`, [], document)
  t.match([done.status, done.body.toString()], [200, waited])
  t.equal(gateway.metric('sealgate_requests_total{operation="CopyObject",status="5xx"}'), 3, 'late errors count as what SDKs take them for')
  t.match(done.body.toString(), new RegExp(`<Location>${gateway.endpoint}/`))
})

await t.test('a store that keeps the gateway waiting with white space is not cut for its rate', async (t) => {
  const limits = { minRate: 1000, minRateWindowSeconds: 0.2 }
  const fault = { type: 'white-space', count: 20, everyMs: 20 } as const
  const { store, s3 } = await rig(t, { sections: { ...sections, limits }, buckets })
  const slow = (method: string, bucket: string, key: string) => store.rules.add({ when: { method, bucket, key }, fault })
  for (const bucket of [Bucket, plain]) {
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'source', Body: bytes(1000) }))
    const target = { Bucket: bucket, Key: 'target' }
    const rules = [slow('PUT', bucket, 'target')]
    await s3.send(new CopyObjectCommand({ ...target, CopySource: `${bucket}/source` }))
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(target))
    if (bucket === plain) rules.push(slow('PUT', bucket, 'target'))
    const part = await s3.send(new UploadPartCopyCommand({ ...target, UploadId, PartNumber: 1, CopySource: `${bucket}/source` }))
    rules.push(slow('POST', bucket, 'target'))
    const Parts = [{ PartNumber: 1, ETag: part.CopyPartResult?.ETag }]
    await s3.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }))
    t.same(rules.map(({ fired }) => fired), rules.map(() => 1), bucket)
  }
  // Of other answers so slow a rate is a fault.
  store.rules.add({ when: { method: 'GET', key: 'target', query: { tagging: true } }, fault })
  await t.rejects(s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'target' })))
})

await t.test('an early error has its own status', async (t) => {
  const { store, s3 } = await rig(t, { sections, buckets })
  for (const [from, to] of [[Bucket, Bucket], [Bucket, plain], [plain, Bucket], [plain, 'plain-other']] as const) {
    await s3.send(new PutObjectCommand({ Bucket: from, Key: 'source', Body: 'source' }))
    store.rules.add({ when: { method: 'PUT', bucket: to, key: 'copy' }, fault: { type: 'error', status: 503, code: 'SlowDown' } })
    await t.rejects(s3.send(new CopyObjectCommand({ Bucket: to, Key: 'copy', CopySource: `${from}/source` })), {
      name: 'SlowDown',
      $metadata: { httpStatusCode: 503 }
    })
  }
})

await t.test('the SDK takes a late copy for done, and a late error for an error', async (t) => {
  const { store, s3 } = await rig(t, { sections, heartbeatMs: 5 })
  const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: 'source' }))
  const copy = () => s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/source` }))
  store.rules.add({ when: { method: 'PUT', key: 'copy' }, fault: late })
  t.equal((await copy()).CopyObjectResult?.ETag, ETag)
  store.rules.add({ when: { method: 'HEAD', key: 'source' }, fault: late })
  store.rules.add({ when: { method: 'PUT', key: 'copy' }, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  await t.rejects(copy(), { name: 'AccessDenied' })
})

await t.test('a page gets to read why a copy failed, and a copy that fails at once ends nothing but itself', async (t) => {
  const { store, gateway, s3 } = await rig(t, { sections })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: bytes(1000) }))
  const wire = new Wire(gateway.endpoint)
  t.teardown(() => {
    wire.close()
  })
  const UploadId = await create(s3, 'target')
  await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules: [{ AllowedOrigins: ['*'], AllowedMethods: ['PUT'] }] } }))
  const copy = () => {
    store.rules.add({ when: { method: 'GET', key: 'source' }, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
    return wire.send(headerSigned(gateway, {
      method: 'PUT',
      target: `/${Bucket}/target?partNumber=1&uploadId=${UploadId}`,
      headers: [['Origin', 'https://a.example'], ['x-amz-copy-source', `/${Bucket}/source`]]
    }))
  }
  // The rules of the bucket are asked for while the copy has failed already.
  store.rules.add({ when: { query: { cors: true } }, fault: { type: 'delay', milliseconds: 50 } })
  const readable = { status: 403, code: 'AccessDenied', headers: { 'access-control-allow-origin': '*' } }
  t.match(await copy(), readable)
  t.match(await copy(), readable)
})
