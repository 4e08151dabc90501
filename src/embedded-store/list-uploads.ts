import { isoDate, xmlAnswer } from './answer.ts'
import { checksumElement } from './checksums.ts'
import { echo, frame, lastName, ownerElement, pageQuery, prefixes } from './listings.ts'
import { listPage, nameEncoding, pageSize } from './page.ts'
import { SortedMap } from './sorted.ts'
import { element, textElement, xmlDocument } from './xml.ts'
import type { HttpResponse } from '../http/message.ts'
import type { Upload } from './bucket.ts'
import type { UploadedPart, UploadRecord } from './records.ts'
import type { StoreContext, StoreRequest } from './request.ts'

interface UploadRow {
  readonly key: string
  readonly upload: Upload
}

/** ListMultipartUploads: by key, then by time of initiation. */
export async function listMultipartUploads(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const { query } = request
  const name = nameEncoding(query.get('encoding-type'))
  const keyMarker = query.get('key-marker') ?? ''
  // Without a key marker it has no meaning, and S3 ignores it.
  const idMarker = keyMarker === '' ? '' : query.get('upload-id-marker') ?? ''
  const asked = pageQuery(request, 'max-uploads', keyMarker, idMarker !== '')
  const page = listPage(byKey(catalog.bucket(request.bucket).uploads), asked, (key, uploads): readonly UploadRow[] =>
    uploads.filter(({ record }) => !(asked.resume && key === keyMarker && record.id <= idMarker)).map((upload) => ({ key, upload })))
  const next = lastName(page)
  const last = page.last !== null && 'row' in page.last ? page.last.row.upload.record.id : undefined
  return xmlAnswer(xmlDocument('ListMultipartUploadsResult', textElement('Bucket', request.bucket),
    echo('KeyMarker', keyMarker, name), textElement('UploadIdMarker', idMarker),
    next === undefined ? '' : textElement('NextKeyMarker', name(next)), textElement('NextUploadIdMarker', last),
    echo('Prefix', asked.prefix, name), ...frame(request, page, asked, 'MaxUploads', name),
    ...page.rows.map(({ upload: { record } }) => uploadElement(record, name)), ...prefixes(page, name)))
}

function uploadElement(record: UploadRecord, name: (text: string) => string): string {
  return element('Upload', textElement('Key', name(record.key)), textElement('UploadId', record.id), ownerElement('Initiator'), ownerElement(),
    textElement('StorageClass', record.attributes.storageClass), textElement('Initiated', isoDate(record.initiated)), ...checksumKind(record))
}

function byKey(uploads: Iterable<Upload>): SortedMap<readonly Upload[]> {
  return new SortedMap(Map.groupBy(uploads, ({ record }) => record.key))
}

/** ListParts. */
export async function listParts(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const { query, key } = request
  const name = nameEncoding(query.get('encoding-type'))
  const { record, parts } = catalog.bucket(request.bucket).upload(key, query.get('uploadId') ?? '')
  const limit = pageSize('max-parts', query.get('max-parts'))
  const marker = Number(query.get('part-number-marker') ?? 0)
  const rest = [...parts.values()].filter(({ number }) => number > marker).sort((a, b) => a.number - b.number)
  const page = rest.slice(0, limit)
  return xmlAnswer(xmlDocument('ListPartsResult', textElement('Bucket', request.bucket), textElement('Key', name(key)),
    textElement('UploadId', record.id), ownerElement('Initiator'), ownerElement(),
    textElement('StorageClass', record.attributes.storageClass), textElement('PartNumberMarker', marker),
    textElement('NextPartNumberMarker', page.at(-1)?.number ?? 0), textElement('MaxParts', limit),
    textElement('EncodingType', query.get('encoding-type')), textElement('IsTruncated', page.length < rest.length),
    ...checksumKind(record), ...page.map(partElement)))
}

function partElement({ number, lastModified, etag, size, checksum }: UploadedPart): string {
  return element('Part', textElement('PartNumber', number), textElement('LastModified', isoDate(lastModified)),
    textElement('ETag', `"${etag}"`), textElement('Size', size), checksumElement(checksum))
}

function checksumKind({ checksum }: UploadRecord): readonly string[] {
  return checksum === null ? []
    : [textElement('ChecksumAlgorithm', checksum.algorithm.toUpperCase()), textElement('ChecksumType', checksum.type)]
}
