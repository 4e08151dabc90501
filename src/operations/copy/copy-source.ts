import type { Checksum } from '../../envelope/envelope.ts'
import type { HeaderList, Header } from '../../http/message.ts'
import { type OperationContext, enterSeveralStores, header, storeHere, storeOf, type ObjectContext, send } from '../context.ts'
import { inspectNamed, withDigests } from '../objects/inspect.ts'
import { refuseInstructionFile } from '../objects/instruction-files.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { evaluateConditions } from '../../s3/conditions.ts'
import { parseCopySource, type CopySource } from '../../s3/names.ts'
import { customerKeyOfSource } from '../objects/object-keys.ts'
import { checksumsOf, validatorsOf, type InspectedObject, type StoredObject } from '../objects/sealed-object.ts'
import { checksumAlgorithms, parseChecksum, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../../http/checksums.ts'
import { parseQuery, percentEncode } from '../../http/target.ts'
import { isDescribing } from '../../envelope/metadata.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { parseTagging, type Tag } from '../../s3/documents.ts'
import { parseErrorXml } from '../../s3/error-document.ts'
import { renderXml, upstreamDocument, type XmlNode } from '../../s3/xml.ts'
import { contentMd5 } from '../../store-client/object-properties.ts'
import { describedHeaders } from '../objects/response-headers.ts'
import { relayError, documentOf, expectSuccess } from '../responses.ts'

/** The source of a copy. @throws S3Error InvalidArgument, NoSuchBucket for the state bucket, AccessDenied. */
export function copySourceOf(ctx: OperationContext): CopySource {
  const value = header(ctx, 'x-amz-copy-source')
  if (value === undefined) throw new S3Error('InvalidArgument', { fields: { ArgumentName: 'x-amz-copy-source' } })
  const source = parseCopySource(value)
  authorize(ctx.request.client, {
    bucket: source.bucket,
    own: isOwnBucket(ctx.services.config, source.bucket),
    write: false,
    publicRead: ctx.services.policyFor(source.bucket).publicRead !== false
  })
  refuseInstructionFile(ctx.services.policyFor(source.bucket), source.key, false)
  if (!isHere(ctx, source)) enterSeveralStores(ctx)
  return source
}

/** Whether the source is at the store of the destination: only there can the store copy. */
export function isHere(ctx: OperationContext, { bucket }: CopySource): boolean {
  return storeOf(ctx.services, bucket) === storeHere(ctx)
}

/**
 * Inspects the source and evaluates the client's conditions against what clients see of it.
 * @throws S3Error PreconditionFailed; the errors of `inspectNamed`.
 */
export async function inspectSource(ctx: OperationContext, source: CopySource): Promise<InspectedObject> {
  // Sent even where source and destination are in one bucket: `send` adds the header of the destination's owner there.
  const owner = header(ctx, 'x-amz-source-expected-bucket-owner')
  const { encryption, plaintext } = ctx.services.policyFor(source.bucket)
  const headers = [
    ...owner === undefined ? [] : [['x-amz-expected-bucket-owner', owner] as const],
    // The copy of an unencrypted object keeps the checksums that the store has.
    ...encryption === 'off' || plaintext === 'allow' ? [['x-amz-checksum-mode', 'ENABLED'] as const] : []
  ]
  const inspected = await inspectNamed(ctx, { ...source, customerKey: customerKeyOfSource(ctx), headers })
  const verdict = evaluateConditions({
    ifMatch: header(ctx, 'x-amz-copy-source-if-match'),
    ifNoneMatch: header(ctx, 'x-amz-copy-source-if-none-match'),
    ifModifiedSince: header(ctx, 'x-amz-copy-source-if-modified-since'),
    ifUnmodifiedSince: header(ctx, 'x-amz-copy-source-if-unmodified-since')
  }, validatorsOf(ctx, inspected))
  if (verdict !== 'pass') throw new S3Error('PreconditionFailed')
  return inspected
}

/** The checksum a copy is to have. */
export interface CopiedChecksum {
  readonly algorithm: ChecksumAlgorithm
  /** Over the bytes of the whole object, as the source states it; null: to be computed. */
  readonly value: Buffer | null
}

/**
 * The checksum that S3 gives a copy: over the whole of it, of the algorithm that the client names, else of the source's (AWS, "Checking object
 * integrity").
 * @returns null when neither names one.
 * @throws S3Error InvalidRequest for an algorithm that is not computed here; ObjectChanged.
 */
export async function copiedChecksum(ctx: OperationContext, object: InspectedObject): Promise<CopiedChecksum | null> {
  const named = header(ctx, 'x-amz-checksum-algorithm')
  const asked = named === undefined ? null : requireChecksumAlgorithm(named)
  const had = object.kind === 'plain' ? checksumsIn(object.headers) : checksumsOf(await withDigests(ctx, object))
  const algorithm = asked ?? had[0]?.algorithm
  if (algorithm === undefined) return null
  return { algorithm, value: had.find((one) => one.algorithm === algorithm && one.type === 'full')?.value ?? null }
}

/** The checksums that the store returns of an unencrypted object. */
function checksumsIn(headers: HeaderList): Pick<Checksum, 'algorithm' | 'type' | 'value'>[] {
  return Object.keys(checksumAlgorithms).map((name) => name as ChecksumAlgorithm).flatMap((algorithm) => {
    const text = headers.get(`x-amz-checksum-${algorithm}`)
    if (text === undefined) return []
    const value = headers.get('x-amz-checksum-type') === 'COMPOSITE' ? null : parseChecksum(algorithm, text)
    return [{ algorithm, type: value === null ? 'composite' as const : 'full' as const, value: value ?? Buffer.alloc(0) }]
  })
}

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
