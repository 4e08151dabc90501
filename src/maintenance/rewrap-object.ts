import { setTimeout as delay } from 'node:timers/promises'
import type { KeyPins } from '../config/pins.ts'
import type { Header, HeaderList } from '../http/message.ts'
import type { NamedProvider } from '../keys/configured-key.ts'
import type { KeyRegistry } from '../keys/registry.ts'
import type { KeyUse } from '../keys/types.ts'
import type { Conditions } from '../store-client/probe-conditions.ts'
import type { CopyTagMode } from '../store-client/probe-tags.ts'
import type { TagJournal } from './copy-in-parts.ts'
import type { Tag } from '../s3/documents.ts'
import { both } from '../concurrency/parallel.ts'
import { S3Error } from '../errors.ts'
import { formatCopySource } from '../s3/names.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import { describingHeaders, grantHeaders, tagHeaders, tagsOf } from '../store-client/object-properties.ts'
import { isTransient } from './engine.ts'
import { storedBytes } from './key-usage.ts'
import { copyInParts } from './copy-in-parts.ts'
import type { UploadJournal } from './upload-journal.ts'
import { fieldOf, type BucketClient } from '../store-client/bucket-client.ts'
import { judge, type Reason, type Verdict } from './verdict.ts'
import {
  type Envelope,
  type Place,
  openEnvelope,
  type OpenedEnvelope,
  replaceBlob,
  sealEnvelope,
  ENVELOPE_HEADER,
  CONTEXT_HEADER,
  KEY_ID_HEADER
} from '../envelope/envelope.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { storedEnvelope, type EnvelopePlace } from './stored-envelope.ts'

/** Inputs of a re-wrap of a bucket. */
export interface RewrapJob {
  readonly bucket: BucketClient
  readonly keys: KeyRegistry
  /** null: each object stays with the key that owns its key id. */
  readonly target: NamedProvider | null
  /** The keys that may open an object, by its name. */
  readonly pinsFor: (key: string) => KeyPins
  readonly realm: string
  readonly aliases: readonly string[]
  /** Which conditions the store enforces. */
  readonly conditions: Conditions
  readonly copyTagMode: CopyTagMode
  readonly journal: TagJournal
  readonly uploads: UploadJournal
  /** Stored bytes above which an object is copied in parts, and bytes of such a part. */
  readonly singleCopyLimit: number
  readonly partSize: number
  /** Most parts that the store accepts in one upload. */
  readonly maxParts: number
  /** Most milliseconds of the first wait after a transient failure. It doubles, and the wait is random below it. */
  readonly retryMs: number
  readonly useFor: (key: string, versionId: string | null) => KeyUse
}

/** S3's limit of CopyObject, in bytes (AWS API, CopyObject). */
export const SINGLE_COPY_LIMIT = 5 * 1024 ** 3
export const PART_COPY_SIZE = 512 * 1024 ** 2

type Result =
  | { readonly outcome: 'left'; readonly reason: Reason }
  | { readonly outcome: 'rewrapped'; readonly keyId: string; readonly to: string; readonly bytes: number }
  /** Deleted since it was listed. */
  | { readonly outcome: 'gone' }
  /** Replaced again and again while it was being copied. */
  | { readonly outcome: 'busy' }

const ATTEMPTS = 6

interface Found {
  readonly key: string
  readonly headers: HeaderList
  readonly etag: string
  readonly versionId: string | null
  readonly due: Extract<Verdict, { kind: 'rewrap' }>
}

/**
 * Re-wraps the current version of one object under its target key, by a copy onto itself on condition of what was read. Each attempt starts from the
 * current object, so a lost answer, a kill or a concurrent writer needs no stored state. It counts as done only when a HEAD shows the new envelope.
 * @param signal ends it before a copy has begun. A copy that has begun is completed, with the tags that it loses; only the signal of `job.bucket`
 * ends it, because the store may carry it out late.
 * @throws S3Error for what keeps this object from being re-wrapped.
 */
