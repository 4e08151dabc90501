// Uploads in parts that are neither completed nor aborted: the store has their parts, which no listing of objects shows.
import { parallelMap } from '../concurrency/parallel.ts'
import { EnvelopeError } from '../envelope/encoding.ts'
import { openUploadRecord, parseUploadRecord, uploadHash } from '../envelope/upload-records.ts'
import { S3Error } from '../errors.ts'
import { listingField, readListing, type ListingRow } from '../s3/listing-rows.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { uploadRecordName } from '../store-client/state-names.ts'
import { noteName } from '../store-client/upload-notes.ts'
import type { ScanJob } from './classify.ts'

/** What an upload is. */
const kinds = ['sealed', 'noted', 'empty', 'plaintext', 'unknown'] as const
type Kind = (typeof kinds)[number]

/** Uploads by kind. */
export interface UnfinishedUploads extends Readonly<Record<Kind, number>> {
  readonly uploads: number
  /** More were not counted. */
  readonly more: boolean
}

/** Uploads that are counted. */
const MOST_UPLOADS = 10_000
const PARALLEL = 16

/**
 * Counts uploads. `sealed`: its record in the state bucket opens, so it was begun through the gateway. `noted`: begun by the gateway itself or a command,
 * by a note that proves nothing. `empty`: neither, and without parts. `plaintext`: neither, with parts: it was begun past the gateway. `unknown`: its
 * record does not open, or the store did not answer.
 * @param state the state bucket.
 * @returns null where the store does not list uploads.
 */
export async function countUploads(job: ScanJob, state: BucketClient, prefix: string): Promise<UnfinishedUploads | null> {
  const counts = { uploads: 0, more: false, sealed: 0, noted: 0, empty: 0, plaintext: 0, unknown: 0 }
  const { signal } = job.bucket
  try {
    for await (const page of job.bucket.uploads(prefix)) {
      const found = await parallelMap(page, { limit: PARALLEL, signal }, (row, aborted) => kindOf(job, state.until(aborted), row, aborted))
      for (const kind of found) counts[kind] += 1
      counts.uploads += page.length
      if (counts.uploads >= MOST_UPLOADS) return { ...counts, more: true }
    }
    return counts
  } catch (error) {
    // Without the right, or without such a listing: a scan is still one.
    if (error instanceof S3Error && !signal.aborted) return null
    throw error
  }
}

async function kindOf(job: ScanJob, state: BucketClient, { key, uploadId }: ListingRow, signal: AbortSignal): Promise<Kind> {
  if (uploadId === null) return 'unknown'
  const place = { realm: job.realm, bucket: job.bucket.name, objectKey: key }
  try {
    const record = await storedIn(state, uploadRecordName(uploadHash(place, uploadId)))
    if (record !== null) {
      const { keyId, blob, scope, requestContext, ...rest } = parseUploadRecord(record)
      const use = { ...job.useFor(key, null), signal }
      const context = { realm: place.realm, bucket: place.bucket, objectKey: scope === 'bucket' ? null : key, requestContext }
      const kek = await job.keys.openerOf(keyId, job.pinsFor(key), use).provider.unwrap({ keyId, blob }, context, use)
      openUploadRecord({ keyId, blob, scope, requestContext, ...rest }, kek, place, uploadId)
      return 'sealed'
    }
    if (await storedIn(state, noteName({ bucket: place.bucket, key, uploadId })) !== null) return 'noted'
    return await hasParts(job.bucket.until(signal), key, uploadId) ? 'plaintext' : 'empty'
  } catch (error) {
    if (signal.aborted || !(error instanceof S3Error || error instanceof EnvelopeError)) throw error
    return 'unknown'
  }
}

/** null: there is none, or no such bucket. @throws S3Error of any other answer. */
async function storedIn(state: BucketClient, key: string): Promise<Buffer | null> {
  return state.documentOrNull({ method: 'GET', key, retry: true })
}

/** @throws S3Error of the store. */
async function hasParts(bucket: BucketClient, key: string, uploadId: string): Promise<boolean> {
  const document = await bucket.document({ method: 'GET', key, query: [['uploadId', uploadId], ['max-parts', '1']], retry: true })
  return readListing(document).length > 0 || listingField(document, 'IsTruncated') === 'true'
}

/** For people, behind the counts of a scan. */
export function uploadsNote(found: UnfinishedUploads | null): string {
  if (found === null) return 'Uploads in parts that are not completed are not known: the store does not list them.\n'
  if (found.uploads === 0) return ''
  const many = (count: number): string => count.toLocaleString('en')
  const parts = kinds.filter((kind) => found[kind] > 0).map((kind) => `${many(found[kind])} ${words[kind]}`)
  return `Uploads in parts that are not completed: ${many(found.uploads)}${found.more ? ' or more' : ''}: ${
    parts.join(', ')
  }. Their parts are stored and in no listing of objects.\n`
}

const words: Readonly<Record<Kind, string>> = {
  sealed: 'sealed',
  noted: 'of the gateway or a command itself',
  empty: 'without parts',
  plaintext: 'begun past the gateway, so plaintext',
  unknown: 'of which it is not known'
}
