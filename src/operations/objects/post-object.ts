import type { AuthContext, Authenticated } from '../../auth/types.ts'
import type { HttpRequest, HttpResponse } from '../../http/message.ts'
import type { BodySource } from '../request-body.ts'
import type { OperationContext } from '../context.ts'
import { authenticateForm } from '../../auth/authenticate.ts'
import { S3Error } from '../../errors.ts'
import { percentEncode, Query } from '../../http/target.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { checkKey } from '../../s3/names.ts'
import { readFormFields, type PostForm } from '../../s3/post-form.ts'
import { parseTagging, clientDocument } from '../../s3/documents.ts'
import { renderXml } from '../../s3/xml.ts'
import { xmlResponse } from '../responses.ts'
import { refuseInstructionFile } from './instruction-files.ts'
import { sealObject, storePlain } from './put-object.ts'

/**
 * Reads a browser form up to its file and authenticates it by its policy. The signature is in the body, so up to 64 KiB of it are read before the
 * client is authenticated; the file is not.
 * @throws S3Error MissingContentLength when the size of the file is not known; the errors of the form and its policy.
 */
export async function authenticatedForm(request: HttpRequest, auth: AuthContext, bucket: string): Promise<{ request: Authenticated; form: PostForm }> {
  request.admit?.({ kind: 'form' })
  request.sendContinue()
  const form = await readFormFields(request.body, request.headers.get('content-type') ?? '')
  const { client, fields, withFile } = authenticateForm(request, { ...form, bucket }, auth)
  request.admit?.({ kind: 'client', id: client.accessKeyId, limits: client.limits })
  const { file, fileLength } = await form.openFile(request.contentLength)
  if (fileLength === null) throw new S3Error('MissingContentLength')
  return { request: withFile(fileLength), form: { fields, file } }
}

/** PostObject: the file of a browser form, stored as PutObject stores it (AWS API, "POST Object"). */
export async function postObject(ctx: OperationContext<'PostObject'>): Promise<HttpResponse> {
  // A form carries its credentials inside (see isFormUpload); S3 accepts no form with other credentials.
  if (ctx.form === null) throw new S3Error('AccessDenied')
  const { fields, file } = ctx.form
  const key = fields.get('key')
  if (key === undefined) {
    throw new S3Error('InvalidArgument', { message: 'Bucket POST must contain a field named \'key\'.', fields: { ArgumentName: 'key' } })
  }
  checkKey(key)
  refuseInstructionFile(ctx.policy, key, true)
  const bucket = ctx.operation.bucket
  const put: OperationContext<'PutObject'> = { ...ctx, operation: { name: 'PutObject', bucket, key, query: new Query([]), uploadId: null } }
  const source: BodySource = { stream: file, payload: ctx.request.payload }
  const describing = withTags(ctx, fields.get('tagging'))
  const { headers, etag } = ctx.policy.encryption === 'off'
    ? await storePlain(put, source, upstreamHeaders(describing, 'plain-data'))
    : await sealObject(put, source, describing)
  return answerOf(fields, headers, { bucket, key, etag, location: locationOf(ctx, key) })
}

/** The `tagging` field is a document; PutObject takes tags as a query string. */
function withTags(ctx: OperationContext, tagging: string | undefined): ReadonlyMap<string, string> {
  if (tagging === undefined) return ctx.request.headers
  const tags = parseTagging(Buffer.from(tagging, 'utf8'), clientDocument(ctx.services.config.limits.xmlBytes))
  const query = tags.map(([name, value]) => `${percentEncode(name, { keepSlash: false })}=${percentEncode(value, { keepSlash: false })}`).join('&')
  return new Map([...ctx.request.headers, ['x-amz-tagging', query]])
}

/** Forms are posted to the bucket, in the path or in the host: the key follows either. */
function locationOf(ctx: OperationContext, key: string): string {
  const { secure, host, target } = ctx.request.http
  return `${secure ? 'https' : 'http'}://${host}${target.rawPath.replace(/\/$/, '')}/${percentEncode(key, { keepSlash: true })}`
}

interface Posted {
  readonly bucket: string
  readonly key: string
  readonly etag: string
  readonly location: string
}

function answerOf(fields: ReadonlyMap<string, string>, headers: HttpResponse['headers'], posted: Posted): HttpResponse {
  const { bucket, key, etag, location } = posted
  const redirect = redirectOf(fields)
  if (redirect !== null) {
    for (const [name, value] of Object.entries({ bucket, key, etag })) redirect.searchParams.append(name, value)
    return { status: 303, headers: [...headers, ['location', redirect.href], ['content-length', '0']], body: null }
  }
  const status = fields.get('success_action_status')
  if (status === '201') {
    const body = renderXml(['PostResponse', [['Location', location], ['Bucket', bucket], ['Key', key], ['ETag', etag]]], null)
    return { ...xmlResponse(body, [...headers, ['location', location]]), status: 201 }
  }
  return { status: status === '200' ? 200 : 204, headers: [...headers, ['location', location], ['content-length', '0']], body: null }
}

/** S3 ignores a redirect that is not a valid address. */
function redirectOf(fields: ReadonlyMap<string, string>): URL | null {
  const text = fields.get('success_action_redirect') ?? fields.get('redirect')
  return text !== undefined && URL.canParse(text) && /^https?:/i.test(text) ? new URL(text) : null
}
