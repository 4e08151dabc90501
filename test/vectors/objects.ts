// Vectors of objects: what a writer of the text makes, with whatever one vector changes of it.
import { createHash } from 'node:crypto'
import { checksumAlgorithms, compositeChecksum, type ChecksumAlgorithm } from '../../src/http/checksums.ts'
import {
  assemble,
  commitmentOf,
  customerWrap,
  derive,
  describing,
  encodeBody,
  encodePart,
  entry,
  envelope,
  fields,
  kinds,
  metadataDigest,
  padded,
  seal,
  sealManifest,
  sha256,
  sizeOf,
  streamKeyOf,
  storedPartSize,
  streamSize,
  u16,
  u64,
  u8,
  wrap,
  type Body,
  type EnvelopeSpec,
  type PartSpec,
  type Piece
} from './writer.ts'

export type Headers = readonly (readonly [name: string, value: string])[]
export type Kind = keyof typeof kinds

interface Place {
  readonly realm: string
  readonly bucket: string
  readonly object: string
}
export const place: Place = { realm: 'main', bucket: 'photos', object: 'holidays/sea.jpg' }

/** How a reader gets at the bucket key, and what that makes of the envelope. */
interface KeySource {
  readonly keyId: string
  readonly kek: Buffer
  readonly blob: Buffer
  readonly members: Readonly<Record<string, unknown>>
  readonly context?: string
}
export type KeyMaker = (label: string, at: Place, scope: number) => KeySource

export interface KeyringOptions {
  readonly state?: string
  readonly context?: Readonly<Record<string, string>>
  readonly contextText?: string
  readonly bucketKey?: Buffer
  /** The keyring that the vector has, where it is not the one that wrapped. */
  readonly id?: string
}

const encodeContext = (context: Readonly<Record<string, string>>): string => Buffer.from(JSON.stringify(context)).toString('base64')
const sortedPairs = (context: Readonly<Record<string, string>>): string[] =>
  Object.entries(context).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))).flat()

export function keyring({ state = 'enabled', context = {}, contextText = encodeContext(context), bucketKey, id = 'v1-test' }: KeyringOptions = {}): KeyMaker {
  return (label, at, scope) => {
    const master = derive(`${label}: master key`, 32)
    const kek = bucketKey ?? derive(`${label}: bucket key`, 32)
    const aad = fields('sealgate/v1/bucket-key', at.realm, at.bucket, scope === 2 ? at.object : '', ...sortedPairs(context))
    return {
      keyId: 'local:vectors:v1-test',
      kek,
      blob: wrap(`${label}: bucket key`, master, kek, aad),
      members: { keyring: { name: 'vectors', keys: [{ id, state, key: master.toString('base64'), created: '2026-01-01T00:00:00.000Z' }] } },
      ...Object.keys(context).length > 0 ? { context: contextText } : {}
    }
  }
}

/** The bucket key comes from a KMS, to which the reader must say `kmsContext`. */
export function kms(context: Readonly<Record<string, string>> = {}, blobSize = 184, bucketKey?: Buffer): KeyMaker {
  return (label, at, scope) => {
    const kek = bucketKey ?? derive(`${label}: bucket key`, 32)
    const arn = `arn:aws:s3:::${at.bucket}${scope === 2 ? `/${at.object}` : ''}`
    return {
      keyId: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab',
      kek,
      blob: derive(`${label}: wrapped bucket key`, blobSize),
      members: { bucketKey: kek.toString('hex'), kmsContext: { ...context, 'aws:s3:arn': arn, 'sealgate:realm': at.realm } },
      ...Object.keys(context).length > 0 ? { context: encodeContext(context) } : {}
    }
  }
}

export function customer(change: (blob: Buffer) => Buffer = (blob) => blob): KeyMaker {
  return (label) => {
    const key = derive(`${label}: SSE-C key`, 32)
    const { kek, blob } = customerWrap(label, key)
    return { keyId: 'ssec', kek, blob: change(blob), members: { customerKey: key.toString('hex') } }
  }
}

