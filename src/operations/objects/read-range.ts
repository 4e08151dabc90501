import type { Checksum } from '../../envelope/envelope.ts'
import type { ManifestOf, ManifestPart } from '../../envelope/manifest.ts'
import { type OperationContext, header } from '../context.ts'
import { firstWhere } from '../../collections/bisect.ts'
import { S3Error } from '../../errors.ts'
import { parsePartNumber, parseRange, resolveRange, satisfiable, type RangeSpec } from '../../s3/range.ts'
import { evaluateConditions, ifRangeHolds, type Validators } from '../../s3/conditions.ts'
import { validatorsOf, type InspectedObject } from './sealed-object.ts'

/** The range or part that a GET or HEAD asks for, before the object is known. */
export type RequestedRange =
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
  /** The checksum of exactly these bytes, where they are one part that was stored with a checksum. */
  readonly checksum?: Checksum
}

/**
 * Reads Range and partNumber (AWS API, GetObject).
 * @throws S3Error InvalidRequest when both are given, InvalidArgument for a part number outside 1 to 10,000.
 */
export function requestedRange(ctx: OperationContext): RequestedRange {
  const part = ctx.operation.query.get('partNumber')
  const range = header(ctx, 'range')
  if (part === undefined) {
    const spec = range === undefined ? null : parseRange(range)
    return spec === null ? { kind: 'whole' } : { kind: 'range', spec }
  }
  if (range !== undefined) {
    throw new S3Error('InvalidRequest', { message: 'Cannot specify both Range header and partNumber query parameter' })
  }
  return { kind: 'part', number: parsePartNumber(part) }
}

/**
 * The slice that answers a read. Conditions come before the range: a 412 or 304 must not depend on sizes (RFC 9110 13.2.2).
 * @throws S3Error as `checkReadConditions`; InvalidRange with the plaintext size, InvalidPartNumber.
 */
export function sliceFor(ctx: OperationContext, wanted: RequestedRange, object: InspectedObject): Slice {
  const validators = validatorsOf(ctx, object)
  checkReadConditions(ctx, validators)
  return sliceOf(effectiveRange(ctx, wanted, validators), object)
}

function sliceOf(wanted: RequestedRange, object: InspectedObject): Slice {
  switch (wanted.kind) {
    case 'whole':
      return { first: 0, last: object.size - 1, status: 200, partsCount: null }
    case 'range':
      // A suffix range of an empty object is satisfiable, but no Content-Range can express it in a 206 (RFC 9110 14.1.2, 14.4).
      if (object.size === 0 && wanted.spec.kind === 'suffix' && wanted.spec.length > 0) return sliceOf({ kind: 'whole' }, object)
      return { ...resolveRange(wanted.spec, object.size), status: 206, partsCount: null }
    case 'part':
      return partSlice(wanted.number, object)
  }
}

/** The plaintext bytes of a range or part of a multipart object that is remembered; null where there are none. `last` is inclusive. */
export function knownSlice(wanted: Exclude<RequestedRange, { kind: 'whole' }>, manifest: ManifestOf<'multipart'>): Pick<Slice, 'first' | 'last'> | null {
  if (wanted.kind === 'range') return satisfiable(wanted.spec, manifest.plaintextSize)
  const slice = partOf(wanted.number, manifest)
  return slice === null || slice.last < slice.first ? null : slice
}

function partSlice(number: number, object: InspectedObject): Slice {
  if (object.kind !== 'multipart') {
    if (number === 1) return { first: 0, last: object.size - 1, status: object.size === 0 ? 200 : 206, partsCount: null }
    throw new S3Error('InvalidPartNumber')
  }
  const slice = partOf(number, object.manifest)
  if (slice === null) throw new S3Error('InvalidPartNumber')
  return slice
}

/** null: there is no such part. */
function partOf(number: number, manifest: ManifestOf<'multipart'>): Slice | null {
  const i = firstWhere(manifest.parts, (other) => other.number >= number)
  const part = manifest.parts[i]
  if (part?.number !== number) return null
  const first = manifest.offsets.plaintext[i] ?? 0
  return { first, last: first + part.plaintextSize - 1, status: 206, partsCount: manifest.parts.length, ...checksumOf(part, manifest) }
}

/** The type of a part's checksum is that of the object's (AWS, "Checking object integrity"). */
function checksumOf({ checksum }: ManifestPart, { partChecksum, checksums }: ManifestOf<'multipart'>): Pick<Slice, 'checksum'> {
  if (checksum === null || partChecksum === null) return {}
  return { checksum: { algorithm: partChecksum, type: checksums[0]?.type ?? 'full', value: checksum } }
}

/** Whether a request may end in 304, or without its range. Then a HEAD goes first, so that no body is started and cut. */
export function needsHeadFirst(ctx: OperationContext): boolean {
  return ['if-none-match', 'if-modified-since', 'if-range'].some((name) => header(ctx, name) !== undefined)
}

/** The whole object where If-Range names another state of it. */
function effectiveRange(ctx: OperationContext, wanted: RequestedRange, validators: Validators): RequestedRange {
  return wanted.kind !== 'range' || ifRangeHolds(header(ctx, 'if-range'), validators) ? wanted : { kind: 'whole' }
}

/**
 * Evaluates the conditions of a read against the object that the store's answer carries, so that it cannot change between the check and the
 * read (RFC 9110 13.2.2).
 * @throws S3Error PreconditionFailed (412) or NotModified (304), the latter with the ETag as RFC 9110 15.4.5 asks.
 */
export function checkReadConditions(ctx: OperationContext, validators: Validators): void {
  const verdict = evaluateConditions({
    ifMatch: header(ctx, 'if-match'),
    ifNoneMatch: header(ctx, 'if-none-match'),
    ifModifiedSince: header(ctx, 'if-modified-since'),
    ifUnmodifiedSince: header(ctx, 'if-unmodified-since')
  }, validators)
  if (verdict === 'failed') {
    throw new S3Error('PreconditionFailed', {
      fields: { Condition: header(ctx, 'if-match') === undefined ? 'If-Unmodified-Since' : 'If-Match' }
    })
  }
  if (verdict === 'not-modified') {
    const { etag, lastModified } = validators
    const modified = lastModified === undefined ? [] : [['last-modified', lastModified] as const]
    throw new S3Error('NotModified', { headers: [['etag', etag], ...modified] })
  }
}
