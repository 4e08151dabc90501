import { S3Error } from '../errors.ts'

/** How a call to the key service ended; also the label of its metric. */
export type KmsOutcome =
  | 'ok' | 'throttled' | 'unavailable' | 'disabled' | 'invalid-state' | 'denied' | 'gone'
  | 'wrong-context' | 'wrong-key' | 'wrong-answer' | 'rejected'

/** The service answered, and the answer cannot be what was asked for. */
export class WrongKmsAnswer extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'WrongKmsAnswer'
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
  WrongKmsAnswer: 'wrong-answer',
  ValidationException: 'rejected',
  ValidationError: 'rejected',
  SerializationException: 'rejected',
  UnsupportedOperationException: 'rejected',
  UnknownOperationException: 'rejected',
  DryRunOperationException: 'rejected'
}

/** Everything not named is unavailability: timeouts, broken connections, 5xx, key stores that are away, no credentials yet. */
export function classifyKmsError(error: unknown): Exclude<KmsOutcome, 'ok'> {
  const outcome = error instanceof Error && Object.hasOwn(outcomes, error.name) ? outcomes[error.name] : undefined
  return outcome === undefined || outcome === 'ok' ? 'unavailable' : outcome
}

/** The answer S3 itself gives for this (AWS S3 API reference, "Error responses", KMS.*; texts as S3 words them). */
export function kmsS3Error(outcome: Exclude<KmsOutcome, 'ok'>, keyId: string, operation: string, error: unknown): S3Error {
  const cause = reportable(operation, error)
  switch (outcome) {
    case 'throttled': return new S3Error('SlowDown', { endedBy: 'keys', cause })
    case 'unavailable': return new S3Error('ServiceUnavailable', { message: 'The key service did not answer. Please try again.', endedBy: 'keys', cause })
    case 'disabled': return new S3Error('KMS.DisabledException', { message: `${keyId} is disabled.`, cause })
    case 'invalid-state': return new S3Error('KMS.KMSInvalidStateException', {
      message: `${keyId} is pending deletion or in another state that does not allow this.`, cause
    })
    case 'denied': return new S3Error('AccessDenied', { endedBy: 'keys', cause })
    case 'gone': return new S3Error('KMS.NotFoundException', { message: `Key '${keyId}' does not exist`, cause })
    case 'wrong-context':
    case 'wrong-key': return new S3Error('SealgateIntegrityError', { cause })
    case 'wrong-answer':
    case 'rejected': return new S3Error('InternalError', { endedBy: 'keys', cause })
  }
}

/**
 * What may be logged. Only an error the service itself worded keeps its text: a parser's message, or the response the SDK
 * hangs on the error, can quote the answer, and the answer to GenerateDataKey is a key.
 */
function reportable(operation: string, error: unknown): Error {
  if (error instanceof WrongKmsAnswer) return error
  const { name, message, $fault, $metadata } = error as Partial<Record<'name' | 'message' | '$fault', string>> & {
    $metadata?: { httpStatusCode?: number; requestId?: string }
  }
  const parts = [`KMS ${operation}: ${name ?? 'unknown error'}`]
  if ($fault !== undefined && message !== undefined) parts.push(message)
  if ($metadata?.httpStatusCode !== undefined) parts.push(`status ${$metadata.httpStatusCode}`)
  if ($metadata?.requestId !== undefined) parts.push(`request ${$metadata.requestId}`)
  return new Error(parts.join('; '))
}
