import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { clientDocument, restoreSelects } from '../../s3/documents.ts'
import { readDocument } from '../request-body.ts'
import { contentMd5 } from '../../store-client/content-md5.ts'
import { send } from '../context.ts'
import { forwardedQuery } from '../forward.ts'
import { relayError } from '../responses.ts'

/**
 * RestoreObject: forwarded, unless it asks for a SELECT.
 * @throws S3Error NotImplemented for a SELECT, which would run on sealed bytes.
 */
export async function restoreObject(x: Execution): Promise<HttpResponse> {
  const body = await readDocument(x)
  if (body.length > 0 && restoreSelects(body, clientDocument(x.parts.config.limits.xmlBytes))) {
    throw new S3Error('NotImplemented', { message: 'The store would have to read the plaintext to select from it.' })
  }
  const response = await send(x, {
    method: 'POST', query: forwardedQuery(x), headers: [...upstreamHeaders(x.request.headers, 'document'), contentMd5(body)],
    body: body.length === 0 ? null : body, contentLength: body.length
  })
  if (response.status >= 300) throw await relayError(x, response)
  response.body.resume()
  return { status: response.status, headers: [...downstreamHeaders(response.headers, 'plain'), ['content-length', '0']], body: null }
}
