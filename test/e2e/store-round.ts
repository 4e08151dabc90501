// What a store must do for the gateway beside what clients.sh tries, through two instances of the gateway in front of it:
//   test/e2e/stores/STORE.sh node test/e2e/store-round.ts
//   node test/e2e/store-round.ts --store ENDPOINT --access-key ID --secret-key SECRET
// Prints one row for each question. "501" says that the store was not seen to do it and that the gateway refuses it; "other" is a fault.
// Ends with 1 when a row is a fault.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'

interface Rig {
  readonly http: string
  readonly second: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

const rig = spawn(process.execPath, [join(import.meta.dirname, 'rig.ts'), ...process.argv.slice(2)], { stdio: ['pipe', 'pipe', 'inherit'] })
const [line] = await once(createInterface(rig.stdout), 'line') as [string]
const { http, second, accessKeyId, secretAccessKey } = JSON.parse(line) as Rig
const [one, two] = [http, second].map((endpoint) =>
  new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId, secretAccessKey } })
) as [S3Client, S3Client]

const run = Date.now().toString(36)
const [Bucket, Other, Versioned] = [`round-${run}`, `round-other-${run}`, `round-versions-${run}`]
let faults = 0

function demand(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}

async function row(name: string, act: () => Promise<unknown>): Promise<boolean> {
  const result = await act().then(
    (said) => typeof said === 'string' ? said : 'ok',
    (error: unknown) => error instanceof S3ServiceException && error.$metadata.httpStatusCode === 501 ? `501 ${error.message}` : `FAULT ${String(error)}`
  )
  if (result.startsWith('FAULT')) faults += 1
  process.stdout.write(`${name.padEnd(38)} ${result.slice(0, 200)}\n`)
  return result === 'ok'
}

async function read(Key: string, from = two, bucket = Bucket, VersionId?: string): Promise<Buffer> {
  const { Body } = await from.send(new GetObjectCommand({ Bucket: bucket, Key, ...VersionId === undefined ? {} : { VersionId } }))
  return Buffer.from(await Body?.transformToByteArray() ?? [])
}

const put = (Key: string, Body: Uint8Array, more = {}, bucket = Bucket) => one.send(new PutObjectCommand({ Bucket: bucket, Key, Body, ...more }))

/**
 * Sends all requests at once; how many succeeded. The others have to be 412 or 409, or 500 or 503: stores give up conditional writes that
 * meet each other (radosgw: 1 in 10 of 20 at once, also without a gateway), and a client repeats them.
 */
async function race(requests: (() => Promise<unknown>)[]): Promise<number> {
  const ends = await Promise.allSettled(requests.map((send) => send()))
  for (const end of ends) {
    if (end.status === 'fulfilled') continue
    const error: unknown = end.reason
    if (!(error instanceof S3ServiceException) || ![409, 412, 500, 503].includes(error.$metadata.httpStatusCode ?? 0)) throw error
  }
  return ends.filter(({ status }) => status === 'fulfilled').length
}

async function upload(Key: string, parts: Uint8Array[], bucket = Bucket): Promise<void> {
  const { UploadId } = await one.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key, Metadata: { colour: 'blue' } }))
  const sent = await Promise.all(parts.map(async (Body, index) => {
    const client = index % 2 === 0 ? one : two
    const { ETag } = await client.send(new UploadPartCommand({ Bucket: bucket, Key, UploadId, PartNumber: index + 1, Body }))
    return { PartNumber: index + 1, ETag }
  }))
  const listed = await two.send(new ListPartsCommand({ Bucket: bucket, Key, UploadId }))
  demand((listed.Parts ?? []).every(({ Size }, index) => Size === parts[index]?.length), 'ListParts has other sizes')
  await two.send(new CompleteMultipartUploadCommand({ Bucket: bucket, Key, UploadId, MultipartUpload: { Parts: sent } }))
}

const source = (bucket: string, key: string): string => encodeURI(`${bucket}/${key}`)
const small = randomBytes(100_000)
const parts = [randomBytes(8_388_608), randomBytes(8_388_608), randomBytes(5_242_880), randomBytes(7)]
const whole = Buffer.concat(parts)

