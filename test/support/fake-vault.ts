import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** One request that the server took. */
export interface VaultCall {
  readonly method: string
  /** Below /v1/. */
  readonly path: string
  readonly token: string | null
  readonly namespace: string | null
  readonly body: Readonly<Record<string, unknown>>
}

/** What the server does with a request instead of answering it. Return false to answer as usual. */
export type VaultMisbehaviour = (call: VaultCall, response: ServerResponse) => boolean

interface TransitKey {
  readonly derived: boolean
  readonly type: string
  readonly versions: KeyObject[]
  readonly flags: Record<string, boolean>
  minDecryption: number
  softDeleted: boolean
}

interface TokenState {
  expires: number
  ttl: number
  readonly renewable: boolean
}

class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/**
 * A Vault with a Transit engine and logins, as OpenBao 2.7.2 was seen to answer: statuses, texts, and that a key which is not derived ignores the
 * context.
 */
export class FakeVault {
  readonly calls: VaultCall[] = []
  readonly keys = new Map<string, TransitKey>()
  readonly tokens = new Map<string, TokenState>()
  /** Credentials that a login is given a token for: secret ids, JWTs; `cert`: any client certificate. */
  readonly credentials = new Set<string>()
  misbehave: VaultMisbehaviour | null = null
  sealed = false
  /** Seconds of the tokens that logins make. */
  ttl = 3600
  #waiting: { readonly path: RegExp; readonly resolve: (call: VaultCall) => void }[] = []
  readonly #server: Server
  readonly #secure: boolean

