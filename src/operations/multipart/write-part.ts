import type { PartRecord } from '../../envelope/upload-records.ts'
import type { ByteStage } from '../../http/stage.ts'
import type { UpstreamRequest, UpstreamResponse } from '../../upstream/types.ts'
import type { DataKey } from '../../envelope/data-key.ts'
import { type BodySource, streamUpstream } from '../request-body.ts'
import { type OperationContext, type UploadContext, send, storeHere } from '../context.ts'
import { type Upload, openUpload, noSuchUpload, stateBucketOf } from './upload.ts'
import { BodyVerifier } from '../../auth/body-verifier.ts'
import { PartSealer } from '../../envelope/body.ts'
import { MAX_PART_PLAINTEXT, MIN_PART_SIZE } from '../../envelope/sizes.ts'
import { both } from '../../concurrency/parallel.ts'
import { S3Error } from '../../errors.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { unquoteEtag } from '../../s3/conditions.ts'
import { parsePartNumber } from '../../s3/range.ts'
import { relayError } from '../responses.ts'
import { partChecksum } from './checksum-settings.ts'
import { writePartRecord } from './part-records.ts'
import { smallPartName } from '../../store-client/state-names.ts'
import { isHeld } from './upstream-parts.ts'
import { SegmentOpener } from '../../envelope/stream.ts'

/** The part number of the request. @throws S3Error InvalidArgument unless it is 1 to `upstream.maxParts`. */
export function partNumberOf(ctx: OperationContext): number {
  return parsePartNumber(ctx.operation.query.get('partNumber') ?? '', storeHere(ctx).settings.maxParts)
}

/**
 * Refuses before a byte is sent what can never be completed.
 * @throws S3Error EntityTooLarge above the limit of a part; InvalidArgument for a part of 5 MiB or more with the highest number that the store takes:
 * the tail needs a number above it (FORMAT, Multipart state).
 */
export function checkPartSize(ctx: OperationContext, number: number, size: number): void {
  if (size > MAX_PART_PLAINTEXT) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(size), MaxSizeAllowed: String(MAX_PART_PLAINTEXT) } })
  }
  if (number >= storeHere(ctx).settings.maxParts && !isSmall(size)) {
    throw new S3Error('InvalidArgument', {
      message: `Part ${number} must be smaller than 5 MiB: this gateway stores what describes the object behind the last part.`,
      fields: { ArgumentName: 'partNumber', ArgumentValue: String(number) }
    })
  }
}

/**
 * The upload that a part of this size belongs to. A small part does not reach the store before Complete, so the store is asked whether the upload
 * still exists. The store itself refuses a large one.
 * @throws S3Error NoSuchUpload
 */
export async function uploadForPart(ctx: UploadContext, size: number): Promise<Upload> {
  if (!isSmall(size)) return openUpload(ctx, 'cached')
  const [upload, held] = await both(ctx.signal, (signal) => openUpload({ ...ctx, signal }, 'fresh'), (signal) => isHeld({ ...ctx, signal }))
  if (!held) throw noSuchUpload(ctx)
  return upload
}

/** One attempt at a part: the stages of its body, and its record. */
interface Sealing {
  readonly stages: readonly ByteStage[]
  readonly header: Buffer
  readonly storedSize: number
  /** @param upstreamEtag without quotes; null: the part is kept in the state bucket. @throws Error before the body has passed. */
  readonly record: (upstreamEtag: string | null) => PartRecord
}

/**
 * Seals one attempt at a part under a new salt and stores it: upstream, or in the state bucket when it is below 5 MiB. Its record is written after
 * the store has all of it and before the client gets an answer.
 */
export async function storePart(
  ctx: OperationContext,
  upload: Upload,
  number: number,
  source: BodySource,
  origin: 'client' | 'copy' = 'client'
): Promise<PartRecord> {
  const sealing = sealPart(upload, number, source, origin)
  return isSmall(source.payload.length) ? storeSmall(ctx, upload, source, sealing) : storeUpstream(ctx, upload, number, source, sealing)
}

function sealPart({ settings, dataKey }: Upload, number: number, { payload }: BodySource, origin: 'client' | 'copy'): Sealing {
  const takesMd5 = settings.etagMode === 'md5'
  const verifier = new BodyVerifier(payload, { computeMd5: takesMd5, computeChecksum: partChecksum(settings, payload, origin) })
  const sealer = new PartSealer({ dataKey, number, plaintextSize: payload.length })
  return {
    stages: [verifier, sealer],
    header: sealer.header,
    storedSize: sealer.storedSize,
    record: (upstreamEtag) => {
      const { md5, checksum } = verifier.digests
      return {
        number,
        plaintextSize: payload.length,
        header: sealer.header,
        md5: takesMd5 ? md5 : null,
        checksum,
        upstreamEtag: upstreamEtag ?? '',
        inline: upstreamEtag === null
      }
    }
  }
}

