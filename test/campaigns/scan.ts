// Objects of every kind under hostile names in buckets with and without versions; `sealgate scan` is compared with what was made, object by object,
// and with a listing by another client. Then the rows of an inventory, of which memory is measured. Takes minutes:
//   node test/campaigns/scan.ts                                                        against the embedded store
//   node test/campaigns/scan.ts ENDPOINT ACCESS_KEY SECRET_KEY [OBJECTS] [ROWS]        against another store; the buckets that it makes stay
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { gzipSync } from 'node:zlib'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { openStore, storeOfBucket } from '../../src/cli/store-command.ts'
import { parallel } from '../../src/concurrency/parallel.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { runEngine } from '../../src/maintenance/engine.ts'
import { inventoryRows, readInventory } from '../../src/maintenance/inventory.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { runCli } from '../support/run-cli.ts'

const [endpoint, accessKeyId = '', secretAccessKey = '', objects = '2000', rows = '1000000'] = process.argv.slice(2)
const embedded = endpoint === undefined ? await startTestStore({ keepBodies: false }) : null
const store = embedded ?? { endpoint: endpoint ?? '', accessKeyId, secretAccessKey, region: 'us-east-1' }
const suffix = randomBytes(3).toString('hex')
const folder = await mkdtemp(join(tmpdir(), 'sealgate-scan-'))
const keyring = join(folder, 'keyring.json')
await createKeyring(keyring, 'scan', new Date())
const { region } = store
const upstream = {
  endpoint: store.endpoint,
  region,
  accessKeyId: store.accessKeyId,
  secretAccessKey: store.secretAccessKey,
  stateBucket: `scan7-state-${suffix}`,
  realm: 'scan'
}
const sections = { upstream, auth: { ssecOverHttp: true } }
const gateway = await startTestGateway(store, { keyring, sections })
const config = join(folder, 'sealgate.yaml')
await writeFile(
  config,
  JSON.stringify({
    ...sections,
    clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey, buckets: ['*'] }],
    keys: { main: { type: 'local', keyring } },
    buckets: { '*': { encryption: 'on', key: 'main' } }
  })
)
const through = gateway.client()
const direct = new S3Client({
  endpoint: store.endpoint,
  region,
  forcePathStyle: true,
  credentials: store,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED'
})
const customer = randomBytes(32)
const ssec = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customer.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(customer).digest('base64')
}
const PART_BYTES = 5 * 1024 * 1024
type Writer = (Bucket: string, Key: string) => Promise<string | undefined>

const put = (s3: S3Client, Body: () => string | Buffer, more = {}): Writer => async (Bucket, Key) =>
  (await s3.send(new PutObjectCommand({ Bucket, Key, Body: Body(), ...more }))).VersionId
