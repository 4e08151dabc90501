import { hash, type KeyObject } from 'node:crypto'
import type { VaultConfig } from '../../config/key-config.ts'
import { S3Error } from '../../errors.ts'
import { bindingOf, decodeBase64 } from '../key-material.ts'
import { answeredBlob, answeredKey, checkBlob, keyNotHeld, serviceContext, wrapAndUnwrap } from '../service/answers.ts'
import { ServiceConnection, type ServiceOptions } from '../service/connection.ts'
import { WrongServiceAnswer, type ServiceCall } from '../service/errors.ts'
import type { Data } from '../service/http.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, WrappedBucketKey } from '../types.ts'
import { VaultClient } from './vault-client.ts'
import { dataOf, descriptionOf, keyNameOf, type Description, type VaultFiles } from './vault-key.ts'
import { VaultRefusal, vaultErrors } from './vault-errors.ts'
import { VaultLogin } from './vault-login.ts'

/** Milliseconds after which the key is described anew: a rotation, and a key made anew under the name, are seen after this. */
const DESCRIPTION_MS = 300_000

export interface VaultProviderOptions extends ServiceOptions {
  readonly config: VaultConfig
  readonly files: VaultFiles
  readonly selfTestContext: KeyContext
}

/**
 * A derived AES-256-GCM key of the Transit engine of OpenBao or HashiCorp Vault as master key. Its `context`, from which the server derives the key
 * of a wrap, is a hash of realm, bucket, object and request context: the only binding that the server's own `rewrap` keeps
 * (docs/decisions/0136-transit-keys-are-derived.md). Key ids come from the configuration alone; one found in an object only chooses a version.
 */
export class VaultTransitProvider implements KeySource {
  readonly keyIdPrefix: string
  readonly #options: VaultProviderOptions
  readonly #client: VaultClient
  readonly #login: VaultLogin
  readonly #calls: ServiceConnection
  #description: Description | null = null

  /** Nothing is called yet. */
  constructor(options: VaultProviderOptions) {
    const { config, files } = options
    this.#options = options
    this.keyIdPrefix = `${keyNameOf(config)}:v`
    this.#calls = new ServiceConnection(vaultErrors, options)
    this.#client = new VaultClient(config, files, this.#calls.callMs)
    this.#login = new VaultLogin(this.#client, config.auth, { loginMs: this.#calls.callMs, metrics: options.metrics })
  }

  /** With the version that wrapped last or was described last; without one before the server has said which it is. */
  currentKeyId(): string {
    return this.#description === null ? keyNameOf(this.#options.config) : this.#idOf(this.#description.latest)
  }

  get versions(): readonly { readonly id: string; readonly state: string }[] {
    const { versions, oldest, latest } = this.#description ?? { versions: [], oldest: 0, latest: 0 }
    return versions.map((version) => ({ id: `v${version}`, state: version < oldest ? 'disabled' : version < latest ? 'decrypt-only' : 'enabled' }))
  }

  /** What the key allows that a master key had better not; known after the self-test. */
  get warnings(): readonly string[] {
    return this.#description?.warnings ?? []
  }

