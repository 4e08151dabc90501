import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  generateKeyPairSync,
  privateDecrypt,
  privateEncrypt,
  randomBytes,
  type KeyObject
} from 'node:crypto'
import { FakeService, Refusal, type ServiceRequest } from './fake-service.ts'

const HOST = 'test-vault.vault.azure.net'
const KEYWRAP_IV = Buffer.alloc(8, 0xa6)
/** Key wrap has no tag: this option is only asked for everywhere. */
const NO_TAG: object = { authTagLength: 16 }

interface Version {
  readonly id: string
  /** null: `secret` is a symmetric key. */
  readonly pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } | null
  readonly secret: Buffer
  readonly attributes: { enabled: boolean; created: number; nbf?: number; exp?: number }
  operations: string[]
}

interface VaultKey {
  readonly versions: Version[]
  deleted: boolean
}

/** RSA keys are made once in a process: they cost more than all else here. */
const pairs: NonNullable<Version['pair']>[] = []

/**
 * Azure Key Vault after its REST reference: `sign`, `wrapkey`, `unwrapkey`, a key, its versions, states and the challenge of a 401. A disabled RSA key
 * still wraps there, which needs its public half only. Beside it the endpoints that give tokens to identities.
 */
export class FakeKeyVault extends FakeService {
  readonly keys = new Map<string, VaultKey>()
  readonly tokens = new Set<string>()
  tokenSeconds = 3600
  mayList = true
  mayDelete = true
  /** Of the challenge of a 401. */
  resource = 'https://vault.azure.net'
  claims: string | null = null
  /** Secrets and assertions of applications that the token service takes. */
  readonly credentials = new Set<string>()
  readonly vault = `https://${HOST}`

  static async start(
    test: { teardown(work: () => Promise<void>): void },
    tls: { readonly key: string; readonly cert: string } | null = null
  ): Promise<FakeKeyVault> {
    return new FakeKeyVault(tls).listen(test)
  }

  addKey(name: string, symmetric = false): void {
    this.keys.set(name, { versions: [], deleted: false })
    this.rotate(name, symmetric)
  }

  rotate(name: string, symmetric = false): Version {
    const { versions } = this.keys.get(name)!
    const used = [...this.keys.values()].flatMap((key) => key.versions).filter(({ pair }) => pair !== null).length
    if (!symmetric) pairs[used] ??= generateKeyPairSync('rsa', { modulusLength: 2048 })
    const version: Version = {
      id: randomBytes(16).toString('hex'),
      pair: symmetric ? null : pairs[used]!,
      secret: randomBytes(32),
      attributes: { enabled: true, created: 1_700_000_000 + versions.length },
      operations: symmetric ? ['wrapKey', 'unwrapKey'] : ['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey']
    }
    versions.push(version)
    return version
  }

  addToken(): string {
    const text = `eyJ0eXAi.${randomBytes(24).toString('base64url')}.sig`
    this.tokens.add(text)
    return text
  }

  protected perform(request: ServiceRequest): unknown {
    const { method, path, headers } = request
    if (path === '/msi/token') return this.#managedIdentity(request)
    if (path.includes('/oauth2/') || path.includes('/.well-known/')) return this.#authority(request)
    if (headers.host !== HOST) throw failure(404, 'NotFound', 'No such vault.')
    if (!this.tokens.has(/^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? '')) throw this.#challenge()
    const [, name = '', rest = ''] = /^\/keys\/([^/]+)\/?(.*)$/.exec(path) ?? []
    const key = this.keys.get(name)
    if (key === undefined) throw failure(404, 'KeyNotFound', `A key with (name/id) ${name} was not found in this key vault.`)
    if (key.deleted) throw failure(409, 'Conflict', `Key ${name} is currently in a deleted but recoverable state.`, 'ObjectIsDeletedButRecoverable')
    if (method === 'DELETE') return this.#delete(name, key)
    if (rest === 'versions') return this.#list(request, name, key)
    const [id = '', verb = ''] = rest.split('/')
    const version = id === '' ? key.versions.at(-1) : key.versions.find((each) => each.id === id)
    if (version === undefined) throw failure(404, 'KeyNotFound', `A key with (name/id) ${name}/${id} was not found in this key vault.`)
    const kid = `${this.vault}/keys/${name}/${version.id}`
    if (method === 'GET' && verb === '') return { key: { kid, ...jwk(version), key_ops: version.operations }, attributes: version.attributes }
    return { kid, value: operate(verb, version, request.body).toString('base64url') }
  }

