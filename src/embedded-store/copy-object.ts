import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { HttpResponse } from '../http/message.ts'
import type { Bucket } from './bucket.ts'
import type { Blob, ObjectAttributes, ObjectVersion, StoredChecksum } from './records.ts'
import { S3Error } from '../errors.ts'
import { createChecksum, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../http/checksums.ts'
import { percentDecode } from '../http/target.ts'
import { currentSecond, isoDate, xmlAnswer, type ResponseHeaders, type StoreContext, type StoreRequest } from './request.ts'
import { readAttributes } from './attributes.ts'
import { checksumElement } from './checksums.ts'
import { copySourceConditions, writeConditions } from './conditions.ts'
import { locate, slices, versionHeader } from './locate.ts'
import { checkKey, checkLock, publish } from './objects.ts'
import { UPLOAD_LIMIT } from './receive.ts'
import { textElement, xmlDocument } from './xml.ts'

export interface CopySource {
  readonly bucket: Bucket
  readonly key: string
  readonly version: ObjectVersion
  /** Whether the request named a version. */
  readonly named: boolean
}

/** CopyObject. */
export async function copyObject(request: StoreRequest, context: StoreContext): Promise<HttpResponse> {
  const { headers, key } = request
  const bucket = context.catalog.bucket(request.bucket)
  checkKey(key)
  const source = readCopySource(request, context)
  if (source.version.size > UPLOAD_LIMIT) {
    throw new S3Error('InvalidRequest', { message: `The specified copy source is larger than the maximum allowable size for a copy source: ${UPLOAD_LIMIT}` })
  }
  const attributes = copiedAttributes(request, context, source.version)
  refuseIdleCopy(request, source)
  checkLock(bucket, attributes)
  writeConditions(headers, bucket.current(key))
  const asked = headers.get('x-amz-checksum-algorithm')
  const { version: copied } = source
  const body = await copyBody(source, asked === undefined ? copied.checksum?.algorithm ?? null : requireChecksumAlgorithm(asked))
  const version = await publish(bucket, key, headers, {
    kind: 'object',
    ...attributes,
    ...body,
    lastModified: currentSecond(),
    size: copied.size,
    parts: null
  })
  const xml = xmlDocument(
    'CopyObjectResult',
    textElement('LastModified', isoDate(version.lastModified)),
    textElement('ETag', `"${version.etag}"`),
    textElement('ChecksumType', version.checksum?.type),
    checksumElement(version.checksum)
  )
  return xmlAnswer(xml, [...copySourceHeader(source), ...versionHeader(bucket, version)])
}

/** `x-amz-copy-source-version-id` */
export function copySourceHeader({ bucket, version }: CopySource): ResponseHeaders {
  return versionHeader(bucket, version).map(([, id]) => ['x-amz-copy-source-version-id', id])
}

/**
 * Finds the object that `x-amz-copy-source` names (percent-encoded once, in part or as a whole, a leading slash optional) and checks the conditions on it.
 * @throws S3Error InvalidArgument, InvalidRequest, NoSuchBucket, NoSuchKey, NoSuchVersion, PreconditionFailed
 */
export function readCopySource({ headers }: StoreRequest, { catalog }: StoreContext): CopySource {
  const header = headers.get('x-amz-copy-source') ?? ''
  const [, path = '', rawVersion] = /^([^?]+)(?:\?versionId=([^&]*))?$/.exec(header) ?? []
  const match = /^\/?([^/]+)\/(.+)$/s.exec(decodeSource(path, header))
  if (match === null) throw badCopySource(header)
  const [, name, key] = match
  const versionId = rawVersion === undefined ? undefined : decodeSource(rawVersion, header)
  const bucket = catalog.bucket(name ?? '')
  try {
    const version = locate(bucket, key ?? '', versionId)
    copySourceConditions(headers, version, Date.now())
    return { bucket, key: key ?? '', version, named: versionId !== undefined }
  } catch (error) {
    if (error instanceof S3Error && error.code === 'MethodNotAllowed') {
      throw new S3Error('InvalidRequest', { message: 'The source of a copy request may not specifically refer to a delete marker by version id.' })
    }
    throw error
  }
}

function decodeSource(part: string, header: string): string {
  try {
    return percentDecode(part)
  } catch (cause) {
    throw badCopySource(header, cause)
  }
}

function badCopySource(header: string, cause?: unknown): S3Error {
  return new S3Error('InvalidArgument', {
    message: 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
    fields: { ArgumentName: 'x-amz-copy-source', ArgumentValue: header },
    cause
  })
}

/** The directives: each of metadata and tags comes whole from the source or whole from the request. */
function copiedAttributes({ headers }: StoreRequest, context: StoreContext, source: ObjectVersion): ObjectAttributes {
  const own = readAttributes(headers, context)
  const metadataFromRequest = directive('x-amz-metadata-directive', headers.get('x-amz-metadata-directive'))
  const tagsFromRequest = directive('x-amz-tagging-directive', headers.get('x-amz-tagging-directive'))
  const redirect = own.headers['x-amz-website-redirect-location']
  return {
    ...own,
    // The redirect is never copied (AWS, CopyObject).
    headers: metadataFromRequest ?
      own.headers
      : { ...withoutRedirect(source.headers), ...redirect === undefined ? {} : { 'x-amz-website-redirect-location': redirect } },
    metadata: metadataFromRequest ? own.metadata : source.metadata,
    tags: tagsFromRequest ? own.tags : source.tags
  }
}

function withoutRedirect(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'x-amz-website-redirect-location'))
}