  /**
   * The server makes the bucket key: `datakey`, unlike `encrypt`, never makes a Transit key that is missing.
   * @throws S3Error KMS.*, AccessDenied, SlowDown, ServiceUnavailable; InternalError when the answer is not a usable key.
   */
  async generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    const bound = boundContext(context)
    await this.#described(use.signal)
    return this.#ask('GenerateDataKey', use.signal, 'datakey/plaintext', { context: bound, bits: 256 }, (data) => ({
      key: plaintextOf(data),
      wrapped: this.#wrapped(data)
    }))
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a key that is not configured; SealgateIntegrityError for a blob or context that is
   * not the one wrapped; KMS.DisabledException for a version below `min_decryption_version`.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    const ciphertext = this.#ciphertextOf(wrapped)
    const bound = boundContext(context)
    await this.#described(use.signal)
    return this.#ask('Decrypt', use.signal, 'decrypt', { ciphertext, context: bound }, plaintextOf, wrapped.keyId)
  }

  /**
   * Within one context by the server's own `rewrap`: the bucket key never leaves it. To another context, as a copy needs it, by `decrypt` and
   * `encrypt`: no call of Transit changes a context.
   * @throws S3Error as unwrap does.
   */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const ciphertext = this.#ciphertextOf(wrapped)
    const [source, destination] = [boundContext(from), boundContext(to)]
    if (source !== destination) return this.#encrypt(await this.unwrap(wrapped, from, use), destination, use)
    await this.#described(use.signal)
    return this.#ask('ReEncrypt', use.signal, 'rewrap', { ciphertext, context: source }, (data) => this.#wrapped(data), wrapped.keyId)
  }

  /** Reads what kind of key it is, then wraps, unwraps and compares. @throws S3Error as generate and unwrap do. */
  async selfTest(): Promise<void> {
    await this.#describe(new AbortController().signal)
    await wrapAndUnwrap(this, this.#options.selfTestContext)
  }

  async learn(signal: AbortSignal): Promise<void> {
    await this.#describe(signal)
  }

  /**
   * Deletes the key with all its versions, and sees that it is gone. The server demands `deletion_allowed` first; where it then refuses to delete, the
   * setting is put back.
   * @returns key ids of all versions that there ever were. @throws S3Error as generate does.
   */
  async destroy(signal: AbortSignal): Promise<readonly string[]> {
    const { latest, deletable } = await this.#describe(signal)
    await this.#change('POST', '/config', signal, { deletion_allowed: true })
    try {
      await this.#change('DELETE', '', signal)
    } catch (error) {
      if (!deletable) await this.#change('POST', '/config', signal, { deletion_allowed: false }).catch(() => undefined)
      throw error
    }
    try {
      await this.#describe(signal)
    } catch (error) {
      if (error instanceof S3Error && error.code === 'KMS.NotFoundException') return Array.from({ length: latest }, (_, i) => this.#idOf(i + 1))
      throw error
    }
    throw new S3Error('InternalError', { endedBy: 'keys', message: 'The server says that it has deleted the key, but still has it.' })
  }

  owns(keyId: string): boolean {
    return this.#versionOf(keyId) !== null
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId)
  }

  heldBack(): (readonly [endpoint: string, held: boolean])[] {
    const [address = ''] = this.#options.config.addresses
    return [[new URL(address).host, this.#calls.holdsBack]]
  }

  async close(): Promise<void> {
    await this.#login.close()
    await this.#client.close()
  }

  async #encrypt(key: KeyObject, context: string, use: KeyUse): Promise<WrappedBucketKey> {
    const bytes = key.export()
    const plaintext = bytes.toString('base64')
    bytes.fill(0)
    return this.#ask('Encrypt', use.signal, 'encrypt', { plaintext, context }, (data) => this.#wrapped(data))
  }

  /**
   * Before the first use, and again now and then: a key that is not derived takes a context and ignores it, and would open every wrap for every
   * place. Once described, a server that does not say it again is no reason to fail: the call itself will be.
   */
  async #described(signal: AbortSignal): Promise<void> {
    const known = this.#description
    if (known === null) {
      await this.#describe(signal)
      return
    }
    if (performance.now() - known.readAt < DESCRIPTION_MS) return
    this.#description = { ...known, readAt: performance.now() }
    await this.#describe(signal).catch((error: unknown) => {
      if (signal.aborted || !(error instanceof S3Error && error.code === 'ServiceUnavailable')) throw error
    })
  }

  async #describe(signal: AbortSignal): Promise<Description> {
    const { mount, key } = this.#options.config
    const found = await this.#calls.call('DescribeKey', this.currentKeyId(), signal, async (within) => {
      const answer = await this.#authorized(within, (token) => ({ method: 'GET', path: `${mount}/keys/${key}`, token, signal: within }))
      return dataOf(answer)
    })
    try {
      return this.#description = descriptionOf(found, `${mount}/${key}`)
    } catch (error) {
      this.#description = null
      throw error
    }
  }

  #ask<T>(
    call: ServiceCall,
    signal: AbortSignal,
    path: string,
    body: Record<string, unknown>,
    take: (data: Data) => T,
    keyId = this.currentKeyId()
  ): Promise<T> {
    const { mount, key } = this.#options.config
    return this.#calls.call(call, keyId, signal, async (within) => {
      const answer = await this.#authorized(within, (token) => ({ method: 'POST', path: `${mount}/${path}/${key}`, token, body, signal: within }))
      return take(dataOf(answer))
    })
  }

  async #change(method: 'POST' | 'DELETE', what: string, signal: AbortSignal, body?: Readonly<Record<string, unknown>>): Promise<void> {
    const { mount, key } = this.#options.config
    await this.#calls.call(
      'ScheduleKeyDeletion',
      keyNameOf(this.#options.config),
      signal,
      (within) =>
        this.#authorized(within, (token) => ({ method, path: `${mount}/keys/${key}${what}`, token, signal: within, ...body === undefined ? {} : { body } }))
    )
  }

  /** With the gateway's token, and once more with a new one where that token is refused. */
  async #authorized(signal: AbortSignal, request: (token: string | null) => Parameters<VaultClient['request']>[0]): Promise<Data> {
    const token = await this.#login.token(signal)
    try {
      return await this.#client.request(request(token))
    } catch (error) {
      if (!(error instanceof VaultRefusal) || (error.status !== 403 && error.status !== 401)) throw error
      const other = await this.#login.another(token, signal)
      if (other === null) throw error
      return this.#client.request(request(other))
    }
  }

  #wrapped(data: Data): WrappedBucketKey {
    const { ciphertext } = data
    const [, digits = '', text = ''] = typeof ciphertext === 'string' ? /^vault:v([1-9]\d{0,8}):([A-Za-z0-9+/=]{1,12288})$/.exec(ciphertext) ?? [] : []
    if (text === '') throw new WrongServiceAnswer('Vault answered without a ciphertext.')
    const latest = Number(digits)
    const keyId = this.#idOf(latest)
    const blob = answeredBlob(decodeBase64(text) ?? undefined)
    if (this.#description !== null && latest > this.#description.latest) this.#description = { ...this.#description, latest }
    return { keyId, blob }
  }

  /** The ciphertext as the server knows it: the version stands in the key id. @throws S3Error SealgateKeyUnavailable, SealgateIntegrityError. */
  #ciphertextOf(wrapped: WrappedBucketKey): string {
    const version = this.#versionOf(wrapped.keyId)
    if (version === null) throw keyNotHeld(wrapped.keyId)
    checkBlob(wrapped)
    return `vault:v${version}:${wrapped.blob.toString('base64')}`
  }

  #idOf(version: number): string {
    return `${this.keyIdPrefix}${version}`
  }

  #versionOf(keyId: string): string | null {
    const version = keyId.startsWith(this.keyIdPrefix) ? keyId.slice(this.keyIdPrefix.length) : ''
    return /^[1-9]\d{0,8}$/.test(version) ? version : null
  }
}

/** STORED DATA depends on it (docs/FORMAT.md, Key providers): a hash, so that it has one length, and the server does not see the names. */
function boundContext(context: KeyContext): string {
  serviceContext(context)
  return hash('sha256', bindingOf(context), 'base64')
}

function plaintextOf({ plaintext }: Data): KeyObject {
  const bytes = typeof plaintext === 'string' ? decodeBase64(plaintext) : null
  return answeredKey(bytes ?? undefined)
}
