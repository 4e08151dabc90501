import { S3Error } from '../errors.ts'
import { percentDecode, percentEncode } from '../http/target.ts'

/**
 * The headers of a write, other than user metadata, that S3 keeps with the object and returns on reads. Rewrap keeps all of them.
 * `metadata`: system-defined metadata that the writer chooses (AWS, "Working with object metadata"). It is sealed with the object, and a copy
 * takes it from the source unless the metadata directive is REPLACE.
 * `setting`: the store acts on it. A copy takes it from its own request alone (AWS API, CopyObject).
 */
const kept = {
  'cache-control': 'metadata',
  'content-disposition': 'metadata',
  'content-encoding': 'metadata',
  'content-language': 'metadata',
  'content-type': 'metadata',
  'expires': 'metadata',
  'x-amz-storage-class': 'setting',
  'x-amz-website-redirect-location': 'setting'
} as const

type KeptHeader = keyof typeof kept

export const keptHeaders = Object.keys(kept) as KeptHeader[]
export const systemMetadata = keptHeaders.filter((name) => kept[name] === 'metadata')
export const keptSettings = keptHeaders.filter((name) => kept[name] === 'setting')

/**
 * First path segments that lead to a store's own interfaces: MinIO's `/minio/…` and radosgw's `/admin/…` accept the same signatures as S3, and the
 * gateway's own identity may be an administrator there.
 */
const reserved = new Set(['minio', 'admin'])

/**
 * Bucket names that stores accept: today's rules of AWS (3 to 63 of `a-z 0-9 . -`), extended by those of older buckets and radosgw (upper case, `_`,
 * any last character). The store decides on new names.
 */
export function isBucketName(name: string): boolean {
  const wellFormed = /^[A-Za-z0-9][A-Za-z0-9._-]{2,62}$/.test(name) && !name.includes('..') && !/^\d+\.\d+\.\d+\.\d+$/.test(name)
  return wellFormed && !reserved.has(name.toLowerCase())
}

/** @throws S3Error InvalidBucketName for what is none. */
export function checkBucketName(name: string): void {
  if (!isBucketName(name)) throw new S3Error('InvalidBucketName', { fields: { BucketName: name } })
}

/**
 * Object keys: 1 to 1,024 bytes of UTF-8 (AWS, "Naming Amazon S3 objects"). NUL is not allowed in a header or in XML, so no answer could name such a
 * key.
 * @throws S3Error KeyTooLongError, InvalidURI
 */
export function checkKey(key: string): void {
  const size = Buffer.byteLength(key, 'utf8')
  if (size > 1024) throw new S3Error('KeyTooLongError', { fields: { Size: String(size), MaxSizeAllowed: '1024' } })
  if (key === '' || key.includes('\0')) throw new S3Error('InvalidURI')
}

export interface CopySource {
  readonly bucket: string
  readonly key: string
  readonly versionId: string | null
}

/**
 * Reads `x-amz-copy-source`: `bucket/key` or `/bucket/key`, percent-encoded in part or as a whole (`bucket%2Fkey`: AWS's samples for Java and Go),
 * optionally followed by `?versionId=`. The order is that of AWS, MinIO and radosgw: cut at the first bare "?", decode once, then cut at the first
 * "/". An encoded "?" is part of the key. "+" is a plus, as in request paths: the gateway must authorise and unwrap exactly what the store will copy.
 * Malformed escapes crash radosgw 16, so the header itself is never forwarded: `formatCopySource` writes a new one.
 * @param value header value as received: latin1 characters stand for bytes
 * @throws S3Error InvalidArgument (syntax, bad escapes, bucket name), NotImplemented (ARNs), KeyTooLongError
 */
export function parseCopySource(value: string): CopySource {
  // Old clients send the bytes of UTF-8 unencoded.
  const text = value.trim().replace(/[\x80-\xff]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)
  const mark = text.indexOf('?')
  const path = decode(mark < 0 ? text : text.slice(0, mark), value).replace(/^\//, '')
  if (/^arn:/i.test(path)) {
    throw new S3Error('NotImplemented', { message: 'Copy sources by ARN (access points, Outposts) are not supported by this gateway.' })
  }
  const slash = path.indexOf('/')
  if (slash <= 0 || slash === path.length - 1) {
    throw invalid(value, 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey')
  }
  const bucket = path.slice(0, slash)
  const key = path.slice(slash + 1)
  if (!isBucketName(bucket)) throw invalid(value, 'Invalid copy source bucket name')
  checkKey(key)
  return { bucket, key, versionId: mark < 0 ? null : versionOf(text.slice(mark + 1), value) }
}

function versionOf(query: string, value: string): string {
  const match = /^versionId=([^&=]+)$/.exec(query)
  if (match === null) throw invalid(value, 'The query of a copy source may name a versionId and nothing else.')
  return decode(match[1] ?? '', value)
}

function decode(raw: string, value: string): string {
  try {
    return percentDecode(raw)
  } catch (cause) {
    throw invalid(value, 'Invalid copy source encoding', cause)
  }
}

function invalid(value: string, message: string, cause?: unknown): S3Error {
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: 'x-amz-copy-source', ArgumentValue: value }, cause })
}

/**
 * Encodes a source for the store: everything except unreserved characters and "/". There is no leading slash, as AWS documents it, because policies
 * with conditions on `s3:x-amz-copy-source` compare the text.
 */
export function formatCopySource(source: CopySource): string {
  const path = percentEncode(`${source.bucket}/${source.key}`, { keepSlash: true })
  return source.versionId === null ? path : `${path}?versionId=${percentEncode(source.versionId, { keepSlash: false })}`
}
