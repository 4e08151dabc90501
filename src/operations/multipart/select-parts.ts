import type { CompletedPart } from '../../s3/documents.ts'
import type { Execution } from '../context.ts'
import type { Attempt, RecordedParts } from './part-records.ts'
import type { HeldPart } from './upstream-parts.ts'
import type { Upload } from './upload.ts'
import { MAX_PARTS, MIN_PART_SIZE, storedPartSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { algorithmOfHeader, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../../http/checksums.ts'
import { header } from '../context.ts'

/** What a Complete is judged by. */
export interface Known extends RecordedParts {
  /** `denied`: the store does not let them be listed, and no part was sent to it twice. */
  readonly held: ReadonlyMap<number, HeldPart> | 'denied'
}

/**
 * The attempts that the client's list names, in order. Each is one whose record opened under this upload's own key, and of
 * which the store says that it holds exactly this attempt; an older attempt, or a part of another upload, is an error.
 * @throws S3Error InvalidPart, EntityTooSmall.
 */
export function chooseParts(upload: Upload, listed: readonly CompletedPart[], known: Known): Attempt[] {
  return listed.map((part, i) => {
    const attempt = (known.attempts.get(part.partNumber) ?? []).find((one) => known.held === 'denied' ? one.etag === part.etag : fits(one, part, known.held.get(one.number)))
    if (attempt === undefined) throw invalidPart(upload, part)
    if (attempt.plaintextSize < MIN_PART_SIZE && i < listed.length - 1) {
      throw new S3Error('EntityTooSmall', {
        fields: {
          ProposedSize: String(attempt.plaintextSize), MinSizeAllowed: String(MIN_PART_SIZE),
          PartNumber: String(part.partNumber), ETag: part.etag
        }
      })
    }
    checkListedChecksums(upload, part, attempt)
    return attempt
  })
}

/** The same plaintext sent twice has one MD5 and two records: the store tells which attempt it kept. */
export function fits(attempt: Attempt, listed: CompletedPart, held: HeldPart | undefined): boolean {
  if (attempt.etag !== listed.etag) return false
  return attempt.inline || (held?.etag === attempt.upstreamEtag && sizeFits(attempt, held))
}

/** Whether what the store holds is as long as a stored try is: all tries at the same bytes are. */
export function sizeFits({ plaintextSize }: Attempt, { size }: HeldPart): boolean {
  return size === storedPartSize(plaintextSize)
}

function invalidPart(upload: Upload, part: CompletedPart): S3Error {
  return new S3Error('InvalidPart', { fields: { UploadId: upload.id, PartNumber: String(part.partNumber), ETag: part.etag } })
}

/**
 * Checksums in the list must be those of the parts. AWS demands them all where the upload is of type COMPOSITE; here those that are
 * missing are the ones that were verified when the parts came (docs/decisions/0036).
 */
function checkListedChecksums(upload: Upload, part: CompletedPart, { checksum }: Attempt): void {
  for (const [algorithm, value] of Object.entries(part.checksums)) {
    if (checksum?.algorithm !== algorithm || checksum.value.toString('base64') !== value) throw invalidPart(upload, part)
  }
}

/**
 * The part number of the tail: that of a small last part, which the tail goes behind; else the one after all that clients have
 * sent to the store, so that no part is overwritten however the Complete ends.
 */
export function tailNumber(parts: readonly Attempt[], { highestUpstream }: RecordedParts): number {
  const last = parts.at(-1)
  if (last?.inline === true) return last.number
  // Behind a part 10,000 there is no number: uploadPart accepts none that would come to lie upstream.
  return Math.min(highestUpstream + 1, MAX_PARTS)
}

/** `x-amz-mp-object-size`, in plaintext bytes. @throws S3Error InvalidRequest when it is not the sum of the parts. */
export function checkObjectSize(x: Execution, size: number): void {
  const said = header(x, 'x-amz-mp-object-size')
  if (said === undefined || said === String(size)) return
  throw new S3Error('InvalidRequest', {
    message: `The provided 'x-amz-mp-object-size' header value ${said} does not match what was computed: ${size}`
  })
}

/** The checksum of the object that a Complete declares. `-N` of a composite one may be there or not. */
export interface DeclaredChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly value: string
}

/** @throws S3Error InvalidRequest when there is more than one, or one of an algorithm that is not computed here. */
export function declaredChecksum(x: Execution): DeclaredChecksum | null {
  const found = [...x.request.headers].flatMap(([name, value]) => {
    const named = algorithmOfHeader(name)
    return named === null ? [] : [{ algorithm: requireChecksumAlgorithm(named), value }]
  })
  if (found.length > 1) throw new S3Error('InvalidRequest', { message: 'Expecting a single x-amz-checksum- header.' })
  return found[0] ?? null
}
