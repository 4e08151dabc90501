import type { HttpRequest, HttpResponse } from '../http/message.ts'
import type { UpstreamRequest, UpstreamResponse } from '../upstream/types.ts'
import type { Parts } from './context.ts'
import type { KnownCors } from './settings-cache.ts'
import { isOwnBucket } from '../config.ts'
import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { corsHeaders, matchingRule, parseCors, requestedHeaders, type CorsQuestion } from '../s3/cors.ts'
import { upstreamDocument } from '../s3/xml.ts'

type Header = readonly [name: string, value: string]

const ALLOW_ORIGIN = 'access-control-allow-origin'
/** AWS's words (S3 User Guide, "Troubleshooting CORS"). */
const notAllowed = 'CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / ' +
  'Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource\'s CORS spec.'

/**
 * The answer to a browser's preflight. Preflights are unsigned by nature (Fetch standard, CORS-preflight fetch), so this is the one
 * request that is answered, and may go upstream, without a signature; it tells what the bucket's owner has published.
 * @throws S3Error BadRequest, AccessDenied, AccessForbidden, NoSuchBucket.
 */
export async function preflight(parts: Parts, request: HttpRequest, bucket: string): Promise<HttpResponse> {
  const question = questionOf(request)
  if (question.origin === '') throw new S3Error('BadRequest', { message: 'Insufficient information. Origin request header needed.' })
  if (!request.headers.has('access-control-request-method')) {
    throw new S3Error('BadRequest', { message: 'Invalid Access-Control-Request-Method: null' })
  }
  const known = await corsOf(parts, request, bucket)
  if (known.kind === 'no-bucket') throw new S3Error('NoSuchBucket')
  if (known.kind === 'none') throw forbidden('CORSResponse: CORS is not enabled for this bucket.')
  const headers = known.kind === 'hidden' ? await storesHeaders(parts, request, bucket, question) : headersOf(known, question)
  if (headers.length === 0) throw forbidden(notAllowed)
  return { status: 200, headers: [...headers, ['content-length', '0']], body: null }
}

/**
 * The CORS headers for an error, from rules that are known already: a request that has been refused, perhaps for its signature,
 * must not send the gateway to the store. A browser's preflight has made them known shortly before.
 */
export function knownCorsHeaders(parts: Parts, request: HttpRequest, bucket: string | null, headers: readonly Header[]): readonly Header[] {
  const known = bucket === null ? undefined : parts.settings.cors.get(bucket)
  return known === undefined || hasCors(headers) ? [] : headersOf(known, questionOf(request))
}

/**
 * The CORS headers for an answer that the store did not give: without them a browser shows its user nothing of it. Best effort:
 * an error here must not hide the answer.
 */
export async function corsHeadersFor(parts: Parts, request: HttpRequest, bucket: string | null, headers: readonly Header[]): Promise<readonly Header[]> {
  const question = questionOf(request)
  if (question.origin === '' || bucket === null || hasCors(headers)) return []
  try {
    const known = await corsOf(parts, request, bucket)
    return known.kind === 'hidden' ? await storesHeaders(parts, request, bucket, question) : headersOf(known, question)
  } catch {
    return []
  }
}

/** Headers of an answer with those for a browser, unless the store has said them. */
export function withCors(headers: readonly Header[], cors: readonly Header[]): readonly Header[] {
  return hasCors(headers) ? headers : [...headers, ...cors]
}

function hasCors(headers: readonly Header[]): boolean {
  return headers.some(([name]) => name.toLowerCase() === ALLOW_ORIGIN)
}

function headersOf(known: KnownCors, question: CorsQuestion): readonly Header[] {
  const rule = known.kind === 'rules' ? matchingRule(known.rules, question) : undefined
  // Whoever wrote the rules wrote them in XML, which holds more than a header can: a line break would make every answer an error.
  return rule === undefined ? [] : corsHeaders(rule, question).filter(([, value]) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value))
}

function forbidden(message: string): S3Error {
  return new S3Error('AccessDenied', { code: 'AccessForbidden', message })
}

function questionOf(request: HttpRequest): CorsQuestion {
  return {
    origin: request.headers.get('origin') ?? '',
    method: request.headers.get('access-control-request-method') ?? request.method,
    headers: requestedHeaders(request.headers.get('access-control-request-headers'))
  }
}

/** @throws S3Error AccessDenied for buckets that are not configured: a stranger must not find out which there are. */
async function corsOf(parts: Parts, request: HttpRequest, bucket: string): Promise<KnownCors> {
  parts.policyFor(bucket)
  if (isOwnBucket(parts.config.upstream, bucket)) return { kind: 'no-bucket' }
  const cached = parts.settings.cors.get(bucket)
  if (cached !== undefined) return cached
  const known = await readCors(parts, request, bucket)
  parts.settings.cors.set(bucket, known)
  return known
}

async function readCors(parts: Parts, request: HttpRequest, bucket: string): Promise<KnownCors> {
  const response = await ask(parts, request, { method: 'GET', bucket, query: [['cors', null]] })
  const document = await readAll(response.body, upstreamDocument.maxBytes, () => new S3Error('SealgateBadUpstream'))
  if (response.status === 200) return { kind: 'rules', rules: parseCors(document) }
  if (response.status === 403) return { kind: 'hidden' }
  if (response.status === 404) return { kind: document.includes('NoSuchBucket') ? 'no-bucket' : 'none' }
  throw new S3Error(response.status === 501 ? 'NotImplemented' : 'ServiceUnavailable')
}

/** Where the gateway may not read the rules, the store is asked what it would tell a browser. */
async function storesHeaders(parts: Parts, request: HttpRequest, bucket: string, question: CorsQuestion): Promise<readonly Header[]> {
  const headers: Header[] = [['origin', question.origin], ['access-control-request-method', question.method]]
  if (question.headers.length > 0) headers.push(['access-control-request-headers', question.headers.join(',')])
  const response = await ask(parts, request, { method: 'OPTIONS', bucket, headers, identity: null })
  response.body.resume()
  return response.status >= 300 ? [] : response.headers.entries.filter(([name]) => /^(access-control-.*|vary)$/i.test(name))
}

function ask(parts: Parts, request: HttpRequest, sent: Pick<UpstreamRequest, 'method' | 'bucket'> & Partial<UpstreamRequest>): Promise<UpstreamResponse> {
  return parts.upstream.request({
    key: null, query: [], headers: [], body: null, contentLength: 0, signal: request.signal, retry: true, pool: 'control', ...sent
  })
}
