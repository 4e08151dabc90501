import t from 'tap'
import { createHash, randomBytes } from 'node:crypto'
import { checksumCodes, type ChecksumName } from '../../src/envelope/attributes.ts'
import { contextFields, DataKey, wrap } from '../../src/envelope/data-key.ts'
import { fields } from '../../src/envelope/encoding.ts'
import {
  attemptEtag,
  completedListHash,
  openPartRecord,
  openUploadRecord,
  parseUploadRecord,
  sealPartRecord,
  sealUploadRecord,
  uploadHash,
  type PartRecord,
  type SealUploadRecordInput,
  type UploadSettings
} from '../../src/envelope/upload-records.ts'
import { MAX_PART_PLAINTEXT } from '../../src/envelope/sizes.ts'
import { faults, flip, kek, kindOf, place } from './fixtures.ts'

const dataKey = DataKey.random()
const upload = uploadHash(place, 'upload-1')
const record: PartRecord = {
  number: 17,
  plaintextSize: MAX_PART_PLAINTEXT,
  header: randomBytes(40),
  md5: randomBytes(16),
  checksum: { algorithm: 'sha256', value: randomBytes(32) },
  upstreamEtag: randomBytes(16).toString('hex'),
  inline: false
}

await t.test('part records round trip, as names of objects', async (t) => {
  const name = sealPartRecord(dataKey, upload, record)
  t.match(name, /^[A-Za-z0-9_-]+$/)
  t.ok(name.length <= 255, `${name.length} characters, and file systems take 255`)
  t.comment(`a part record of ${name.length} characters`)
  const all: PartRecord[] = [
    record,
    { ...record, md5: null },
    { ...record, checksum: null },
    { ...record, inline: true, upstreamEtag: '', plaintextSize: 0 },
    { ...record, md5: null, checksum: null, number: 1 },
    ...Object.entries(checksumCodes).map(([algorithm, { bytes }]) => ({
      ...record,
      checksum: { algorithm: algorithm as ChecksumName, value: randomBytes(bytes) },
      number: 10_000
    }))
  ]
  for (const one of all) t.same(openPartRecord(dataKey, upload, sealPartRecord(dataKey, upload, one)), one)
  t.not(sealPartRecord(dataKey, upload, record), name, 'fresh salt')
})

await t.test('faulty and foreign part records', async (t) => {
  const raw = Buffer.from(sealPartRecord(dataKey, upload, record), 'base64url')
  const open = (name: string, key = dataKey, of = upload) => kindOf(() => openPartRecord(key, of, name))
  let tried = 0
  for (const [name, faulty] of faults(raw)) {
    tried += 1
    if (open(faulty.toString('base64url')) !== 'record') t.fail(name)
  }
  t.comment(`${tried} faulty part records, 0 accepted`)
  const name = raw.toString('base64url')
  t.equal(open(name, DataKey.random()), 'record')
  t.equal(open(name, dataKey, uploadHash(place, 'upload-2')), 'record')
  for (const text of ['', `${name}=`, `${name}A`, 'A'.repeat(1025), 'ä']) t.equal(open(text), 'record')
  t.throws(() => sealPartRecord(dataKey, upload, { ...record, upstreamEtag: 'e'.repeat(256) }), RangeError)
  t.throws(() => sealPartRecord(dataKey, upload, { ...record, header: Buffer.alloc(39) }), RangeError)
  t.equal(open(sealPartRecord(dataKey, upload, { ...record, number: 0 })), 'record')
  t.equal(open(sealPartRecord(dataKey, upload, { ...record, number: 10_001 })), 'record')
  t.equal(open(sealPartRecord(dataKey, upload, { ...record, plaintextSize: MAX_PART_PLAINTEXT + 1 })), 'record')
})

const key = kek()
const settings: UploadSettings = { checksumAlgorithm: 'crc64nvme', checksumType: 'full', etagMode: 'md5', storedChecksum: null }
const input: SealUploadRecordInput = {
  kek: key,
  keyId: 'local:main:v1-abc',
  blob: randomBytes(80),
  sse: 'aws:kms',
  scope: 'object',
  requestContext: { team: 'ä', b: '' },
  dataKey,
  place,
  uploadId: 'upload-1',
  settings
}

/** Headers as Node has them: a character for each byte. */
const described = [['content-type', 'text/plain'], ['x-amz-meta-empty', ''], [
  'x-amz-meta-größe',
  Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('')
]] as const

/** A record whose box holds these bytes behind the data key. */
function withSettings(...behind: readonly (number | Buffer)[]): Buffer {
  const { box, ...parsed } = parseUploadRecord(sealUploadRecord(input))
  const aad = fields(
    'sealgate/v1/upload-record',
    Buffer.from([1, 1, 2, 2]),
    place.realm,
    place.bucket,
    place.objectKey,
    'upload-1',
    fields(...contextFields(parsed.requestContext))
  )
  const own = wrap(key, Buffer.concat([dataKey.secret.export(), ...behind.map((each) => typeof each === 'number' ? Buffer.from([each]) : each)]), aad)
  const body = sealUploadRecord(input)
  return Buffer.concat([body.subarray(0, body.length - box.length), own])
}

