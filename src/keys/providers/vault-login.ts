import type { VaultAuth } from '../../config/key-config.ts'
import { rejectOnAbort } from '../../concurrency/in-flight.ts'
import type { ServiceMetrics } from '../service/connection.ts'
import { WrongServiceAnswer } from '../service/errors.ts'
import { readCredential } from '../service/files.ts'
import { isRecord, type Data } from '../service/http.ts'
import type { VaultClient } from './vault-client.ts'
import { NoVaultCredentials, VaultRefusal, vaultErrors } from './vault-errors.ts'

/** Milliseconds between two logins because of a refusal: one whose reason is a policy would otherwise make a token with every request. */
const FORCED_LOGIN_MS = 10_000
/** Milliseconds before a failed renewal is tried again, where the token lives long enough. */
const RENEWAL_RETRY_MS = 30_000
/** A token is renewed, or replaced, when this part of its time has passed. */
const RENEW_AFTER = 2 / 3
/** Longest time of a timer of Node, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1

interface Token {
  readonly text: string
  /** Milliseconds as performance.now gives them; Infinity: it does not expire, or when is not known. */
  readonly expires: number
  /** Milliseconds that it was given when it was made or renewed. */
  readonly ttl: number
  readonly renewable: boolean
}

interface VaultLoginOptions {
  /** Milliseconds for one login. */
  readonly loginMs: number
  readonly metrics: ServiceMetrics | undefined
  /** Milliseconds; only differences count. */
  readonly now?: () => number
}

/**
 * The token of the gateway: made by the configured method at its first use, renewed after two thirds of its time, and replaced by a new login where
 * it cannot be renewed any more. One login at a time serves all who wait.
 */
export class VaultLogin {
  readonly #client: VaultClient
  readonly #auth: VaultAuth
  readonly #options: VaultLoginOptions
  readonly #now: () => number
  #token: Token | null = null
  #pending: Promise<Token> | null = null
  #timer: NodeJS.Timeout | undefined
  #forcedAt = -Infinity
  #closed = false

