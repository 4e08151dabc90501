// Vectors of the records in the state bucket (docs/MULTIPART-STATE.md).
import { commitmentOf, derive, fields, partRecordKeyOf, sha256, sized, storedPartSize, storedSize, u16, u64, u8, wrap } from './writer.ts'
import { checksum, place, type Vector } from './objects.ts'

const uploadId = '2~upload.1'
const hex = (bytes: Buffer): string => bytes.toString('hex')
const context = { 'team': 'Küste', 'a b': '' }
const contextBytes = fields('a b', '', 'team', 'Küste')
const upload = sha256(fields('sealgate/v1/upload', place.realm, place.bucket, place.object, uploadId))

/** All of them, by name. */
export function records(): ReadonlyMap<string, Vector> {
  return new Map([...uploadRecords(), ...partRecords(), ...bucketRecords(), ...hashes(), ...equalParts()])
}

interface UploadOptions {
  readonly version?: number
  readonly suite?: number
  readonly sse?: number
  readonly scope?: number
  readonly names?: Buffer
  readonly context?: Buffer
  readonly settings?: Buffer
  readonly surplus?: Buffer
  readonly members?: Vector
}

const settings = u8(5, 2, 1, 0)

function uploadRecord(name: string, description: string, options: UploadOptions = {}): [string, Vector] {
  const bucketKey = derive(`${name}: bucket key`, 32)
  const dataKey = derive(`${name}: data key`, 32)
  const blob = derive(`${name}: wrapped bucket key`, 80)
  const clear = u8(options.version ?? 1, options.suite ?? 1, options.sse ?? 2, options.scope ?? 1)
  const told = options.context ?? contextBytes
  const aad = fields('sealgate/v1/upload-record', clear, place.realm, place.bucket, place.object, uploadId, told)
  const secret = Buffer.concat([dataKey, options.settings ?? settings])
  const names = options.names ?? fields(place.bucket, place.object, uploadId)
  const record = Buffer.concat([
    clear,
    sized(2, 'local:vectors:v1-test'),
    sized(2, blob),
    sized(2, told),
    sized(2, names),
    wrap(`${name}: box`, bucketKey, secret, aad),
    options.surplus ?? Buffer.alloc(0)
  ])
  return [name, {
    description,
    kind: 'upload',
    expect: name.startsWith('bad-') ? 'record' : 'success',
    ...place,
    uploadId,
    bucketKey: hex(bucketKey),
    record: hex(record),
    keyId: 'local:vectors:v1-test',
    wrappedBucketKey: hex(blob),
    context,
    dataKey: hex(dataKey),
    commitment: hex(commitmentOf(dataKey)),
    settings: { checksumAlgorithm: 'sha256', checksumType: 'COMPOSITE', etagMode: 'opaque', storedChecksum: null },
    ...options.members
  }]
}

function uploadRecords(): [string, Vector][] {
  const bad = (name: string, description: string, options: UploadOptions): [string, Vector] => uploadRecord(`bad-upload-${name}`, description, options)
  const withSettings = (...codes: readonly number[]): UploadOptions => ({ settings: u8(...codes) })
  return [
    uploadRecord('upload', 'an upload with a context of the client'),
    uploadRecord('upload-plain', 'neither checksums nor a context; ETags are MD5s; the store wants CRC32 of parts', {
      sse: 0,
      context: Buffer.alloc(0),
      settings: u8(0, 0, 2, 1),
      members: { context: {}, settings: { checksumAlgorithm: null, checksumType: null, etagMode: 'md5', storedChecksum: 'crc32' } }
    }),
    bad('version', 'version 2', { version: 2 }),
    bad('suite', 'suite 2', { suite: 2 }),
    bad('sse', 'code 4 of server-side encryption', { sse: 4 }),
    bad('scope', 'scope 3', { scope: 3 }),
    bad('names', 'the names in clear are of another upload', { names: fields(place.bucket, place.object, 'another') }),
    bad('names-surplus', 'four names', { names: fields(place.bucket, place.object, uploadId, '') }),
    bad('context-order', 'the pairs of the context are not sorted', { context: fields('team', 'Küste', 'a b', '') }),
    bad('context-odd', 'a name without a value', { context: fields('team') }),
    bad('checksum', 'checksum algorithm 11', withSettings(11, 1, 1, 0)),
    bad('checksum-type', 'checksum type 3', withSettings(5, 3, 1, 0)),
    bad('etag-mode', 'ETag mode 5', withSettings(5, 2, 5, 0)),
    bad('stored-checksum', 'checksum algorithm 11 of stored parts', withSettings(5, 2, 1, 11)),
    bad('settings-surplus', 'a byte behind the settings', withSettings(5, 2, 1, 0, 0)),
    bad('settings-cut', 'a setting is missing', withSettings(5, 2, 1)),
    bad('surplus', 'a byte behind the record', { surplus: u8(0) })
  ]
}

interface PartOptions {
  readonly flags?: number
  readonly number?: number
  readonly length?: number
  readonly md5?: Buffer
  readonly checksum?: Buffer
  readonly etag?: string
  readonly of?: Buffer
  readonly members?: Vector
}

const md5 = derive('part: MD5', 16)
const header = Buffer.concat([u8(40), derive('part: header', 39)])
const storeEtag = 'd41d8cd98f00b204e9800998ecf8427e'

