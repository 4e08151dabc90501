import type { Header } from '../../http/message.ts'
import type { CopySource } from '../../s3/names.ts'
import type { StoredObject } from '../objects/sealed-object.ts'
import type { Checksum } from '../../envelope/envelope.ts'
import { type ObjectContext, type OperationContext, header, send } from '../context.ts'
import { S3Error } from '../../errors.ts'
import { parseQuery, percentEncode } from '../../http/target.ts'
import { isDescribing } from '../../envelope/metadata.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { parseTagging, type Tag } from '../../s3/documents.ts'
import { parseErrorXml } from '../../s3/error-document.ts'
import { renderXml, upstreamDocument, type XmlNode } from '../../s3/xml.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { describedHeaders } from '../objects/response-headers.ts'
import { relayError, documentOf, expectSuccess } from '../responses.ts'

/** COPY or REPLACE. @throws S3Error InvalidArgument for anything else. */
export function directiveOf(ctx: OperationContext, name: 'x-amz-metadata-directive' | 'x-amz-tagging-directive'): 'COPY' | 'REPLACE' {
  const value = header(ctx, name) ?? 'COPY'
  if (value !== 'COPY' && value !== 'REPLACE') {
    const word = name === 'x-amz-metadata-directive' ? 'metadata' : 'tagging'
    throw new S3Error('InvalidArgument', { message: `Unknown ${word} directive.`, fields: { ArgumentName: name, ArgumentValue: value } })
  }
  return value
}

/**
 * Headers that describe the destination of a copy. All of them are sent with directive REPLACE: the envelope among the metadata is a new one, and
 * radosgw drops whatever is not sent.
 * @param tags from `copiedTags`; null: the store copies them.
 */
export function copiedHeaders(ctx: OperationContext, object: StoredObject, tags: string | null): Header[] {
  const own = upstreamHeaders(ctx.request.headers, 'copy')
  const description = directiveOf(ctx, 'x-amz-metadata-directive') === 'REPLACE'
    ? own.filter(([name]) => isDescribing(name))
    : describedHeaders(object).filter(([name]) => isDescribing(name))
  const settings = own.filter(([name]) => !isDescribing(name) && name !== 'x-amz-tagging')
  return [...description, ...settings, ...tags === null || tags === '' ? [] : [['x-amz-tagging', tags] as const]]
}

/**
 * The tags of a copy as `x-amz-tagging` carries them: those of the request, or those of the source.
 * @param by `store`: the store makes the copy. Where its HEAD counts no tags, it is left to copy them, as S3 does by default. Then either there are
 * none (radosgw, which loses them, and MinIO always count), or the client may not read them, and AWS refuses the copy itself. `gateway`: the
 * destination is written as a new object, without tags.
 * @returns null: left to the store; '': none.
 * @throws S3Error AccessDenied for tags that cannot be read: they are never lost silently.
 */
export async function copiedTags(ctx: OperationContext, source: CopySource, object: StoredObject, by: 'store' | 'gateway'): Promise<string | null> {
  if (directiveOf(ctx, 'x-amz-tagging-directive') === 'REPLACE') return header(ctx, 'x-amz-tagging') ?? ''
  const counted = Number(object.headers.get('x-amz-tagging-count') ?? 0) > 0
  if (by === 'store' && !counted) return null
  const tags = await tagsOf(ctx, source, object.versionId)
  if (tags !== null) return tags
  throw new S3Error('AccessDenied', {
    message: counted
      ? 'The source has tags, and the store does not let them be read (s3:GetObjectTagging): a copy would lose them.'
      : 'This copy passes through the gateway, and the store does not show whether the source has tags (s3:GetObjectTagging): a copy might lose them.'
  })
}

/** The tags of an object as `x-amz-tagging` carries them; empty when it has none or the store does not support tags; null: they may not be read. */
async function tagsOf(ctx: OperationContext, source: CopySource, versionId: string | null): Promise<string | null> {
  const query: [string, string | null][] = [['tagging', null]]
  if (versionId !== null) query.push(['versionId', versionId])
  const response = await send(ctx, { method: 'GET', bucket: source.bucket, key: source.key, query, retry: true })
  const absent = response.status === 404 || response.status === 501
  if (response.status === 403) {
    response.body.resume()
    return null
  }
  if (response.status >= 300 && !absent) throw await relayError(ctx, response)
  const document = await documentOf(response)
  // A proxy in front of the store may answer 404 as well: that must not lose tags.
  if (response.status === 404 && parseErrorXml(document) === null) throw new S3Error('SealgateBadUpstream')
  if (absent) return ''
  // radosgw 16 returns an empty body where it cannot read the tags that a copy has written.
  return document.length === 0 ? '' : tagQuery(parseTagging(document, upstreamDocument))
}

function tagQuery(tags: readonly Tag[]): string {
  return tags.map(([key, value]) => `${percentEncode(key, { keepSlash: false })}=${percentEncode(value, { keepSlash: false })}`).join('&')
}

/**
 * Makes sure that a copy has its tags: radosgw 16 accepts `x-amz-tagging` with a copy and stores it in a form that it cannot read. Where the tags may
 * not be read, they are written: sending tags with a copy needs that right anyway (AWS API, CopyObject).
 * @param wanted as `x-amz-tagging` carried them.
 * @throws the store's error: a copy without its tags is not what was asked for.
 */
export async function ensureTags(ctx: ObjectContext, wanted: string, versionId: string | null): Promise<void> {
  const tags = parseQuery(wanted).parameters.map(({ name, value }): Tag => [name, value ?? ''])
  const [bucket, key] = [ctx.operation.bucket, ctx.operation.key]
  const has = await tagsOf(ctx, { bucket, key, versionId }, versionId)
  if (has !== null && sortedQuery(has) === sortedQuery(tagQuery(tags))) return
  const body = renderXml(['Tagging', [['TagSet', tags.map(([name, value]) => ['Tag', [['Key', name], ['Value', value]]])]]])
  const query: [string, string | null][] = [['tagging', null]]
  if (versionId !== null) query.push(['versionId', versionId])
  const response = await send(ctx, { method: 'PUT', query, headers: [contentMd5(body), ['content-type', 'application/xml']], body })
  await expectSuccess(ctx, response)
}

function sortedQuery(query: string): string {
  return query.split('&').toSorted().join('&')
}

/** The CopyObjectResult of a copy. @param etag with quotes. */
export function copyResult(etag: string, lastModified: string | null, checksums: readonly Checksum[]): Buffer {
  const fields: XmlNode[] = [['ETag', etag], ['LastModified', lastModified ?? new Date().toISOString()]]
  for (const { algorithm, type, value } of checksums) {
    if (type === 'full') fields.push([`Checksum${algorithm.toUpperCase()}`, value.toString('base64')], ['ChecksumType', 'FULL_OBJECT'])
  }
  return renderXml(['CopyObjectResult', fields])
}
