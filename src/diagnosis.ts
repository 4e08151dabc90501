import { getSystemErrorMessage } from 'node:util'

/** The side that failed: the store, a key service, the files of this machine, or what takes the audit trail beside its file. */
type Service = 'store' | 'kms' | 'files' | 'audit'

/**
 * The cause of a failure as the operator sees it. Only numbers, texts of the gateway, and names whose alphabet and length are bounded
 * (`nameOf`, `requestIdOf`), so that it cannot contain keys, contents or credentials.
 */
export interface Diagnosis {
  readonly service: Service
  /** In words without names: `GET bucket ?versioning`, `Decrypt`, `write audit.file`. */
  readonly operation: string
  /** HTTP status of the answer; null: there was none. */
  readonly status: number | null
  /** The other side's name of the error, such as `SlowDown` or `ThrottlingException`. */
  readonly errorName: string | null
  /** Code of the system, of TLS or of the HTTP client, such as `ECONNREFUSED` or `ENOSPC`. */
  readonly system: string | null
  /** The other side's id of the request: `x-amz-request-id` of the store, the request id of the key service. */
  readonly remoteRequestId: string | null
  /** This clock minus the other side's, in whole seconds, from the `Date` of its answer; its resolution is one second. */
  readonly clockSkewSeconds: number | null
  /** The region that the other side reports. */
  readonly expectedRegion: string | null
}

/** A closed set of failure kinds, for metrics and alarms. */
export const troubles = [
  'certificate',
  'clock',
  'credentials',
  'denied',
  'other',
  'protocol',
  'region',
  'server-error',
  'storage-full',
  'throttled',
  'timeout',
  'unreachable'
] as const
export type Trouble = (typeof troubles)[number]

/** The places where the standard AWS chain looks, in its order (`@aws-sdk/credential-provider-node`). Some change at run time, such as tokens of a pod. */
export const credentialPlaces = 'environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), SSO and profile files (AWS_PROFILE, ~/.aws), ' +
  'web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN), container (AWS_CONTAINER_CREDENTIALS_FULL_URI), instance metadata'

/** Beyond this a refused signature is blamed on the clock. S3 allows 15 minutes (AWS, RequestTimeTooSkewed), KMS 5. */
const SKEW_SECONDS = 300

export function diagnosis(service: Service, operation: string, facts: Partial<Diagnosis> = {}): Diagnosis {
  return {
    status: null,
    errorName: null,
    system: null,
    remoteRequestId: null,
    clockSkewSeconds: null,
    expectedRegion: null,
    ...facts,
    service,
    operation
  }
}

/** An error name as S3 and KMS form them: letters, digits, dot, hyphen and underscore, at most 64. null: it is none. */
export function nameOf(text: unknown): string | null {
  return bounded(text, /^[A-Za-z][A-Za-z0-9._-]{0,63}$/)
}

/** A request id, at most 128 letters of base64, UUIDs and Ceph's transaction ids. null: it is none. */
export function requestIdOf(text: unknown): string | null {
  return bounded(text, /^[A-Za-z0-9._:=+/-]{1,128}$/)
}

export function regionOf(text: unknown): string | null {
  return bounded(text, /^[a-z0-9][a-z0-9-]{0,39}$/)
}

/** The code that the system, TLS or the HTTP client gave to an error or to its cause: `ENOSPC`, `ERR_SSL_…`. null: none. */
export function systemCodeOf(error: unknown): string | null {
  for (let e = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth += 1) {
    const code = 'code' in e ? bounded(e.code, /^[A-Z][A-Z0-9_]{1,63}$/) : null
    if (code !== null) return code
  }
  return null
}

/**
 * @param date of an answer, as HTTP has it (RFC 9110 6.6.1)
 * @param now milliseconds since 1970
 * @returns whole seconds, positive when this clock is ahead; null when the answer has no usable date
 */
export function clockSkewSeconds(date: string | undefined, now: number): number | null {
  const theirs = date === undefined || date.length > 40 ? NaN : Date.parse(date)
  if (Number.isNaN(theirs)) return null
  // The date was cut to a whole second, so it has lost half a second on average.
  return Math.round((now - theirs - 500) / 1000)
}

/** The diagnosis that an error or one of its causes carries; else that of a system error of the file system; null: neither. */
export function diagnosisOf(error: unknown): Diagnosis | null {
  let system: Diagnosis | null = null
  for (let e = error, depth = 0; e instanceof Error && depth < 8; e = e instanceof AggregateError ? firstOf(e) : e.cause, depth += 1) {
    if ('diagnosis' in e && isDiagnosis(e.diagnosis)) return e.diagnosis
    if ('syscall' in e && 'code' in e && system === null) {
      system = diagnosis('files', bounded(e.syscall, /^[a-z]{1,20}$/) ?? 'system call', { system: systemCodeOf(e) })
    }
  }
  return system
}

function firstOf(error: AggregateError): unknown {
  return (error.errors as readonly unknown[])[0] ?? error.cause
}

