import type { ManifestOf, ManifestPart } from '../../envelope/manifest.ts'
import type { HttpResponse } from '../../http/message.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { Hint } from '../caches.ts'
import type { Checksum } from '../../envelope/envelope.ts'
import { type ObjectContext, type OperationContext, placeOf, send, header } from '../context.ts'
import { type InspectedObject, checksumText, checksumsOf, clientEtag, openStored, validatorsOf } from './sealed-object.ts'
import { planMultipart } from '../../envelope/range.ts'
import { segmentRange } from '../../envelope/sizes.ts'
import { firstWhere } from '../../collections/bisect.ts'
import { S3Error } from '../../errors.ts'
import { upstreamHeaders, downstreamHeaders } from '../../plan/headers.ts'
import { checkReadConditions, knownSlice, needsHeadFirst, sliceFor, requestedRange, type RequestedRange } from './read-range.ts'
import { inspectNamed, targetOf, ObjectChanged, retryOnChange, withDigests, withManifest } from './inspect.ts'
import { objectHeaders } from './response-headers.ts'
import { customerKeyOfAccess } from './object-keys.ts'
import { fetchSlice, openedBody, type StoredRange } from './read-body.ts'
import { relayError, xmlResponse } from '../responses.ts'
import { type XmlNode, renderXml } from '../../s3/xml.ts'
import { unquoteEtag } from '../../s3/conditions.ts'

/**
 * GetObject. The first whole and `a-b` reads of a name go to the store at once, on the guess that the object is a single. Once a multipart object has
 * been read, its later ranges and parts are right at once as well. Other reads that need the size first (suffix ranges, parts), and those that may end
 * in 304 or without their range, inspect the object before they fetch it.
 */
export async function getObject(ctx: OperationContext<'GetObject'>): Promise<HttpResponse> {
  return retryOnChange(() => {
    const wanted = requestedRange(ctx)
    if (needsHeadFirst(ctx)) return inspectThenFetch(ctx, wanted)
    const versionId = ctx.operation.query.get('versionId') ?? null
    const hint = ctx.services.objects.hint(ctx.operation.bucket, ctx.operation.key, versionId)
    const guess = guessOf(wanted, hint)
    return guess === 'unknown' ? inspectThenFetch(ctx, wanted) : fetchAtOnce(ctx, wanted, hint, guess)
  })
}

async function inspectThenFetch(ctx: ObjectContext, wanted: RequestedRange): Promise<HttpResponse> {
  const object = await inspectNamed(ctx, targetOf(ctx))
  remember(ctx, object)
  const slice = sliceFor(ctx, wanted, object)
  const headers = objectHeaders(ctx, object, slice)
  return { status: slice.status, headers, body: await fetchSlice(ctx, object, slice) }
}

async function fetchAtOnce(ctx: ObjectContext, wanted: RequestedRange, hint: Hint | undefined, guess: Guess | null): Promise<HttpResponse> {
  const response = await ask(ctx, guess, hint)
  try {
    if (response.status === 412 && hint !== undefined) {
      const versionId = ctx.operation.query.get('versionId') ?? null
      ctx.services.objects.forgetHint(ctx.operation.bucket, ctx.operation.key, versionId)
      throw new ObjectChanged()
    }
    // The guessed range starts behind the end: only the size shows whether the client's range does as well.
    if (response.status === 416 && guess !== null) {
      response.body.resume()
      return await inspectThenFetch(ctx, wanted)
    }
    if (response.status !== (guess === null ? 200 : 206)) throw await refusal(ctx, response)
    return await openGuessed(ctx, wanted, response)
  } catch (error) {
    response.body.destroy()
    throw error
  }
}

async function refusal(ctx: OperationContext, response: UpstreamResponse): Promise<S3Error> {
  return response.status >= 300 ? relayError(ctx, response) : new S3Error('SealgateBadUpstream')
}

