import { S3Error } from '../errors.ts'
import { splitTarget } from '../http/target.ts'

/** The head of a request as Node's parser returns it. */
interface RequestHead {
  readonly method: string
  readonly url: string
  /** `1.0` or `1.1`. */
  readonly httpVersion: string
  /** Name, value, name, value, … in the order received. */
  readonly rawHeaders: readonly string[]
}

/** The results of validation. */
export interface Admitted {
  readonly host: string
  /** Declared Content-Length in bytes; null when chunked; 0 when there is no body. */
  readonly contentLength: number | null
  /** True for `Expect: 100-continue` exactly. Other expectations are ignored, as S3 ignores them. */
  readonly expectsContinue: boolean
}

const methods = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS'])
/** Far above what any S3 client sends, far below what makes per-request loops costly. */
const maxHeaderLines = 256

/** Fields with one value. With a second line two parsers (a front end, the signature, the router) could pick differently. */
const singular = new Set([
  'authorization',
  'content-disposition',
  'content-length',
  'content-md5',
  'content-type',
  'date',
  'expect',
  'expires',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'origin',
  'range',
  'transfer-encoding',
  'x-forwarded-proto'
])
/** Lists that SDKs send as several lines: SigV4 joins their values with ",". */
const repeatable = new Set(['x-amz-object-attributes', 'x-amz-optional-object-attributes'])
/** Fields that decide framing, routing or rights. Neither a spelling with "_" nor a `Connection` token may touch them. */
const guarded = new Set([
  ...singular,
  'connection',
  'content-encoding',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host'
])

/**
 * Strict validation: refuses every request that Node's parser accepts although two HTTP implementations could read it differently (RFC 9112 6.1, 6.3,
 * 11.2; RFC 9110 5.3, 7.2, 8.6). Pure. Chunk extensions cannot be refused here: llhttp drops them unseen (they are never forwarded, and Node bounds
 * their size).
 * The caller must close the connection after a throw.
 * @throws S3Error MethodNotAllowed, InvalidURI, InvalidRequest, NotImplemented.
 */
export function admit(head: RequestHead): Admitted {
  if (!methods.has(head.method)) throw new S3Error('MethodNotAllowed', { headers: [['Allow', [...methods].join(', ')]] })
  if (head.httpVersion !== '1.1' && head.httpVersion !== '1.0') refuse('The HTTP version is not supported.')
  const { authority } = splitTarget(head.url)
  const fields = collect(head.rawHeaders)
  refuseRepeats(fields)
  if (fields.has('upgrade')) refuse('The Upgrade header is not supported.')
  checkConnectionTokens(fields.get('connection') ?? [])
  const contentLength = framing(head, fields)
  return { host: hostOf(fields, authority), contentLength, expectsContinue: expectation(head, fields) && contentLength !== 0 }
}

function refuse(message: string): never {
  throw new S3Error('InvalidRequest', { message })
}

function collect(raw: readonly string[]): Map<string, string[]> {
  if (raw.length > 2 * maxHeaderLines) refuse('The request has too many headers.')
  const fields = new Map<string, string[]>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase()
    refuseOddName(name)
    const values = fields.get(name)
    if (values === undefined) fields.set(name, [raw[i + 1] ?? ''])
    else values.push(raw[i + 1] ?? '')
  }
  return fields
}

function refuseOddName(name: string): void {
  if (!/^[a-z0-9!#$%&'*+\-.^_`|~]+$/.test(name)) refuse('A header name is not valid.')
  if (!name.includes('_') || name.startsWith('x-amz-meta-')) return
  // CGI-style servers read "_" as "-": Content_Length would frame the request for one reader and not for the other.
  const alias = name.replaceAll('_', '-')
  if (name === '__proto__' || guarded.has(alias) || alias.startsWith('x-amz-')) refuse('A header name is not valid.')
}

function refuseRepeats(fields: ReadonlyMap<string, readonly string[]>): void {
  for (const [name, values] of fields) {
    if (values.length === 1) continue
    const single = singular.has(name) || (name.startsWith('x-amz-') && !name.startsWith('x-amz-meta-') && !repeatable.has(name))
    if (single) refuse('A header that has one value was given more than once.')
  }
}

/** A front end removes the headers that `Connection` names: it must not name one that has a meaning here. */
function checkConnectionTokens(values: readonly string[]): void {
  for (const token of values.join(',').split(',')) {
    const name = token.trim().toLowerCase()
    if (name === 'keep-alive' || name === 'te') continue
    if (guarded.has(name) || name.startsWith('x-amz-')) refuse('The Connection header is not valid.')
  }
}

function framing(head: RequestHead, fields: ReadonlyMap<string, readonly string[]>): number | null {
  const coding = fields.get('transfer-encoding')?.[0]
  const length = fields.get('content-length')?.[0]
  const bodyless = head.method === 'GET' || head.method === 'HEAD' || head.method === 'OPTIONS'
  if (coding !== undefined) {
    if (length !== undefined) refuse('Content-Length and Transfer-Encoding cannot be used together.')
    if (head.httpVersion !== '1.1') refuse('Transfer-Encoding needs HTTP/1.1.')
    if (coding !== 'chunked') throw new S3Error('NotImplemented', { message: 'Transfer-Encoding other than chunked is not implemented.' })
    if (bodyless) refuse('The method does not take a body.')
    return null
  }
  if (length === undefined) return 0
  // Leading zeros, signs and numbers that a double cannot hold are read differently by different parsers.
  if (!/^(0|[1-9][0-9]{0,15})$/.test(length) || !Number.isSafeInteger(Number(length))) refuse('The Content-Length header is not valid.')
  if (bodyless && length !== '0') refuse('The method does not take a body.')
  return Number(length)
}

function expectation(head: RequestHead, fields: ReadonlyMap<string, readonly string[]>): boolean {
  const expect = fields.get('expect')?.[0]?.toLowerCase() ?? ''
  // Node finds the word anywhere in the value; a front end may not.
  if (expect !== '100-continue' && expect.includes('100-continue')) refuse('The Expect header is not valid.')
  // RFC 9110 10.1.1: an HTTP/1.0 client does not know what it asks for.
  return expect === '100-continue' && head.httpVersion === '1.1'
}

/**
 * The Host header. A request target that names a host must name the same one. By RFC 9112 3.2.2 the target wins over a different header, but parsers
 * could differ in their routing, so the request is refused (docs/decisions/0030-absolute-form.md).
 */
function hostOf(fields: ReadonlyMap<string, readonly string[]>, authority: string | null): string {
  const host = fields.get('host')?.[0] ?? ''
  if (!hostText.test(host)) refuse('The Host header is missing or not valid.')
  if (authority !== null && (!hostText.test(authority) || hostName(authority) !== hostName(host))) {
    refuse('The Host header is not the host of the request target.')
  }
  return host
}

const hostText = /^([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$/

/** Without case (RFC 9110 4.2.3) and without the port that both schemes leave out. */
function hostName(text: string): string {
  return text.toLowerCase().replace(/:(?:80|443)$/, '')
}
