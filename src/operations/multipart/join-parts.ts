import type { UpstreamResponse } from '../../upstream/types.ts'
import type { UpstreamPart } from './send-tail.ts'
import { type BucketContext, type OperationContext, send } from '../context.ts'
import { S3Error } from '../../errors.ts'
import type { Header } from '../../http/message.ts'
import { childText, parseXml, renderXml, upstreamDocument, type XmlNode } from '../../s3/xml.ts'
import { successOf } from '../forward.ts'

/** What the store has made of the parts of an upload. */
export interface JoinedParts {
  readonly response: UpstreamResponse
  /** From the store's document; radosgw 16 returns none. */
  readonly etag: string
}

/**
 * The store's Complete of an upload of the object this request names.
 * @throws the store's error, also one inside a 200 (AWS API, CompleteMultipartUpload); S3Error SealgateBadUpstream.
 */
export async function joinParts(
  ctx: OperationContext,
  uploadId: string,
  list: readonly UpstreamPart[],
  headers: readonly Header[]
): Promise<JoinedParts> {
  const body = renderXml(['CompleteMultipartUpload', list.map(partNode)])
  const response = await send(ctx, {
    method: 'POST',
    query: [['uploadId', uploadId]],
    headers: [...headers.filter(([name]) => name !== 'content-type'), ['content-type', 'application/xml']],
    body,
    contentLength: body.length
  })
  const parsed = parseXml(await successOf(ctx, response), upstreamDocument)
  if (parsed.root.name !== 'CompleteMultipartUploadResult') throw new S3Error('SealgateBadUpstream')
  return { response, etag: childText(parsed, parsed.root, 'ETag') ?? '' }
}

/** A store demands the checksum of each part where the upload was created with one (AWS API, CompleteMultipartUpload). */
function partNode({ number, etag, checksum }: UpstreamPart): XmlNode {
  return ['Part', [['PartNumber', String(number)], ['ETag', `"${etag}"`], ...checksum === null ? [] : [checksum]]]
}

/** The store's ETag of what it has made. The object is asked for it where the answer has none. @throws S3Error ServiceUnavailable. */
export async function storedEtag(ctx: BucketContext, { response, etag }: JoinedParts): Promise<string> {
  if (etag.replaceAll('"', '') !== '') return etag
  const version = response.headers.get('x-amz-version-id')
  const head = await send(ctx, { method: 'HEAD', query: version === undefined ? [] : [['versionId', version]], retry: true })
  head.body.resume()
  const found = head.headers.get('etag')
  // The object exists; only its ETag is not known. A retry will find it.
  if (head.status !== 200 || found === undefined) throw new S3Error('ServiceUnavailable')
  return found
}
