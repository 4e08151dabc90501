import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import { crc32c } from '@node-rs/crc32'
import { FakeService, Refusal, type ServiceRequest } from './fake-service.ts'

type State = 'ENABLED' | 'DISABLED' | 'DESTROY_SCHEDULED' | 'DESTROYED' | 'PENDING_GENERATION'

interface Version {
  readonly secret: KeyObject
  state: State
}

const RING = 'projects/test-project/locations/europe-west1/keyRings/ring'

/**
 * Cloud KMS after its REST reference: `encrypt`, `decrypt` and the list of versions, with additional data, CRC32C in both directions, primary versions
 * and their states; the texts of errors as gcloud and client libraries print them. Beside it a metadata server and a token service (STS).
 */
export class FakeGcpKms extends FakeService {
  readonly keys = new Map<string, Version[]>()
  /** Tokens that are taken; each is what a login gets next. */
  readonly tokens = new Set<string>()
  /** Seconds of the tokens that logins get. */
  tokenSeconds = 3600
  /** Requests may list versions. */
  mayList = true
  /** Requests may destroy versions. */
  mayDestroy = true
  /** Subject tokens that the token service takes. */
  readonly subjects = new Set<string>()

  static async start(
    test: { teardown(work: () => Promise<void>): void },
    tls: { readonly key: string; readonly cert: string } | null = null
  ): Promise<FakeGcpKms> {
    return new FakeGcpKms(tls).listen(test)
  }

  /** @returns the name of a new key. */
  addKey(id: string): string {
    const name = `${RING}/cryptoKeys/${id}`
    this.keys.set(name, [])
    this.rotate(name)
    return name
  }

  /** Adds a version and makes it the primary one. */
  rotate(name: string): void {
    this.keys.get(name)!.push({ secret: createSecretKey(randomBytes(32)), state: 'ENABLED' })
  }

  /** @param number from 1 */
  setState(name: string, number: number, state: State): void {
    this.keys.get(name)![number - 1]!.state = state
  }

  addToken(): string {
    const text = `ya29.${randomBytes(24).toString('base64url')}`
    this.tokens.add(text)
    return text
  }

  protected perform(request: ServiceRequest): unknown {
    const { method, path, headers, body } = request
    if (path.startsWith('/computeMetadata/')) return this.#metadata(request)
    if (path === '/sts/v1/token') return this.#exchange(request)
    const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? ''
    if (!this.tokens.has(token)) throw refusal(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.')
    const version = /^\/v1\/(.+)\/cryptoKeyVersions\/(\d+):destroy$/.exec(path)
    if (version !== null) return this.#destroy(version[1] ?? '', Number(version[2]))
    const [, name = '', verb = ''] = /^\/v1\/(.+?)(:encrypt|:decrypt|\/cryptoKeyVersions)$/.exec(path) ?? []
    const versions = this.keys.get(name)
    if (versions === undefined) throw refusal(404, 'NOT_FOUND', `CryptoKey ${name} not found.`)
    if (method === 'GET') return this.#list(request, name, versions)
    return verb === ':encrypt' ? encrypt(body, name, versions) : decrypt(body, name, versions)
  }

  #destroy(key: string, number: number): unknown {
    const name = `${key}/cryptoKeyVersions/${number}`
    const version = this.keys.get(key)?.[number - 1]
    if (version === undefined) throw refusal(404, 'NOT_FOUND', `CryptoKeyVersion ${name} not found.`)
    if (!this.mayDestroy) throw refusal(403, 'PERMISSION_DENIED', `Permission 'cloudkms.cryptoKeyVersions.destroy' denied on resource '${name}'.`)
    version.state = 'DESTROY_SCHEDULED'
    return { name, state: version.state, destroyTime: new Date(Date.now() + 30 * 86_400_000).toISOString() }
  }

