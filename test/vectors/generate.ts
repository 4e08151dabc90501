// Writes the test vectors of docs/FORMAT.md: node test/vectors/generate.ts [directory] [--large]
// Keys and salts are random, so every run gives other vectors. --large adds a multipart object of several parts (11 MB).
import { createHash, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import process from 'node:process'
import { sealWithCustomerKey, DataKey, bucketKeyContext, wrap } from '../../src/envelope/data-key.ts'
import { fields, type EnvelopeErrorKind } from '../../src/envelope/encoding.ts'
import { sealEnvelope, type Attributes, type Place, type SealEnvelopeInput } from '../../src/envelope/envelope.ts'
import { metadataDigest } from '../../src/envelope/metadata.ts'
import { sealTail, type ManifestPart } from '../../src/envelope/manifest.ts'
import { PartSealer, SingleSealer, type LateDigests } from '../../src/envelope/body.ts'
import { completedListHash, uploadHash } from '../../src/envelope/upload-records.ts'
import { storedPartSize, streamSize } from '../../src/envelope/sizes.ts'
import { checksumAlgorithms, compositeChecksum, type ChecksumAlgorithm } from '../../src/http/checksums.ts'

const directory = process.argv.slice(2).find((argument) => !argument.startsWith('--')) ?? dirname(fileURLToPath(import.meta.url))
const place: Place = { realm: 'main', bucket: 'photos', objectKey: 'holidays/sea.jpg' }

interface KeySource {
  readonly kek: KeyObject
  readonly blob: Buffer
  readonly scope: 'bucket' | 'object'
  readonly keyId: string
  /** How a reader gets at the key: members of the vector. */
  readonly members: Readonly<Record<string, unknown>>
  readonly context?: Readonly<Record<string, string>>
}

interface Stored {
  readonly source: KeySource
  readonly place: Place
  readonly plaintext: Buffer
  readonly body: Buffer
  readonly input: SealEnvelopeInput
  readonly envelope: string
}

function localKey(of: Place, scope: 'bucket' | 'object' = 'bucket', context: Readonly<Record<string, string>> = {}): KeySource {
  const master = randomBytes(32)
  const bucketKey = randomBytes(32)
  const aad = bucketKeyContext(of.realm, of.bucket, scope === 'object' ? of.objectKey : null, context)
  const version = { id: 'v1-test', state: 'enabled', key: master.toString('base64'), created: '2026-01-01T00:00:00.000Z' }
  return {
    kek: createSecretKey(bucketKey),
    blob: wrap(createSecretKey(master), bucketKey, aad),
    scope,
    keyId: 'local:vectors:v1-test',
    members: { keyring: { name: 'vectors', keys: [version] } },
    context
  }
}

function rawKey(): KeySource {
  const bucketKey = randomBytes(32)
  const keyId = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab'
  return {
    kek: createSecretKey(bucketKey),
    blob: randomBytes(184),
    scope: 'bucket',
    keyId,
    members: { bucketKey: bucketKey.toString('hex') }
  }
}

function customerKey(): KeySource {
  const key = randomBytes(32)
  return { ...sealWithCustomerKey(createSecretKey(key)), scope: 'bucket', keyId: 'ssec', members: { customerKey: key.toString('hex') } }
}

function attributesOf(change: Partial<Attributes>): Attributes {
  return {
    plaintextSize: null,
    md5: null,
    checksums: [],
    digestsInManifest: false,
    sse: { mode: 'none', bucketKeyEnabled: true },
    metadata: { kind: 'clear', digest: metadataDigest('image/jpeg', []) },
    isPublic: false,
    ...change
  }
}

interface SingleOptions {
  readonly source?: KeySource
  readonly at?: Place
  readonly late?: boolean
  readonly dataKey?: DataKey
  readonly algorithm?: ChecksumAlgorithm
}

function single(
  size: number,
  { at = place, source = localKey(at), late = false, dataKey = DataKey.random(), algorithm = 'sha256' }: SingleOptions = {}
): Stored {
  const plaintext = randomBytes(size)
  const md5 = createHash('md5').update(plaintext).digest()
  const checksums = [{ algorithm, type: 'full', value: compositeChecksum(algorithm, [plaintext]) }] as const
  const known: LateDigests = { md5, checksums }
  const sealer = new SingleSealer({ dataKey, plaintextSize: size, ...(late ? { digests: () => known } : {}) })
  const body = Buffer.concat([...sealer.update(plaintext), ...sealer.final()])
  const attributes = attributesOf({ plaintextSize: size, digestsInManifest: late, ...(late ? {} : known) })
  const { kek, blob, scope } = source
  const input: SealEnvelopeInput = { kek, blob, scope, dataKey, place: at, kind: 'single', streamHeader: sealer.header, attributes }
  return { source, place: at, plaintext, body, input, envelope: sealEnvelope(input) }
}

function multipart(sizes: readonly number[], algorithm: ChecksumAlgorithm = 'sha256'): Stored {
  const dataKey = DataKey.random()
  const source = localKey(place)
  const plaintexts = sizes.map((size) => randomBytes(size))
  const pieces: Buffer[] = []
  const parts = plaintexts.map((plaintext, i): ManifestPart => {
    const number = 2 * i + 1
    const sealer = new PartSealer({ dataKey, number, plaintextSize: plaintext.length })
    pieces.push(...sealer.update(plaintext), ...sealer.final())
    const checksum = compositeChecksum(algorithm, [plaintext])
    return { number, plaintextSize: plaintext.length, header: sealer.header, md5: createHash('md5').update(plaintext).digest(), checksum }
  })
  const listHash = completedListHash(parts.map(({ number, md5 }) => ({ number, etag: md5?.toString('hex') ?? '' })))
  pieces.push(...sealTail(dataKey, {
    kind: 'multipart',
    checksums: [],
    partChecksum: algorithm,
    uploadHash: uploadHash(place, 'upload-1'),
    listHash,
    parts
  }))
  const { kek, blob, scope } = source
  const attributes = attributesOf({ digestsInManifest: true })
  const input: SealEnvelopeInput = { kek, blob, scope, dataKey, place, kind: 'multipart', streamHeader: null, attributes }
  return { source, place, plaintext: Buffer.concat(plaintexts), body: Buffer.concat(pieces), input, envelope: sealEnvelope(input) }
}

interface Fault {
  readonly expect: EnvelopeErrorKind
  /** Most plaintext bytes that may have been released. */
  readonly released?: number
  readonly body?: Buffer
  readonly envelope?: string
  readonly place?: Place
  readonly members?: Readonly<Record<string, unknown>>
}

function write(name: string, description: string, stored: Stored, fault: Fault | null = null): void {
  const { source } = stored
  const context = source.context !== undefined && Object.keys(source.context).length > 0
    ? { 'x-amz-meta-sealgate-context': Buffer.from(JSON.stringify(source.context)).toString('base64') }
    : {}
  const at = fault?.place ?? stored.place
  const vector = {
    description,
    expect: fault?.expect ?? 'success',
    realm: at.realm,
    bucket: at.bucket,
    object: at.objectKey,
    metadata: { 'x-amz-meta-sealgate-key': source.keyId, 'x-amz-meta-sealgate': fault?.envelope ?? stored.envelope, ...context },
    ...fault?.members ?? source.members,
    body: `${name}.bin`,
    plaintextSize: stored.plaintext.length,
    sha256: createHash('sha256').update(stored.plaintext).digest('hex'),
    // A prefix tells wrong bytes from right ones that were released before the fault.
    ...(fault === null ? {} : {
      released: fault.released ?? 0,
      releasedSha256: createHash('sha256').update(stored.plaintext.subarray(0, fault.released ?? 0)).digest('hex')
    })
  }
  writeFileSync(join(directory, `${name}.json`), `${JSON.stringify(vector, null, 2)}\n`)
  writeFileSync(join(directory, `${name}.bin`), fault?.body ?? stored.body)
}

function flip(source: Buffer, at: number): Buffer {
  const copy = Buffer.from(source)
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at)
  return copy
}

