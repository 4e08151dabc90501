import type { Place } from '../envelope/envelope.ts'
import type { Upstream } from '../upstream/types.ts'
import type { StateBucket, StateEntry } from '../store-client/state-bucket.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { parseUploadRecord, uploadHash, type UploadRecord } from '../envelope/upload-records.ts'
import { bucketKinds, isCheckBucket, kindBucket } from '../config/config.ts'
import { S3Error } from '../errors.ts'
import { childOf, childrenOf, childText, parseXml, upstreamDocument } from '../s3/xml.ts'
import { MOST_ROWS } from '../s3/page-turns.ts'
import { BucketClient, type Sent } from '../store-client/bucket-client.ts'
import { holdOff, PROBE_PREFIX } from '../store-client/probe-place.ts'
import { COMMAND_UPLOADS_PREFIX, UPLOADS_PREFIX } from '../store-client/state-names.ts'
import { abort, readNote } from '../store-client/upload-notes.ts'

export interface Collection {
  readonly state: StateBucket
  readonly stateBucket: string
  readonly upstream: Upstream
  /** Realm of this configuration: records of another realm in the same bucket belong to others. */
  readonly realm: string
  /** Milliseconds since 1970: objects written after this are kept. */
  readonly olderThan: number
  /** Count, but remove nothing. */
  readonly dryRun: boolean
  readonly signal: AbortSignal
  /** Called once, with the counts as they grow. */
  readonly onCounts?: (counts: Collected) => void
}

/** Uploads are counted by the fate of their state, objects by what was removed. */
export interface Collected {
  /** Uploads that the store still knows, or that have changed recently: kept. */
  live: number
  /** Uploads whose state is not known: another realm, other credentials, a record that does not parse. Kept. */
  unknown: number
  /** Uploads that have ended. */
  dead: number
  /** Objects, and uploads of probes, removed, or that would be. */
  removed: number
  /** Objects, uploads and buckets that the store refused to remove. */
  failed: number
  /** Buckets of interrupted runs of `store check` that were removed. */
  buckets: number
}

/**
 * Removes from the state bucket what belongs to no upload that the store knows and is older than the grace period (docs/FORMAT.md, Multipart state).
 * The record of an upload is removed last, so that the next run completes an interrupted one.
 */
export async function collectGarbage(collection: Collection): Promise<Collected> {
  const collected: Collected = { live: 0, unknown: 0, dead: 0, removed: 0, failed: 0, buckets: 0 }
  collection.onCounts?.(collected)
  // Before what is kept for sealed uploads: that of an aborted one is over then.
  await abortLeftUploads(collection, collected)
  for await (const entries of uploads(collection.state)) await collectUpload(collection, entries, collected)
  for await (const page of collection.state.list(PROBE_PREFIX, { mostRows: Number.POSITIVE_INFINITY })) {
    await remove(collection, page.filter(({ lastModified }) => isOld(lastModified, collection)).map(({ key }) => key), collected)
  }
  await sweepUploads(collection, new BucketClient(collection.upstream, collection.stateBucket, collection.signal), collected)
  for (const name of bucketKinds.map((kind) => kindBucket(collection.stateBucket, kind))) await sweepProbes(collection, name, collected)
  await removeCheckBuckets(collection, collected)
  return collected
}

/** Uploads of commands that were killed and not run again. A command that goes on renews its note every minute. */
async function abortLeftUploads(collection: Collection, collected: Collected): Promise<void> {
  const { upstream, stateBucket, signal, state, dryRun } = collection
  const bucket = new BucketClient(upstream, stateBucket, signal)
  for await (const page of state.list(COMMAND_UPLOADS_PREFIX, { mostRows: Number.POSITIVE_INFINITY })) {
    for (const { key: name } of page.filter(({ lastModified }) => isOld(lastModified, collection))) {
      const note = await readNote(bucket, name)
      const gone = dryRun || note === null || await abort(new BucketClient(upstream, note.bucket, signal), note.key, note.uploadId)
      if (gone) await remove(collection, [name], collected)
      else collected.failed += 1
    }
  }
}

