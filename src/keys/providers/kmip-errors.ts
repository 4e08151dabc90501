import { diagnosis, systemCodeOf } from '../../diagnosis.ts'
import { WrongServiceAnswer, type ServiceErrors, type ServiceFailure } from '../service/errors.ts'
import { shownText } from '../service/http.ts'

/** The server refused an operation. */
export class KmipRefusal extends Error {
  /** Name of the result reason; `ResultReason-N` of one that is not told apart. */
  readonly reason: string
  /** The operation was Decrypt. */
  readonly opening: boolean
  /** Lifecycle state of the key, where it was asked for after the refusal. */
  readonly state: number | null

  constructor(reason: number, message: string, { opening, state = null }: { readonly opening: boolean; readonly state?: number | null }) {
    super(shownText(message))
    this.name = 'KmipRefusal'
    this.reason = reasons[reason] ?? `ResultReason-${reason}`
    this.opening = opening
    this.state = state
  }

  /** Whether the state of the key may be the reason. */
  get mayBeState(): boolean {
    return ['PermissionDenied', 'IllegalOperation', 'WrongKeyLifecycleState', 'InvalidField', 'GeneralFailure'].includes(this.reason)
  }
}

/** Result reasons (KMIP 1.4, 9.1.3.2.28, and KMIP 2.1 for those above 0x100 and below). */
const reasons: Readonly<Record<number, string>> = {
  0x1: 'ItemNotFound',
  0x3: 'AuthenticationNotSuccessful',
  0x5: 'OperationNotSupported',
  0x7: 'InvalidField',
  0x8: 'FeatureNotSupported',
  0xa: 'CryptographicFailure',
  0xb: 'IllegalOperation',
  0xc: 'PermissionDenied',
  0xd: 'ObjectArchived',
  0x2a: 'InternalServerError',
  0x36: 'ObjectDestroyed',
  0x37: 'ObjectNotFound',
  0x39: 'NotAuthorised',
  0x3a: 'ServerLimitExceeded',
  0x43: 'WrongKeyLifecycleState',
  0x44: 'ProtectionStorageUnavailable',
  0x100: 'GeneralFailure'
}

const byReason: Readonly<Record<string, ServiceFailure>> = {
  ItemNotFound: 'gone',
  ObjectNotFound: 'gone',
  ObjectDestroyed: 'invalid-state',
  ObjectArchived: 'invalid-state',
  WrongKeyLifecycleState: 'invalid-state',
  AuthenticationNotSuccessful: 'denied',
  NotAuthorised: 'denied',
  PermissionDenied: 'denied',
  IllegalOperation: 'denied',
  ServerLimitExceeded: 'throttled',
  InternalServerError: 'unavailable',
  ProtectionStorageUnavailable: 'unavailable',
  GeneralFailure: 'unavailable'
}

/** What servers say of a tag that does not fit. PyKMIP has no word for it but the last. */
const refusedTag: readonly string[] = ['CryptographicFailure', 'InvalidField', 'GeneralFailure']

/** Lifecycle states (KMIP 1.4, 3.22): pre-active 1, active 2, deactivated 3, compromised 4, destroyed 5 and 6. */
const byState: Readonly<Record<number, ServiceFailure>> = { 1: 'disabled', 3: 'disabled', 4: 'invalid-state', 5: 'invalid-state', 6: 'invalid-state' }

export const kmipErrors: ServiceErrors = {
  classify(error) {
    if (error instanceof WrongServiceAnswer) return 'wrong-answer'
    if (!(error instanceof KmipRefusal)) return 'unavailable'
    const ofState = error.state === null ? undefined : byState[error.state]
    if (ofState !== undefined) return ofState
    if (error.opening && refusedTag.includes(error.reason)) return 'wrong-context'
    return byReason[error.reason] ?? 'rejected'
  },
  report(operation, error) {
    if (error instanceof KmipRefusal) {
      const cause = new Error(`KMIP ${operation}: ${error.reason}${error.state === null ? '' : `; state ${error.state}`}; ${error.message}`)
      return { cause, diagnosis: diagnosis('kms', operation, { errorName: error.reason }) }
    }
    const system = systemCodeOf(error)
    const cause = error instanceof WrongServiceAnswer
      ? error
      : new Error(`KMIP ${operation}: ${system ?? (error instanceof Error ? error.name : 'unknown error')}`)
    return { cause, diagnosis: diagnosis('kms', operation, { errorName: cause.name === 'Error' ? null : cause.name, system }) }
  }
}
