import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import type { Row } from '../../src/maintenance/engine.ts'
import { inventoryRows, readInventory } from '../../src/maintenance/inventory.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'
import type { UpstreamRequest } from '../../src/upstream/types.ts'

const schema = 'Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, EncryptionStatus'

/** A store that holds these files, and gives their bytes in pieces. */
function storeOf(files: Readonly<Record<string, Buffer | AsyncIterable<Buffer>>>, piece = 7): BucketClient {
  const upstream = {
    request: ({ key }: UpstreamRequest) => {
      const file = files[key ?? '']
      const whole = file instanceof Buffer ? pieces(file, piece) : file ?? []
      return Promise.resolve({ status: file === undefined ? 404 : 200, headers: new HeaderList([]), body: Readable.from(whole) })
    },
    close: () => Promise.resolve()
  }
  return new BucketClient(upstream, 'reports', new AbortController().signal)
}

function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function manifest(files: Readonly<Record<string, Buffer>>, change: Readonly<Record<string, unknown>> = {}): Buffer {
  return Buffer.from(JSON.stringify({
    sourceBucket: 'bucket',
    destinationBucket: 'arn:aws:s3:::reports',
    fileFormat: 'CSV',
    fileSchema: schema,
    files: Object.entries(files).map(([key, bytes]) => ({ key, size: bytes.length, MD5checksum: createHash('md5').update(bytes).digest('hex') })),
    ...change
  }))
}

async function rowsIn(place: BucketClient, versions = true): Promise<Row[]> {
  const rows: Row[] = []
  for await (const page of inventoryRows(place, await readInventory(place, 'manifest.json'), versions)) rows.push(...page)
  return rows
}

const quoted = (cells: readonly string[]): string => cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')
const line = (key: string, version = '', latest = 'true', marker = 'false'): string =>
  quoted(['bucket', encodeURIComponent(key), version, latest, marker, '12', '2026-01-02T03:04:05.000Z', 'abc', 'STANDARD', 'NOT-SSE'])

await t.test('any name comes back, however the bytes are divided, with and without a line of column names', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ minLength: 1, unit: 'grapheme' }).map((name) => name.toWellFormed()), { maxLength: 20 }),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      fc.boolean(),
      async (keys, piece, header, zipped) => {
        const text = [...header ? [schema.replaceAll(', ', ',')] : [], ...keys.map((key) => line(key))].join('\n')
        const file = zipped ? gzipSync(text) : Buffer.from(text)
        const files = { [zipped ? 'a.csv.gz' : 'a.csv']: file }
        const rows = await rowsIn(storeOf({ ...files, 'manifest.json': manifest(files) }, piece))
        t.strictSame(rows.map(({ key }) => key), keys)
      }
    ),
    { numRuns: 60 }
  )
})

await t.test('columns by their names; a plus sign stands for a space; "null" is the id of a version, an empty cell is none', async (t) => {
  const text = [line('a', 'null', 'false'), line('b', '', 'true'), line('c', 'v3', 'true', 'true'), '"bucket","d+e%2B","","","","","","",""," "'].join('\r\n')
  const files = { 'a.csv': Buffer.from(text) }
  const place = storeOf({ ...files, 'manifest.json': manifest(files) })
  const known = { size: 12, etag: 'abc', lastModified: Date.UTC(2026, 0, 2, 3, 4, 5), storageClass: 'STANDARD' }
  t.strictSame(await rowsIn(place), [
    { ...known, key: 'a', versionId: 'null', isLatest: false, deleteMarker: false },
    { ...known, key: 'b', versionId: null, isLatest: true, deleteMarker: false },
    { ...known, key: 'c', versionId: 'v3', isLatest: true, deleteMarker: true },
    { key: 'd e+', versionId: null, isLatest: true, deleteMarker: false, size: null, etag: null, lastModified: null, storageClass: null }
  ])
  t.strictSame((await rowsIn(place, false)).map(({ key }) => key), ['b', 'd e+'])
})

await t.test('what is not what the manifest says ends with an error that names the file', async (t) => {
  const good = Buffer.from(line('a'))
  const cases: readonly (readonly [RegExp, Readonly<Record<string, Buffer>>])[] = [
    [/MD5 differs/, { 'a.csv': Buffer.from(line('b')), 'manifest.json': manifest({ 'a.csv': good }) }],
    [/answers 404/, { 'manifest.json': manifest({ 'a.csv': good }) }],
    [/answers 404/, {}],
    [/not JSON/, { 'manifest.json': Buffer.from('<html>') }],
    [/ORC/, { 'manifest.json': manifest({}, { fileFormat: 'ORC' }) }],
    [/no column Key/, { 'manifest.json': manifest({}, { fileSchema: 'Bucket' }) }],
    [/is not a manifest/, { 'manifest.json': manifest({}, { files: null }) }],
    [/without its name/, { 'manifest.json': manifest({}, { files: [null] }) }],
    [/another bucket/, { 'a.csv': good, 'manifest.json': manifest({ 'a.csv': good }, { sourceBucket: 'other' }) }],
    [/9 cells|1 cells/, { 'a.csv': Buffer.from('x'), 'manifest.json': manifest({ 'a.csv': Buffer.from('x') }) }],
    [/to its end/, { 'a.csv.gz': Buffer.from('not gzip'), 'manifest.json': manifest({ 'a.csv.gz': Buffer.from('not gzip') }) }]
  ]
  for (const [message, files] of cases) await t.rejects(rowsIn(storeOf(files)), { code: 'SealgateBadUpstream', message })
})

await t.test('a row without an end is not gathered', async (t) => {
  let given = 0
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) {
      given += 1
      yield Buffer.alloc(4096, 'x')
    }
  }
  const place = storeOf({ 'a.csv': endless(), 'manifest.json': manifest({ 'a.csv': Buffer.alloc(0) }) })
  await t.rejects(rowsIn(place), { message: /more than 16384 characters/ })
  t.ok(given < 40)
})