function successes(): void {
  for (const size of [0, 1, 65479, 65480, 65481, 65537, 131_000, 131_001]) {
    write(`single-${size}`, `a single of ${size} bytes`, single(size))
  }
  write('single-late-digests', 'MD5 and SHA-256 stand in the manifest', single(300, { late: true }))
  write(
    'single-object-scope',
    'the bucket key serves one object; client\'s encryption context',
    single(300, { source: localKey(place, 'object', { team: 'Küste', 'a': '' }) })
  )
  write('single-raw-key', 'the bucket key comes from elsewhere, as from a KMS', single(300, { source: rawKey() }))
  write('single-customer-key', 'SSE-C', single(300, { source: customerKey() }))
  write('single-unicode', 'an object name outside of ASCII', single(300, { at: { ...place, objectKey: 'Größe/漢字/😀 \u0001' } }))
  write('multipart-one', 'a multipart object of one part', multipart([70_000]))
  for (const algorithm of Object.keys(checksumAlgorithms) as ChecksumAlgorithm[]) {
    write(`single-${algorithm}`, `a checksum of ${algorithm}`, single(3, { algorithm }))
    write(`multipart-${algorithm}`, `parts with checksums of ${algorithm}`, multipart([3], algorithm))
  }
  write('multipart-empty', 'a multipart object of one part of 0 bytes', multipart([0]))
}

