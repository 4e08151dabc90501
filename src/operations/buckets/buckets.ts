import type { HttpResponse } from '../../http/message.ts'
import { type OperationContext, send, storeHere, storeOf } from '../context.ts'
import { SEGMENT_SIZE, storedSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { removeBucketDefault } from './bucket-encryption.ts'
import { forward, forwardForDocument, forwardedQuery, passThrough } from '../forward.ts'
import { withShownRegion, shownRegion, acceptsRegion } from '../shown-region.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { childOf, rewriteXml, textOf, upstreamDocument, parseXml, type XmlLimits } from '../../s3/xml.ts'
import { clientDocument, parseLocationConstraint, restoreSelects } from '../../s3/documents.ts'
import { lifecycleForClient, lifecycleForStore, targetBucketsOf, type TargetOperation } from '../../s3/bucket-settings.ts'
import { readDocument } from '../request-body.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { relayError, editedResponse, expectSuccess } from '../responses.ts'

/** Stored bytes of a small object beyond its plaintext, and plaintext per stored byte of a large one (docs/FORMAT.md, Size law). */
const OBJECT_OVERHEAD = storedSize(1) - 1
const PLAINTEXT_SHARE = SEGMENT_SIZE / (storedSize(2 * SEGMENT_SIZE) - storedSize(SEGMENT_SIZE))
const BYTES_USED = 'x-rgw-bytes-used'
const OBJECT_COUNT = 'x-rgw-object-count'

/**
 * DeleteBucket also removes what the gateway keeps of the bucket, even where the bucket is gone already: an earlier request may have failed half-way,
 * and the next bucket of this name must not inherit.
 */
export async function deleteBucket(ctx: OperationContext<'DeleteBucket'>): Promise<HttpResponse> {
  const outcome = await forward(ctx).catch((error: unknown) => {
    if (error instanceof S3Error && error.code === 'NoSuchBucket') return error
    throw error
  })
  ctx.services.settings.corsAt(storeHere(ctx).settings.name).forget(ctx.operation.bucket)
  await removeBucketDefault(ctx, ctx.operation.bucket)
  if (outcome instanceof S3Error) throw outcome
  return outcome
}

/** PutBucketCors, DeleteBucketCors: a preflight that follows must not be answered from the old rules. */
export async function changeCors(ctx: OperationContext<'PutBucketCors' | 'DeleteBucketCors'>): Promise<HttpResponse> {
  const response = await forward(ctx)
  ctx.services.settings.corsAt(storeHere(ctx).settings.name).forget(ctx.operation.bucket)
  return response
}

/**
 * HeadBucket. Ceph returns the bytes of a bucket. The plaintext of sealed objects follows from the size law except for the number of segments, so the
 * size shown is off by at most 20 bytes per object.
 */
export async function headBucket(ctx: OperationContext<'HeadBucket'>): Promise<HttpResponse> {
  const answered = await forward(ctx)
  const response = { ...answered, headers: withShownRegion(ctx, answered.headers) }
  const numberIn = (name: string): number => Number(response.headers.find(([header]) => header === name)?.[1] ?? Number.NaN)
  const stored = numberIn(BYTES_USED) - numberIn(OBJECT_COUNT) * OBJECT_OVERHEAD
  const headers = response.headers.filter(([name]) => name !== BYTES_USED)
  if (ctx.policy.encryption === 'off') return response
  if (!Number.isSafeInteger(stored)) return { ...response, headers }
  const plaintext = Math.max(0, Math.ceil(stored * PLAINTEXT_SHARE))
  return { ...response, headers: [...headers, [BYTES_USED, String(plaintext)]] }
}

/** Get- and PutBucketLifecycleConfiguration: the store compares what it stores, so size filters are converted both ways. */
export async function lifecycle(ctx: OperationContext<'GetBucketLifecycleConfiguration' | 'PutBucketLifecycleConfiguration'>): Promise<HttpResponse> {
  return ctx.operation.name === 'PutBucketLifecycleConfiguration' ? putLifecycle(ctx) : getLifecycle(ctx)
}

async function getLifecycle(ctx: OperationContext): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(ctx)
  const body = lifecycleForClient(document, storedSize, upstreamDocument)
  return editedResponse(response, body)
}

