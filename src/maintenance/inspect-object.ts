// `inspect`: what is known of one object, from its headers, its envelope, the end of its body and the list of its versions.
import type { HeaderList } from '../http/message.ts'
import { ENVELOPE_HEADER, parseEnvelope, type Checksum, type OpenedEnvelope } from '../envelope/envelope.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { openTail, type Manifest } from '../envelope/manifest.ts'
import { S3Error } from '../errors.ts'
import { unquoteEtag } from '../s3/conditions.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { examine, type ScanJob } from './classify.ts'
import type { Finding, KnownFinding } from './engine.ts'
import { faultOf, faults } from './faults.ts'
import { isLocked } from './verdict.ts'

export interface Inspected {
  readonly finding: KnownFinding
  /** Of an object that opens: this name is the one that it is bound to. */
  readonly seal: {
    /** The bucket that it is bound to: another one for a replica. */
    readonly bucket: string
    readonly kind: 'single' | 'multipart' | 'empty'
    /** Of the client's server-side encryption headers. */
    readonly sse: string
    /** False: its wrapped key is its own. */
    readonly bucketKey: boolean
    readonly metadataSealed: boolean
    readonly isPublic: boolean
    /** Names of checksums over the plaintext that are sealed with it. */
    readonly checksums: readonly string[]
    /** Of a multipart object; null: of another. */
    readonly parts: number | null
  } | null
  /** As the store says; null: it answers no HEAD. */
  readonly stored: {
    readonly etag: string | null
    /** By the ETag; null: not uploaded in parts, or an ETag that does not say. */
    readonly parts: number | null
    /** Names of the checksums of the stored bytes. */
    readonly checksums: readonly string[]
    readonly storageClass: string
    readonly encryption: string | null
    readonly tags: number
    readonly lock: { readonly mode: string | null; readonly until: string | null; readonly legalHold: boolean; readonly active: boolean }
  } | null
  readonly versions: Versions
}

interface Versions {
  readonly versions: number
  readonly deleteMarkers: number
  /** More were not counted. */
  readonly more: boolean
}

/** Bytes of the end of a body that are read: those of the list of 490 parts or more. */
const SUFFIX = 65_536
/** Versions that are counted. */
const MOST_VERSIONS = 10_000

/** @returns null when there is no such object. @throws S3Error the store's error. */
export async function inspectObject(job: ScanJob, key: string, versionId: string | null, signal: AbortSignal): Promise<Inspected | null> {
  const bucket = job.bucket.until(signal)
  const { isMarker, ...versions } = await versionsOf(bucket, key, versionId)
  const row = { key, versionId, isLatest: versionId === null, deleteMarker: isMarker, size: null, etag: null, lastModified: null, storageClass: null }
  const examined = await examine(job, row, signal)
  if (examined === null) return null
  const { finding, headers, opened } = examined
  const tail = headers === null || opened === null ? null : await tailOf(bucket, finding, headers, opened)
  if (tail instanceof EnvelopeError) {
    const fault = faultOf(tail.kind)
    return { finding: { ...finding, state: 'damaged', fault, detail: faults[fault] }, seal: null, stored: storedOf(headers), versions }
  }
  return { finding, seal: opened === null || headers === null ? null : sealOf(headers, opened, tail), stored: storedOf(headers), versions }
}

/** The manifest; null for an object without a body. @returns EnvelopeError for an end of a body that does not verify. */
async function tailOf(
  bucket: BucketClient,
  { key, versionId }: Finding,
  headers: HeaderList,
  { shape, dataKey }: OpenedEnvelope
): Promise<Manifest | EnvelopeError | null> {
  if (shape.kind === 'empty') return null
  const size = Number(headers.get('content-length'))
  try {
    // The footer says how long the list is: twice is enough, and a wrong footer cannot ask for ever.
    for (let [wanted, read] = [Math.min(size, SUFFIX), 0]; read < 2; read += 1) {
      const opened = openTail(await suffixOf(bucket, { key, versionId, headers, first: size - wanted, last: size - 1 }), size, dataKey, shape.kind)
      if (!('need' in opened)) return opened
      wanted = opened.need
    }
    return new EnvelopeError('footer')
  } catch (error) {
    if (error instanceof EnvelopeError) return error
    throw error
  }
}

