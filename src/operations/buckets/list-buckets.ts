import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { mayAccess } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { childOf, childText, rewriteXml, textOf } from '../../s3/xml.ts'
import { forwardForDocument } from '../forward.ts'
import { shownRegion } from '../shown-region.ts'

/** ListBuckets: without the gateway's own buckets, and only what the client may touch. */
export async function listBuckets(x: Execution): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(x)
  const { upstream } = x.parts.config
  const body = rewriteXml(document, (editor, parsed) => {
    for (const element of childOf(parsed, parsed.root, 'Buckets')?.children ?? []) {
      const bucket = childText(parsed, element, 'Name')
      const region = childOf(parsed, element, 'BucketRegion')
      if (region !== undefined) editor.setText(region, shownRegion(x, textOf(parsed, region)))
      if (isOwnBucket(upstream, bucket) || !mayAccess(x.request.client, { bucket, write: false })) editor.remove(element)
    }
  })
  const headers = downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-length')
  return { status: 200, headers: [...headers, ['content-length', String(body.length)]], body }
}
