// Where the rows of a run come from: a listing, the history of versions, or a list of names.
import type { Readable } from 'node:stream'
import type { BucketClient } from '../store-client/bucket-client.ts'
import type { Row } from './engine.ts'
import { createInterface } from 'node:readline'

/** Rows of a page that is made of single rows. */
const PAGE = 1000

interface Listed {
  readonly key: string
  readonly versionId: string | null
  readonly size: number | null
  readonly etag: string | null
  readonly lastModified: string | null
  readonly storageClass: string | null
}

function rowOf({ key, versionId, size, etag, lastModified, storageClass }: Listed, isLatest: boolean, deleteMarker: boolean): Row {
  const modified = Date.parse(lastModified ?? '')
  return { key, versionId, isLatest, deleteMarker, size, etag, lastModified: Number.isNaN(modified) ? null : modified, storageClass }
}

/** The current objects under a prefix, in the order of their keys. */
export async function* currentObjects(bucket: BucketClient, prefix: string): AsyncGenerator<readonly Row[]> {
  for await (const page of bucket.objects(prefix)) yield page.map((row) => rowOf(row, true, false))
}

/**
 * Every version and delete marker under a prefix; of a bucket that never kept versions its objects, because versitygw lists no versions there.
 * @throws S3Error the store's error.
 */
export async function* allVersions(bucket: BucketClient, prefix: string): AsyncGenerator<readonly Row[]> {
  if (!await bucket.hasVersions()) {
    yield* currentObjects(bucket, prefix)
    return
  }
  for await (const page of bucket.history(prefix)) yield page.map((row) => rowOf(row, row.isLatest, row.deleteMarker))
}

/**
 * Names in UTF-8, one a line; behind a tab the id of a version may follow. A line of a report in JSON names its object as well, so that a report can be
 * gone through again, and names with tabs and line ends can be written. Empty lines are passed over.
 */
export async function* namedObjects(lines: Readable): AsyncGenerator<readonly Row[]> {
  let page: Row[] = []
  for await (const line of createInterface({ input: lines, crlfDelay: Infinity })) {
    const { key, versionId } = namedIn(line)
    if (key === '') continue
    page.push(rowOf({ key, versionId, size: null, etag: null, lastModified: null, storageClass: null }, versionId === null, false))
    if (page.length < PAGE) continue
    yield page
    page = []
  }
  yield page
}

function namedIn(line: string): { readonly key: string; readonly versionId: string | null } {
  if (line.startsWith('{"')) {
    try {
      const { key, versionId } = JSON.parse(line) as Readonly<Record<string, unknown>>
      if (typeof key === 'string') return { key, versionId: typeof versionId === 'string' ? versionId : null }
    } catch {
      // A name that only begins like JSON.
    }
  }
  const [key = '', versionId = null] = line.split('\t')
  return { key, versionId }
}

/** Number of objects under a prefix, and of their older versions. */
export interface BucketCount {
  readonly objects: number
  /** Versions that are not current: their keys stay as they are. */
  readonly noncurrent: number
}

export async function countObjects(bucket: BucketClient, prefix: string, versioned: boolean): Promise<BucketCount> {
  let objects = 0
  let noncurrent = 0
  if (!versioned) {
    for await (const page of bucket.objects(prefix)) objects += page.length
    return { objects, noncurrent }
  }
  for await (const page of allVersions(bucket, prefix)) {
    const versions = page.filter(({ deleteMarker }) => !deleteMarker)
    const current = versions.filter(({ isLatest }) => isLatest).length
    objects += current
    noncurrent += versions.length - current
  }
  return { objects, noncurrent }
}

/** Versions of exactly this name, without the one given. */
export async function* olderVersions(bucket: BucketClient, key: string, current: string): AsyncGenerator<Row> {
  for await (const page of bucket.history(key)) {
    for (const { lastModified, ...row } of page) {
      // A store lists names in order: behind the name itself come those that it begins.
      if (row.key !== key) return
      if (row.isLatest || row.deleteMarker || row.versionId === null || row.versionId === current) continue
      const modified = Date.parse(lastModified ?? '')
      yield { ...row, lastModified: Number.isNaN(modified) ? null : modified }
    }
  }
}
