import type { Header, HttpResponse } from '../../http/message.ts'
import { type BucketContext, type ObjectContext, type OperationContext, conditionsIn, header, send } from '../context.ts'
import { storedSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { upstreamHeaders, downstreamHeaders } from '../../plan/headers.ts'
import { parseEtagList, unquoteEtag } from '../../s3/conditions.ts'
import { currentEtags } from './inspect.ts'
import { forwardedQuery } from '../forward.ts'
import { relayError, documentOf, expectSuccess, xmlResponse } from '../responses.ts'
import { type DeleteEntry, clientDocument, parseDelete } from '../../s3/documents.ts'
import { childOf, childrenOf, childText, parseXml, rewriteXml, upstreamDocument } from '../../s3/xml.ts'
import { readDocument } from '../request-body.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { parallelMap } from '../../concurrency/parallel.ts'
import { deleteInstructionFiles, instructionFilesOf, isInstructionFile } from './instruction-files.ts'

/** DeleteObject: conditions on what the client sees, enforced by the store on what it holds. */
export async function deleteObject(ctx: OperationContext<'DeleteObject'>): Promise<HttpResponse> {
  const files = ctx.operation.query.has('versionId') ? [] : await instructionFilesOf(ctx, [ctx.operation.key])
  const response = await send(ctx, {
    method: 'DELETE',
    query: forwardedQuery(ctx),
    headers: [...upstreamHeaders(ctx.request.headers, 'document'), ...await deleteConditions(ctx)]
  })
  await expectSuccess(ctx, response)
  await deleteInstructionFiles(ctx, files)
  return { status: 204, headers: downstreamHeaders(response.headers, 'written'), body: null }
}

async function deleteConditions(ctx: ObjectContext): Promise<Header[]> {
  const ifMatch = header(ctx, 'if-match')
  const size = header(ctx, 'x-amz-if-match-size')
  const modified = header(ctx, 'x-amz-if-match-last-modified-time')
  if (ifMatch === undefined && size === undefined && modified === undefined) return []
  if (!(await conditionsIn(ctx, ctx.operation.bucket)).delete) {
    throw new S3Error('NotImplemented', {
      message: 'The store behind this gateway does not enforce conditions on DELETE in this kind of bucket, or is not known to.',
      fields: { Header: 'If-Match' }
    })
  }
  const headers: Header[] = []
  if (modified !== undefined) headers.push(['x-amz-if-match-last-modified-time', modified])
  if (size !== undefined) headers.push(['x-amz-if-match-size', storedSizeOf(size)])
  if (ifMatch !== undefined) headers.push(['if-match', await storedEtagOf(ctx, ifMatch)])
  return headers
}

/** @throws S3Error InvalidArgument unless it is a size in bytes. */
function storedSizeOf(size: string): string {
  if (!/^\d{1,15}$/.test(size)) throw new S3Error('InvalidArgument', { fields: { ArgumentName: 'x-amz-if-match-size', ArgumentValue: size } })
  return String(storedSize(Number(size)))
}

async function storedEtagOf(ctx: ObjectContext, ifMatch: string): Promise<string> {
  const wanted = parseEtagList(ifMatch)
  if (wanted === '*') return '*'
  const current = await currentEtags(ctx, ctx.operation.bucket, ctx.operation.key)
  if (current === null) throw new S3Error('NoSuchKey')
  const visible = unquoteEtag(current.visible)
  if (!wanted.some(({ tag }) => tag === visible)) throw new S3Error('PreconditionFailed', { fields: { Condition: 'If-Match' } })
  return current.upstream
}

const PARALLEL_LOOKUPS = 32

/** `PreconditionFailed`: the object is not the one the client means. `AccessDenied`: the name is the gateway's. */
type Refusal = 'PreconditionFailed' | 'AccessDenied'

/** The conditions of a key, translated for the store. */
type Translated = { readonly etag: string | null; readonly size: number | null } | Refusal

/** DeleteObjects: conditions of single keys are translated, the rest of the document goes upstream unchanged. */
export async function deleteObjects(ctx: OperationContext<'DeleteObjects'>): Promise<HttpResponse> {
  const limits = clientDocument(ctx.services.config.limits.xmlBytes)
  const body = await readDocument(ctx)
  const { objects } = parseDelete(body, limits)
  const conditional = objects.some((entry) => entry.etag !== null || entry.size !== null || entry.lastModifiedTime !== null)
  if (conditional && !(await conditionsIn(ctx, ctx.operation.bucket)).delete) {
    throw new S3Error('NotImplemented', {
      message: 'The store behind this gateway does not enforce conditions on DELETE in this kind of bucket, or is not known to.'
    })
  }
  const changed = conditional || objects.some(({ key }) => isInstructionFile(ctx.policy, key))
  const translated = changed
    ? await parallelMap(objects, { limit: PARALLEL_LOOKUPS, signal: ctx.signal }, (entry, signal) => translate({ ...ctx, signal }, entry))
    : []
  const failed = objects.flatMap((entry, i): Failed[] => {
    const outcome = translated[i]
    return typeof outcome === 'string' ? [{ ...entry, code: outcome }] : []
  })
  const document = changed ? rewriteConditions(body, translated, limits) : body
  const whole = objects.filter(({ versionId }, i) => versionId === null && typeof translated[i] !== 'string')
  const files = await instructionFilesOf(ctx, whole.map(({ key }) => key))
  const headers = failed.length === objects.length ? null : await submit(ctx, document)
  const answer = headers ?? { headers: [], document: Buffer.from('<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult></DeleteResult>') }
  if (files.length > 0) {
    const kept = new Set(errorKeys(answer.document))
    await deleteInstructionFiles(ctx, files.filter(({ of }) => !kept.has(of)))
  }
  return xmlResponse(failed.length === 0 ? answer.document : addFailures(answer.document, failed), answer.headers)
}

async function submit(ctx: OperationContext, document: Buffer): Promise<{ headers: readonly (readonly [string, string])[]; document: Buffer }> {
  const response = await send(ctx, {
    method: 'POST',
    query: [['delete', null]],
    body: document,
    contentLength: document.length,
    headers: [...upstreamHeaders(ctx.request.headers, 'document'), contentMd5(document)]
  })
  if (response.status >= 300) throw await relayError(ctx, response)
  return {
    headers: downstreamHeaders(response.headers, 'written'),
    document: await documentOf(response)
  }
}

async function translate(ctx: BucketContext, entry: DeleteEntry): Promise<Translated> {
  if (isInstructionFile(ctx.policy, entry.key)) return 'AccessDenied'
  const size = entry.size === null ? null : storedSize(entry.size)
  if (entry.etag === null || entry.etag === '*') return { etag: entry.etag, size }
  const current = await currentEtags(ctx, ctx.operation.bucket, entry.key)
  if (current === null || unquoteEtag(current.visible) !== entry.etag) return 'PreconditionFailed'
  return { etag: current.upstream, size }
}

function rewriteConditions(body: Buffer, translated: readonly Translated[], limits: ReturnType<typeof clientDocument>): Buffer {
  return rewriteXml(body, (editor, document) => {
    for (const [i, element] of childrenOf(document.root, 'Object').entries()) {
      const entry = translated[i]
      if (entry === undefined || typeof entry === 'string') {
        editor.remove(element)
        continue
      }
      const etag = childOf(document, element, 'ETag')
      const size = childOf(document, element, 'Size')
      if (etag !== undefined && entry.etag !== null) editor.setText(etag, entry.etag)
      if (size !== undefined && entry.size !== null) editor.setText(size, String(entry.size))
    }
  }, limits)
}

interface Failed extends DeleteEntry {
  readonly code: Refusal
}

/** The keys that the store did not delete. */
function errorKeys(document: Buffer): string[] {
  const parsed = parseXml(document, upstreamDocument)
  return childrenOf(parsed.root, 'Error').map((element) => childText(parsed, element, 'Key') ?? '')
}

function addFailures(document: Buffer, failed: readonly Failed[]): Buffer {
  return rewriteXml(document, (editor, parsed) => {
    for (const { key, versionId, code } of failed) {
      const error = new S3Error(code)
      editor.append(parsed.root, ['Error', [
        ['Key', key],
        ...versionId === null ? [] : [['VersionId', versionId] as const],
        ['Code', error.code],
        ['Message', error.message]
      ]])
    }
  })
}
