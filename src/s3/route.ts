import { S3Error } from '../errors.ts'
import type { S3ErrorCode } from '../errors.ts'
import { percentDecode, Query } from '../http/target.ts'
import type { QueryParameter, RequestTarget } from '../http/target.ts'
import { checkBucketName, checkKey } from './names.ts'
import { extensions, foreignSubResources, operationNames, operations } from './operations.ts'
import type { Extension, Level, OperationName, OperationRow } from './operations.ts'

/** Header fields by lower-case name: a HeaderList, or the map of an authenticated request. */
interface HeaderLookup {
  get(name: string): string | undefined
  keys?(): Iterable<string>
  names?(): Iterable<string>
}

export interface RoutableRequest {
  readonly method: string
  readonly target: RequestTarget
  readonly headers: HeaderLookup
  /** The Host header as received, with or without a port. */
  readonly host: string
}

/** The address of a request: bucket and key. */
type Address =
  | { readonly level: 'service'; readonly bucket: null; readonly key: null }
  | { readonly level: 'bucket'; readonly bucket: string; readonly key: null }
  | { readonly level: 'object'; readonly bucket: string; readonly key: string }

type AddressOf<L extends Level> = Omit<Extract<Address, { level: L }>, 'level'>

/** The upload id, for operations that an upload id selects. */
type UploadIdOf<N extends OperationName> = N extends unknown ? 'uploadId' extends (typeof operations)[N]['select'][number] ? string : null : never

/**
 * A request of one operation, or of one of several. `query` has the operation's own parameters only: no signature, no `x-id`. Bucket, key and upload
 * id are present exactly where the operation has them.
 */
export type OperationOf<N extends OperationName> = Own<N> & AddressOf<(typeof operations)[N]['level']>

interface Own<N extends OperationName> {
  readonly name: N
  readonly query: Query
  readonly uploadId: UploadIdOf<N>
}

/** A closed union: one variant for each operation. */
export type Operation = { [N in OperationName]: OperationOf<N> }[OperationName]

interface Candidate {
  readonly name: OperationName
  readonly row: OperationRow
  readonly select: readonly (readonly [name: string, value: string | null])[]
  /** Names of all its query parameters, including those that select it. */
  readonly allowed: ReadonlySet<string>
}

/** Most specific first: the number of selecting parameters, then the selecting header. */
const candidates: readonly Candidate[] = operationNames
  .map((name): Candidate => {
    const row: OperationRow = operations[name]
    const select = row.select.map((text): [string, string | null] => {
      const equals = text.indexOf('=')
      return equals < 0 ? [text, null] : [text.slice(0, equals), text.slice(equals + 1)]
    })
    return { name, row, select, allowed: new Set([...select.map(([parameter]) => parameter), ...row.parameters]) }
  })
  .sort((a, b) => b.select.length - a.select.length || Number(b.row.header !== undefined) - Number(a.row.header !== undefined))

/** In the same order, by what every candidate needs: its method and level. */
const candidatesOf = Map.groupBy(candidates, ({ row }) => `${row.method} ${row.level}`)

/** Every query name that selects some operation: such a name is never harmless. */
const subResources = new Set(candidates.flatMap((c) => c.select.map(([name]) => name)))

/**
 * Finds bucket and key: virtual-host style under one of `domains`, path style otherwise. `/bucket/` is the bucket. The key is the rest, decoded once;
 * dots and repeated slashes are part of it (S3 does not normalise paths).
 * @throws S3Error InvalidURI, InvalidBucketName, KeyTooLongError
 */
export function address(target: RequestTarget, host: string, domains: readonly string[]): Address {
  const hosted = bucketOfHost(host, domains)
  const path = target.rawPath.slice(1)
  if (hosted !== null) return locate(hosted, path)
  const slash = path.indexOf('/')
  if (path === '') return { level: 'service', bucket: null, key: null }
  return slash < 0 ? locate(percentDecode(path), '') : locate(percentDecode(path.slice(0, slash)), path.slice(slash + 1))
}

