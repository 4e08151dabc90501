import type { Header, HttpResponse } from '../../http/message.ts'
import { type UploadSettings, sealUploadRecord, uploadHash } from '../../envelope/upload-records.ts'
import { type ObjectContext, type OperationContext, placeOf, send, storedChecksum, storeHere, type UploadContext } from '../context.ts'
import { type WriteKey, keyForWrite } from '../objects/object-keys.ts'
import { DataKey } from '../../envelope/data-key.ts'
import { both } from '../../concurrency/parallel.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders, upstreamHeaders } from '../../plan/headers.ts'
import { renderXml, type XmlNode } from '../../s3/xml.ts'
import { writesForClients } from '../objects/client-write.ts'
import { envelopeHeaders } from '../objects/envelope-headers.ts'
import { describedForClients } from './client-upload.ts'
import { encryptionOfWrite } from '../objects/write-options.ts'
import { editedResponse, relayError, xmlResponse } from '../responses.ts'
import { checksumSettings } from './checksum-settings.ts'
import { uploadRecordName, uploadPrefix } from '../../store-client/state-names.ts'
import { noteName, notesOf } from '../../store-client/upload-notes.ts'
import { abortUpstream, CLEAN_UP_MS, createUpstream, storedChecksumHeaders } from './store-upload.ts'
import { stateBucketOf, type Upload, noSuchUpload, openUpload, uploadHashOf } from './upload.ts'
import { type Attempt, newer, readPartRecords } from './part-records.ts'
import { type HeldPart, listHeldParts } from './upstream-parts.ts'
import { openListing } from '../../s3/scanned-listing.ts'
import { forwardForDocument, forwardedQuery } from '../forward.ts'

/**
 * CreateMultipartUpload: the envelope goes upstream with the metadata, then the upload record into the state bucket. Only after both does the client
 * get the store's own upload id.
 */
export async function createMultipartUpload(ctx: OperationContext<'CreateMultipartUpload'>): Promise<HttpResponse> {
  const checksum = checksumSettings(ctx.request.headers)
  const described = upstreamHeaders(ctx.request.headers, 'object')
  const asked = await encryptionOfWrite(ctx)
  const [key] = await both(
    ctx.signal,
    (signal) => keyForWrite({ ...ctx, signal }, placeOf(ctx), asked),
    (signal) => stateBucketOf(ctx, signal).check()
  )
  const dataKey = DataKey.random()
  const forClients = writesForClients(ctx)
  const settings: UploadSettings = {
    ...checksum,
    etagMode: key.sse.mode === 'SSE-C' || forClients !== null || ctx.policy.etag !== 'md5' ? 'opaque' : 'md5',
    // No part of such an upload goes to the store under it.
    storedChecksum: forClients !== null ? null : storedChecksum(ctx),
    ...forClients === null ? {} : { clients: await describedForClients(ctx, forClients) }
  }
  const headers = settings.clients ?? envelopeHeaders(ctx, {
    key,
    dataKey,
    described,
    shape: { kind: 'multipart' },
    md5: null,
    checksums: [],
    digestsInManifest: true
  })
  const { uploadId, answered } = await createUpstream(ctx, [...headers, ...storedChecksumHeaders(settings)])
  await keepRecord(ctx, uploadId, key, dataKey, settings)
  const body = renderXml(['InitiateMultipartUploadResult', [['Bucket', ctx.operation.bucket], ['Key', ctx.operation.key], ['UploadId', uploadId]]])
  return xmlResponse(body, [...answered, ...key.responseHeaders, ...checksumHeadersOf(settings)])
}

function checksumHeadersOf({ checksumAlgorithm, checksumType }: UploadSettings): Header[] {
  if (checksumAlgorithm === null || checksumType === null) return []
  return [
    ['x-amz-checksum-algorithm', checksumAlgorithm.toUpperCase()],
    ['x-amz-checksum-type', checksumType === 'full' ? 'FULL_OBJECT' : 'COMPOSITE']
  ]
}

/** Without its record an upload could never be completed: then it is aborted, and the client does not get its id. */
async function keepRecord(ctx: ObjectContext, uploadId: string, key: WriteKey, dataKey: DataKey, settings: UploadSettings): Promise<void> {
  const place = placeOf(ctx)
  const record = sealUploadRecord({
    kek: key.kek,
    keyId: key.wrapped.keyId,
    blob: key.wrapped.blob,
    sse: key.sse.mode,
    scope: key.scope,
    requestContext: key.requestContext,
    dataKey,
    place,
    uploadId,
    settings
  })
  try {
    await stateBucketOf(ctx).put(uploadRecordName(uploadHash(place, uploadId)), record, storeHere(ctx).capabilities.ofStateBucket.put)
  } catch (error) {
    await abortUpstream(ctx, uploadId)
    throw error
  }
}

/** S3's limit, which is also its default (AWS API, ListParts). */
const MAX_PARTS_LISTED = 1000

/**
 * ListParts: from the part records, because the store holds sealed parts and tails, and no small parts. It shows the attempt that a Complete would
 * take: of a part upstream the one with the store's ETag.
 */
