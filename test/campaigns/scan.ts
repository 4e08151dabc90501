// Objects of every kind under hostile names, in buckets with and without versions and locks; `sealgate scan` is compared with what was made, object by
// object, and with the counts of scan_count.py, which shares no code with it. Then a million rows of an inventory, of which memory is measured. Takes
// minutes:
//   node test/campaigns/scan.ts                                                   against the embedded store
//   node test/campaigns/scan.ts ENDPOINT ACCESS_KEY SECRET_KEY [OBJECTS [ROWS]]   against another store; the buckets that it makes stay
// Python with boto3 and cryptography: PYTHON, default python3.
import { execFile } from 'node:child_process'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  GetBucketVersioningCommand,
  HeadObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client
} from '@aws-sdk/client-s3'
import { openStore, storeOfBucket } from '../../src/cli/store-command.ts'
import { parallel } from '../../src/concurrency/parallel.ts'
import { readConfig } from '../../src/cli/sealed-config.ts'
import { runEngine } from '../../src/maintenance/engine.ts'
import { inventoryRows, readInventory } from '../../src/maintenance/inventory.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'
import { putParts } from '../support/existing-data.ts'
import { shown, startExisting, summaryOf } from '../support/existing-rig.ts'

const [endpoint, accessKeyId, secretAccessKey, objects = '2000', rows = '1000000'] = process.argv.slice(2)
if (endpoint === 'inventory') {
  await measureInventory(accessKeyId ?? '', process.argv.at(-1) ?? '')
  process.exit()
}
const rig = await startExisting([endpoint, accessKeyId, secretAccessKey], {
  auth: { ssecOverHttp: true },
  buckets: { '*': { encryption: 'on', key: 'main' } }
})
const { through, folder, wrong: faults, bucket: flat, plain: place } = rig
const versioned = `${flat}-v`
// Without checksums, as an older client: objects have only what their writer gave them.
const direct = new S3Client({
  endpoint: rig.access.endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  credentials: rig.access,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED'
})
const customer = randomBytes(32)
const ssec = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customer.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(customer).digest('base64')
}
type Writer = (Bucket: string, Key: string) => Promise<string | undefined>

const put = (s3: S3Client, Body: () => string | Buffer, more = {}): Writer => async (Bucket, Key) =>
  (await s3.send(new PutObjectCommand({ Bucket, Key, Body: Body(), ...more }))).VersionId
const text = (): string => `plain ${'x'.repeat(randomInt(200))}`
// versitygw names no version to a Complete that is sent again because its answer was lost, and an answer that took long has no headers of its end.
const multipart = (s3: S3Client): Writer => async (Bucket, Key) =>
  await putParts(s3, { Bucket, Key }, [Buffer.alloc(5 * 1024 * 1024, 7), Buffer.alloc(100, 7)]) ?? versionOf(Bucket, Key)
