import type { Pool } from '../../http/undici.ts'
import type { VaultConfig } from '../../config/key-config.ts'
import { answeredObject, objectIn, openPool, wholeText, type Data } from '../service/http.ts'
import { VaultRefusal } from './vault-errors.ts'
import type { VaultFiles } from './vault-key.ts'

interface VaultRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Path below /v1/, of names that need no encoding. */
  readonly path: string
  /** null: none is sent. */
  readonly token: string | null
  readonly body?: Readonly<Record<string, unknown>>
  /** The request is a login, a renewal or a look-up of the token. */
  readonly atLogin?: boolean
  readonly signal: AbortSignal
}

/**
 * Requests to the servers of one cluster, over undici. A server that does not answer, or that sends the client elsewhere, gives its turn to the
 * next one of the configuration: the caller's next attempt goes there. A token is sent to no other address.
 */
export class VaultClient {
  readonly #namespace: string | null
  readonly #servers: readonly Pool[]
  #turn = 0

  /** @param connectMs longest time to make a connection, in milliseconds */
  constructor({ addresses, namespace, serverName }: Pick<VaultConfig, 'addresses' | 'namespace' | 'serverName'>, files: VaultFiles, connectMs: number) {
    this.#namespace = namespace
    this.#servers = addresses.map((address) => openPool(address, { ...files, serverName }, connectMs))
  }

  /**
   * Sends a request once.
   * @returns the JSON object of the answer; empty for an answer without a body.
   * @throws VaultRefusal, WrongServiceAnswer for an answer that is too long or no JSON; an error of undici; the signal's reason.
   */
  async request(request: VaultRequest): Promise<Data> {
    const turn = this.#turn
    try {
      return await this.#send(request, turn)
    } catch (error) {
      const elsewhere = !(error instanceof VaultRefusal) || error.status >= 470 || error.status < 400
      if (elsewhere && turn === this.#turn) this.#turn = (turn + 1) % this.#servers.length
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.destroy()))
  }

  async #send({ method, path, token, body, atLogin = false, signal }: VaultRequest, turn: number): Promise<Data> {
    const server = this.#servers[turn]
    if (server === undefined) throw new Error('There is no server.')
    const { statusCode, headers, body: stream } = await server.request({
      method,
      path: `/v1/${path}`,
      headers: {
        'x-vault-request': 'true',
        ...token === null ? {} : { 'x-vault-token': token },
        ...this.#namespace === null ? {} : { 'x-vault-namespace': this.#namespace },
        ...body === undefined ? {} : { 'content-type': 'application/json' }
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal
    })
    const date = headers['date']
    const text = await wholeText(stream, 'Vault')
    if (statusCode >= 200 && statusCode < 300) return text === '' ? {} : answeredObject(text, 'Vault')
    throw new VaultRefusal(statusCode, errorsOf(text), { atLogin, date: typeof date === 'string' ? date : undefined })
  }
}

function errorsOf(text: string): string[] {
  const errors = objectIn(text)?.['errors']
  return Array.isArray(errors) ? errors.filter((each) => typeof each === 'string').slice(0, 4) : []
}