  private constructor(tls: { readonly key: string; readonly cert: string; readonly ca: string } | null) {
    const take = (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const sent = Buffer.concat(chunks).toString()
        const header = (name: string) => request.headers[name] === undefined ? null : String(request.headers[name])
        const certified = tls !== null && Object.keys((request.socket as TLSSocket).getPeerCertificate()).length > 0
        this.#answer(
          {
            method: request.method ?? '',
            path: (request.url ?? '').replace('/v1/', ''),
            token: header('x-vault-token'),
            namespace: header('x-vault-namespace'),
            body: sent === '' ? {} : JSON.parse(sent) as Record<string, unknown>
          },
          certified,
          response
        )
      })
    }
    this.#secure = tls !== null
    this.#server = tls === null ? createServer(take) : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: false }, take)
  }

  static async start(
    test: { teardown(work: () => Promise<void>): void },
    tls: { readonly key: string; readonly cert: string; readonly ca: string } | null = null
  ): Promise<FakeVault> {
    const vault = new FakeVault(tls)
    await new Promise<void>((resolve) => vault.#server.listen(0, '127.0.0.1', resolve))
    test.teardown(async () => {
      vault.#server.closeAllConnections()
      await new Promise((resolve) => vault.#server.close(resolve))
    })
    return vault
  }

  get address(): string {
    return `${this.#secure ? 'https' : 'http'}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Adds a key to the engine at `transit`. */
  addKey(name: string, { derived = true, type = 'aes256-gcm96', ...flags }: { derived?: boolean; type?: string; [flag: string]: boolean | string } = {}): void {
    this.keys.set(name, {
      derived,
      type,
      versions: [createSecretKey(randomBytes(32))],
      flags: flags as Record<string, boolean>,
      minDecryption: 1,
      softDeleted: false
    })
  }

  rotate(name: string): void {
    this.keys.get(name)!.versions.push(createSecretKey(randomBytes(32)))
  }

  /** @param ttl seconds; 0: it never expires */
  addToken(ttl: number, renewable = true): string {
    const text = `s.${randomBytes(18).toString('base64url')}`
    this.tokens.set(text, { expires: ttl === 0 ? Infinity : Date.now() + ttl * 1000, ttl, renewable })
    return text
  }

  /** The next request for a path. */
  next(path: RegExp): Promise<VaultCall> {
    return new Promise((resolve) => {
      this.#waiting.push({ path, resolve })
    })
  }

  count(path: RegExp): number {
    return this.calls.filter((call) => path.test(call.path)).length
  }

  #answer(call: VaultCall, certified: boolean, response: ServerResponse): void {
    this.calls.push(call)
    response.once('finish', () => {
      const met = this.#waiting.filter(({ path }) => path.test(call.path))
      this.#waiting = this.#waiting.filter((each) => !met.includes(each))
      for (const { resolve } of met) resolve(call)
    })
    if (this.misbehave?.(call, response) === true) return
    try {
      if (this.sealed) throw new Refusal(503, 'Vault is sealed')
      respond(response, 200, { request_id: 'x', warnings: null, ...this.#perform(call, certified) })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      respond(response, error.status, { errors: error.status === 404 ? [] : [error.message] })
    }
  }

  #perform({ method, path, token, body }: VaultCall, certified: boolean): Record<string, unknown> {
    const login = /^auth\/(.+)\/login$/.exec(path)
    if (login !== null) return this.#login(body, certified)
    const state = token === null ? undefined : this.tokens.get(token)
    if (token === null || state === undefined || state.expires <= Date.now()) throw new Refusal(403, 'permission denied')
    if (path === 'auth/token/lookup-self') {
      return { data: { ttl: state.ttl === 0 ? 0 : Math.round((state.expires - Date.now()) / 1000), renewable: state.renewable } }
    }
    if (path === 'auth/token/renew-self') {
      if (!state.renewable) throw new Refusal(400, 'lease is not renewable')
      state.expires = Date.now() + state.ttl * 1000
      return { auth: { client_token: token, lease_duration: state.ttl, renewable: true } }
    }
    if (path === 'auth/token/revoke-self') {
      this.tokens.delete(token)
      return {}
    }
    return { data: this.#transit(method, path, body) }
  }

  #login(body: VaultCall['body'], certified: boolean): Record<string, unknown> {
    const given = text(body, 'secret_id') || text(body, 'jwt') || (certified ? 'cert' : 'none')
    if (!this.credentials.has(given)) throw new Refusal(400, 'invalid role or secret ID')
    return { auth: { client_token: this.addToken(this.ttl), lease_duration: this.ttl, renewable: true } }
  }

  #transit(method: string, path: string, body: VaultCall['body']): Record<string, unknown> {
    const change = /^transit\/keys\/([^/]+)(\/config)?$/.exec(path)
    if (change !== null && method !== 'GET') return this.#change(change[1] ?? '', change[2] !== undefined, body)
    const [, action, name = ''] = /^transit\/(keys|datakey\/plaintext|encrypt|decrypt|rewrap)\/([^/]+)$/.exec(path) ?? []
    if (action === undefined) throw new Refusal(404, 'no handler for route')
    const key = this.keys.get(name)
    if (action === 'keys' && method === 'GET') return this.#describe(name, key)
    if (key === undefined) throw new Refusal(400, 'encryption key not found')
    if (key.softDeleted) throw new Refusal(400, 'refusing to use soft-deleted key')
    const context = text(body, 'context')
    if (key.derived && context === '') throw new Refusal(400, 'missing \'context\' for key derivation')
    if (action === 'datakey/plaintext') {
      const plaintext = randomBytes(32)
      return { plaintext: plaintext.toString('base64'), ...seal(key, plaintext, context) }
    }
    if (action === 'encrypt') return seal(key, Buffer.from(text(body, 'plaintext'), 'base64'), context)
    const plaintext = open(key, text(body, 'ciphertext'), context)
    return action === 'decrypt' ? { plaintext: plaintext.toString('base64') } : seal(key, plaintext, context)
  }

  #change(name: string, settings: boolean, body: VaultCall['body']): Record<string, unknown> {
    const key = this.keys.get(name)
    if (key === undefined) throw new Refusal(400, `no existing key named ${name} could be found`)
    if (settings) Object.assign(key.flags, body)
    else if (key.flags['deletion_allowed'] === true) this.keys.delete(name)
    else throw new Refusal(400, `error deleting policy ${name}: deletion is not allowed for this key`)
    return {}
  }

  #describe(name: string, key: TransitKey | undefined): Record<string, unknown> {
    if (key === undefined) throw new Refusal(404, '')
    const { derived, type, versions, minDecryption, softDeleted, flags } = key
    const shown = versions.map((_, i) => [String(i + 1), 1_795_957_822 + i] as const).filter(([id]) => Number(id) >= minDecryption)
    return {
      name,
      type,
      derived,
      exportable: false,
      deletion_allowed: false,
      allow_plaintext_backup: false,
      latest_version: versions.length,
      min_decryption_version: minDecryption,
      min_encryption_version: 0,
      soft_deleted: softDeleted,
      keys: Object.fromEntries(shown),
      ...flags
    }
  }
}

function text(body: VaultCall['body'], name: string): string {
  const value = body[name]
  return typeof value === 'string' ? value : ''
}

function respond(response: ServerResponse, status: number, body: unknown): void {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length }).end(bytes)
}

/** Answers with an error as Vault words it. */
export function refuseVault(response: ServerResponse, status: number, message: string): void {
  respond(response, status, { errors: [message] })
}

export function answerVault(response: ServerResponse, body: unknown): void {
  respond(response, 200, body)
}

/** A key that is not derived ignores the context. */
function usedKey(key: TransitKey, version: number, context: string): Buffer {
  const secret = key.versions[version - 1]!.export()
  return key.derived ? Buffer.from(hkdfSync('sha256', secret, '', Buffer.from(context, 'base64'), 32)) : createHmac('sha256', secret).digest()
}

function seal(key: TransitKey, plaintext: Buffer, context: string): { ciphertext: string; key_version: number } {
  const version = key.versions.length
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', usedKey(key, version, context), nonce, { authTagLength: 16 })
  const bytes = Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  return { ciphertext: `vault:v${version}:${bytes.toString('base64')}`, key_version: version }
}

function open(key: TransitKey, ciphertext: string, context: string): Buffer {
  const [, digits, text = ''] = /^vault:v(\d+):(.*)$/.exec(ciphertext) ?? []
  if (digits === undefined) throw new Refusal(400, 'invalid ciphertext: no prefix')
  const version = Number(digits)
  if (version > key.versions.length) throw new Refusal(400, 'invalid ciphertext: version is too new')
  if (version < key.minDecryption) throw new Refusal(400, 'ciphertext or signature version is disallowed by policy (too old)')
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length < 28) throw new Refusal(400, 'invalid ciphertext length')
  const decipher = createDecipheriv('aes-256-gcm', usedKey(key, version, context), bytes.subarray(0, 12), { authTagLength: 16 })
  decipher.setAuthTag(bytes.subarray(-16))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
  } catch {
    throw new Refusal(400, 'cipher: message authentication failed')
  }
}
