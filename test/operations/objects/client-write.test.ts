import { createHash, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { codeOf } from '../../support/error-code.ts'
import { FakeKms } from '../../support/fake-kms.ts'
import { startTestGateway, type TestGateway } from '../../support/gateway.ts'
import { startTestStore, type TestStore } from '../../support/hostile.ts'
import { readS3ec } from '../../support/s3ec-reader.ts'
import { vectorKeys } from '../../support/s3ec-vectors.ts'

const MIB = 1024 * 1024
const Bucket = 'written'

interface Rig {
  readonly store: TestStore
  readonly gateway: TestGateway
  readonly s3: S3Client
  readonly kms: FakeKms
}

async function start(t: Test, version: 'v2' | 'v3', key: 'cloud' | 'aes' | 'rsa' = 'cloud'): Promise<Rig> {
  const kms = await FakeKms.start(t)
  kms.addKnownKey(vectorKeys.kms.arn, vectorKeys.kms.secret)
  const store = await startTestStore({ buckets: [Bucket, 'sealed'] })
  const s3ec = { read: ['v3', 'v2'], commitment: 'allow', keys: [key, ...['cloud', 'aes', 'rsa'].filter((each) => each !== key)], write: version }
  const gateway = await startTestGateway(store, {
    sections: {
      keys: {
        cloud: { type: 'aws-kms', arn: vectorKeys.kms.arn, endpoint: kms.endpoint, accessKeyId: 'ID', secretAccessKey: 'SECRET' },
        aes: { type: 's3ec-aes', masterKey: vectorKeys.aes.toString('base64') },
        rsa: { type: 's3ec-rsa', privateKey: vectorKeys.rsaPem, description: { name: 'pair' } }
      },
      buckets: { [Bucket]: { encryption: 'on', key: 'cloud', s3ec }, sealed: { encryption: 'on', key: 'cloud' } },
      auth: { ssecOverHttp: true }
    }
  })
  const s3 = gateway.client()
  t.teardown(async () => {
    s3.destroy()
    await gateway.close()
    await store.close()
  })
  return { store, gateway, s3, kms }
}

/** What a client of the format reads that goes round the gateway. */
async function around({ store }: Rig, key: string): Promise<Buffer> {
  const object = store.object(Bucket, key)
  return readS3ec({ metadata: object.metadata, body: await object.body(), instruction: null })
}

async function through({ s3 }: Rig, Key: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from(await Body!.transformToByteArray())
}

for (const version of ['v2', 'v3'] as const) {
  for (const key of ['cloud', 'aes', 'rsa'] as const) {
    await t.test(`${version} under ${key}: what is written opens round the gateway and through it`, async (t) => {
      const rig = await start(t, version, key)
      const sizes = key === 'cloud' ? [0, 1, 16, 1000, 65_536, 65_537, 300_000] : [0, 1000, 65_537]
      for (const size of sizes) {
        const [Key, Body] = [`${size} bytes`, randomBytes(size)]
        const { ETag } = await rig.s3.send(
          new PutObjectCommand({ Bucket, Key, Body, Metadata: { of: 'a client' }, ContentType: 'text/x-test', ChecksumAlgorithm: 'CRC32C' })
        )
        t.ok((await around(rig, Key)).equals(Body), Key)
        t.ok((await through(rig, Key)).equals(Body), Key)
        const head = await rig.s3.send(new HeadObjectCommand({ Bucket, Key }))
        t.match(head, { ContentLength: size, ContentType: 'text/x-test', Metadata: { of: 'a client' }, ETag })
        t.strictSame(Object.keys(head.Metadata ?? {}), ['of'], 'entries of the format are the gateway\'s')
        t.notOk(rig.store.object(Bucket, Key).metadata['sealgate'])
      }
      const { Contents = [] } = await rig.s3.send(new ListObjectsV2Command({ Bucket }))
      t.ok(Contents.length === sizes.length && Contents.every(({ Key = '', Size }) => Key === `${Size ?? -1} bytes`), 'sizes of the plaintext')
    })
  }
}

await t.test('a body that does not verify leaves no object', async (t) => {
  const rig = await start(t, 'v3')
  for (const size of [100, 200_000]) {
    const request = new PutObjectCommand({ Bucket, Key: 'bad', Body: randomBytes(size), ContentMD5: createHash('md5').update('other').digest('base64') })
    t.equal(await codeOf(rig.s3.send(request)), 'BadDigest')
  }
  t.notOk(rig.store.object(Bucket, 'bad').exists)
})

await t.test('what the format has no place for is refused', async (t) => {
  const { s3 } = await start(t, 'v3')
  const put = { Bucket, Key: 'o', Body: 'o' }
  for (const name of ['x-amz-key', 'x-amz-3', 'x-amz-matdesc', 'x-amz-crypto-instr-file']) {
    t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, Metadata: { [name]: 'x' } }))), 'InvalidArgument', name)
    t.equal(await codeOf(s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'o', Metadata: { [name]: 'x' } }))), 'InvalidArgument', name)
  }
  const customer = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: randomBytes(32).toString('base64') }
  t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, ServerSideEncryption: 'aws:kms' }))), 'NotImplemented')
  t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, ...customer }))), 'NotImplemented')
  t.equal(await codeOf(s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'o', ServerSideEncryption: 'aws:kms' }))), 'NotImplemented')
  t.equal((await s3.send(new PutObjectCommand({ ...put, ServerSideEncryption: 'AES256' }))).ServerSideEncryption, 'AES256')
  t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, Metadata: { long: 'x'.repeat(2000) } }))), 'MetadataTooLarge')
})

