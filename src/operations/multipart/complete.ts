import { randomInt } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { HttpResponse } from '../../http/message.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { Attempt } from './part-records.ts'
import { type CompletedPart, clientDocument, parseCompletedParts } from '../../s3/documents.ts'
import { type BucketContext, type OperationContext, type UploadContext, send } from '../context.ts'
import { type Completed, completedAnswer, completedBefore } from './previous-completion.ts'
import { type TailInput, type UpstreamPart, sendTail } from './send-tail.ts'
import { type Upload, findUpload, noSuchUpload, refuseEqualParts, uploadHashOf } from './upload.ts'
import { md5OfMd5s } from '../../envelope/manifest.ts'
import { completedListHash } from '../../envelope/upload-records.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { childText, parseXml, renderXml, upstreamDocument, type XmlNode } from '../../s3/xml.ts'
import { readDocument } from '../request-body.ts'
import { visibleEtag } from '../objects/sealed-object.ts'
import { slowResponse, errorOfDocument, relayError, documentOf } from '../responses.ts'
import { writeConditions } from '../objects/write-options.ts'
import { checkObjectSize, selectParts, tailNumber, type PartState, readPartState, objectChecksum } from './select-parts.ts'
import { removeState } from './abort.ts'

/**
 * CompleteMultipartUpload: the client's list chooses among the sealed records, the manifest is sealed behind the last part,
 * and the store puts its own list together. Until the store has said so there is no object, and whatever fails on the way
 * leaves the upload as it was.
 */
export async function completeMultipartUpload(ctx: OperationContext<'CompleteMultipartUpload'>): Promise<HttpResponse> {
  refuseEqualParts(ctx)
  const listed = parseCompletedParts(await readDocument(ctx), clientDocument(ctx.services.config.limits.xmlBytes))
  return slowResponse(async (addHeaders) => {
    const { headers, document } = await complete(ctx, listed)
    addHeaders(headers)
    return document
  })
}

/** Milliseconds, give or take half, until a Complete that another instance got in the way of is tried again. */
const AGAIN_MS = [200, 600, 1800]

/** The store refuses a list that was right when it was looked at. The client is at no fault, and may ask again. */
class UploadChanged extends Error {
  /** What the client is told in the end. */
  readonly told: S3Error

  constructor(refused: S3Error) {
    super('The upload was changed while it was being completed.', { cause: refused })
    this.told = refused.code === 'InternalError'
      ? refused
      : new S3Error('ServiceUnavailable', { message: `${this.message} Please retry the request.`, cause: refused })
  }
}

/**
 * Clients that grow impatient send the same Complete again while the first is under way. Here the second waits for its turn, and finds the
 * object made; between instances each takes the other's tail away, and so the loser looks and tries again.
 */
async function complete(ctx: UploadContext, listed: readonly CompletedPart[]): Promise<Completed> {
  const listHash = completedListHash(listed.map(({ partNumber, etag }) => ({ number: partNumber, etag })))
  return ctx.services.completes.take(uploadHashOf(ctx).toString('hex'), async () => {
    for (let tries = 0;; tries += 1) {
      try {
        return await tryOnce(ctx, listed, listHash)
      } catch (error) {
        if (!(error instanceof UploadChanged)) throw error
        const pause = AGAIN_MS[tries]
        if (pause === undefined) throw error.told
        // When the client goes away, the next request to the store says so.
        await delay(pause / 2 + randomInt(pause), undefined, { signal: ctx.signal }).catch(() => undefined)
      }
    }
  })
}

async function tryOnce(ctx: UploadContext, listed: readonly CompletedPart[], listHash: Buffer): Promise<Completed> {
  const upload = await findUpload(ctx, 'fresh')
  if (upload === null) return over(ctx, listHash)
  const known = await readPartState(ctx, upload, listed)
  if (known === null) return over(ctx, listHash)
  const { parts, number } = await selectListed(ctx, upload, listed, known, listHash)
  if ('headers' in parts) return parts
  const size = parts.reduce((sum, { plaintextSize }) => sum + plaintextSize, 0)
  checkObjectSize(ctx, size)
  const checksum = objectChecksum(ctx, upload, parts)
  const conditions = await writeConditions(ctx, 'complete')
  const list = await tailOrOver(ctx, upload, { parts, held: known.held, checksum, listHash, number })
  if (!Array.isArray(list)) return list
  const outcome = await completeUpstream(ctx, list, conditions)
  if ('failed' in outcome) return afterFailure(ctx, upload, list, listHash, outcome.failed)
  const answer = completedAnswer(ctx, {
    etag: await etagOf(ctx, parts, outcome),
    checksums: checksum === null ? [] : [checksum],
    parts: parts.length,
    headers: [...downstreamHeaders(outcome.response.headers, 'written'), ...upload.encryptionHeaders]
  })
  await removeState(ctx, upload.hash)
  return answer
}

/** The store knows no such upload: it was completed before, or never was. */
async function over(ctx: UploadContext, listHash: Buffer): Promise<Completed> {
  const before = await completedBefore(ctx, listHash)
  if (before === null) throw noSuchUpload(ctx)
  await removeState(ctx, uploadHashOf(ctx))
  return before
}

