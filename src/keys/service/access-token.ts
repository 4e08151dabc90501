import { nameOf, systemCodeOf } from '../../diagnosis.ts'
import { rejectOnAbort } from '../../concurrency/in-flight.ts'
import type { ServiceMetrics } from './connection.ts'
import { howToInstall, readCredential } from './files.ts'

/** Milliseconds for a login. The request that waits for it may leave earlier; those after it use what has come. */
const LOGIN_MS = 10_000
/** Milliseconds between two logins of one reason: that a token ends soon, or that it was refused. */
const GAP_MS = 10_000
/** A token is replaced when it has fewer milliseconds than this, or than a quarter of its time; it is not used in its last `UNUSABLE_MS`. */
const EARLY_MS = 120_000
const UNUSABLE_MS = 2000
/** Milliseconds after which a file with a token is read again. */
const FILE_MS = 30_000

export interface AccessToken {
  readonly text: string
  /** Milliseconds that it has left. */
  readonly lifetimeMs: number
}

/**
 * Gets a token. @param claims those that the service asked for, as its library takes them; null: none.
 * @throws LoginFailure.
 */
export type TokenSource = (wanted: { readonly claims: string | null; readonly signal: AbortSignal }) => Promise<AccessToken>

/** Names by which @azure/identity says that a token service has refused: some have no status. */
const refusals: readonly string[] = ['AuthenticationError', 'AuthenticationRequiredError']

/** There is no token. Its message is the gateway's own; what a library says can quote a credential, and is left out. */
export class LoginFailure extends Error {
  /** The token service has refused the credential. False: there is none, or nobody answers. */
  readonly denied: boolean
  readonly errorName: string | null
  readonly status: number | null
  readonly system: string | null

  constructor(message: string, { errorName = null, cause }: { readonly errorName?: string | null; readonly cause?: unknown } = {}) {
    const status = statusOf(cause)
    super(`${message}${status === null ? '' : `; status ${status}`}`)
    this.name = 'LoginFailure'
    this.status = status
    this.errorName = errorName ?? nameOf(cause instanceof Error && cause.name !== 'Error' ? cause.name : null)
    this.denied = status === 400 || status === 401 || status === 403 || refusals.includes(this.errorName ?? '')
    this.system = systemCodeOf(cause)
  }
}

/** The status of an answer, as errors of HTTP clients have it. */
function statusOf(error: unknown): number | null {
  const { status, statusCode, response } = (error ?? {}) as { status?: unknown; statusCode?: unknown; response?: { status?: unknown } | null }
  return [status, statusCode, response?.status].find((each): each is number => typeof each === 'number' && each >= 100 && each < 600) ?? null
}

/** A token that others keep in a file. */
export function tokenInFile(file: string): TokenSource {
  return async () => {
    const text = await readCredential(file).catch((error: unknown) => {
      throw new LoginFailure((error as Error).message, { cause: error })
    })
    return { text: checkedToken(text), lifetimeMs: FILE_MS }
  }
}

/** @throws LoginFailure for a text that cannot be sent as a token. */
export function checkedToken(text: unknown): string {
  if (typeof text === 'string' && /^[\x21-\x7e]{1,16384}$/.test(text)) return text
  throw new LoginFailure('What should be a token is none.')
}

/**
 * Loads an optional dependency. @throws LoginFailure PackageMissing; then the gateway does without it and says so.
 * @param name not a literal of an import, so that neither types nor tests need the package
 */
export async function optionalPackage<T>(name: string): Promise<T> {
  try {
    return await import(name) as T
  } catch (error) {
    throw new LoginFailure(`The optional package ${name} cannot be loaded: ${howToInstall(name)}`, {
      errorName: 'PackageMissing',
      cause: error
    })
  }
}

interface Held {
  readonly text: string
  /** Milliseconds as performance.now gives them. */
  readonly expires: number
  /** From then on it is replaced. */
  readonly early: number
}

/** The gateway's token for one service. One login at a time serves all who wait, and a token is replaced before it ends. */
export class AccessTokens {
  readonly #source: TokenSource
  readonly #metrics: ServiceMetrics | undefined
  #held: Held | null = null
  #pending: Promise<Held> | null = null
  readonly #loginAt = { early: -Infinity, refused: -Infinity }

  constructor(source: TokenSource, metrics: ServiceMetrics | undefined) {
    this.#source = source
    this.#metrics = metrics
  }

  /** @throws LoginFailure; signal.reason. */
  async token(signal: AbortSignal): Promise<string> {
    const now = performance.now()
    if (this.#held === null || this.#held.expires <= now) return (await rejectOnAbort(signal, this.#login(null))).text
    // A token service that is away is not noticed before the token ends.
    if (this.#held.early <= now && this.#mayLogin('early')) this.#login(null).catch(() => undefined)
    return this.#held.text
  }

  /**
   * After a refusal of `token`: another one.
   * @param claims that the service asked for.
   * @returns null when there is none: the refusal stands.
   */
  async another(token: string, claims: string | null, signal: AbortSignal): Promise<string | null> {
    if (this.#held !== null && this.#held.text !== token) return this.#held.text
    if (this.#pending === null && !this.#mayLogin('refused')) return null
    const { text } = await rejectOnAbort(signal, this.#login(claims))
    return text === token ? null : text
  }

  #mayLogin(reason: 'early' | 'refused'): boolean {
    const now = performance.now()
    if (now - this.#loginAt[reason] < GAP_MS) return false
    this.#loginAt[reason] = now
    return true
  }

  #login(claims: string | null): Promise<Held> {
    this.#pending ??= this.#counted(claims).finally(() => {
      this.#pending = null
    })
    return this.#pending
  }

  async #counted(claims: string | null): Promise<Held> {
    const startedAt = performance.now()
    const count = (outcome: 'ok' | 'denied' | 'no-credentials'): void => {
      this.#metrics?.call('Authenticate', outcome, (performance.now() - startedAt) / 1000)
    }
    const signal = AbortSignal.timeout(LOGIN_MS)
    try {
      const { text, lifetimeMs } = await rejectOnAbort(signal, this.#source({ claims, signal }))
      const expires = performance.now() + lifetimeMs - UNUSABLE_MS
      this.#held = { text, expires, early: expires - Math.min(EARLY_MS, lifetimeMs / 4) }
      count('ok')
      return this.#held
    } catch (error) {
      const failure = error instanceof LoginFailure ? error : new LoginFailure('The login did not end in time.', { cause: error })
      count(failure.denied ? 'denied' : 'no-credentials')
      throw failure
    }
  }
}
