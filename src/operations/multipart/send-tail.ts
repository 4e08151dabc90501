import { createHash, type Hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { DataKey } from '../../envelope/data-key.ts'
import type { Checksum } from '../../envelope/envelope.ts'
import type { UploadSettings } from '../../envelope/upload-records.ts'
import type { ByteStage } from '../../http/stage.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { PartState } from './select-parts.ts'
import type { Attempt } from './part-records.ts'
import { type HeldPart, listHeldParts, unlessDenied } from './upstream-parts.ts'
import { type UploadContext, readerOf, send, storeHere } from '../context.ts'
import { type Upload, noSuchUpload, stateBucketOf } from './upload.ts'
import { parallelMap } from '../../concurrency/parallel.ts'
import { checkZeros } from '../../envelope/encoding.ts'
import { tailSealer, type MultipartContents } from '../../envelope/manifest.ts'
import { storedPartSize, streamSize, tailSize } from '../../envelope/sizes.ts'
import { SegmentOpener } from '../../envelope/stream.ts'
import { S3Error } from '../../errors.ts'
import { StagedReadable } from '../../http/stage.ts'
import { unquoteEtag } from '../../s3/conditions.ts'
import { listingField } from '../../s3/listing-rows.ts'
import { formatCopySource } from '../../s3/names.ts'
import { fieldOf } from '../../store-client/bucket-client.ts'
import { verified, verifiedSync } from '../objects/sealed-object.ts'
import { tailPartTeller } from '../objects/visible-etag.ts'
import { documentOf, errorOfDocument, expectSuccess } from '../responses.ts'
import { etagOf, sendPart } from './write-part.ts'
import { waitingPartName } from '../../store-client/state-names.ts'

/** A part in the list of the store's Complete. */
export interface UpstreamPart {
  readonly number: number
  /** Without quotes. */
  readonly etag: string
  /** Of the stored bytes, as the store returned it: name and content of its element; null where the upload has none. */
  readonly checksum: readonly [element: string, value: string] | null
}

export interface TailInput {
  readonly parts: readonly Attempt[]
  /** The parts that the store holds, by number; `denied` where it does not allow a listing. */
  readonly held: PartState['held']
  readonly checksum: Checksum | null
  /** 32 bytes, from completedListHash. */
  readonly listHash: Buffer
  /** Bytes of the tail that go behind a last part that waits; what is left is an upstream part of its own. */
  readonly room: number
  /** Part number of that one, from tailNumber. */
  readonly number: number
}

/** Most tails sealed until one gives the object an ETag that counts correctly; 64 are enough on average. */
const MOST_TAILS = 2048
/** Sealed without a pause; then other requests have a turn. */
const TAILS_AT_ONCE = 16
/** Parts that wait are sent so many at once. */
const PARALLEL_PARTS = 4

/**
 * Sends the parts that wait in the state bucket, and the sealed manifest: behind a last part that waits as far as there is room, else as a part of its
 * own.
 * @returns the parts of the store's own list.
 * @throws S3Error NoSuchKey when a part that waited was removed.
 */
export async function sendTail(ctx: UploadContext, upload: Upload, input: TailInput): Promise<UpstreamPart[]> {
  const { parts, held, room, number } = input
  const last = parts.at(-1)
  const waiting = last?.inline === true ? last : null
  const list = await sendWaiting(ctx, upload, waiting === null ? parts : parts.slice(0, -1), held)
  const etags = list.map(({ etag }) => etag)
  const contents = contentsOf(upload, input)
  // Elsewhere clients see MD5s of plaintext.
  const counts = upload.settings.etagMode === 'opaque'
  let rest: Buffer
  if (waiting === null) {
    rest = (await cutTail(upload.dataKey, contents, 0, counts ? { etags, last: () => [] } : null)).rest
  } else {
    const hash = counts ? createHash('md5') : null
    let cut: CutTail | null = null
    const bytes = Math.min(room, tailSize(parts.map(({ plaintextSize }) => plaintextSize)))
    list.push(
      await sendStored(ctx, upload, waiting, hash, bytes, async () => {
        cut = await cutTail(upload.dataKey, contents, room, hash === null ? null : { etags, last: (behind) => [hash.copy().update(behind).digest('hex')] })
        return cut.behind
      })
    )
    rest = (cut as CutTail | null)?.rest ?? Buffer.alloc(0)
  }
  if (rest.length === 0) return list
  const response = await sendPart(ctx, number, { body: rest, contentLength: rest.length, checksum: upload.settings.storedChecksum, retry: true })
  return [...list, answered(upload.settings.storedChecksum, number, await expectSuccess(ctx, response))]
}

/** The parts as the store's list names them. Those that wait are first sent under their numbers. */
async function sendWaiting(ctx: UploadContext, upload: Upload, parts: readonly Attempt[], held: PartState['held']): Promise<UpstreamPart[]> {
  // The state bucket belongs to the gateway alone: a client's own identity cannot copy from it.
  let copies = readerOf(ctx) === ''
  const copied: UpstreamPart[] = []
  const list = await parallelMap(parts, { limit: PARALLEL_PARTS, signal: ctx.signal }, async (part, signal) => {
    const { number, inline, upstreamEtag } = part
    if (!inline) {
      return { number, etag: upstreamEtag, checksum: checksumOf(upload.settings.storedChecksum, held === 'denied' ? undefined : held.get(number)) }
    }
    const copy = copies ? await copyStored({ ...ctx, signal }, upload, part) : null
    copies &&= copy !== null
    if (copy === null) return sendStored({ ...ctx, signal }, upload, part, null, 0, () => Promise.resolve(Buffer.alloc(0)))
    copied.push(copy)
    return copy
  })
  if (copied.length > 0) await checkCopies(ctx, copied, parts)
  return list
}

/** @returns null when the store does not copy it, for whatever reason: the transfer through the gateway then reports what is wrong. */
async function copyStored(ctx: UploadContext, upload: Upload, { number, header, plaintextSize }: Attempt): Promise<UpstreamPart | null> {
  const source = { bucket: storeHere(ctx).settings.stateBucket, key: waitingPartName(upload.hash, header), versionId: null }
  const response = await send(ctx, {
    method: 'PUT',
    query: [['partNumber', String(number)], ['uploadId', upload.id]],
    headers: [
      ['x-amz-copy-source', formatCopySource(source)],
      // A source that is shorter is refused.
      ['x-amz-copy-source-range', `bytes=0-${storedPartSize(plaintextSize) - 1}`]
    ],
    // Unlike a copy of an object, one more makes no other version, and a Complete need not start anew because one of thousands of connections broke.
    retry: true
  })
  const document = await documentOf(response)
  if (response.status >= 300 || errorOfDocument(document, response) !== null) return null
  const element = elementOf(upload.settings.storedChecksum)
  const value = element === null ? null : listingField(document, element)
  return { number, etag: unquoteEtag(fieldOf(document, 'ETag')), checksum: element === null || value === null ? null : [element, value] }
}

/** The answer to a copy does not say how much was copied. @throws S3Error SealgateBadUpstream */
async function checkCopies(ctx: UploadContext, copied: readonly UpstreamPart[], parts: readonly Attempt[]): Promise<void> {
  const held = await unlessDenied(listHeldParts(ctx))
  if (held === null) throw noSuchUpload(ctx)
  if (held === 'denied') return
  const sizes = new Map(parts.map(({ number, plaintextSize }) => [number, storedPartSize(plaintextSize)]))
  for (const { number, etag } of copied) {
    const there = held.parts.get(number)
    // If a part is missing or has another ETag, the store itself refuses the list.
    if (there?.etag === etag && there.size !== sizes.get(number)) throw new S3Error('SealgateBadUpstream')
  }
}

/**
 * Sends a part that waits from the state bucket to the store, with bytes behind it.
 * @param hash takes all stored bytes of the part before `behind` is asked; null: none is needed. @param bytes how many `behind` makes.
 */
async function sendStored(
  ctx: UploadContext,
  upload: Upload,
  part: Attempt,
  hash: Hash | null,
  bytes: number,
  behind: () => Promise<Buffer>
): Promise<UpstreamPart> {
  const size = storedPartSize(part.plaintextSize)
  const stored = await stateBucketOf(ctx).open(waitingPartName(upload.hash, part.header), size)
  const stage = new WaitingPart(upload.dataKey, part, hash, behind)
  const body = new StagedReadable(stored, [{
    update: (chunk) => verifiedSync(ctx, () => stage.update(chunk)),
    final: () => verified(ctx, () => stage.final())
  }], { destroySource: true })
  const response = await sendPart(ctx, part.number, { body, contentLength: size + bytes, checksum: upload.settings.storedChecksum })
  await expectSuccess(ctx, response)
  if (!body.readableEnded) throw new S3Error('SealgateBadUpstream')
  return answered(upload.settings.storedChecksum, part.number, response)
}

/**
 * A part on its way from the state bucket to the store. It passes unchanged, but its end only after the whole of it has opened, followed by what goes
 * behind it. So an upload is never completed with a part that passed through here and could not be read.
 */
class WaitingPart implements ByteStage {
  readonly #opener: SegmentOpener
  readonly #hash: Hash | null
  readonly #behind: () => Promise<Buffer>
  /** Stored bytes still to come before the zeros. */
  #missing: number
  #held: Buffer | null = null

  constructor(dataKey: DataKey, part: Attempt, hash: Hash | null, behind: () => Promise<Buffer>) {
    const { number, plaintextSize, header } = part
    this.#opener = new SegmentOpener({ streamKey: dataKey.stream, part: { kind: 'part', number, plaintextSize }, header })
    this.#missing = streamSize(plaintextSize)
    this.#hash = hash
    this.#behind = behind
  }

  /** @throws EnvelopeError `header`, `segment`, `zeros`. */
  update(chunk: Buffer): readonly Buffer[] {
    const stream = chunk.subarray(0, this.#missing)
    this.#missing -= stream.length
    this.#opener.update(stream)
    checkZeros(chunk.subarray(stream.length))
    this.#hash?.update(chunk)
    const before = this.#held
    this.#held = chunk
    return before === null ? [] : [before]
  }

  /** @throws EnvelopeError `truncated`. */
  async final(): Promise<readonly Buffer[]> {
    this.#opener.final()
    const behind = await this.#behind()
    return [this.#held ?? Buffer.alloc(0), behind].filter(({ length }) => length > 0)
  }
}

/** ETags of the stored parts before the rest of a tail. */
interface StoredEtags {
  readonly etags: readonly string[]
  /** Of the part that the tail begins behind, given what goes there; none where it begins none. */
  readonly last: (behind: Buffer) => readonly string[]
}

interface CutTail {
  readonly behind: Buffer
  readonly rest: Buffer
}

/**
 * Seals the manifest and cuts the tail. Every sealing gives another ciphertext. Where ETags are opaque, one is chosen with which the store's ETag will
 * say whether the last part is the gateway's own (docs/decisions/0033-parts-in-opaque-etags.md).
 * @param before null: any tail will do.
 */
async function cutTail(
  dataKey: DataKey,
  contents: MultipartContents,
  room: number,
  before: StoredEtags | null
): Promise<CutTail> {
  const seal = tailSealer(dataKey, contents)
  const says = tailPartTeller(before?.etags ?? [])
  for (let tails = 1;; tails += 1) {
    const tail = Buffer.concat(seal())
    const cut = { behind: tail.subarray(0, room), rest: tail.subarray(room) }
    if (before === null || tails === MOST_TAILS) return cut
    const own = cut.rest.length === 0 ? [] : [createHash('md5').update(cut.rest).digest('hex')]
    const marked = says([...before.last(cut.behind), ...own])
    if (marked === null || marked === own.length > 0) return cut
    if (tails % TAILS_AT_ONCE === 0) await setImmediate()
  }
}

/** The part that the store has just taken. @throws S3Error SealgateBadUpstream for an answer without an ETag. */
export function answered(checksum: UploadSettings['storedChecksum'], number: number, response: UpstreamResponse): UpstreamPart {
  return { number, etag: etagOf(response), checksum: checksumOf(checksum, response) }
}

/** @param said in a list of parts, or in the answer to one */
function checksumOf(algorithm: UploadSettings['storedChecksum'], said: HeldPart | UpstreamResponse | undefined): UpstreamPart['checksum'] {
  const element = elementOf(algorithm)
  if (algorithm === null || element === null || said === undefined) return null
  const value = 'checksums' in said ? said.checksums.get(element) : said.headers.get(`x-amz-checksum-${algorithm}`)
  return value === undefined ? null : [element, value]
}

function elementOf(algorithm: UploadSettings['storedChecksum']): string | null {
  return algorithm === null ? null : `Checksum${algorithm.toUpperCase()}`
}

function contentsOf(upload: Upload, { parts, checksum, listHash }: TailInput): MultipartContents {
  const algorithm = upload.settings.checksumAlgorithm
  return {
    kind: 'multipart',
    checksums: checksum === null ? [] : [checksum],
    partChecksum: algorithm,
    uploadHash: upload.hash,
    listHash,
    parts: parts.map(({ number, plaintextSize, header, md5, checksum: own }) => ({
      number,
      plaintextSize,
      header,
      md5,
      checksum: own !== null && own.algorithm === algorithm ? own.value : null
    }))
  }
}
