import t from 'tap'
import {
  CreateMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  UploadPartCopyCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { Bucket, bytes, complete, create, md5, MiB, put, read, rig, stateBucket, upload } from '../../support/multipart-rig.ts'
import { codeOf } from '../../support/error-code.ts'

const sections = { buckets: { '*': { encryption: 'on', key: 'main', plaintext: 'allow' }, 'plain-*': { encryption: 'off', key: 'main' } } }
const plain = 'plain-bucket'

function copyPart(
  s3: S3Client,
  Key: string,
  UploadId: string,
  PartNumber: number,
  CopySource: string,
  input: Record<string, unknown> = {}
) {
  return s3.send(new UploadPartCopyCommand({ Bucket, Key, UploadId, PartNumber, CopySource, ...input }))
}

void t.test('parts copied from sealed, plain and foreign objects, whole and by range', async (t) => {
  const { s3, store } = await rig(t, { sections, buckets: [Bucket, 'other', plain] })
  const sealed = [bytes(5 * MiB), bytes(100_000, 5)]
  await upload(s3, 'sealed', sealed)
  const whole = Buffer.concat(sealed)
  await s3.send(new PutObjectCommand({ Bucket: plain, Key: 'a b+c', Body: bytes(5 * MiB, 11) }))
  await store.object('other', 'unsealed').set({ body: bytes(70_000, 13) })
  const id = await create(s3, 'copied')
  const listed = []
  const expected = [whole, whole.subarray(65_479, 65_479 + 5 * MiB), bytes(5 * MiB, 11), bytes(70_000, 13).subarray(1, 65_000)]
  const sources = [
    [`${Bucket}/sealed`, {}],
    [`/${Bucket}/sealed`, { CopySourceRange: `bytes=65479-${65_478 + 5 * MiB}` }],
    [`${plain}/${encodeURIComponent('a b+c')}`, {}],
    ['other/unsealed', { CopySourceRange: 'bytes=1-64999' }]
  ] as const
  for (const [i, [source, input]] of sources.entries()) {
    const { CopyPartResult } = await copyPart(s3, 'copied', id, i + 1, source, input)
    t.equal(CopyPartResult?.ETag, `"${md5(expected[i]!)}"`, source)
    listed.push({ PartNumber: i + 1, ETag: CopyPartResult?.ETag })
  }
  await complete(s3, 'copied', id, listed)
  t.ok(Buffer.concat(expected).equals(await read(s3, 'copied')))
  t.same(store.keys(stateBucket), [])
})

void t.test('copies into a bucket that is not encrypted, and between two of them', async (t) => {
  const { s3, store } = await rig(t, { sections, buckets: [Bucket, plain, 'plain-source'] })
  await upload(s3, 'sealed', [bytes(5 * MiB), bytes(1000)])
  await s3.send(new PutObjectCommand({ Bucket: 'plain-source', Key: 'p', Body: bytes(9000, 3) }))
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: plain, Key: 'k' }))
  const sources = [[`${Bucket}/sealed`, {}], ['plain-source/p', { CopySourceRange: 'bytes=10-8999' }]] as const
  const Parts = []
  for (const [i, [CopySource, input]] of sources.entries()) {
    const part = { Bucket: plain, Key: 'k', UploadId, PartNumber: i + 1, CopySource, ...input }
    const { CopyPartResult } = await s3.send(new UploadPartCopyCommand(part))
    Parts.push({ PartNumber: i + 1, ETag: CopyPartResult?.ETag })
  }
  await s3.send(new CompleteMultipartUploadCommand({ Bucket: plain, Key: 'k', UploadId, MultipartUpload: { Parts } }))
  const expected = Buffer.concat([bytes(5 * MiB), bytes(1000), bytes(9000, 3).subarray(10)])
  const got = await s3.send(new GetObjectCommand({ Bucket: plain, Key: 'k' }))
  t.ok(expected.equals(Buffer.from(await got.Body!.transformToByteArray())))
  t.ok(expected.equals(await store.object(plain, 'k').body()), 'in clear, as its policy says')
})

void t.test('what UploadPartCopy refuses', async (t) => {
  const { s3, store } = await rig(t, { sections })
  const { answer } = await upload(s3, 'source', [bytes(1000)])
  const id = await create(s3, 'target')
  const code = (source: string, input: Record<string, unknown> = {}) => codeOf(copyPart(s3, 'target', id, 1, source, input))
  t.equal(await code(`${Bucket}/missing`), 'NoSuchKey')
  t.equal(await code(`${stateBucket}/uploads/x`), 'NoSuchBucket')
  t.equal(await code('nothing'), 'InvalidArgument')
  t.equal(await code(`${Bucket}/source%zz`), 'InvalidArgument')
  for (const range of ['bytes=5-1', 'bytes=-5', 'bytes=5-', '0-5', 'bytes=0-1,3-4']) {
    t.equal(await code(`${Bucket}/source`, { CopySourceRange: range }), 'InvalidArgument', range)
  }
  t.equal(await code(`${Bucket}/source`, { CopySourceRange: 'bytes=0-1000' }), 'InvalidArgument')
  t.equal(await code(`${Bucket}/source`, { CopySourceIfNoneMatch: answer.ETag }), 'PreconditionFailed')
  t.equal(await code(`${Bucket}/source`, { CopySourceIfMatch: '"other"' }), 'PreconditionFailed')
  t.equal(await codeOf(copyPart(s3, 'target', 'no-such-upload', 1, `${Bucket}/source`)), 'NoSuchUpload')
  t.equal(await codeOf(copyPart(s3, 'target', id, 0, `${Bucket}/source`)), 'InvalidArgument')
  const body = await store.object(Bucket, 'source').body()
  body[70] = body[70]! ^ 1
  await store.object(Bucket, 'source').set({ body })
  t.equal(await code(`${Bucket}/source`), 'SealgateIntegrityError', 'a source that does not verify')
  t.equal(store.keys(stateBucket).length, 1, 'no part was remembered')
})

void t.test('parts copied for an upload with a checksum have one', async (t) => {
  const { s3 } = await rig(t, { sections })
  const { answer } = await upload(s3, 'source', [bytes(1000)], { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' })
  t.ok(answer.ChecksumCRC32)
  for (const type of ['FULL_OBJECT', 'COMPOSITE'] as const) {
    const id = await create(s3, 'target', { ChecksumAlgorithm: 'CRC32', ChecksumType: type })
    const { CopyPartResult } = await copyPart(s3, 'target', id, 1, `${Bucket}/source`)
    t.equal(CopyPartResult?.ChecksumCRC32, answer.ChecksumCRC32, type)
    const { ETag, ChecksumCRC32 } = CopyPartResult!
    const done = await complete(s3, 'target', id, [{ PartNumber: 1, ETag, ChecksumCRC32 }])
    t.match(done.ChecksumCRC32, type === 'COMPOSITE' ? /-1$/ : answer.ChecksumCRC32!)
  }
})

void t.test('copies through the gateway do not wait for each other\'s connections', async (t) => {
  const { s3 } = await rig(t, { upstream: { connections: 1 } })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: bytes(5 * MiB) }))
  const id = await create(s3, 'copied')
  const copied = await Promise.all([1, 2].map(async (number) => copyPart(s3, 'copied', id, number, `${Bucket}/source`)))
  const last = await put(s3, 'copied', id, 3, bytes(100_000))
  await complete(s3, 'copied', id, [...copied.map(({ CopyPartResult }, i) => ({ PartNumber: i + 1, ETag: CopyPartResult?.ETag })), last])
})
