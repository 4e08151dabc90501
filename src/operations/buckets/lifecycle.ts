import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { storedSize } from '../../envelope/sizes.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { clientDocument } from '../../s3/documents.ts'
import { lifecycleForClient, lifecycleForStore } from '../../s3/lifecycle.ts'
import { upstreamDocument } from '../../s3/xml.ts'
import { readDocument } from '../request-body.ts'
import { contentMd5 } from '../../store-client/content-md5.ts'
import { send } from '../context.ts'
import { forwardedQuery, forwardForDocument } from '../forward.ts'
import { relayError } from '../responses.ts'

/** Get- and PutBucketLifecycleConfiguration: the store compares what it stores, so size filters are converted both ways. */
export async function lifecycle(x: Execution): Promise<HttpResponse> {
  return x.operation.name === 'PutBucketLifecycleConfiguration' ? putLifecycle(x) : getLifecycle(x)
}

async function getLifecycle(x: Execution): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(x)
  const body = lifecycleForClient(document, storedSize, upstreamDocument)
  const headers = downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-length')
  return { status: 200, headers: [...headers, ['content-length', String(body.length)]], body }
}

async function putLifecycle(x: Execution): Promise<HttpResponse> {
  const body = lifecycleForStore(await readDocument(x), storedSize, clientDocument(x.parts.config.limits.xmlBytes))
  const headers = [...upstreamHeaders(x.request.headers, 'document'), contentMd5(body)]
  const response = await send(x, { method: 'PUT', query: forwardedQuery(x), headers, body, contentLength: body.length })
  if (response.status >= 300) throw await relayError(x, response)
  response.body.resume()
  return { status: response.status, headers: [...downstreamHeaders(response.headers, 'plain'), ['content-length', '0']], body: null }
}
