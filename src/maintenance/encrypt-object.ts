// Encrypts one existing object: a copy of it onto itself through the gateway, on condition of what was read.
import { setTimeout as delay } from 'node:timers/promises'
import type { S3ecPolicy } from '../config/s3ec-policy.ts'
import type { Header, HeaderList } from '../http/message.ts'
import { MAX_SINGLE_PLAINTEXT, storedSize } from '../envelope/sizes.ts'
import { ENVELOPE_HEADER } from '../envelope/envelope.ts'
import { S3Error } from '../errors.ts'
import { HELD_BYTES } from '../operations/objects/put-object.ts'
import { opaqueEtag } from '../operations/objects/visible-etag.ts'
import type { BucketPolicy } from '../config/config.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import { grantHeaders, putTags, tagHeaders, tagsOf } from '../store-client/object-properties.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import type { Conditions } from '../store-client/probe-conditions.ts'
import { formatCopySource, keptSettings } from '../s3/names.ts'
import { examine, type Examined, type ScanJob } from './classify.ts'
import { clientLeft, instructionFilesOf, removeInstructionFiles, unlessLeftOver } from './encrypt-client.ts'
import { encryptInParts } from './encrypt-in-parts.ts'
import { withRetries, type Finding, type Row } from './engine.ts'
import { olderVersions } from './sources.ts'
import type { UploadJournal } from './upload-journal.ts'
import { isMd5, readWhole } from './verify-object.ts'
import { isHeld, isLocked } from './verdict.ts'

/** What `--from` may name. */
export const encryptFrom = ['plaintext', 'other-key', 's3ec'] as const
type From = (typeof encryptFrom)[number]

export interface EncryptJob extends ScanJob {
  /** The bucket as clients see it. null: nothing is changed, and outcomes say what would be. */
  readonly sealed: BucketClient | null
  /** Of that bucket; null with it. */
  readonly journal: UploadJournal | null
  readonly from: ReadonlySet<From>
  readonly etag: BucketPolicy['etag']
  /** What of the S3 Encryption Client is to be encrypted. */
  readonly s3ec: S3ecPolicy | null
  /** Which conditions the store enforces in this bucket. */
  readonly conditions: Conditions
  /** No client writes: an object may be replaced without a condition. */
  readonly noWriters: boolean
  /** Read the new object back before it counts. */
  readonly verify: boolean
  /** Remove older versions that are not encrypted, once the current one has been read back. */
  readonly purge: boolean
  /** Called for every version that is removed. */
  readonly onPurged: () => void
  /** Bytes above which an object is copied in parts, and bytes of such a part. */
  readonly singleCopyLimit: number
  readonly partSize: number
  readonly maxParts: number
  /** Most milliseconds of the first wait between two tries. */
  readonly retryMs: number
}

/** Bytes above which an object becomes more than one PutObject takes when it is encrypted. */
export const ENCRYPTED_COPY_LIMIT = MAX_SINGLE_PLAINTEXT
/** S3's limit of an object, in bytes (AWS S3 User Guide, "Uploading objects"). */
const MAX_STORED = 5 * 1024 ** 4
const ATTEMPTS = 6
/** HEADs until a store that answers them late shows the new object. */
const LOOKS = 4

/** Codes that say that the object is another than the one that was examined. */
const changed: ReadonlySet<string> = new Set(['PreconditionFailed', 'ConditionalRequestConflict', 'NoSuchKey', 'OperationAborted'])

/**
 * Encrypts the current object of a name, or says why it is left. Each attempt starts from the current object, so a lost answer, a kill or a concurrent
 * writer needs no stored state. It counts only when the store shows an envelope that opens.
 * @returns null when there is no such object any more. @throws S3Error for what keeps this object from being encrypted.
 */
