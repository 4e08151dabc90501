import type { Header, HttpRequest, HttpResponse } from '../../http/message.ts'
import type { UpstreamRequest, UpstreamResponse } from '../../upstream/types.ts'
import { type Services, shareOf, storeOf, upstreamNameOf } from '../context.ts'
import type { Asker, Asking, KnownCors } from './cors-knowledge.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { readAll } from '../../http/stage.ts'
import { corsDocument, corsHeaders, exposed, isCorsMethod, matchingRule, parseCors, requestedHeaders, type CorsQuestion, type CorsRule } from '../../s3/cors.ts'

/** The message of AWS (S3 User Guide, "Troubleshooting CORS"). */
const notAllowed = 'CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / ' +
  'Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource\'s CORS spec.'
/** Seconds that the store has to answer a request caused by an unsigned one. */
const unsignedAnswerSeconds = 5

/**
 * The answer to a browser's preflight. Preflights are always unsigned (Fetch standard, CORS-preflight fetch). Without `listen.cors` the gateway asks the store
 * for the rules of the bucket, with its own credentials and in a share of its own (docs/THREAT-MODEL.md). The answer shows only what the bucket's owner has published. A bucket
 * that does not exist, is not served here, has no rules or no matching rule gets the same answer as a question that exceeds the rate limit.
 * @throws S3Error BadRequest, AccessForbidden; the errors of a store that does not answer
 */
export async function preflight(services: Services, request: HttpRequest, bucket: string): Promise<HttpResponse> {
  request.admit?.({ kind: 'preflight' })
  const question = questionOf(request)
  if (question.origin === '') throw new S3Error('BadRequest', { message: 'Insufficient information. Origin request header needed.' })
  if (!request.headers.has('access-control-request-method')) {
    throw new S3Error('BadRequest', { message: 'Invalid Access-Control-Request-Method: null' })
  }
  if (!isCorsMethod(question.method)) {
    throw new S3Error('BadRequest', { message: `Invalid Access-Control-Request-Method: ${question.method.slice(0, 32)}` })
  }
  enterForPreflight(services, request, bucket)
  const headers = await headersFor(services, bucket, question, { asker: 'unsigned', signal: request.signal }).catch((error: unknown) => {
    if (!(error instanceof S3Error) || !['AccessDenied', 'NoSuchBucket', 'SlowDown'].includes(error.code)) throw error
    logUnlessExpected(services, request, bucket, error)
    return []
  })
  if (headers.length === 0) throw new S3Error('AccessDenied', { code: 'AccessForbidden', message: notAllowed })
  return { status: 200, headers: [...headers, ['content-length', '0']], body: null }
}

/** A place among the preflights that may wait for the store of this bucket: one store that hangs must not stop those of others. @throws S3Error SlowDown. */
function enterForPreflight(services: Services, request: HttpRequest, bucket: string): void {
  const upstream = services.stores.size === 1 || ownRules(services) !== null ? null : upstreamNameOf(services, bucket)
  if (upstream === null || services.settings.corsAt(upstream).known(bucket)?.kind === 'rules') return
  request.admit?.({ kind: 'store', id: `preflights ${storeOf(services, bucket).id}`, most: shareOf(services, 'unauthenticatedRequests') })
}

/**
 * The CORS headers of an error, from cached rules only: a request that was refused, perhaps for its signature, must not cause a request to the store.
 * The browser's preflight has filled the cache shortly before.
 */
export function knownCorsHeaders(services: Services, request: HttpRequest, bucket: string | null, headers: readonly Header[]): readonly Header[] {
  const own = ownRules(services)
  const upstream = bucket === null ? null : upstreamNameOf(services, bucket)
  const known = own ?? (bucket === null || upstream === null ? undefined : services.settings.corsAt(upstream).known(bucket))
  return known?.kind !== 'rules' || hasCors(headers) ? [] : headersOf(known.rules, questionOf(request))
}