  #list({ query }: ServiceRequest, name: string, versions: readonly Version[]): unknown {
    if (!this.mayList) throw refusal(403, 'PERMISSION_DENIED', `Permission 'cloudkms.cryptoKeyVersions.list' denied on resource '${name}'.`)
    const [start, size] = [Number(query.get('pageToken') ?? 0), Math.min(2, Number(query.get('pageSize')))]
    const page = versions.slice(start, start + size).map(({ state }, i) => ({ name: `${name}/cryptoKeyVersions/${start + i + 1}`, state }))
    return { cryptoKeyVersions: page, ...start + size < versions.length ? { nextPageToken: String(start + size) } : {} }
  }

  #metadata({ path, headers }: ServiceRequest): unknown {
    const flavour = { 'metadata-flavor': 'Google' }
    if (headers['metadata-flavor'] !== 'Google') throw new Refusal(403, '', flavour)
    if (!path.endsWith('/token')) throw new Refusal(200, '{}', flavour)
    throw new Refusal(200, { access_token: this.addToken(), expires_in: this.tokenSeconds, token_type: 'Bearer' }, flavour)
  }

  /** RFC 8693, as Google's token service takes it. */
  #exchange({ text }: ServiceRequest): unknown {
    const form = new URLSearchParams(text)
    if (!this.subjects.has(form.get('subject_token') ?? '')) {
      throw new Refusal(400, { error: 'invalid_grant', error_description: 'The subject token is not accepted.' })
    }
    return {
      access_token: this.addToken(),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: this.tokenSeconds
    }
  }
}

/** google.rpc.Status, as REST has it. */
export function refusal(code: number, status: string, message: string, details: readonly unknown[] = []): Refusal {
  return new Refusal(code, { error: { code, message, status, ...details.length === 0 ? {} : { details } } })
}

function encrypt(body: ServiceRequest['body'], name: string, versions: readonly Version[]): unknown {
  const [plaintext, aad] = [field(body, 'plaintext'), field(body, 'additionalAuthenticatedData')]
  const number = versions.length
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', usable(name, versions, number), nonce, { authTagLength: 16 }).setAAD(aad)
  const ciphertext = Buffer.concat([Buffer.from([10, 36, 0, number]), nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  return {
    name: `${name}/cryptoKeyVersions/${number}`,
    ciphertext: ciphertext.toString('base64'),
    ciphertextCrc32c: String(crc32c(ciphertext)),
    verifiedPlaintextCrc32c: body['plaintextCrc32c'] !== undefined,
    verifiedAdditionalAuthenticatedDataCrc32c: body['additionalAuthenticatedDataCrc32c'] !== undefined,
    protectionLevel: 'SOFTWARE'
  }
}

function decrypt(body: ServiceRequest['body'], name: string, versions: readonly Version[]): unknown {
  const [ciphertext, aad] = [field(body, 'ciphertext'), field(body, 'additionalAuthenticatedData')]
  const invalid = refusal(400, 'INVALID_ARGUMENT', 'Decryption failed: the ciphertext is invalid.')
  const number = ciphertext[3] ?? 0
  if (ciphertext.length < 32 || number < 1 || number > versions.length || !ciphertext.subarray(0, 3).equals(Buffer.from([10, 36, 0]))) throw invalid
  const decipher = createDecipheriv('aes-256-gcm', usable(name, versions, number), ciphertext.subarray(4, 16), { authTagLength: 16 }).setAAD(aad)
  decipher.setAuthTag(ciphertext.subarray(-16))
  let plaintext: Buffer
  try {
    plaintext = Buffer.concat([decipher.update(ciphertext.subarray(16, -16)), decipher.final()])
  } catch {
    throw invalid
  }
  return {
    plaintext: plaintext.toString('base64'),
    plaintextCrc32c: String(crc32c(plaintext)),
    usedPrimary: number === versions.length,
    protectionLevel: 'SOFTWARE'
  }
}

function field(body: ServiceRequest['body'], name: string): Buffer {
  const bytes = Buffer.from((body[name] ?? '') as string, 'base64')
  const sum = body[`${name}Crc32c`]
  if (sum === undefined || sum === String(crc32c(bytes))) return bytes
  throw refusal(400, 'INVALID_ARGUMENT', `The checksum in field ${name}_crc32c did not match the data in field ${name}.`)
}

function usable(name: string, versions: readonly Version[], number: number): KeyObject {
  const { secret, state } = versions[number - 1]!
  if (state === 'ENABLED') return secret
  const subject = `${name}/cryptoKeyVersions/${number}`
  throw refusal(400, 'FAILED_PRECONDITION', `${subject} is not enabled, current state is: ${state}.`, [
    { '@type': 'type.googleapis.com/google.rpc.PreconditionFailure', 'violations': [{ type: `KEY_${state}`, subject }] }
  ])
}
