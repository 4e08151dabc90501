import { createHash, type KeyObject } from 'node:crypto'
import {
  checkSize,
  checksumCode,
  checksumCodes,
  checksumTypeCode,
  MD5_SIZE,
  parseChecksumCode,
  parseChecksumType,
  parseSse,
  sseCode,
  type ChecksumKind,
  type ChecksumName,
  type SseMode
} from './attributes.ts'
import { ByteReader, ByteWriter, decodeBase64url, fields, utf8, EnvelopeError } from './encoding.ts'
import { parseScope, scopeCode, type KeyScope, type Place } from './envelope.ts'
import { DataKey, contextFields, unwrap, wrap } from './data-key.ts'
import { KEY_SIZE } from './primitives.ts'
import { HEADER_SIZE, MAX_PART_PLAINTEXT, MAX_PARTS } from './sizes.ts'

// STORED DATA depends on every constant here (docs/MULTIPART-STATE.md).
const VERSION = 1
const SUITE = 1
const etagModes = { opaque: 1, md5: 2 } as const
/** In the place of an ETag mode, which is opaque: the upload becomes an object of the S3 Encryption Client. */
const CLIENT_MODE = 6
/** The same, without the headers of the object: of versions that were never released. */
const earlierClientModes: readonly number[] = [3, 4]

/** 32 bytes that name an upload: in the state bucket and in its manifest. */
export function uploadHash(place: Place, uploadId: string): Buffer {
  return createHash('sha256').update(fields('sealgate/v1/upload', place.realm, place.bucket, place.objectKey, uploadId)).digest()
}

/** 32 bytes that name the list of parts in a client's Complete. ETags are without quotes. */
export function completedListHash(parts: readonly { readonly number: number; readonly etag: string }[]): Buffer {
  const list = parts.flatMap(({ number, etag }) => [new ByteWriter().u16(number).end(), etag])
  return createHash('sha256').update(fields('sealgate/v1/completed-list', ...list)).digest()
}

/**
 * The visible ETag of a part where ETags are opaque, without quotes (docs/FORMAT.md, ETags): it names the attempt and does not depend on the
 * plaintext.
 * @param header 40 bytes of the attempt's stream.
 */
export function attemptEtag(header: Buffer): string {
  return `${createHash('sha256').update(header).digest('hex').slice(0, 32)}-0`
}

/** A successful attempt at a part. */
export interface PartRecord {
  /** 1 to 10,000. */
  readonly number: number
  /** Bytes. */
  readonly plaintextSize: number
  /** 40-byte header of the attempt's stream. */
  readonly header: Buffer
  readonly md5: Buffer | null
  readonly checksum: { readonly algorithm: ChecksumName; readonly value: Buffer } | null
  /** The store's ETag of the part, without quotes; empty for one that waits. */
  readonly upstreamEtag: string
  /** It waits in the state bucket and is not yet upstream: every part below 5 MiB, and others where the store demands equal parts. */
  readonly inline: boolean
}

/**
 * A part record as the last element of an object name: base64url of its wrap, about 240 characters.
 * @param upload from uploadHash.
 * @throws RangeError for fields that have no encoding.
 */
export function sealPartRecord(dataKey: DataKey, upload: Buffer, record: PartRecord): string {
  const { md5, checksum } = record
  const etag = utf8(record.upstreamEtag)
  if (etag.length > 255) throw new RangeError('An ETag has at most 255 bytes.')
  const writer = new ByteWriter()
    .u8(Number(md5 !== null) + 2 * Number(record.inline))
    .u16(record.number)
    .u64(record.plaintextSize)
    .bytes(checkSize(record.header, HEADER_SIZE))
  if (md5 !== null) writer.bytes(checkSize(md5, MD5_SIZE))
  writer.u8(checksumCode(checksum?.algorithm ?? null))
  if (checksum !== null) writer.bytes(checkSize(checksum.value, checksumCodes[checksum.algorithm].bytes))
  return wrap(dataKey.partRecord, writer.bytes(etag).end(), partRecordAad(upload)).toString('base64url')
}