function envelopeFaults(): void {
  const stored = single(20)
  const raw = Buffer.from(stored.envelope, 'base64url')
  const set = (at: number, value: number) =>
    Buffer.concat(
      [raw.subarray(0, at), Buffer.from([value]), raw.subarray(at + 1)]
    ).toString('base64url')
  const bad = (name: string, description: string, fault: Fault) => {
    write(`bad-${name}`, description, stored, fault)
  }
  bad('version', 'version 2', { expect: 'format', envelope: set(0, 2) })
  bad('suite', 'suite 2', { expect: 'format', envelope: set(1, 2) })
  bad('kind', 'kind 3', { expect: 'format', envelope: set(2, 3) })
  bad('scope', 'scope 3', { expect: 'format', envelope: set(3, 3) })
  bad('base64', 'padded base64url', { expect: 'format', envelope: `${stored.envelope}=` })
  bad('short', 'the envelope is cut in its commitment', { expect: 'format', envelope: raw.subarray(0, 110).toString('base64url') })
  bad('bucket', 'asked for in another bucket', { expect: 'place', place: { ...place, bucket: 'other' } })
  bad('bound-bucket', 'the bound bucket was exchanged', {
    expect: 'box',
    envelope: Buffer.from(raw.toString('latin1').replace('photos', 'videos'), 'latin1').toString('base64url'),
    place: { ...place, bucket: 'videos' },
    members: { bucketKey: Buffer.from(stored.input.kek.export()).toString('hex') }
  })
  bad('realm', 'another realm', { expect: 'box', place: { ...place, realm: 'other' } })
  bad('object', 'moved to another name', { expect: 'box', place: { ...place, objectKey: 'holidays/sea.jpg2' } })
  bad('key', 'another bucket key', { expect: 'box', members: { bucketKey: randomBytes(32).toString('hex') } })
  bad('blob', 'one bit of the wrapped bucket key', { expect: 'box', envelope: flip(raw, 20).toString('base64url') })
  bad('box', 'one bit of the box', { expect: 'box', envelope: flip(raw, raw.length - 30).toString('base64url') })
  const clear = raw.subarray(0, 4)
  /** Up to the commitment: clear bytes, bound bucket, and 80 bytes of wrapped bucket key with their lengths. */
  const head = raw.subarray(0, 4 + 1 + 6 + 2 + 80)
  const otherHeader = Buffer.concat([raw.subarray(0, head.length + 32 + 1), randomBytes(39), raw.subarray(head.length + 32 + 40)])
  bad('header', 'the stream header of another attempt', { expect: 'box', envelope: otherHeader.toString('base64url') })
  const commitment = randomBytes(32)
  const streamHeader = stored.input.streamHeader ?? Buffer.alloc(0)
  const secret = Buffer.concat(
    [stored.input.dataKey.secret.export(), Buffer.from([0, 0, 0]), Buffer.alloc(16), Buffer.alloc(7), Buffer.from([20])]
  )
  const craft = (content: Buffer) => {
    const aad = fields('sealgate/v1/envelope', clear, commitment, streamHeader, place.realm, place.bucket, place.objectKey)
    return Buffer.concat([head, commitment, streamHeader, wrap(stored.input.kek, content, aad)]).toString('base64url')
  }
  bad('commitment', 'a box that opens, with the commitment of another object key', { expect: 'commitment', envelope: craft(secret) })
  bad('zero-key', 'an object key of zeros', { expect: 'box', envelope: craft(Buffer.concat([Buffer.alloc(32), secret.subarray(32)])) })
  const customer = single(20, { source: customerKey() })
  write('bad-customer-key', 'another SSE-C key', customer, { expect: 'key', members: { customerKey: randomBytes(32).toString('hex') } })
}