/** Fields of the attributes, in their order. */
interface AttributeFields {
  readonly flags: number
  readonly sse: number
  readonly count: number
  readonly digest: Buffer
  readonly length: Buffer
  readonly md5: Buffer
  readonly checksums: Buffer
  readonly sealed: Buffer
}

/** Fields of the manifest, in their order; `parts` with their number in front. */
interface ManifestFields {
  readonly kind: number
  readonly flags: number
  readonly algorithm: number
  readonly count: number
  readonly md5: Buffer
  readonly checksums: Buffer
  readonly hashes: Buffer
  readonly total: number | null
  readonly parts: Buffer
  readonly surplus: Buffer
}

type Override<T> = Partial<T> | ((fields: T) => Partial<T>)
const overridden = <T>(own: T, change: Override<T> | undefined): T => ({ ...own, ...typeof change === 'function' ? change(own) : change })
const concat = (values: Readonly<Record<string, number | Buffer>>): Buffer =>
  Buffer.concat(Object.values(values).map((value) => typeof value === 'number' ? u8(value) : value))

export interface ObjectOptions {
  /** A kind of failure; none: it opens. */
  readonly fails?: readonly [kind: string, condition: string]
  readonly key?: KeyMaker
  readonly scope?: number
  readonly kind?: Kind
  /** Plaintext bytes of a single. */
  readonly size?: number
  readonly plaintext?: Buffer
  /** Of a multipart object: numbers and lengths, in the order of the body. */
  readonly parts?: readonly (readonly [number: number, length: number])[]
  /** Only these parts have their bytes, by index; the rest of the body is zeros. */
  readonly present?: readonly number[]
  readonly at?: Partial<Place>
  readonly asked?: Partial<Place>
  readonly late?: boolean
  readonly algorithm?: ChecksumAlgorithm | null
  readonly sse?: number
  readonly isPublic?: boolean
  readonly isSealed?: boolean
  /** What the client sent. */
  readonly written?: Headers
  /** What the store returns, but for our own entries. */
  readonly returned?: Headers
  readonly attributes?: Override<AttributeFields>
  readonly manifest?: Override<ManifestFields>
  readonly part?: (part: PartSpec, index: number) => PartSpec
  readonly dataKey?: Buffer
  readonly envelope?: Override<EnvelopeSpec>
  readonly raw?: (envelope: Buffer) => Buffer
  readonly text?: (envelope: string) => string
  /** Plaintext bytes that the body is filled up for. */
  readonly total?: number
  readonly body?: (body: Body, ends: Ends) => Body
  readonly members?: Readonly<Record<string, unknown>>
  readonly ranges?: readonly (readonly [first: number, last: number])[]
  /** Plaintext bytes that may come out before the failure. */
  readonly released?: number
}

/** Where in the body things are. */
export interface Ends {
  /** Of the streams, without what pads the last one. */
  readonly streams: number
  /** Of the zeros. */
  readonly zeros: number
}

/** As in `docs/FORMAT.md`, Test vectors. */
export type Vector = Readonly<Record<string, unknown>>

const hex = (bytes: Buffer): string => bytes.toString('hex')
const codes: readonly string[] = ['', 'crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256', 'md5', 'sha512', 'xxhash64', 'xxhash3', 'xxhash128']
const md5Of = (bytes: Buffer): Buffer => createHash('md5').update(bytes).digest()
export const allChecksums = Object.keys(checksumAlgorithms) as ChecksumAlgorithm[]

/** One checksum as it stands in attributes and manifests. */
export const checksum = (algorithm: number, type: number, value: Buffer): Buffer => Buffer.concat([u8(algorithm, type), value])

interface Content {
  readonly plaintext: Buffer
  /** Streams and their padding. */
  readonly streams: Body
  readonly ends: number
  readonly header: Buffer
  readonly parts: readonly PartSpec[]
}