  constructor(client: VaultClient, auth: VaultAuth, options: VaultLoginOptions) {
    this.#client = client
    this.#auth = auth
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** A token that has not expired; null where an agent adds it. @throws VaultRefusal, NoVaultCredentials; errors of the client; signal.reason. */
  async token(signal: AbortSignal): Promise<string | null> {
    if (this.#auth.method === 'agent') return null
    if (this.#token !== null && this.#token.expires > this.#now()) return this.#token.text
    const { text } = await rejectOnAbort(signal, this.#login())
    return text
  }

  /**
   * After a refusal of `token`: another one, where a login can give one.
   * @returns null when there is none: the refusal stands.
   */
  async another(token: string | null, signal: AbortSignal): Promise<string | null> {
    if (token === null) return null
    // Another request has replaced it already.
    if (this.#token !== null && this.#token.text !== token) return this.token(signal)
    if (this.#pending === null) {
      if (this.#now() - this.#forcedAt < FORCED_LOGIN_MS) return null
      this.#forcedAt = this.#now()
    }
    const { text } = await rejectOnAbort(signal, this.#login())
    return text === token ? null : text
  }

  /** Forgets the token, and revokes it at the server if a login made it: tokens of processes that have ended would fill the server. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    // One that is under way makes a token, too.
    const token = await this.#pending?.catch(() => null) ?? this.#token
    this.#token = null
    if (token === null || this.#auth.method === 'token') return
    const signal = AbortSignal.timeout(this.#options.loginMs)
    // Best effort: it ends by itself when its time is over.
    await this.#client.request({ method: 'POST', path: 'auth/token/revoke-self', token: token.text, atLogin: true, signal }).catch(() => undefined)
  }

  #login(): Promise<Token> {
    this.#pending ??= this.#counted(async (signal) => this.#made(signal)).finally(() => {
      this.#pending = null
    })
    return this.#pending
  }

  async #counted(work: (signal: AbortSignal) => Promise<Token>): Promise<Token> {
    const startedAt = performance.now()
    const count = (outcome: Parameters<ServiceMetrics['call']>[1]): void => {
      this.#options.metrics?.call('Authenticate', outcome, (performance.now() - startedAt) / 1000)
    }
    try {
      const token = await work(AbortSignal.timeout(this.#options.loginMs))
      count('ok')
      this.#keep(token)
      return token
    } catch (error) {
      count(vaultErrors.classify(error))
      throw error
    }
  }

  #keep(token: Token): void {
    clearTimeout(this.#timer)
    if (this.#closed) return
    this.#token = token
    this.#renewIn(token, token.ttl * RENEW_AFTER)
  }

  #renewIn(token: Token, ms: number): void {
    if (token.expires === Infinity) return
    this.#timer = setTimeout(() => {
      void this.#renew(token)
    }, Math.min(ms, MAX_TIMER_MS)).unref()
  }

  /** Renewal first: a login costs more at the server. What fails is tried again while the token lives; after that the next request logs in. */
  async #renew(token: Token): Promise<void> {
    try {
      const renewed = token.renewable ? await this.#counted((signal) => this.#renewed(token, signal)).catch(refusedOnly) : null
      // Near the end of the longest time of a token its renewals become shorter: then a new one is needed.
      if ((renewed === null || renewed.ttl < token.ttl / 2) && this.#auth.method !== 'token') await this.#login()
    } catch {
      const left = token.expires - this.#now()
      if (!this.#closed && this.#token === token && left > 1000) this.#renewIn(token, Math.min(RENEWAL_RETRY_MS, left / 3))
    }
  }

  async #renewed(token: Token, signal: AbortSignal): Promise<Token> {
    return tokenOf(
      await this.#client.request({ method: 'POST', path: 'auth/token/renew-self', token: token.text, body: {}, atLogin: true, signal }),
      this.#now()
    )
  }

  async #made(signal: AbortSignal): Promise<Token> {
    const auth = this.#auth
    if (auth.method === 'agent') throw new NoVaultCredentials('An agent adds the token.', null)
    if (auth.method === 'token') return this.#looked(auth.token ?? await contentOf(auth.tokenFile ?? ''), signal)
    const body = await loginBody(auth)
    const path = `auth/${auth.mount}/login`
    return tokenOf(await this.#client.request({ method: 'POST', path, token: null, body, atLogin: true, signal }), this.#now())
  }

  /** How long a given token lives. A policy may not allow the question: then it is used until it is refused. */
  async #looked(text: string, signal: AbortSignal): Promise<Token> {
    const now = this.#now()
    const unknown: Token = { text, expires: Infinity, ttl: Infinity, renewable: false }
    const answer = await this.#client.request({ method: 'GET', path: 'auth/token/lookup-self', token: text, atLogin: true, signal }).catch(refusedOnly)
    const data = answer?.['data']
    if (!isRecord(data) || typeof data['ttl'] !== 'number' || data['ttl'] <= 0) return unknown
    return { text, expires: now + data['ttl'] * 1000, ttl: data['ttl'] * 1000, renewable: data['renewable'] === true }
  }
}

/** null for a refusal. @throws any other error. */
function refusedOnly(error: unknown): null {
  if (error instanceof VaultRefusal && vaultErrors.classify(error) === 'denied') return null
  throw error
}

async function loginBody(auth: Exclude<VaultAuth, { method: 'token' | 'agent' }>): Promise<Record<string, string>> {
  switch (auth.method) {
    case 'approle': {
      const secretId = auth.secretIdFile === null ? auth.secretId : await contentOf(auth.secretIdFile)
      return { role_id: auth.roleId, ...secretId === null ? {} : { secret_id: secretId } }
    }
    case 'kubernetes':
    case 'jwt':
      return { role: auth.role, jwt: await contentOf(auth.jwtFile) }
    case 'cert':
      return auth.role === null ? {} : { name: auth.role }
  }
}

async function contentOf(file: string): Promise<string> {
  return readCredential(file).catch((error: unknown) => {
    throw new NoVaultCredentials((error as Error).message, error)
  })
}

/** The token of an answer to a login or a renewal (Vault API, "auth" of an answer): seconds, 0 for ever. */
function tokenOf({ auth }: Data, now: number): Token {
  if (!isRecord(auth)) throw new WrongServiceAnswer('Vault answered a login without a token.')
  const { client_token: text, lease_duration: seconds, renewable } = auth
  if (typeof text !== 'string' || !/^[\x21-\x7e]{1,8192}$/.test(text) || typeof seconds !== 'number' || !(seconds >= 0)) {
    throw new WrongServiceAnswer('Vault answered a login without a token.')
  }
  const ttl = seconds === 0 ? Infinity : seconds * 1000
  return { text, expires: now + ttl, ttl, renewable: renewable === true }
}
