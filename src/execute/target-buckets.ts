import type { HttpResponse } from '../http/message.ts'
import type { Execution } from './context.ts'
import { authorize } from '../auth/authorize.ts'
import { isOwnBucket } from '../config.ts'
import { S3Error } from '../errors.ts'
import { clientDocument } from '../s3/documents.ts'
import { parseXml, textOf, type XmlDocument, type XmlElement } from '../s3/xml.ts'
import { forward } from './forward.ts'

/** `TargetBucket` of access logs; `Bucket` of the destination of replicas, inventories and analytics (AWS API). */
const naming: ReadonlySet<string> = new Set(['TargetBucket', 'Bucket'])

/**
 * PutBucketLogging, -Replication, -InventoryConfiguration, -AnalyticsConfiguration: forwarded, when the client may write to the
 * buckets they name. The store will write there by itself, with the rights of whoever owns both buckets, which is the gateway.
 * @throws S3Error MalformedXML, AccessDenied, NoSuchBucket for the state bucket.
 */
export async function targetBuckets(x: Execution): Promise<HttpResponse> {
  return forward(x, (document) => {
    if (document.length === 0) return
    const parsed = parseXml(document, clientDocument(x.parts.config.limits.xmlBytes))
    for (const name of bucketsIn(parsed, parsed.root)) {
      authorize(x.request.client, { bucket: name, write: true })
      if (isOwnBucket(x.parts.config.upstream, name)) throw new S3Error('NoSuchBucket')
    }
  })
}

/** Names, plain or behind the last colon of an ARN. @throws S3Error MalformedXML where elements stand inside a name. */
function bucketsIn(document: XmlDocument, element: XmlElement): string[] {
  if (!naming.has(element.name)) return element.children.flatMap((child) => bucketsIn(document, child))
  if (element.children.length > 0) throw new S3Error('MalformedXML')
  return [textOf(document, element).trim().replace(/^.*:/s, '')]
}