const versionOf: Writer = async (Bucket, Key) => (await direct.send(new HeadObjectCommand({ Bucket, Key }))).VersionId
const moved: Writer = async (Bucket, Key) => {
  await through.send(new PutObjectCommand({ Bucket, Key: 'origin', Body: 'moved' }))
  await direct.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/origin` }))
  // radosgw 16 does not name the version in its answer to a copy.
  return versionOf(Bucket, Key)
}

const retained = { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: new Date(Date.now() + 3_600_000), ChecksumAlgorithm: 'CRC32' } as const

/** How objects of each kind are made, the state that they are in, and how many of a hundred are so. */
const kinds: readonly (readonly [state: string, perHundred: number, make: Writer])[] = [
  ['sealed', 35, put(through, text)],
  ['sealed', 3, put(through, () => Buffer.alloc(0))],
  ['sse-c', 3, put(through, text, ssec)],
  ['plaintext', 25, put(direct, text)],
  ['plaintext', 3, put(direct, () => Buffer.alloc(0))],
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

const made: Made[] = []
const isLocking = await direct.send(new CreateBucketCommand({ Bucket: versioned, ObjectLockEnabledForBucket: true })).then(() => true, () => false)
if (!isLocking) {
  await direct.send(new CreateBucketCommand({ Bucket: versioned }))
  await direct.send(new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration: { Status: 'Enabled' } })).catch(() => undefined)
}
const keepsVersions = (await direct.send(new GetBucketVersioningCommand({ Bucket: versioned })).catch(() => null))?.Status === 'Enabled'
console.log(`versions: ${keepsVersions ? 'yes' : 'no'}; locks: ${isLocking ? 'yes' : 'no'}`)
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
await parallel(Array.from({ length: Number(objects) }, (_, i) => i), { limit: 48, signal: never }, async (i) => {
  const bucket = buckets[i % buckets.length] ?? flat
  // In the bucket with versions every fourth object gets a second one of another kind, and every tenth ends under a delete marker.
  const key = `${names[randomInt(names.length)] ?? ''}/${i}`
  const writes = bucket === versioned && i % 8 === 1 ? [i, i + 37] : [i]
  for (const each of writes) {
    const [state, , make] = i % 500 === 7
      ? ['plaintext', 0, multipart(direct)] as const
      : i % 500 === 9
      ? ['sealed', 0, multipart(through)] as const
      : i % 100 === 11 && bucket === versioned && isLocking
      ? ['plaintext', 0, put(direct, text, retained)] as const
      : kindOf(Math.floor(each / buckets.length))
    const versionId = await make(bucket, key)
    made.push({ bucket, key, state, versionId: bucket === versioned ? versionId ?? null : null })
  }
  if (bucket === versioned && i % 20 === 3) {
    const { VersionId = null } = await direct.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))
    made.push({ bucket, key, versionId: VersionId, state: 'delete-marker' })
  }
})
console.log(`${made.length} objects, versions and markers in ${((performance.now() - began) / 1000).toFixed(0)} s, under ${names.length} kinds of names`)

for (const bucket of buckets) {
  const report = join(folder, `${bucket}.jsonl`)
  const versions = bucket === versioned ? ['--versions'] : []
  const ran = await rig.run(['scan', '--bucket', bucket, ...versions, '--report', report, '--json'])
  const want = new Map(made.filter((one) => one.bucket === bucket).map(({ key, versionId, state }) => [JSON.stringify([key, versionId]), state]))
  let seen = 0
  const counts = new Map<string, number>()
  for await (const line of createInterface({ input: createReadStream(report) })) {
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
  const total = summaryOf(ran).rows
  console.log(
    `${bucket}: ${seen} rows in ${ran.seconds.toFixed(1)} s, ${(total / ran.seconds).toFixed(0)} per second, at most ${String(ran.peakMib)} MiB, exit ${
      String(ran.code)
    }`
  )
  console.log(`  scan:          ${[...counts].toSorted().map(([state, count]) => `${state} ${count}`).join(', ')}`)
  const from = performance.now()
  const other = await countElsewhere(bucket, versions)
  console.log(`  scan_count.py: ${other.map(([state, count]) => `${state} ${count}`).join(', ')}, ${((performance.now() - from) / 1000).toFixed(1)} s`)
  if (JSON.stringify(other) !== JSON.stringify([...counts].toSorted())) faults.push(`${bucket}: the counts differ: ${shown(ran)}`)
}

async function countElsewhere(bucket: string, versions: readonly string[]): Promise<(readonly [state: string, count: number])[]> {
  const { accessKeyId: id, secretAccessKey: secret } = rig.access
  const { stdout } = await promisify(execFile)(
    process.env['PYTHON'] ?? 'python3',
    [join(import.meta.dirname, 'scan_count.py'), rig.access.endpoint, bucket, rig.keyring, 'existing', ...versions],
    { env: { ...process.env, AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } }
  )
  return Object.entries(JSON.parse(stdout) as Record<string, number>).toSorted()
}

// An inventory of many rows: the source, the engine and its totals.
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
const measured = await rig.run(['inventory', place], null, import.meta.filename)
console.log(measured.out.trimEnd())
console.log(`  the process had at most ${String(measured.peakMib)} MiB`)
if (!measured.out.startsWith(`inventory: ${each * 4} rows`)) faults.push('rows of the inventory are missing')
direct.destroy()
await rig.finish()

/** In a process of its own: the source, the engine and its totals, without requests for the objects. */
async function measureInventory(place: string, file: string): Promise<void> {
  const never = new AbortController().signal
  const loaded = await readConfig({ file, env: {} })
  const raw = openStore(storeOfBucket(loaded, place), loaded)
  const bucket = new BucketClient(raw, place, never)
  const memory: string[] = []
  let count = 0
  const from = performance.now()
  const totals = await runEngine({
    source: inventoryRows(bucket, await readInventory(bucket, 'manifest.json'), true),
    filter: () => true,
    action: async ({ key, versionId, size, lastModified }) => {
      count += 1
      if (count % 100_000 === 0) {
        const { heapUsed, rss } = process.memoryUsage()
        memory.push(`${(heapUsed / 1024 ** 2).toFixed(0)}/${(rss / 1024 ** 2).toFixed(0)}`)
      }
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
  console.log(`inventory: ${totals.rows} rows, ${(totals.rows / ((performance.now() - from) / 1000)).toFixed(0)} per second`)
  console.log(`  heap used / resident set at every 100,000 rows, MiB: ${memory.join(' ')}`)
  await raw.close()
}