function locate(bucket: string, rawKey: string): Address {
  checkBucketName(bucket)
  if (rawKey === '') return { level: 'bucket', bucket, key: null }
  const key = percentDecode(rawKey)
  checkKey(key)
  return { level: 'object', bucket, key }
}

/** Host names are compared without case (RFC 3986 3.2.2). The longest domain wins, so that a domain is never a bucket of another. */
function bucketOfHost(host: string, domains: readonly string[]): string | null {
  if (domains.length === 0) return null
  const name = host.replace(/:\d*$/, '').toLowerCase()
  const known = domains.map((d) => d.toLowerCase())
  if (known.includes(name)) return null
  const [domain] = known.filter((d) => name.endsWith(`.${d}`)).sort((a, b) => b.length - a.length)
  return domain === undefined ? null : name.slice(0, -domain.length - 1)
}

/**
 * Determines the operation of a request. Pure: no policy, no I/O. The most specific query wins over the bare method. A sub-resource that the
 * operation does not know is refused, never ignored, so that no request is forwarded as another one.
 * @param domains base domains of virtual-host style requests
 * @throws S3Error InvalidURI, InvalidBucketName, KeyTooLongError, InvalidArgument (parameters that contradict or repeat), MethodNotAllowed,
 * NotImplemented (unknown sub-resources, foreign extensions), PreconditionFailed (POST that is not a form)
 */
export function route(request: RoutableRequest, domains: readonly string[]): Operation {
  const where = address(request.target, request.host, domains)
  if (request.method === 'OPTIONS') return preflight(where)
  const query = ownParameters(request.target.query)
  const foreign = extensions.find((e) => matches(e, query, request.headers))
  if (foreign !== undefined) throw new S3Error('NotImplemented', { message: `${foreign.name}: not supported by this gateway.` })

  const chosen = choose(request, where, query)
  const kept = keepParameters(chosen, query)
  if (chosen.name === 'PostObject') checkForm(request.headers)
  // The table gives each name its level and `choose` has compared it, which the compiler cannot know.
  return { name: chosen.name, bucket: where.bucket, key: where.key, query: kept, uploadId: kept.get('uploadId') ?? null } as Operation
}

/** A preflight asks about a bucket; the question is in headers (Fetch standard, CORS protocol). */
function preflight(where: Address): Operation {
  if (where.bucket === null) throw new S3Error('MethodNotAllowed', { fields: { Method: 'OPTIONS', ResourceType: 'SERVICE' } })
  return { name: 'Preflight', bucket: where.bucket, key: null, query: new Query([]), uploadId: null }
}

function choose(request: RoutableRequest, where: Address, query: Query): Candidate {
  const found = candidatesOf.get(`${request.method} ${where.level}`)?.find(({ row, select }) =>
    select.every(([name, value]) => value === null ? query.has(name) : query.get(name) === value) &&
    (row.header === undefined || lookup(request, row.header) !== undefined)
  )
  if (found !== undefined) return found
  // IAM, STS and SNS requests are forms posted to the root (AWS query protocol); no S3 request is a POST to the root.
  if (where.level === 'service' && request.method === 'POST') {
    throw new S3Error('NotImplemented', { message: 'IAM, STS and SNS actions: not supported by this gateway.' })
  }
  throw new S3Error('MethodNotAllowed', { fields: { Method: request.method, ResourceType: where.level.toUpperCase() } })
}

/**
 * Keeps the parameters of the operation and checks the rest. A second sub-resource contradicts the first. One that only other methods know is a wrong
 * method. An unknown bare name (`?something`) may be an unknown sub-resource. Unknown `name=value` pairs (cache busters, tracking parameters) are
 * dropped from reads, as S3 ignores them. So are bare names in reads of objects, where no server has a sub-resource of that name. Writes with either
 * are refused.
 */
function keepParameters(chosen: Candidate, query: Query): Query {
  if (query.parameters.length === 0) return query
  const { allowed } = chosen
  const kept = query.parameters.filter((p) => allowed.has(p.name))
  for (const { name } of kept) query.get(name)
  for (const parameter of query.parameters) {
    if (!allowed.has(parameter.name)) rejectUnknownParameter(chosen, parameter)
  }
  return new Query(kept)
}