export async function rewrapObject(job: RewrapJob, key: string, signal: AbortSignal = job.bucket.signal): Promise<Result> {
  let last: Result = { outcome: 'busy' }
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      const { result, settled } = await attemptOnce(job, key, signal)
      // Copied before, and then overwritten by a writer with the current key: equally good.
      if (settled) return last.outcome === 'rewrapped' && result.outcome === 'left' && result.reason === 'current' ? last : result
      last = result
    } catch (error) {
      if (!isTransient(error) || attempt === ATTEMPTS) throw error
      await delay(Math.random() * job.retryMs * 2 ** (attempt - 1), undefined, { signal })
    }
  }
  return last
}

interface Attempt {
  readonly result: Result
  /** False: it was overwritten meanwhile, and must be examined again. */
  readonly settled: boolean
}

async function attemptOnce(job: RewrapJob, key: string, signal: AbortSignal): Promise<Attempt> {
  signal.throwIfAborted()
  const headers = await job.bucket.until(signal).head(key)
  if (headers === null) return { result: { outcome: 'gone' }, settled: true }
  const verdict = judge(headers, { ...job, pins: job.pinsFor(key) }, job.useFor(key, headers.get('x-amz-version-id') ?? null), new Date())
  if (verdict.kind === 'leave') return { result: { outcome: 'left', reason: verdict.reason }, settled: true }
  const etag = headers.get('etag')
  if (etag === undefined) throw new S3Error('SealgateBadUpstream', { message: 'The store returned no ETag.' })
  const found: Found = { key, headers, etag, versionId: headers.get('x-amz-version-id') ?? null, due: verdict }
  const copied = await copyOntoItself(job, found)
  if (copied === null) return { result: { outcome: 'busy' }, settled: false }
  const to = verdict.to.currentKeyId() ?? ''
  return { result: { outcome: 'rewrapped', keyId: verdict.keyId, to, bytes: storedBytes(headers) }, settled: await stands(job, found, copied) }
}

interface Copied {
  readonly envelope: string
  readonly etag: string
}

/** @returns null when the object changed before it could be copied. */
async function copyOntoItself(job: RewrapJob, found: Found): Promise<Copied | null> {
  const { bucket } = job
  const { key, headers, versionId, due } = found
  const own = await newEnvelope(headers, due, { realm: job.realm, bucket: bucket.name, aliases: job.aliases, key }, job.useFor(key, versionId))
  const described = [...describingHeaders(headers), ...own]
  const envelope = own.find(([name]) => name === ENVELOPE_HEADER)?.[1] ?? ''
  try {
    const etag = storedBytes(headers) > job.singleCopyLimit ? await copyLarge(job, found, described) : await copyWhole(job, found, described)
    return etag === null ? null : { envelope, etag }
  } catch (error) {
    if (error instanceof S3Error && (error.status === 412 || error.status === 409 || error.status === 404)) return null
    throw error
  }
}

async function copyWhole(job: RewrapJob, found: Found, described: readonly Header[]): Promise<string> {
  const { bucket, copyTagMode, conditions, journal } = job
  const { key, etag, versionId } = found
  // Read as late as possible: changes in between are lost, because no store keeps grants on a copy.
  const [tags, grants] = copyTagMode === 'kept' ? [[], await grantHeaders(bucket, key, versionId)] as const : await propertiesOf(bucket, key, versionId)
  const tagging: Header[] = copyTagMode === 'sent' ? [['x-amz-tagging-directive', 'REPLACE'], ...tagHeaders(tags)] : []
  return journal.guard(key, copyTagMode === 'put' ? tags : [], async () =>
    fieldOf(
      await bucket.document({
        method: 'PUT',
        key,
        headers: [
          ...described,
          ...grants,
          ...tagging,
          ...sourceHeaders(job, found),
          ['x-amz-metadata-directive', 'REPLACE'],
          ...conditions.copy ? [['if-match', etag] as const] : []
        ]
      }),
      'ETag'
    ))
}

async function propertiesOf(bucket: BucketClient, key: string, versionId: string | null): Promise<readonly [tags: readonly Tag[], grants: readonly Header[]]> {
  return both(
    bucket.signal,
    (signal) => tagsOf(bucket.until(signal), key, versionId),
    (signal) => grantHeaders(bucket.until(signal), key, versionId)
  )
}

