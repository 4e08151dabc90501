import { randomInt } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Header, HttpResponse } from '../../http/message.ts'
import type { Attempt } from './part-records.ts'
import { type CompletedPart, clientDocument, parseCompletedParts } from '../../s3/documents.ts'
import type { BucketContext, OperationContext, UploadContext } from '../context.ts'
import { type JoinedParts, joinParts, storedEtag } from './join-parts.ts'
import { type Completed, completedAnswer, previousCompletion } from './previous-completion.ts'
import { completeForClients } from './client-upload.ts'
import { sendTail, type TailInput, type UpstreamPart } from './send-tail.ts'
import { type Upload, noSuchUpload, openUpload, uploadHashOf } from './upload.ts'
import { md5OfMd5s } from '../../envelope/manifest.ts'
import { completedListHash } from '../../envelope/upload-records.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { readDocument } from '../request-body.ts'
import { rememberWritten } from '../objects/listed-facts.ts'
import { showsMd5, visibleEtag } from '../objects/visible-etag.ts'
import { slowResponse } from '../responses.ts'
import { writeConditions } from '../objects/write-options.ts'
import { checkObjectSize, declaredChecksum, selectParts, tailNumber, readPartState, objectChecksum } from './select-parts.ts'
import { removeState } from './uploads.ts'
import { roomBehind } from './equal-parts.ts'

/**
 * CompleteMultipartUpload: the client's list chooses among the sealed records, the manifest is sealed behind the last part, and the store joins the
 * parts. Before the store has confirmed it there is no object. A failure on the way leaves the upload unchanged.
 */
export async function completeMultipartUpload(ctx: OperationContext<'CompleteMultipartUpload'>): Promise<HttpResponse> {
  const listed = parseCompletedParts(await readDocument(ctx), clientDocument(ctx.services.config.limits.xmlBytes))
  return slowResponse(async (addHeaders) => {
    const { headers, document } = await complete(ctx, listed)
    addHeaders(headers)
    return document
  })
}

/** Milliseconds, plus or minus half, before a Complete that collided with another instance is tried again. */
const AGAIN_MS = [200, 600, 1800]

/** The store refuses a list that matched when it was checked. The client did nothing wrong and may retry. */
class UploadChanged extends Error {
  /** The error that the client gets after the last try. */
  readonly clientError: S3Error

  constructor(refused: S3Error) {
    super('The upload was changed while it was being completed.', { cause: refused })
    this.clientError = refused.code === 'InternalError'
      ? refused
      : new S3Error('ServiceUnavailable', { message: `${this.message} Please retry the request.`, cause: refused })
  }
}

/**
 * Impatient clients send the same Complete again while the first one runs. Within one instance the second waits for its turn and finds the object
 * complete. Two instances remove each other's tail, so the loser checks again and retries.
 */
async function complete(ctx: UploadContext, listed: readonly CompletedPart[]): Promise<Completed> {
  const listHash = completedListHash(listed.map(({ partNumber, etag }) => ({ number: partNumber, etag })))
  return ctx.services.completes.take(uploadHashOf(ctx).toString('hex'), async () => {
    for (let tries = 0;; tries += 1) {
      try {
        return await completeOnce(ctx, listed, listHash)
      } catch (error) {
        if (!(error instanceof UploadChanged)) throw error
        const pause = AGAIN_MS[tries]
        if (pause === undefined) throw error.clientError
        // When the client disconnects, the next request to the store fails with the abort.
        await delay(pause / 2 + randomInt(pause), undefined, { signal: ctx.signal }).catch(() => undefined)
      }
    }
  })
}

/**
 * Where a step finds the upload changed, an earlier Complete of the same list may be the reason: one whose answer was lost, or one through another
 * instance. Then the object itself proves it, and its answer is repeated.
 */
async function completeOnce(ctx: UploadContext, listed: readonly CompletedPart[], listHash: Buffer): Promise<Completed> {
  try {
    return await takeSteps(ctx, listed, listHash)
  } catch (error) {
    const code = error instanceof S3Error ? error.code : null
    // Where a condition does not hold, the object of that Complete may be the reason as well.
    const refused = code === 'PreconditionFailed'
    if (!(error instanceof UploadChanged) && code !== 'NoSuchUpload' && code !== 'InvalidPart' && !refused) throw error
    const before = await previousCompletion(ctx, listHash).catch((unknown: unknown) => {
      if (refused && unknown instanceof S3Error) return null
      throw unknown
    })
    if (before === null) throw code === 'NoSuchUpload' ? noSuchUpload(ctx) : error
    await removeState(ctx, uploadHashOf(ctx))
    return before
  }
}

