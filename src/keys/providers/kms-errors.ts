import { clockSkewSeconds, credentialPlaces, diagnosis, nameOf, requestIdOf, systemCodeOf, type Diagnosis, type Trouble } from '../../diagnosis.ts'
import { S3Error } from '../../errors.ts'

/** How a call to the key service ended; also the label of its metric. */
export type KmsOutcome =
  | 'ok'
  | 'no-credentials'
  | 'throttled'
  | 'unavailable'
  | 'disabled'
  | 'invalid-state'
  | 'denied'
  | 'gone'
  | 'wrong-context'
  | 'wrong-key'
  | 'wrong-answer'
  | 'rejected'

/** The kinds in the metric of all failures; null: no failure of the service or of the way to it. */
export const kmsTroubles: Readonly<Record<KmsOutcome, Trouble | null>> = {
  'ok': null,
  'no-credentials': 'credentials',
  'throttled': 'throttled',
  'unavailable': 'unreachable',
  'disabled': 'denied',
  'invalid-state': 'denied',
  'denied': 'denied',
  'gone': 'denied',
  'wrong-context': null,
  'wrong-key': null,
  'wrong-answer': 'protocol',
  'rejected': 'other'
}

/** The service answered, but the answer cannot be right. */
export class WrongKmsAnswer extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'WrongKmsAnswer'
  }
}

/** There were no credentials to sign with: nothing was sent. */
export class NoKmsCredentials extends Error {
  constructor(cause: unknown) {
    super('no AWS credentials', { cause })
    this.name = 'CredentialsProviderError'
  }
}

/**
 * By name, never by status: KMS throttles with 400 and words its refusals in several statuses
 * (AWS KMS API reference, "Common Errors" and the errors of Decrypt; KMS developer guide, "Key states").
 */
const outcomes: Readonly<Record<string, KmsOutcome>> = {
  ThrottlingException: 'throttled',
  Throttling: 'throttled',
  LimitExceededException: 'throttled',
  RequestLimitExceeded: 'throttled',
  RequestThrottled: 'throttled',
  RequestThrottledException: 'throttled',
  SlowDown: 'throttled',
  TooManyRequestsException: 'throttled',
  DisabledException: 'disabled',
  KMSInvalidStateException: 'invalid-state',
  InvalidKeyUsageException: 'invalid-state',
  AccessDenied: 'denied',
  AccessDeniedException: 'denied',
  ExpiredTokenException: 'denied',
  IncompleteSignature: 'denied',
  InvalidClientTokenId: 'denied',
  InvalidGrantTokenException: 'denied',
  InvalidSignatureException: 'denied',
  MissingAuthenticationToken: 'denied',
  MissingAuthenticationTokenException: 'denied',
  NotAuthorized: 'denied',
  OptInRequired: 'denied',
  SignatureDoesNotMatch: 'denied',
  UnrecognizedClientException: 'denied',
  NotFoundException: 'gone',
  InvalidArnException: 'gone',
  InvalidCiphertextException: 'wrong-context',
  IncorrectKeyException: 'wrong-key',
  CredentialsProviderError: 'no-credentials',
  WrongKmsAnswer: 'wrong-answer',
  ValidationException: 'rejected',
  ValidationError: 'rejected',
  SerializationException: 'rejected',
  UnsupportedOperationException: 'rejected',
  UnknownOperationException: 'rejected',
  DryRunOperationException: 'rejected'
}

/** All other errors are unavailability: timeouts, broken connections, 5xx, key stores that are offline. */
export function classifyKmsError(error: unknown): Exclude<KmsOutcome, 'ok'> {
  const outcome = error instanceof Error && Object.hasOwn(outcomes, error.name) ? outcomes[error.name] : undefined
  return outcome === undefined || outcome === 'ok' ? 'unavailable' : outcome
}

/** The answer that S3 itself gives for this error (AWS S3 API reference, "Error responses", KMS.*, with S3's messages). */
export function kmsS3Error(outcome: Exclude<KmsOutcome, 'ok'>, keyId: string, operation: string, error: unknown): S3Error {
  return answerFor(outcome, keyId, reportable(operation, error)).diagnose(diagnoseKms(operation, error))
}

function answerFor(outcome: Exclude<KmsOutcome, 'ok'>, keyId: string, cause: Error): S3Error {
  switch (outcome) {
    case 'throttled':
      return new S3Error('SlowDown', { endedBy: 'keys', cause })
    case 'no-credentials':
      return new S3Error('ServiceUnavailable', {
        message: 'The gateway has no credentials for the key service at the moment.',
        endedBy: 'keys',
        cause
      })
    case 'unavailable':
      return new S3Error('ServiceUnavailable', { message: 'The key service did not answer. Please try again.', endedBy: 'keys', cause })
    case 'disabled':
      return new S3Error('KMS.DisabledException', { message: `${keyId} is disabled.`, cause })
    case 'invalid-state':
      return new S3Error('KMS.KMSInvalidStateException', {
        message: `${keyId} is pending deletion or in another state that does not allow this.`,
        cause
      })
    case 'denied':
      return new S3Error('AccessDenied', { endedBy: 'keys', cause })
    case 'gone':
      return new S3Error('KMS.NotFoundException', { message: `Key '${keyId}' does not exist`, cause })
    case 'wrong-context':
    case 'wrong-key':
      return new S3Error('SealgateIntegrityError', { cause })
    case 'wrong-answer':
    case 'rejected':
      return new S3Error('InternalError', { endedBy: 'keys', cause })
  }
}

/** Diagnosis of a failed call from the SDK's error. `$response` is the HTTP answer, where there was one. */
function diagnoseKms(operation: string, error: unknown): Diagnosis {
  const { name, $metadata, $response } = error as SdkError
  if (error instanceof NoKmsCredentials) {
    return diagnosis('kms', `credentials: ${credentialPlaces}`, { errorName: name ?? null, system: systemCodeOf(error) })
  }
  return diagnosis('kms', operation, {
    // Without an answer the SDK has 0 or nothing here.
    status: $metadata?.httpStatusCode ?? $response?.statusCode ?? null,
    errorName: name === 'Error' ? null : nameOf(name),
    system: systemCodeOf(error),
    remoteRequestId: requestIdOf($metadata?.requestId),
    clockSkewSeconds: clockSkewSeconds($response?.headers?.['date'], Date.now())
  })
}

type SdkError = Partial<Record<'name' | 'message' | '$fault', string>> & {
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string }
  readonly $response?: { readonly statusCode?: number; readonly headers?: Readonly<Record<string, string>> }
}

/**
 * What may be logged. Only an error from the service itself keeps its message: the message of a parser, or the response that the SDK attaches to the
 * error, can quote the answer, and the answer to GenerateDataKey is a key.
 */
function reportable(operation: string, error: unknown): Error {
  if (error instanceof WrongKmsAnswer) return error
  const { name, message, $fault, $metadata } = error as SdkError
  const parts = [`KMS ${operation}: ${name ?? 'unknown error'}`]
  if ($fault !== undefined && message !== undefined) parts.push(message)
  if ($metadata?.httpStatusCode !== undefined) parts.push(`status ${$metadata.httpStatusCode}`)
  if ($metadata?.requestId !== undefined) parts.push(`request ${$metadata.requestId}`)
  return new Error(parts.join('; '))
}
