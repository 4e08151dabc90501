import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { childOf, rewriteXml, upstreamDocument } from '../../s3/xml.ts'
import { forward } from '../forward.ts'
import { locationOf } from './completed-answer.ts'

/**
 * CompleteMultipartUpload in a bucket that is not encrypted: the store's answer, but for the `Location` in it, which would lead
 * clients round the gateway. An error inside the 200 (AWS API, CompleteMultipartUpload) has none and stays as it is.
 */
export async function completePlain(x: Execution): Promise<HttpResponse> {
  const response = await forward(x)
  if (response.body === null) return response
  const document = Buffer.isBuffer(response.body) ? response.body : await readAll(response.body, upstreamDocument.maxBytes, () => new S3Error('SealgateBadUpstream'))
  const body = rewriteXml(document, (editor, parsed) => {
    const location = childOf(parsed, parsed.root, 'Location')
    if (location !== undefined) editor.setText(location, locationOf(x))
  })
  const headers = response.headers.filter(([name]) => name !== 'content-length')
  return { ...response, headers: [...headers, ['content-length', String(body.length)]], body }
}