async function putLifecycle(ctx: OperationContext): Promise<HttpResponse> {
  const body = lifecycleForStore(await readDocument(ctx), storedSize, clientDocument(ctx.services.config.limits.xmlBytes))
  const headers = [...upstreamHeaders(ctx.request.headers, 'document'), contentMd5(body)]
  const response = await send(ctx, { method: 'PUT', query: forwardedQuery(ctx), headers, body, contentLength: body.length })
  await expectSuccess(ctx, response)
  return { status: response.status, headers: [...downstreamHeaders(response.headers, 'plain'), ['content-length', '0']], body: null }
}

/** The region that has no LocationConstraint (AWS API, CreateBucket, GetBucketLocation). */
const UNNAMED = 'us-east-1'

/** Codes of AWS, Ceph and MinIO for a location they do not have. */
const noSuchLocation: ReadonlySet<string> = new Set([
  'InvalidLocationConstraint',
  'IllegalLocationConstraintException',
  'InvalidRegion',
  'InvalidRegionName'
])

/**
 * CreateBucket. Clients name the region that they sign for. The store behind the gateway may have another name for it or none
 * (docs/decisions/0032-regions-of-buckets.md), so it is sent the name of its own region, or none where it rejects that as well.
 */
export async function createBucket(ctx: OperationContext<'CreateBucket'>): Promise<HttpResponse> {
  const document = await readDocument(ctx)
  const kind = ctx.policy.encryption === 'off' ? 'plain-data' : 'document'
  // The digests are of the client's document and have been verified.
  const headers = upstreamHeaders(ctx.request.headers, kind).filter(([name]) => name !== 'content-md5' && !name.startsWith('x-amz-checksum-'))
  const put = (body: Buffer) => send(ctx, { method: 'PUT', headers, body: body.length === 0 ? null : body, contentLength: body.length })
  const [first, ...others] = documentsFor(ctx, document)
  let response = await put(first)
  for (const other of others) {
    if (response.status < 400) break
    const error = await relayError(ctx, response)
    if (!noSuchLocation.has(error.code)) throw error
    response = await put(other)
  }
  if (response.status >= 400) throw await relayError(ctx, response)
  return passThrough(response)
}

/** The documents to send to the store, in order: the next one when it does not know the location. */
function documentsFor(ctx: OperationContext, document: Buffer): readonly [Buffer, ...Buffer[]] {
  const limits = clientDocument(ctx.services.config.limits.xmlBytes)
  const wanted = parseLocationConstraint(document, limits)
  const { region } = storeHere(ctx).settings
  // Ceph: `zonegroup:placement` chooses where bytes are kept; no region contains a colon. The store decides on names that the gateway does not
  // accept.
  if (wanted === null || wanted.includes(':') || !(wanted === region || acceptsRegion(ctx, wanted))) return [document]
  const unnamed = withLocation(document, null, limits)
  return region === UNNAMED ? [unnamed] : [withLocation(document, region, limits), unnamed]
}

/** @param region null: the element is removed, and with it a document that would then be empty. */
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
export async function bucketLocation(ctx: OperationContext<'GetBucketLocation'>): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(ctx)
  const body = rewriteXml(document, (editor, parsed) => {
    if (parsed.root.name !== 'LocationConstraint') throw new S3Error('SealgateBadUpstream')
    const said = textOf(parsed, parsed.root).trim()
    const region = said === '' ? UNNAMED : said
    const shown = shownRegion(ctx, region)
    if (shown !== region) editor.setText(parsed.root, shown === UNNAMED ? '' : shown)
  })
  return editedResponse(response, body)
}

/**
 * PutBucketLogging, -Replication, -InventoryConfiguration, -AnalyticsConfiguration, -MetricsConfiguration and -NotificationConfiguration: forwarded
 * when the client may write to the buckets they name. The store will write there with the rights of the owner of both buckets, which is the gateway.
 * A bucket of the same name at another store is not the one that the client means.
 * @throws S3Error MalformedXML, InvalidBucketName, AccessDenied, NoSuchBucket for the gateway's own buckets, InvalidRequest for one at another store.
 */
export async function targetBuckets(ctx: OperationContext<TargetOperation>): Promise<HttpResponse> {
  return forward(ctx, (document) => {
    if (document.length === 0) return
    const parsed = parseXml(document, clientDocument(ctx.services.config.limits.xmlBytes))
    for (const name of targetBucketsOf(ctx.operation.name, parsed)) {
      authorize(ctx.request.client, { bucket: name, own: isOwnBucket(ctx.services.config, name), write: true })
      if (storeOf(ctx.services, name) !== storeHere(ctx)) throw new S3Error('InvalidRequest', { message: `The bucket ${name} is not at the same store.` })
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