  #delete(name: string, key: VaultKey): unknown {
    if (!this.mayDelete) throw failure(403, 'Forbidden', `Caller is not authorized to perform action 'Microsoft.KeyVault/vaults/keys/delete' on ${name}.`)
    key.deleted = true
    const now = Math.floor(Date.now() / 1000)
    return { recoveryId: `${this.vault}/deletedkeys/${name}`, deletedDate: now, scheduledPurgeDate: now + 90 * 86_400 }
  }

  #challenge(): Refusal {
    const claims = this.claims === null ? '' : `, error="insufficient_claims", claims="${Buffer.from(this.claims).toString('base64')}"`
    return failure(401, 'Unauthorized', 'AKV10000: Request is missing a Bearer or PoP token.', undefined, {
      'www-authenticate': `Bearer authorization="https://login.microsoftonline.com/tenant", resource="${this.resource}"${claims}`
    })
  }

  #list({ query }: ServiceRequest, name: string, { versions }: VaultKey): unknown {
    if (!this.mayList) throw failure(403, 'Forbidden', 'Caller is not authorized to perform action on resource.', 'ForbiddenByRbac')
    const start = Number(query.get('$skiptoken') ?? 0)
    const value = versions.slice(start, start + 2).map(({ id, attributes }) => ({ kid: `${this.vault}/keys/${name}/${id}`, attributes }))
    const next = `${this.vault}/keys/${name}/versions?api-version=7.4&$skiptoken=${start + 2}`
    return { value, nextLink: start + 2 < versions.length ? next : null }
  }

  /** As App Service has it, for a managed identity. */
  #managedIdentity({ headers, query }: ServiceRequest): unknown {
    if (headers['x-identity-header'] !== 'identity-header') throw new Refusal(401, { statusCode: 401, message: 'wrong header' })
    const expires = Math.floor(Date.now() / 1000) + this.tokenSeconds
    return { access_token: this.addToken(), expires_on: String(expires), resource: query.get('resource'), token_type: 'Bearer', client_id: 'client' }
  }

  #authority({ path, text }: ServiceRequest): unknown {
    const tenant = `${this.address.replace('127.0.0.1', 'localhost')}/${path.split('/')[1] ?? ''}`
    if (path.includes('/.well-known/')) {
      const [token, authorization] = ['token', 'authorize'].map((each) => `${tenant}/oauth2/v2.0/${each}`)
      return { token_endpoint: token, authorization_endpoint: authorization, issuer: `${tenant}/v2.0`, jwks_uri: `${tenant}/discovery/v2.0/keys` }
    }
    const form = new URLSearchParams(text)
    if (!this.credentials.has(form.get('client_assertion') ?? form.get('client_secret') ?? '')) {
      throw new Refusal(401, { error: 'invalid_client', error_description: 'AADSTS7000215: Invalid client secret provided.' })
    }
    return { token_type: 'Bearer', expires_in: this.tokenSeconds, ext_expires_in: this.tokenSeconds, access_token: this.addToken() }
  }
}

/** An error as Key Vault words it. */
export function failure(status: number, code: string, message: string, inner?: string, headers: Readonly<Record<string, string>> = {}): Refusal {
  return new Refusal(status, { error: { code, message, ...inner === undefined ? {} : { innererror: { code: inner } } } }, {
    'x-ms-request-id': 'b0c3a9f2-0000-4000-8000-000000000000',
    ...headers
  })
}

function jwk({ pair }: Version): Record<string, unknown> {
  if (pair === null) return { kty: 'oct-HSM' }
  const { n, e } = pair.publicKey.export({ format: 'jwk' })
  return { kty: 'RSA', n, e }
}

function operate(verb: string, version: Version, body: ServiceRequest['body']): Buffer {
  const { pair, secret, attributes, operations } = version
  const [value, alg] = [Buffer.from((body['value'] ?? '') as string, 'base64url'), body['alg']]
  const named = { sign: 'sign', wrapkey: 'wrapKey', unwrapkey: 'unwrapKey' }[verb]
  if (named === undefined) throw failure(404, 'NotFound', 'No such operation.')
  if (!operations.includes(named)) throw failure(403, 'Forbidden', `Operation ${named} is not permitted on this key.`, 'KeyOperationForbidden')
  const isPublic = pair !== null && verb === 'wrapkey'
  if (!attributes.enabled && !isPublic) throw failure(403, 'Forbidden', `Operation ${named} is not allowed on a disabled key.`, 'KeyDisabled')
  const now = Date.now() / 1000
  if (verb !== 'unwrapkey' && (attributes.exp ?? Infinity) < now) throw failure(403, 'Forbidden', `Operation ${named} is not allowed on an expired key.`)
  if (verb !== 'unwrapkey' && (attributes.nbf ?? 0) > now) throw failure(403, 'Forbidden', `Operation ${named} is not allowed on a key that is not yet valid.`)
  const wrong = failure(400, 'BadParameter', 'The parameter is incorrect.\r\n')
  try {
    if (pair === null && alg === 'A256KW') return verb === 'wrapkey' ? keyWrap(secret, value) : keyUnwrap(secret, value)
    if (pair !== null && verb === 'sign' && alg === 'PS256') return signDigest(pair.privateKey, value)
    if (pair !== null && verb === 'unwrapkey' && alg === 'RSA-OAEP-256') {
      return privateDecrypt({ key: pair.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, value)
    }
  } catch {
    throw wrong
  }
  throw wrong
}

/** EMSA-PSS of a digest that is given (RFC 8017, 9.1.1), with SHA-256 and a salt of its length: node:crypto signs texts only. */
function signDigest(privateKey: KeyObject, digest: Buffer): Buffer {
  const size = (privateKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8
  if (digest.length !== 32) throw new Error('no digest of SHA-256')
  const salt = randomBytes(32)
  const hashed = sha256(Buffer.alloc(8), digest, salt)
  const block = Buffer.concat([Buffer.alloc(size - 66), Buffer.of(1), salt])
  const mask = Buffer.concat(Array.from({ length: Math.ceil(block.length / 32) }, (_, i) => sha256(hashed, Buffer.of(0, 0, 0, i))))
  for (const [i, byte] of block.entries()) block[i] = byte ^ mask[i]!
  block[0]! &= 0x7f
  return privateEncrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, Buffer.concat([block, hashed, Buffer.of(0xbc)]))
}

function sha256(...parts: readonly Buffer[]): Buffer {
  return createHash('sha256').update(Buffer.concat(parts)).digest()
}

function keyWrap(secret: Buffer, value: Buffer): Buffer {
  const cipher = createCipheriv('id-aes256-wrap', secret, KEYWRAP_IV, NO_TAG)
  return Buffer.concat([cipher.update(value), cipher.final()])
}

function keyUnwrap(secret: Buffer, value: Buffer): Buffer {
  const decipher = createDecipheriv('id-aes256-wrap', secret, KEYWRAP_IV, NO_TAG)
  return Buffer.concat([decipher.update(value), decipher.final()])
}
