import type { UpstreamResponse } from '../upstream/types.ts'
import type { Header, HttpResponse } from '../http/message.ts'
import { type OperationContext, header } from './context.ts'
import { diagnosis, nameOf, requestIdOf } from '../diagnosis.ts'
import { Finding, S3Error, s3ErrorCodes, type S3ErrorCode } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { downstreamHeaders } from '../plan/headers.ts'
import { parseErrorXml, type ParsedError } from '../s3/error-document.ts'
import { upstreamDocument } from '../s3/xml.ts'
import { withShownRegion } from './shown-region.ts'

const ERROR_LIMIT_BYTES = 65536
/** Extra elements of an error that a client may see: none that shows stored sizes or the store's own names. */
const relayedFields = new Set([
  'ArgumentName',
  'ArgumentValue',
  'Condition',
  'Key',
  'VersionId',
  'UploadId',
  'Header',
  'Method',
  'ResourceType',
  'StorageClass'
])
const relayedHeaders = /^(x-amz-delete-marker|x-amz-version-id|retry-after|x-amz-bucket-region|allow|access-control-.*|vary)$/i
/** Codes of stores for a body that does not match its digest; the third is MinIO's. */
const digestRefusals = new Set(['BadDigest', 'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch'])
/** In a bucket that is not encrypted a 304 or 416 may also describe the object. */
const untouchedHeaders = new RegExp(`${relayedHeaders.source}|^(etag|last-modified|content-range|cache-control|expires)$`, 'i')

/**
 * Turns an error status of the store into the client's error: same status, same code, the message, and only the fields that reveal nothing of stored
 * bytes. HEAD errors have no body, only a status. An unexpected success is an error of the store.
 */
export async function relayError(ctx: OperationContext, response: UpstreamResponse): Promise<S3Error> {
  if (!isError(ctx, response.status)) {
    response.body.destroy()
    return new S3Error('SealgateBadUpstream', { cause: new Finding(`success ${response.status} of another kind than was asked for`) })
  }
  const body = await documentOf(response, ERROR_LIMIT_BYTES)
  const untouched = ctx.policy?.encryption === 'off' && ctx.operation.bucket !== null
  const headers = withShownRegion(ctx, response.headers.entries.filter(([name]) => (untouched ? untouchedHeaders : relayedHeaders).test(name)))
  const parsed = body.length === 0 ? null : parseErrorXml(body)
  if (digestRefusals.has(parsed?.code ?? '') && !(untouched && header(ctx, 'x-amz-copy-source') === undefined)) {
    // The gateway made the bytes and their digest. A client would look for the fault on its side, and not retry.
    return new S3Error('SealgateBadUpstream', { message: 'The store did not receive the bytes that the gateway sent.', diagnosis: response.diagnosis ?? null })
  }
  // The answer to a HEAD has no document. Of what a client chooses in such a request, only the version id can be malformed.
  if (body.length === 0 && response.status === 400 && namesVersion(ctx)) {
    return new S3Error('InvalidArgument', {
      message: 'Invalid version id specified',
      fields: { ArgumentName: 'versionId' },
      headers,
      endedBy: 'store',
      diagnosis: response.diagnosis ?? null
    })
  }
  const known = parsed === null ? undefined : s3ErrorCodes.find((code) => code === parsed.code)
  const code = known ?? codeOfStatus(response.status, ctx)
  const fields = Object.fromEntries(Object.entries(parsed?.fields ?? {}).filter(([name]) => untouched || relayedFields.has(name)))
  return new S3Error(code, {
    ...messageOf(parsed),
    fields,
    headers,
    status: response.status,
    endedBy: 'store',
    diagnosis: response.diagnosis ?? null,
    ...(parsed === null || known !== undefined ? {} : { code: parsed.code })
  })
}

function namesVersion(ctx: OperationContext): boolean {
  return ctx.operation.query.has('versionId') || /\?versionId=/.test(header(ctx, 'x-amz-copy-source') ?? '')
}

/** Clients' conditions are never sent to the store, so a 304 is unexpected. */
function isError(ctx: OperationContext, status: number): boolean {
  return status >= 400 || (status === 304 && ctx.policy?.encryption === 'off')
}

