import { setTimeout as delay } from 'node:timers/promises'
import type { CompletedPart } from '../../s3/documents.ts'
import { type Upload, noSuchUpload } from './upload.ts'
import type { Checksum } from '../../envelope/envelope.ts'
import { type OperationContext, type UploadContext, header } from '../context.ts'
import { type Attempt, type RecordedParts, readPartRecords } from './part-records.ts'
import { type HeldPart, listHeldParts, unlessDenied } from './upstream-parts.ts'
import { MAX_PARTS, MIN_PART_SIZE, storedPartSize } from '../../envelope/sizes.ts'
import { both } from '../../concurrency/parallel.ts'
import { S3Error } from '../../errors.ts'
import {
  combineCrc,
  compositeChecksum,
  invalidChecksumHeader,
  isCombinable,
  parseChecksum,
  singleChecksumHeader,
  type ChecksumAlgorithm
} from '../../http/checksums.ts'

/** What a Complete is checked against. */
export interface PartState extends RecordedParts {
  /** `denied`: the store does not allow the parts to be listed, and no part was sent to it twice. */
  readonly held: ReadonlyMap<number, HeldPart> | 'denied'
}

/**
 * The attempts that the client's list names, in order. The record of each opened under this upload's own key, and the store holds exactly this
 * attempt. An older attempt, or a part of another upload, is an error.
 * @throws S3Error InvalidPart, EntityTooSmall.
 */
export function selectParts(upload: Upload, listed: readonly CompletedPart[], known: PartState): Attempt[] {
  return listed.map((part, i) => {
    const attempt = chosen(part, known)
    if (attempt === undefined) throw invalidPart(upload, part)
    if (attempt.plaintextSize < MIN_PART_SIZE && i < listed.length - 1) {
      throw new S3Error('EntityTooSmall', {
        fields: {
          ProposedSize: String(attempt.plaintextSize),
          MinSizeAllowed: String(MIN_PART_SIZE),
          PartNumber: String(part.partNumber),
          ETag: part.etag
        }
      })
    }
    checkListedChecksums(upload, part, attempt)
    return attempt
  })
}

/** Of two attempts with the same plaintext the one that is upstream, because it need not be copied. */
function chosen(part: CompletedPart, { attempts, held }: PartState): Attempt | undefined {
  const tries = attempts.get(part.partNumber) ?? []
  if (held === 'denied') return tries.find(({ etag }) => etag === part.etag)
  const there = held.get(part.partNumber)
  return tries.findLast((one) => fits(one, part, there))
}

/** The same plaintext sent twice has one MD5 and two records: the store's ETag shows which attempt it kept. */
function fits(attempt: Attempt, listed: CompletedPart, held: HeldPart | undefined): boolean {
  if (attempt.etag !== listed.etag) return false
  return attempt.inline || (held?.etag === attempt.upstreamEtag && sizeFits(attempt, held))
}

/** Whether the store holds as many bytes as this attempt has: all attempts at the same plaintext have the same stored size. */
function sizeFits({ plaintextSize }: Attempt, { size }: HeldPart): boolean {
  return size === storedPartSize(plaintextSize)
}

function invalidPart(upload: Upload, part: CompletedPart): S3Error {
  return new S3Error('InvalidPart', { fields: { UploadId: upload.id, PartNumber: String(part.partNumber), ETag: part.etag } })
}

/**
 * Checksums in the list must be those of the parts. AWS demands all of them where the upload is of type COMPOSITE. Here a missing one was verified
 * when the part came (docs/decisions/0036).
 */
function checkListedChecksums(upload: Upload, part: CompletedPart, { checksum }: Attempt): void {
  for (const [algorithm, value] of Object.entries(part.checksums)) {
    if (checksum?.algorithm !== algorithm) {
      throw new S3Error('BadDigest', { message: `The ${algorithm} you specified for part ${part.partNumber} did not match what we received.` })
    }
    if (checksum.value.toString('base64') !== value) throw invalidPart(upload, part)
  }
}

/**
 * The part number of a tail that is a part of its own: the one after the last part and all that clients have sent to the store, so that no part is
 * overwritten whatever happens to the Complete.
 */
export function tailNumber(parts: readonly Attempt[], { highestUpstream }: RecordedParts): number {
  // No number is above the store's highest: a part is accepted there only where the tail needs no part of its own.
  return Math.min(Math.max(highestUpstream, parts.at(-1)?.number ?? 0) + 1, MAX_PARTS)
}

/** `x-amz-mp-object-size`, in plaintext bytes. @throws S3Error InvalidRequest when it is not the sum of the parts. */
export function checkObjectSize(ctx: OperationContext, size: number): void {
  const said = header(ctx, 'x-amz-mp-object-size')
  if (said === undefined || said === String(size)) return
  if (/^-\d+$/.test(said)) {
    throw new S3Error('InvalidRequest', { message: `Value for x-amz-mp-object-size header is less than zero: '${said}'` })
  }
  throw new S3Error('InvalidRequest', {
    message: `The provided 'x-amz-mp-object-size' header value ${said} does not match what was computed: ${size}`
  })
}

/** The checksum of the object that a Complete declares. `-N` of a composite one is optional. */
interface DeclaredChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly value: string
}

/** @throws S3Error InvalidRequest when there is more than one, one of an algorithm that is not computed here, or no digest; or for an unknown type. */
export function declaredChecksum(ctx: OperationContext): DeclaredChecksum | null {
  const type = header(ctx, 'x-amz-checksum-type')?.toUpperCase()
  if (type !== undefined && type !== 'COMPOSITE' && type !== 'FULL_OBJECT') throw invalidChecksumHeader('x-amz-checksum-type')
  const declared = singleChecksumHeader(ctx.request.headers, 1)
  if (declared === null) return null
  const { algorithm, name, text } = declared
  if (parseChecksum(algorithm, text.replace(/-\d{1,5}$/, '')) === null) throw invalidChecksumHeader(name)
  return { algorithm, value: text }
}

