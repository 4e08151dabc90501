import type { Header, HttpResponse } from '../http/message.ts'
import type { UpstreamResponse } from '../upstream/types.ts'
import { type CopySource, formatCopySource } from '../s3/names.ts'
import { type OperationContext, type Store, header, send, storedChecksum } from './context.ts'
import { BodyVerifier } from '../auth/body-verifier.ts'
import { S3Error } from '../errors.ts'
import { StagedReadable } from '../http/stage.ts'
import { isGeneralSseHeader } from '../keys/sse-headers.ts'
import { downstreamHeaders, upstreamHeaders } from '../plan/headers.ts'
import { operations } from '../s3/operations.ts'
import { HoldLast, readDocument, readVerified, requestBody, streamUpstream } from './request-body.ts'
import { contentMd5 } from '../store-client/object-properties.ts'
import { slowResponse, errorOfDocument, relayError, documentOf } from './responses.ts'
import { SMALL_BODY_BYTES } from './objects/put-object.ts'

/**
 * An operation that encryption does not affect: re-signed, its headers filtered, its body unchanged.
 * @param examine throws when the document of the request, which is verified by then, must not reach the store.
 */
export async function forward(ctx: OperationContext, examine?: (document: Buffer) => void): Promise<HttpResponse> {
  const row = operations[ctx.operation.name]
  const method = ctx.request.http.method
  refuseSplitting(ctx)
  const response = row.takesBody === 'data' ? await forwardData(ctx) : await forwardDocument(ctx, row.requiresDigest, examine)
  if (response.status >= 400 || response.status === 304) throw await relayError(ctx, response)
  if (method === 'HEAD') {
    response.body.resume()
    return { status: response.status, headers: passedHeaders(response), body: null }
  }
  return passThrough(response)
}

/** radosgw 16 writes response overrides into its answer unchanged: a line break in one would split the answer. */
function refuseSplitting(ctx: OperationContext): void {
  for (const { name, value } of ctx.operation.query.parameters) {
    if (name.startsWith('response-') && /[\x00-\x08\x0a-\x1f\x7f]/.test(value ?? '')) {
      throw new S3Error('InvalidArgument', { message: 'Header value cannot be represented using ISO-8859-1.', fields: { ArgumentName: name } })
    }
  }
}

/**
 * CopyObject or UploadPartCopy between buckets that are not encrypted. The source header is written again from what was authorised, so that the store
 * copies nothing else. Without it the request would write an empty object.
 */
export function forwardCopy(ctx: OperationContext, source: CopySource): HttpResponse {
  const range = header(ctx, 'x-amz-copy-source-range')
  const headers: Header[] = [...plainHeaders(ctx), ['x-amz-copy-source', formatCopySource(source)]]
  if (range !== undefined) headers.push(['x-amz-copy-source-range', range])
  return slowResponse(async (addHeaders) => {
    const response = await send(ctx, { method: 'PUT', query: forwardedQuery(ctx), headers })
    if (response.status < 300) addHeaders(downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-type'))
    return successOf(ctx, response)
  })
}

/**
 * The document of a copy or a Complete, whose errors may come inside a 200 (AWS API, CopyObject, CompleteMultipartUpload).
 * @throws the store's error as an S3Error.
 */
export async function successOf(ctx: OperationContext, response: UpstreamResponse): Promise<Buffer> {
  if (response.status >= 300) throw await relayError(ctx, response)
  const document = await documentOf(response)
  const failed = errorOfDocument(document, response)
  if (failed !== null) throw failed
  return document
}

/**
 * The client's headers for a bucket that is not encrypted. SSE-S3 and SSE-KMS headers are valid when an upload is created. With later requests AWS
 * refuses them and MinIO and Ceph ignore them, so they are dropped (docs/decisions/0031-sse-headers-of-parts.md).
 */
export function plainHeaders(ctx: OperationContext): Header[] {
  const headers = upstreamHeaders(ctx.request.headers, 'plain-data')
  return ctx.operation.uploadId !== null ? headers.filter(([name]) => !isGeneralSseHeader(name)) : headers
}

/** The query of the client's operation as it goes upstream. */
export function forwardedQuery(ctx: OperationContext): (readonly [string, string | null])[] {
  return ctx.operation.query.parameters.map(({ name, value }) => [name, value] as const)
}

/** The store's document answer to a forwarded request. @throws the store's error as an S3Error. */
export async function forwardForDocument(
  ctx: OperationContext,
  query: readonly (readonly [string, string | null])[] = forwardedQuery(ctx),
  at?: Store
): Promise<{ response: UpstreamResponse; document: Buffer }> {
  const response = await send(ctx, { method: ctx.request.http.method, query, headers: upstreamHeaders(ctx.request.headers, 'document'), retry: true }, at)
  if (response.status >= 300) throw await relayError(ctx, response)
  return { response, document: await documentOf(response) }
}

async function forwardDocument(ctx: OperationContext, requiresDigest: boolean, examine?: (document: Buffer) => void): Promise<UpstreamResponse> {
  // An unexpected body has been verified and is not sent.
  const body = operations[ctx.operation.name].takesBody === 'none' ? Buffer.alloc(0) : await readDocument(ctx)
  examine?.(body)
  const method = ctx.request.http.method
  // In a bucket that is not encrypted the store handles ranges, conditions and checksums; in a sealed one it never does.
  const untouched = ctx.policy?.encryption === 'off' && ctx.operation.bucket !== null
  const headers = (untouched ? plainHeaders(ctx) : upstreamHeaders(ctx.request.headers, 'document')).filter(([name]) => name !== 'content-md5')
  if (requiresDigest && body.length > 0) headers.push(contentMd5(body))
  return send(ctx, {
    method,
    query: forwardedQuery(ctx),
    headers,
    body: body.length === 0 ? null : body,
    contentLength: body.length,
    retry: method === 'GET' || method === 'HEAD',
    pool: ctx.operation.name === 'GetObject' ? 'data' : 'control'
  })
}

/**
 * Object data of a bucket that is not encrypted: verified on the way, byte for byte what the client sent. A checksum in a header is passed with the
 * other headers. A trailing checksum is sent as a trailer, where the store is known to accept that.
 */
async function forwardData(ctx: OperationContext): Promise<UpstreamResponse> {
  const source = requestBody(ctx)
  const verifier = new BodyVerifier(source.payload, { computeMd5: false })
  const sent = {
    method: ctx.request.http.method,
    query: forwardedQuery(ctx),
    headers: plainHeaders(ctx),
    pool: 'data',
    checksum: storedChecksum(ctx) === null ? null : source.payload.trailer
  } as const
  if (source.payload.length <= SMALL_BODY_BYTES) return send(ctx, { ...sent, body: await readVerified(ctx, source, verifier, SMALL_BODY_BYTES) })
  return streamUpstream(ctx, source, [verifier, new HoldLast()], (body) => send(ctx, { ...sent, body, contentLength: source.payload.length }))
}

function passedHeaders(response: UpstreamResponse): Header[] {
  const length = response.headers.get('content-length')
  return [...downstreamHeaders(response.headers, 'plain'), ...length === undefined ? [] : [['content-length', length] as const]]
}

/** The store's answer with its headers filtered. A document of unknown length is read first. */
export async function passThrough(response: UpstreamResponse): Promise<HttpResponse> {
  const headers = passedHeaders(response)
  if (response.headers.has('content-length')) {
    return { status: response.status, headers, body: new StagedReadable(response.body, [], { destroySource: true }) }
  }
  const document = await documentOf(response)
  return { status: response.status, headers: [...headers, ['content-length', String(document.length)]], body: document }
}