await row('buckets', async () => {
  for (const bucket of [Bucket, Other]) await one.send(new CreateBucketCommand({ Bucket: bucket }))
})
await row('PUT, GET by the other instance', async () => {
  await put('small', small, { Metadata: { colour: 'blue' }, ContentType: 'text/plain' })
  demand((await read('small')).equals(small), 'other bytes')
  const head = await two.send(new HeadObjectCommand({ Bucket, Key: 'small' }))
  demand(head.Metadata?.['colour'] === 'blue' && head.ContentType === 'text/plain' && head.ContentLength === small.length, 'other properties')
})
await row('sizes in listings', async () => {
  const sizes = [0, 1, 65_535, 65_536, 65_537, 131_072, 300_000]
  for (const size of sizes) await put(`sizes/${String(size).padStart(6, '0')}`, randomBytes(size))
  const { Contents = [] } = await two.send(new ListObjectsV2Command({ Bucket, Prefix: 'sizes/' }))
  demand(JSON.stringify(Contents.map(({ Size }) => Size)) === JSON.stringify(sizes), `sizes ${JSON.stringify(Contents.map(({ Size }) => Size))}`)
})
await row('1,050 names in order, 3 pages', async () => {
  const names = Array.from({ length: 1050 }, (_, index) => `many/${['a', 'B', 'é', '~', '日'][index % 5] ?? ''}${index} +%`)
  for (let start = 0; start < names.length; start += 50) await Promise.all(names.slice(start, start + 50).map((name) => put(name, small.subarray(0, 3))))
  const found: string[] = []
  let token: string | undefined
  do {
    const page = await two.send(new ListObjectsV2Command({ Bucket, Prefix: 'many/', MaxKeys: 400, ContinuationToken: token }))
    found.push(...(page.Contents ?? []).map(({ Key = '' }) => Key))
    token = page.NextContinuationToken
  } while (token !== undefined)
  const inOrder = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  demand(found.length === inOrder.length && new Set(found).size === found.length, `${found.length} names`)
  return found.some((name, index) => name !== inOrder[index]) ? 'ok, but not in the order of UTF-8' : 'ok'
})
await row('DeleteObjects of 1,000', async () => {
  const { Contents = [] } = await one.send(new ListObjectsV2Command({ Bucket, Prefix: 'many/' }))
  const gone = await one.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: Contents.map(({ Key }) => ({ Key: Key ?? '' })), Quiet: true } }))
  demand((gone.Errors ?? []).length === 0, JSON.stringify(gone.Errors?.[0]))
  demand((await one.send(new ListObjectsV2Command({ Bucket, Prefix: 'many/' }))).KeyCount === 50, 'objects are left')
})
await row('multipart over two instances', async () => {
  await upload('multi', parts)
  demand((await read('multi')).equals(whole), 'other bytes')
})
await row('ranges over parts', async () => {
  const { Body } = await two.send(new GetObjectCommand({ Bucket, Key: 'multi', Range: 'bytes=8388600-16777300' }))
  demand(Buffer.from(await Body?.transformToByteArray() ?? []).equals(whole.subarray(8_388_600, 16_777_301)), 'other bytes')
})
for (const [name, key, body] of [['small', 'small', small], ['multipart', 'multi', whole]] as const) {
  for (const bucket of [Bucket, Other]) {
    await row(`copy of a ${name} object, ${bucket === Bucket ? 'same' : 'other'} bucket`, async () => {
      await one.send(new CopyObjectCommand({ Bucket: bucket, Key: `copy-${key}`, CopySource: source(Bucket, key) }))
      demand((await read(`copy-${key}`, two, bucket)).equals(body), 'other bytes')
      demand((await two.send(new HeadObjectCommand({ Bucket: bucket, Key: `copy-${key}` }))).Metadata?.['colour'] === 'blue', 'other metadata')
    })
  }
}
await row('UploadPartCopy', async () => {
  const Key = 'part-copy'
  const { UploadId } = await one.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const copied = await two.send(
    new UploadPartCopyCommand({ Bucket, Key, UploadId, PartNumber: 1, CopySource: source(Bucket, 'multi'), CopySourceRange: 'bytes=100-9000099' })
  )
  await one.send(
    new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: copied.CopyPartResult?.ETag }] } })
  )
  demand((await read(Key)).equals(whole.subarray(100, 9_000_100)), 'other bytes')
})
await row('20 PUTs with If-None-Match: one wins', async () => {
  const won = await race(
    Array.from(
      { length: 20 },
      (_, index) => () => (index % 2 === 0 ? one : two).send(new PutObjectCommand({ Bucket, Key: 'race', Body: small, IfNoneMatch: '*' }))
    )
  )
  demand(won === 1, `${won} won`)
})
await row('20 PUTs with If-Match: one wins', async () => {
  const { ETag } = await put('swap', Buffer.from('first'))
  const won = await race(
    Array.from(
      { length: 20 },
      (_, index) => () => (index % 2 === 0 ? one : two).send(new PutObjectCommand({ Bucket, Key: 'swap', Body: randomBytes(100), IfMatch: ETag }))
    )
  )
  demand(won === 1, `${won} won`)
})
await row('Complete with If-None-Match, object there', async () => {
  const { UploadId } = await one.send(new CreateMultipartUploadCommand({ Bucket, Key: 'small' }))
  const { ETag } = await one.send(new UploadPartCommand({ Bucket, Key: 'small', UploadId, PartNumber: 1, Body: small }))
  const won = await race([
    () =>
      two.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'small', UploadId, IfNoneMatch: '*', MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }))
  ])
  demand(won === 0, 'the object was replaced')
})
await row('copy to an If-None-Match destination', async () => {
  const won = await race([() => one.send(new CopyObjectCommand({ Bucket, Key: 'multi', CopySource: source(Bucket, 'small'), IfNoneMatch: '*' }))])
  demand(won === 0, 'the object was replaced')
})
await row('DELETE with another If-Match', async () => {
  const won = await race([() => one.send(new DeleteObjectCommand({ Bucket, Key: 'small', IfMatch: '"00000000000000000000000000000000"' }))])
  demand(won === 0, 'the object was deleted')
})
await row('tags', async () => {
  await one.send(new PutObjectTaggingCommand({ Bucket, Key: 'small', Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } }))
  const { TagSet = [] } = await two.send(new GetObjectTaggingCommand({ Bucket, Key: 'small' }))
  demand(TagSet[0]?.Value === 'b', 'other tags')
})
await row('empty object named a/', async () => {
  await put('folder/', new Uint8Array())
  demand((await read('folder/')).length === 0, 'not empty')
  await put('folder/below', small)
  demand((await two.send(new ListObjectsV2Command({ Bucket, Prefix: 'folder/' }))).KeyCount === 2, 'not both listed')
})
await row('versions: old bytes, marker, restore', async () => {
  await one.send(new CreateBucketCommand({ Bucket: Versioned }))
  await one.send(new PutBucketVersioningCommand({ Bucket: Versioned, VersioningConfiguration: { Status: 'Enabled' } }))
  const first = await put('v', small, {}, Versioned)
  await put('v', small.subarray(1), {}, Versioned)
  demand(first.VersionId !== undefined, 'no version id')
  demand((await read('v', two, Versioned, first.VersionId)).equals(small), 'other bytes')
  await one.send(new DeleteObjectCommand({ Bucket: Versioned, Key: 'v' }))
  const { Versions = [], DeleteMarkers = [] } = await two.send(new ListObjectVersionsCommand({ Bucket: Versioned }))
  demand(Versions.length === 2 && DeleteMarkers.length === 1 && Versions[1]?.Size === small.length, 'other versions')
})
process.stdout.write(`${faults} faults\n`)
rig.stdin.end()
await once(rig, 'exit')
process.exitCode = faults === 0 ? 0 : 1
