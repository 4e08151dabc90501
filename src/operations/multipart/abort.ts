import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { forwardedQuery } from '../forward.ts'
import { send } from '../context.ts'
import { relayError } from '../responses.ts'
import { removeState } from './remove-state.ts'
import { uploadHashOf } from './upload.ts'

/** AbortMultipartUpload: the store first, so that no upload it still knows ever lacks its state. */
export async function abortMultipartUpload(x: Execution): Promise<HttpResponse> {
  const response = await send(x, { method: 'DELETE', query: forwardedQuery(x), headers: upstreamHeaders(x.request.headers, 'document') })
  if (response.status >= 300) {
    const error = await relayError(x, response)
    if (error.code === 'NoSuchUpload') await removeState(x, uploadHashOf(x))
    throw error
  }
  response.body.resume()
  await removeState(x, uploadHashOf(x))
  return { status: 204, headers: downstreamHeaders(response.headers, 'written'), body: null }
}
