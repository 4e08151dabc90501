import { Readable } from 'node:stream'
import type { ReadPlan } from '../../envelope/range.ts'
import type { UpstreamRequest, UpstreamResponse } from '../../upstream/types.ts'
import { type OperationContext, send } from '../context.ts'
import type { InspectedObject, InspectedSealed, SealedSingle, StoredObject } from './sealed-object.ts'
import type { Slice } from './read-range.ts'
import { planMultipart, planSingle, RangeOpener } from '../../envelope/range.ts'
import { SEGMENT_SIZE } from '../../envelope/sizes.ts'
import { SingleOpener } from '../../envelope/body.ts'
import { S3Error } from '../../errors.ts'
import { readThrough, StagedReadable, type ByteStage } from '../../http/stage.ts'
import { ObjectChanged } from './inspect.ts'
import { relayError } from '../responses.ts'
import { ENVELOPE_HEADER } from '../../envelope/envelope.ts'
import { verified, verifiedSync } from './sealed-object.ts'
import { openBody, readingOf } from './client-body.ts'
import type { ClientSealed } from './client-sealed.ts'

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

/** Bytes of plaintext up to which an answer is opened as a whole: a transfer holds a few segments, and no stream is made for so few bytes. */
const OPENED_AT_ONCE = 4 * SEGMENT_SIZE

/** The plaintext of a slice. The bytes of the given answer are used where they suffice; else they are fetched. */
export async function openedBody(
  ctx: OperationContext,
  object: InspectedObject,
  slice: Slice,
  { response, storedRange }: Answer
): Promise<Readable | Buffer> {
  if (object.kind === 's3ec') return fromAnswer(ctx, object, slice, { response, storedRange })
  if (object.kind === 'plain') {
    if (storedRange.first === slice.first && storedRange.last === slice.last) return opened(ctx, response, [])
  } else if (object.kind === 'empty') {
    response.body.resume()
    return Readable.from([])
  } else if (object.kind === 'single' && isWhole(object, slice)) {
    if (storedRange.first === 0 && storedRange.last === object.storedSize - 1) {
      return openedSlice(ctx, response, wholeSingle(object), object.size)
    }
  } else {
    const plan = planOf(object, slice)
    if (storedRange.first === plan.storedFirst && storedRange.last >= plan.storedLast) {
      const surplus = storedRange.last - plan.storedLast
      return openedSlice(ctx, response, new RangeOpener({ dataKey: object.dataKey, plan, surplus }), plan.plaintextSize)
    }
  }
  response.body.destroy()
  return fetchSlice(ctx, object, slice)
}

/**
 * Fetches exactly the stored bytes that a slice needs, on condition of the ETag that was unwrapped.
 * @param pool `source` when they go into another request to the store.
 * @throws ObjectChanged when the object was replaced meanwhile.
 */
export async function fetchSlice(ctx: OperationContext, object: InspectedObject, slice: Slice, pool: Pool = 'data'): Promise<Readable> {
  if (object.kind === 's3ec') return fetchOfClient(ctx, object, slice, pool)
  if (object.kind === 'plain') return opened(ctx, await fetchStored(ctx, object, slice.last < slice.first ? null : slice, pool), [])
  if (object.kind === 'single' && isWhole(object, slice)) return opened(ctx, await fetchStored(ctx, object, null, pool), [wholeSingle(object)])
  // An empty object, or a part of 0 bytes in a larger one: the envelope or the manifest has proved that there is nothing to read.
  if (object.kind === 'empty' || (slice.last < slice.first && object.size > 0)) return Readable.from([])
  const plan = planOf(object, slice)
  const range = { first: plan.storedFirst, last: plan.storedLast }
  return opened(ctx, await fetchStored(ctx, object, range, pool), [new RangeOpener({ dataKey: object.dataKey, plan })])
}

/** An object of the S3 Encryption Client from an answer that is there already, if it is the whole body and what has to be held fits now. */
async function fromAnswer(ctx: OperationContext, object: ClientSealed, slice: Slice, { response, storedRange }: Answer): Promise<Readable> {
  try {
    const reading = readingOf(ctx, object, slice)
    if (reading.kind === 'whole' && storedRange.first === 0 && storedRange.last === object.storedSize - 1) {
      const release = reading.hold ? roomNow(ctx, object.size) : notHeld
      if (release !== null) return openBody(ctx, response, object, slice, reading, release)
    }
  } catch (error) {
    response.body.destroy()
    throw error
  }
  // What waits for room must not hold a connection that others need to give theirs back.
  response.body.destroy()
  return fetchOfClient(ctx, object, slice, 'data')
}

