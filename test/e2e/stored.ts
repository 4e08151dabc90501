// What the store holds of a bucket, against what the gateway says of it: node test/e2e/stored.ts RIG_LINE BUCKET
// Every object has the size that docs/FORMAT.md demands, and none begins with anything that can be compressed.
import { deflateRawSync } from 'node:zlib'
import { GetObjectCommand, paginateListObjectsV2, S3Client } from '@aws-sdk/client-s3'

interface Access {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}
const [line = '', Bucket = ''] = process.argv.slice(2)
const rig = JSON.parse(line) as Access & { readonly http: string; readonly store: Access & { readonly endpoint: string } }

function client(endpoint: string, { accessKeyId, secretAccessKey }: Access): S3Client {
  return new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
}

async function sizes(s3: S3Client): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket })) for (const { Key = '', Size = -1 } of Contents) found.set(Key, Size)
  return found
}

const store = client(rig.store.endpoint, rig.store)
const [shown, stored] = [await sizes(client(rig.http, rig)), await sizes(store)]
if (shown.size === 0 || shown.size !== stored.size) throw new Error(`${shown.size} objects shown, ${stored.size} stored`)
for (const [Key, size] of shown) {
  const found = stored.get(Key)
  if (found !== (size === 0 ? 0 : size + 512 + 20 * Math.ceil(size / 65_536))) throw new Error(`${Key}: ${size} bytes are stored as ${found ?? 'nothing'}`)
  if (size === 0) continue
  const { Body } = await store.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=0-65535' }))
  const head = (await Body?.transformToByteArray() ?? new Uint8Array()).subarray(0, size)
  if (deflateRawSync(head).length < head.length) throw new Error(`${Key} does not look like ciphertext`)
}
process.stdout.write(`${shown.size} objects as they should be\n`)