function contentOf(name: string, kind: Kind, options: ObjectOptions, streamKey: Buffer): Content {
  const empty = Buffer.alloc(0)
  if (kind === 'empty') return { plaintext: empty, streams: [], ends: 0, header: empty, parts: [] }
  const specs = kind === 'single' ? [[1, options.size ?? 0] as const] : options.parts ?? []
  const streams: Piece[] = []
  const plaintexts: Buffer[] = []
  const parts: PartSpec[] = []
  let ends = 0
  for (const [index, [number, length]] of specs.entries()) {
    const label = kind === 'single' ? name : `${name}: part ${number}`
    const start = sizeOf(streams)
    ends = start + streamSize(length)
    const absent = options.present?.includes(index) === false
    const plaintext = options.plaintext ?? (length <= 1000 ? derive(`${label}: plaintext`, length) : null)
    // A stream that is not there still has a header in the manifest.
    const stream = absent
      ? { plaintext: Buffer.alloc(0), header: derive(`${label}: header`, 40), body: [streamSize(length)] }
      : seal(label, streamKey, { kind: kinds[kind], number, length }, plaintext)
    streams.push(...stream.body)
    if (kind === 'multipart') streams.push(storedPartSize(length) - streamSize(length))
    plaintexts.push(stream.plaintext)
    const digest = absent ? derive(`${label}: MD5`, 16) : md5Of(stream.plaintext)
    const value = checksumOf(options.algorithm, absent ? null : stream.plaintext, label)
    const part = { number, length, header: stream.header, digests: Buffer.concat([digest, value]), flags: value.length > 0 ? 3 : 1 }
    parts.push(options.part?.(part, index) ?? part)
  }
  return { plaintext: Buffer.concat(plaintexts), streams, ends, header: kind === 'single' ? parts[0]?.header ?? empty : empty, parts }
}

function checksumOf(algorithm: ChecksumAlgorithm | null = 'sha256', plaintext: Buffer | null, label: string): Buffer {
  if (algorithm === null) return Buffer.alloc(0)
  return plaintext === null ? derive(`${label}: ${algorithm}`, 64) : compositeChecksum(algorithm, [plaintext])
}

/** What describes an object, in the order and form of sealed metadata. */
function describingOf(written: Headers): Headers {
  const known = written.filter(([name]) => describing.some((other) => other === name) || name.startsWith('x-amz-meta-'))
  const order = ([name]: readonly [string, string]): string => `${String(describing.findIndex((other) => other === name) + 1 || 7)}${name}`
  return known.sort((a, b) => order(a) < order(b) ? -1 : 1)
}

const image: Headers = [['content-type', 'image/jpeg']]
const octets: Headers = [['content-type', 'application/octet-stream']]