function rejectUnknownParameter(chosen: Candidate, { name, value }: QueryParameter): void {
  const fail = (code: S3ErrorCode, message: string): never => {
    throw new S3Error(code, { message, fields: { ArgumentName: name, ArgumentValue: value ?? '' } })
  }
  if (name === 'list-type') {
    // AWS lists as version 1 where that version is named.
    if (chosen.name === 'ListObjects' && value === '1') return
    fail('InvalidArgument', 'Invalid List Type specified in Request')
  }
  if (name === 'versionId') fail('InvalidArgument', 'This operation does not accept a version-id.')
  if (name === 'partNumber' || name === 'uploadId') fail('InvalidArgument', `This operation does not accept a query parameter '${name}'.`)
  if (subResources.has(name)) {
    if (chosen.select.length > 0) fail('InvalidArgument', `Conflicting query string parameters: ${chosen.select[0]?.[0] ?? ''}, ${name}`)
    const elsewhere = candidates.some((c) => c.row.level === chosen.row.level && c.select.some(([n]) => n === name))
    if (elsewhere) throw new S3Error('MethodNotAllowed', { fields: { Method: chosen.row.method, ResourceType: name.toUpperCase() } })
  }
  const known = subResources.has(name) || foreignSubResources.has(name.toLowerCase())
  const bare = value === null || value === ''
  if (known || chosen.row.write || (bare && !readsObject(chosen))) throw new S3Error('NotImplemented', { fields: { Header: name } })
}

/** GET and HEAD of an object: public pages link to objects with bare words of their own (`?v2`, `?1467293847`) to defeat caches. */
function readsObject({ name }: Candidate): boolean {
  return name === 'GetObject' || name === 'HeadObject'
}

/** S3 accepts browser forms as multipart/form-data only, and answers others with 412 (AWS, POST Object). */
function checkForm(headers: HeaderLookup): void {
  if (/^multipart\/form-data\s*(;|$)/i.test(headers.get('content-type') ?? '')) return
  throw new S3Error('PreconditionFailed', { fields: { Condition: 'Bucket POST must be of the enclosure-type multipart/form-data' } })
}

const signatureV2 = new Set(['AWSAccessKeyId', 'Signature', 'Expires'])
/** Headers that old versions of boto put into the query of a presigned request, in addition to `x-amz-*`. */
const hoistable = new Set([
  'content-type',
  'content-md5',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires'
])

function isPresigned(query: Query): boolean {
  return query.parameters.some((p) => p.name.toLowerCase() === 'x-amz-signature' || p.name === 'Signature')
}

/** Without the signature's parameters, headers in a presigned query (authentication reads those), and `x-id`. */
function ownParameters(query: Query): Query {
  const presigned = isPresigned(query)
  return new Query(query.parameters.filter(({ name }) => {
    if (name === 'x-id') return false
    if (!presigned) return true
    const lower = name.toLowerCase()
    return !signatureV2.has(name) && !lower.startsWith('x-amz-') && !hoistable.has(lower)
  }))
}

/** A header, or the query parameter a presigned request carries instead of it. */
function lookup(request: RoutableRequest, header: string): string | undefined {
  const direct = request.headers.get(header)
  if (direct !== undefined || !isPresigned(request.target.query)) return direct
  const hoisted = request.target.query.parameters.find((p) => p.name.toLowerCase() === header)
  return hoisted === undefined ? undefined : hoisted.value ?? ''
}

function matches(extension: Extension, query: Query, headers: HeaderLookup): boolean {
  const { header, query: parameter, value } = extension
  if (parameter !== undefined) {
    return query.parameters.some(({ name }) => extension.prefix === true ? name.startsWith(parameter) : name === parameter)
  }
  if (header === undefined) return false
  if (extension.prefix === true) {
    for (const name of headers.names?.() ?? headers.keys?.() ?? []) if (name.startsWith(header)) return true
    return false
  }
  const found = headers.get(header)
  return found !== undefined && (value === undefined || found.toLowerCase() === value)
}
