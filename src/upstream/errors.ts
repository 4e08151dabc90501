import { errors } from 'undici'
import { S3Error } from '../errors.ts'
import { diagnoseFailure } from './diagnose.ts'

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
