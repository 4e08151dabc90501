import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { clientDocument } from '../../s3/documents.ts'
import { targetBucketsOf } from '../../s3/target-names.ts'
import { parseXml } from '../../s3/xml.ts'
import { forward } from '../forward.ts'

/**
 * PutBucketLogging, -Replication, -InventoryConfiguration, -AnalyticsConfiguration, -MetricsConfiguration and -NotificationConfiguration:
 * forwarded, when the client may write to the buckets they name. The store will write there by itself, with the rights of whoever owns both buckets, which is the gateway.
 * @throws S3Error MalformedXML, InvalidBucketName, AccessDenied, NoSuchBucket for the gateway's own buckets.
 */
export async function targetBuckets(x: Execution): Promise<HttpResponse> {
  return forward(x, (document) => {
    if (document.length === 0) return
    const parsed = parseXml(document, clientDocument(x.parts.config.limits.xmlBytes))
    for (const name of targetBucketsOf(x.operation.name, parsed)) {
      authorize(x.request.client, { bucket: name, write: true })
      if (isOwnBucket(x.parts.config.upstream, name)) throw new S3Error('NoSuchBucket')
    }
  })
}