/** @throws UploadChanged; S3Error NoSuchUpload and InvalidPart, also where another Complete has removed what a step needs. */
async function takeSteps(ctx: UploadContext, listed: readonly CompletedPart[], listHash: Buffer): Promise<Completed> {
  const declared = declaredChecksum(ctx)
  const upload = await openUpload(ctx, 'fresh')
  const state = await readPartState(ctx, upload, listed)
  const parts = selectParts(upload, listed, state)
  const { clients } = upload.settings
  const room = clients === undefined ? roomBehind(ctx, upload, parts) : 0
  const size = parts.reduce((sum, { plaintextSize }) => sum + plaintextSize, 0)
  checkObjectSize(ctx, size)
  const checksum = objectChecksum(ctx, upload, parts, declared)
  const conditions = await writeConditions(ctx, 'complete')
  const made = clients === undefined
    ? await completeSealed(ctx, upload, { parts, held: state.held, checksum, listHash, room, number: tailNumber(parts, state) }, conditions)
    : await completeForClients(ctx, upload, { parts, listHash, conditions }).catch((error: unknown) => {
      // A part was removed from the state bucket, or the upload of the client, or the gateway's own, was aborted.
      throw error instanceof S3Error && lostCodes.has(error.code) ? new UploadChanged(error) : error
    })
  const etag = await etagOf(ctx, parts, size, made)
  rememberWritten(ctx, { size, etag, upstreamEtag: made.etag })
  const answer = completedAnswer(ctx, {
    etag,
    checksums: checksum === null ? [] : [checksum],
    parts: parts.length,
    headers: [...downstreamHeaders(made.response.headers, 'written'), ...upload.encryptionHeaders]
  })
  await removeState(ctx, upload.hash)
  return answer
}

const lostCodes: ReadonlySet<string> = new Set(['NoSuchKey', 'NoSuchUpload', 'InvalidPart'])

/** @throws as `refusalOf`. */
async function completeSealed(ctx: UploadContext, upload: Upload, tail: TailInput, conditions: readonly Header[]): Promise<JoinedParts> {
  const list = await sendTail(ctx, upload, tail).catch((error: unknown) => {
    // A part was removed from the state bucket, or radosgw is completing the upload.
    throw error instanceof S3Error && error.code === 'NoSuchKey' ? new UploadChanged(error) : error
  })
  try {
    return await joinParts(ctx, upload.id, list, [...upstreamHeaders(ctx.request.headers, 'document'), ...conditions])
  } catch (error) {
    throw error instanceof S3Error ? refusalOf(upload, list, error) : error
  }
}

/** InternalError, NoSuchKey: answers of radosgw while another Complete of the upload runs. */
const changedCodes: ReadonlySet<string> = new Set(['InvalidPart', 'InvalidPartOrder', 'EntityTooSmall', 'InternalError', 'NoSuchKey'])

/** The list was checked against the store: where the store refuses it, another request was faster, and the client did nothing wrong. */
function refusalOf({ settings }: Upload, list: readonly UpstreamPart[], failed: S3Error): S3Error | UploadChanged {
  if (failed.code === 'InvalidPartOrder' && settings.storedChecksum !== null && list.some(({ number }, i) => number !== i + 1)) {
    return new S3Error('InvalidPartOrder', {
      message: 'The store behind this gateway demands part numbers that start at 1 and are consecutive, and no part uploaded above the last one listed.',
      cause: failed
    })
  }
  return changedCodes.has(failed.code) ? new UploadChanged(failed) : failed
}

/** MD5 of the parts' MD5s, or the visible form of the store's ETag. */
async function etagOf(ctx: BucketContext, parts: readonly Attempt[], size: number, joined: JoinedParts): Promise<string> {
  const md5 = md5OfMd5s(parts)
  const shown = md5 === null ? null : `${md5.toString('hex')}-${parts.length}`
  const object = { kind: 'multipart', size } as const
  const needed = shown === null || !showsMd5(ctx.policy.etag, object)
  return visibleEtag(ctx.policy.etag, object, needed ? await storedEtag(ctx, joined) : joined.etag, shown)
}