function directive(name: string, value: string | undefined): boolean {
  if (value !== undefined && value !== 'COPY' && value !== 'REPLACE') {
    const message = `Unknown ${name.includes('tagging') ? 'tagging' : 'metadata'} directive.`
    throw new S3Error('InvalidArgument', { message, fields: { ArgumentName: name, ArgumentValue: value } })
  }
  return value === 'REPLACE'
}

/** @throws S3Error InvalidRequest for a copy of an object onto itself that would change nothing */
function refuseIdleCopy({ bucket, key, headers }: StoreRequest, source: CopySource): void {
  const itself = source.bucket.record.name === bucket && source.key === key &&
    !(source.named && source.version !== source.bucket.current(key))
  const changes = headers.get('x-amz-metadata-directive') === 'REPLACE' || headers.has('x-amz-storage-class') ||
    headers.has('x-amz-website-redirect-location')
  if (itself && !changes) {
    throw new S3Error('InvalidRequest', {
      message:
        'This copy request is illegal because it is trying to copy an object to itself without changing the object\'s metadata, storage class, website redirect location or encryption attributes.'
    })
  }
}

/**
 * The body under new names. Copies are always single objects, so an object that was uploaded in parts gets the
 * MD5 of its whole as ETag, and a checksum of its whole.
 */
async function copyBody(
  { bucket, version }: CopySource,
  algorithm: ChecksumAlgorithm | null
): Promise<{ blobs: readonly Blob[]; etag: string; checksum: StoredChecksum | null }> {
  const kept = version.parts === null && version.checksum?.algorithm === (algorithm ?? undefined)
  const digests = kept ?
    { md5: version.etag, checksum: version.checksum }
    : await digest(bucket.read(slices(version, 0, version.size)), algorithm, () => undefined)
  return { blobs: await bucket.link(version.blobs), etag: digests.md5, checksum: digests.checksum }
}

/** Reads a stream to its end, and gives its MD5 in hex and a checksum on the way. */
export async function digest(
  source: Readable,
  algorithm: ChecksumAlgorithm | null,
  write: (chunk: Buffer) => Promise<void> | undefined
): Promise<{ md5: string; checksum: StoredChecksum | null }> {
  const md5 = createHash('md5')
  const checksum = algorithm === null ? null : { algorithm, state: createChecksum(algorithm) }
  for await (const chunk of source as AsyncIterable<Buffer>) {
    md5.update(chunk)
    checksum?.state.update(chunk)
    await write(chunk)
  }
  return {
    md5: md5.digest('hex'),
    checksum: checksum === null ?
      null
      : { algorithm: checksum.algorithm, value: checksum.state.digest().toString('base64'), type: 'FULL_OBJECT' }
  }
}
