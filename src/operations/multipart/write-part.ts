import type { PartRecord } from '../../envelope/upload-records.ts'
import type { ByteStage } from '../../http/stage.ts'
import type { UpstreamRequest, UpstreamResponse } from '../../upstream/types.ts'
import { type BodySource, streamUpstream } from '../request-body.ts'
import { type OperationContext, type UploadContext, send, storeHere } from '../context.ts'
import { type Upload, openUpload, noSuchUpload, stateBucketOf } from './upload.ts'
import { BodyVerifier } from '../../auth/body-verifier.ts'
import { PartSealer } from '../../envelope/body.ts'
import { MAX_PART_PLAINTEXT, MIN_PART_SIZE, storedPartSize } from '../../envelope/sizes.ts'
import { both } from '../../concurrency/parallel.ts'
import { S3Error } from '../../errors.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { unquoteEtag } from '../../s3/conditions.ts'
import { parsePartNumber } from '../../s3/range.ts'
import { writesForClients } from '../objects/client-write.ts'
import { relayError } from '../responses.ts'
import { partChecksum } from './checksum-settings.ts'
import { checkTailFits, settledSize } from './equal-parts.ts'
import { writePartRecord } from './part-records.ts'
import { waitingPartName } from '../../store-client/state-names.ts'
import { isHeld } from './upstream-parts.ts'

/** The part number of the request. @throws S3Error InvalidArgument unless it is 1 to `upstream.maxParts`. */
export function partNumberOf(ctx: OperationContext): number {
  return parsePartNumber(ctx.operation.query.get('partNumber') ?? '', storeHere(ctx).settings.maxParts)
}

/** Where a part of known size goes. */
export interface PartTarget {
  readonly upload: Upload
  readonly number: number
  /** Plaintext bytes. */
  readonly size: number
  /** The part is kept in the state bucket until Complete. */
  readonly waits: boolean
}

/**
 * The upload that a part belongs to, and where the part goes. A part that waits does not reach the store before Complete, so the store is asked
 * whether the upload still exists. The store itself refuses any other. What can never be completed is refused before a byte is sent.
 * @param size plaintext bytes.
 * @throws S3Error NoSuchUpload; EntityTooLarge above the limit of a part; InvalidArgument for a part with the highest number that the store
 * takes, if the tail needs a number above it (MULTIPART-STATE).
 */
export async function targetOfPart(ctx: UploadContext, number: number, size: number): Promise<PartTarget> {
  const { maxParts, equalParts } = storeHere(ctx).settings
  if (size > MAX_PART_PLAINTEXT) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(size), MaxSizeAllowed: String(MAX_PART_PLAINTEXT) } })
  }
  if (writesForClients(ctx) !== null) {
    // One stream over all parts: none can be encrypted before all are there. Nothing stands behind the last one.
    const upload = await openLive(ctx)
    if (upload.settings.clients !== undefined) return { upload, number, size, waits: true }
  }
  const small = size < MIN_PART_SIZE
  if (!equalParts && number >= maxParts && !small) {
    throw new S3Error('InvalidArgument', {
      message: `Part ${number} must be smaller than 5 MiB: this gateway stores what describes the object behind the last part.`,
      fields: { ArgumentName: 'partNumber', ArgumentValue: String(number) }
    })
  }
  if (!equalParts || (small && number < maxParts)) {
    return { upload: small ? await openLive(ctx) : await openUpload(ctx, 'cached'), number, size, waits: small }
  }
  const upload = await openUpload(ctx, 'cached')
  const settled = await settledSize(ctx, upload, number, size)
  if (number >= maxParts) checkTailFits(number, size, settled)
  const waits = small || settled !== storedPartSize(size)
  return { upload: waits ? await openLive(ctx) : upload, number, size, waits }
}

/** An upload that the store still has. @throws S3Error NoSuchUpload */
async function openLive(ctx: UploadContext): Promise<Upload> {
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
 * Seals one attempt at a part under a new salt and stores it: upstream, or in the state bucket if it waits. Its record is written after the store has
 * all of it and before the client gets an answer.
 */
export async function storePart(
  ctx: OperationContext,
  { upload, number, waits }: PartTarget,
  source: BodySource,
  origin: 'client' | 'copy' = 'client'
): Promise<PartRecord> {
  const sealing = sealPart(upload, number, source, origin)
  return waits ? storeWaiting(ctx, upload, source, sealing) : storeUpstream(ctx, upload, number, source, sealing)
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
async function storeWaiting(ctx: OperationContext, upload: Upload, source: BodySource, { stages, header, storedSize, record }: Sealing): Promise<PartRecord> {
  const state = stateBucketOf(ctx)
  const response = await streamUpstream(ctx, source, stages, (body) => state.putStream(waitingPartName(upload.hash, header), body, storedSize))
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
type SentPart = Required<Pick<UpstreamRequest, 'body' | 'contentLength' | 'checksum'>> & Partial<Pick<UpstreamRequest, 'signal' | 'answerSeconds' | 'retry'>>

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
