import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import {
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand
} from '@aws-sdk/client-s3'
import { around, Bucket, startRig, through } from '../../support/client-write-rig.ts'
import { codeOf } from '../../support/error-code.ts'
import { RawConnection, rawRequest } from '../../support/raw-client.ts'
import { headerSigned, headOf } from '../../support/wire.ts'

for (const version of ['v2', 'v3'] as const) {
  for (const key of ['cloud', 'aes', 'rsa'] as const) {
    await t.test(`${version} under ${key}: what is written opens round the gateway and through it`, async (t) => {
      const rig = await startRig(t, { version, key })
      const sizes = key === 'cloud' ? [0, 1, 16, 1000, 65_536, 65_537, 300_000] : [0, 1000, 65_537]
      for (const size of sizes) {
        const [Key, Body] = [`${size} bytes`, randomBytes(size)]
        const { ETag } = await rig.s3.send(
          new PutObjectCommand({ Bucket, Key, Body, Metadata: { of: 'a client' }, ContentType: 'text/x-test', ChecksumAlgorithm: 'CRC32C' })
        )
        t.ok((await around(rig, Key)).equals(Body), Key)
        t.ok((await through(rig.s3, Key)).equals(Body), Key)
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
  const rig = await startRig(t, { version: 'v3' })
  for (const size of [100, 200_000]) {
    const request = new PutObjectCommand({ Bucket, Key: 'bad', Body: randomBytes(size), ContentMD5: createHash('md5').update('other').digest('base64') })
    t.equal(await codeOf(rig.s3.send(request)), 'BadDigest')
  }
  t.notOk(rig.store.object(Bucket, 'bad').exists)
})

await t.test('what the format has no place for is refused', async (t) => {
  const { s3 } = await startRig(t, { version: 'v3' })
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
  const { s3 } = await startRig(t, { version: 'v3' })
  const put = { Bucket, Key: 'o', Body: 'o' }
  const { ETag } = await s3.send(new PutObjectCommand({ ...put, IfNoneMatch: '*' }))
  t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, IfNoneMatch: '*' }))), 'PreconditionFailed')
  t.equal(await codeOf(s3.send(new PutObjectCommand({ ...put, IfMatch: '"0123"' }))), 'PreconditionFailed')
  await s3.send(new PutObjectCommand({ ...put, IfMatch: ETag }))
})

await t.test('copies into such a bucket are written so, and copies out of it are sealed', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
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

await t.test('a single write has up to 5 GiB at the store', async (t) => {
  const { gateway, store } = await startRig(t, { version: 'v3', key: 'aes' })
  const most = 5 * 1024 ** 3 - 16
  const head = (length: number): Buffer =>
    headOf(
      headerSigned(gateway, { method: 'PUT', target: `/${Bucket}/o`, headers: [['Content-Length', String(length)]] }, '', { payloadHash: 'UNSIGNED-PAYLOAD' })
    )
  const { status, body } = await rawRequest(gateway.endpoint, head(most + 1))
  t.equal(status, 400)
  t.match(body.toString(), new RegExp(`<Code>EntityTooLarge</Code>.*<MaxSizeAllowed>${most}</MaxSizeAllowed>`))
  t.notOk(store.requests.some(({ method, bucket }) => method === 'PUT' && bucket === Bucket))
  const reached = Promise.withResolvers<string | undefined>()
  store.rules.add({
    when: { method: 'PUT', bucket: Bucket, test: ({ headers }) => (reached.resolve(headers.get('content-length')), true) },
    fault: { type: 'error', status: 507, code: 'Full' }
  })
  const connection = await RawConnection.open(gateway.endpoint)
  await connection.send(head(most))
  await connection.send(Buffer.alloc(200_000))
  t.equal(await reached.promise, String(5 * 1024 ** 3))
  connection.close()
})
