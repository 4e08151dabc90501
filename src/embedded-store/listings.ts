import type { HttpResponse } from '../http/message.ts'
import type { Query } from '../http/target.ts'
import type { ObjectVersion, Version, UploadedPart, UploadRecord } from './records.ts'
import type { Upload } from './bucket.ts'
import { S3Error } from '../errors.ts'
import { isoDate, xmlAnswer, owner, type StoreContext, type StoreRequest } from './request.ts'
import { listPage, nameEncoding, pageSize, type Page, type PageQuery } from './page.ts'
import { element, textElement, xmlDocument } from './xml.ts'
import { descriptionElement } from './attributes.ts'
import { checksumElement } from './checksums.ts'
import { SortedMap } from './sorted.ts'

interface KeyRow {
  readonly key: string
  readonly version: ObjectVersion
}

interface VersionRow {
  readonly key: string
  readonly version: Version
  readonly latest: boolean
}

/** ListObjects (version 1). */
export async function listObjects(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const { query, bucket } = request
  const name = nameEncoding(query.get('encoding-type'))
  const marker = query.get('marker') ?? ''
  const asked = pageQuery(request, 'max-keys', marker, false)
  const page = listPage(catalog.bucket(bucket).keys, asked, currentRow)
  // Without a delimiter the last key of the page is the next marker, and S3 leaves it to the client to see that.
  const next = asked.delimiter === '' ? undefined : lastName(page)
  return xmlAnswer(
    xmlDocument(
      'ListBucketResult',
      textElement('Name', bucket),
      echo('Prefix', asked.prefix, name),
      echo('Marker', marker, name),
      next === undefined ? '' : textElement('NextMarker', name(next)),
      ...frame(request, page, asked, 'MaxKeys', name),
      ...page.rows.map((row) => contents(row, name, { withOwner: true, described: describes(query) })),
      ...prefixes(page, name)
    )
  )
}

/** ListObjectsV2. */
export async function listObjectsV2(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const { query, bucket } = request
  const name = nameEncoding(query.get('encoding-type'))
  const token = query.get('continuation-token')
  const startAfter = query.get('start-after')
  const asked = pageQuery(request, 'max-keys', token === undefined ? startAfter ?? '' : readToken(token), false)
  const page = listPage(catalog.bucket(bucket).keys, asked, currentRow)
  const next = lastName(page)
  return xmlAnswer(
    xmlDocument(
      'ListBucketResult',
      textElement('Name', bucket),
      echo('Prefix', asked.prefix, name),
      startAfter === undefined ? '' : textElement('StartAfter', name(startAfter)),
      textElement('ContinuationToken', token),
      next === undefined ? '' : textElement('NextContinuationToken', Buffer.from(next, 'utf8').toString('base64url')),
      textElement('KeyCount', page.rows.length + page.commonPrefixes.length),
      ...frame(request, page, asked, 'MaxKeys', name),
      ...page.rows.map((row) => contents(row, name, { withOwner: query.get('fetch-owner') === 'true', described: describes(query) })),
      ...prefixes(page, name)
    )
  )
}

/** ListObjectVersions. */
export async function listObjectVersions(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const { query, bucket } = request
  const name = nameEncoding(query.get('encoding-type'))
  const keyMarker = query.get('key-marker') ?? ''
  const versionMarker = query.get('version-id-marker') ?? ''
  if (versionMarker !== '' && keyMarker === '') {
    const message = 'A version-id marker cannot be specified without a key marker.'
    throw new S3Error('InvalidArgument', { message, fields: { ArgumentName: 'version-id-marker', ArgumentValue: versionMarker } })
  }
  const asked = pageQuery(request, 'max-keys', keyMarker, versionMarker !== '')
  const page = listPage(catalog.bucket(bucket).keys, asked, (key, versions): readonly VersionRow[] => {
    const rows = versions.map((version, i) => ({ key, version, latest: i === 0 }))
    return asked.resume && key === keyMarker ? rows.slice(rows.findIndex(({ version }) => version.versionId === versionMarker) + 1) : rows
  })
  const next = lastName(page)
  return xmlAnswer(
    xmlDocument(
      'ListVersionsResult',
      textElement('Name', bucket),
      echo('Prefix', asked.prefix, name),
      echo('KeyMarker', keyMarker, name),
      textElement('VersionIdMarker', versionMarker),
      next === undefined ? '' : textElement('NextKeyMarker', name(next)),
      page.last !== null && 'row' in page.last ? textElement('NextVersionIdMarker', page.last.row.version.versionId) : '',
      ...frame(request, page, asked, 'MaxKeys', name),
      ...page.rows.map((row) => versionElement(row, name, describes(query))),
      ...prefixes(page, name)
    )
  )
}

/** Reads the parameters all listings share. */
function pageQuery({ query }: StoreRequest, limitName: string, after: string, resume: boolean): PageQuery {
  return { prefix: query.get('prefix') ?? '', delimiter: query.get('delimiter') ?? '', after, resume, limit: pageSize(limitName, query.get(limitName)) }
}

/** The elements all listings share. */
function frame(request: StoreRequest, page: Page<unknown>, asked: PageQuery, limitName: string, name: (text: string) => string): readonly string[] {
  return [
    textElement(limitName, asked.limit),
    asked.delimiter === '' ? '' : textElement('Delimiter', name(asked.delimiter)),
    textElement('EncodingType', request.query.get('encoding-type')),
    textElement('IsTruncated', page.last !== null)
  ]
}

