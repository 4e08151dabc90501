import { S3Error } from '../errors.ts'

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
    const message = 'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy'
    throw new S3Error('InvalidArgument', { message, fields: argument })
  }
  if (end > size) {
    throw new S3Error('InvalidArgument', { message: `Range specified is not valid for source object of size: ${size}`, fields: argument })
  }
  return { start, end }
}
