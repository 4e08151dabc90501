import { Readable } from 'node:stream'
import { errors } from '../http/undici.ts'
import type { Diagnosis } from '../diagnosis.ts'
import type { HeaderList } from '../http/message.ts'
import type { ChecksumField } from './aws-chunked-encoder.ts'
import type { UpstreamRequest } from './types.ts'
import { S3Error, Finding } from '../errors.ts'
import { diagnoseFailure } from './diagnose.ts'
import { readAll } from '../http/stage.ts'

const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EMFILE',
  'ENFILE',
  'UND_ERR_SOCKET',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED'
])
const late = new Set(['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
/** TLS spoken to a port that answers in something else. */
const notTls = new Set(['ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG', 'ERR_SSL_HTTP_REQUEST', 'EPROTO'])
const broken = new Set(['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_EXCEEDED_MAX_SIZE'])
/** The body ended too early: its source was closed. */
const bodyGone = new Set(['UND_ERR_ABORTED', 'ERR_STREAM_PREMATURE_CLOSE'])

/** The system's, Node's or undici's code of an error; '' when it has none. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error)) return ''
  return typeof error.code === 'string' ? error.code : ''
}

/** True for failures of a connection, as opposed to answers, timeouts of an answer, and faults of the gateway. */
export function isConnectionFailure(error: unknown): boolean {
  const code = codeOf(error)
  return unreachable.has(code) || code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT'
}

/**
 * True for a connection that was closed because an answer, or other bytes, came on it while no request waited. Only undici's message distinguishes it
 * from other faults of the peer.
 */
export function isUnsolicitedResponse(error: unknown): boolean {
  return error instanceof errors.SocketError && error.message === 'bad response'
}

/**
 * The client's error for a failed exchange with the store. The raw error, which names addresses, becomes the cause for the log. Errors of the body's
 * own source (such as a digest that did not match) are S3Errors already and pass unchanged.
 * @param operation the request in words without names (`operationOf`)
 */
export function toS3Error(error: unknown, operation: string): S3Error {
  if (error instanceof S3Error) return error
  const known = byCode(error)
  // The body comes from the client, not from the store.
  return known.code === 'IncompleteBody' ? known : known.diagnose(diagnoseFailure(operation, error))
}

function byCode(error: unknown): S3Error {
  const code = codeOf(error)
  if (late.has(code)) return new S3Error('SealgateUpstreamTimeout', { cause: error })
  if (unreachable.has(code)) return new S3Error('ServiceUnavailable', { message: 'The store cannot be reached at the moment.', cause: error })
  // Not by code: undici leaves it out for some of the parser's errors.
  if (broken.has(code) || error instanceof errors.HTTPParserError) return new S3Error('SealgateBadUpstream', { cause: error })
  if (notTls.has(code)) {
    return new S3Error('SealgateBadUpstream', {
      message: 'The store does not speak TLS at its address. The operator should check upstream.endpoint: https, or http?',
      cause: error
    })
  }
  if (isCertificateFailure(code)) {
    return new S3Error('SealgateBadUpstream', { message: 'The TLS certificate of the store did not verify.', cause: error })
  }
  if (bodyGone.has(code)) return new S3Error('IncompleteBody', { cause: error })
  return new S3Error('InternalError', { cause: error })
}

/** OpenSSL's verification codes as Node names them (`tls` documentation, "X509 certificate error codes"), and TLS faults. */
function isCertificateFailure(code: string): boolean {
  return /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$|ERROR_IN_)/.test(code)
}

/** The facts of the request that the checks need. */
export type Asked = Pick<UpstreamRequest, 'method' | 'pool' | 'key' | 'query' | 'headers'>

const maxHeaders = 200
const maxErrorBytes = 65536
/** With two values of any of these, two parsers could pick differently. The gateway's own metadata entries are checked as well. */
const singleValued = [
  'content-length',
  'content-range',
  'content-type',
  'content-encoding',
  'etag',
  'last-modified',
  'transfer-encoding',
  'x-amz-version-id',
  'x-amz-delete-marker',
  'x-amz-mp-parts-count'
]

/**
 * Both checks of the head of an answer.
 * @param diagnose what is known of the answer; asked when it is refused
 * @throws S3Error SealgateBadUpstream
 */
export function checkAnswer(
  { status, headers, asked, sent }: { readonly status: number; readonly headers: HeaderList; readonly asked: Asked; readonly sent: ChecksumField | null },
  diagnose: () => Diagnosis
): void {
  try {
    checkHead(status, headers, asked)
    checkEcho(status, headers, sent)
  } catch (error) {
    throw error instanceof S3Error ? error.diagnose(diagnose()) : error
  }
}

/**
 * Refuses heads that make a body untrustworthy: redirects (a client that followed one would bypass the gateway with plaintext), repeated fields,
 * framing whose end a cut connection can fake (RFC 9112 6.3, close-delimited), and a success for another request.
 * @throws S3Error SealgateBadUpstream
 */
export function checkHead(status: number, headers: HeaderList, asked: Asked): void {
  if (headers.entries.length > maxHeaders) throw bad('too many header fields')
  if (status >= 300 && status < 400 && status !== 304) {
    throw new S3Error('SealgateBadUpstream', {
      message: 'The store redirected the request. The operator should check upstream.region and upstream.endpoint.'
    })
  }
  for (const name of headers.repeatedNames()) {
    if (singleValued.includes(name) || name.startsWith('x-amz-meta-sealgate')) {
      throw bad(singleValued.includes(name) ? `repeated ${name}` : 'repeated metadata of the gateway')
    }
  }
  checkFraming(status, headers, asked)
  if (status < 300 && storesBody(asked) && (headers.get('etag') ?? '') === '') throw bad('a write acknowledged without an ETag')
}

/**
 * PutObject and UploadPart, which are answered with an ETag (AWS API). Nothing else in HTTP/1.1 ties an answer to its request: a surplus answer that
 * arrives after the next request is sent becomes the answer to that. A refused answer closes its connection, so that later answers stay with their
 * requests.
 */
function storesBody({ method, key, query, headers }: Asked): boolean {
  return method === 'PUT' && key !== null && query.every(([name]) => name === 'partNumber' || name === 'uploadId')
    && !headers.some(([name]) => name === 'x-amz-copy-source')
}

function checkFraming(status: number, headers: HeaderList, asked: Asked): void {
  const length = headers.get('content-length')
  if (length !== undefined && !(/^\d{1,16}$/.test(length) && Number.isSafeInteger(Number(length)))) throw bad('unusable Content-Length')
  const coding = headers.get('transfer-encoding')
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') throw bad('unusable Transfer-Encoding')
  if (asked.method === 'HEAD' || status === 204 || status === 304) return
  if (length === undefined && coding === undefined) throw bad('a body that only the end of the connection delimits')
  // Object data must have a length before the first byte is passed on; XML may come chunked.
  if (length === undefined && asked.method === 'GET' && (asked.pool === 'data' || asked.pool === 'source') && status < 300) {
    throw bad('object data without Content-Length')
  }
}

function bad(fault: string): S3Error {
  return new S3Error('SealgateBadUpstream', { cause: new Finding(fault) })
}

/**
 * Stores that keep the checksum of a body return it when they acknowledge the body (AWS API, PutObject and UploadPart). Another one means that the
 * answer, or what the store has, belongs to another request.
 * @param sent with the body; null: none
 * @throws S3Error SealgateBadUpstream
 */
function checkEcho(status: number, headers: HeaderList, sent: ChecksumField | null): void {
  if (sent === null || status >= 300) return
  const [name, value] = sent
  const returned = headers.get(name)
  if (returned !== undefined && returned !== value) throw bad('the checksum of another body')
}

/**
 * Errors about the gateway's own signature and credentials. Their bodies hold its access key id and canonical request, and clients would look for the
 * fault in their own credentials.
 */
const ownFaults: ReadonlySet<string> = new Set([
  'AuthorizationHeaderMalformed',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidToken',
  'RequestExpired',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
  'XAmzContentSHA256Mismatch'
])

/**
 * The store's error code when the fault is the gateway's and not the client's.
 * @param body XML of an error answer
 */
export function ownFault(body: Buffer): string | null {
  const code = errorCode(body)
  return code !== null && ownFaults.has(code) ? code : null
}

/** The `Code` of an S3 error document; null when there is none. */
export function errorCode(body: Buffer): string | null {
  return /<Code>\s*([A-Za-z0-9._-]{1,100})\s*<\/Code>/.exec(body.toString('latin1'))?.[1] ?? null
}

/**
 * Reads an error document of at most 64 KiB.
 * @throws S3Error SealgateBadUpstream when it is longer; the stream's own error
 */
export async function readErrorBody(body: Readable): Promise<Buffer> {
  return readAll(body, maxErrorBytes, () => bad('an error document of more than 64 KiB'))
}

/** A stream of bytes that are in memory. */
export function whole(bytes: Buffer): Readable {
  return new Readable({
    read() {
      this.push(bytes)
      this.push(null)
    }
  })
}