export async function encryptObject(job: EncryptJob, row: Row, signal: AbortSignal): Promise<Finding | null> {
  const current: Row = { ...row, versionId: null }
  let tried = false
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const examined = await examine(job, current, signal)
    if (examined === null) return null
    const due = await unlessLeftOver(job, examined, dueOf(job, examined), signal)
    if (typeof due !== 'string') {
      if (!tried || due.outcome !== 'encrypted before') return finish(job, { ...examined.finding, ...due }, signal)
      // An attempt before was carried out after all, or a client has written since: either must be readable to its end.
      const detail = await withRetries(() => readBack(job, current, null, examined, signal), signal, job.retryMs)
      return finish(job, { ...examined.finding, outcome: 'encrypted', detail }, signal)
    }
    if (job.sealed === null) return { ...examined.finding, outcome: due === 'other-key' ? 'would be re-encrypted' : 'would be encrypted' }
    tried = true
    const work = (): Promise<Finding | null> =>
      seal(job, current, examined, due, signal).catch((error: unknown) => {
        if (isChanged(error)) return null
        if (error instanceof S3Error && error.code === 'MetadataTooLarge') {
          return { ...examined.finding, outcome: 'left: metadata too large', detail: 'encrypted, its metadata does not fit into what the store accepts' }
        }
        throw error
      })
    const done = await withRetries(work, signal, job.retryMs)
    if (done !== null) return done.outcome?.startsWith('left') === true ? done : finish(job, done, signal)
  }
  throw new S3Error('SealgateBadUpstream', { code: 'Busy', status: 409, message: 'It was replaced again and again while it was being encrypted.' })
}

function isChanged(error: unknown): boolean {
  return error instanceof S3Error && changed.has(error.code)
}

interface Left {
  readonly outcome: string
  readonly detail?: string
}

/** What there is to do with an object, or why there is nothing. */
function dueOf(job: EncryptJob, examined: Examined): From | Left {
  const { finding, headers } = examined
  const { state, fault, size, keyId } = finding
  if (state === 'sealed') {
    if (fault !== null) return { outcome: 'left: its key could not be used' }
    const other = keyId !== null && job.keys.owner(keyId)?.name !== job.pinsFor(finding.key).key
    if (!other || !job.from.has('other-key')) return { outcome: 'encrypted before' }
  }
  const due = state === 'sealed' ? 'other-key' : state.startsWith('s3ec-') ? 's3ec' : 'plaintext'
  if ((due === 'plaintext' && state !== 'plaintext') || headers === null || !job.from.has(due)) return { outcome: `left: ${state}` }
  const left = due === 's3ec' ? clientLeft(examined, job.s3ec) : null
  if (left !== null) return left
  if (isLocked(headers, new Date())) return { outcome: 'left: locked', detail: 'a copy would not be locked, and the locked version stays readable' }
  if (storedSize(size ?? 0) > MAX_STORED) return { outcome: 'left: too large', detail: 'encrypted it would be larger than 5 TiB' }
  return due
}

/** @returns null when the object was replaced meanwhile: it is to be examined again. @throws S3Error. */
async function seal(job: EncryptJob, row: Row, examined: Examined, due: From, signal: AbortSignal): Promise<Finding | null> {
  if (due !== 'other-key') return sealAs(job, row, { examined, etag: visible(job, examined) }, signal)
  // The ETag first: whatever is read behind it belongs to it, or the copy is refused.
  const head = await job.sealed?.until(signal).head(row.key)
  const now = await examine(job, row, signal)
  if (head === undefined || head === null || now === null || dueOf(job, now) !== due) return null
  return sealAs(job, row, { examined: now, etag: head.get('etag') ?? '' }, signal)
}

/** The ETag that the gateway shows of an object that it has not encrypted. */
function visible({ etag }: EncryptJob, { finding, headers }: Examined): string {
  const stored = headers?.get('etag')
  if (stored === undefined) throw new S3Error('SealgateBadUpstream', { message: 'The store returned no ETag.' })
  return etag !== 'opaque' && finding.state === 'plaintext' ? `"${unquoteEtag(stored)}"` : opaqueEtag(etag, stored)
}

interface Source {
  readonly examined: Examined
  /** As the gateway shows it, in quotes. */
  readonly etag: string
}