/** What interrupted probes have left in a bucket of the gateway's own: objects with their versions and markers, and uploads, a page of each. */
async function sweepProbes(collection: Collection, name: string, collected: Collected): Promise<void> {
  const bucket = new BucketClient(collection.upstream, name, collection.signal)
  // A store without versions refuses to list them.
  const removable = await probeRows(bucket, ['versions', null]) ?? await probeRows(bucket, ['list-type', '2']) ?? []
  await removeOld(collection, bucket, removable, collected)
  await sweepUploads(collection, bucket, collected)
}

/** S3 keeps an upload until it is aborted. */
async function sweepUploads(collection: Collection, bucket: BucketClient, collected: Collected): Promise<void> {
  await removeOld(collection, bucket, await probeRows(bucket, ['uploads', null]) ?? [], collected)
}

/** What a row of a listing is removed by, and when it was written, in milliseconds since 1970; NaN when the store does not say. */
interface ProbeRow {
  readonly sent: Pick<Sent, 'key' | 'query'>
  readonly modified: number
  /** Takes a legal hold off a version; null: the row is none. */
  readonly held: Sent | null
}

const probeRowNames: ReadonlySet<string> = new Set(['Contents', 'Version', 'DeleteMarker', 'Upload'])

/** The rows of probes on the first page of a listing, whatever else the store lists; null where it refuses. */
async function probeRows(bucket: BucketClient, listing: readonly [string, string | null]): Promise<readonly ProbeRow[] | null> {
  const listed = await bucket.answer({ method: 'GET', query: [listing, ['prefix', PROBE_PREFIX]], retry: true }, upstreamDocument.maxBytes)
  if (listed.status !== 200) return null
  const xml = parseXml(listed.body, upstreamDocument)
  return xml.root.children.filter(({ name }) => probeRowNames.has(name)).flatMap((row): ProbeRow[] => {
    const key = childText(xml, row, 'Key') ?? ''
    if (!key.startsWith(PROBE_PREFIX)) return []
    const ids = [['versionId', childText(xml, row, 'VersionId')], ['uploadId', childText(xml, row, 'UploadId')]] as const
    const query = ids.flatMap(([name, id]) => id === null ? [] : [[name, id] as const])
    const version = ids[0][1]
    const held = row.name === 'Version' && version !== null ? holdOff(key, version) : null
    return [{ sent: { key, query }, held, modified: Date.parse(childText(xml, row, row.name === 'Upload' ? 'Initiated' : 'LastModified') ?? '') }]
  })
}

async function removeOld(collection: Collection, bucket: BucketClient, rows: readonly ProbeRow[], collected: Collected): Promise<void> {
  const remove = async (sent: ProbeRow['sent']): Promise<boolean> => (await bucket.answer({ method: 'DELETE', ...sent, retry: true })).status < 300
  for (const { sent, held } of rows.filter(({ modified }) => isOld(modified, collection))) {
    const gone = collection.dryRun || await remove(sent) ||
      // A run of `store check` that was killed may have left a legal hold.
      (held !== null && (await bucket.answer(held)).status < 300 && await remove(sent))
    collected[gone ? 'removed' : 'failed'] += 1
  }
}

/** Buckets that a run of `store check` could not remove: only what lies under `probe/` is removed, so that one that is used otherwise stays. */
async function removeCheckBuckets(collection: Collection, collected: Collected): Promise<void> {
  const { upstream, signal, stateBucket } = collection
  const listed = await new BucketClient(upstream, stateBucket, signal).answer({ method: 'GET', bucket: null, retry: true }, upstreamDocument.maxBytes)
  // Without the right to list buckets there is none to find.
  if (listed.status !== 200) return
  const xml = parseXml(listed.body, upstreamDocument)
  const buckets = childOf(xml, xml.root, 'Buckets')
  for (const row of buckets === undefined ? [] : childrenOf(buckets, 'Bucket')) {
    const name = childText(xml, row, 'Name') ?? ''
    if (!isCheckBucket(stateBucket, name) || !isOld(Date.parse(childText(xml, row, 'CreationDate') ?? ''), collection)) continue
    await sweepProbes(collection, name, collected)
    const gone = collection.dryRun || (await new BucketClient(upstream, name, signal).answer({ method: 'DELETE', retry: true })).status < 300
    collected[gone ? 'buckets' : 'failed'] += 1
  }
}

