import t from 'tap'
import { CopyObjectCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { Bucket, codeOf, rig } from './multipart-rig.ts'

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
