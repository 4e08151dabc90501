import type { PartRecord } from '../../envelope/upload-records.ts'
import type { OperationContext } from '../context.ts'
import type { StateBucket } from '../../store-client/state-bucket.ts'
import type { Upload } from './upload.ts'
import { attemptEtag, openPartRecord, sealPartRecord } from '../../envelope/upload-records.ts'
import { EnvelopeError } from '../../envelope/encoding.ts'
import { afterPartRecords, parsePartRecordName, partRecordName, partRecordsPrefix } from '../../store-client/state-names.ts'
import { stateBucketOf } from './upload.ts'

/** A successful attempt at a part, with the time at which the store took its record. */
export interface Attempt extends PartRecord {
  /** As clients see it, without quotes. */
  readonly etag: string
  /** Milliseconds since 1970, by the store's clock, which has whole seconds. */
  readonly lastModified: number
  /** The same, by the clock of the instance that took the part. */
  readonly time: number
}

/**
 * The ETag of a part as clients see it, without quotes: the plaintext MD5, or a name of this attempt. It does not depend on the store, so the ETag in
 * a client's Complete identifies exactly what it sent (docs/MULTIPART-STATE.md).
 */
export function visiblePartEtag(record: Pick<PartRecord, 'md5' | 'header'>): string {
  return record.md5 === null ? attemptEtag(record.header) : record.md5.toString('hex')
}

/** Records a part that the store has: it is answered with 200 only after this. */
export async function writePartRecord(state: StateBucket, upload: Upload, record: PartRecord): Promise<void> {
  const name = partRecordName(upload.hash, record.number, Date.now(), sealPartRecord(upload.dataKey, upload.hash, record))
  await state.put(name, Buffer.alloc(0), false)
}

/** The contents of an upload's records. */
export interface RecordedParts {
  /** By part number. Of attempts kept in the state bucket only the newest: they are so cheap that a client may make any number. */
  readonly attempts: ReadonlyMap<number, readonly Attempt[]>
  /** The highest number that clients have sent to the store; 0 when none. */
  readonly highestUpstream: number
}

/**
 * The attempts at parts, in order of part number.
 * @param options.after only part numbers above this one.
 * @param options.enough stops once so many numbers are complete.
 * @param options.named the ETag to look for by number, without quotes; absent: all.
 */
export async function readPartRecords(
  ctx: OperationContext,
  upload: Upload,
  options: { readonly after?: number; readonly enough?: number; readonly named?: ReadonlyMap<number, string> } = {}
): Promise<RecordedParts> {
  const { after = 0, enough = Number.POSITIVE_INFINITY, named } = options
  const attempts = new Map<number, Attempt[]>()
  let highestUpstream = 0
  const prefix = partRecordsPrefix(upload.hash)
  for await (const page of stateBucketOf(ctx).list(prefix, { after: after === 0 ? null : afterPartRecords(upload.hash, after) })) {
    for (const { key, lastModified } of page) {
      const { time, sealed } = parsePartRecordName(key)
      const record = openNamed(ctx, upload, sealed)
      if (record === null) continue
      const attempt = { ...record, etag: visiblePartEtag(record), lastModified, time }
      if (!attempt.inline) highestUpstream = Math.max(highestUpstream, attempt.number)
      if (named === undefined || named.get(attempt.number) === attempt.etag) keep(attempts, attempt)
    }
    // The last number of a page may continue on the next page.
    if (attempts.size > enough) break
  }
  return { attempts, highestUpstream }
}

function keep(attempts: Map<number, Attempt[]>, attempt: Attempt): void {
  const others = attempts.get(attempt.number) ?? []
  const [first] = others
  // The attempt kept in the state bucket stands first: a search for it among all would cost the square of their number.
  if (!attempt.inline) others.push(attempt)
  else if (first?.inline === true) others[0] = newer(first, attempt)
  else others.unshift(attempt)
  attempts.set(attempt.number, others)
}

/** Of two attempts at one part the later one; the first where that is not known. */
export function newer(a: Attempt, b: Attempt): Attempt {
  const later = a.lastModified === b.lastModified ? b.time > a.time : b.lastModified > a.lastModified
  return later ? b : a
}

/** A name that is not a record of this upload is counted and skipped. A part that it hides is then missing, and never replaced by another. */
function openNamed(ctx: OperationContext, upload: Upload, name: string): PartRecord | null {
  try {
    return openPartRecord(upload.dataKey, upload.hash, name)
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error
    ctx.services.integrityFailure(error.kind)
    return null
  }
}
