import type { HeaderList } from '../http/message.ts'
import type { ObjectVersion } from './records.ts'
import { S3Error } from '../errors.ts'

type Verdict = 'met' | 'not-modified' | { readonly failed: string }

/**
 * RFC 9110 13.2.2 in its order: If-Match else If-Unmodified-Since, then If-None-Match else If-Modified-Since. Dates that do
 * not parse, and dates in the future (13.1.3), do not count.
 * @param prefix `''` for reads, `x-amz-copy-source-` for the source of a copy
 */
function evaluate(headers: HeaderList, prefix: string, version: ObjectVersion, now: number): Verdict {
  const ifMatch = headers.get(`${prefix}if-match`)
  const unmodifiedSince = httpDate(headers.get(`${prefix}if-unmodified-since`))
  if (ifMatch !== undefined) {
    if (!etagListed(ifMatch, version.etag)) return { failed: 'If-Match' }
  } else if (unmodifiedSince !== null && version.lastModified > unmodifiedSince) return { failed: 'If-Unmodified-Since' }

  const ifNoneMatch = headers.get(`${prefix}if-none-match`)
  const modifiedSince = httpDate(headers.get(`${prefix}if-modified-since`))
  if (ifNoneMatch !== undefined) {
    if (etagListed(ifNoneMatch, version.etag)) return 'not-modified'
  } else if (modifiedSince !== null && modifiedSince <= now && version.lastModified <= modifiedSince) return 'not-modified'
  return 'met'
}

/**
 * Conditions of GET and HEAD.
 * @returns false when the answer is 304 Not Modified
 * @throws S3Error PreconditionFailed
 */
export function readConditions(headers: HeaderList, version: ObjectVersion, now: number): boolean {
  const verdict = evaluate(headers, '', version, now)
  if (typeof verdict === 'object') throw preconditionFailed(verdict.failed)
  return verdict === 'met'
}

/** Conditions on the source of a copy: there is no 304, every failure is 412. @throws S3Error PreconditionFailed */
export function copySourceConditions(headers: HeaderList, version: ObjectVersion, now: number): void {
  const verdict = evaluate(headers, 'x-amz-copy-source-', version, now)
  if (verdict === 'met') return
  throw preconditionFailed(verdict === 'not-modified' ? 'x-amz-copy-source-If-None-Match' : `x-amz-copy-source-${verdict.failed}`)
}

/**
 * Conditional writes: `If-None-Match: *` and `If-Match: <etag>` (AWS, "How to prevent object overwrites with conditional
 * writes"). Must be called with what is current at the moment of the write.
 * @throws S3Error PreconditionFailed, NoSuchKey (If-Match, nothing there), NotImplemented (anything else)
 */
export function writeConditions(headers: HeaderList, current: ObjectVersion | undefined): void {
  const ifMatch = headers.get('if-match')
  const ifNoneMatch = headers.get('if-none-match')
  if (ifNoneMatch !== undefined && (ifNoneMatch !== '*' || ifMatch !== undefined)) {
    throw new S3Error('NotImplemented', { fields: { Header: 'If-None-Match' } })
  }
  if (ifNoneMatch !== undefined && current !== undefined) throw preconditionFailed('If-None-Match')
  if (ifMatch === undefined) return
  if (ifMatch === '*') throw new S3Error('NotImplemented', { fields: { Header: 'If-Match' } })
  if (current === undefined) throw new S3Error('NoSuchKey')
  if (!etagListed(ifMatch, current.etag)) throw preconditionFailed('If-Match')
}

/** Conditional delete; what is not there passes (AWS, DeleteObject). @throws S3Error PreconditionFailed */
export function deleteCondition(ifMatch: string | undefined, current: ObjectVersion | undefined): void {
  if (ifMatch === undefined || current === undefined) return
  if (!etagListed(ifMatch, current.etag)) throw preconditionFailed('If-Match')
}

/** If-Range (RFC 9110 13.1.5): false when the Range header must be ignored. */
export function ifRangeHolds(header: string | undefined, version: ObjectVersion): boolean {
  if (header === undefined) return true
  const date = httpDate(header)
  return date === null ? etagListed(header, version.etag) : date === version.lastModified
}

function preconditionFailed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', { fields: { Condition: condition } })
}

/** Clients quote ETags or do not; S3 takes both. */
function etagListed(header: string, etag: string): boolean {
  return header.split(',').map((item) => item.trim().replace(/^(?:W\/)?"(.*)"$/, '$1')).some((item) => item === '*' || item === etag)
}

function httpDate(header: string | undefined): number | null {
  if (header === undefined || !/^[A-Z][a-z]{2,8}, /.test(header)) return null
  const date = Date.parse(header)
  return Number.isNaN(date) ? null : date
}

/** Bytes `start` up to, not including, `end` of a body. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/**
 * Reads a Range header (RFC 9110 14.1.2): one range of bytes in any of its three forms. What S3 does not serve as a part
 * (other units, bad syntax, several ranges) is ignored, as the RFC allows: the answer is the whole object.
 * @param size of the object in bytes
 * @returns null for "the whole object"
 * @throws S3Error InvalidRange when the range is well formed and has no byte of the object in it
 */
export function parseRange(header: string | undefined, size: number): ByteRange | null {
  const match = /^bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '')
  const [first, last] = [match?.[1] ?? '', match?.[2] ?? '']
  if (match === null || (first === '' && last === '')) return null
  if (first !== '' && last !== '' && Number(last) < Number(first)) return null
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1)
  if (start >= end) {
    throw new S3Error('InvalidRange', {
      fields: { RangeRequested: header ?? '', ActualObjectSize: String(size) },
      headers: [['Content-Range', `bytes */${size}`]]
    })
  }
  return { start, end }
}

/**
 * Reads `x-amz-copy-source-range`, which knows one form only (AWS, UploadPartCopy).
 * @throws S3Error InvalidArgument
 */
export function parseCopyRange(header: string, size: number): ByteRange {
  const match = /^bytes=(\d+)-(\d+)$/.exec(header)
  const argument = { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: header }
  const [start, end] = [Number(match?.[1]), Number(match?.[2]) + 1]
  if (match === null || end <= start) {
    const message =
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy'
    throw new S3Error('InvalidArgument', { message, fields: argument })
  }
  if (end > size) {
    throw new S3Error('InvalidArgument', { message: `Range specified is not valid for source object of size: ${size}`, fields: argument })
  }
  return { start, end }
}
