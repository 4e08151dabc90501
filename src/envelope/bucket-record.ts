import { type KeyObject, createHash } from 'node:crypto'
import { ByteReader, ByteWriter, fields, utf8, EnvelopeError } from './encoding.ts'
import { unwrap, wrap } from './data-key.ts'

// STORED DATA depends on every constant here (docs/MULTIPART-STATE.md).
const VERSION = 1

/** The bucket of a record. */
export interface RecordPlace {
  readonly realm: string
  readonly bucket: string
}

/** A record of a bucket's settings, parsed. Nothing in it is authenticated before openBucketRecord. */
export interface BucketRecord {
  readonly keyId: string
  /** Bucket key, wrapped by the provider. */
  readonly blob: Buffer
  readonly box: Buffer
}

/** 32 bytes: the record's name in the state bucket. */
export function bucketRecordHash({ realm, bucket }: RecordPlace): Buffer {
  return createHash('sha256').update(fields('sealgate/v1/bucket', realm, bucket)).digest()
}

/** @param document at most 32 KiB. @throws RangeError for fields that have no encoding. */
export function sealBucketRecord(kek: KeyObject, wrapped: Omit<BucketRecord, 'box'>, place: RecordPlace, document: Buffer): Buffer {
  return encodeBucketRecord({ ...wrapped, box: wrap(kek, document, aad(place)) })
}

/** A record in its stored form: a new wrap of its bucket key is stored with the unchanged box. @throws RangeError as sealBucketRecord. */
export function encodeBucketRecord({ keyId, blob, box }: BucketRecord): Buffer {
  const id = utf8(keyId)
  return new ByteWriter()
    .u8(VERSION)
    .u16(id.length).bytes(id)
    .u16(blob.length).bytes(blob)
    .bytes(box)
    .end()
}

/** @throws EnvelopeError `record`. */
export function parseBucketRecord(body: Buffer): BucketRecord {
  const reader = new ByteReader(body, 'record')
  if (reader.u8() !== VERSION) throw new EnvelopeError('record')
  const keyId = reader.bytes(reader.u16()).toString('utf8')
  return { keyId, blob: reader.bytes(reader.u16()), box: reader.rest() }
}

/** @throws EnvelopeError `record` for a record of another bucket or key. */
export function openBucketRecord(record: BucketRecord, kek: KeyObject, place: RecordPlace): Buffer {
  try {
    return unwrap(kek, record.box, aad(place))
  } catch (error) {
    throw error instanceof EnvelopeError ? new EnvelopeError('record') : error
  }
}

function aad({ realm, bucket }: RecordPlace): Buffer {
  return fields('sealgate/v1/bucket-record', realm, bucket)
}