/** A part that is missing may have been cleared away by another instance that was quicker with the same list. */
async function selectListed(
  ctx: UploadContext,
  upload: Upload,
  listed: readonly CompletedPart[],
  known: PartState,
  listHash: Buffer
): Promise<{ readonly parts: readonly Attempt[] | Completed; readonly number: number }> {
  try {
    const parts = selectParts(upload, listed, known)
    return { parts, number: tailNumber(parts, known) }
  } catch (error) {
    const before = error instanceof S3Error && error.code === 'InvalidPart' ? await completedBefore(ctx, listHash) : null
    if (before === null) throw error
    return { parts: before, number: 0 }
  }
}

/** Between the list of parts and the tail another instance may have been quicker with the same list, too. */
async function tailOrOver(ctx: UploadContext, upload: Upload, input: TailInput): Promise<UpstreamPart[] | Completed> {
  try {
    return await sendTail(ctx, upload, input)
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NoSuchUpload') return over(ctx, input.listHash)
    // A small last part that waited in the state bucket, and was cleared away.
    if (error instanceof S3Error && error.code === 'NoSuchKey') throw new UploadChanged(error)
    throw error
  }
}

type Outcome = { readonly response: UpstreamResponse; readonly etag: string } | { readonly failed: S3Error }

/** The store's Complete. Errors may stand inside of a 200 (AWS API, CompleteMultipartUpload). */
async function completeUpstream(
  ctx: OperationContext,
  list: readonly UpstreamPart[],
  conditions: readonly (readonly [string, string])[]
): Promise<Outcome> {
  const body = renderXml(['CompleteMultipartUpload', list.map(partNode)])
  const response = await send(ctx, {
    method: 'POST',
    query: [['uploadId', ctx.operation.uploadId]],
    headers: [
      ...upstreamHeaders(ctx.request.headers, 'document').filter(([name]) => name !== 'content-type'),
      ['content-type', 'application/xml'],
      ...conditions
    ],
    body,
    contentLength: body.length
  })
  if (response.status >= 300) return { failed: await relayError(ctx, response) }
  const document = await documentOf(response)
  const failed = errorOfDocument(document, response)
  if (failed !== null) return { failed }
  const parsed = parseXml(document, upstreamDocument)
  if (parsed.root.name !== 'CompleteMultipartUploadResult') throw new S3Error('SealgateBadUpstream')
  return { response, etag: childText(parsed, parsed.root, 'ETag') ?? '' }
}

/** The checksum of each part is demanded where the upload was created with one (AWS API, CompleteMultipartUpload). */
function partNode({ number, etag, checksum }: UpstreamPart): XmlNode {
  return ['Part', [['PartNumber', String(number)], ['ETag', `"${etag}"`], ...checksum === null ? [] : [checksum]]]
}

/** What the store refuses of a list that was checked against it is the doing of somebody who was quicker, not of the client. */
async function afterFailure(
  ctx: UploadContext,
  { settings }: Upload,
  list: readonly UpstreamPart[],
  listHash: Buffer,
  failed: S3Error
): Promise<Completed> {
  if (failed.code === 'NoSuchUpload') return over(ctx, listHash)
  if (failed.code === 'InvalidPartOrder' && settings.storedChecksum !== null && list.some(({ number }, i) => number !== i + 1)) {
    throw new S3Error('InvalidPartOrder', {
      message: 'The store behind this gateway demands part numbers that start at 1 and are consecutive, and no part uploaded above the last one listed.',
      cause: failed
    })
  }
  if (!changedCodes.has(failed.code)) throw failed
  const before = await completedBefore(ctx, listHash)
  if (before !== null) return before
  throw new UploadChanged(failed)
}

/** InternalError, NoSuchKey: what radosgw answers while another Complete of the upload is under way. */
const changedCodes: ReadonlySet<string> = new Set(['InvalidPart', 'InvalidPartOrder', 'EntityTooSmall', 'InternalError', 'NoSuchKey'])

/** MD5 of the parts' MD5s, or what follows from the store's ETag; radosgw 16 gives an empty one, so it is asked for. */
async function etagOf(ctx: BucketContext, parts: readonly Attempt[], { response, etag }: Exclude<Outcome, { failed: S3Error }>): Promise<string> {
  const md5 = md5OfMd5s(parts)
  const shown = md5 === null ? null : `${md5.toString('hex')}-${parts.length}`
  const needed = ctx.policy.etag === 'opaque' || shown === null
  if (!needed || etag.replaceAll('"', '') !== '') return visibleEtag(ctx.policy, etag, shown)
  const version = response.headers.get('x-amz-version-id')
  const head = await send(ctx, { method: 'HEAD', query: version === undefined ? [] : [['versionId', version]], retry: true })
  head.body.resume()
  const found = head.headers.get('etag')
  // The object is there; only what to call it is not known. A repeated request will be told.
  if (head.status !== 200 || found === undefined) throw new S3Error('ServiceUnavailable')
  return visibleEtag(ctx.policy, found, shown)
}