/**
 * The CORS headers of an answer: without them a browser hides the answer from its page. Best effort: a failure here must not replace the answer, and
 * is logged.
 * @param asker whether the request was signed
 */
export async function corsHeadersFor(services: Services, request: HttpRequest, bucket: string | null, asker: Asker): Promise<readonly Header[]> {
  const question = questionOf(request)
  if (question.origin === '' || bucket === null) return []
  return headersFor(services, bucket, question, { asker, signal: request.signal }).catch((error: unknown) => {
    logUnlessExpected(services, request, bucket, error)
    return []
  })
}

/** Not logged: buckets that are not served here, and clients that have disconnected. */
function logUnlessExpected(services: Services, { id, signal }: HttpRequest, bucket: string, error: unknown): void {
  if (signal.aborted || (error instanceof S3Error && ['AccessDenied', 'NoSuchBucket'].includes(error.code))) return
  services.corsUnknown(id, bucket, error instanceof S3Error ? error : new S3Error('InternalError', { cause: error }))
}

/** Headers of an answer with those for a browser, which replace the CORS headers of the store. */
export function withCors(headers: readonly Header[], cors: readonly Header[]): readonly Header[] {
  return cors.length === 0 ? headers : [...headers.filter(([name]) => !/^(access-control-.*|vary)$/i.test(name)), ...cors]
}

function hasCors(headers: readonly Header[]): boolean {
  return headers.some(([name]) => name.toLowerCase() === 'access-control-allow-origin')
}

/** @throws S3Error AccessDenied for buckets that are not configured, NoSuchBucket for the gateway's own: preflights must not reveal which buckets exist. */
async function headersFor(services: Services, bucket: string, question: CorsQuestion, asking: Asking): Promise<readonly Header[]> {
  if (question.headers === null) return []
  const own = ownRules(services)
  if (own !== null) return headersOf(own.rules, question)
  const { upstream } = services.policyFor(bucket)
  authorize(null, { bucket, own: isOwnBucket(services.config, bucket), write: false, publicRead: true })
  const cors = services.settings.corsAt(upstream)
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

/** Rules are written in XML, which allows more characters than a header: a line break would make every answer an error. */
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
  // 404: no rules, or no bucket. MinIO answers 404 for every bucket and older versions 501; both answer preflights themselves.
  if ([403, 404, 405, 501].includes(response.status)) return { kind: 'ask' }
  throw new S3Error('ServiceUnavailable', { diagnosis: response.diagnosis ?? null })
}

/** Where there are no rules to read, the store gets the preflight itself, without a signature as a browser sends it. */
async function storesHeaders(services: Services, bucket: string, question: CorsQuestion, asking: Asking): Promise<readonly Header[]> {
  const headers: Header[] = [['origin', question.origin], ['access-control-request-method', question.method]]
  if (question.headers !== null && question.headers.length > 0) headers.push(['access-control-request-headers', question.headers.join(',')])
  const response = await ask(services, asking, { method: 'OPTIONS', bucket, headers, identity: null })
  response.body.resume()
  const received = response.headers.entries.filter(([name, value]) => /^(access-control-.*|vary)$/i.test(name) && value.length <= 4096)
  if (response.status >= 300 || !hasCors(received)) return []
  // Preflight answers do not name exposed headers, but other answers do. The gateway returns only headers that it knows.
  const exposesHeaders = received.some(([name]) => name.toLowerCase() === 'access-control-expose-headers')
  return exposesHeaders ? received : [...received, ['access-control-expose-headers', exposed(['ETag'])]]
}

type Sent = Pick<UpstreamRequest, 'method'> & Partial<UpstreamRequest> & { readonly bucket: string }

function ask(services: Services, { asker, signal }: Asking, sent: Sent): Promise<UpstreamResponse> {
  return storeOf(services, sent.bucket).upstream.request({
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