async function openGuessed(ctx: ObjectContext, wanted: RequestedRange, response: UpstreamResponse): Promise<HttpResponse> {
  const storedRange = storedRangeOf(response)
  const object = await withManifest(ctx, await openStored(ctx, placeOf(ctx), response.headers, storedRange.total, customerKeyOfAccess(ctx)))
  remember(ctx, object)
  const slice = sliceFor(ctx, wanted, object)
  // All refusals come before the body exists: a body without a reader would stay open.
  const headers = objectHeaders(ctx, object, slice)
  return { status: slice.status, headers, body: await openedBody(ctx, object, slice, { response, storedRange }) }
}

function remember(ctx: ObjectContext, object: InspectedObject): void {
  if (object.kind !== 'multipart') return
  const versionId = ctx.operation.query.get('versionId') ?? null
  ctx.services.objects.rememberHint(ctx.operation.bucket, ctx.operation.key, versionId, { upstreamEtag: object.upstreamEtag, manifest: object.manifest })
}

/** Stored bytes to ask for before the object is known. `last` is null where the range is open. */
interface Guess {
  readonly first: number
  readonly last: number | null
}

/** @returns null: all bytes; `unknown`: only the object's size tells. */
function guessOf(wanted: RequestedRange, hint: Hint | undefined): Guess | null | 'unknown' {
  if (wanted.kind === 'whole') return null
  const known = hint === undefined ? null : knownSlice(wanted, hint.manifest)
  if (hint !== undefined && known !== null) {
    const plan = planMultipart(hint.manifest, known.first, known.last)
    return { first: plan.storedFirst, last: plan.storedLast }
  }
  if (wanted.kind === 'part' || wanted.spec.kind === 'suffix') return 'unknown'
  const { first, last } = wanted.spec
  const range = segmentRange(first, last ?? first, Number.POSITIVE_INFINITY)
  return { first: range.storedFirst, last: last === null ? null : range.storedLast }
}

function ask(ctx: OperationContext, range: Guess | null, hint: Hint | undefined): Promise<UpstreamResponse> {
  const versionId = ctx.operation.query.get('versionId')
  const headers = upstreamHeaders(ctx.request.headers, 'document')
  if (range !== null) headers.push(['range', `bytes=${range.first}-${range.last ?? ''}`])
  if (hint !== undefined) headers.push(['if-match', hint.upstreamEtag])
  return send(ctx, {
    method: 'GET',
    query: versionId === undefined ? [] : [['versionId', versionId]],
    headers,
    retry: true,
    pool: 'data'
  })
}

/** The stored bytes of an answer, as the store states them. Each use is checked against the request or the envelope. */
function storedRangeOf(response: UpstreamResponse): StoredRange {
  if (response.status === 200) {
    const total = Number(response.headers.get('content-length') ?? Number.NaN)
    if (!Number.isSafeInteger(total)) throw new S3Error('SealgateBadUpstream')
    return { first: 0, last: total - 1, total }
  }
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get('content-range') ?? '')
  if (match === null) throw new S3Error('SealgateBadUpstream')
  return { first: Number(match[1]), last: Number(match[2]), total: Number(match[3]) }
}

const attributeNames = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const
type AttributeName = (typeof attributeNames)[number]
const MAX_PARTS_LISTED = 1000
/** Facts of the object that are in headers (AWS API, GetObjectAttributes). */
const headerNames = /^(last-modified|x-amz-version-id|x-amz-delete-marker|x-amz-request-charged)$/

