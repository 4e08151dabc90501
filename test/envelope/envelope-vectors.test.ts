// Opens every vector of test/vectors with src/envelope, in the order of docs/FORMAT.md, Reading.
import { createHash, createSecretKey, type KeyObject } from 'node:crypto'
import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { encodeAttributes, type Attributes } from '../../src/envelope/attributes.ts'
import { openWithCustomerKey, DataKey } from '../../src/envelope/data-key.ts'
import { bucketRecordHash, openBucketRecord, parseBucketRecord } from '../../src/envelope/bucket-record.ts'
import { openEnvelope, parseEnvelope, sizeOf, type Envelope, type ObjectShape } from '../../src/envelope/envelope.ts'
import { EnvelopeError } from '../../src/envelope/encoding.ts'
import { openTail, type ManifestOf } from '../../src/envelope/manifest.ts'
import { metadataMatches } from '../../src/envelope/metadata.ts'
import { planMultipart, planSingle, RangeOpener, type ReadPlan } from '../../src/envelope/range.ts'
import { SingleOpener } from '../../src/envelope/body.ts'
import { attemptEtag, completedListHash, openPartRecord, openUploadRecord, parseUploadRecord, uploadHash } from '../../src/envelope/upload-records.ts'
import { S3Error } from '../../src/errors.ts'
import { takeKey } from '../../src/keys/key-material.ts'
import { LocalKeyProvider } from '../../src/keys/providers/local.ts'
import { encryptionContext } from '../../src/keys/types.ts'
import { decodeContext } from '../../src/keys/sse-headers.ts'
import { vectors as generated } from '../vectors/generate.ts'
import { readBody } from '../vectors/writer.ts'
import { byTurns } from '../support/by-turns.ts'
import { run, splits, type Outcome } from './fixtures.ts'

interface Vector {
  readonly description: string
  readonly expect: string
  readonly condition?: string
  readonly realm: string
  readonly bucket: string
  readonly object: string
  readonly headers: Readonly<Record<string, string>>
  readonly keyring?: object
  readonly bucketKey?: string
  readonly customerKey?: string
  readonly kmsContext?: Readonly<Record<string, string>>
  readonly values?: Readonly<Record<string, string>>
  readonly body: readonly (string | number)[]
  readonly bodySize: number
  readonly plaintextSize: number
  readonly sha256: string
  readonly metadata?: readonly (readonly [string, string])[]
  readonly public?: boolean
  readonly ranges?: readonly { readonly first: number; readonly last: number; readonly sha256: string }[]
  readonly released?: number
  readonly releasedSha256?: string
}

const directory = join(import.meta.dirname, '..', 'vectors')
const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex')
const headerOf = (vector: Vector, name: string): string | undefined => vector.headers[name]

/** Above this a body is read in ranges alone. */
const WHOLE = 64 * 1024 * 1024
/** Odd, so that no boundary of a segment is one of a piece. */
const PIECE = 4099

async function keyOf(vector: Vector, envelope: Envelope, keyringFile: string): Promise<KeyObject> {
  if (vector.customerKey !== undefined) return openWithCustomerKey(createSecretKey(vector.customerKey, 'hex'), envelope)
  const text = headerOf(vector, 'x-amz-meta-sealgate-context')
  const requestContext = readContext(text)
  const context = { realm: vector.realm, bucket: envelope.bucket, objectKey: envelope.scope === 'object' ? vector.object : null, requestContext }
  if (vector.bucketKey !== undefined) {
    if (vector.kmsContext !== undefined && vector.expect === 'success') t.same(encryptionContext(context), vector.kmsContext, vector.description)
    const key = takeKey(Buffer.from(vector.bucketKey, 'hex'))
    if (key === null) throw new EnvelopeError('box')
    return key
  }
  const provider = await LocalKeyProvider.open(keyringFile)
  try {
    return await provider.unwrap({ keyId: headerOf(vector, 'x-amz-meta-sealgate-key') ?? '', blob: envelope.blob }, context)
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    throw new EnvelopeError(error.code === 'SealgateIntegrityError' ? 'box' : 'key')
  }
}

function readContext(text: string | undefined): Readonly<Record<string, string>> {
  try {
    return text === undefined ? {} : decodeContext(text)
  } catch {
    throw new EnvelopeError('format')
  }
}

interface Opened {
  readonly dataKey: DataKey
  readonly shape: ObjectShape
  readonly attributes: Attributes
  readonly size: number
}

async function open(vector: Vector, keyringFile: string): Promise<Opened> {
  const place = { realm: vector.realm, bucket: vector.bucket, objectKey: vector.object }
  const envelope = parseEnvelope(headerOf(vector, 'x-amz-meta-sealgate') ?? '')
  if (envelope.bucket !== place.bucket) throw new EnvelopeError('place')
  const { dataKey, shape, attributes } = openEnvelope(envelope, await keyOf(vector, envelope, keyringFile), place)
  const size = sizeOf(shape, vector.bodySize)
  const entries = Object.entries(vector.headers)
  const type = entries.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? ''
  if (attributes.metadata.kind === 'clear' && !metadataMatches(attributes.metadata.digest, type, entries)) throw new EnvelopeError('metadata')
  return { dataKey, shape, attributes, size }
}