function bodyFaults(): void {
  const stored = single(65_480 + 2 * 65_520 + 10)
  const { body } = stored
  const end = streamSize(stored.plaintext.length)
  const at = (i: number) => body.subarray(i * 65536, Math.min((i + 1) * 65536, end))
  const tail = body.subarray(end)
  const bad = (name: string, description: string, fault: Fault) => {
    write(`bad-${name}`, description, stored, fault)
  }
  bad(
    'segments-swapped',
    'segments 1 and 2 in the wrong order',
    {
      expect: 'segment',
      released: 65_480,
      body: Buffer.concat([at(0), at(2), at(1), at(3), tail])
    }
  )
  bad(
    'segment-doubled',
    'segment 1 in place of segment 2',
    {
      expect: 'segment',
      released: 131_000,
      body: Buffer.concat([at(0), at(1), at(1), at(3), tail])
    }
  )
  smallBodyFaults()
}

function smallBodyFaults(): void {
  const dataKey = DataKey.random()
  const stored = single(500, { dataKey })
  const { body } = stored
  const end = streamSize(500)
  const bad = (name: string, description: string, fault: Fault) => {
    write(`bad-${name}`, description, stored, fault)
  }
  bad('bit', 'one bit of the only segment', { expect: 'segment', body: flip(body, 200) })
  bad('tag', 'one bit of a tag', { expect: 'segment', body: flip(body, end - 1) })
  bad('salt', 'one bit of the stored stream header', { expect: 'header', body: flip(body, 5) })
  bad('attempt', 'the body of another attempt', { expect: 'header', body: single(500, { dataKey }).body })
  bad('zeros', 'a byte of the zeros', { expect: 'zeros', body: flip(body, end + 3) })
  bad('footer', 'one bit of the footer\'s name', { expect: 'footer', body: flip(body, body.length - 12) })
  bad('footer-size', 'the footer says a larger manifest', { expect: 'footer', body: flip(body, body.length - 3) })
  bad('manifest', 'one bit of the manifest', { expect: 'manifest', body: flip(body, body.length - 20) })
  bad(
    'tail',
    'the tail of another object',
    {
      expect: 'manifest',
      body: Buffer.concat([body.subarray(0, end), single(500).body.subarray(end)])
    }
  )
  bad('cut', 'the last byte is missing', { expect: 'length', body: body.subarray(0, -1) })
  bad('no-tail', 'the tail is missing', { expect: 'length', body: body.subarray(0, end) })
  bad('longer', 'one byte more', { expect: 'length', body: Buffer.concat([body, Buffer.alloc(1)]) })
  bad('empty', 'an empty body', { expect: 'length', body: Buffer.alloc(0) })
  bad('other-size', 'a body of another size that obeys the law', { expect: 'length', body: single(501, { dataKey }).body })
  const parts = multipart([500])
  const other = (name: string, description: string, fault: Fault) => {
    write(`bad-multipart-${name}`, description, parts, fault)
  }
  other('bit', 'one bit of the part', { expect: 'segment', body: flip(parts.body, 200) })
  other('manifest', 'one bit of the manifest', { expect: 'manifest', body: flip(parts.body, parts.body.length - 30) })
  other('zeros', 'a byte of the zeros', { expect: 'zeros', body: flip(parts.body, streamSize(500) + 1) })
  other(
    'single',
    'the body of a single under the same object key',
    {
      expect: 'manifest',
      body: single(500, { dataKey: parts.input.dataKey }).body
    }
  )
}

mkdirSync(directory, { recursive: true })
if (process.argv.includes('--large')) {
  const large = multipart([5_242_880, 5_300_001, 70_000])
  write('multipart-three', 'a multipart object of three parts', large)
  write('bad-multipart-gap', 'a byte of the zeros between two parts', large, {
    expect: 'zeros',
    released: 5_242_880 - 1,
    body: flip(large.body, storedPartSize(5_242_880) - 1)
  })
} else {
  successes()
  envelopeFaults()
  bodyFaults()
}