/** An upload takes tags and grants when it begins: they are compared again before it is completed. */
async function copyLarge(job: RewrapJob, found: Found, described: readonly Header[]): Promise<string | null> {
  const { bucket, conditions, partSize, maxParts, copyTagMode, journal, uploads } = job
  const { key, etag, versionId, headers } = found
  const [tags, grants] = await propertiesOf(bucket, key, versionId)
  return journal.guard(key, copyTagMode === 'put' ? tags : [], () =>
    copyInParts(bucket, {
      journal: uploads,
      key,
      partSize,
      maxParts,
      size: storedBytes(headers),
      headers: [...described, ...grants, ...copyTagMode === 'put' ? [] : tagHeaders(tags)],
      source: sourceHeaders(job, found),
      destination: conditions.complete ? [['if-match', etag]] : [],
      // The bytes stay in the store, which has no checksum of theirs but its own.
      checksum: null,
      unchanged: async () => {
        const now = await bucket.head(key)
        return now !== null && ['etag', 'last-modified', 'x-amz-version-id'].every((name) => now.get(name) === headers.get(name))
          && JSON.stringify(await propertiesOf(bucket, key, versionId)) === JSON.stringify([tags, grants])
      }
    }))
}

/** The source, and the condition that it is unchanged. */
function sourceHeaders({ bucket, conditions }: RewrapJob, { key, etag, versionId, headers }: Found): Header[] {
  const lastModified = headers.get('last-modified')
  return [
    ['x-amz-copy-source', formatCopySource({ bucket: bucket.name, key, versionId })],
    [conditions.copySourceHeader, etag],
    ...lastModified === undefined ? [] : [['x-amz-copy-source-if-unmodified-since', lastModified] as const]
  ]
}

/**
 * Whether the object has the new envelope. False when it was overwritten since: then it is examined again.
 * @throws S3Error SealgateIntegrityError when the store shows the new envelope on another body.
 */
async function stands({ bucket }: RewrapJob, { key, headers }: Found, { envelope, etag }: Copied): Promise<boolean> {
  const now = await bucket.head(key)
  if (now?.get(ENVELOPE_HEADER) !== envelope) return false
  if (storedBytes(now) !== storedBytes(headers) || unquoteEtag(now.get('etag') ?? '') !== unquoteEtag(etag)) {
    throw new S3Error('SealgateIntegrityError', { message: 'After the copy the store shows another body than before.' })
  }
  return true
}

type Due = Extract<Verdict, { kind: 'rewrap' }>

/**
 * The metadata entries under the target key. Where the target can re-encrypt the wrap itself, the bucket key is never seen here and the box stays.
 * Otherwise the data key is unwrapped and sealed under a bucket key of the target. Attributes and metadata digest are unchanged in both cases.
 * @throws S3Error of the key providers; SealgateIntegrityError for an envelope that cannot be opened.
 */
async function newEnvelope(headers: HeaderList, { from, to, keyId }: Due, at: EnvelopePlace, use: KeyUse): Promise<Header[]> {
  try {
    const { envelope, place, context } = storedEnvelope(headers, at)
    const encoded = headers.get(CONTEXT_HEADER)
    const wrapped = { keyId, blob: envelope.blob }
    const own: Header[] = encoded === undefined ? [] : [[CONTEXT_HEADER, encoded]]
    if (to.provider.rewraps(keyId)) {
      const renewed = await to.provider.rewrap(wrapped, context, context, use)
      return [[KEY_ID_HEADER, renewed.keyId], [ENVELOPE_HEADER, replaceBlob(envelope, renewed.blob)], ...own]
    }
    const opened = openEnvelope(envelope, await from.provider.unwrap(wrapped, context, use), place)
    const fresh = await to.provider.generate(context, use)
    return [[KEY_ID_HEADER, fresh.wrapped.keyId], [ENVELOPE_HEADER, reseal(envelope, opened, fresh, place)], ...own]
  } catch (error) {
    if (error instanceof EnvelopeError) throw new S3Error('SealgateIntegrityError', { message: 'The envelope could not be verified.', cause: error })
    throw error
  }
}

function reseal(
  { scope }: Envelope,
  { dataKey, shape, attributes }: OpenedEnvelope,
  { key, wrapped }: Awaited<ReturnType<Due['to']['provider']['generate']>>,
  place: Place
): string {
  return sealEnvelope({ kek: key, blob: wrapped.blob, scope, dataKey, place, shape, attributes })
}