function manifestOf(vector: Vector, dataKey: DataKey): ManifestOf<'multipart'> {
  let suffix = Math.min(vector.bodySize, 65_536)
  for (;;) {
    const manifest = openTail(readBody(vector.body, vector.bodySize - suffix), vector.bodySize, dataKey, 'multipart')
    if (!('need' in manifest)) return manifest
    suffix = manifest.need
  }
}

function readAll(vector: Vector, opened: Opened, split: (left: number) => number): Outcome {
  const { dataKey, shape, size } = opened
  const body = readBody(vector.body)
  if (shape.kind === 'empty') return { released: body, failure: null }
  if (shape.kind === 'single') return run(() => new SingleOpener({ dataKey, header: shape.streamHeader, plaintextSize: size }), body, split)
  const plan = planMultipart(manifestOf(vector, dataKey), 0, size - 1)
  return run(() => new RangeOpener({ dataKey, plan }), body.subarray(0, plan.storedLast + 1), split)
}

function readRange(vector: Vector, opened: Opened, first: number, last: number): Outcome {
  const { dataKey, shape, size } = opened
  const plan: ReadPlan = shape.kind === 'single'
    ? planSingle({ header: shape.streamHeader, plaintextSize: size }, first, last)
    : planMultipart(manifestOf(vector, dataKey), first, last)
  return run(() => new RangeOpener({ dataKey, plan }), readBody(vector.body, plan.storedFirst, plan.storedLast + 1))
}

/** What a step gives, or the kind of its failure. */
type Attempt<T> = { readonly value: T } | { readonly failure: string }

async function attempt<T>(step: () => T | Promise<T>): Promise<Attempt<T>> {
  try {
    return { value: await step() }
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error
    return { failure: error.kind }
  }
}

async function outcomeOf(
  vector: Vector,
  opened: Opened,
  split: (left: number) => number
): Promise<{ readonly failure: string | null; readonly released: Buffer }> {
  const read = await attempt(() => readAll(vector, opened, split))
  return 'value' in read ? read.value : { failure: read.failure, released: Buffer.alloc(0) }
}

/** @param turn counts the vectors: of small ones every fourth is read byte by byte. */
function waysToRead(size: number, turn: number): readonly (readonly [how: string, split: (left: number) => number])[] {
  const whole = ['whole', splits.whole] as const
  const pieces = ['pieces', (left: number) => Math.min(left, PIECE)] as const
  const bytes = size <= 20_000 && byTurns(turn % 4 === 0) ? [['bytes', splits.bytes] as const] : []
  if (size <= PIECE) return [whole, ...bytes]
  return [...size > 1_000_000 ? [] : [whole], pieces, ...bytes]
}

async function check(t: Test, name: string, vector: Vector, keyringFile: string, turn: number): Promise<void> {
  const what = `${name}: ${vector.description}`
  const opened = await attempt(() => open(vector, keyringFile))
  if ('failure' in opened) {
    t.equal(opened.failure, vector.expect, what)
    return
  }
  const { attributes, dataKey } = opened.value
  if (vector.values !== undefined) t.equal(dataKey.stream.export().toString('hex'), vector.values['streamKey'], what)
  for (const { first, last, sha256: digest } of vector.ranges ?? []) {
    const { released, failure } = readRange(vector, opened.value, first, last)
    t.same([failure, sha256(released)], [null, digest], `${what}, ${first} to ${last}`)
  }
  if (vector.bodySize > WHOLE) return
  for (const [how, split] of waysToRead(vector.bodySize, turn)) {
    const { failure, released } = await outcomeOf(vector, opened.value, split)
    t.equal(failure ?? 'success', vector.expect, `${what}, ${how}`)
    if (failure === null) t.equal(sha256(released), vector.sha256, what)
    else if (released.length === vector.released) t.equal(sha256(released), vector.releasedSha256, what)
    else if (released.length > (vector.released ?? 0)) t.fail(`${what}: ${released.length} bytes came out`)
  }
  if (vector.expect !== 'success') return
  // What a writer makes of them is what the writer of the vectors, which is not src, made.
  if (vector.values !== undefined) t.equal(encodeAttributes(attributes, opened.value.shape).toString('hex'), vector.values['attributes'], what)
  if (vector.public !== undefined) t.equal(attributes.isPublic, vector.public, what)
  if (vector.metadata !== undefined) t.same(attributes.metadata, { kind: 'sealed', entries: vector.metadata }, what)
}

function read(name: string): Vector {
  return JSON.parse(readFileSync(join(directory, name), 'utf8')) as Vector
}

