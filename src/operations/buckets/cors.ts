import type { Header, HttpRequest, HttpResponse } from '../../http/message.ts'
import type { UpstreamRequest, UpstreamResponse } from '../../upstream/types.ts'
import type { Services } from '../context.ts'
import type { Asker, Asking, KnownCors } from './cors-knowledge.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { corsDocument, corsHeaders, exposed, matchingRule, parseCors, requestedHeaders, type CorsQuestion, type CorsRule } from '../../s3/cors.ts'

/** AWS's words (S3 User Guide, "Troubleshooting CORS"). */
const notAllowed = 'CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / ' +
  'Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource\'s CORS spec.'
/** Seconds that a store may take to answer what an unsigned request has asked. */
const unsignedAnswerSeconds = 5

/**
 * The answer to a browser's preflight. Preflights are unsigned by nature (Fetch standard, CORS-preflight fetch): without
 * `listen.cors` this is the one request for which the store is asked without a signature. It tells what the bucket's owner has
 * published, and nothing else: a bucket that is not there, not served here, without rules, or with rules that do not match get one
 * answer, and so does a question that may not be asked now.
 * @throws S3Error BadRequest, AccessForbidden; the errors of a store that does not answer
 */
export async function preflight(services: Services, request: HttpRequest, bucket: string): Promise<HttpResponse> {
  request.admit?.({ kind: 'preflight' })
  const question = questionOf(request)
  if (question.origin === '') throw new S3Error('BadRequest', { message: 'Insufficient information. Origin request header needed.' })
  if (!request.headers.has('access-control-request-method')) {
    throw new S3Error('BadRequest', { message: 'Invalid Access-Control-Request-Method: null' })
  }
  const headers = await headersFor(services, bucket, question, { asker: 'unsigned', signal: request.signal }).catch((error: unknown) => {
    if (!(error instanceof S3Error) || !['AccessDenied', 'NoSuchBucket', 'SlowDown'].includes(error.code)) throw error
    untold(services, request, bucket, error)
    return []
  })
  if (headers.length === 0) throw new S3Error('AccessDenied', { code: 'AccessForbidden', message: notAllowed })
  return { status: 200, headers: [...headers, ['content-length', '0']], body: null }
}

/**
 * The CORS headers for an error, from rules that are known already: a request that has been refused, perhaps for its signature,
 * must not send the gateway to the store. A browser's preflight has made them known shortly before.
 */
export function knownCorsHeaders(services: Services, request: HttpRequest, bucket: string | null, headers: readonly Header[]): readonly Header[] {
  const own = ownRules(services)
  const known = own ?? (bucket === null ? undefined : services.settings.cors.known(bucket))
  return known?.kind !== 'rules' || hasCors(headers) ? [] : headersOf(known.rules, questionOf(request))
}

/**
 * The CORS headers for an answer: without them a browser shows its user nothing of it. Best effort: an error here must not hide the
 * answer; the operator is told of it. @param asker whether the request was signed
 */
export async function corsHeadersFor(services: Services, request: HttpRequest, bucket: string | null, asker: Asker): Promise<readonly Header[]> {
  const question = questionOf(request)
  if (question.origin === '' || bucket === null) return []
  return headersFor(services, bucket, question, { asker, signal: request.signal }).catch((error: unknown) => {
    untold(services, request, bucket, error)
    return []
  })
}

/** Nothing is to be told of a bucket that is not served here, nor of a client that has left. */
function untold(services: Services, { id, signal }: HttpRequest, bucket: string, error: unknown): void {
  if (signal.aborted || (error instanceof S3Error && ['AccessDenied', 'NoSuchBucket'].includes(error.code))) return
  services.corsUnknown(id, bucket, error instanceof S3Error ? error : new S3Error('InternalError', { cause: error }))
}

/** Headers of an answer with those for a browser, in place of what the store says to browsers by itself. */
export function withCors(headers: readonly Header[], cors: readonly Header[]): readonly Header[] {
  return cors.length === 0 ? headers : [...headers.filter(([name]) => !/^(access-control-.*|vary)$/i.test(name)), ...cors]
}

