import type { HttpResponse } from '../http/message.ts'
import type { ObjectVersion, StoredChecksum } from './records.ts'
import { S3Error } from '../errors.ts'
import { httpDate, xmlAnswer, type ResponseHeaders, type StoreContext, type StoreRequest } from './request.ts'
import { attributeHeaders, overrideHeaders } from './attributes.ts'
import { checksumElement, checksumHeaders } from './checksums.ts'
import { ifRangeHolds, readConditions, parseRange, type ByteRange } from './conditions.ts'
import { locate, slices, versionHeader } from './locate.ts'
import { pageSize } from './page.ts'
import { element, textElement, xmlDocument } from './xml.ts'

interface Selection {
  /** null: the whole object with status 200. */
  readonly range: ByteRange | null
  /** Set when a part was asked for by number. */
  readonly partsCount: number | null
  readonly checksum: StoredChecksum | null
}

/** GetObject and HeadObject: the same but for the body. */
export async function getObject(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  const version = locate(bucket, request.key, request.query.get('versionId'))
  checkOverrides(request)
  const identity: ResponseHeaders = [['ETag', `"${version.etag}"`], ['Last-Modified', httpDate(version.lastModified)], ...versionHeader(bucket, version)]
  if (!readConditions(request.headers, version, Date.now())) return { status: 304, headers: identity, body: null }
  const { range, partsCount, checksum } = select(request, version)
  const { start, end } = range ?? { start: 0, end: version.size }
  const headers: (readonly [string, string])[] = [...identity, ['Accept-Ranges', 'bytes'], ...attributeHeaders(version)]
  if (range !== null) headers.push(['Content-Range', `bytes ${start}-${end - 1}/${version.size}`])
  if (partsCount !== null) headers.push(['x-amz-mp-parts-count', String(partsCount)])
  if (request.headers.get('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    headers.push(...checksumHeaders(checksum))
  }
  headers.push(['Content-Length', String(end - start)])
  return {
    status: range === null ? 200 : 206,
    headers: overrideHeaders(headers, (parameter) => request.query.get(parameter)),
    body: request.method === 'HEAD' || start === end ? null : bucket.read(slices(version, start, end))
  }
}

/** @throws S3Error InvalidRequest: what anonymous readers see is not theirs to change (AWS, GetObject). */
function checkOverrides(request: StoreRequest): void {
  if (request.anonymous && request.query.parameters.some(({ name }) => name.startsWith('response-'))) {
    throw new S3Error('InvalidRequest', { message: 'Request specific response headers cannot be used for anonymous GET requests.' })
  }
}

function select(request: StoreRequest, version: ObjectVersion): Selection {
  const partNumber = request.query.get('partNumber')
  const header = request.headers.get('range')
  if (partNumber !== undefined) {
    if (header !== undefined) {
      throw new S3Error('InvalidRequest', { message: 'Cannot specify both Range header and partNumber query parameter' })
    }
    return selectPart(version, readPartNumber(partNumber))
  }
  const range = ifRangeHolds(request.headers.get('if-range'), version) ? parseRange(header, version.size) : null
  // Clients would compare a checksum of the whole with the part that they get.
  return { range, partsCount: null, checksum: range === null ? version.checksum : null }
}

function selectPart(version: ObjectVersion, number: number): Selection {
  const parts = version.parts ?? [{ number: 1, size: version.size, checksum: version.checksum }]
  const part = parts[number - 1]
  if (part === undefined) {
    throw new S3Error('InvalidPartNumber', { fields: { ActualPartCount: String(parts.length), PartNumberRequested: String(number) } })
  }
  const start = parts.slice(0, number - 1).reduce((sum, { size }) => sum + size, 0)
  return {
    // There is no way to write the range of an empty part.
    range: part.size === 0 ? null : { start, end: start + part.size },
    partsCount: version.parts === null ? null : parts.length,
    checksum: part.checksum
  }
}

/** @throws S3Error InvalidArgument */
export function readPartNumber(text: string): number {
  const number = Number(text)
  if (!/^\d{1,5}$/.test(text) || number < 1 || number > 10000) {
    throw new S3Error('InvalidArgument', {
      message: 'Part number must be an integer between 1 and 10000, inclusive',
      fields: { ArgumentName: 'partNumber', ArgumentValue: text }
    })
  }
  return number
}

const attributeNames = ['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'] as const
type AttributeName = typeof attributeNames[number]

/** GetObjectAttributes. */
export async function getObjectAttributes(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  const version = locate(bucket, request.key, request.query.get('versionId'))
  const wanted = readAttributeNames(request.headers.get('x-amz-object-attributes'))
  const parts: Record<AttributeName, () => string> = {
    ETag: () => textElement('ETag', version.etag),
    Checksum: () =>
      version.checksum === null ?
        ''
        : element('Checksum', checksumElement(version.checksum), textElement('ChecksumType', version.checksum.type)),
    ObjectParts: () => objectParts(request, version),
    StorageClass: () => textElement('StorageClass', version.storageClass),
    ObjectSize: () => textElement('ObjectSize', version.size)
  }
  return xmlAnswer(xmlDocument('GetObjectAttributesResponse', ...wanted.map((name) => parts[name]())), [
    ['Last-Modified', httpDate(version.lastModified)],
    ...versionHeader(bucket, version)
  ])
}

function readAttributeNames(header: string | undefined): readonly AttributeName[] {
  const asked = (header ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
  const known = attributeNames.filter((name) => asked.includes(name))
  if (known.length === 0 || known.length < new Set(asked).size) {
    throw new S3Error('InvalidArgument', { message: 'Invalid attribute name specified.', fields: { ArgumentName: 'x-amz-object-attributes' } })
  }
  return known
}

/** Parts are listed only where they have checksums; their number always. */
function objectParts(request: StoreRequest, { parts }: ObjectVersion): string {
  if (parts === null) return ''
  if (parts.some(({ checksum }) => checksum === null)) return element('ObjectParts', textElement('PartsCount', parts.length))
  const marker = Number(request.headers.get('x-amz-part-number-marker') ?? 0)
  const limit = pageSize('x-amz-max-parts', request.headers.get('x-amz-max-parts'))
  const rest = parts.filter(({ number }) => number > marker)
  const page = rest.slice(0, limit)
  return element(
    'ObjectParts',
    textElement('PartsCount', parts.length),
    textElement('PartNumberMarker', marker),
    textElement('NextPartNumberMarker', page.at(-1)?.number ?? 0),
    textElement('MaxParts', limit),
    textElement('IsTruncated', page.length < rest.length),
    ...page.map(({ number, size, checksum }) => element('Part', textElement('PartNumber', number), textElement('Size', size), checksumElement(checksum)))
  )
}
