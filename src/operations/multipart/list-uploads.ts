import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { writeListing } from '../../s3/listing.ts'
import { forwardForDocument } from '../forward.ts'

/**
 * ListMultipartUploads: the store's own, whose upload ids clients use. What it says of checksums is of stored bytes, and what
 * was settled stands sealed in the records: nothing is said of them here.
 */
export async function listMultipartUploads(x: Execution): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(x)
  const body = writeListing(document, () => ({ checksums: [] }))
  const headers = downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-length')
  return { status: 200, headers: [...headers, ['content-length', String(body.length)]], body }
}
