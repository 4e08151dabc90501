import type { Manifest } from '../../envelope/manifest.ts'
import type { HttpResponse } from '../../http/message.ts'
import type { UpstreamResponse } from '../../upstream/types.ts'
import type { Hint } from '../caches.ts'
import { type ObjectContext, type OperationContext, placeOf, send } from '../context.ts'
import { type StoredObject, clientEtag, needsManifest, openStored } from './sealed-object.ts'
import { planMultipart } from '../../envelope/range.ts'
import { segmentRange } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { upstreamHeaders } from '../../plan/headers.ts'
import { checkReadConditions, needsHeadFirst, effectiveRange, sliceOf, requestedRange, type Slice, type RequestedRange } from './read-range.ts'
import { inspectNamed, targetOf, type InspectedObject, ObjectChanged, readManifest, retryOnChange } from './inspect.ts'
import { objectHeaders } from './response-headers.ts'
import { customerKeyOfAccess } from './object-keys.ts'
import { fetchSlice, decryptingStream, type StoredRange } from './read-body.ts'
import { relayError } from '../responses.ts'

/**
 * GetObject. Cold whole and `a-b` reads go to the store at once, on the guess that the object is a single; what was seen of
 * a multipart object before makes later ranges right at once too. Reads that need the size first (suffix ranges, parts) and
 * those that may end in 304 or without their range look before they fetch.
 */
export async function getObject(ctx: OperationContext<'GetObject'>): Promise<HttpResponse> {
  return retryOnChange(() => {
    const wanted = requestedRange(ctx)
    const needsSize = wanted.kind === 'part' || (wanted.kind === 'range' && wanted.spec.kind === 'suffix')
    return needsSize || needsHeadFirst(ctx) ? inspectThenFetch(ctx, wanted) : fetchAtOnce(ctx, wanted)
  })
}

async function inspectThenFetch(ctx: ObjectContext, wanted: RequestedRange): Promise<HttpResponse> {
  const { object, manifest } = await inspectNamed(ctx, targetOf(ctx))
  const slice = checked(ctx, wanted, object, manifest)
  const headers = objectHeaders(ctx, object, manifest, slice)
  return { status: slice.status, headers, body: await fetchSlice(ctx, object, manifest, slice) }
}

/** Conditions come before the range: a 412 or 304 tells nothing of sizes (RFC 9110 13.2.2). */
function checked(ctx: OperationContext, wanted: RequestedRange, object: StoredObject, manifest: Manifest | null): Slice {
  const [etag, lastModified] = [clientEtag(ctx, object, manifest), object.headers.get('last-modified')]
  checkReadConditions(ctx, etag, lastModified)
  return sliceOf(effectiveRange(ctx, wanted, etag, lastModified), object, manifest)
}

async function fetchAtOnce(ctx: ObjectContext, wanted: RequestedRange): Promise<HttpResponse> {
  const versionId = ctx.operation.query.get('versionId') ?? null
  const hint = ctx.services.objects.hint(ctx.operation.bucket, ctx.operation.key, versionId)
  const guess = guessRange(wanted, hint)
  const response = await ask(ctx, guess, hint)
  try {
    if (response.status === 412 && hint !== undefined) {
      ctx.services.objects.forgetHint(ctx.operation.bucket, ctx.operation.key, versionId)
      throw new ObjectChanged()
    }
    // The guess lies behind the end: only the size tells whether the client's range does.
    if (response.status === 416 && wanted.kind === 'range') {
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
  const object = await openStored(ctx, placeOf(ctx), response.headers, storedRange.total, customerKeyOfAccess(ctx))
  const inspected: InspectedObject = { object, manifest: needsManifest(ctx, object) && object.kind === 'sealed' ? await readManifest(ctx, object) : null }
  remember(ctx, inspected)
  const slice = checked(ctx, wanted, object, inspected.manifest)
  // Whatever refuses the request does so before there is a body: nobody would be left to close that.
  const headers = objectHeaders(ctx, object, inspected.manifest, slice)
  return { status: slice.status, headers, body: await decryptingStream(ctx, object, inspected.manifest, slice, { response, storedRange }) }
}

function remember(ctx: ObjectContext, { object, manifest }: InspectedObject): void {
  if (object.kind !== 'sealed' || manifest === null || object.envelope.kind !== 'multipart') return
  const versionId = ctx.operation.query.get('versionId') ?? null
  ctx.services.objects.rememberHint(ctx.operation.bucket, ctx.operation.key, versionId, { upstreamEtag: object.upstreamEtag, manifest })
}

/** Stored bytes to ask for before the object is known; null: all of them. `last` is null where the range is open. */
function guessRange(wanted: RequestedRange, hint: Hint | undefined): { readonly first: number; readonly last: number | null } | null {
  if (wanted.kind !== 'range' || wanted.spec.kind !== 'from') return null
  const { first, last } = wanted.spec
  if (hint !== undefined && first < hint.manifest.plaintextSize) {
    const plan = planMultipart(hint.manifest, first, Math.min(last ?? Number.MAX_SAFE_INTEGER, hint.manifest.plaintextSize - 1))
    return { first: plan.storedFirst, last: plan.storedLast }
  }
  const range = segmentRange(first, last ?? first, Number.POSITIVE_INFINITY)
  return { first: range.storedFirst, last: last === null ? null : range.storedLast }
}

function ask(ctx: OperationContext, range: ReturnType<typeof guessRange>, hint: Hint | undefined): Promise<UpstreamResponse> {
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

/** Which stored bytes an answer holds, by its own word; each use of it is checked against the request or the envelope. */
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
