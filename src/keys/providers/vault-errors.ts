import { clockSkewSeconds, diagnosis, systemCodeOf } from '../../diagnosis.ts'
import { WrongServiceAnswer, type ServiceErrors, type ServiceFailure } from '../service/errors.ts'
import { shownText } from '../service/http.ts'

/** The server refused a request, or could not serve it. */
export class VaultRefusal extends Error {
  readonly status: number
  /** What is known of the reason, by its name here. */
  readonly reason: string
  /** The refusal is that of a login, a renewal or a look-up of the token. */
  readonly atLogin: boolean
  readonly date: string | undefined

  /** @param texts of `errors` in the answer. They are matched, and never kept whole: see `shownText`. */
  constructor(status: number, texts: readonly string[], { atLogin = false, date }: { readonly atLogin?: boolean; readonly date?: string | undefined }) {
    super(shownText(texts.join('; ')))
    this.name = 'VaultRefusal'
    this.status = status
    this.reason = reasons.find(([, pattern]) => pattern.test(texts.join('\n')))?.[0] ?? byStatus[status] ?? 'Other'
    this.atLogin = atLogin
    this.date = date
  }
}

/** There is nothing to log in with: a file could not be read. Nothing was sent. */
export class NoVaultCredentials extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'NoVaultCredentials'
  }
}

/** As OpenBao 2.7.2 was seen to word them. HashiCorp Vault has the same words, from before the two parted. */
const reasons: readonly (readonly [reason: string, pattern: RegExp])[] = [
  ['VersionTooOld', /version is disallowed by policy \(too old\)/],
  ['VersionTooNew', /version is too new/],
  ['SoftDeleted', /soft-deleted key/],
  ['KeyNotFound', /encryption key not found/],
  ['CiphertextRefused', /message authentication failed|^invalid ciphertext|unable to decrypt/m],
  ['PermissionDenied', /permission denied/],
  ['Sealed', /is sealed/],
  ['RateLimited', /quota exceeded/]
]

/** OpenBao and Vault API, "HTTP status codes" and /sys/health. */
const byStatus: Readonly<Record<number, string>> = {
  307: 'Standby',
  308: 'Standby',
  404: 'NotFound',
  412: 'NotYetReplicated',
  429: 'TooManyRequests',
  472: 'DisasterRecoverySecondary',
  473: 'PerformanceStandby',
  503: 'Unavailable'
}

const byReason: Readonly<Record<string, ServiceFailure>> = {
  VersionTooOld: 'disabled',
  // The store may name any version; also that of a key which was restored from a backup before its last rotation.
  VersionTooNew: 'gone',
  SoftDeleted: 'invalid-state',
  KeyNotFound: 'gone',
  CiphertextRefused: 'wrong-context',
  NotFound: 'gone',
  PermissionDenied: 'denied',
  RateLimited: 'throttled',
  TooManyRequests: 'throttled'
}

export const vaultErrors: ServiceErrors = {
  classify(error) {
    if (error instanceof WrongServiceAnswer) return 'wrong-answer'
    if (error instanceof NoVaultCredentials) return 'no-credentials'
    if (!(error instanceof VaultRefusal)) return 'unavailable'
    const { status, reason, atLogin } = error
    if (status === 429) return 'throttled'
    // A login is refused with 400 as well as with 403.
    if (atLogin && status >= 400 && status < 429) return 'denied'
    if (status >= 500 || status === 472 || status === 473 || status === 412 || status < 400) return 'unavailable'
    return byReason[reason] ?? (status === 401 || status === 403 ? 'denied' : 'rejected')
  },
  report(operation, error) {
    if (error instanceof VaultRefusal) {
      const { status, reason, message, atLogin, date } = error
      return {
        cause: new Error(`Vault ${operation}: status ${status}; ${reason}${message === '' ? '' : `; ${message}`}`),
        diagnosis: diagnosis('kms', atLogin ? `login for ${operation}` : operation, {
          status,
          errorName: reason === 'Other' ? null : reason,
          clockSkewSeconds: clockSkewSeconds(date, Date.now())
        })
      }
    }
    const known = error instanceof WrongServiceAnswer || error instanceof NoVaultCredentials
    const system = systemCodeOf(error)
    const cause = known ? error : new Error(`Vault ${operation}: ${system ?? (error instanceof Error ? error.name : 'unknown error')}`)
    return { cause, diagnosis: diagnosis('kms', operation, { errorName: cause.name === 'Error' ? null : cause.name, system }) }
  }
}