/** Milliseconds before each further check: together less than clients wait for an ordinary answer. */
const LOOK_AGAIN_MS = [250, 750, 2000]

/**
 * What the records and the store say of the parts in the client's list. A store that has just carried out an earlier attempt late holds a part whose
 * record is still being written: then both are read again.
 * @throws S3Error NoSuchUpload when the store knows no such upload.
 */
export async function readPartState(ctx: UploadContext, upload: Upload, listed: readonly CompletedPart[]): Promise<PartState> {
  const named = new Map(listed.map(({ partNumber, etag }) => [partNumber, etag]))
  for (let looks = 0;; looks += 1) {
    const [recorded, held] = await both(
      ctx.signal,
      (signal) => readPartRecords({ ...ctx, signal }, upload, { named }),
      (signal) => unlessDenied(listHeldParts({ ...ctx, signal }))
    )
    if (held === null) throw noSuchUpload(ctx)
    if (held === 'denied') return onRecordsAlone(ctx, upload, recorded, listed)
    const known = { ...recorded, held: held.parts }
    const pause = LOOK_AGAIN_MS[looks]
    if (pause === undefined || !listed.some((part) => lacksRecord(part, known))) return known
    // When the client disconnects, the next request to the store fails with the abort.
    await delay(pause, undefined, { signal: ctx.signal }).catch(() => undefined)
  }
}

/**
 * Where the store does not allow the parts to be listed, the records alone suffice if each part was sent to the store once: the store itself compares
 * the ETags of the Complete with what it holds.
 * @throws S3Error AccessDenied where only the list could show which attempt it kept, or what checksum it has.
 */
async function onRecordsAlone(ctx: OperationContext, upload: Upload, recorded: RecordedParts, listed: readonly CompletedPart[]): Promise<PartState> {
  const { attempts } = await readPartRecords(ctx, upload)
  const ambiguous = listed.some(({ partNumber }) => (attempts.get(partNumber) ?? []).filter(({ inline }) => !inline).length > 1)
  if (!ambiguous && upload.settings.storedChecksum === null) return { ...recorded, held: 'denied' }
  throw new S3Error('AccessDenied', {
    message: 'The store does not let the parts of this upload be listed (s3:ListMultipartUploadParts), and they are needed to complete it.'
  })
}

/**
 * Whether the store may hold another attempt at the same bytes. An opaque ETag names one attempt: its record exists, and no other attempt matches.
 */
function lacksRecord(part: CompletedPart, { attempts, held }: RecordedParts & { readonly held: ReadonlyMap<number, HeldPart> }): boolean {
  const there = held.get(part.partNumber)
  const tries = attempts.get(part.partNumber) ?? []
  if (there === undefined || tries.some((one) => fits(one, part, there))) return false
  return tries.some((one) => one.etag === part.etag && one.md5 !== null && sizeFits(one, there))
}

/**
 * The checksum of the finished object, from those of its parts: a digest of digests, or the CRCs combined into that of the whole (AWS, "Checking
 * object integrity"). Compared with what the request declares.
 * @param declared of `declaredChecksum`
 * @returns null when the upload was created without one.
 * @throws S3Error InvalidRequest for another type or algorithm than the upload's, BadDigest for another value.
 */
export function objectChecksum(
  ctx: OperationContext,
  { settings }: Upload,
  parts: readonly Attempt[],
  declared: DeclaredChecksum | null
): Checksum | null {
  const { checksumAlgorithm: algorithm, checksumType: type } = settings
  const named = header(ctx, 'x-amz-checksum-type')?.toUpperCase()
  if (named !== undefined && named !== typeName(type)) {
    throw new S3Error('InvalidRequest', {
      message: `The upload was created using the ${typeName(type)} checksum mode. The complete request must use the same checksum mode.`
    })
  }
  if (algorithm === null || type === null) {
    if (declared === null) return null
    throw new S3Error('InvalidRequest', {
      message: 'The upload was created without a checksum algorithm. The complete request must not give a checksum.'
    })
  }
  const values = parts.map(({ checksum }) => checksum?.algorithm === algorithm ? checksum.value : null).filter((value) => value !== null)
  // A part is stored only with the checksum of its upload.
  if (values.length !== parts.length) throw new S3Error('InternalError')
  const value = type === 'composite' ? compositeChecksum(algorithm, values) : combined(algorithm, parts, values)
  const text = value.toString('base64')
  const right = declared === null || (declared.algorithm === algorithm
    && (declared.value === text || (type === 'composite' && declared.value === `${text}-${parts.length}`)))
  if (!right) {
    throw new S3Error('BadDigest', { message: `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.` })
  }
  return { algorithm, type, value }
}

function typeName(type: Checksum['type'] | null): string {
  return type === null ? 'null' : type === 'full' ? 'FULL_OBJECT' : 'COMPOSITE'
}

function combined(algorithm: Checksum['algorithm'], parts: readonly Attempt[], values: readonly Buffer[]): Buffer {
  if (!isCombinable(algorithm)) throw new S3Error('InternalError')
  const [first = Buffer.alloc(0), ...rest] = values
  return rest.reduce((crc, next, i) => combineCrc(algorithm, crc, next, parts[i + 1]?.plaintextSize ?? 0), first)
}
