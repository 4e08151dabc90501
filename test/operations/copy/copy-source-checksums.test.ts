// The checksums of copies: kept, computed over the whole, changed on request, and compared with the copied bytes.
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import t from 'tap'
import { CopyObjectCommand, HeadObjectCommand, PutObjectCommand, type CopyObjectCommandInput } from '@aws-sdk/client-s3'
import { Bucket, bytes, md5, MiB, read, rig, upload } from '../../support/multipart-rig.ts'
import { codeOf } from '../../support/error-code.ts'

const plain = 'plain-bucket'
const sections = {
  buckets: { '*': { encryption: 'on', key: 'main' }, 'hidden': { encryption: 'on', key: 'main', etag: 'opaque' }, 'plain-*': { encryption: 'off' } }
}
const buckets = [Bucket, plain, 'hidden']
/** One is held in memory while it is sealed, one is streamed. */
const sizes = [1000, 100_000]
const crcOf = (body: Buffer) => {
  const value = Buffer.alloc(4)
  value.writeUInt32BE(crc32(body))
  return value.toString('base64')
}
const sha256Of = (body: Buffer) => createHash('sha256').update(body).digest('base64')

await t.test('between all kinds of buckets', async (t) => {
  const { s3, store } = await rig(t, { sections, buckets, defaultChecksum: false })
  const head = (bucket: string) => s3.send(new HeadObjectCommand({ Bucket: bucket, Key: 'copy', ChecksumMode: 'ENABLED' }))
  for (const size of sizes) {
    for (const from of buckets) {
      for (const to of buckets) {
        const body = bytes(size, 7)
        const name = `${size} bytes from ${from} to ${to}`
        const copy = async (input: Partial<CopyObjectCommandInput> = {}) => {
          const { CopyObjectResult } = await s3.send(new CopyObjectCommand({ Bucket: to, Key: 'copy', CopySource: `${from}/source`, ...input }))
          const { ChecksumCRC32, ChecksumSHA256, ChecksumType } = await head(to)
          if (to !== 'hidden' || from !== to) t.same([CopyObjectResult?.ChecksumCRC32, CopyObjectResult?.ChecksumSHA256], [ChecksumCRC32, ChecksumSHA256], name)
          return [ChecksumCRC32, ChecksumSHA256, ChecksumType]
        }
        await s3.send(new PutObjectCommand({ Bucket: from, Key: 'source', Body: body, ChecksumAlgorithm: 'CRC32' }))
        t.same(await copy(), [crcOf(body), undefined, 'FULL_OBJECT'], `${name}: the source's`)
        t.same(await copy({ ChecksumAlgorithm: 'CRC32' }), [crcOf(body), undefined, 'FULL_OBJECT'], `${name}: the same, asked for`)
        // Without encryption the store must get the checksum before the body.
        if (to === plain && from !== plain) continue
        t.same(await copy({ ChecksumAlgorithm: 'SHA256' }), [undefined, sha256Of(body), 'FULL_OBJECT'], `${name}: another one`)
        if (to !== plain) t.ok(body.equals(await read(s3, 'copy', { Bucket: to })), name)
      }
    }
  }
  t.equal(
    await codeOf(s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/source`, ChecksumAlgorithm: 'BLAKE3' as 'MD5' }))),
    'InvalidRequest'
  )
  const moved = store.requests.filter(({ method, bucket, key, headers }) =>
    method === 'PUT' && bucket !== plain && key === 'copy' && headers.has('x-amz-copy-source')
  )
  t.equal(moved.length, 2 * 4 * 2, 'between sealed buckets no body moves unless another checksum is asked for')
})

await t.test('a copy of a multipart object with a requested checksum becomes a single one, as on AWS', async (t) => {
  const { s3 } = await rig(t, { sections, buckets })
  const parts = [bytes(5 * MiB), bytes(1000)]
  const whole = Buffer.concat(parts)
  const { answer } = await upload(s3, 'source', parts)
  const copy = async (input: Partial<CopyObjectCommandInput>) =>
    (await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/source`, ...input }))).CopyObjectResult
  t.match(await copy({}), { ETag: answer.ETag })
  t.match(await copy({ ChecksumAlgorithm: 'CRC32' }), { ETag: `"${md5(whole)}"`, ChecksumCRC32: crcOf(whole), ChecksumType: 'FULL_OBJECT' })
  t.ok(whole.equals(await read(s3, 'copy')))
})

await t.test('an unencrypted object that does not match its checksum is not sealed', async (t) => {
  const { s3, store, gateway } = await rig(t, { sections, buckets })
  await s3.send(new PutObjectCommand({ Bucket: plain, Key: 'source', Body: bytes(100_000), ChecksumAlgorithm: 'CRC32C' }))
  store.rules.add({ when: { method: 'GET', key: 'source', without: ['tagging'] }, fault: { type: 'flip', offset: 70_000 } })
  t.equal(await codeOf(s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${plain}/source` }))), 'SealgateIntegrityError')
  t.same(store.keys(Bucket), [])
  t.equal(gateway.metric('sealgate_integrity_failures_total{kind="checksum"}'), 1)
})
