import type { Bucket, Upload } from './bucket.ts'
import type { StoredChecksum, UploadedPart, UploadRecord, ObjectVersion } from './records.ts'
import { HeaderList, type HttpResponse } from '../http/message.ts'
import { S3Error } from '../errors.ts'
import { checksumAlgorithms, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../http/checksums.ts'
import { currentSecond, emptyAnswer, isoDate, xmlAnswer, type StoreContext, type StoreRequest } from './request.ts'
import { readAttributes } from './attributes.ts'
import { checksumElement, checksumHeaders, declaredChecksum, checksumMismatch, multipartChecksum, multipartEtag } from './checksums.ts'
import { copySourceHeader, digest, readCopySource, type CopySource } from './copy-object.ts'
import { readPartNumber } from './get-object.ts'
import { orderedId } from './locks.ts'
import { slices, versionHeader } from './locate.ts'
import { checkKey, checkLock } from './objects.ts'
import { parseCopyRange, type ByteRange, writeConditions } from './conditions.ts'
import { receiveBlob, UPLOAD_LIMIT, type Received, receiveDocument } from './receive.ts'
import { textElement, xmlDocument, parseXml, type XmlElement } from './xml.ts'

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
function implicitChecksum(parts: readonly UploadedPart[]): { algorithm: ChecksumAlgorithm; type: StoredChecksum['type'] } | null {
  const algorithm = parts[0]?.checksum?.algorithm
  if (algorithm === undefined || parts.some(({ checksum }) => checksum?.algorithm !== algorithm)) return null
  return { algorithm, type: checksumAlgorithms[algorithm].fullObject ? 'FULL_OBJECT' : 'COMPOSITE' }
}

/** All parts but the last have at least 5 MiB (AWS, "Amazon S3 multipart upload limits"). */
const PART_MINIMUM = 5 * 1024 * 1024

interface ListedPart {
  readonly number: number
  readonly etag: string
  readonly element: XmlElement
}

/** CompleteMultipartUpload. */
export async function completeMultipartUpload(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  const id = request.query.get('uploadId') ?? ''
  bucket.upload(request.key, id)
  const names = [...request.headers.names()].filter((name) => name.startsWith('x-amz-checksum-'))
  const sent = new Map(names.map((name) => [name, request.headers.get(name)]))
  const listed = readParts(await receiveDocument(withoutChecksum(request)))
  const version = await bucket.endUpload(request.key, id, async (upload) => {
    const parts = chooseParts(upload, listed)
    checkTotal(request, parts)
    const checksum = finalChecksum(upload, parts)
    checkSent(upload, checksum, sent)
    const result = await finish(bucket, request, upload, parts, checksum)
    return { kept: new Set(parts.map(({ blob }) => blob.id)), result }
  })
  const xml = xmlDocument(
    'CompleteMultipartUploadResult',
    textElement('Location', `http://${request.http.host}${request.http.target.rawPath}`),
    textElement('Bucket', request.bucket),
    textElement('Key', request.key),
    textElement('ETag', `"${version.etag}"`),
    checksumElement(version.checksum),
    textElement('ChecksumType', version.checksum?.type)
  )
  return xmlAnswer(xml, versionHeader(bucket, version))
}

/** Here `x-amz-checksum-*` is the checksum of the object, not of the XML that completes it. */
function withoutChecksum(request: StoreRequest): StoreRequest {
  return { ...request, headers: new HeaderList(request.headers.entries.filter(([name]) => !/^x-amz-(sdk-)?checksum-/i.test(name))) }
}

/** @throws S3Error MalformedXML, InvalidPartOrder */
function readParts(body: Buffer): readonly ListedPart[] {
  const listed = parseXml(body, 'CompleteMultipartUpload').all('Part').map((element) => {
    const [number, etag] = [Number(element.value('PartNumber')), element.value('ETag')]
    if (!Number.isInteger(number) || etag === undefined) throw new S3Error('MalformedXML')
    return { number, etag: etag.replace(/^"(.*)"$/, '$1'), element }
  })
  if (listed.length === 0 || listed.length > 10000) throw new S3Error('MalformedXML')
  if (listed.some(({ number }, i) => number <= (listed[i - 1]?.number ?? 0))) throw new S3Error('InvalidPartOrder')
  return listed
}

/** @throws S3Error InvalidPart, InvalidRequest, EntityTooSmall */
function chooseParts({ record, parts }: Upload, listed: readonly ListedPart[]): readonly UploadedPart[] {
  const chosen = listed.map(({ number, etag, element }) => {
    const part = parts.get(number)
    if (part?.etag !== etag) throw invalidPart(record.id, number, etag)
    const algorithm = part.checksum?.algorithm
    const given = algorithm === undefined ? undefined : element.value(`Checksum${algorithm.toUpperCase()}`)
    if (given !== undefined && given !== part.checksum?.value) throw invalidPart(record.id, number, etag)
    if (given === undefined && record.checksum?.type === 'COMPOSITE') {
      throw new S3Error('InvalidRequest', {
        message:
          `The upload was created using a ${record.checksum.algorithm} checksum. The complete request must include the checksum for each part. It was missing for part ${number} in the request.`
      })
    }
    return part
  })
  const small = chosen.slice(0, -1).find(({ size }) => size < PART_MINIMUM)
  if (small === undefined) return chosen
  throw new S3Error('EntityTooSmall', {
    fields: {
      ProposedSize: String(small.size),
      MinSizeAllowed: String(PART_MINIMUM),
      PartNumber: String(small.number),
      ETag: small.etag
    }
  })
}

function invalidPart(uploadId: string, number: number, etag: string): S3Error {
  return new S3Error('InvalidPart', { fields: { UploadId: uploadId, PartNumber: String(number), ETag: etag } })
}

function checkTotal({ headers }: StoreRequest, parts: readonly UploadedPart[]): void {
  const announced = headers.get('x-amz-mp-object-size')
  const total = parts.reduce((sum, { size }) => sum + size, 0)
  if (announced !== undefined && announced !== String(total)) {
    throw new S3Error('InvalidRequest', { message: `The provided 'x-amz-mp-object-size' header value ${announced} does not match what was computed: ${total}` })
  }
}

function finalChecksum({ record }: Upload, parts: readonly UploadedPart[]): StoredChecksum | null {
  const kind = record.checksum ?? implicitChecksum(parts)
  return kind === null ? null : multipartChecksum(kind.algorithm, kind.type, parts)
}

/** @throws S3Error InvalidRequest (another type than the upload was created with), BadDigest */
function checkSent({ record }: Upload, checksum: StoredChecksum | null, sent: ReadonlyMap<string, string | undefined>): void {
  const type = sent.get('x-amz-checksum-type')
  if (type !== undefined && record.checksum !== null && type !== record.checksum.type) {
    throw new S3Error('InvalidRequest', {
      message: `The upload was created using the ${record.checksum.type} checksum mode. The complete request must use the same checksum mode.`
    })
  }
  if (checksum === null) return
  const value = sent.get(`x-amz-checksum-${checksum.algorithm}`)
  if (value !== undefined && value !== checksum.value) throw checksumMismatch(checksum.algorithm)
}

async function finish(
  bucket: Bucket,
  { key, headers }: StoreRequest,
  { record }: Upload,
  parts: readonly UploadedPart[],
  checksum: StoredChecksum | null
): Promise<ObjectVersion> {
  const object: Omit<ObjectVersion, 'versionId'> = {
    kind: 'object',
    ...record.attributes,
    lastModified: currentSecond(),
    etag: multipartEtag(parts.map(({ etag }) => etag)),
    size: parts.reduce((sum, { size }) => sum + size, 0),
    checksum,
    blobs: parts.map(({ blob }) => blob),
    parts: parts.map(({ number, size, checksum: ofPart }) => ({ number, size, checksum: ofPart }))
  }
  // Not `publish`: when a condition fails, the upload and its parts stay.
  return bucket.changeKey(key, (versions) => {
    writeConditions(headers, versions[0]?.kind === 'object' ? versions[0] : undefined)
    const changed = bucket.addVersion(versions, (versionId) => ({ ...object, versionId }))
    return { versions: changed, result: changed[0] as ObjectVersion }
  })
}