export async function listParts(ctx: OperationContext<'ListParts'>): Promise<HttpResponse> {
  const max = Math.min(parameter(ctx, 'max-parts', MAX_PARTS_LISTED), MAX_PARTS_LISTED)
  const marker = parameter(ctx, 'part-number-marker', 0)
  const upload = await openUpload(ctx, 'fresh')
  const { attempts } = await readPartRecords(ctx, upload, { after: marker, enough: max + 1 })
  const numbers = [...attempts.keys()].sort((a, b) => a - b)
  const page = numbers.slice(0, max)
  const held = await listHeldParts(ctx, { after: marker, until: page.at(-1) ?? marker })
  if (held === null) throw noSuchUpload(ctx)
  const shown = page.flatMap((number) => {
    const there = held.parts.get(number)
    const attempt = currentAttempt(attempts.get(number) ?? [], there)
    return attempt === null ? [] : [partNode(attempt, there)]
  })
  const body = renderXml(['ListPartsResult', [
    ...headOf(ctx, upload, held.about()),
    ['PartNumberMarker', String(marker)],
    // The last number that was examined: numbers without a part to show count as well.
    ['NextPartNumberMarker', String(page.at(-1) ?? 0)],
    ['MaxParts', String(max)],
    ['IsTruncated', String(numbers.length > max)],
    ...shown
  ]])
  return xmlResponse(body, upload.encryptionHeaders)
}

/** @throws S3Error InvalidArgument unless it is a whole number. */
function parameter(ctx: OperationContext, name: string, otherwise: number): number {
  const text = ctx.operation.query.get(name)
  if (text === undefined || text === '') return otherwise
  if (/^\d{1,10}$/.test(text) && Number(text) <= 0x7fffffff) return Number(text)
  throw new S3Error('InvalidArgument', {
    message: `Argument ${name} must be an integer between 0 and 2147483647`,
    fields: { ArgumentName: name, ArgumentValue: text }
  })
}

/** The attempt that counts: the newest, and of those upstream the one that the store has kept. */
function currentAttempt(attempts: readonly Attempt[], held: HeldPart | undefined): Attempt | null {
  const usable = attempts.filter(({ inline, upstreamEtag }) => inline || upstreamEtag === held?.etag)
  return usable.reduce<Attempt | null>((newest, attempt) => newest === null ? attempt : newer(newest, attempt), null)
}

function headOf(ctx: UploadContext, { settings }: Upload, about: readonly XmlNode[]): XmlNode[] {
  const { checksumAlgorithm, checksumType } = settings
  return [
    ['Bucket', ctx.operation.bucket],
    ['Key', ctx.operation.key],
    ['UploadId', ctx.operation.uploadId],
    ...about,
    ...checksumAlgorithm === null ? [] : [['ChecksumAlgorithm', checksumAlgorithm.toUpperCase()] as const],
    ...checksumType === null ? [] : [['ChecksumType', checksumType === 'full' ? 'FULL_OBJECT' : 'COMPOSITE'] as const]
  ]
}

function partNode({ number, inline, lastModified, etag, plaintextSize, checksum }: Attempt, held: HeldPart | undefined): XmlNode {
  const modified = (inline ? null : held?.lastModified) ?? new Date(lastModified).toISOString()
  return ['Part', [
    ['PartNumber', String(number)],
    ['LastModified', modified],
    ['ETag', `"${etag}"`],
    ['Size', String(plaintextSize)],
    ...checksum === null ? [] : [[`Checksum${checksum.algorithm.toUpperCase()}`, checksum.value.toString('base64')] as const]
  ]]
}

/**
 * ListMultipartUploads: the store's own list, because clients use its upload ids, without those that the gateway has begun by itself. Checksum settings
 * are left out: the store's are of stored bytes, and the clients' are sealed in the records.
 */
export async function listMultipartUploads(ctx: OperationContext<'ListMultipartUploads'>): Promise<HttpResponse> {
  const { response, document } = await forwardForDocument(ctx)
  const listing = await openListing(document)
  const { bucket } = ctx.operation
  // Asked second: what the store lists has its note by then.
  const noted = listing.rows.length === 0 ? new Set<string>() : await notesIn(ctx, bucket)
  const edits = listing.rows.map(({ key, uploadId }) =>
    uploadId !== null && noted.has(noteName({ bucket, key, uploadId })) ? { remove: true } : { checksums: [] }
  )
  const body = await listing.write(edits, null)
  return editedResponse(response, body)
}

/** Names of the notes of uploads in a bucket. */
async function notesIn(ctx: OperationContext, bucket: string): Promise<ReadonlySet<string>> {
  const names = new Set<string>()
  for await (const page of stateBucketOf(ctx).list(notesOf(bucket))) for (const { key } of page) names.add(key)
  return names
}

/** AbortMultipartUpload: first at the store, so that every upload the store knows has its state. */
export async function abortMultipartUpload(ctx: OperationContext<'AbortMultipartUpload'>): Promise<HttpResponse> {
  const response = await send(ctx, { method: 'DELETE', query: forwardedQuery(ctx), headers: upstreamHeaders(ctx.request.headers, 'document') })
  if (response.status >= 300) {
    const error = await relayError(ctx, response)
    if (error.code === 'NoSuchUpload') await removeState(ctx, uploadHashOf(ctx))
    throw error
  }
  response.body.resume()
  await removeState(ctx, uploadHashOf(ctx))
  return { status: 204, headers: downstreamHeaders(response.headers, 'written'), body: null }
}

/**
 * Removes everything in the state bucket about an upload that has ended at the store. Best effort: the upload has ended either way, and `sealgate gc`
 * finds what remains.
 */
export async function removeState(ctx: OperationContext, hash: Buffer): Promise<void> {
  ctx.services.objects.forgetUpload(hash)
  try {
    await stateBucketOf(ctx, AbortSignal.timeout(CLEAN_UP_MS)).removeAll(uploadPrefix(hash))
  } catch (error) {
    if (!(error instanceof S3Error) && !(error instanceof DOMException)) throw error
  }
}
