// One round of the AWS SDK for JavaScript v3 with its defaults: node test/e2e/sdk.ts ENDPOINT ID SECRET BUCKET
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { CopyObjectCommand, DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'

const [endpoint = '', accessKeyId = '', secretAccessKey = '', Bucket = ''] = process.argv.slice(2)
const s3 = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })

function same(a: Uint8Array, b: Uint8Array, what: string): void {
  if (createHash('sha256').update(a).digest('hex') !== createHash('sha256').update(b).digest('hex')) throw new Error(`${what} differs`)
}

for (const size of [0, 1000, 100_000, 12_000_000]) {
  const Key = `sdk/${size} +ü`
  const body = randomBytes(size)
  await new Upload({ client: s3, params: { Bucket, Key, Body: Readable.from([body]), Metadata: { colour: 'blue' } } }).done()
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key }))
  if (head.ContentLength !== size || head.Metadata?.['colour'] !== 'blue') throw new Error('HEAD differs')
  const got = await s3.send(new GetObjectCommand({ Bucket, Key }))
  same(await got.Body?.transformToByteArray() ?? new Uint8Array(), body, Key)
  if (size > 10) {
    const part = await s3.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=5-9' }))
    same(await part.Body?.transformToByteArray() ?? new Uint8Array(), body.subarray(5, 10), 'range')
  }
  await s3.send(new CopyObjectCommand({ Bucket, Key: `${Key} copy`, CopySource: encodeURI(`${Bucket}/${Key}`).replaceAll('+', '%2B') }))
  const copied = await s3.send(new GetObjectCommand({ Bucket, Key: `${Key} copy` }))
  same(await copied.Body?.transformToByteArray() ?? new Uint8Array(), body, 'copy')
}
const listing = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'sdk/' }))
const sizes = (listing.Contents ?? []).map(({ Size }) => Size).toSorted((a = 0, b = 0) => a - b)
if (JSON.stringify(sizes) !== JSON.stringify([0, 0, 1000, 1000, 100_000, 100_000, 12_000_000, 12_000_000])) throw new Error(`sizes ${JSON.stringify(sizes)}`)
for (const { Key } of listing.Contents ?? []) await s3.send(new DeleteObjectCommand({ Bucket, Key }))
