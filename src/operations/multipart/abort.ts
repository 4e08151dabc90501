import type { HttpResponse } from '../../http/message.ts'
import { type OperationContext, send } from '../context.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { forwardedQuery } from '../forward.ts'
import { relayError } from '../responses.ts'
import { uploadHashOf, stateBucketOf } from './upload.ts'
import { S3Error } from '../../errors.ts'
import { uploadPrefix } from '../../store-client/state-names.ts'

/** AbortMultipartUpload: the store first, so that no upload it still knows ever lacks its state. */
export async function abortMultipartUpload(ctx: OperationContext<'AbortMultipartUpload'>): Promise<HttpResponse> {
  const response = await send(ctx, { method: 'DELETE', query: forwardedQuery(ctx), headers: upstreamHeaders(ctx.request.headers, 'document') })
  if (response.status >= 300) {
    const error = await relayError(ctx, response)
    if (error.code === 'NoSuchUpload') await removeState(ctx, uploadHashOf(ctx))
    throw error
  }
  response.body.resume()
  await removeState(ctx, uploadHashOf(ctx))
  return { status: 204, headers: downstreamHeaders(response.headers, 'written'), body: null }
}

/** The client may be gone already; its records should go all the same. */
const CLEAN_UP_MS = 30_000

/**
 * Removes everything in the state bucket about an upload that the store has said to be over. Best effort: the upload is over
 * whether or not this works, and `sealgate gc` finds what stays.
 */
export async function removeState(ctx: OperationContext, hash: Buffer): Promise<void> {
  ctx.services.objects.forgetUpload(hash)
  try {
    await stateBucketOf(ctx, AbortSignal.timeout(CLEAN_UP_MS)).removeAll(uploadPrefix(hash))
  } catch (error) {
    if (!(error instanceof S3Error) && !(error instanceof DOMException)) throw error
  }
}
