// What the store holds of a bucket, against what the gateway says of it: node test/e2e/stored.ts RIG_LINE BUCKET [MARKER]
// Every object has the size that docs/FORMAT.md demands, cannot be compressed, and has in it no piece of what the gateway answers for it. MARKER, a text
// that is in the data of whoever wrote the bucket, is found through the gateway and nowhere in the store. Prints "N objects, B bytes …".
import { deflateRawSync } from 'node:zlib'
import { GetObjectCommand, paginateListObjectsV2, S3Client } from '@aws-sdk/client-s3'

interface Access {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}
const [line = '', Bucket = '', marker = ''] = process.argv.slice(2)
const rig = JSON.parse(line) as Access & { readonly http: string; readonly store: Access & { readonly endpoint: string } }

function client(endpoint: string, { accessKeyId, secretAccessKey }: Access): S3Client {
  return new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
}

async function sizes(s3: S3Client): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket })) for (const { Key = '', Size = -1 } of Contents) found.set(Key, Size)
  return found
}

async function body(s3: S3Client, Key: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from(await Body?.transformToByteArray() ?? [])
}

/** 32 pieces of 24 bytes, evenly spread, without those that are so uniform that ciphertext may have them by chance. */
function pieces(plaintext: Buffer): Buffer[] {
  const step = Math.max(1, Math.floor(plaintext.length / 32))
  const found = Array.from({ length: 32 }, (_, index) => plaintext.subarray(index * step, index * step + 24))
  return found.filter((piece) => piece.length === 24 && new Set(piece).size > 3)
}

const [gateway, store] = [client(rig.http, rig), client(rig.store.endpoint, rig.store)]
const [shown, stored] = [await sizes(gateway), await sizes(store)]
if (shown.size === 0 || shown.size !== stored.size) throw new Error(`${shown.size} objects shown, ${stored.size} stored`)
let [bytes, marked] = [0, 0]
for (const [Key, size] of shown) {
  const found = stored.get(Key)
  if (found !== (size === 0 ? 0 : size + 512 + 20 * Math.ceil(size / 65_536))) throw new Error(`${Key}: ${size} bytes are stored as ${found ?? 'nothing'}`)
  if (size === 0) continue
  const [plaintext, sealed] = await Promise.all([body(gateway, Key), body(store, Key)])
  if (plaintext.length !== size || sealed.length !== found) throw new Error(`${Key}: ${plaintext.length} bytes of ${size}, stored ${sealed.length} of ${found}`)
  const head = sealed.subarray(0, Math.min(size, 65_536))
  if (deflateRawSync(head).length < head.length) throw new Error(`${Key} does not look like ciphertext`)
  const plain = pieces(plaintext).find((piece) => sealed.includes(piece))
  if (plain !== undefined) throw new Error(`${Key}: the store has ${plain.toString('hex')} of its plaintext`)
  if (marker !== '' && sealed.includes(marker)) throw new Error(`${Key}: the store has the marker`)
  if (marker !== '' && plaintext.includes(marker)) marked += 1
  bytes += size
}
if (marker !== '' && marked === 0) throw new Error('no object has the marker, so its absence from the store shows nothing')
process.stdout.write(
  `${shown.size} objects, ${bytes} bytes as they should be${marker === '' ? '' : `; the marker is in ${marked} of them, and not in the store`}\n`
)
