import type { Readable } from 'node:stream'
import type { Header, HttpResponse } from '../../http/message.ts'
import type { PartRecord } from '../../envelope/upload-records.ts'
import type { ChecksumAlgorithm } from '../../http/checksums.ts'
import type { CopySource } from '../../s3/names.ts'
import type { Slice } from '../objects/read-range.ts'
import { type OperationContext, type UploadContext, header, storedChecksum } from '../context.ts'
import { requestBody, streamUpstream } from '../request-body.ts'
import { visiblePartEtag } from './part-records.ts'
import { type PartTarget, partNumberOf, storePart, targetOfPart, etagOf, sendPart } from './write-part.ts'
import type { InspectedObject } from '../objects/sealed-object.ts'
import { retryOnChange } from '../objects/inspect.ts'
import { copySourceRange } from '../../s3/range.ts'
import { renderXml, type XmlNode } from '../../s3/xml.ts'
import { copySourceOf, inspectSource, isHere } from '../copy/copy-source.ts'
import { plaintextSource } from '../copy/copy-object.ts'
import { forwardCopy } from '../forward.ts'
import { fetchSlice } from '../objects/read-body.ts'
import { slowResponse, expectSuccess } from '../responses.ts'
import { demandedChecksum } from './upstream-parts.ts'

/** UploadPart: each part is sealed on its own, in any order, any number of times, through any instance of the gateway. */
export async function uploadPart(ctx: OperationContext<'UploadPart'>): Promise<HttpResponse> {
  const source = requestBody(ctx)
  const target = await targetOfPart(ctx, partNumberOf(ctx), source.payload.length)
  const record = await storePart(ctx, target, source)
  return {
    status: 200,
    headers: [['etag', `"${visiblePartEtag(record)}"`], ...checksumOf(record), ...target.upload.encryptionHeaders, ['content-length', '0']],
    body: null
  }
}

function checksumOf({ checksum }: PartRecord): Header[] {
  return checksum === null ? [] : [[`x-amz-checksum-${checksum.algorithm}`, checksum.value.toString('base64')]]
}

/**
 * UploadPartCopy. A range of plaintext crosses sealed segments, and every part is sealed on its own: so the bytes pass through the gateway, which
 * opens and seals them again. Between buckets that are not encrypted, at one store, the store copies.
 */
export async function uploadPartCopy(ctx: OperationContext<'UploadPartCopy'>): Promise<HttpResponse> {
  const source = copySourceOf(ctx)
  const number = partNumberOf(ctx)
  if (ctx.policy.encryption === 'off') {
    const forwarded = ctx.services.policyFor(source.bucket).encryption === 'off' && isHere(ctx, source)
    return forwarded ? forwardCopy(ctx, source) : copyIntoPlain(ctx, source, number)
  }
  const inspected = await retryOnChange(() => inspectSource(ctx, source))
  const target = await targetOfPart(ctx, number, sizeOf(sliceOf(ctx, inspected)))
  return slowResponse((addHeaders) => {
    addHeaders([...versionOf(inspected), ...target.upload.encryptionHeaders])
    return copySealed(ctx, source, inspected, target)
  })
}

/** @throws S3Error InvalidArgument, also for a range that reaches beyond the source. */
function sliceOf(ctx: OperationContext, object: InspectedObject): Slice {
  const range = header(ctx, 'x-amz-copy-source-range')
  const { first, last } = range === undefined ? { first: 0, last: object.size - 1 } : copySourceRange(range, object.size)
  const whole = first === 0 && last === object.size - 1
  return { first, last, status: whole ? 200 : 206, partsCount: null }
}

function sizeOf({ first, last }: Slice): number {
  return last - first + 1
}

function versionOf({ versionId }: InspectedObject): Header[] {
  return versionId === null ? [] : [['x-amz-copy-source-version-id', versionId]]
}

interface OpenSource {
  readonly stream: Readable
  readonly size: number
  readonly inspected: InspectedObject
}

/** The plaintext to copy. The source is inspected again when it was replaced between the inspection and the read. */
async function openSource(ctx: OperationContext, source: CopySource, seen: InspectedObject | null): Promise<OpenSource> {
  let first = seen
  return retryOnChange(async () => {
    const inspected = first ?? await inspectSource(ctx, source)
    first = null
    const slice = sliceOf(ctx, inspected)
    return { stream: await fetchSlice(ctx, inspected, slice, 'source'), size: sizeOf(slice), inspected }
  })
}

async function copySealed(ctx: UploadContext, source: CopySource, seen: InspectedObject, expected: PartTarget): Promise<Buffer> {
  const { stream, size } = await openSource(ctx, source, seen)
  try {
    const target = size === expected.size ? expected : await targetOfPart(ctx, expected.number, size)
    const record = await storePart(ctx, target, plaintextSource(stream, size), 'copy')
    const { checksum } = record
    return copyPartResult(
      `"${visiblePartEtag(record)}"`,
      checksum === null
        ? []
        : [[`Checksum${checksum.algorithm.toUpperCase()}`, checksum.value.toString('base64')]]
    )
  } finally {
    stream.destroy()
  }
}

async function copyIntoPlain(ctx: UploadContext, source: CopySource, number: number): Promise<HttpResponse> {
  // A store that copies a part itself computes this checksum. It can be sent as a trailer where the store is known to accept that.
  const checksum = storedChecksum(ctx) === null ? null : await demandedChecksum(ctx)
  const { stream, size, inspected } = await openSource(ctx, source, null)
  return slowResponse((addHeaders) => {
    addHeaders(versionOf(inspected))
    return sendPlain(ctx, { stream, size }, number, checksum)
  })
}

async function sendPlain(
  ctx: OperationContext,
  { stream, size }: Omit<OpenSource, 'inspected'>,
  number: number,
  checksum: ChecksumAlgorithm | null
): Promise<Buffer> {
  try {
    const response = await streamUpstream(ctx, plaintextSource(stream, size), [], (body) => sendPart(ctx, number, { body, contentLength: size, checksum }))
    await expectSuccess(ctx, response)
    const value = checksum === null ? undefined : response.headers.get(`x-amz-checksum-${checksum}`)
    return copyPartResult(`"${etagOf(response)}"`, checksum === null || value === undefined ? [] : [[`Checksum${checksum.toUpperCase()}`, value]])
  } finally {
    stream.destroy()
  }
}

function copyPartResult(etag: string, checksums: readonly XmlNode[]): Buffer {
  return renderXml(['CopyPartResult', [['LastModified', new Date().toISOString()], ['ETag', etag], ...checksums]])
}
