import { clockSkewSeconds, diagnosis, requestIdOf, systemCodeOf } from '../../diagnosis.ts'
import type { Pool } from '../../http/undici.ts'
import { LoginFailure, type AccessTokens } from './access-token.ts'
import { WrongServiceAnswer, type ServiceErrors, type ServiceFailure } from './errors.ts'
import { answeredObject, objectIn, openPool, shownText, wholeText, type Data, type ServerTrust } from './http.ts'

/** The service refused a request, or could not serve it. */
export class RestRefusal extends Error {
  readonly status: number
  /** Of the request, with its query. */
  readonly path: string
  /** The JSON object of the answer; empty without one. Never logged whole. */
  readonly body: Data
  /** Of `WWW-Authenticate`; empty without one. */
  readonly challenge: string
  readonly date: string | undefined

  /** Its id of the request, where it gives one. */
  readonly requestId: string | null

  constructor(
    status: number,
    path: string,
    body: Data,
    headers: { readonly challenge: string; readonly date: string | undefined; readonly requestId: unknown }
  ) {
    super(`status ${status}`)
    this.name = 'RestRefusal'
    this.status = status
    this.path = path
    this.requestId = requestIdOf(headers.requestId)
    this.body = body
    this.challenge = headers.challenge
    this.date = headers.date
  }
}

/** The answer is damaged, or says that the request was: another try may do. */
export class DamagedAnswer extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'DamagedAnswer'
  }
}

interface RestRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly body?: Data
  readonly signal: AbortSignal
}

interface RestOptions {
  /** Its name in messages. */
  readonly service: string
  readonly address: string
  /** Of the header `Host`; null: that of the address. */
  readonly host: string | null
  readonly trust: ServerTrust
  /** Longest time to make a connection, in milliseconds. */
  readonly connectMs: number
  readonly tokens: AccessTokens
  /** What a 401 asks a new token to have. @throws WrongServiceAnswer when it asks for a token of somebody else. */
  readonly claimsOf?: (challenge: string) => string | null
}

/** JSON requests to a key service with a bearer token, which is sent to the one address only: a redirect is not followed. */
export class RestClient {
  readonly #options: RestOptions
  readonly #pool: Pool

  constructor(options: RestOptions) {
    this.#options = options
    this.#pool = openPool(options.address, options.trust, options.connectMs)
  }

  /**
   * Sends a request once, and once more with a new token where the first is refused.
   * @throws RestRefusal, LoginFailure; WrongServiceAnswer for an answer that is too long or no JSON; an error of undici; the signal's reason.
   */
  async request(request: RestRequest): Promise<Data> {
    const { tokens, claimsOf } = this.#options
    const token = await tokens.token(request.signal)
    try {
      return await this.#send(request, token)
    } catch (error) {
      if (!(error instanceof RestRefusal) || error.status !== 401) throw error
      const other = await tokens.another(token, claimsOf?.(error.challenge) ?? null, request.signal)
      if (other === null) throw error
      return this.#send(request, other)
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }

  async #send({ method, path, body, signal }: RestRequest, token: string): Promise<Data> {
    const { service, host } = this.#options
    const { statusCode, headers, body: stream } = await this.#pool.request({
      method,
      path,
      headers: {
        'authorization': `Bearer ${token}`,
        ...host === null ? {} : { host },
        ...body === undefined ? {} : { 'content-type': 'application/json' }
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal
    })
    const { 'www-authenticate': challenge, 'x-ms-request-id': requestId, date } = headers
    const text = await wholeText(stream, service)
    if (statusCode >= 200 && statusCode < 300) return answeredObject(text, service)
    throw new RestRefusal(statusCode, path, objectIn(text) ?? {}, { challenge: [challenge ?? []].flat().join(', '), date: [date].flat()[0], requestId })
  }
}

/** What a refusal means, in the words of one service. */
export interface RefusalMeaning {
  readonly failure: ServiceFailure
  /** A name of the service or of the gateway; null: none. */
  readonly reason: string | null
  /** Of the service; what could be a key or a token is left out of it. */
  readonly message: string
}

/** @param service its name in messages @param meaningOf a refusal below 500 that is not 401 or 429 */
export function restErrors(service: string, meaningOf: (refusal: RestRefusal) => RefusalMeaning): ServiceErrors {
  return {
    classify(error) {
      if (error instanceof WrongServiceAnswer) return 'wrong-answer'
      if (error instanceof LoginFailure) return error.denied ? 'denied' : 'no-credentials'
      if (!(error instanceof RestRefusal)) return 'unavailable'
      if (error.status === 429) return 'throttled'
      if (error.status === 401) return 'denied'
      return error.status >= 500 || error.status < 400 ? 'unavailable' : meaningOf(error).failure
    },
    report(operation, error) {
      if (error instanceof RestRefusal) {
        const { reason, message } = meaningOf(error)
        return {
          cause: new Error(`${service} ${operation}: status ${error.status}${reason === null ? '' : `; ${reason}`}; ${shownText(message)}`),
          diagnosis: diagnosis('kms', operation, {
            status: error.status,
            errorName: reason,
            remoteRequestId: error.requestId,
            clockSkewSeconds: clockSkewSeconds(error.date, Date.now())
          })
        }
      }
      if (error instanceof LoginFailure) {
        const { status, errorName, system } = error
        return { cause: error, diagnosis: diagnosis('kms', `login for ${operation}`, { status, errorName: errorName ?? 'LoginFailure', system }) }
      }
      const known = error instanceof WrongServiceAnswer || error instanceof DamagedAnswer
      const system = systemCodeOf(error)
      const cause = known ? error : new Error(`${service} ${operation}: ${system ?? (error instanceof Error ? error.name : 'unknown error')}`)
      return { cause, diagnosis: diagnosis('kms', operation, { errorName: cause.name === 'Error' ? null : cause.name, system }) }
    }
  }
}
