import { clockSkewSeconds, credentialPlaces, diagnosis, nameOf, requestIdOf, systemCodeOf, type Diagnosis } from '../../diagnosis.ts'
import { WrongServiceAnswer, type ServiceErrors, type ServiceFailure } from '../service/errors.ts'

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
const outcomes: Readonly<Record<string, ServiceFailure>> = {
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
  WrongServiceAnswer: 'wrong-answer',
  ValidationException: 'rejected',
  ValidationError: 'rejected',
  SerializationException: 'rejected',
  UnsupportedOperationException: 'rejected',
  UnknownOperationException: 'rejected',
  DryRunOperationException: 'rejected'
}

export const kmsErrors: ServiceErrors = {
  /** All other errors are unavailability: timeouts, broken connections, 5xx, key stores that are offline. */
  classify: (error) => {
    const outcome = error instanceof Error && Object.hasOwn(outcomes, error.name) ? outcomes[error.name] : undefined
    return outcome ?? 'unavailable'
  },
  report: (operation, error) => ({ cause: reportable(operation, error), diagnosis: diagnoseKms(operation, error) })
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
  if (error instanceof WrongServiceAnswer) return error
  const { name, message, $fault, $metadata } = error as SdkError
  const parts = [`KMS ${operation}: ${name ?? 'unknown error'}`]
  if ($fault !== undefined && message !== undefined) parts.push(message)
  if ($metadata?.httpStatusCode !== undefined) parts.push(`status ${$metadata.httpStatusCode}`)
  if ($metadata?.requestId !== undefined) parts.push(`request ${$metadata.requestId}`)
  return new Error(parts.join('; '))
}