/** @throws EnvelopeError `record` for a name that is not a record of this upload. */
export function openPartRecord(dataKey: DataKey, upload: Buffer, name: string): PartRecord {
  const sealed = name.length <= 1024 ? decodeBase64url(name) : null
  if (sealed === null) throw new EnvelopeError('record')
  const reader = new ByteReader(unwrapRecord(dataKey.partRecord, sealed, partRecordAad(upload)), 'record')
  const [hasMd5, inline = false] = reader.flags(2)
  const number = reader.u16()
  if (number < 1 || number > MAX_PARTS) throw new EnvelopeError('record')
  const plaintextSize = reader.u64(MAX_PART_PLAINTEXT)
  const header = reader.bytes(HEADER_SIZE)
  const md5 = hasMd5 === true ? reader.bytes(MD5_SIZE) : null
  const algorithm = parseChecksumCode(reader.u8(), 'record')
  const checksum = algorithm === null ? null : { algorithm, value: reader.bytes(checksumCodes[algorithm].bytes) }
  return { number, plaintextSize, header, md5, checksum, upstreamEtag: reader.rest().toString('utf8'), inline }
}

function partRecordAad(upload: Buffer): Buffer {
  return fields('sealgate/v1/part-record', upload)
}

/** The settings of CreateMultipartUpload. */
export interface UploadSettings {
  readonly checksumAlgorithm: ChecksumName | null
  readonly checksumType: ChecksumKind | null
  /** Whether part ETags name the attempt (`opaque`) or are MD5s of plaintext. */
  readonly etagMode: keyof typeof etagModes
  /** Checksum that the store demands of stored parts, because the upload was created there with it; null: none. */
  readonly storedChecksum: ChecksumName | null
  /**
   * The object will be one of the S3 Encryption Client, described by these headers, and its part ETags are opaque. null: it was to be one, and its headers
   * were not kept. Absent: it will be sealed.
   */
  readonly clients?: readonly (readonly [name: string, value: string])[] | null
}

/** An upload record, parsed. Nothing in it is authenticated before openUploadRecord. */
export interface UploadRecord {
  readonly keyId: string
  /** Bucket key, wrapped by the provider. */
  readonly blob: Buffer
  readonly sse: SseMode
  /** The scope that the wrapped bucket key is bound to. */
  readonly scope: KeyScope
  /** The client's KMS encryption context. */
  readonly requestContext: Readonly<Record<string, string>>
  /** In plaintext, so that leftovers of an upload can be identified; the name of the record is only a hash. */
  readonly names: { readonly bucket: string; readonly objectKey: string; readonly uploadId: string }
  readonly box: Buffer
}

export interface SealUploadRecordInput extends Omit<UploadRecord, 'box' | 'names'> {
  readonly kek: KeyObject
  readonly dataKey: DataKey
  readonly place: Place
  readonly uploadId: string
  readonly settings: UploadSettings
}

/** The body of the upload record. @throws RangeError for fields that have no encoding. */
export function sealUploadRecord(input: SealUploadRecordInput): Buffer {
  const { kek, dataKey, settings } = input
  const secret = Buffer.concat([
    dataKey.secret.export(),
    Buffer.from([
      checksumCode(settings.checksumAlgorithm),
      checksumTypeCode(settings.checksumType),
      settings.clients === undefined ? etagModes[settings.etagMode] : CLIENT_MODE,
      checksumCode(settings.storedChecksum)
    ]),
    fields(...(settings.clients ?? []).flat())
  ])
  const box = wrap(kek, secret, uploadRecordAad(input, input.place, input.uploadId))
  secret.fill(0)
  const keyId = utf8(input.keyId)
  const context = fields(...contextFields(input.requestContext))
  const names = fields(input.place.bucket, input.place.objectKey, input.uploadId)
  return new ByteWriter()
    .u8(VERSION).u8(SUITE).u8(sseCode(input.sse)).u8(scopeCode(input.scope))
    .u16(keyId.length).bytes(keyId)
    .u16(input.blob.length).bytes(input.blob)
    .u16(context.length).bytes(context)
    .u16(names.length).bytes(names)
    .bytes(box)
    .end()
}

