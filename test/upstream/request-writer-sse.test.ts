import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutBucketTaggingCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  UploadPartCommand,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import t from 'tap'
import type { StoreEncryption } from '../../src/config/config.ts'
import type { RecordedRequest } from '../support/recorder.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { ask, rawStore, upstreamTo } from '../support/raw-store.ts'

const SSE = 'x-amz-server-side-encryption'
const arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab'

await t.test('the headers, signed, on what makes an object and nowhere else', async (t) => {
  const store = await rawStore(t, { onRequest: (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "e"\r\n\r\n') })
  const sent = async (sse: StoreEncryption | null, parts: Parameters<typeof ask>[0]) => {
    const response = await upstreamTo(t, store.endpoint, {}, {}, { sse }).request(ask(parts))
    response.body.resume()
    const { headers } = store.seen.at(-1)!
    const found = [...headers].filter(([name]) => name.startsWith(SSE))
    for (const [name] of found) t.match(headers.get('authorization'), new RegExp(`[=;]${name}[;,]`), 'signed')
    return Object.fromEntries(found)
  }
  const kms = { kms: arn, context: { team: 'backup' }, bucketKey: true }
  t.same(await sent(null, { method: 'PUT' }), {})
  t.same(await sent('AES256', { method: 'PUT' }), { [SSE]: 'AES256' })
  t.same(await sent(kms, { method: 'PUT' }), {
    [SSE]: 'aws:kms',
    [`${SSE}-aws-kms-key-id`]: arn,
    [`${SSE}-context`]: 'eyJ0ZWFtIjoiYmFja3VwIn0=',
    [`${SSE}-bucket-key-enabled`]: 'true'
  })
  t.same(await sent({ kms: arn, context: {}, bucketKey: false }, { method: 'PUT' }), { [SSE]: 'aws:kms', [`${SSE}-aws-kms-key-id`]: arn })
  t.same(
    await sent('AES256', {
      method: 'PUT',
      headers: [['x-amz-copy-source', '/b/k'], ['x-amz-copy-source-server-side-encryption-customer-algorithm', 'AES256']]
    }),
    {
      [SSE]: 'AES256'
    }
  )
  t.same(await sent('AES256', { method: 'PUT', body: Readable.from([Buffer.from('ab')]), contentLength: 2 }), { [SSE]: 'AES256' })
  t.same(await sent('AES256', { method: 'POST', query: [['uploads', null]] }), { [SSE]: 'AES256' })
  t.same(await sent('AES256', { method: 'PUT', headers: [[SSE, 'aws:kms']] }), { [SSE]: 'aws:kms' }, 'a wish for an object that is stored as it is goes first')
  t.same(
    await sent('AES256', { method: 'PUT', headers: [[`${SSE}-customer-algorithm`, 'AES256']] }),
    { [`${SSE}-customer-algorithm`]: 'AES256' },
    'S3 takes only one of the two'
  )
  for (const query of [['partNumber', 'uploadId'], ['acl'], ['tagging'], ['retention'], ['legal-hold']]) {
    t.same(await sent('AES256', { method: 'PUT', query: query.map((name) => [name, '1'] as const) }), {}, query.join('&'))
  }
  t.same(await sent('AES256', { method: 'PUT', key: null }), {}, 'a bucket')
  t.same(await sent('AES256', { method: 'POST', query: [['uploadId', 'u']] }), {}, 'Complete')
  t.same(await sent('AES256', { method: 'GET' }), {})
})

await t.test('a store that refuses objects without them takes everything that goes through the gateway', async (t) => {
  const store = await startTestStore({ buckets: ['sealed', 'plain'], demandsSse: true })
  const sections = { buckets: { '*': { key: 'main' }, 'plain': { encryption: 'off' } } }
  const without = await startTestGateway(store, { sections })
  t.teardown(() => without.close())
  const refused = without.client()
  await t.rejects(refused.send(new PutObjectCommand({ Bucket: 'sealed', Key: 'k', Body: 'text' })), { name: 'AccessDenied' }, 'the store demands the header')
  refused.destroy()
  store.requests.length = 0
  const gateway = await startTestGateway(store, { upstream: { sse: 'AES256' }, sections })
  t.teardown(() => gateway.close())
  t.teardown(() => store.close())
  const client = gateway.client()
  t.teardown(() => {
    client.destroy()
  })
  const part = Buffer.alloc(5 << 20, 'p')
  for (const Bucket of ['sealed', 'plain']) {
    // In a bucket that keeps objects as they are, the client's own wish goes through and would meet the same header.
    const wish = Bucket === 'plain' ? { ServerSideEncryption: 'AES256' as const } : {}
    const put = await client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'text', ...wish }))
    t.equal(put.ServerSideEncryption, undefined, 'what the store does beneath is not reported of a sealed object')
    await client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/k` }))
    await client.send(new CopyObjectCommand({ Bucket, Key: 'k', CopySource: `${Bucket}/k`, MetadataDirective: 'REPLACE', Metadata: { a: 'b' } }))
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'm' }))
    const one = await client.send(new UploadPartCommand({ Bucket, Key: 'm', UploadId, PartNumber: 1, Body: part }))
    const two = await client.send(new UploadPartCopyCommand({ Bucket, Key: 'm', UploadId, PartNumber: 2, CopySource: `${Bucket}/k` }))
    const Parts = [{ PartNumber: 1, ETag: one.ETag }, { PartNumber: 2, ETag: two.CopyPartResult?.ETag }]
    await client.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'm', UploadId, MultipartUpload: { Parts } }))
    await client.send(new PutObjectTaggingCommand({ Bucket, Key: 'k', Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } }))
    await client.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } }))
    const read = await client.send(new GetObjectCommand({ Bucket, Key: 'm' }))
    t.equal((await read.Body!.transformToByteArray()).length, part.length + 4)
  }
  const names = ({ query }: RecordedRequest) => query.parameters.map(({ name }) => name).filter((name) => name !== 'x-id')
  const makes = (request: RecordedRequest) =>
    request.key !== '' &&
    ((request.method === 'PUT' && names(request).length === 0) || (request.method === 'POST' && names(request).includes('uploads')))
  const made = store.requests.filter(makes)
  t.ok(made.some(({ bucket }) => bucket === 'sealgate-state'), 'records of uploads too')
  t.ok(made.length >= 10)
  t.same(made.filter(({ headers }) => headers.get(SSE) !== 'AES256').map(({ path }) => path), [])
  t.same(store.requests.filter((request) => !makes(request) && request.headers.has(SSE)).map(({ method, path }) => `${method} ${path}`), [])
})