async function fetchOfClient(ctx: OperationContext, object: ClientSealed, slice: Slice, pool: Pool): Promise<Readable> {
  const reading = readingOf(ctx, object, slice)
  const release = reading.kind === 'whole' && reading.hold ? await roomFor(ctx, object.size) : notHeld
  try {
    const range = reading.kind === 'whole' ? null : { first: reading.storedFirst, last: reading.storedLast }
    return openBody(ctx, await fetchStored(ctx, object, range, pool), object, slice, reading, release)
  } catch (error) {
    release()
    throw error
  }
}

function notHeld(): void {
  // Bytes pass through.
}

/** Milliseconds that a request waits for others to give back what they hold. */
const ROOM_MS = 30_000

function roomNow({ services, request: { client } }: OperationContext, bytes: number): (() => void) | null {
  return (client === null ? services.held.anonymous : services.held.clients).takeNow(bytes, client?.accessKeyId ?? '')
}

/** @throws S3Error SlowDown. */
async function roomFor({ services, request: { client }, signal }: OperationContext, bytes: number): Promise<() => void> {
  const budget = client === null ? services.held.anonymous : services.held.clients
  const late = AbortSignal.timeout(ROOM_MS)
  try {
    return await budget.take(bytes, client?.accessKeyId ?? '', AbortSignal.any([signal, late]))
  } catch (error) {
    throw late.aborted && !signal.aborted ? new S3Error('SlowDown', { endedBy: 'gateway', cause: error }) : error
  }
}

function isWhole({ size }: StoredObject, slice: Slice): boolean {
  return slice.first === 0 && slice.last === size - 1
}

function wholeSingle({ dataKey, streamHeader, plaintextSize }: SealedSingle): SingleOpener {
  return new SingleOpener({ dataKey, header: streamHeader, plaintextSize })
}

function planOf(object: Exclude<InspectedSealed, { kind: 'empty' }>, slice: Slice): ReadPlan {
  return object.kind === 'single'
    ? planSingle({ header: object.streamHeader, plaintextSize: object.plaintextSize }, slice.first, slice.last)
    : planMultipart(object.manifest, slice.first, slice.last)
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

/** The answer must have the bytes asked for, of the object whose envelope was opened. */
function checkSame(response: UpstreamResponse, object: StoredObject, range: Pick<StoredRange, 'first' | 'last'> | null): void {
  const { headers } = response
  const rightBytes = range === null
    ? response.status === 200 && headers.get('content-length') === String(object.storedSize)
    : response.status === 206 && headers.get('content-range') === `bytes ${range.first}-${range.last}/${object.storedSize}`
  if (!rightBytes) throw new S3Error('SealgateBadUpstream')
  if (headers.get(ENVELOPE_HEADER) !== object.headers.get(ENVELOPE_HEADER)) throw new ObjectChanged()
}

/** The store's bytes through the stages. */
function opened(ctx: OperationContext, response: UpstreamResponse, stages: readonly ByteStage[]): Readable {
  return new StagedReadable(response.body, stages.map((stage) => guarded(ctx, stage)), { destroySource: true })
}

/** @param size bytes of plaintext that come out of the stage. */
async function openedSlice(ctx: OperationContext, response: UpstreamResponse, stage: ByteStage, size: number): Promise<Readable | Buffer> {
  return size > OPENED_AT_ONCE ? opened(ctx, response, [stage]) : openedAtOnce(ctx, response, stage, size)
}

async function openedAtOnce(ctx: OperationContext, { body }: UpstreamResponse, stage: ByteStage, size: number): Promise<Buffer> {
  try {
    return await readThrough(body, guarded(ctx, stage), size, () => new S3Error('SealgateBadUpstream'))
  } catch (error) {
    body.destroy()
    throw error
  }
}

/** Every failure of verification is counted by kind, and is the same error to the client. */
function guarded(ctx: OperationContext, stage: ByteStage): ByteStage {
  return { update: (chunk) => verifiedSync(ctx, () => stage.update(chunk)), final: () => verified(ctx, () => stage.final()) }
}