await t.test('conditions of writes hold', async (t) => {
  const { s3 } = await start(t, 'v3')
  const put = { Bucket, Key: 'o', Body: 'o' }
  const { ETag } = await s3.send(new PutObjectCommand({ ...put, IfNoneMatch: '*' }))
  t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, IfNoneMatch: '*' }))), 'PreconditionFailed')
  t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, IfMatch: '"0123"' }))), 'PreconditionFailed')
  await s3.send(new PutObjectCommand({ ...put, IfMatch: ETag }))
})

await t.test('copies into such a bucket are written so, and copies out of it are sealed', async (t) => {
  const rig = await start(t, 'v3')
  const Body = randomBytes(100_000)
  await rig.s3.send(new PutObjectCommand({ Bucket: 'sealed', Key: 'a', Body, Metadata: { of: 'a' } }))
  await rig.s3.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource: 'sealed/a' }))
  t.ok((await around(rig, 'b')).equals(Body))
  await rig.s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource: `${Bucket}/b` }))
  t.ok((await around(rig, 'c')).equals(Body))
  t.match(await rig.s3.send(new HeadObjectCommand({ Bucket, Key: 'c' })), { Metadata: { of: 'a' } })
  await rig.s3.send(new CopyObjectCommand({ Bucket: 'sealed', Key: 'd', CopySource: `${Bucket}/c` }))
  const { Body: read } = await rig.s3.send(new GetObjectCommand({ Bucket: 'sealed', Key: 'd' }))
  t.ok(Body.equals(await read!.transformToByteArray()))
  t.ok(rig.store.object('sealed', 'd').metadata['sealgate'])
})

/** Uploads in parts, in any order. */
async function upload(
  s3: S3Client,
  Key: string,
  parts: readonly Buffer[]
): Promise<{ readonly UploadId: string; readonly list: { PartNumber: number; ETag: string }[] }> {
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, Metadata: { of: 'parts' }, ContentType: 'text/x-parts' }))
  const list = await Promise.all(
    parts.toReversed().map(async (Body, i) => {
      const PartNumber = parts.length - i
      const { ETag = '' } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
      return { PartNumber, ETag }
    })
  )
  return { UploadId, list: list.toReversed() }
}

for (const version of ['v2', 'v3'] as const) {
  await t.test(`${version}: an upload in parts, in any order, becomes one object of the format`, async (t) => {
    const rig = await start(t, version)
    const { s3 } = rig
    const parts = [randomBytes(5 * MIB + 3), randomBytes(5 * MIB), randomBytes(17)]
    const { UploadId, list } = await upload(s3, 'large', parts)
    const { Parts = [] } = await s3.send(new ListPartsCommand({ Bucket, Key: 'large', UploadId }))
    t.strictSame(Parts.map(({ Size }) => Size), parts.map(({ length }) => length))
    const made = await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'large', UploadId, MultipartUpload: { Parts: list } }))
    const whole = Buffer.concat(parts)
    t.ok((await around(rig, 'large')).equals(whole))
    t.ok((await through(rig, 'large')).equals(whole))
    t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'large' })), {
      ContentLength: whole.length,
      Metadata: { of: 'parts' },
      ContentType: 'text/x-parts',
      ETag: made.ETag
    })
    t.strictSame(rig.store.keys('sealgate-state').filter((key) => key.startsWith('uploads/')), [], 'nothing of it is left')
  })
}

await t.test('an upload of one empty part, one that copies, and one that is aborted', async (t) => {
  const rig = await start(t, 'v3')
  const { s3 } = rig
  const empty = await upload(s3, 'empty', [Buffer.alloc(0)])
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'empty', UploadId: empty.UploadId, MultipartUpload: { Parts: empty.list } }))
  t.equal((await around(rig, 'empty')).length, 0)
  const Body = randomBytes(1000)
  await s3.send(new PutObjectCommand({ Bucket: 'sealed', Key: 'a', Body }))
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'copied' }))
  const { CopyPartResult } = await s3.send(new UploadPartCopyCommand({ Bucket, Key: 'copied', UploadId, PartNumber: 1, CopySource: 'sealed/a' }))
  await s3.send(
    new CompleteMultipartUploadCommand({ Bucket, Key: 'copied', UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: CopyPartResult?.ETag }] } })
  )
  t.ok((await around(rig, 'copied')).equals(Body))
  const aborted = await upload(s3, 'aborted', [Body])
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'aborted', UploadId: aborted.UploadId }))
  t.strictSame(rig.store.keys('sealgate-state').filter((key) => key.startsWith('uploads/')), [])
})

await t.test('a Complete that failed can be repeated, and not with another list: two bodies would have one keystream', async (t) => {
  const rig = await start(t, 'v3')
  const { s3, store } = rig
  const { UploadId, list } = await upload(s3, 'o', [randomBytes(5 * MIB), randomBytes(1000)])
  const complete = (Parts: typeof list): Promise<unknown> =>
    s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'o', UploadId, MultipartUpload: { Parts } }))
  store.rules.add({ when: { method: 'POST', bucket: Bucket, key: 'o', query: { uploadId: true } }, fault: { type: 'error', status: 503, code: 'SlowDown' } })
  t.not(await codeOf(complete(list)), 'ok')
  t.equal(await codeOf(complete(list.slice(0, 1))), 'InvalidRequest')
  const sent = store.requests.filter(({ method, key, query }) => method === 'PUT' && key === 'o' && query.has('partNumber')).length
  t.equal(sent, 1, 'of the other list nothing was sent')
  await complete(list)
  t.ok(rig.store.object(Bucket, 'o').exists)
  t.equal((await around(rig, 'o')).length, 5 * MIB + 1000)
})
