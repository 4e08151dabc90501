import { diagnosis, nameOf } from '../../diagnosis.ts'
import type { ServiceErrors, ServiceFailure } from '../service/errors.ts'
import { Pkcs11Failure } from './pkcs11-binding.ts'
import { isPinRefusal } from './pkcs11-client.ts'

/** By the code of a failure: names of PKCS#11, and those that pkcs11-token.ts and pkcs11-client.ts give. */
const outcomes: Readonly<Record<string, ServiceFailure>> = {
  Busy: 'throttled',
  CKR_SESSION_COUNT: 'throttled',
  KeyNotFound: 'gone',
  KeyNotUnique: 'invalid-state',
  KeyNotOfThisKind: 'invalid-state',
  KeyReadable: 'invalid-state',
  KeyExtractable: 'invalid-state',
  TokenNotUnique: 'invalid-state',
  CKR_KEY_TYPE_INCONSISTENT: 'invalid-state',
  // What an operator sets on a key to take it out of use (CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN).
  CKR_KEY_FUNCTION_NOT_PERMITTED: 'disabled',
  // Of C_DestroyObject: CKA_DESTROYABLE is false, or the user may not write.
  CKR_ACTION_PROHIBITED: 'denied',
  CKR_SESSION_READ_ONLY: 'denied',
  CKR_TOKEN_WRITE_PROTECTED: 'denied',
  CKR_MECHANISM_INVALID: 'rejected',
  CKR_MECHANISM_PARAM_INVALID: 'rejected',
  CKR_FUNCTION_NOT_SUPPORTED: 'rejected',
  WrongContext: 'wrong-context',
  WrongAnswer: 'wrong-answer',
  CKR_BUFFER_TOO_SMALL: 'wrong-answer',
  InternalError: 'wrong-answer'
}

export const pkcs11Errors: ServiceErrors = {
  classify(error) {
    if (!(error instanceof Pkcs11Failure)) return error instanceof Error && error.name === 'WrongServiceAnswer' ? 'wrong-answer' : 'unavailable'
    return isPinRefusal(error) ? 'denied' : outcomes[error.code] ?? 'unavailable'
  },
  report(operation, error) {
    const failure = error instanceof Pkcs11Failure ? error : null
    return {
      cause: failure ?? new Error(`PKCS#11 ${operation}: ${error instanceof Error ? error.name : 'unknown error'}`),
      diagnosis: diagnosis('kms', failure?.call ?? operation, { errorName: nameOf(failure?.code ?? (error instanceof Error ? error.name : null)) })
    }
  }
}