async function sealAs(job: EncryptJob, row: Row, source: Source, signal: AbortSignal): Promise<Finding | null> {
  const { bucket } = job
  const { finding, headers } = source.examined
  const sealed = job.sealed?.until(signal)
  if (headers === null || sealed === undefined || job.journal === null) return null
  const raw = bucket.until(signal)
  const tagged = Number(headers.get('x-amz-tagging-count') ?? 0) > 0
  const size = finding.size ?? 0
  const large = size > job.singleCopyLimit
  const tags = tagged || large ? await tagsOf(raw, row.key, null) : []
  const set: Header[] = [...await grantHeaders(raw, row.key, null), ...settingsOf(headers)]
  const from: Header[] = [['x-amz-copy-source', formatCopySource({ bucket: bucket.name, key: row.key, versionId: null })], [
    'x-amz-copy-source-if-match',
    source.etag
  ]]
  const files = job.s3ec !== null && finding.state.startsWith('s3ec-') ? await instructionFilesOf(raw, row.key, job.s3ec) : []
  const condition = (enforced: boolean): Header[] => {
    if (enforced) return [['if-match', source.etag]]
    if (job.noWriters) return []
    throw new S3Error('NotImplemented', { message: 'The store does not enforce a condition on this write: stop all writers and say --assume-no-writers.' })
  }
  if (large) {
    const copied = await encryptInParts(sealed, {
      journal: job.journal,
      key: row.key,
      ...finding.state === 'sealed' ? { shows: sealed, etag: source.etag } : { shows: raw, etag: headers.get('etag') ?? '' },
      partSize: job.partSize,
      maxParts: job.maxParts,
      size,
      headers: [...set, ...tagHeaders(tags)],
      source: from,
      destination: condition(job.conditions.complete),
      unchanged: async () => {
        const now = await raw.head(row.key)
        return now !== null && ['etag', 'last-modified', 'x-amz-version-id'].every((name) => now.get(name) === headers.get(name))
          && JSON.stringify(await tagsOf(raw, row.key, null)) === JSON.stringify(tags)
      }
    })
    if (copied === null) return null
  } else {
    // As the gateway writes it: by one request, by an upload, or by a copy inside the store.
    const { put, complete, copy } = job.conditions
    const enforced = (finding.state === 'sealed' && copy) || put || (complete && size > HELD_BYTES)
    await sealed.document({ method: 'PUT', key: row.key, headers: [...from, ...set, ...condition(enforced)] })
  }
  const after = await stands(job, row, source.examined, signal)
  if (after === null) return null
  if (tags.length > 0) await keepTags(raw, row.key, tags, after)
  const detail = await readBack(job, row, source.examined, after, signal)
  if (after.finding.versionId === null) await removeInstructionFiles(raw, files, job.conditions)
  return { ...after.finding, outcome: finding.state === 'sealed' ? 're-encrypted' : 'encrypted', detail }
}

const settings: ReadonlySet<string> = new Set(keptSettings)

/** A copy takes them from its request alone. The storage class is always named: a copy onto itself has to change something. */
function settingsOf(headers: HeaderList): Header[] {
  return [
    ...[...headers.names()].filter((name) => settings.has(name)).map((name): Header => [name, headers.get(name) ?? '']),
    ...headers.has('x-amz-storage-class') ? [] : [['x-amz-storage-class', 'STANDARD'] as const]
  ]
}

/**
 * The object as the store shows it after the copy. null: it was replaced meanwhile by one that is not encrypted.
 * @throws S3Error SealgateIntegrityError for a store that acknowledged the copy and still has the old object, or shows one that does not open.
 */
async function stands(job: EncryptJob, row: Row, before: Examined, signal: AbortSignal): Promise<Examined | null> {
  for (let look = 1;; look += 1) {
    const now = await examine(job, row, signal)
    if (now === null || now.headers === null) return null
    // Under another key the bytes stay, and the time of a store has seconds only: the envelope is what has changed.
    const same = ['etag', 'last-modified', ENVELOPE_HEADER].every((name) => now.headers?.get(name) === before.headers?.get(name))
    if (!same && now.finding.state === 'sealed') return now
    if (!same && /^(?:plaintext$|s3ec-)/.test(now.finding.state)) return null
    if (!same || look === LOOKS) {
      throw new S3Error('SealgateIntegrityError', {
        message: same
          ? 'The store acknowledged the encrypted object and still shows the old one.'
          : `After it was encrypted the store shows another object: ${now.finding.state}: ${now.finding.detail}`
      })
    }
    await delay(job.retryMs * 2 ** look, undefined, { signal })
  }
}

