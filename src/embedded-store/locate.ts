import { S3Error } from '../errors.ts'
import { httpDate } from './request.ts'
import type { ResponseHeaders } from './request.ts'
import type { Bucket } from './bucket.ts'
import type { DeleteMarker, ObjectVersion, Slice, Version } from './records.ts'

/** @throws S3Error InvalidArgument */
export function checkVersionId(versionId: string): void {
  if (versionId === 'null' || /^[0-9A-Za-z._-]{32}$/.test(versionId)) return
  const message = versionId === '' ? 'Version id cannot be the empty string' : 'Invalid version id specified'
  throw new S3Error('InvalidArgument', { message, fields: { ArgumentName: 'versionId', ArgumentValue: versionId } })
}

/**
 * The version a request is about: the newest, or the one it names.
 * @throws S3Error NoSuchKey, NoSuchVersion, MethodNotAllowed (a delete marker by its id), InvalidArgument
 */
export function locate(bucket: Bucket, key: string, versionId: string | undefined): ObjectVersion {
  const version = versionId === undefined ? bucket.versions(key)[0] : namedVersion(bucket, key, versionId)
  if (version === undefined) throw new S3Error('NoSuchKey', { fields: { Key: key } })
  if (version.kind === 'object') return version
  const headers: ResponseHeaders = [['x-amz-delete-marker', 'true'], ['x-amz-version-id', version.versionId]]
  if (versionId === undefined) throw new S3Error('NoSuchKey', { fields: { Key: key }, headers })
  throw new S3Error('MethodNotAllowed', {
    fields: { Method: 'GET', ResourceType: 'DeleteMarker' },
    headers: [...headers, ['Allow', 'DELETE'], ['Last-Modified', httpDate(version.lastModified)]]
  })
}

function namedVersion(bucket: Bucket, key: string, versionId: string): Version {
  checkVersionId(versionId)
  const version = bucket.versions(key).find((one) => one.versionId === versionId)
  if (version === undefined) throw new S3Error('NoSuchVersion', { fields: { Key: key, VersionId: versionId } })
  return version
}

/** `x-amz-version-id`, which buckets that never were versioned do not send. */
export function versionHeader(bucket: Bucket, version: ObjectVersion | DeleteMarker): ResponseHeaders {
  return bucket.record.versioning === 'Unversioned' ? [] : [['x-amz-version-id', version.versionId]]
}

/** Where bytes `start` up to `end` of an object are. */
export function slices(version: ObjectVersion, start: number, end: number): readonly Slice[] {
  const found: Slice[] = []
  let offset = 0
  for (const blob of version.blobs) {
    const from = Math.max(0, start - offset)
    const to = Math.min(blob.size, end - offset)
    if (from < to) found.push({ blob, start: from, end: to })
    offset += blob.size
  }
  return found
}
