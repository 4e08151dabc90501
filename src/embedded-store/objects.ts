import type { HttpResponse, HeaderList } from '../http/message.ts'
import type { Bucket } from './bucket.ts'
import type { ObjectVersion, Version } from './records.ts'
import { S3Error } from '../errors.ts'
import { currentSecond, emptyAnswer, type StoreContext, type StoreRequest, xmlAnswer } from './request.ts'
import { readAttributes } from './attributes.ts'
import { checksumHeaders } from './checksums.ts'
import { writeConditions, deleteCondition } from './conditions.ts'
import { versionHeader, checkVersionId } from './locate.ts'
import { receiveBlob, receiveDocument } from './receive.ts'
import { parseXml, element, textElement, xmlDocument, type XmlElement } from './xml.ts'

/** Bytes of UTF-8 (AWS, "Creating object key names"). */
const KEY_LIMIT = 1024

/** PutObject. */
export async function putObject(request: StoreRequest, context: StoreContext): Promise<HttpResponse> {
  const bucket = context.catalog.bucket(request.bucket)
  checkKey(request.key)
  if (request.headers.has('x-amz-write-offset-bytes')) {
    throw new S3Error('NotImplemented', { fields: { Header: 'x-amz-write-offset-bytes' } })
  }
  const attributes = readAttributes(request.headers, context)
  checkLock(bucket, attributes)
  // Asked here as well, so that a client that waits for "100 Continue" does not send a body that will be refused.
  writeConditions(request.headers, bucket.current(request.key))
  const { blob, md5, checksum } = await receiveBlob(request, context, context.defaultChecksum ? 'crc64nvme' : null)
  const version = await publish(bucket, request.key, request.headers, {
    kind: 'object',
    ...attributes,
    lastModified: currentSecond(),
    etag: md5,
    size: blob.size,
    checksum,
    blobs: [blob],
    parts: null
  })
  return emptyAnswer(200, [['ETag', `"${md5}"`], ...versionHeader(bucket, version), ...checksumHeaders(checksum)])
}

/**
 * Makes an object visible, if the conditions of the request hold at that moment. Its blobs are freed if they do not.
 * @throws S3Error PreconditionFailed, NoSuchKey
 */
export async function publish(bucket: Bucket, key: string, headers: HeaderList, object: Omit<ObjectVersion, 'versionId'>): Promise<ObjectVersion> {
  try {
    return await bucket.changeKey(key, (versions) => {
      writeConditions(headers, versions[0]?.kind === 'object' ? versions[0] : undefined)
      const changed = bucket.addVersion(versions, (versionId) => ({ ...object, versionId }))
      return { versions: changed, result: changed[0] as ObjectVersion }
    })
  } catch (error) {
    await bucket.free(object.blobs)
    throw error
  }
}

/** @throws S3Error KeyTooLongError */
export function checkKey(key: string): void {
  const size = Buffer.byteLength(key, 'utf8')
  if (size > KEY_LIMIT) throw new S3Error('KeyTooLongError', { fields: { Size: String(size), MaxSizeAllowed: String(KEY_LIMIT) } })
}

/** @throws S3Error InvalidRequest for locks in a bucket without object lock */
export function checkLock(bucket: Bucket, { retention, legalHold }: Pick<ObjectVersion, 'retention' | 'legalHold'>): void {
  if (retention !== null || legalHold) bucket.requireObjectLock()
}

/** Keys in one DeleteObjects (AWS, DeleteObjects). */
const DELETE_LIMIT = 1000

interface Deletion {
  readonly key: string
  readonly versionId: string | undefined
  readonly ifMatch: string | undefined
  readonly bypassGovernance: boolean
}

interface Deleted {
  /** The id that was deleted, or of the delete marker that was made; null in buckets without versions. */
  readonly versionId: string | null
  /** A delete marker was made or removed. */
  readonly marker: boolean
}

