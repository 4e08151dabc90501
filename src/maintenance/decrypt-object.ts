// The way out: one object, read as a client reads it, and written to a bucket that is not encrypted.
import { createHash, type Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Header, HeaderList } from '../http/message.ts'
import { S3Error } from '../errors.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import { keptSettings } from '../s3/names.ts'
import { renderXml } from '../s3/xml.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { describingHeaders, tagHeaders, tagsOf } from '../store-client/object-properties.ts'
import { stepOf } from './copy-in-parts.ts'
import { examine, type ScanJob } from './classify.ts'
import { withRetries, type Finding, type Row } from './engine.ts'
import { storedBytes } from './key-usage.ts'
import type { UploadJournal } from './upload-journal.ts'
import { chunksOf, isMd5, openBody, statedChecksums } from './verify-object.ts'

export interface DecryptJob extends ScanJob {
  /** The bucket as clients see it. */
  readonly sealed: BucketClient
  /** The bucket that gets the plaintext, at its store. */
  readonly target: BucketClient
  /** Of the target. */
  readonly journal: UploadJournal
  /** Bytes above which an object is uploaded in parts, and bytes of such a part. */
  readonly singleLimit: number
  readonly partSize: number
  /** Most parts that the target's store accepts in one upload. */
  readonly maxParts: number
  /** Milliseconds by which the dates of source and target may be wrong against each other. */
  readonly clockMs: number
}

/** States of objects that no body can be read of here. */
const closed: ReadonlySet<string> = new Set(['sse-c', 'archived', 'damaged', 'sealed-elsewhere', 'delete-marker'])

/**
 * Writes the plaintext of the current object of a name to the target, under the same name, and reads it back. Objects that Sealgate did not encrypt are
 * copied as they are. One that is there already, with the same size and metadata and written later, counts as done.
 * @returns null when there is no such object any more. @throws S3Error of either store.
 */
export async function decryptObject(job: DecryptJob, row: Row, signal: AbortSignal): Promise<Finding | null> {
  return withRetries(async () => {
    const examined = await examine(job, { ...row, versionId: null }, signal)
    if (examined === null) return null
    const { finding, headers } = examined
    if (headers === null || closed.has(finding.state)) return { ...finding, outcome: `left: ${finding.state}` }
    const outcome = finding.state === 'sealed' ? 'decrypted' : 'copied'
    // The gateway shows no checksums of what it did not write.
    const from = outcome === 'decrypted' ? job.sealed : job.bucket
    const shown = await headOf(from.until(signal), row.key)
    if (shown === null) return null
    const size = storedBytes(shown)
    const described = [...describingHeaders(shown).filter(([name]) => !settings.has(name)), ...settingsOf(headers)]
    const there = await headOf(job.target.until(signal), row.key)
    if (there !== null && isThere(there, shown, described, job.clockMs)) return { ...finding, size, outcome: 'done before' }
    const tags = await tagsOf(job.bucket.until(signal), row.key, null)
    const object: Outgoing = {
      from: from.until(signal),
      key: row.key,
      size,
      etag: shown.get('etag') ?? '',
      shown,
      headers: [...described, ...tagHeaders(tags)]
    }
    const sha256 = size > job.singleLimit ? await uploadParts(job, object, signal) : await upload(job, object, signal)
    await readBack(job.target.until(signal), object, sha256)
    return { ...finding, size, outcome }
  }, signal)
}

/** With checksums; null: there is none. @throws S3Error of another answer. */
async function headOf(bucket: BucketClient, key: string): Promise<HeaderList | null> {
  const { status, headers } = await bucket.answer({ method: 'HEAD', key, headers: [['x-amz-checksum-mode', 'ENABLED']], retry: true })
  if (status === 404) return null
  if (status !== 200) throw new S3Error('SealgateBadUpstream', { code: `Status${status}`, status, message: `HEAD answers ${status}` })
  return headers
}

const settings: ReadonlySet<string> = new Set(keptSettings)

/** What the store acts on: the gateway shows clients no redirect. */
function settingsOf(headers: HeaderList): Header[] {
  return [...headers.names()].filter((name) => settings.has(name)).map((name): Header => [name, headers.get(name) ?? ''])
}

interface Outgoing {
  /** Where it is read. */
  readonly from: BucketClient
  readonly key: string
  readonly size: number
  /** As it is shown there, in quotes. */
  readonly etag: string
  readonly shown: HeaderList
  readonly headers: readonly Header[]
}

/**
 * Whether a run before has written it: nothing but the object itself says so. MD5s or checksums decide where both sides state them; else the target
 * must be the later one, by more than dates can be wrong. Otherwise it is written again, which costs only time.
 */
