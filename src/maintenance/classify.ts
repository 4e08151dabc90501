// What an object in the store is: decided by its HEAD, its envelope, and, only where those do not say, by the first bytes of its body.
import { keysOf, type KeyPins } from '../config/pins.ts'
import type { HeaderList } from '../http/message.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyUse } from '../keys/types.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { readAll } from '../http/stage.ts'
import { ENVELOPE_HEADER, KEY_ID_HEADER, parseEnvelope, sizeOf, type OpenedEnvelope } from '../envelope/envelope.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { plaintextSize, storedSize } from '../envelope/sizes.ts'
import { S3Error } from '../errors.ts'
import { SSEC_KEY_ID } from '../keys/ssec.ts'
import { isAsDescribed } from '../operations/objects/sealed-object.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import { type KnownFinding, type Row, withRetries } from './engine.ts'
import { faultOf, faults, type Fault } from './faults.ts'
import { storedBytes } from './key-usage.ts'
import { encryptionClientState, instructionFileState, looksRandom } from './encryption-client.ts'
import { recognise } from './known-files.ts'
import { openStoredEnvelope, type EnvelopePlace } from './stored-envelope.ts'
import { isArchived } from './verdict.ts'

export interface ScanJob {
  readonly bucket: BucketClient
  readonly keys: KeyRegistry
  /** The keys that may open an object, by its name. */
  readonly pinsFor: (key: string) => KeyPins
  readonly realm: string
  readonly aliases: readonly string[]
  /** Ends of the names of instruction files of the S3 Encryption Client, where the bucket names others than `.instruction`. */
  readonly instructionSuffixes?: readonly string[]
  readonly useFor: (key: string, versionId: string | null) => KeyUse
}

/** A finding, with the headers that it was made from: what an action needs to change the object on that condition. null: a delete marker. */
export interface Examined {
  readonly finding: KnownFinding
  readonly headers: HeaderList | null
  /** Of an object that opens. */
  readonly opened: OpenedEnvelope | null
}

/** Bytes of the head of a body that are read to recognise it. */
const HEAD_BYTES = 512

/**
 * Examines one row by one HEAD; where the headers do not say what the object is, also by a GET of 512 bytes. Objects under a master key of this
 * configuration are opened, which proves name, realm and size.
 * @returns null when there is no such object any more. @throws S3Error the store's error.
 */
export async function examine(job: ScanJob, row: Row, signal: AbortSignal): Promise<Examined | null> {
  if (row.deleteMarker) return { finding: found(row, null, { state: 'delete-marker' }), headers: null, opened: null }
  return withRetries(async () => {
    const head = await headOf(job, row, signal)
    if (head === 'gone') return null
    if (head === 'closed') {
      return { finding: found(row, null, { state: 'sse-c', detail: 'the store answers HEAD only to who has the key' }), headers: null, opened: null }
    }
    const { opened = null, ...judged } = await judge(job, row, head, signal)
    return { finding: found(row, head, judged), headers: head, opened }
  }, signal)
}

/** @throws S3Error the store's error. */
async function headOf({ bucket }: ScanJob, { key, versionId }: Row, signal: AbortSignal): Promise<HeaderList | 'gone' | 'closed'> {
  const store = bucket.until(signal)
  try {
    return await store.head(key, versionId) ?? 'gone'
  } catch (error) {
    if (!(error instanceof S3Error) || error.status !== 400) throw error
    await requireClosed(store, { key, versionId }, error)
    return 'closed'
  }
}

/**
 * SSE-C of the store: without the key a HEAD is answered with 400 (AWS API, HeadObject), as it is for credentials that have expired. Only a GET says
 * which, in the document of its error: InvalidRequest at S3 and MinIO, InvalidArgument at radosgw 16.
 * @throws S3Error what the store says, if it is anything else.
 */
async function requireClosed(store: BucketClient, { key, versionId }: Pick<Row, 'key' | 'versionId'>, refused: S3Error): Promise<void> {
  const query = versionId === null ? [] : [['versionId', versionId] as const]
  const { status, error } = await store.answer({ method: 'GET', key, query, headers: [['range', 'bytes=0-0']], retry: true })
  if (status === 400 && /^Invalid(?:Request|Argument)$/.test(error?.code ?? '') && /server.side.encryption/i.test(error?.message ?? '')) return
  if (error === null) throw refused
  throw new S3Error('SealgateBadUpstream', { code: error.code, status, message: `The store answers ${error.code}: ${error.message}` })
}

type Judged = Pick<KnownFinding, 'state'> & Partial<KnownFinding>
type Opened = Judged & { readonly opened?: OpenedEnvelope }

function found({ key, versionId, size, lastModified }: Row, headers: HeaderList | null, judged: Judged): KnownFinding {
  const modified = Date.parse(headers?.get('last-modified') ?? '')
  return {
    key,
    versionId: versionId ?? headers?.get('x-amz-version-id') ?? null,
    size: null,
    storedBytes: headers === null ? size : storedBytes(headers),
    etag: headers?.has('etag') === true ? unquoteEtag(headers.get('etag') ?? '') : null,
    keyId: headers?.get(KEY_ID_HEADER) ?? null,
    detail: '',
    outcome: null,
    verdict: null,
    fault: null,
    lastModified: Number.isNaN(modified) ? lastModified : modified,
    ...judged
  }
}

