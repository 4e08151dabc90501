import type { Checksum } from '../../envelope/envelope.ts'
import type { Header, HttpResponse } from '../../http/message.ts'
import { type ObjectContext, type OperationContext, type UploadContext, send } from '../context.ts'
import { inspectObject, targetOf, retryOnChange } from '../objects/inspect.ts'
import { S3Error } from '../../errors.ts'
import type { ClientSealed } from '../objects/client-sealed.ts'
import { readEncryptionHeaders } from '../objects/object-keys.ts'
import { type InspectedObject, clientEtag } from '../objects/sealed-object.ts'
import { isMadeOf } from './client-upload.ts'
import { uploadHashOf } from './upload.ts'
import { renderXml, type XmlNode, childOf, rewriteXml } from '../../s3/xml.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { readDocument } from '../request-body.ts'
import { forwardedQuery, plainHeaders, successOf } from '../forward.ts'
import { slowResponse } from '../responses.ts'

/**
 * The answer to a Complete that was carried out before, by a request whose answer was lost or by another instance. The object itself proves
 * which upload and list it was made of.
 * @returns null when the object is missing or was made by another upload or list.
 * @throws S3Error ServiceUnavailable when this cannot be determined: the client may retry.
 */
export async function previousCompletion(ctx: UploadContext, listHash: Buffer): Promise<Completed | null> {
  const object = await inspectIfThere(ctx)
  if (object?.kind === 's3ec') return isMadeOf(object, uploadHashOf(ctx), listHash) ? ofClients(ctx, object) : null
  if (object?.kind !== 'multipart') return null
  const { manifest } = object
  if (!manifest.uploadHash.equals(uploadHashOf(ctx)) || !manifest.listHash.equals(listHash)) return null
  return completedAnswer(ctx, {
    etag: clientEtag(ctx, object),
    checksums: manifest.checksums,
    parts: manifest.parts.length,
    headers: [
      ...object.versionId === null ? [] : [['x-amz-version-id', object.versionId] as const],
      ...readEncryptionHeaders(ctx, object)
    ]
  })
}

/** The format has no place for checksums. */
function ofClients(ctx: UploadContext, object: ClientSealed): Completed {
  const headers: Header[] = object.versionId === null ? [] : [['x-amz-version-id', object.versionId]]
  return completedAnswer(ctx, { etag: clientEtag(ctx, object), checksums: [], parts: 0, headers })
}

async function inspectIfThere(ctx: ObjectContext): Promise<InspectedObject | null> {
  try {
    return await retryOnChange(() => inspectObject(ctx, targetOf(ctx)))
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    // Another object under this name: none at all, one sealed with another key, or one that Sealgate did not write.
    if (error.status === 404 || ['InvalidRequest', 'AccessDenied', 'SealgatePlaintextRefused'].includes(error.code)) return null
    throw new S3Error('ServiceUnavailable', {
      message: 'Cannot determine whether the upload has been completed. Please retry the request.',
      cause: error
    })
  }
}

/** The answer of a Complete. */
export interface Completed {
  readonly headers: readonly Header[]
  readonly document: Buffer
}

interface CompletedFacts {
  /** With quotes, as clients see it. */
  readonly etag: string
  readonly checksums: readonly Checksum[]
  readonly parts: number
  readonly headers: readonly Header[]
}

/** The answer of CompleteMultipartUpload: the same however often the request is repeated. */
export function completedAnswer(ctx: ObjectContext, { etag, checksums, parts, headers }: CompletedFacts): Completed {
  const fields: XmlNode[] = [['Location', locationOf(ctx)], ['Bucket', ctx.operation.bucket], ['Key', ctx.operation.key], ['ETag', etag]]
  for (const { algorithm, type, value } of checksums) {
    fields.push(
      [`Checksum${algorithm.toUpperCase()}`, `${value.toString('base64')}${type === 'composite' ? `-${parts}` : ''}`],
      ['ChecksumType', type === 'composite' ? 'COMPOSITE' : 'FULL_OBJECT']
    )
  }
  return { headers, document: renderXml(['CompleteMultipartUploadResult', fields]) }
}

/** The address of the object at the gateway, not at the store. */
function locationOf(ctx: OperationContext): string {
  const { secure, host, target } = ctx.request.http
  return `${secure ? 'https' : 'http'}://${host}${target.rawPath}`
}

/**
 * CompleteMultipartUpload in a bucket that is not encrypted: the store's answer with another `Location`, because clients would follow the store's
 * address and bypass the gateway.
 */
export async function completePlain(ctx: OperationContext<'CompleteMultipartUpload'>): Promise<HttpResponse> {
  const body = await readDocument(ctx)
  return slowResponse(async (addHeaders) => {
    const headers = plainHeaders(ctx).filter(([name]) => name !== 'content-md5')
    const response = await send(ctx, { method: 'POST', query: forwardedQuery(ctx), headers, body, contentLength: body.length })
    const document = await successOf(ctx, response)
    addHeaders(downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-type'))
    return rewriteXml(document, (editor, parsed) => {
      const location = childOf(parsed, parsed.root, 'Location')
      if (location !== undefined) editor.setText(location, locationOf(ctx))
    })
  })
}