/** The entries, grouped by upload. */
async function* uploads(state: StateBucket): AsyncGenerator<readonly StateEntry[]> {
  let current: StateEntry[] = []
  for await (const page of state.list(UPLOADS_PREFIX, { mostRows: Number.POSITIVE_INFINITY })) {
    for (const entry of page) {
      if (current.length > MOST_ROWS) throw new S3Error('SealgateBadUpstream', { message: 'The store gives one upload more records than it can have.' })
      const first = current[0]
      if (first !== undefined && directoryOf(first.key) !== directoryOf(entry.key)) {
        yield current
        current = []
      }
      current.push(entry)
    }
  }
  if (current.length > 0) yield current
}

/** `uploads/<hash>/`. */
function directoryOf(key: string): string {
  return key.slice(0, key.indexOf('/', UPLOADS_PREFIX.length) + 1)
}

/** A time that cannot be parsed never counts as old. */
function isOld(lastModified: number, { olderThan }: Collection): boolean {
  return lastModified < olderThan
}

async function collectUpload(collection: Collection, entries: readonly StateEntry[], collected: Collected): Promise<void> {
  if (!entries.every(({ lastModified }) => isOld(lastModified, collection))) {
    collected.live += 1
    return
  }
  const isRecord = (key: string): boolean => key === `${directoryOf(key)}upload`
  const keys = entries.map(({ key }) => key)
  const fate = await status(collection, directoryOf(keys[0] ?? ''), keys.some(isRecord))
  collected[fate] += 1
  if (fate !== 'dead') return
  await remove(collection, [...keys.filter((key) => !isRecord(key)), ...keys.filter(isRecord)], collected)
}

type Fate = 'live' | 'unknown' | 'dead'

async function status(collection: Collection, directory: string, listed: boolean): Promise<Fate> {
  const body = await collection.state.get(`${directory}upload`)
  // Without its record an upload cannot continue. One that is listed and has no record may just have been created: left to the next run.
  if (body === null) return listed ? 'unknown' : 'dead'
  const record = parsed(body)
  if (record === null) return 'unknown'
  const { bucket, objectKey, uploadId } = record.names
  const place: Place = { realm: collection.realm, bucket, objectKey }
  if (`${UPLOADS_PREFIX}${uploadHash(place, uploadId).toString('hex')}/` !== directory) return 'unknown'
  return askStore(collection, place, uploadId)
}

function parsed(body: Buffer): UploadRecord | null {
  try {
    return parseUploadRecord(body)
  } catch (error) {
    if (error instanceof EnvelopeError) return null
    throw error
  }
}

/** An upload has ended only when the store's error says that there is no such upload or bucket. */
async function askStore({ upstream, signal }: Collection, { bucket, objectKey }: Place, uploadId: string): Promise<Fate> {
  const { status, error } = await new BucketClient(upstream, bucket, signal).answer({
    method: 'GET',
    key: objectKey,
    query: [['uploadId', uploadId], ['max-parts', '1']],
    retry: true
  })
  if (status === 200) return 'live'
  return status === 404 && (error?.code === 'NoSuchUpload' || error?.code === 'NoSuchBucket') ? 'dead' : 'unknown'
}

async function remove({ state, dryRun }: Collection, keys: readonly string[], collected: Collected): Promise<void> {
  const failed = dryRun ? 0 : await state.remove(keys)
  collected.removed += keys.length - failed
  collected.failed += failed
}