await t.test('headers of an object of the S3 Encryption Client stand behind the settings of its mode alone', async (t) => {
  const open = (...behind: readonly (number | Buffer)[]) =>
    openUploadRecord(parseUploadRecord(withSettings(...behind)), key, place, 'upload-1').settings.clients
  t.strictSame(open(0, 0, 6, 0, fields('a', 'b')), [['a', 'b']])
  for (const mode of [1, 2]) t.equal(open(0, 0, mode, 0), undefined)
  for (const mode of [3, 4]) t.equal(open(0, 0, mode, 0), null, 'begun by a version that kept no headers')
  const kept = fields('a', 'b')
  for (const mode of [1, 2, 3, 4]) t.equal(kindOf(() => open(0, 0, mode, 0, kept)), 'record', `mode ${mode}`)
  for (const mode of [0, 5, 7]) t.equal(kindOf(() => open(0, 0, mode, 0)), 'record', `mode ${mode}`)
  for (let cut = 1; cut < kept.length; cut += 1) t.equal(kindOf(() => open(0, 0, 6, 0, kept.subarray(0, -cut))), 'record', `${cut} bytes cut`)
  t.equal(kindOf(() => open(0, 0, 6, 0, fields('a'))), 'record', 'a name without a value')
})

await t.test('upload records round trip', async (t) => {
  const others: Partial<SealUploadRecordInput>[] = [
    {},
    { requestContext: {} },
    { sse: 'SSE-C', scope: 'bucket' },
    { settings: { checksumAlgorithm: null, checksumType: null, etagMode: 'opaque', storedChecksum: null } },
    { settings: { checksumAlgorithm: 'sha1', checksumType: 'composite', etagMode: 'md5', storedChecksum: 'crc32' } },
    { settings: { checksumAlgorithm: null, checksumType: null, etagMode: 'opaque', storedChecksum: null, clients: [] } },
    { settings: { checksumAlgorithm: 'crc32', checksumType: 'full', etagMode: 'opaque', storedChecksum: null, clients: described } }
  ]
  for (const change of others) {
    const given = { ...input, ...change }
    const parsed = parseUploadRecord(sealUploadRecord(given))
    const { keyId, blob, sse, scope, requestContext } = given
    t.match(parsed, { keyId, blob, sse, scope, requestContext })
    const opened = openUploadRecord(parsed, key, place, 'upload-1')
    t.ok(opened.dataKey.secret.equals(dataKey.secret))
    t.same(opened.settings, given.settings)
  }
})

await t.test('faulty and foreign upload records', async (t) => {
  const body = sealUploadRecord(input)
  const open = (bytes: Buffer) => kindOf(() => openUploadRecord(parseUploadRecord(bytes), key, place, 'upload-1'))
  // Key id and blob are the provider's to authenticate.
  const provider = { from: 6, to: 6 + input.keyId.length + 2 + 80 }
  let tried = 0
  for (const [name, faulty] of faults(body)) {
    const bit = /^bit (\d+)/.exec(name)
    const at = bit === null ? -1 : Number(bit[1]) >> 3
    if ((at >= provider.from && at < provider.from + input.keyId.length) || (at >= provider.to - 80 && at < provider.to)) continue
    tried += 1
    if (open(faulty) !== 'record') t.fail(name)
  }
  t.comment(`${tried} faulty upload records, 0 accepted`)
  const parsed = parseUploadRecord(body)
  const foreign = (change: Partial<typeof place>, uploadId = 'upload-1', other = key) =>
    kindOf(() => openUploadRecord(parsed, other, { ...place, ...change }, uploadId))
  t.equal(foreign({ realm: 'x' }), 'record')
  t.equal(foreign({ bucket: 'x' }), 'record')
  t.equal(foreign({ objectKey: 'x' }), 'record')
  t.equal(foreign({}, 'upload-2'), 'record')
  t.equal(foreign({}, 'upload-1', kek()), 'record')
  for (const change of [{ sse: 'none' }, { scope: 'bucket' }, { requestContext: {} }] as const) {
    t.equal(kindOf(() => openUploadRecord({ ...parsed, ...change }, key, place, 'upload-1')), 'record')
  }
  t.equal(open(flip(body, 8 * 2)), 'record')
})

await t.test('hashes name exactly one upload and one list', async (t) => {
  const hashes = [
    uploadHash(place, 'u'),
    uploadHash(place, 'v'),
    uploadHash({ ...place, bucket: 'x' }, 'u'),
    uploadHash({ ...place, realm: 'x' }, 'u'),
    uploadHash({ ...place, objectKey: 'x' }, 'u'),
    uploadHash({ ...place, objectKey: `${place.objectKey}u` }, ''),
    completedListHash([]),
    completedListHash([{ number: 1, etag: 'a' }]),
    completedListHash([{ number: 2, etag: 'a' }]),
    completedListHash([{ number: 1, etag: 'b' }]),
    completedListHash([{ number: 1, etag: 'a' }, { number: 2, etag: 'a' }])
  ]
  t.equal(new Set(hashes.map((hash) => hash.toString('hex'))).size, hashes.length)
  t.ok(hashes.every((hash) => hash.length === 32))
})

await t.test('an opaque ETag names the attempt', async (t) => {
  t.equal(attemptEtag(Buffer.alloc(40)), `${createHash('sha256').update(Buffer.alloc(40)).digest().subarray(0, 16).toString('hex')}-0`)
  t.not(attemptEtag(randomBytes(40)), attemptEtag(randomBytes(40)))
})
