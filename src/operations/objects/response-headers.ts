import type { Header } from '../../http/message.ts'
import type { OperationContext } from '../context.ts'
import type { Slice } from './read-range.ts'
import { DEFAULT_CONTENT_TYPE, isDescribing, isTrustedType } from '../../envelope/metadata.ts'
import { S3Error } from '../../errors.ts'
import { downstreamHeaders } from '../../plan/headers.ts'
import { isClientEntry } from '../../s3ec/metadata.ts'
import { readEncryptionHeaders } from './object-keys.ts'
import { checksumText, checksumsOf, clientEtag, isSealed, wantsChecksum, type InspectedObject, type StoredObject } from './sealed-object.ts'

/** A type that no browser renders. */
const UNBOUND_TYPE = 'application/octet-stream'

const overrides = {
  'response-content-type': 'content-type',
  'response-content-language': 'content-language',
  'response-expires': 'expires',
  'response-cache-control': 'cache-control',
  'response-content-disposition': 'content-disposition',
  'response-content-encoding': 'content-encoding'
} as const

/** The headers of a GET or HEAD answer: those of the store that may be shown, with length, range, ETag, checksums and encryption of the plaintext. */
export function objectHeaders(ctx: OperationContext, object: InspectedObject, slice: Slice): Header[] {
  const overridden = responseOverrides(ctx)
  const replaced = new Set(overridden.map(([name]) => name))
  const headers = describedHeaders(object).filter(([name]) => !replaced.has(name))
  headers.push(...overridden)
  headers.push(['content-length', String(Math.max(0, slice.last - slice.first + 1))])
  headers.push(['accept-ranges', 'bytes'])
  headers.push(['etag', clientEtag(ctx, object)])
  // No range can express the bytes of an empty part.
  if (slice.status === 206 && slice.last >= slice.first) headers.push(['content-range', `bytes ${slice.first}-${slice.last}/${object.size}`])
  if (slice.partsCount !== null) headers.push(['x-amz-mp-parts-count', String(slice.partsCount)])
  if (isSealed(object)) {
    headers.push(...readEncryptionHeaders(ctx, object))
    if (wantsChecksum(ctx)) headers.push(...sliceChecksumHeaders(object, slice))
  }
  return headers
}

/**
 * The headers that describe an object, and the store's facts about it. Where the metadata is sealed, the store's descriptions are ignored. Where it
 * is in plaintext, a content type that the digest does not bind is not shown: the store could make a browser run bytes that were written without one
 * (docs/decisions/0028).
 */
export function describedHeaders(object: StoredObject): Header[] {
  if (object.kind === 'plain') return downstreamHeaders(object.headers, 'plain-object')
  if (object.kind === 's3ec') return downstreamHeaders(object.headers, 'object').filter(([name]) => !isClientEntry(name))
  const { metadata } = object.attributes
  const shown = downstreamHeaders(object.headers, 'object')
  if (metadata.kind === 'clear') {
    return shown.map(([name, value]): Header => [name, name === 'content-type' && !isTrustedType(value) ? UNBOUND_TYPE : value])
  }
  const hasType = metadata.entries.some(([name]) => name === 'content-type')
  return [
    ...shown.filter(([name]) => !isDescribing(name) && name !== 'x-amz-missing-meta'),
    ...metadata.entries,
    ...hasType ? [] : [['content-type', DEFAULT_CONTENT_TYPE] as const]
  ]
}

/** The checksum of exactly the bytes of the answer: SDKs would compare the object's checksum with the bytes of a range. */
function sliceChecksumHeaders(object: InspectedObject, slice: Slice): Header[] {
  if (slice.status === 200) return checksumHeaders(object)
  if (slice.checksum === undefined) return []
  const { algorithm, type, value } = slice.checksum
  return [[`x-amz-checksum-${algorithm}`, value.toString('base64')], ['x-amz-checksum-type', type === 'composite' ? 'COMPOSITE' : 'FULL_OBJECT']]
}

/** The stored checksums of a whole object. */
function checksumHeaders(object: InspectedObject): Header[] {
  return checksumsOf(object).flatMap((checksum): Header[] => [
    [`x-amz-checksum-${checksum.algorithm}`, checksumText(object, checksum)],
    ['x-amz-checksum-type', checksum.type === 'composite' ? 'COMPOSITE' : 'FULL_OBJECT']
  ])
}

/**
 * `response-*` overrides are applied here and not by the store, whose answer must show the content type that was sealed.
 * @throws S3Error InvalidRequest on anonymous requests (AWS API, GetObject).
 */
function responseOverrides(ctx: OperationContext): Header[] {
  if (ctx.operation.query.parameters.length === 0) return []
  const given = Object.entries(overrides).flatMap(([parameter, name]): Header[] => {
    const value = ctx.operation.query.get(parameter)
    return value === undefined ? [] : [[name, Buffer.from(value, 'utf8').toString('latin1')]]
  })
  if (given.length > 0 && ctx.request.scheme === 'anonymous') {
    throw new S3Error('InvalidRequest', { message: 'Request specific response headers cannot be used for anonymous GET requests.' })
  }
  if (given.some(([, value]) => /[^\x20-\x7e\x80-\xff\t]/.test(value))) {
    throw new S3Error('InvalidArgument', { message: 'Header value cannot be represented using ISO-8859-1.' })
  }
  return given
}
