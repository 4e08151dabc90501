// The switches of the narrow store, asked by a client of its own.
import t from 'tap'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { codeOf } from './error-code.ts'
import { startTestStore } from './hostile.ts'
import { MiB } from './multipart-rig.ts'
import { profiles } from './narrow-profiles.ts'
import { startNarrowStore, type Limits, type NarrowStore } from './narrow-store.ts'

const behind = await startTestStore({ buckets: ['bucket'], keepBodies: false, defaultChecksum: false })
t.teardown(() => behind.close())
const Bucket = 'bucket'

async function narrow(limits: Limits): Promise<{ store: NarrowStore; s3: S3Client }> {
  const store = await startNarrowStore(behind, limits)
  t.teardown(() => store.close())
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const s3 = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    credentials: { accessKeyId, secretAccessKey }
  })
  return { store, s3 }
}

await t.test('a store without limits passes everything on', async (t) => {
  const { s3, store } = await narrow({})
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a b/ü', Body: 'text', Metadata: { x: 'y' } }))
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'a b/ü', Range: 'bytes=1-2' }))
  t.same([await got.Body?.transformToString(), got.Metadata], ['ex', { x: 'y' }])
  t.match(await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'a ' })), { KeyCount: 1 })
  t.same(store.refused, [])
})

await t.test('R2: parts of one size, and a last one that is not larger', async (t) => {
  const { s3, store } = await narrow(profiles.r2)
  const upload = async (sizes: readonly number[]): Promise<string> => {
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
    const Parts = await Promise.all(sizes.map(async (size, i) => {
      const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: i + 1, Body: Buffer.alloc(size) }))
      return { PartNumber: i + 1, ETag }
    }))
    return codeOf(s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId, MultipartUpload: { Parts } })))
  }
  t.equal(await upload([5 * MiB, 5 * MiB, 7]), 'ok')
  t.equal(await upload([5 * MiB, 5 * MiB + 1]), 'InvalidPart', 'cloudflare/cloudflare-docs#9549')
  t.equal(await upload([5 * MiB, 5 * MiB + 1, 7]), 'InvalidPart')
  t.same(store.refused, ['CompleteMultipartUpload InvalidPart', 'CompleteMultipartUpload InvalidPart'])
})

await t.test('R2: the region and the headers', async (t) => {
  const { s3 } = await narrow(profiles.r2)
  t.equal(await codeOf(s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: Buffer.alloc(0), Tagging: 'a=b' }))), 'NotImplemented')
  s3.config.region = () => Promise.resolve('eu-west-1')
  t.equal(await codeOf(s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: Buffer.alloc(0) }))), 'AuthorizationHeaderMalformed')
})
