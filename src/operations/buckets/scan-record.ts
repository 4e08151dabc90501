import type { KeyProvider, KeyContext, KeyUse } from '../../keys/types.ts'
import type { StateBucket } from '../../store-client/state-bucket.ts'
import { bucketRecordHash, openBucketRecord, parseBucketRecord, sealBucketRecord, type RecordPlace } from '../../envelope/bucket-record.ts'
import { EnvelopeError } from '../../envelope/encoding.ts'
import { S3Error } from '../../errors.ts'

/** The result of the last scan of a whole bucket, kept sealed in the state bucket, for metrics and the status page. */
export interface ScanRecord {
  /** When the scan ended, milliseconds since 1970. */
  readonly ended: number
  /** Also versions that are not current. */
  readonly versions: boolean
  /** Objects and stored bytes by state. */
  readonly states: Readonly<Record<string, { readonly objects: number; readonly bytes: number }>>
}

const PREFIX = 'scans/'
/** Records of one store that are read: labels of metrics must stay few. */
const MOST_RECORDS = 200
const MOST_STATES = 32

/** The name tells the bucket, because the gateway does not know the names of all buckets that it serves. */
function nameOf(place: RecordPlace): string {
  return `${PREFIX}${bucketRecordHash(place).toString('hex')}/${place.bucket}`
}

/** Another context than that of the bucket's default encryption: the store cannot give one record for the other. */
function contextOf(place: RecordPlace): KeyContext {
  return { ...place, objectKey: null, requestContext: { 'sealgate-purpose': 'scan' } }
}

/** @throws S3Error of the key and of the store. */
export async function writeScanRecord(state: StateBucket, place: RecordPlace, provider: KeyProvider, record: ScanRecord, use: KeyUse): Promise<void> {
  const { key, wrapped } = await provider.generate(contextOf(place), use)
  await state.put(nameOf(place), sealBucketRecord(key, wrapped, place, Buffer.from(JSON.stringify(record))), false)
}

interface Reading {
  readonly state: StateBucket
  readonly realm: string
  /** The key that opens records of a bucket with that key id. @throws S3Error for one that may not. */
  readonly openerOf: (bucket: string, keyId: string, use: KeyUse) => KeyProvider
  readonly useFor: (bucket: string) => KeyUse
}

/**
 * The records of all buckets, by bucket. What does not open is left out: a store can hide a result or show an older one of the same bucket, and cannot
 * make one up.
 * @throws S3Error when the state bucket cannot be listed.
 */
export async function readScanRecords({ state, realm, openerOf, useFor }: Reading): Promise<ReadonlyMap<string, ScanRecord>> {
  const found = new Map<string, ScanRecord>()
  for await (const page of state.list(PREFIX, { mostRows: MOST_RECORDS * 10 })) {
    for (const { key: name } of page) {
      if (found.size >= MOST_RECORDS) return found
      const place = { realm, bucket: name.slice(name.lastIndexOf('/') + 1) }
      if (name !== nameOf(place)) continue
      const record = await readRecord(place).catch((error: unknown) => {
        if (error instanceof S3Error || error instanceof EnvelopeError || error instanceof SyntaxError) return null
        throw error
      })
      if (record !== null) found.set(place.bucket, record)
    }
  }
  return found

  async function readRecord(place: RecordPlace): Promise<ScanRecord | null> {
    const body = await state.get(nameOf(place))
    if (body === null) return null
    const record = parseBucketRecord(body)
    const use = useFor(place.bucket)
    const kek = await openerOf(place.bucket, record.keyId, use).unwrap(record, contextOf(place), use)
    return fitting(JSON.parse(openBucketRecord(record, kek, place).toString('utf8')) as ScanRecord)
  }
}

/** A record of a later version may have more than this one knows; what is shown stays small. */
function fitting({ ended, versions, states }: ScanRecord): ScanRecord {
  return { ended, versions, states: Object.fromEntries(Object.entries(states).slice(0, MOST_STATES)) }
}
