import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { S3Error } from '../../errors.ts'
import { clientDocument, parseLocationConstraint } from '../../s3/documents.ts'
import { childOf, parseXml, rewriteXml, textOf, type XmlLimits } from '../../s3/xml.ts'
import { readDocument } from '../request-body.ts'
import { send } from '../context.ts'
import { forwardForDocument, passThrough } from '../forward.ts'
import { relayError } from '../responses.ts'
import { acceptsRegion, shownRegion } from '../shown-region.ts'

/** The region that has no LocationConstraint (AWS API, CreateBucket, GetBucketLocation). */
const UNNAMED = 'us-east-1'

/** What AWS, Ceph and MinIO say of a location they do not have. */
const noSuchLocation: ReadonlySet<string> = new Set([
  'InvalidLocationConstraint', 'IllegalLocationConstraintException', 'InvalidRegion', 'InvalidRegionName'
])

/**
 * CreateBucket. Clients name the region they sign for, which the store behind the gateway may know by another name or not at all
 * (docs/decisions/0032-regions-of-buckets.md): it is sent the name of its own region, and none where it does not know that either.
 */
export async function createBucket(x: Execution): Promise<HttpResponse> {
  const document = await readDocument(x)
  const kind = x.policy.encryption === 'off' ? 'plain-data' : 'document'
  // Digests are of the client's document, and have been verified.
  const headers = upstreamHeaders(x.request.headers, kind).filter(([name]) => name !== 'content-md5' && !name.startsWith('x-amz-checksum-'))
  const put = (body: Buffer) => send(x, { method: 'PUT', headers, body: body.length === 0 ? null : body, contentLength: body.length })
  const [first, ...others] = documentsFor(x, document)
  let response = await put(first)
  for (const other of others) {
    if (response.status < 400) break
    const error = await relayError(x, response)
    if (!noSuchLocation.has(error.code)) throw error
    response = await put(other)
  }
  if (response.status >= 400) throw await relayError(x, response)
  return passThrough(response)
}

/** What the store is asked for, in order: the next when it does not know the location. */
function documentsFor(x: Execution, document: Buffer): readonly [Buffer, ...Buffer[]] {
  const limits = clientDocument(x.parts.config.limits.xmlBytes)
  const wanted = parseLocationConstraint(document, limits)
  const { region } = x.parts.config.upstream
  // Ceph: `zonegroup:placement`, which chooses where bytes lie; no region is written so. What the gateway does not accept is the store's to judge.
  if (wanted === null || wanted.includes(':') || !(wanted === region || acceptsRegion(x, wanted))) return [document]
  const unnamed = withLocation(document, null, limits)
  return region === UNNAMED ? [unnamed] : [withLocation(document, region, limits), unnamed]
}

/** @param region null: without the element, and without a document that would be empty then. */
function withLocation(document: Buffer, region: string | null, limits: XmlLimits): Buffer {
  if (region === null && parseXml(document, limits).root.children.length === 1) return Buffer.alloc(0)
  return rewriteXml(document, (editor, parsed) => {
    const location = childOf(parsed, parsed.root, 'LocationConstraint')
    if (location === undefined) return
    if (region === null) editor.remove(location)
    else editor.setText(location, region)
  }, limits)
}

/** GetBucketLocation: the store's own answer where clients may sign for that region, else the gateway's region. */
export async function bucketLocation(x: Execution): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(x)
  const body = rewriteXml(document, (editor, parsed) => {
    if (parsed.root.name !== 'LocationConstraint') throw new S3Error('SealgateBadUpstream')
    const said = textOf(parsed, parsed.root).trim()
    const region = said === '' ? UNNAMED : said
    const shown = shownRegion(x, region)
    if (shown !== region) editor.setText(parsed.root, shown === UNNAMED ? '' : shown)
  })
  const headers = downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-length')
  return { status: 200, headers: [...headers, ['content-length', String(body.length)]], body }
}
