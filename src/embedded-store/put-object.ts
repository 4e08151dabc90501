import type { HttpResponse, HeaderList } from '../http/message.ts'
import type { Bucket } from './bucket.ts'
import type { ObjectVersion } from './records.ts'
import { S3Error } from '../errors.ts'
import { currentSecond, emptyAnswer, type StoreContext, type StoreRequest } from './request.ts'
import { readAttributes } from './attributes.ts'
import { checksumHeaders } from './checksums.ts'
import { writeConditions } from './conditions.ts'
import { versionHeader } from './locate.ts'
import { receiveBlob } from './receive.ts'

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
