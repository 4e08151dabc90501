import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { childOf, rewriteXml } from '../../s3/xml.ts'
import { readDocument } from '../request-body.ts'
import { send } from '../context.ts'
import { forwardedQuery, plainHeaders, successOf } from '../forward.ts'
import { pendingAnswer } from '../pending-answer.ts'
import { locationOf } from './completed-answer.ts'

/**
 * CompleteMultipartUpload in a bucket that is not encrypted: the store's answer, but for the `Location` in it, which would lead
 * clients round the gateway.
 */
export async function completePlain(x: Execution): Promise<HttpResponse> {
  const body = await readDocument(x)
  return pendingAnswer(async (known) => {
    const headers = plainHeaders(x).filter(([name]) => name !== 'content-md5')
    const response = await send(x, { method: 'POST', query: forwardedQuery(x), headers, body, contentLength: body.length })
    const document = await successOf(x, response)
    known(downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-type'))
    return rewriteXml(document, (editor, parsed) => {
      const location = childOf(parsed, parsed.root, 'Location')
      if (location !== undefined) editor.setText(location, locationOf(x))
    })
  })
}
