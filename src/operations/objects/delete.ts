import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { storedSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { upstreamHeaders, downstreamHeaders } from '../../plan/headers.ts'
import { parseEtagList, unquoteEtag } from '../../s3/conditions.ts'
import { bucketOf, conditionsIn, header, keyOf, send } from '../context.ts'
import { currentEtags } from './current-etags.ts'
import { forwardedQuery } from '../forward.ts'
import { relayError } from '../responses.ts'

type Header = readonly [name: string, value: string]

/** DeleteObject: conditions on what the client sees, enforced by the store on what it holds. */
export async function deleteObject(x: Execution): Promise<HttpResponse> {
  const response = await send(x, {
    method: 'DELETE',
    query: forwardedQuery(x),
    headers: [...upstreamHeaders(x.request.headers, 'document'), ...await deleteConditions(x)]
  })
  if (response.status >= 300) throw await relayError(x, response)
  response.body.resume()
  return { status: 204, headers: downstreamHeaders(response.headers, 'written'), body: null }
}

async function deleteConditions(x: Execution): Promise<Header[]> {
  const ifMatch = header(x, 'if-match')
  const size = header(x, 'x-amz-if-match-size')
  const modified = header(x, 'x-amz-if-match-last-modified-time')
  if (ifMatch === undefined && size === undefined && modified === undefined) return []
  if (!(await conditionsIn(x, bucketOf(x))).delete) {
    throw new S3Error('NotImplemented', { message: 'The store behind this gateway does not enforce conditions on DELETE in this kind of bucket, or is not known to.', fields: { Header: 'If-Match' } })
  }
  const headers: Header[] = []
  if (modified !== undefined) headers.push(['x-amz-if-match-last-modified-time', modified])
  if (size !== undefined) headers.push(['x-amz-if-match-size', storedSizeOf(size)])
  if (ifMatch !== undefined) headers.push(['if-match', await storedEtagOf(x, ifMatch)])
  return headers
}

/** @throws S3Error InvalidArgument unless it is a size in bytes. */
function storedSizeOf(size: string): string {
  if (!/^\d{1,15}$/.test(size)) throw new S3Error('InvalidArgument', { fields: { ArgumentName: 'x-amz-if-match-size', ArgumentValue: size } })
  return String(storedSize(Number(size)))
}

async function storedEtagOf(x: Execution, ifMatch: string): Promise<string> {
  const wanted = parseEtagList(ifMatch)
  if (wanted === '*') return '*'
  const current = await currentEtags(x, bucketOf(x), keyOf(x))
  if (current === null) throw new S3Error('NoSuchKey')
  const visible = unquoteEtag(current.visible)
  if (!wanted.some(({ tag }) => tag === visible)) throw new S3Error('PreconditionFailed', { fields: { Condition: 'If-Match' } })
  return current.upstream
}