/** Each attempt has an object of its own, so one that is carried out late replaces no other. */
async function storeSmall(ctx: OperationContext, upload: Upload, source: BodySource, { stages, header, storedSize, record }: Sealing): Promise<PartRecord> {
  const state = stateBucketOf(ctx)
  const response = await streamUpstream(ctx, source, stages, (body) => state.putStream(smallPartName(upload.hash, header), body, storedSize))
  response.body.resume()
  if (response.status >= 300) {
    throw new S3Error('ServiceUnavailable', {
      message: 'The state bucket of the gateway cannot be used.',
      diagnosis: response.diagnosis ?? null
    })
  }
  const stored = record(null)
  await writePartRecord(state, upload, stored)
  return stored
}

async function storeUpstream(
  ctx: OperationContext,
  upload: Upload,
  number: number,
  source: BodySource,
  { stages, storedSize, record }: Sealing
): Promise<PartRecord> {
  return storeHere(ctx).detachedWrites.run(ctx.signal, async ({ signal, answerSeconds, bodySent, answered }) => {
    const response = await streamUpstream(ctx, source, stages, (body) => {
      body.once('end', bodySent)
      return sendPart(ctx, number, { body, contentLength: storedSize, checksum: upload.settings.storedChecksum, signal, answerSeconds })
    })
    answered()
    if (response.status >= 300) {
      if (response.status === 404) ctx.services.objects.forgetUpload(upload.hash)
      throw await relayError(ctx, response)
    }
    response.body.resume()
    const stored = record(etagOf(response))
    await writePartRecord(stateBucketOf(ctx, signal), upload, stored)
    return stored
  })
}

/** `checksum`: the algorithm that the store's upload was created with. */
type SentPart = Required<Pick<UpstreamRequest, 'body' | 'contentLength' | 'checksum'>> & Partial<Pick<UpstreamRequest, 'signal' | 'answerSeconds'>>

/** Sends one part to the store. */
export function sendPart(ctx: OperationContext, number: number, sent: SentPart): Promise<UpstreamResponse> {
  return send(ctx, {
    method: 'PUT',
    query: [['partNumber', String(number)], ['uploadId', ctx.operation.uploadId]],
    headers: upstreamHeaders(ctx.request.headers, 'document'),
    pool: 'data',
    ...sent
  })
}

/** The store's ETag of a part, without quotes. @throws S3Error SealgateBadUpstream when there is none. */
export function etagOf(response: UpstreamResponse): string {
  const etag = unquoteEtag(response.headers.get('etag') ?? '')
  if (etag === '') throw new S3Error('SealgateBadUpstream')
  return etag
}

/**
 * A small part on its way from the state bucket to the store. It passes unchanged, but its end only after the whole of it has opened, followed by the
 * tail. So an upload is never completed with a part that could not be read.
 */
export class SmallPartWithTail implements ByteStage {
  readonly #opener: SegmentOpener
  readonly #tail: readonly Buffer[]
  #held: Buffer | null = null

  /** @param tail from sealTail. */
  constructor(dataKey: DataKey, part: Pick<PartRecord, 'number' | 'plaintextSize' | 'header'>, tail: readonly Buffer[]) {
    const { number, plaintextSize, header } = part
    this.#opener = new SegmentOpener({ streamKey: dataKey.stream, part: { kind: 'part', number, plaintextSize }, header })
    this.#tail = tail
  }

  /** @throws EnvelopeError `header`, `segment`, `trailing`. */
  update(chunk: Buffer): readonly Buffer[] {
    this.#opener.update(chunk)
    const before = this.#held
    this.#held = chunk
    return before === null ? [] : [before]
  }

  /** @throws EnvelopeError `truncated`. */
  final(): readonly Buffer[] {
    this.#opener.final()
    return [...this.#held === null ? [] : [this.#held], ...this.#tail]
  }
}

/** Whether a part is kept in the state bucket: S3 accepts one below 5 MiB only as the last, and the tail follows that. */
function isSmall(plaintextSize: number): boolean {
  return plaintextSize < MIN_PART_SIZE
}