/** One vector of an object. */
export function object(name: string, description: string, options: ObjectOptions = {}): Vector {
  const kind = options.kind ?? (options.parts === undefined ? 'single' : 'multipart')
  const { written = image, isSealed = false, scope = 1, algorithm = 'sha256' } = options
  const at = { ...place, ...options.at }
  const source = (options.key ?? keyring())(name, at, scope)
  const dataKey = options.dataKey ?? derive(`${name}: data key`, 32)
  const streamKey = streamKeyOf(dataKey)
  const content = contentOf(name, kind, options, streamKey)
  const late = options.late === true
  const whole = algorithm === null || kind === 'multipart'
    ? Buffer.alloc(0)
    : checksum(codes.indexOf(algorithm), 1, compositeChecksum(algorithm, [content.plaintext]))
  const count = Number(whole.length > 0)
  const md5 = kind === 'multipart' ? Buffer.alloc(0) : md5Of(content.plaintext)
  const none = Buffer.alloc(0)
  const told = !late && kind !== 'multipart'
  const attributeFields = overridden<AttributeFields>({
    flags: Number(told) + 2 * Number(late || kind === 'multipart') + 4 + 8 * Number(isSealed) + 16 * Number(options.isPublic === true),
    sse: options.sse ?? 0,
    count: told ? count : 0,
    digest: isSealed ? none : metadataDigest(written),
    length: kind === 'single' ? u64(content.plaintext.length) : none,
    md5: told ? md5 : none,
    checksums: told ? whole : none,
    sealed: isSealed ? padded(...describingOf(written).map(([header, value]) => entry(header, value))) : none
  }, options.attributes)
  const attributes = concat({ ...attributeFields })
  const { total, ...manifestFields } = overridden<ManifestFields>({
    kind: kinds[kind],
    flags: Number(late),
    algorithm: kind === 'multipart' && algorithm !== null ? codes.indexOf(algorithm) : 0,
    count: late ? count : 0,
    md5: late ? md5 : none,
    checksums: late ? whole : none,
    hashes: kind === 'multipart' ? Buffer.concat([sha256(Buffer.from(`${name}: upload`)), sha256(Buffer.from(`${name}: list`))]) : none,
    total: kind === 'multipart' ? content.parts.length : null,
    parts: Buffer.concat(content.parts.map(encodePart)),
    surplus: none
  }, options.manifest)
  const { parts, surplus, ...before } = manifestFields
  const manifest = Buffer.concat([concat(before), total === null ? none : u16(total), kind === 'multipart' ? parts : none, surplus])
  const size = (kind === 'single' ? [options.size ?? 0] : (options.parts ?? []).map(([, length]) => length)).reduce((sum, length) => sum + length, 0)
  const tail = sealManifest(name, streamKey, manifest)
  const filled = kind === 'empty' ? [] : assemble(content.streams, tail, options.total ?? size)
  const body = options.body?.(filled, { streams: content.ends, zeros: sizeOf(filled) - sizeOf(tail) }) ?? filled
  const spec = overridden<EnvelopeSpec>({
    label: name,
    kek: source.kek,
    kind: kinds[kind],
    scope,
    ...at,
    blob: source.blob,
    header: content.header,
    dataKey,
    attributes
  }, options.envelope)
  const raw = envelope(spec)
  const text = (options.raw?.(raw) ?? raw).toString('base64url')
  const returned = options.returned ?? (isSealed ? octets : written)
  const fails = options.fails
  return {
    description,
    expect: fails?.[0] ?? 'success',
    ...fails === undefined ? {} : { condition: fails[1] },
    ...at,
    ...options.asked,
    headers: Object.fromEntries([
      ...returned,
      ['x-amz-meta-sealgate-key', source.keyId],
      ['x-amz-meta-sealgate', options.text?.(text) ?? text],
      ...source.context === undefined ? [] : [['x-amz-meta-sealgate-context', source.context]]
    ]) as Record<string, string>,
    ...source.members,
    ...options.members,
    values: {
      bucketKey: hex(source.kek),
      dataKey: hex(dataKey),
      commitment: hex(commitmentOf(dataKey)),
      streamKey: hex(streamKey),
      ...isSealed ? {} : { metadataDigest: hex(attributeFields.digest) },
      attributes: hex(attributes),
      ...manifest.length > 1000 || kind === 'empty' ? {} : { manifest: hex(manifest) }
    },
    body: encodeBody(body),
    bodySize: sizeOf(body),
    plaintextSize: size,
    ...options.present === undefined ? { sha256: hex(sha256(content.plaintext)) } : {},
    ...fails === undefined ? { public: options.isPublic === true, ...isSealed ? { metadata: describingOf(written) } : {} } : releasedOf(content, options),
    ...rangesOf(content, options)
  }
}

function releasedOf(content: Content, { released = 0 }: ObjectOptions): Vector {
  return { released, releasedSha256: hex(sha256(content.plaintext.subarray(0, released))) }
}

function rangesOf({ parts, plaintext }: Content, { ranges, present }: ObjectOptions): Vector {
  if (ranges === undefined) return {}
  // Bytes of parts that are not there are in no range, so that offsets count them alone.
  const before = (first: number): number => {
    let [at, missing] = [0, 0]
    for (const [index, { length }] of parts.entries()) {
      if (at + length > first) break
      if (present?.includes(index) === false) missing += length
      at += length
    }
    return missing
  }
  return {
    ranges: ranges.map(([first, last]) => {
      const start = first - before(first)
      return { first, last, sha256: hex(sha256(plaintext.subarray(start, start + last - first + 1))) }
    })
  }
}
