import type { HttpResponse } from '../../http/message.ts'
import { type OperationContext, send } from '../context.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { clientDocument, restoreSelects } from '../../s3/documents.ts'
import { targetBucketsOf, type TargetOperation } from '../../s3/target-names.ts'
import { parseXml } from '../../s3/xml.ts'
import { forward, forwardedQuery } from '../forward.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { readDocument } from '../request-body.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { expectSuccess } from '../responses.ts'

/**
 * PutBucketLogging, -Replication, -InventoryConfiguration, -AnalyticsConfiguration, -MetricsConfiguration and -NotificationConfiguration:
 * forwarded, when the client may write to the buckets they name. The store will write there by itself, with the rights of whoever owns both buckets, which is the gateway.
 * @throws S3Error MalformedXML, InvalidBucketName, AccessDenied, NoSuchBucket for the gateway's own buckets.
 */
export async function targetBuckets(ctx: OperationContext<TargetOperation>): Promise<HttpResponse> {
  return forward(ctx, (document) => {
    if (document.length === 0) return
    const parsed = parseXml(document, clientDocument(ctx.services.config.limits.xmlBytes))
    for (const name of targetBucketsOf(ctx.operation.name, parsed)) {
      authorize(ctx.request.client, { bucket: name, own: isOwnBucket(ctx.services.config.upstream, name), write: true })
    }
  })
}

/**
 * RestoreObject: forwarded, unless it asks for a SELECT.
 * @throws S3Error NotImplemented for a SELECT, which would run on sealed bytes.
 */
export async function restoreObject(ctx: OperationContext<'RestoreObject'>): Promise<HttpResponse> {
  const body = await readDocument(ctx)
  if (body.length > 0 && restoreSelects(body, clientDocument(ctx.services.config.limits.xmlBytes))) {
    throw new S3Error('NotImplemented', { message: 'The store would have to read the plaintext to select from it.' })
  }
  const response = await send(ctx, {
    method: 'POST',
    query: forwardedQuery(ctx),
    headers: [...upstreamHeaders(ctx.request.headers, 'document'), contentMd5(body)],
    body: body.length === 0 ? null : body,
    contentLength: body.length
  })
  await expectSuccess(ctx, response)
  return { status: response.status, headers: [...downstreamHeaders(response.headers, 'plain'), ['content-length', '0']], body: null }
}