function isThere(target: HeaderList, shown: HeaderList, described: readonly Header[], clockMs: number): boolean {
  if (storedBytes(target) !== storedBytes(shown)) return false
  if (!described.every(([name, value]) => name === 'x-amz-storage-class' || target.get(name) === value)) return false
  const [source = '', copy = ''] = [shown, target].map((headers) => unquoteEtag(headers.get('etag') ?? ''))
  if (isMd5(shown, source) && isMd5(target, copy)) return source === copy
  const stated = new Map(statedChecksums(target).map(({ algorithm, value }) => [algorithm, value]))
  const both = statedChecksums(shown).filter(({ algorithm }) => stated.has(algorithm))
  if (both.length > 0) return both.every(({ algorithm, value }) => stated.get(algorithm) === value)
  const [was, now] = [shown, target].map((headers) => Date.parse(headers.get('last-modified') ?? ''))
  return Number(now) >= Number(was) + clockMs
}

/** @returns the SHA-256 of what was sent, in hex. */
async function upload({ target }: DecryptJob, { from, key, size, etag, shown, headers }: Outgoing, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256')
  // The store compares it: bytes that were altered between here and there become no object.
  const checksum = statedChecksums(shown)[0]
  const source = await openBody(from, { key, versionId: null, ifMatch: etag })
  const sums: Header[] = checksum === undefined ? [] : [[`x-amz-checksum-${checksum.algorithm}`, checksum.value]]
  await send(target.until(signal), { key, query: [], headers: [...headers, ...sums], source, contentLength: size }, hash)
  return hash.digest('hex')
}

interface Put {
  readonly key: string
  readonly query: readonly (readonly [string, string])[]
  readonly headers: readonly Header[]
  readonly source: Awaited<ReturnType<typeof openBody>>
  readonly contentLength: number
}

/** Sends a body on, and adds it to a hash. @throws S3Error the store's error; that of a body that breaks off. */
async function send(to: BucketClient, { source, ...put }: Put, hash: Hash): Promise<HeaderList> {
  let broken: unknown = null
  const hashed = async function*(): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of chunksOf(to, source)) {
        hash.update(chunk)
        yield chunk
      }
    } catch (error) {
      broken = error
      throw error
    }
  }
  const sent = Readable.from(hashed(), { objectMode: false })
  try {
    const { status, headers, error } = await to.answer({ method: 'PUT', ...put, body: sent, pool: 'data' })
    if (status === 200) return headers
    const code = error?.code ?? `Status${status}`
    throw new S3Error('SealgateBadUpstream', { code, status, message: `The target answers ${code}: ${error?.message ?? ''}` })
  } catch (error) {
    // The target is not to blame for a body that did not come.
    throw broken ?? error
  } finally {
    sent.destroy()
    source.body.destroy()
  }
}

/** One part after the other, so that one digest covers all: other objects go on meanwhile. @returns the SHA-256 of what was sent, in hex. */
async function uploadParts({ target, journal, partSize, maxParts }: DecryptJob, object: Outgoing, signal: AbortSignal): Promise<string> {
  const { from, key, size, etag, headers } = object
  const to = target.until(signal)
  const hash = createHash('sha256')
  const step = stepOf({ size, partSize, maxParts })
  await journal.upload(to, key, headers, async (uploadId) => {
    const parts: string[] = []
    for (let first = 0; first < size; first += step) {
      const last = Math.min(size, first + step) - 1
      const source = await openBody(from, { key, versionId: null, ifMatch: etag }, `bytes=${first}-${last}`)
      const query = [['partNumber', String(parts.length + 1)], ['uploadId', uploadId]] as const
      const answer = await send(to, { key, query, headers: [], source, contentLength: last - first + 1 }, hash)
      parts.push(answer.get('etag') ?? '')
    }
    const list = renderXml(['CompleteMultipartUpload', parts.map((part, i) => ['Part', [['PartNumber', String(i + 1)], ['ETag', part]]] as const)])
    return to.document({ method: 'POST', key, query: [['uploadId', uploadId]], headers: [['content-type', 'application/xml']], body: list })
  })
  return hash.digest('hex')
}

/** @throws S3Error SealgateIntegrityError where the target has other bytes than were sent. */
async function readBack(target: BucketClient, { key, size }: Outgoing, sent: string): Promise<void> {
  const opened = await openBody(target, { key, versionId: null })
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of chunksOf(target, opened)) {
    bytes += chunk.length
    hash.update(chunk)
  }
  if (hash.digest('hex') === sent && bytes === size) return
  throw new S3Error('SealgateIntegrityError', { message: 'The target does not have the bytes that were sent.' })
}
