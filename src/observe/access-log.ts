import type { S3Error } from '../errors.ts'

/** Which side ended a request. `gateway`: refused by rule; `limit`: a limit of the gateway; `keys`: a key service. */
export type EndedBy = 'client' | 'store' | 'keys' | 'gateway' | 'limit'

/** The phase in which a request ended: request head, authentication, waiting in the queue, upload, waiting for the answer, download. */
export type Phase = 'head' | 'authentication' | 'line' | 'upload' | 'answer' | 'download'

const endedByLetter: Readonly<Record<EndedBy, string>> = { client: 'C', store: 'S', keys: 'K', gateway: 'P', limit: 'L' }
const phaseLetter: Readonly<Record<Phase, string>> = { head: 'R', authentication: 'A', line: 'Q', upload: 'U', answer: 'H', download: 'D' }

export interface Ending {
  readonly by: EndedBy
  readonly in: Phase
}

/** Two letters for the side that ended a request and the phase, similar to HAProxy's termination state; `--` when it completed, with any status. */
export function terminationState(ending: Ending | null): string {
  return ending === null ? '--' : endedByLetter[ending.by] + phaseLetter[ending.in]
}

/**
 * The side that caused an error, for the termination state.
 * @returns null for ordinary S3 errors, such as NoSuchKey
 */
export function endedBy(error: Pick<S3Error, 'code' | 'status' | 'endedBy'>): EndedBy | null {
  const byCode = endedByCode(error.code)
  if (byCode !== null) return error.endedBy ?? byCode
  // A failure for which the store has its own message.
  return error.status >= 500 ? error.endedBy : null
}

function endedByCode(code: string): EndedBy | null {
  if (code.startsWith('KMS.') || code === 'SealgateKeyUnavailable') return 'keys'
  if (code === 'SealgateBadUpstream' || code === 'SealgateUpstreamTimeout' || code === 'SealgateIntegrityError' || code === 'ServiceUnavailable') return 'store'
  if (code === 'SlowDown') return 'limit'
  if (code === 'IncompleteBody' || code === 'RequestTimeout') return 'client'
  return refusals.has(code) ? 'gateway' : null
}

const refusals: ReadonlySet<string> = new Set([
  'AccessDenied',
  'AuthorizationHeaderMalformed',
  'AuthorizationQueryParametersError',
  'BadDigest',
  'InvalidAccessKeyId',
  'InternalError',
  'RequestTimeTooSkewed',
  'SealgatePlaintextRefused',
  'SignatureDoesNotMatch',
  'XAmzContentSHA256Mismatch'
])

/** One line per request with exactly these fields: never a query string (presigned URLs carry signatures), a header, or any part of a body. */
export interface AccessRecord {
  readonly requestId: string
  /** Access key id; null for anonymous requests and for those that did not verify. */
  readonly principal: string | null
  readonly sourceAddress: string
  readonly secure: boolean
  readonly method: string
  /** S3 operation name; null when the request ended before routing. */
  readonly operation: string | null
  /** Name of the store of the bucket; null when the request ended before it was known, or has no bucket. */
  readonly upstream: string | null
  readonly bucket: string | null
  readonly key: string | null
  /** null: the connection ended before there was one. */
  readonly status: number | null
  /** Error code in the answer. */
  readonly code: string | null
  readonly bytesIn: number
  readonly bytesOut: number
  readonly seconds: number
  /** Until the first byte of the answer; null when there was none. */
  readonly firstByteSeconds: number | null
  readonly termination: string
  readonly userAgent: string | null
}

const maxUserAgent = 256

/** Copies exactly the fields of the allow-list. */
export function accessRecord(from: Omit<AccessRecord, 'termination'>, ending: Ending | null): AccessRecord {
  return {
    requestId: from.requestId,
    principal: from.principal,
    sourceAddress: from.sourceAddress,
    secure: from.secure,
    method: from.method,
    operation: from.operation,
    upstream: from.upstream,
    bucket: from.bucket,
    key: from.key,
    status: from.status,
    code: from.code,
    bytesIn: from.bytesIn,
    bytesOut: from.bytesOut,
    seconds: from.seconds,
    firstByteSeconds: from.firstByteSeconds,
    termination: terminationState(ending),
    userAgent: from.userAgent === null ? null : from.userAgent.slice(0, maxUserAgent)
  }
}