function isDiagnosis(value: unknown): value is Diagnosis {
  return typeof value === 'object' && value !== null && 'service' in value && 'operation' in value
}

/** The fields of a log line or a status: those that are known, and the kind of failure. */
export function fieldsOf(d: Diagnosis | null): Readonly<Record<string, string | number>> {
  if (d === null) return {}
  const known = Object.entries(d).filter((entry): entry is [string, string | number] => entry[1] !== null)
  return { ...Object.fromEntries(known), trouble: troubleOf(d) }
}

const byName: Readonly<Record<string, Trouble>> = {
  ...named(
    'credentials',
    'InvalidAccessKeyId',
    'SignatureDoesNotMatch',
    'InvalidToken',
    'ExpiredToken',
    'TokenRefreshRequired',
    'ExpiredTokenException',
    'UnrecognizedClientException',
    'InvalidClientTokenId',
    'InvalidSignatureException',
    'IncompleteSignature',
    'MissingAuthenticationToken',
    'MissingAuthenticationTokenException',
    'CredentialsProviderError',
    'CKR_PIN_INCORRECT',
    'CKR_PIN_EXPIRED',
    'CKR_PIN_LOCKED',
    'PinFinalTry'
  ),
  ...named('clock', 'RequestTimeTooSkewed', 'RequestExpired'),
  ...named('region', 'AuthorizationHeaderMalformed', 'PermanentRedirect', 'TemporaryRedirect', 'IllegalLocationConstraintException', 'InvalidRegion'),
  ...named(
    'denied',
    'AccessDenied',
    'AccessDeniedException',
    'AllAccessDisabled',
    'AccountProblem',
    'NotAuthorized',
    'OptInRequired',
    'DisabledException',
    'InvalidGrantTokenException'
  ),
  ...named(
    'throttled',
    'SlowDown',
    'ThrottlingException',
    'Throttling',
    'TooManyRequestsException',
    'LimitExceededException',
    'RequestLimitExceeded',
    'RequestThrottled',
    'RequestThrottledException',
    'SlowDownRead',
    'SlowDownWrite'
  ),
  ...named('unreachable', 'CKR_TOKEN_NOT_PRESENT', 'CKR_DEVICE_REMOVED', 'CKR_DEVICE_ERROR', 'ProcessEnded'),
  ...named('storage-full', 'StorageFull', 'XMinioStorageFull', 'InsufficientStorage', 'QuotaExceeded', 'XMinioAdminBucketQuotaExceeded', 'InsufficientCapacity')
}

const bySystem: readonly (readonly [Trouble, RegExp])[] = [
  ['storage-full', /^(ENOSPC|EDQUOT)$/],
  ['protocol', /^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNSUPPORTED_PROTOCOL|.*ALERT.*)|HPE_.*|ERR_PLAIN_TO_TLS)$/],
  ['certificate', /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$|ERROR_IN_)/],
  ['timeout', /^(ETIMEDOUT|UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT)$/],
  ['unreachable', /^(ECONN.*|EPIPE|ENOTFOUND|EAI_.*|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|EADDRNOTAVAIL|EMFILE|ENFILE|UND_ERR_(SOCKET|CLOSED|DESTROYED))$/],
  ['denied', /^(EACCES|EPERM|EROFS)$/]
]

export function troubleOf({ status, errorName, system, clockSkewSeconds: skew }: Diagnosis): Trouble {
  const byItsName = errorName !== null && Object.hasOwn(byName, errorName) ? byName[errorName] : undefined
  // A signature of another hour is refused in many words.
  if (skew !== null && Math.abs(skew) > SKEW_SECONDS && (byItsName === 'credentials' || status === 401 || status === 403)) return 'clock'
  if (byItsName !== undefined) return byItsName
  const bySystemCode = system === null ? undefined : bySystem.find(([, pattern]) => pattern.test(system))?.[0]
  if (bySystemCode !== undefined) return bySystemCode
  if (errorName === 'TimeoutError') return 'timeout'
  if (status === null) return 'other'
  if (status === 429) return 'throttled'
  if (status === 507) return 'storage-full'
  if (status === 401 || status === 403) return 'denied'
  if (status >= 300 && status < 400) return 'region'
  return status >= 500 ? 'server-error' : 'other'
}

function named(trouble: Trouble, ...names: readonly string[]): Record<string, Trouble> {
  return Object.fromEntries(names.map((name) => [name, trouble]))
}

function bounded(text: unknown, pattern: RegExp): string | null {
  return typeof text === 'string' && pattern.test(text) ? text : null
}

/**
 * The operating system's reason for a failed call, with its code: "no such file or directory (ENOENT)". Never the message of the error itself, which
 * may contain anything.
 */
export function systemWords(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return 'unknown error'
  const words = 'errno' in error && typeof error.errno === 'number' ? getSystemErrorMessage(error.errno) : null
  return words === null || words.startsWith('Unknown system error') ? error.code : `${words} (${error.code})`
}