/**
 * The store's message, unless it contains an ARN: AWS names the user or role of the gateway, with its account ("User: arn:aws:iam::… is not
 * authorized to perform: …"). Then the default message of the code is used.
 */
function messageOf(parsed: ParsedError | null): { readonly message?: string } {
  return parsed === null || parsed.message === '' || /\barn:/i.test(parsed.message) ? {} : { message: parsed.message }
}

/** The error inside a 200 of CompleteMultipartUpload and of copies (AWS API); null when there is none. */
export function errorOfDocument(document: Buffer, { status, headers }: UpstreamResponse): S3Error | null {
  const parsed = parseErrorXml(document)
  if (parsed === null) return null
  const known = s3ErrorCodes.find((code) => code === parsed.code)
  return new S3Error(known ?? 'InternalError', {
    ...messageOf(parsed),
    endedBy: 'store',
    ...(known === undefined ? { code: parsed.code } : {}),
    diagnosis: diagnosis('store', 'error inside of a success', {
      status,
      errorName: nameOf(parsed.code),
      remoteRequestId: requestIdOf(headers.get('x-amz-request-id'))
    })
  })
}

function codeOfStatus(status: number, ctx: OperationContext): S3ErrorCode {
  switch (status) {
    case 304:
      return 'NotModified'
    case 400:
      return 'BadRequest'
    case 403:
      return 'AccessDenied'
    case 404:
      return ctx.operation.key === null
        ? 'NoSuchBucket'
        : ctx.operation.uploadId !== null
        ? 'NoSuchUpload'
        : ctx.operation.query.has('versionId')
        ? 'NoSuchVersion'
        : 'NoSuchKey'
    case 405:
      return 'MethodNotAllowed'
    case 409:
      return 'ConditionalRequestConflict'
    case 412:
      return 'PreconditionFailed'
    case 416:
      return 'InvalidRange'
    case 501:
      return 'NotImplemented'
    case 503:
      return 'SlowDown'
    default:
      return status >= 500 ? 'InternalError' : 'BadRequest'
  }
}

/**
 * Checks that an answer is a success, and drops its body.
 * @returns the answer.
 * @throws the store's error as an S3Error.
 */
export async function expectSuccess(ctx: OperationContext, response: UpstreamResponse): Promise<UpstreamResponse> {
  if (response.status >= 300) throw await relayError(ctx, response)
  response.body.resume()
  return response
}

/** Reads a document of the store. @throws S3Error SealgateBadUpstream for one of more than `maxBytes`. */
export function documentOf({ body }: Pick<UpstreamResponse, 'body'>, maxBytes: number = upstreamDocument.maxBytes): Promise<Buffer> {
  return readAll(body, maxBytes, () => new S3Error('SealgateBadUpstream'))
}

/** Success with a document that the gateway makes. */
export function xmlResponse(body: Buffer, headers: readonly Header[] = []): HttpResponse {
  return { status: 200, headers: [...headers, ['content-type', 'application/xml'], ['content-length', String(body.length)]], body }
}

/** The store's success with a changed document. */
export function editedResponse(response: UpstreamResponse, body: Buffer): HttpResponse {
  const headers = downstreamHeaders(response.headers, 'plain').filter(([name]) => name !== 'content-length')
  return { status: 200, headers: [...headers, ['content-length', String(body.length)]], body }
}

/** Takes headers of the answer as soon as they are known: those that come after its head has been sent are lost. */
export type AddHeaders = (headers: readonly Header[]) => void

/**
 * An XML answer with status 200 that may take long, as those of copies and of CompleteMultipartUpload: clients give up after about 60 s of silence.
 * @param work makes the document. Its error is the answer, inside the 200 when that has begun.
 */
export function slowResponse(work: (addHeaders: AddHeaders) => Promise<Buffer>): HttpResponse {
  const headers: Header[] = [['content-type', 'application/xml']]
  const document = work((more) => {
    headers.push(...more)
  })
  // It may fail before anyone listens.
  document.catch(() => undefined)
  return { status: 200, headers: [], body: null, pending: { headers: () => headers, document } }
}