/** Tags that a store has lost are written again, unless the object has been replaced. @throws S3Error where it does not keep them. */
async function keepTags(raw: BucketClient, key: string, tags: Awaited<ReturnType<typeof tagsOf>>, after: Examined): Promise<void> {
  const kept = async (): Promise<boolean> => {
    const now = await raw.head(key)
    if (now?.get('etag') !== after.headers?.get('etag')) return true
    return JSON.stringify((await tagsOf(raw, key, null)).toSorted()) === JSON.stringify(tags.toSorted())
  }
  if (await kept()) return
  await putTags(raw, key, tags)
  if (!await kept()) throw new S3Error('SealgateBadUpstream', { message: 'It is encrypted, and the store does not keep its tags.' })
}

/** @param before null: it is not known to be the object that is there now. @returns what to say of it. @throws S3Error SealgateIntegrityError where the bytes are not those that were there. */
async function readBack(job: EncryptJob, row: Row, before: Examined | null, after: Examined, signal: AbortSignal): Promise<string> {
  if (!job.verify || job.sealed === null) return ''
  const { md5, differs, headers } = await readWhole(job.sealed.until(signal), { key: row.key, versionId: after.headers?.get('x-amz-version-id') ?? null })
  // The store's ETag of what the client encrypted is none of plaintext.
  const old = before?.finding.state === 'plaintext' ? before.headers : null
  const was = unquoteEtag(old?.get('etag') ?? '')
  const wrong = differs ?? (old !== null && isMd5(old, was) && was !== md5 ? 'its MD5 is not that of the old object' : null)
  const whole = before === null || before.finding.size === null || Number(headers.get('content-length')) === before.finding.size
  // Replaced by a client since: then it is that client's object.
  if ((wrong === null && whole) || (await job.bucket.until(signal).head(row.key))?.get('etag') !== after.headers?.get('etag')) return 'read back'
  throw new S3Error('SealgateIntegrityError', { message: `Read back: ${wrong ?? 'its size is another'}.` })
}

/** Removes older plaintext versions of an object that is encrypted now and opens. */
async function finish(job: EncryptJob, finding: Finding, signal: AbortSignal): Promise<Finding> {
  if (!job.purge || job.sealed === null || finding.state !== 'sealed' || finding.outcome?.startsWith('left') === true) return finding
  const { versionId, key } = finding
  if (versionId === null) return finding
  // Read by its id: versions are removed only while this one opens.
  const { differs } = await readWhole(job.sealed.until(signal), { key, versionId })
  if (differs !== null) throw new S3Error('SealgateIntegrityError', { message: `Its older versions stay: ${differs}.` })
  let [purged, locked] = [0, 0]
  for await (const row of olderVersions(job.bucket.until(signal), key, versionId)) {
    const examined = await examine(job, row, signal)
    if (examined === null || examined.finding.state !== 'plaintext' || examined.headers === null) continue
    if (isLocked(examined.headers, new Date()) || !await remove(job.bucket.until(signal), key, row.versionId ?? '')) {
      locked += 1
      continue
    }
    purged += 1
    job.onPurged()
  }
  const said = [
    finding.detail,
    ...purged > 0 ? [`plaintext versions removed: ${purged}`] : [],
    ...locked > 0 ? [`locked plaintext versions left: ${locked}`] : []
  ]
  return { ...finding, detail: said.filter((text) => text !== '').join('; ') }
}

/** @returns false for a version that is locked. @throws S3Error the store's error. */
async function remove(bucket: BucketClient, key: string, versionId: string): Promise<boolean> {
  try {
    await bucket.document({ method: 'DELETE', key, query: [['versionId', versionId]] })
    return true
  } catch (error) {
    if (error instanceof S3Error && error.status < 500 && await isHeld(bucket, key, versionId, new Date())) return false
    throw error
  }
}
