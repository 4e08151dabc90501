import t from 'tap'
import { CopyObjectCommand, GetObjectCommand, HeadObjectCommand, PutBucketEncryptionCommand, PutObjectCommand, UploadPartCopyCommand } from '@aws-sdk/client-s3'
import { Bucket, bytes, create, md5, MiB, rig, stateBucket, upload } from '../../support/multipart-rig.ts'
import { codeOf } from '../../support/error-code.ts'

const plain = 'plain-bucket'
const sections = {
  buckets: { '*': { encryption: 'on', key: 'main', etag: 'md5' }, 'other': { encryption: 'on', key: 'main', etag: 'opaque' }, 'plain-*': { encryption: 'off' } }
}

void t.test('a copy into a bucket that is not encrypted asks the store for what the client asked', async (t) => {
  const { s3 } = await rig(t, { sections, buckets: [Bucket, plain] })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'new', Body: 'new' }))
  const { ETag } = await s3.send(new PutObjectCommand({ Bucket: plain, Key: 'old', Body: 'old' }))
  const copy = (input: object) => s3.send(new CopyObjectCommand({ Bucket: plain, Key: 'old', CopySource: `${Bucket}/new`, ...input }))
  t.equal(await codeOf(copy({ IfNoneMatch: '*' })), 'PreconditionFailed')
  t.equal(await codeOf(copy({ IfMatch: '"0123456789abcdef0123456789abcdef"' })), 'PreconditionFailed')
  t.equal(await codeOf(copy({ ServerSideEncryption: 'AES256' })), 'NotImplemented', 'says this store, which knows no encryption')
  const kept = await s3.send(new GetObjectCommand({ Bucket: plain, Key: 'old' }))
  t.equal(await kept.Body!.transformToString(), 'old')
  await copy({ IfMatch: ETag })
})

void t.test('who is expected to own a bucket, and who pays, is said with every request for a client', async (t) => {
  const { store, s3 } = await rig(t, { sections })
  await upload(s3, 'source', [bytes(5 * MiB), bytes(10)])
  const UploadId = await create(s3, 'target')
  const terms = { ExpectedBucketOwner: '111111111111', RequestPayer: 'requester' } as const
  const copying = { Bucket, Key: 'target', CopySource: `other/source`, ExpectedSourceBucketOwner: '222222222222', ...terms }
  await s3.send(new CopyObjectCommand({ Bucket: 'other', Key: 'source', CopySource: `${Bucket}/source` }))
  const from = store.requests.length
  await s3.send(new UploadPartCopyCommand({ ...copying, UploadId, PartNumber: 1 }))
  await s3.send(new CopyObjectCommand(copying))
  await s3.send(new GetObjectCommand({ Bucket, Key: 'target', PartNumber: 2, ...terms }))
  const sent = store.requests.slice(from).filter(({ bucket }) => bucket !== stateBucket)
  t.ok(sent.length > 8)
  for (const { method, bucket, path, headers } of sent) {
    t.equal(headers.get('x-amz-expected-bucket-owner'), bucket === 'other' ? '222222222222' : '111111111111', `${method} ${path}`)
    t.equal(headers.get('x-amz-request-payer'), 'requester', `${method} ${path}`)
  }
  const Rules = [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }]
  await s3.send(new PutBucketEncryptionCommand({ Bucket, ...terms, ServerSideEncryptionConfiguration: { Rules } }))
  const asked = store.requests.findLast(({ method, key }) => method === 'HEAD' && key === '')
  t.equal(asked?.headers.get('x-amz-expected-bucket-owner'), '111111111111', 'also before what the store never hears of')
  await s3.send(new CopyObjectCommand({ ...copying, CopySource: `${Bucket}/source` }))
  const head = store.requests.findLast(({ method, key }) => method === 'HEAD' && key === 'source')
  t.equal(head?.headers.get('x-amz-expected-bucket-owner'), '222222222222', 'also where both are one bucket')
})

void t.test('a 404 that is not the store\'s loses no tags', async (t) => {
  const { store, s3 } = await rig(t, { sections })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'tagged', Body: 'x', Tagging: 'a=b' }))
  const copy = () => s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/tagged` }))
  const when = { method: 'GET', query: { tagging: true } } as const
  store.rules.add({ when, fault: { type: 'answer', status: 404, body: '<html>no such route</html>' } })
  t.equal(await codeOf(copy()), 'SealgateBadUpstream')
  t.same(store.keys(Bucket), ['tagged'])
  store.rules.add({ when, fault: { type: 'error', status: 404, code: 'NoSuchTagSet' } })
  await copy()
})

void t.test('a copy has one ETag, whether its source showed the MD5 or not', async (t) => {
  const { s3 } = await rig(t, { sections })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'first', Body: bytes(100_000) }))
  await s3.send(new CopyObjectCommand({ Bucket: 'other', Key: 'hidden', CopySource: `${Bucket}/first` }))
  const { CopyObjectResult } = await s3.send(new CopyObjectCommand({ Bucket, Key: 'shown', CopySource: 'other/hidden' }))
  t.equal(CopyObjectResult?.ETag, `"${md5(bytes(100_000))}"`)
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'shown' }))).ETag, CopyObjectResult?.ETag)
})