interface Suffix {
  readonly key: string
  readonly versionId: string | null
  readonly headers: HeaderList
  readonly first: number
  readonly last: number
}

async function suffixOf(bucket: BucketClient, { key, versionId, headers, first, last }: Suffix): Promise<Buffer> {
  const etag = headers.get('etag')
  const { status, body, error } = await bucket.answer({
    method: 'GET',
    key,
    query: versionId === null ? [] : [['versionId', versionId]],
    headers: [['range', `bytes=${first}-${last}`], ...etag === undefined ? [] : [['if-match', etag] as const]],
    retry: true
  }, last - first + 1)
  if (status === 206 && body.length === last - first + 1) return body
  throw new S3Error('SealgateBadUpstream', { message: `The store answers ${status}${error === null ? '' : ` ${error.code}`} to a GET of the end of the body.` })
}

function sealOf(headers: HeaderList, { shape, attributes }: OpenedEnvelope, manifest: Manifest | null): NonNullable<Inspected['seal']> {
  const md5 = attributes.md5 !== null || (manifest !== null && manifest.md5 !== null)
  const checksums: readonly Checksum[] = [...attributes.checksums, ...manifest?.checksums ?? []]
  return {
    bucket: parseEnvelope(headers.get(ENVELOPE_HEADER) ?? '').bucket,
    kind: shape.kind,
    sse: attributes.sse.mode,
    bucketKey: attributes.sse.bucketKeyEnabled,
    metadataSealed: attributes.metadata.kind === 'sealed',
    isPublic: attributes.isPublic,
    checksums: [...md5 ? ['md5'] : [], ...checksums.map(({ algorithm, type }) => `${algorithm}${type === 'composite' ? ' of parts' : ''}`)],
    parts: manifest?.kind === 'multipart' ? manifest.parts.length : null
  }
}

function storedOf(headers: HeaderList | null): Inspected['stored'] {
  if (headers === null) return null
  const etag = unquoteEtag(headers.get('etag') ?? '')
  const parts = /^[0-9a-f]{32}-(\d{1,5})$/.exec(etag)?.[1]
  return {
    etag: etag === '' ? null : etag,
    parts: parts === undefined ? null : Number(parts),
    checksums: [...headers.names()].flatMap((name) => /^x-amz-checksum-(?!type$)(.+)$/.exec(name)?.[1] ?? []),
    storageClass: headers.get('x-amz-storage-class') ?? 'STANDARD',
    encryption: headers.get('x-amz-server-side-encryption') ?? null,
    tags: Number(headers.get('x-amz-tagging-count') ?? 0),
    lock: {
      mode: headers.get('x-amz-object-lock-mode') ?? null,
      until: headers.get('x-amz-object-lock-retain-until-date') ?? null,
      legalHold: headers.get('x-amz-object-lock-legal-hold') === 'ON',
      active: isLocked(headers, new Date())
    }
  }
}

/** Of exactly this name: names that it begins follow in the order of the listing. */
async function versionsOf(bucket: BucketClient, key: string, versionId: string | null): Promise<Versions & { readonly isMarker: boolean }> {
  const counted = { versions: 0, deleteMarkers: 0, more: false, isMarker: false }
  if (!await bucket.hasVersions()) return { ...counted, versions: 1 }
  for await (const page of bucket.history(key)) {
    const own = page.filter((row) => row.key === key)
    counted.versions += own.filter(({ deleteMarker }) => !deleteMarker).length
    const markers = own.filter(({ deleteMarker }) => deleteMarker)
    counted.deleteMarkers += markers.length
    counted.isMarker ||= markers.some((marker) => versionId === null ? marker.isLatest : marker.versionId === versionId)
    counted.more = counted.versions + counted.deleteMarkers >= MOST_VERSIONS
    if (own.length < page.length || counted.more) break
  }
  return counted
}