const text = (): string => `plain ${'x'.repeat(randomInt(200))}`
const multipart = (s3: S3Client): Writer => async (Bucket, Key) => {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const Parts = []
  for (const [i, size] of [PART_BYTES, 100].entries()) {
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body: Buffer.alloc(size, 7) }))
    Parts.push({ PartNumber: i + 1, ETag })
  }
  return (await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))).VersionId
}
const moved: Writer = async (Bucket, Key) => {
  await through.send(new PutObjectCommand({ Bucket, Key: 'origin', Body: 'moved' }))
  await direct.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/origin` }))
  // radosgw 16 does not name the version in its answer to a copy.
  return (await direct.send(new HeadObjectCommand({ Bucket, Key }))).VersionId
}

/** How objects of each kind are made, the state that they are in, and how many of a hundred are so. */
const kinds: readonly (readonly [state: string, perHundred: number, make: Writer])[] = [
  ['sealed', 35, put(through, text)],
  ['sealed', 3, put(through, () => '')],
  ['sse-c', 3, put(through, text, ssec)],
  ['plaintext', 25, put(direct, text)],
  ['plaintext', 3, put(direct, () => '')],
  ['s3ec-v1', 4, put(direct, text, { Metadata: { 'x-amz-key': 'a2V5', 'x-amz-iv': 'aXY=' } })],
  ['s3ec-v2', 4, put(direct, text, { Metadata: { 'x-amz-key-v2': 'a2V5', 'x-amz-cek-alg': 'AES/GCM/NoPadding' } })],
  ['s3ec-v3', 4, put(direct, text, { Metadata: { 'x-amz-3': 'a2V5', 'x-amz-c': '115', 'x-amz-w': '12' } })],
  ['encrypted-by-tool', 3, put(direct, () => `age-encryption.org/v1\n${text()}`)],
  ['encrypted-by-tool', 3, put(direct, () => `RCLONE\0\0${text()}`)],
  [
    'encrypted-by-tool',
    3,
    put(direct, () => Buffer.concat([Buffer.from('8c0d04090302', 'hex'), randomBytes(9), Buffer.from('d22901', 'hex'), randomBytes(40)]))
  ],
  ['damaged', 3, put(direct, text, { Metadata: { 'sealgate': 'AAAA', 'sealgate-key': 'local:scan:1' } })],
  ['damaged', 2, put(direct, text, { Metadata: { 'sealgate-key': 'local:scan:1' } })],
  ['sealed-elsewhere', 5, moved]
]
const names = ['ü/ž', '=1+1', '-rf', ' blank ', 'a&<>"\'', '日本', 'x+y%20z', '😀', 'tab\there', '{"key":"x"}', 'dots/..x', 'q?#;', '"quoted",cell']

interface Made {
  readonly bucket: string
  readonly key: string
  readonly versionId: string | null
  readonly state: string
}

const say = (line: string): void => {
  console.log(line)
}
const made: Made[] = []
const faults: string[] = []
const [flat, versioned] = [`scan7-${suffix}`, `scan7-v-${suffix}`]
for (const Bucket of [flat, versioned]) await direct.send(new CreateBucketCommand({ Bucket }))
let keepsVersions = true
try {
  await direct.send(new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration: { Status: 'Enabled' } }))
} catch {
  keepsVersions = false
  say('the store has no versions: one bucket only')
}
const kindOf = (i: number): (typeof kinds)[number] => {
  let left = i % 100
  for (const kind of kinds) {
    left -= kind[1]
    if (left < 0) return kind
  }
  throw new RangeError('The shares must make a hundred.')
}
const buckets = keepsVersions ? [flat, versioned] : [flat]
const never = new AbortController().signal
const began = performance.now()
await parallel(Array.from({ length: Number(objects) }, (_, i) => i), { limit: 16, signal: never }, async (i) => {
  const bucket = buckets[i % buckets.length] ?? flat
  // In the bucket with versions every fourth object gets a second one of another kind, and every tenth ends under a delete marker.
  const key = `${names[randomInt(names.length)] ?? ''}/${i}`
  const writes = bucket === versioned && i % 8 === 1 ? [i, i + 37] : [i]
  for (const each of writes) {
    const [state, , make] = i % 500 === 7
      ? ['plaintext', 0, multipart(direct)] as const
      : i % 500 === 9
      ? ['sealed', 0, multipart(through)] as const
      : kindOf(Math.floor(each / buckets.length))
    const versionId = await make(bucket, key)
    made.push({ bucket, key, state, versionId: bucket === versioned ? versionId ?? null : null })
  }
  if (bucket === versioned && i % 20 === 3) {
    const { VersionId = null } = await direct.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))
    made.push({ bucket, key, versionId: VersionId, state: 'delete-marker' })
  }
})
say(`${made.length} objects, versions and markers in ${((performance.now() - began) / 1000).toFixed(0)} s, under ${names.length} kinds of names`)

/** Rows that another client lists. */
async function listed(Bucket: string): Promise<number> {
  // versitygw begins a page with the last row of the page before.
  const rows = new Set<string>()
  let [KeyMarker, VersionIdMarker, more]: [string | undefined, string | undefined, boolean] = [undefined, undefined, true]
  while (more) {
    const page: ListObjectVersionsCommandOutput = await direct.send(new ListObjectVersionsCommand({ Bucket, KeyMarker, VersionIdMarker, MaxKeys: 500 }))
    for (const { Key, VersionId } of [...page.Versions ?? [], ...page.DeleteMarkers ?? []]) if (Key !== 'origin') rows.add(JSON.stringify([Key, VersionId]))
    KeyMarker = page.NextKeyMarker
    VersionIdMarker = page.NextVersionIdMarker
    more = page.IsTruncated === true
  }
  return rows.size
}

for (const bucket of buckets) {
  const report = `${bucket}.jsonl`
  const from = performance.now()
  const { code, err } = await runCli(['scan', '--config', config, '--bucket', bucket, '--versions', '--report', report, '--json'], folder)
  const seconds = (performance.now() - from) / 1000
  const want = new Map(made.filter((one) => one.bucket === bucket).map(({ key, versionId, state }) => [JSON.stringify([key, versionId]), state]))
  let seen = 0
  const counts = new Map<string, number>()
  for await (const line of createInterface({ input: createReadStream(join(folder, report)) })) {
    const { key, versionId, state, detail } = JSON.parse(line) as { key: string; versionId: string | null; state: string; detail: string }
    // The copies' source; its versions are not counted.
    if (key === 'origin') continue
    seen += 1
    counts.set(state, (counts.get(state) ?? 0) + 1)
    const name = JSON.stringify([key, bucket === versioned ? versionId : null])
    const wanted = want.get(name)
    if (wanted !== state) faults.push(`${bucket} ${name}: ${state} (${detail}), made as ${wanted ?? 'nothing'}`)
    want.delete(name)
  }
  for (const [name, state] of want) faults.push(`${bucket} ${name}: ${state} is missing in the report`)
  const others = await listed(bucket)
  if (others !== seen) faults.push(`${bucket}: ${seen} rows, another client lists ${others}`)
  say(`${bucket}: ${seen} rows in ${seconds.toFixed(1)} s, ${(seen / seconds).toFixed(0)} per second, exit ${code}${code === 1 ? ` ${err}` : ''}`)
  say(`  ${[...counts].toSorted().map(([state, count]) => `${state} ${count}`).join(', ')}`)
}

// An inventory of many rows: the source, the engine and its totals.
const place = `scan7-i-${suffix}`
await direct.send(new CreateBucketCommand({ Bucket: place }))
const each = Number(rows) / 4
const files = []
for (let file = 0; file < 4; file += 1) {
  const lines = Array.from(
    { length: each },
    (_, i) =>
      `"${flat}","${encodeURIComponent(`${names[i % names.length] ?? ''}/${file}/${i}`)}","null","true","false","${i}","2026-01-02T03:04:05.000Z","${
        createHash('md5').update(String(i)).digest('hex')
      }","STANDARD"`
  )
  const Body = gzipSync(lines.join('\n'))
  const Key = `data/${file}.csv.gz`
  await direct.send(new PutObjectCommand({ Bucket: place, Key, Body }))
  files.push({ key: Key, size: Body.length, MD5checksum: createHash('md5').update(Body).digest('hex') })
}
const fileSchema = 'Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass'
const manifest = { sourceBucket: flat, destinationBucket: `arn:aws:s3:::${place}`, version: '2016-11-30', fileFormat: 'CSV', fileSchema, files }
await direct.send(new PutObjectCommand({ Bucket: place, Key: 'manifest.json', Body: JSON.stringify(manifest) }))
const loaded = loadConfig({ file: config, env: {} })
const raw = openStore(storeOfBucket(loaded, place), loaded)
const bucket = new BucketClient(raw, place, never)
const memory: number[] = []
let count = 0
const from = performance.now()
const totals = await runEngine({
  source: inventoryRows(bucket, await readInventory(bucket, 'manifest.json'), true),
  filter: () => true,
  action: async ({ key, versionId, size, lastModified }) => {
    count += 1
    if (count % 50_000 === 0) memory.push(process.memoryUsage().heapUsed)
    return Promise.resolve({
      key,
      versionId,
      state: 'plaintext',
      size,
      storedBytes: size,
      etag: null,
      keyId: null,
      detail: '',
      outcome: null,
      verdict: null,
      fault: null,
      lastModified
    })
  },
  limits: { concurrency: 32, perSecond: null, bytesPerSecond: null },
  shard: null,
  onFinding: () => undefined,
  signal: never
})
const mib = (bytes: number): string => (bytes / 1024 ** 2).toFixed(0)
const packed = files.reduce((sum, { size }) => sum + size, 0)
say(`inventory: ${totals.rows} rows from ${mib(packed)} MiB of gzip, ${(totals.rows / ((performance.now() - from) / 1000)).toFixed(0)} per second`)
say(`  heap used at every 50,000 rows, MiB: ${memory.map(mib).join(' ')}`)
if (totals.rows !== each * 4) faults.push(`${totals.rows} rows of an inventory of ${each * 4}`)
await raw.close()
for (const fault of faults.slice(0, 20)) say(`FAULT ${fault}`)
say(`${faults.length} faults; reports in ${folder}: ${(await stat(join(folder, `${flat}.jsonl`))).size} bytes`)
await gateway.close()
through.destroy()
direct.destroy()
await embedded?.close()
if (faults.length === 0) await rm(folder, { recursive: true })
process.exitCode = faults.length === 0 ? 0 : 1
