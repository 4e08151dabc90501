import { S3Error } from '../errors.ts'

/** One requested byte range, not yet compared with a size. Numbers above 2^53-1 are cut to it: no object is larger. */
export type RangeSpec =
  | { readonly kind: 'from'; readonly first: number; readonly last: number | null; readonly text: string }
  | { readonly kind: 'suffix'; readonly length: number; readonly text: string }

/** Bytes `first` to `last`, both counted from 0 and both included; never empty. */
interface ByteRange {
  readonly first: number
  readonly last: number
}

function cut(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER)
}

/**
 * Reads a Range header (RFC 9110 14.2): `bytes=a-b`, `bytes=a-`, `bytes=-n`.
 * @returns null where S3 ignores the header and answers with the whole object: other units, several ranges, bad syntax,
 * last before first
 */
export function parseRange(text: string): RangeSpec | null {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(text.trim())
  if (match === null) return null
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? null : { kind: 'suffix', length: cut(last), text }
  if (last === '') return { kind: 'from', first: cut(first), last: null, text }
  return cut(last) < cut(first) ? null : { kind: 'from', first: cut(first), last: cut(last), text }
}

/**
 * Resolves a range against the size of an object.
 * @param size plaintext bytes
 * @throws S3Error InvalidRange when the range has no byte of the object: it starts behind the end, is a suffix of 0, or the object is empty
 */
export function resolveRange(range: RangeSpec, size: number): ByteRange {
  const bytes = satisfiable(range, size)
  if (bytes === null) throw invalidRange(range.text, size)
  return bytes
}

/** As `resolveRange`; null where that throws. */
export function satisfiable(range: RangeSpec, size: number): ByteRange | null {
  const first = range.kind === 'from' ? range.first : Math.max(0, size - range.length)
  const last = range.kind === 'from' && range.last !== null ? Math.min(range.last, size - 1) : size - 1
  return first > last ? null : { first, last }
}

/** The 416 of S3. Its body has the size, which must be the plaintext's. @param size plaintext bytes */
function invalidRange(requested: string, size: number): S3Error {
  return new S3Error('InvalidRange', { fields: { RangeRequested: requested, ActualObjectSize: String(size) } })
}

/**
 * Reads `x-amz-copy-source-range`: only `bytes=a-b`, and within the source (AWS API, UploadPartCopy).
 * @param size plaintext bytes of the source
 * @throws S3Error InvalidArgument on any other form, and when it reaches beyond the source
 */
export function copySourceRange(text: string, size: number): ByteRange {
  const match = /^bytes=(\d+)-(\d+)$/.exec(text.trim())
  const range = { first: cut(match?.[1] ?? '1'), last: cut(match?.[2] ?? '0') }
  if (range.last < range.first) {
    throw new S3Error('InvalidArgument', {
      message:
        'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
      fields: { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: text }
    })
  }
  if (range.last >= size) {
    throw new S3Error('InvalidArgument', {
      message: `Range specified is not valid for source object of size: ${size}`,
      fields: { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: text }
    })
  }
  return range
}

/** S3's highest part number (AWS S3 User Guide, "Multipart upload limits"). */
export const MAX_PART_NUMBER = 10_000

/**
 * @param max the highest part number that is accepted.
 * @throws S3Error InvalidArgument unless it is a whole number from 1 to `max`.
 */
export function parsePartNumber(text: string, max: number = MAX_PART_NUMBER): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (number >= 1 && number <= max) return number
  throw new S3Error('InvalidArgument', {
    message: `Part number must be an integer between 1 and ${max}, inclusive`,
    fields: { ArgumentName: 'partNumber', ArgumentValue: text }
  })
}