function prefixes(page: Page<unknown>, name: (text: string) => string): readonly string[] {
  return page.commonPrefixes.map((prefix) => element('CommonPrefixes', textElement('Prefix', name(prefix))))
}

/** An element that is written even when it is empty. */
function echo(element: string, value: string, name: (text: string) => string): string {
  return textElement(element, name(value))
}

/** Where the next page starts; undefined when this is the last. */
function lastName(page: Page<{ readonly key: string }>): string | undefined {
  if (page.last === null) return undefined
  return 'row' in page.last ? page.last.row.key : page.last.prefix
}

export function ownerElement(name = 'Owner'): string {
  return element(name, textElement('ID', owner.id), textElement('DisplayName', owner.displayName))
}

function currentRow(key: string, [newest]: readonly Version[]): readonly KeyRow[] {
  return newest?.kind === 'object' ? [{ key, version: newest }] : []
}

interface Shown {
  readonly withOwner: boolean
  readonly described: boolean
}

function contents({ key, version }: KeyRow, name: (text: string) => string, { withOwner, described }: Shown): string {
  return element(
    'Contents',
    textElement('Key', name(key)),
    ...bodyElements(version),
    withOwner ? ownerElement() : '',
    textElement('StorageClass', version.storageClass),
    described ? descriptionElement(version) : ''
  )
}

/** MinIO's `metadata=true`, which mc asks for: what describes each object, in its listing. */
function describes(query: Query): boolean {
  return query.get('metadata') === 'true'
}

function bodyElements(version: ObjectVersion): readonly string[] {
  return [
    textElement('LastModified', isoDate(version.lastModified)),
    textElement('ETag', `"${version.etag}"`),
    ...version.checksum === null ?
      []
      : [textElement('ChecksumAlgorithm', version.checksum.algorithm.toUpperCase()), textElement('ChecksumType', version.checksum.type)],
    textElement('Size', version.size)
  ]
}

function versionElement({ key, version, latest }: VersionRow, name: (text: string) => string, described: boolean): string {
  const head = [textElement('Key', name(key)), textElement('VersionId', version.versionId), textElement('IsLatest', latest)]
  if (version.kind === 'marker') {
    return element('DeleteMarker', ...head, textElement('LastModified', isoDate(version.lastModified)), ownerElement())
  }
  return element(
    'Version',
    ...head,
    ...bodyElements(version),
    ownerElement(),
    textElement('StorageClass', version.storageClass),
    described ? descriptionElement(version) : ''
  )
}

function readToken(token: string): string {
  const key = Buffer.from(token, 'base64url').toString('utf8')
  if (key !== '' && Buffer.from(key, 'utf8').toString('base64url') === token) return key
  throw new S3Error('InvalidArgument', { message: 'The continuation token provided is incorrect', fields: { ArgumentName: 'continuation-token' } })
}

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
  const page = listPage(
    byKey(catalog.bucket(request.bucket).uploads),
    asked,
    (key, uploads): readonly UploadRow[] =>
      uploads.filter(({ record }) => !(asked.resume && key === keyMarker && record.id <= idMarker)).map((upload) => ({ key, upload }))
  )
  const next = lastName(page)
  const last = page.last !== null && 'row' in page.last ? page.last.row.upload.record.id : undefined
  return xmlAnswer(
    xmlDocument(
      'ListMultipartUploadsResult',
      textElement('Bucket', request.bucket),
      echo('KeyMarker', keyMarker, name),
      textElement('UploadIdMarker', idMarker),
      next === undefined ? '' : textElement('NextKeyMarker', name(next)),
      textElement('NextUploadIdMarker', last),
      echo('Prefix', asked.prefix, name),
      ...frame(request, page, asked, 'MaxUploads', name),
      ...page.rows.map(({ upload: { record } }) => uploadElement(record, name)),
      ...prefixes(page, name)
    )
  )
}

function uploadElement(record: UploadRecord, name: (text: string) => string): string {
  return element(
    'Upload',
    textElement('Key', name(record.key)),
    textElement('UploadId', record.id),
    ownerElement('Initiator'),
    ownerElement(),
    textElement('StorageClass', record.attributes.storageClass),
    textElement('Initiated', isoDate(record.initiated)),
    ...checksumKind(record)
  )
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
  return xmlAnswer(
    xmlDocument(
      'ListPartsResult',
      textElement('Bucket', request.bucket),
      textElement('Key', name(key)),
      textElement('UploadId', record.id),
      ownerElement('Initiator'),
      ownerElement(),
      textElement('StorageClass', record.attributes.storageClass),
      textElement('PartNumberMarker', marker),
      textElement('NextPartNumberMarker', page.at(-1)?.number ?? 0),
      textElement('MaxParts', limit),
      textElement('EncodingType', query.get('encoding-type')),
      textElement('IsTruncated', page.length < rest.length),
      ...checksumKind(record),
      ...page.map(partElement)
    )
  )
}

function partElement({ number, lastModified, etag, size, checksum }: UploadedPart): string {
  return element(
    'Part',
    textElement('PartNumber', number),
    textElement('LastModified', isoDate(lastModified)),
    textElement('ETag', `"${etag}"`),
    textElement('Size', size),
    checksumElement(checksum)
  )
}

function checksumKind({ checksum }: UploadRecord): readonly string[] {
  return checksum === null ?
    []
    : [textElement('ChecksumAlgorithm', checksum.algorithm.toUpperCase()), textElement('ChecksumType', checksum.type)]
}