function hasCors(headers: readonly Header[]): boolean {
  return headers.some(([name]) => name.toLowerCase() === 'access-control-allow-origin')
}

/** @throws S3Error AccessDenied for buckets that are not configured, NoSuchBucket for the gateway's own: a stranger must not find out which there are. */
async function headersFor(services: Services, bucket: string, question: CorsQuestion, asking: Asking): Promise<readonly Header[]> {
  if (question.headers === null) return []
  const own = ownRules(services)
  if (own !== null) return headersOf(own.rules, question)
  services.policyFor(bucket)
  authorize(null, { bucket, own: isOwnBucket(services.config.upstream, bucket), write: false, publicRead: true })
  const { cors } = services.settings
  const configured = services.config.buckets.some(([pattern]) => pattern === bucket)
  const known = await cors.rulesOf(bucket, { ...asking, configured }, (signal) => readRules(services, bucket, { ...asking, signal }))
  if (known.kind === 'rules') return headersOf(known.rules, question)
  return cors.answerOf(bucket, question, asking, (signal) => storesHeaders(services, bucket, question, { ...asking, signal }))
}

function ownRules({ ownCors }: Services): { kind: 'rules'; rules: readonly CorsRule[] } | null {
  return ownCors.length === 0 ? null : { kind: 'rules', rules: ownCors }
}

function headersOf(rules: readonly CorsRule[], question: CorsQuestion): readonly Header[] {
  const rule = matchingRule(rules, question)
  return rule === undefined ? [] : corsHeaders(rule, question).filter(fitsHeader)
}

/** Whoever wrote the rules wrote them in XML, which holds more than a header can: a line break would make every answer an error. */
function fitsHeader([, value]: Header): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
}

function questionOf(request: HttpRequest): CorsQuestion {
  return {
    origin: request.headers.get('origin') ?? '',
    method: request.headers.get('access-control-request-method') ?? request.method,
    headers: requestedHeaders(request.headers.get('access-control-request-headers'))
  }
}

async function readRules(services: Services, bucket: string, asking: Asking): Promise<KnownCors> {
  const response = await ask(services, asking, { method: 'GET', bucket, query: [['cors', null]] })
  const document = await readAll(response.body, corsDocument.maxBytes, () => new S3Error('SealgateBadUpstream'))
  if (response.status === 200) return { kind: 'rules', rules: parseCors(document) }
  // 404: no rules, or no bucket. MinIO answers so for every bucket, older versions 501, and both answer preflights by themselves.
  if ([403, 404, 405, 501].includes(response.status)) return { kind: 'ask' }
  throw new S3Error('ServiceUnavailable', { diagnosis: response.diagnosis ?? null })
}

/** Where there are no rules to read, the store is asked what it would tell a browser, as a browser asks: without a signature. */
async function storesHeaders(services: Services, bucket: string, question: CorsQuestion, asking: Asking): Promise<readonly Header[]> {
  const headers: Header[] = [['origin', question.origin], ['access-control-request-method', question.method]]
  if (question.headers !== null && question.headers.length > 0) headers.push(['access-control-request-headers', question.headers.join(',')])
  const response = await ask(services, asking, { method: 'OPTIONS', bucket, headers, identity: null })
  response.body.resume()
  const told = response.headers.entries.filter(([name, value]) => /^(access-control-.*|vary)$/i.test(name) && value.length <= 4096)
  if (response.status >= 300 || !hasCors(told)) return []
  // What may be read is told with other answers than preflights. The gateway sends no headers but those it knows.
  const said = told.some(([name]) => name.toLowerCase() === 'access-control-expose-headers')
  return said ? told : [...told, ['access-control-expose-headers', exposed(['ETag'])]]
}

type Sent = Pick<UpstreamRequest, 'method' | 'bucket'> & Partial<UpstreamRequest>

function ask(services: Services, { asker, signal }: Asking, sent: Sent): Promise<UpstreamResponse> {
  return services.upstream.request({
    key: null,
    query: [],
    headers: [],
    body: null,
    contentLength: 0,
    signal,
    retry: true,
    ...asker === 'signed' ? { pool: 'control' } : { pool: 'preflight', answerSeconds: unsignedAnswerSeconds },
    ...sent
  })
}