/** GetObjectAttributes: answered from the sealed envelope and manifest; the store gets a HEAD. */
export async function getObjectAttributes(ctx: OperationContext<'GetObjectAttributes'>): Promise<HttpResponse> {
  const wanted = wantedAttributes(ctx)
  const page = wantedPage(ctx)
  const object = await retryOnChange(async () => {
    const inspected = await inspectNamed(ctx, targetOf(ctx))
    return wanted.has('Checksum') ? withDigests(ctx, inspected) : inspected
  })
  checkReadConditions(ctx, validatorsOf(ctx, object))
  const nodes: XmlNode[] = []
  if (wanted.has('ETag')) nodes.push(['ETag', unquoteEtag(clientEtag(ctx, object))])
  if (wanted.has('Checksum')) nodes.push(...checksumNode(object))
  if (wanted.has('ObjectParts') && object.kind === 'multipart') nodes.push(partsNode(object.manifest, page))
  if (wanted.has('StorageClass')) nodes.push(['StorageClass', object.headers.get('x-amz-storage-class') ?? 'STANDARD'])
  if (wanted.has('ObjectSize')) nodes.push(['ObjectSize', String(object.size)])
  const body = renderXml(['GetObjectAttributesResponse', nodes])
  const headers = downstreamHeaders(object.headers, 'object').filter(([name]) => headerNames.test(name))
  return xmlResponse(body, headers)
}

/** @throws S3Error InvalidRequest when none is named, InvalidArgument for one that S3 does not know. */
function wantedAttributes(ctx: OperationContext): ReadonlySet<AttributeName> {
  const names = (header(ctx, 'x-amz-object-attributes') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
  if (names.length === 0) {
    throw new S3Error('InvalidRequest', {
      message: 'The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty'
    })
  }
  const known = names.map((name) => attributeNames.find((candidate) => candidate === name))
  return new Set(known.map((name, i) => {
    if (name === undefined) throw invalid('x-amz-object-attributes', names[i] ?? '', 'Invalid attribute name specified.')
    return name
  }))
}

interface Page {
  readonly max: number
  readonly marker: number
}

function wantedPage(ctx: OperationContext): Page {
  const read = (name: string, otherwise: number): number => {
    const text = header(ctx, name)
    if (text === undefined) return otherwise
    if (/^\d{1,9}$/.test(text)) return Number(text)
    throw invalid(name, text, `Argument ${name} must be an integer between 0 and 2147483647`)
  }
  return { max: Math.min(read('x-amz-max-parts', MAX_PARTS_LISTED), MAX_PARTS_LISTED), marker: read('x-amz-part-number-marker', 0) }
}

function invalid(name: string, value: string, message: string): S3Error {
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: name, ArgumentValue: value } })
}

function checksumNode(object: InspectedObject): XmlNode[] {
  const checksums = checksumsOf(object)
  if (checksums.length === 0) return []
  const type = checksums[0]?.type === 'composite' ? 'COMPOSITE' : 'FULL_OBJECT'
  return [['Checksum', [
    ...checksums.map((checksum): XmlNode => [nameOf(checksum.algorithm), checksumText(object, checksum)]),
    ['ChecksumType', type]
  ]]]
}

function partsNode({ parts, partChecksum }: ManifestOf<'multipart'>, { max, marker }: Page): XmlNode {
  const first = firstWhere(parts, ({ number }) => number > marker)
  const shown = parts.slice(first, first + max)
  return ['ObjectParts', [
    ['PartsCount', String(parts.length)],
    ['PartNumberMarker', String(marker)],
    ['NextPartNumberMarker', String(shown.at(-1)?.number ?? 0)],
    ['MaxParts', String(max)],
    ['IsTruncated', String(first + shown.length < parts.length)],
    ...shown.map((part) => partNode(part, partChecksum))
  ]]
}

function partNode({ number, plaintextSize, checksum }: ManifestPart, algorithm: ManifestOf<'multipart'>['partChecksum']): XmlNode {
  return ['Part', [
    ['PartNumber', String(number)],
    ['Size', String(plaintextSize)],
    ...checksum === null || algorithm === null ? [] : [[nameOf(algorithm), checksum.toString('base64')] as const]
  ]]
}

function nameOf(algorithm: Checksum['algorithm']): string {
  return `Checksum${algorithm.toUpperCase()}`
}
