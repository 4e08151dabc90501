import type { Checksum } from '../../envelope/envelope.ts'
import type { Manifest, ManifestPart } from '../../envelope/manifest.ts'
import type { Execution } from '../context.ts'
import type { StoredObject } from './sealed-object.ts'
import { S3Error } from '../../errors.ts'
import { parseRange, resolveRange, type RangeSpec } from '../../s3/range.ts'
import { header } from '../context.ts'

/** What a GET or HEAD asks for, before the object is known. */
export type Wanted =
  | { readonly kind: 'whole' }
  | { readonly kind: 'range'; readonly spec: RangeSpec }
  | { readonly kind: 'part'; readonly number: number }

/** Plaintext bytes to answer with; `last` is inclusive and below `first` when there are none. */
export interface Slice {
  readonly first: number
  readonly last: number
  readonly status: 200 | 206
  /** For `x-amz-mp-parts-count`: only answers to `partNumber` carry it. */
  readonly partsCount: number | null
  /** Of exactly these bytes, where they are one part that was stored with a checksum. */
  readonly checksum?: Checksum
}

/**
 * Reads Range and partNumber (AWS API, GetObject).
 * @throws S3Error InvalidRequest when both are given, InvalidArgument for a part number outside 1 to 10,000.
 */
export function wantedSlice(x: Execution): Wanted {
  const part = x.operation.query.get('partNumber')
  const range = header(x, 'range')
  if (part === undefined) {
    const spec = range === undefined ? null : parseRange(range)
    return spec === null ? { kind: 'whole' } : { kind: 'range', spec }
  }
  if (range !== undefined) {
    throw new S3Error('InvalidRequest', { message: 'Cannot specify both Range header and partNumber query parameter' })
  }
  const number = /^\d{1,5}$/.test(part) ? Number(part) : 0
  if (number < 1 || number > 10000) {
    throw new S3Error('InvalidArgument', {
      message: 'Part number must be an integer between 1 and 10000, inclusive', fields: { ArgumentName: 'partNumber', ArgumentValue: part }
    })
  }
  return { kind: 'part', number }
}

/** @throws S3Error InvalidRange with the plaintext size, InvalidPartNumber. */
export function sliceOf(wanted: Wanted, object: StoredObject, manifest: Manifest | null): Slice {
  switch (wanted.kind) {
    case 'whole':
      return { first: 0, last: object.size - 1, status: 200, partsCount: null }
    case 'range':
      // The last bytes of nothing are all there is: satisfiable, and no 206 could say so (RFC 9110 14.1.2, 14.4).
      if (object.size === 0 && wanted.spec.kind === 'suffix' && wanted.spec.length > 0) return sliceOf({ kind: 'whole' }, object, manifest)
      return { ...resolveRange(wanted.spec, object.size), status: 206, partsCount: null }
    case 'part':
      return partSlice(wanted.number, object, manifest)
  }
}

function partSlice(number: number, object: StoredObject, manifest: Manifest | null): Slice {
  if (object.kind === 'plain' || object.envelope.kind === 'single' || manifest === null) {
    if (number === 1) return { first: 0, last: object.size - 1, status: object.size === 0 ? 200 : 206, partsCount: null }
    throw new S3Error('InvalidPartNumber')
  }
  let first = 0
  for (const part of manifest.parts) {
    if (part.number === number) {
      return { first, last: first + part.plaintextSize - 1, status: 206, partsCount: manifest.parts.length, ...checksumOf(part, manifest) }
    }
    first += part.plaintextSize
  }
  throw new S3Error('InvalidPartNumber')
}

/** A part's checksum bears the type of the object's (AWS, "Checking object integrity"). */
function checksumOf({ checksum }: ManifestPart, { partChecksum, checksums }: Manifest): Pick<Slice, 'checksum'> {
  if (checksum === null || partChecksum === null) return {}
  return { checksum: { algorithm: partChecksum, type: checksums[0]?.type ?? 'full', value: checksum } }
}
