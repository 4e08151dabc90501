import type { HeaderList, HttpResponse } from '../http/message.ts'
import type { Bucket } from './bucket.ts'
import type { StoredChecksum, UploadedPart, UploadRecord } from './records.ts'
import { S3Error } from '../errors.ts'
import { checksumAlgorithms, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../http/checksums.ts'
import { currentSecond, emptyAnswer, isoDate, xmlAnswer, type StoreContext, type StoreRequest } from './request.ts'
import { readAttributes } from './attributes.ts'
import { checksumElement, checksumHeaders, declaredChecksum } from './checksums.ts'
import { copySourceHeader, digest, readCopySource, type CopySource } from './copy-object.ts'
import { readPartNumber } from './get-object.ts'
import { orderedId } from './locks.ts'
import { slices } from './locate.ts'
import { checkKey, checkLock } from './put-object.ts'
import { parseCopyRange, type ByteRange } from './conditions.ts'
import { receiveBlob, UPLOAD_LIMIT, type Received } from './receive.ts'
import { textElement, xmlDocument } from './xml.ts'

/** CreateMultipartUpload. */
export async function createMultipartUpload(request: StoreRequest, context: StoreContext): Promise<HttpResponse> {
  const bucket = context.catalog.bucket(request.bucket)
  checkKey(request.key)
  const attributes = readAttributes(request.headers, context)
  checkLock(bucket, attributes)
  const checksum = askedChecksum(request.headers)
  const record: UploadRecord = { id: orderedId(), key: request.key, initiated: Date.now(), attributes, checksum }
  await bucket.createUpload(record)
  const xml = xmlDocument(
    'InitiateMultipartUploadResult',
    textElement('Bucket', request.bucket),
    textElement('Key', request.key),
    textElement('UploadId', record.id)
  )
  return xmlAnswer(xml, checksum === null ? [] : [['x-amz-checksum-algorithm', checksum.algorithm.toUpperCase()], ['x-amz-checksum-type', checksum.type]])
}

/** @throws S3Error InvalidRequest for a type the algorithm does not have */
function askedChecksum(headers: HeaderList): UploadRecord['checksum'] {
  const name = headers.get('x-amz-checksum-algorithm')
  const type = headers.get('x-amz-checksum-type')
  if (name === undefined) {
    if (type !== undefined) {
      throw new S3Error('InvalidRequest', { message: 'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.' })
    }
    return null
  }
  const algorithm = requireChecksumAlgorithm(name)
  const { composite, fullObject } = checksumAlgorithms[algorithm]
  if (type === undefined) return { algorithm, type: composite ? 'COMPOSITE' : 'FULL_OBJECT' }
  if (type === 'COMPOSITE' && composite) return { algorithm, type }
  if (type === 'FULL_OBJECT' && fullObject) return { algorithm, type }
  throw new S3Error('InvalidRequest', { message: `The ${type} checksum type cannot be used with the ${algorithm} checksum algorithm.` })
}

/** UploadPart. */
export async function uploadPart(request: StoreRequest, context: StoreContext): Promise<HttpResponse> {
  const { bucket, record, number } = target(request, context)
  const declared = declaredChecksum(request.headers)
  if (record.checksum !== null && declared !== null && declared.algorithm !== record.checksum.algorithm) {
    throw new S3Error('InvalidRequest', {
      message: `Checksum Type mismatch occurred, expected checksum Type: ${record.checksum.algorithm}, actual checksum Type: ${declared.algorithm}`
    })
  }
  const received = await receiveBlob(request, context, partAlgorithm(record, context))
  await savePart(bucket, record, number, received)
  return emptyAnswer(200, [['ETag', `"${received.md5}"`], ...checksumHeaders(received.checksum).slice(0, 1)])
}

/** UploadPartCopy. */
export async function uploadPartCopy(request: StoreRequest, context: StoreContext): Promise<HttpResponse> {
  const { bucket, record, number } = target(request, context)
  const source = readCopySource(request, context)
  const range = request.headers.get('x-amz-copy-source-range')
  const { start, end } = range === undefined ? { start: 0, end: source.version.size } : parseCopyRange(range, source.version.size)
  if (end - start > UPLOAD_LIMIT) {
    throw new S3Error('EntityTooLarge', { fields: { ProposedSize: String(end - start), MaxSizeAllowed: String(UPLOAD_LIMIT) } })
  }
  const copied = await copyRange(context, source, { start, end }, partAlgorithm(record, context))
  const part = await savePart(bucket, record, number, copied)
  return xmlAnswer(
    xmlDocument(
      'CopyPartResult',
      textElement('LastModified', isoDate(part.lastModified)),
      textElement('ETag', `"${part.etag}"`),
      checksumElement(part.checksum)
    ),
    copySourceHeader(source)
  )
}

function target(request: StoreRequest, { catalog }: StoreContext): { bucket: Bucket; record: UploadRecord; number: number } {
  const bucket = catalog.bucket(request.bucket)
  const number = readPartNumber(request.query.get('partNumber') ?? '')
  const { record } = bucket.upload(request.key, request.query.get('uploadId') ?? '')
  return { bucket, record, number }
}

function partAlgorithm(record: UploadRecord, { defaultChecksum }: StoreContext): ChecksumAlgorithm | null {
  return record.checksum?.algorithm ?? (defaultChecksum ? 'crc64nvme' : null)
}

async function copyRange(
  { catalog }: StoreContext,
  { bucket, version }: CopySource,
  { start, end }: ByteRange,
  algorithm: ChecksumAlgorithm | null
): Promise<Received> {
  const writer = await catalog.backend.createBlob()
  try {
    const { md5, checksum } = await digest(bucket.read(slices(version, start, end)), algorithm, (chunk) => writer.write(chunk))
    return { blob: await writer.commit(), md5, checksum }
  } catch (error) {
    await writer.abort()
    throw error
  }
}

async function savePart(bucket: Bucket, { id, key }: UploadRecord, number: number, { blob, md5, checksum }: Received): Promise<UploadedPart> {
  const part: UploadedPart = { number, size: blob.size, etag: md5, checksum, blob, lastModified: currentSecond() }
  try {
    await bucket.savePart(key, id, part)
    return part
  } catch (error) {
    await bucket.free([blob])
    throw error
  }
}

/** AbortMultipartUpload. */
export async function abortMultipartUpload(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const id = request.query.get('uploadId') ?? ''
  await catalog.bucket(request.bucket).endUpload(request.key, id, async () => ({ kept: new Set(), result: undefined }))
  return emptyAnswer(204)
}

/** The type of the finished object's checksum where the client chose none: all parts have one, of one algorithm. */
export function implicitChecksum(parts: readonly UploadedPart[]): { algorithm: ChecksumAlgorithm; type: StoredChecksum['type'] } | null {
  const algorithm = parts[0]?.checksum?.algorithm
  if (algorithm === undefined || parts.some(({ checksum }) => checksum?.algorithm !== algorithm)) return null
  return { algorithm, type: checksumAlgorithms[algorithm].fullObject ? 'FULL_OBJECT' : 'COMPOSITE' }
}
