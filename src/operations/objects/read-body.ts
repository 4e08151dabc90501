import { Readable } from 'node:stream'
import type { Manifest } from '../../envelope/manifest.ts'
import type { ReadPlan } from '../../envelope/range.ts'
import type { UpstreamRequest, UpstreamResponse } from '../../upstream/types.ts'
import { type OperationContext, send } from '../context.ts'
import type { SealedObject, StoredObject } from './sealed-object.ts'
import type { Slice } from './read-range.ts'
import { planMultipart, planSingle, RangeOpener } from '../../envelope/range.ts'
import { SingleOpener } from '../../envelope/body.ts'
import { S3Error } from '../../errors.ts'
import { StagedReadable, type ByteStage } from '../../http/stage.ts'
import { ObjectChanged } from './inspect.ts'
import { relayError } from '../responses.ts'
import { ENVELOPE_HEADER } from '../../envelope/envelope.ts'
import { verified, verifiedSync } from './sealed-object.ts'

type Pool = UpstreamRequest['pool']

/** Stored bytes `first` to `last`, both included, of `total`. */
export interface StoredRange {
  readonly first: number
  readonly last: number
  readonly total: number
}

interface Answer {
  readonly response: UpstreamResponse
  readonly storedRange: StoredRange
}

/** The plaintext of a slice from an answer that may already hold its bytes; else they are fetched. */
export async function decryptingStream(
  ctx: OperationContext,
  object: StoredObject,
  manifest: Manifest | null,
  slice: Slice,
  { response, storedRange }: Answer
): Promise<Readable> {
  if (object.kind === 'plain') {
    if (storedRange.first === slice.first && storedRange.last === slice.last) return opened(ctx, response, [])
  } else if (object.envelope.kind === 'empty') {
    response.body.resume()
    return Readable.from([])
  } else if (isWholeSingle(object, slice)) {
    if (storedRange.first === 0 && storedRange.last === object.storedSize - 1) return opened(ctx, response, [wholeSingle(object)])
  } else {
    const plan = planOf(object, manifest, slice)
    if (storedRange.first === plan.storedFirst && storedRange.last >= plan.storedLast) {
      return opened(ctx, response, [new RangeOpener({ dataKey: object.dataKey, plan, surplus: storedRange.last - plan.storedLast })])
    }
  }
  response.body.destroy()
  return fetchSlice(ctx, object, manifest, slice)
}

/**
 * Fetches exactly the stored bytes a slice needs, tied to the ETag that was unwrapped.
 * @param pool `source` when they go into another request to the store.
 * @throws ObjectChanged when the object was replaced meanwhile.
 */
export async function fetchSlice(
  ctx: OperationContext,
  object: StoredObject,
  manifest: Manifest | null,
  slice: Slice,
  pool: Pool = 'data'
): Promise<Readable> {
  if (object.kind === 'plain') return opened(ctx, await fetchStored(ctx, object, slice.last < slice.first ? null : slice, pool), [])
  if (isWholeSingle(object, slice)) return opened(ctx, await fetchStored(ctx, object, null, pool), [wholeSingle(object)])
  // An empty object, or a part of 0 bytes in a larger one: envelope or manifest have said that there is nothing to read.
  if (object.envelope.kind === 'empty' || (slice.last < slice.first && object.size > 0)) return Readable.from([])
  const plan = planOf(object, manifest, slice)
  const range = { first: plan.storedFirst, last: plan.storedLast }
  return opened(ctx, await fetchStored(ctx, object, range, pool), [new RangeOpener({ dataKey: object.dataKey, plan })])
}

function isWholeSingle(object: SealedObject, slice: Slice): boolean {
  return object.envelope.kind === 'single' && slice.first === 0 && slice.last === object.size - 1
}

function wholeSingle(object: SealedObject): SingleOpener {
  return new SingleOpener({ dataKey: object.dataKey, header: headerOf(object), plaintextSize: object.size })
}

function planOf(object: SealedObject, manifest: Manifest | null, slice: Slice): ReadPlan {
  if (object.envelope.kind === 'single') return planSingle({ header: headerOf(object), plaintextSize: object.size }, slice.first, slice.last)
  if (manifest === null) throw new S3Error('InternalError')
  return planMultipart(manifest, slice.first, slice.last)
}

function headerOf(object: SealedObject): Buffer {
  if (object.envelope.streamHeader === null) throw new S3Error('InternalError')
  return object.envelope.streamHeader
}

async function fetchStored(
  ctx: OperationContext,
  object: StoredObject,
  range: Pick<StoredRange, 'first' | 'last'> | null,
  pool: Pool
): Promise<UpstreamResponse> {
  const headers: [string, string][] = [['if-match', object.upstreamEtag]]
  if (range !== null) headers.push(['range', `bytes=${range.first}-${range.last}`])
  const response = await send(ctx, {
    method: 'GET',
    bucket: object.bucket,
    key: object.key,
    query: object.versionId === null ? [] : [['versionId', object.versionId]],
    headers,
    retry: true,
    pool
  })
  try {
    if (response.status === 412) throw new ObjectChanged()
    if (response.status >= 300) throw await relayError(ctx, response)
    checkSame(response, object, range)
    return response
  } catch (error) {
    response.body.destroy()
    throw error
  }
}

/** The answer must be of the bytes asked for, and of the object whose envelope was opened. */
function checkSame(response: UpstreamResponse, object: StoredObject, range: Pick<StoredRange, 'first' | 'last'> | null): void {
  const { headers } = response
  const rightBytes = range === null
    ? response.status === 200 && headers.get('content-length') === String(object.storedSize)
    : response.status === 206 && headers.get('content-range') === `bytes ${range.first}-${range.last}/${object.storedSize}`
  if (!rightBytes) throw new S3Error('SealgateBadUpstream')
  if (headers.get(ENVELOPE_HEADER) !== object.headers.get(ENVELOPE_HEADER)) throw new ObjectChanged()
}

/** Store's bytes through the stages. What does not verify is counted, and is one and the same error to the client. */
function opened(ctx: OperationContext, response: UpstreamResponse, stages: readonly ByteStage[]): Readable {
  const guarded = stages.map((stage): ByteStage => ({
    update: (chunk) => verifiedSync(ctx, () => stage.update(chunk)),
    final: () => verified(ctx, () => stage.final())
  }))
  return new StagedReadable(response.body, guarded, { destroySource: true })
}