/** @throws EnvelopeError `record`. */
export function parseUploadRecord(body: Buffer): UploadRecord {
  const reader = new ByteReader(body, 'record')
  if (reader.u8() !== VERSION || reader.u8() !== SUITE) throw new EnvelopeError('record')
  const sse = parseSse(reader.u8(), 'record')
  const scope = parseScope(reader.u8(), 'record')
  const keyId = reader.bytes(reader.u16()).toString('utf8')
  const blob = reader.bytes(reader.u16())
  const requestContext = parseContext(reader.bytes(reader.u16()))
  const names = parseNames(reader.bytes(reader.u16()))
  return { keyId, blob, sse, scope, requestContext, names, box: reader.rest() }
}

function parseNames(source: Buffer): UploadRecord['names'] {
  const reader = new ByteReader(source, 'record')
  const [bucket, objectKey, uploadId] = [reader.field(), reader.field(), reader.field()].map((field) => field.toString('utf8'))
  reader.end()
  if (bucket === undefined || objectKey === undefined || uploadId === undefined) throw new EnvelopeError('record')
  // Bytes that are not UTF-8 would be a second spelling of the same names.
  if (!fields(bucket, objectKey, uploadId).equals(source)) throw new EnvelopeError('record')
  return { bucket, objectKey, uploadId }
}

/** @throws EnvelopeError `record` for a record of another place, upload or key. */
export function openUploadRecord(
  record: UploadRecord,
  kek: KeyObject,
  place: Place,
  uploadId: string
): { dataKey: DataKey; settings: UploadSettings } {
  const { names } = record
  if (names.bucket !== place.bucket || names.objectKey !== place.objectKey || names.uploadId !== uploadId) throw new EnvelopeError('record')
  const secret = unwrapRecord(kek, record.box, uploadRecordAad(record, place, uploadId))
  const reader = new ByteReader(secret, 'record')
  const key = reader.bytes(KEY_SIZE)
  const checksumAlgorithm = parseChecksumCode(reader.u8(), 'record')
  const checksumType = parseChecksumType(reader.u8(), 'record')
  const mode = reader.u8()
  const storedChecksum = parseChecksumCode(reader.u8(), 'record')
  const shape = parseMode(mode, reader)
  reader.end()
  return { dataKey: DataKey.fromBytes(key), settings: { checksumAlgorithm, checksumType, ...shape, storedChecksum } }
}

function uploadRecordAad(record: Pick<UploadRecord, 'sse' | 'scope' | 'requestContext'>, place: Place, uploadId: string): Buffer {
  return fields(
    'sealgate/v1/upload-record',
    Buffer.from([VERSION, SUITE, sseCode(record.sse), scopeCode(record.scope)]),
    place.realm,
    place.bucket,
    place.objectKey,
    uploadId,
    fields(...contextFields(record.requestContext))
  )
}

/** @param rest what stands behind the settings. */
function parseMode(code: number, rest: ByteReader): Pick<UploadSettings, 'etagMode' | 'clients'> {
  if (code === etagModes.opaque) return { etagMode: 'opaque' }
  if (code === etagModes.md5) return { etagMode: 'md5' }
  if (code === CLIENT_MODE) return { etagMode: 'opaque', clients: pairsIn(rest) }
  if (earlierClientModes.includes(code)) return { etagMode: 'opaque', clients: null }
  throw new EnvelopeError('record')
}

function pairsIn(reader: ByteReader): [string, string][] {
  const pairs: [string, string][] = []
  while (!reader.done) pairs.push([reader.field().toString('utf8'), reader.field().toString('utf8')])
  return pairs
}

function parseContext(source: Buffer): Record<string, string> {
  const context = Object.fromEntries(pairsIn(new ByteReader(source, 'record')))
  if (!fields(...contextFields(context)).equals(source)) throw new EnvelopeError('record')
  return context
}

function unwrapRecord(kek: KeyObject, sealed: Buffer, aad: Buffer): Buffer {
  try {
    return unwrap(kek, sealed, aad)
  } catch (error) {
    throw error instanceof EnvelopeError ? new EnvelopeError('record') : error
  }
}
