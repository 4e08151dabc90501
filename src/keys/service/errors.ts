import type { Diagnosis, Trouble } from '../../diagnosis.ts'
import { S3Error } from '../../errors.ts'

/** What a key service is asked for, in the words of AWS KMS for all of them: the label of the metrics. `Authenticate`: a login or its renewal. */
export type ServiceCall = 'GenerateDataKey' | 'Decrypt' | 'Encrypt' | 'ReEncrypt' | 'DescribeKey' | 'ScheduleKeyDeletion' | 'Authenticate'

/** How a call to a key service ended; also the label of its metric. */
export type ServiceOutcome =
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

export type ServiceFailure = Exclude<ServiceOutcome, 'ok'>

/** The kinds in the metric of all failures; null: no failure of the service or of the way to it. */
export const serviceTroubles: Readonly<Record<ServiceOutcome, Trouble | null>> = {
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

/** What a failed call leaves for the operator: a cause that may be logged, and names and numbers. Neither quotes an answer, which may be a key. */
interface ServiceReport {
  readonly cause: Error
  readonly diagnosis: Diagnosis
}

/** What the errors of one kind of key service mean. */
export interface ServiceErrors {
  /** `unavailable` for all that is not known: it is retried, and counts for the circuit breaker. */
  classify(error: unknown): ServiceFailure
  report(operation: ServiceCall, error: unknown): ServiceReport
}

/** The service answered, but the answer cannot be right. The message quotes nothing secret. */
export class WrongServiceAnswer extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'WrongServiceAnswer'
  }
}

/** The answer that S3 itself gives for this error (AWS S3 API reference, "Error responses", KMS.*, with S3's messages). */
export function serviceError(failure: ServiceFailure, keyId: string, { cause, diagnosis }: ServiceReport): S3Error {
  return answerFor(failure, keyId, cause).diagnose(diagnosis)
}

function answerFor(failure: ServiceFailure, keyId: string, cause: Error): S3Error {
  switch (failure) {
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