function partRecord(name: string, description: string, options: PartOptions = {}): [string, Vector] {
  const dataKey = derive(`${name}: data key`, 32)
  const digest = derive('part: SHA-256', 32)
  const plain = Buffer.concat([
    u8(options.flags ?? 1),
    u16(options.number ?? 7),
    u64(options.length ?? 5_242_880),
    header,
    options.md5 ?? md5,
    options.checksum ?? Buffer.concat([u8(5), digest]),
    Buffer.from(options.etag ?? storeEtag)
  ])
  const record = wrap(`${name}: record`, partRecordKeyOf(dataKey), plain, fields('sealgate/v1/part-record', options.of ?? upload))
  return [name, {
    description,
    kind: 'part',
    expect: name.startsWith('bad-') ? 'record' : 'success',
    ...place,
    uploadId,
    dataKey: hex(dataKey),
    partRecordKey: hex(partRecordKeyOf(dataKey)),
    record: record.toString('base64url'),
    number: 7,
    plaintextSize: 5_242_880,
    header: hex(header),
    md5: hex(md5),
    checksum: { algorithm: 'sha256', value: hex(digest) },
    etag: storeEtag,
    waits: false,
    ...options.members
  }]
}

function partRecords(): [string, Vector][] {
  const bad = (name: string, description: string, options: PartOptions): [string, Vector] => partRecord(`bad-part-${name}`, description, options)
  const sha512 = checksum(7, 1, derive('part: SHA-512', 64))
  return [
    partRecord('part', 'a part that is upstream'),
    partRecord('part-waits', 'a part that waits, without digests', {
      flags: 2,
      length: 10,
      md5: Buffer.alloc(0),
      checksum: u8(0),
      etag: '',
      members: { plaintextSize: 10, md5: null, checksum: null, etag: '', waits: true }
    }),
    partRecord('part-sha512', 'the longest digests', {
      number: 10_000,
      checksum: Buffer.concat([u8(7), sha512.subarray(2)]),
      members: { number: 10_000, checksum: { algorithm: 'sha512', value: hex(sha512.subarray(2)) } }
    }),
    bad('flags', 'flag bit 2', { flags: 5 }),
    bad('number-0', 'number 0', { number: 0 }),
    bad('number-10001', 'number 10,001', { number: 10_001 }),
    bad('length', 'a part above 5,367,071,380 bytes', { length: 5_367_071_381 }),
    bad('checksum', 'checksum algorithm 11', { checksum: Buffer.concat([u8(11), derive('part: a digest', 32)]) }),
    bad('cut', 'a digest is cut', { checksum: u8(7), etag: 'a' }),
    bad('upload', 'the record of another upload', { of: derive('another upload', 32) })
  ]
}

const defaults = '<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault>' +
  '<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'

function bucketRecords(): [string, Vector][] {
  const make = (name: string, description: string, { version = 1, bound = place.bucket } = {}): [string, Vector] => {
    const bucketKey = derive(`${name}: bucket key`, 32)
    const blob = derive(`${name}: wrapped bucket key`, 80)
    const box = wrap(`${name}: box`, bucketKey, Buffer.from(defaults), fields('sealgate/v1/bucket-record', place.realm, bound))
    return [name, {
      description,
      kind: 'bucket',
      expect: name.startsWith('bad-') ? 'record' : 'success',
      realm: place.realm,
      bucket: place.bucket,
      bucketKey: hex(bucketKey),
      keyId: 'local:vectors:v1-test',
      wrappedBucketKey: hex(blob),
      stateName: `encryption/${hex(sha256(fields('sealgate/v1/bucket', place.realm, place.bucket)))}`,
      record: hex(Buffer.concat([u8(version), sized(2, 'local:vectors:v1-test'), sized(2, blob), box])),
      document: defaults
    }]
  }
  return [
    make('bucket', 'the default encryption of a bucket'),
    make('bad-bucket-version', 'version 2', { version: 2 }),
    make('bad-bucket-other', 'the record of another bucket', { bound: 'videos' })
  ]
}

function hashes(): [string, Vector][] {
  const list = [{ number: 3, etag: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0' }, { number: 10_000, etag: storeEtag }]
  return [['hashes', {
    description: 'upload hash, hash of the list of a Complete, opaque ETag of a part, and the object that settles equal parts',
    kind: 'hashes',
    expect: 'success',
    ...place,
    uploadId,
    uploadHash: hex(upload),
    list,
    listHash: hex(sha256(fields('sealgate/v1/completed-list', ...list.flatMap(({ number, etag }) => [u16(number), etag])))),
    header: hex(header),
    opaqueEtag: `${hex(sha256(header)).slice(0, 32)}-0`,
    equalSize: 5_244_320,
    equal: hex(u64(5_244_320))
  }]]
}

/** How parts and tail are cut for stores that want equal parts: numbers and sizes of what goes upstream. */
function equalParts(): [string, Vector][] {
  const mib8 = 8 * 1024 * 1024
  const size = storedPartSize(mib8)
  const make = (name: string, description: string, lengths: readonly number[]): [string, Vector] => {
    const stored = lengths.map(storedPartSize)
    const total = storedSize(lengths.reduce((sum, length) => sum + length, 0))
    const last = lengths.length
    // A last part of the equal size is upstream already; another one waits, and goes up with the tail.
    const whole = stored.at(-1) === size ? last : last - 1
    const left = total - whole * size
    const pieces = Array.from({ length: whole }, (_, i) => ({ number: i + 1, size }))
    for (let at = 0; at < left; at += size) pieces.push({ number: pieces.length + 1, size: Math.min(size, left - at) })
    return [`equal-parts-${name}`, { description, kind: 'equal-parts', expect: 'success', equalSize: size, lengths, stored, bodySize: total, upstream: pieces }]
  }
  return [
    make('last-smaller', 'a smaller last part and the tail are one piece', [mib8, mib8, 1_000_000]),
    make('last-cut', 'a last part that is nearly as large, and the tail, are two pieces', [mib8, mib8, mib8 - 100]),
    make('last-equal', 'the last part has the equal size, and the tail is a piece of its own', [mib8, mib8])
  ]
}
