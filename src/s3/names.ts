import { S3Error } from '../errors.ts'

/**
 * Names that are doors to a store's own interfaces when they stand first in a path: MinIO's `/minio/…` and radosgw's
 * `/admin/…` take the same signatures as S3, and the gateway's own identity may be an administrator there.
 */
const reserved = new Set(['minio', 'admin'])

/**
 * Bucket names as stores take them: AWS's rules of today (3 to 63 of `a-z 0-9 . -`) widened by what older buckets and
 * radosgw have (upper case, `_`, a last character of any kind). The store has the last word on new names.
 * @throws S3Error InvalidBucketName
 */
export function checkBucketName(name: string): void {
  const wellFormed = /^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$/.test(name) && !name.includes('..') && !/^\d+\.\d+\.\d+\.\d+$/.test(name)
  if (!wellFormed || reserved.has(name.toLowerCase())) {
    throw new S3Error('InvalidBucketName', { fields: { BucketName: name } })
  }
}

/**
 * Object keys: 1 to 1,024 bytes of UTF-8 (AWS, "Naming Amazon S3 objects"). NUL cannot stand in a header or in XML, so
 * no answer could name such a key.
 * @throws S3Error KeyTooLongError, InvalidURI
 */
export function checkKey(key: string): void {
  const size = Buffer.byteLength(key, 'utf8')
  if (size > 1024) throw new S3Error('KeyTooLongError', { fields: { Size: String(size), MaxSizeAllowed: '1024' } })
  if (key === '' || key.includes('\0')) throw new S3Error('InvalidURI')
}