/** DeleteObject. */
export async function deleteObject(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const { versionId, marker } = await remove(catalog.bucket(request.bucket), {
    key: request.key,
    versionId: request.query.get('versionId'),
    ifMatch: request.headers.get('if-match'),
    bypassGovernance: bypasses(request)
  })
  return emptyAnswer(204, [
    ...marker ? [['x-amz-delete-marker', 'true'] as const] : [],
    ...versionId === null ? [] : [['x-amz-version-id', versionId] as const]
  ])
}

/** DeleteObjects: each key succeeds or fails by itself. */
export async function deleteObjects(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  const root = parseXml(await receiveDocument(request, 'demanded'), 'Delete')
  const quiet = root.value('Quiet') === 'true'
  const objects = root.all('Object')
  if (objects.length === 0 || objects.length > DELETE_LIMIT) throw new S3Error('MalformedXML')
  const rows: string[] = []
  for (const object of objects) rows.push(await deleteOne(bucket, object, bypasses(request), quiet))
  return xmlAnswer(xmlDocument('DeleteResult', ...rows))
}

async function deleteOne(bucket: Bucket, object: XmlElement, bypassGovernance: boolean, quiet: boolean): Promise<string> {
  const [key, versionId] = [object.value('Key') ?? '', object.value('VersionId')]
  if (key === '') throw new S3Error('MalformedXML')
  const names = [textElement('Key', key), textElement('VersionId', versionId)]
  try {
    if (object.value('Size') !== undefined || object.value('LastModifiedTime') !== undefined) throw new S3Error('NotImplemented')
    const deleted = await remove(bucket, { key, versionId, ifMatch: object.value('ETag'), bypassGovernance })
    return quiet ?
      '' :
      element('Deleted', ...names, deleted.marker ? textElement('DeleteMarker', true) + textElement('DeleteMarkerVersionId', deleted.versionId) : '')
  } catch (error) {
    if (!(error instanceof S3Error)) throw error
    return element('Error', ...names, textElement('Code', error.code), textElement('Message', error.message))
  }
}

function bypasses(request: StoreRequest): boolean {
  return request.headers.get('x-amz-bypass-governance-retention')?.toLowerCase() === 'true'
}

async function remove(bucket: Bucket, deletion: Deletion): Promise<Deleted> {
  if (deletion.versionId !== undefined) return removeVersion(bucket, deletion, deletion.versionId)
  return bucket.changeKey<Deleted>(deletion.key, (versions) => {
    const newest = versions[0]
    deleteCondition(deletion.ifMatch, newest?.kind === 'object' ? newest : undefined)
    if (bucket.record.versioning === 'Unversioned') {
      return { versions: versions.length === 0 ? versions : [], result: { versionId: null, marker: false } }
    }
    const marked = bucket.addVersion(versions, (versionId) => ({ kind: 'marker', versionId, lastModified: currentSecond() }))
    return { versions: marked, result: { versionId: marked[0]?.versionId ?? null, marker: true } }
  })
}

/** Removes one version for good. What is not there is as good as deleted. */
async function removeVersion(bucket: Bucket, { key, ifMatch, bypassGovernance }: Deletion, versionId: string): Promise<Deleted> {
  checkVersionId(versionId)
  return bucket.changeKey(key, (versions) => {
    const found = versions.find((version) => version.versionId === versionId)
    deleteCondition(ifMatch, found?.kind === 'object' ? found : undefined)
    if (found?.kind === 'object') checkUnlocked(found, bypassGovernance)
    return {
      versions: found === undefined ? versions : versions.filter((version: Version) => version !== found),
      result: { versionId, marker: found?.kind === 'marker' }
    }
  })
}

/** @throws S3Error AccessDenied (AWS, "Locking objects with Object Lock") */
function checkUnlocked({ retention, legalHold }: ObjectVersion, bypassGovernance: boolean): void {
  const retained = retention !== null && Date.parse(retention.until) > Date.now() && !(retention.mode === 'GOVERNANCE' && bypassGovernance)
  if (legalHold || retained) throw new S3Error('AccessDenied', { message: 'Access Denied because object protected by object lock.' })
}