await t.test('the generator writes what is there', (t) => {
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => /^(records\/)?[^/]+\.json$/.test(name))
  const all = generated()
  t.same(files.sort(), [...all.keys()].map((name) => `${name}.json`).sort())
  for (const [name, vector] of all) {
    if (readFileSync(join(directory, `${name}.json`), 'utf8') !== `${JSON.stringify(vector, null, 2)}\n`) t.fail(`${name} differs`)
  }
  t.end()
})

for (const [set, folder] of [['vectors', ''], ['vectors of version 0.1.0', '0.1.0']] as const) {
  await t.test(`the ${set} open, or fail as they say`, async (t) => {
    const names = readdirSync(join(directory, folder)).filter((name) => name.endsWith('.json'))
    const keyrings = Object.fromEntries(names.map((name) => [name, JSON.stringify(read(join(folder, name)).keyring ?? {})]))
    const work = t.testdir(keyrings)
    for (const [turn, name] of names.entries()) {
      const vector = read(join(folder, name))
      chmodSync(join(work, name), 0o600)
      t.ok(vector.expect === 'success' || vector.condition !== undefined, name)
      await check(t, name, vector, join(work, name), turn)
    }
    t.comment(`${names.length} vectors, ${names.filter((name) => name.startsWith('bad-')).length} of them faulty`)
  })
}

interface RecordVector {
  readonly description: string
  readonly kind: 'upload' | 'part' | 'bucket' | 'hashes' | 'equal-parts'
  readonly expect: string
  readonly realm: string
  readonly bucket: string
  readonly object: string
  readonly uploadId: string
  readonly record: string
  /** Whatever comes out of the record, and the hashes. */
  readonly [member: string]: unknown
}

const bytes = (hex: unknown): Buffer => Buffer.from(String(hex), 'hex')
const hexOf = (value: Buffer | null | undefined): string | null => value?.toString('hex') ?? null
const typeOf = { full: 'FULL_OBJECT', composite: 'COMPOSITE' } as const

/** What comes out of a record, in the words of its vector. */
function openRecord(vector: RecordVector): Record<string, unknown> {
  const place = { realm: vector.realm, bucket: vector.bucket, objectKey: vector.object }
  if (vector.kind === 'bucket') {
    const record = parseBucketRecord(bytes(vector.record))
    const document = openBucketRecord(record, createSecretKey(bytes(vector['bucketKey'])), place).toString()
    return { keyId: record.keyId, wrappedBucketKey: hexOf(record.blob), document, stateName: `encryption/${bucketRecordHash(place).toString('hex')}` }
  }
  if (vector.kind === 'upload') {
    const record = parseUploadRecord(bytes(vector.record))
    const { dataKey, settings } = openUploadRecord(record, createSecretKey(bytes(vector['bucketKey'])), place, vector.uploadId)
    const { checksumAlgorithm, checksumType, etagMode, storedChecksum } = settings
    return {
      keyId: record.keyId,
      wrappedBucketKey: hexOf(record.blob),
      context: record.requestContext,
      commitment: hexOf(dataKey.commitment),
      settings: { checksumAlgorithm, checksumType: checksumType === null ? null : typeOf[checksumType], etagMode, storedChecksum }
    }
  }
  const upload = uploadHash(place, vector.uploadId)
  const { number, plaintextSize, header, md5, checksum, upstreamEtag, inline } = openPartRecord(
    DataKey.fromBytes(bytes(vector['dataKey'])),
    upload,
    vector.record
  )
  return {
    number,
    plaintextSize,
    header: hexOf(header),
    md5: hexOf(md5),
    checksum: checksum === null ? null : { algorithm: checksum.algorithm, value: hexOf(checksum.value) },
    etag: upstreamEtag,
    waits: inline
  }
}

await t.test('the records open, or fail as they say', async (t) => {
  const names = readdirSync(join(directory, 'records'))
  for (const name of names) {
    const vector = JSON.parse(readFileSync(join(directory, 'records', name), 'utf8')) as RecordVector
    if (vector.kind === 'hashes') {
      const place = { realm: vector.realm, bucket: vector.bucket, objectKey: vector.object }
      t.equal(hexOf(uploadHash(place, vector.uploadId)), vector['uploadHash'])
      t.equal(hexOf(completedListHash(vector['list'] as { number: number; etag: string }[])), vector['listHash'])
      t.equal(attemptEtag(bytes(vector['header'])), vector['opaqueEtag'])
      continue
    }
    if (vector.kind === 'equal-parts') {
      const pieces = vector['upstream'] as { size: number }[]
      t.equal(pieces.reduce((sum, { size }) => sum + size, 0), vector['bodySize'], name)
      continue
    }
    const opened = await attempt(() => openRecord(vector))
    t.equal('failure' in opened ? opened.failure : 'success', vector.expect, `${name}: ${vector.description}`)
    if ('value' in opened) t.match(vector, opened.value, name)
  }
  t.comment(`${names.length} vectors of records`)
})
