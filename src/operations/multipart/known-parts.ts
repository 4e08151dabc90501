import { setTimeout as delay } from 'node:timers/promises'
import type { CompletedPart } from '../../s3/documents.ts'
import type { Execution } from '../context.ts'
import type { Upload } from './upload.ts'
import { fits, sizeFits, type Known } from './select-parts.ts'
import type { HeldPart } from './upstream-parts.ts'
import { S3Error } from '../../errors.ts'
import { readPartRecords, type RecordedParts } from './part-records.ts'
import { listHeldParts, unlessDenied } from './upstream-parts.ts'

/** Milliseconds before each further look: together less than clients wait for an ordinary answer. */
const LOOK_AGAIN_MS = [250, 750, 2000]

/**
 * What the records and the store say of the parts in the client's list; null when the store knows no such upload. A store that has
 * just carried out an earlier try late holds a part whose record is being written: then both are looked at again.
 */
export async function lookAtParts(x: Execution, upload: Upload, listed: readonly CompletedPart[]): Promise<Known | null> {
  const named = new Map(listed.map(({ partNumber, etag }) => [partNumber, etag]))
  for (const pause of [...LOOK_AGAIN_MS, null]) {
    const [recorded, held] = await Promise.all([readPartRecords(x, upload, { named }), unlessDenied(listHeldParts(x))])
    if (held === null) return null
    if (held === 'denied') return onRecordsAlone(x, upload, recorded, listed)
    const known = { ...recorded, held: held.parts }
    if (pause === null || !listed.some((part) => lacksRecord(part, known))) return known
    // When the client goes away, the next request to the store says so.
    await delay(pause, undefined, { signal: x.request.request.signal }).catch(() => undefined)
  }
  return null
}

/**
 * Where the store does not let the parts be listed, records alone can choose as long as each part was sent to the store once: the store
 * itself compares the ETags of the Complete with what it holds.
 * @throws S3Error AccessDenied where only the list could tell which try it kept, or what checksum it has.
 */
async function onRecordsAlone(x: Execution, upload: Upload, recorded: RecordedParts, listed: readonly CompletedPart[]): Promise<Known> {
  const { attempts } = await readPartRecords(x, upload)
  const ambiguous = listed.some(({ partNumber }) => (attempts.get(partNumber) ?? []).filter(({ inline }) => !inline).length > 1)
  if (!ambiguous && upload.settings.storedChecksum === null) return { ...recorded, held: 'denied' }
  throw new S3Error('AccessDenied', {
    message: 'The store does not let the parts of this upload be listed (s3:ListMultipartUploadParts), and they are needed to complete it.'
  })
}

/**
 * Whether the store may hold another try at the same bytes. An opaque ETag names one try: of that one the record is there, and
 * no other would do.
 */
function lacksRecord(part: CompletedPart, { attempts, held }: RecordedParts & { readonly held: ReadonlyMap<number, HeldPart> }): boolean {
  const there = held.get(part.partNumber)
  const tries = attempts.get(part.partNumber) ?? []
  if (there === undefined || tries.some((one) => fits(one, part, there))) return false
  return tries.some((one) => one.etag === part.etag && one.md5 !== null && sizeFits(one, there))
}