async function judge(job: ScanJob, row: Row, headers: HeaderList, signal: AbortSignal): Promise<Opened> {
  if (headers.has(ENVELOPE_HEADER) || headers.has(KEY_ID_HEADER)) return sealedState(job, row, headers, signal)
  const size = storedBytes(headers)
  if (headers.has('x-amz-server-side-encryption-customer-algorithm')) return { state: 'sse-c', size }
  const client = encryptionClientState(headers, size)
  if (client !== null) return client
  if (isArchived(headers)) return { state: 'archived', size }
  if (size === 0) return { state: 'plaintext', size }
  const head = await firstBytes(job, row, headers, signal)
  const known = recognise(row.key, head) ?? (looksRandom(head) ? await instructionFileState(job.bucket.until(signal), row.key, job.instructionSuffixes) : null)
  return { state: 'plaintext', size, ...known }
}

/** Faults of what was sealed for another name, bucket, realm or key: an envelope that was altered shows the same. */
const elsewhere: ReadonlySet<Fault> = new Set(['other-bucket', 'other-name', 'wrapped-key', 'key-unknown', 'key-not-here'])

async function sealedState({ keys, pinsFor, realm, aliases, bucket, useFor }: ScanJob, row: Row, headers: HeaderList, signal: AbortSignal): Promise<Opened> {
  const keyId = headers.get(KEY_ID_HEADER)
  const stored = storedBytes(headers)
  if (keyId === undefined || !headers.has(ENVELOPE_HEADER)) return faulty('envelope-incomplete')
  const at: EnvelopePlace = { realm, bucket: bucket.name, aliases, key: row.key }
  const owner = keys.owner(keyId)
  try {
    const envelope = parseEnvelope(headers.get(ENVELOPE_HEADER) ?? '')
    const size = envelope.shape.kind === 'empty' ? (stored === 0 ? 0 : null) : plaintextSize(stored)
    if (envelope.bucket !== bucket.name && !aliases.includes(envelope.bucket)) {
      return { ...faulty('other-bucket'), size, detail: `sealed for the bucket ${envelope.bucket}` }
    }
    if (size !== null && keyId === SSEC_KEY_ID) return { state: 'sse-c', size, detail: 'sealed by Sealgate with the key of a client' }
    if (keyId !== SSEC_KEY_ID && owner === null) return { ...faulty('key-unknown'), size }
    // The size of a single is in its envelope: without it, nothing says whether bytes are missing or too many.
    if (size === null && (keyId === SSEC_KEY_ID || envelope.shape.kind !== 'single')) return faulty(stored === 0 ? 'truncated' : 'size-altered')
    const use = { ...useFor(row.key, headers.get('x-amz-version-id') ?? row.versionId), signal }
    const pins = pinsFor(row.key)
    if (owner !== null && !keysOf(pins).includes(owner.name)) {
      return { ...faulty('key-not-here'), size, detail: `sealed with key ${owner.name}; objects of this name open with ${keysOf(pins).join(', ')} only` }
    }
    const opened = await openStoredEnvelope(headers, keyId, at, { keys, pins, customerKey: null, use })
    const { shape, attributes } = opened
    if (shape.kind === 'single' && shape.plaintextSize !== size) {
      const missing = storedSize(shape.plaintextSize) - stored
      return { ...faulty(missing > 0 ? 'truncated' : 'extended'), detail: `its body has ${Math.abs(missing)} bytes ${missing > 0 ? 'less' : 'more'}` }
    }
    if (!isAsDescribed(headers, attributes)) throw new EnvelopeError('metadata')
    return { state: 'sealed', size: sizeOf(shape, stored), opened }
  } catch (error) {
    if (error instanceof EnvelopeError) return faulty(faultOf(error.kind))
    if (!(error instanceof S3Error) || signal.aborted) throw error
    if (error.code === 'SealgateIntegrityError') return faulty('wrapped-key')
    // The key itself is in the configuration, and may open here.
    if (error.code === 'SealgateKeyUnavailable') {
      return { state: 'sealed', fault: 'key-version-missing', detail: `not opened: key ${owner?.name ?? ''} does not have ${keyId}` }
    }
    // A key that is disabled, gone or not allowed here says nothing about the object.
    return { state: 'sealed', fault: 'key-unavailable', detail: `not opened: ${error.code}: ${error.message}` }
  }
}

function faulty(fault: Fault): Judged {
  return { state: elsewhere.has(fault) ? 'sealed-elsewhere' : 'damaged', fault, detail: faults[fault] }
}

/** @throws S3Error the store's error; an object replaced since its HEAD is examined again by `withRetries`. */
async function firstBytes({ bucket }: ScanJob, { key, versionId }: Row, headers: HeaderList, signal: AbortSignal): Promise<Buffer> {
  const etag = headers.get('etag')
  const { status, body } = await bucket.until(signal).send({
    method: 'GET',
    key,
    query: versionId === null ? [] : [['versionId', versionId]],
    headers: [['range', `bytes=0-${HEAD_BYTES - 1}`], ...etag === undefined ? [] : [['if-match', `"${unquoteEtag(etag)}"`] as const]],
    retry: true
  })
  if (status === 206 || (status === 200 && storedBytes(headers) <= HEAD_BYTES)) return readAll(body, HEAD_BYTES, () => new S3Error('SealgateBadUpstream'))
  body.destroy()
  const changed = status === 412 || status === 404
  throw changed ? new S3Error('ServiceUnavailable', { message: 'The object was replaced while it was examined.' }) : new S3Error('SealgateBadUpstream', {
    code: `Status${status}`,
    status: status < 300 ? 500 : status,
    message: `The store answers ${status} to a GET of the first bytes`
  })
}
