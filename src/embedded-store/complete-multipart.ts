import type { Bucket, Upload } from './bucket.ts'
import type { ObjectVersion, StoredChecksum, UploadedPart } from './records.ts'
import { S3Error } from '../errors.ts'
import { HeaderList, type HttpResponse } from '../http/message.ts'
import { currentSecond, xmlAnswer, type StoreContext, type StoreRequest } from './request.ts'
import { checksumElement, checksumMismatch, multipartChecksum, multipartEtag } from './checksums.ts'
import { writeConditions } from './conditions.ts'
import { versionHeader } from './locate.ts'
import { implicitChecksum } from './multipart.ts'
import { receiveDocument } from './receive.ts'
import { parseXml, textElement, xmlDocument, type XmlElement } from './xml.ts'

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
