import type { KeyObject } from 'node:crypto'
import type { AzureConfig } from '../../config/key-config.ts'
import { S3Error } from '../../errors.ts'
import { bindingOf } from '../key-material.ts'
import { AccessTokens } from '../service/access-token.ts'
import { answeredKey, checkBlob, keyNotHeld, serviceContext, wrapAndUnwrap } from '../service/answers.ts'
import { ServiceConnection, type ServiceOptions } from '../service/connection.ts'
import { WrongServiceAnswer, type ServiceCall } from '../service/errors.ts'
import type { Data } from '../service/http.ts'
import { RestClient } from '../service/rest-client.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, WrappedBucketKey } from '../types.ts'
import { azureErrors, claimsIn } from './azure-errors.ts'
import { azureKeyIdPrefix, resourceOf } from './azure-key.ts'
import { azureTokens } from './azure-login.ts'
import { API, AzureVersions } from './azure-versions.ts'
import { changed, encryptFor, isSigned, joined, makeBox, newKey, openBox, parted, signedDigest } from './azure-wrap.ts'

export interface AzureProviderOptions extends ServiceOptions {
  readonly config: AzureConfig
  /** PEM of the certificates that are trusted exclusively; null: those that Node trusts. */
  readonly ca: string | null
  readonly selfTestContext: KeyContext
}

/**
 * A key of Azure Key Vault or Managed HSM as master key. It wraps 32 random bytes, under which the bucket key lies with its context as additional data.
 * Who has the public half of an RSA key could make such a wrap, so the private one signs each (docs/decisions/0156-signed-wraps-of-key-vault.md).
 * Vault and name come from the configuration; a key id found in an object chooses a version.
 */
export class AzureKeyVaultProvider implements KeySource {
  readonly keyIdPrefix: string
  readonly #options: AzureProviderOptions
  readonly #symmetric: boolean
  readonly #client: RestClient
  readonly #calls: ServiceConnection
  readonly #versions: AzureVersions

  /** Nothing is loaded or called yet. */
  constructor(options: AzureProviderOptions) {
    const { config, ca, metrics } = options
    this.#options = options
    this.#symmetric = config.algorithm === 'A256KW'
    this.keyIdPrefix = azureKeyIdPrefix(config)
    this.#calls = new ServiceConnection(azureErrors, options)
    this.#client = new RestClient({
      service: 'Key Vault',
      address: config.endpoint ?? config.vault,
      host: new URL(config.vault).host,
      trust: { ca, client: null, serverName: config.serverName },
      connectMs: this.#calls.callMs,
      tokens: new AccessTokens(azureTokens(config), metrics),
      claimsOf: (challenge) => claimsIn(challenge, resourceOf(config))
    })
    this.#versions = new AzureVersions(
      config,
      (path, signal) => this.#calls.call('DescribeKey', this.currentKeyId(), signal, (within) => this.#client.request({ method: 'GET', path, signal: within }))
    )
  }

  /** With the newest version; without one before the service has said which it is. */
  currentKeyId(): string {
    const { newestId } = this.#versions
    return newestId === null ? this.keyIdPrefix.slice(0, -1) : this.keyIdPrefix + newestId
  }

  /** Empty where the gateway may not list them. */
  get versions(): readonly { readonly id: string; readonly state: string }[] {
    return this.#versions.listed
  }

  get warnings(): readonly string[] {
    return this.#versions.warnings
  }

  /** @throws S3Error KMS.*, AccessDenied, SlowDown, ServiceUnavailable; InternalError when the answer is not usable. */
  async generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    const { bytes, key } = newKey()
    try {
      return { key, wrapped: await this.#wrap('GenerateDataKey', bytes, context, use.signal) }
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a key that is not configured; SealgateIntegrityError for a blob or context that is
   * not the one wrapped.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    const { keyId } = wrapped
    if (!this.owns(keyId)) throw keyNotHeld(keyId)
    checkBlob(wrapped)
    const bound = boundData(context)
    const parts = parted(wrapped.blob, this.#symmetric)
    if (!this.#symmetric) {
      const { publicKey } = await this.#versions.version(keyId.slice(this.keyIdPrefix.length), use.signal)
      if (publicKey === null || !isSigned(publicKey, keyId, parts, bound)) throw changed()
    }
    return openBox(await this.#open(keyId, parts.ciphertext, use.signal), parts.box, bound)
  }

  /** By an unwrap and a new wrap: the bucket key is in the gateway's memory in between. @throws S3Error as unwrap and generate do. */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const bytes = (await this.unwrap(wrapped, from, use)).export()
    try {
      return await this.#wrap('Encrypt', bytes, to, use.signal)
    } finally {
      bytes.fill(0)
    }
  }

  /** Wraps, unwraps and compares. @throws S3Error as generate and unwrap do. */
  async selfTest(): Promise<void> {
    const { signal } = new AbortController()
    await this.#versions.learn(signal)
    await wrapAndUnwrap(this, this.#options.selfTestContext)
  }

  async learn(signal: AbortSignal): Promise<void> {
    await this.#versions.learn(signal)
  }

  /**
   * Deletes the key with all its versions. Key Vault refuses all uses from then on, and keeps it for the days that the vault was made with.
   * @returns key ids of the versions, or what all begin with where they may not be listed, and when the vault purges them.
   * @throws S3Error as generate does.
   */
  async destroy(signal: AbortSignal): Promise<{ readonly keyIds: readonly string[]; readonly final: Date }> {
    await this.#versions.learn(signal)
    const { scheduledPurgeDate: seconds } = await this.#calls.call(
      'ScheduleKeyDeletion',
      this.currentKeyId(),
      signal,
      (within) => this.#client.request({ method: 'DELETE', path: `/keys/${this.#options.config.key}?${API}`, signal: within })
    )
    const ids = this.versions.map(({ id }) => this.keyIdPrefix + id)
    return { keyIds: ids.length === 0 ? [`${this.keyIdPrefix}*`] : ids, final: typeof seconds === 'number' ? new Date(seconds * 1000) : new Date() }
  }

  owns(keyId: string): boolean {
    return keyId.startsWith(this.keyIdPrefix) && AzureVersions.isVersion(keyId.slice(this.keyIdPrefix.length))
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId)
  }

  heldBack(): (readonly [endpoint: string, held: boolean])[] {
    const { endpoint, vault } = this.#options.config
    return [[new URL(endpoint ?? vault).host, this.#calls.holdsBack]]
  }

  async close(): Promise<void> {
    await this.#client.close()
  }

  async #wrap(call: ServiceCall, bucketKey: Buffer, context: KeyContext, signal: AbortSignal): Promise<WrappedBucketKey> {
    const bound = boundData(context)
    const { id, publicKey } = await this.#versions.current(signal)
    const keyId = this.keyIdPrefix + id
    const kek = newKey()
    try {
      const box = makeBox(kek.key, bucketKey, bound)
      const ciphertext = publicKey === null
        ? await this.#ask(call, keyId, signal, 'wrapkey', 'A256KW', kek.bytes, (bytes) => bytes)
        : encryptFor(publicKey, kek.bytes)
      const wrapped = { ciphertext, box, signature: null }
      if (publicKey !== null) return { keyId, blob: joined(await this.#signed(call, keyId, publicKey, wrapped, bound, signal)) }
      // A version that wraps and does not unwrap, as one that was disabled may, must not be what an object depends on.
      const opened = await this.#open(keyId, ciphertext, signal)
      if (!opened.equals(kek.key)) {
        throw new S3Error('InternalError', { endedBy: 'keys', cause: new WrongServiceAnswer('Key Vault has wrapped something else.') })
      }
      return { keyId, blob: joined(wrapped) }
    } finally {
      kek.bytes.fill(0)
    }
  }

  /** Only an enabled key signs, and only who may use it can: both does not hold for what its public half has encrypted. */
  async #signed(
    call: ServiceCall,
    keyId: string,
    publicKey: KeyObject,
    wrapped: { readonly ciphertext: Buffer; readonly box: Buffer },
    bound: Buffer,
    signal: AbortSignal
  ): Promise<Parameters<typeof joined>[0]> {
    return this.#ask(call, keyId, signal, 'sign', 'PS256', signedDigest(keyId, wrapped, bound), (signature) => {
      const whole = { ...wrapped, signature }
      if (isSigned(publicKey, keyId, whole, bound)) return whole
      throw new WrongServiceAnswer('Key Vault answered with a signature that is not of this key.')
    })
  }

  #open(keyId: string, ciphertext: Buffer, signal: AbortSignal): Promise<KeyObject> {
    return this.#ask('Decrypt', keyId, signal, 'unwrapkey', this.#options.config.algorithm, ciphertext, answeredKey)
  }

  async #ask<T>(call: ServiceCall, keyId: string, signal: AbortSignal, verb: string, alg: string, value: Buffer, take: (value: Buffer) => T): Promise<T> {
    const id = keyId.slice(this.keyIdPrefix.length)
    const path = `/keys/${this.#options.config.key}/${id}/${verb}?${API}`
    const body = { alg, value: value.toString('base64url') }
    return this.#calls.call(call, keyId, signal, async (within) => {
      const answer = await this.#client.request({ method: 'POST', path, body, signal: within })
      if (this.#versions.versionIn(answer['kid']) !== id) throw new WrongServiceAnswer('Key Vault has used another key than it was asked for.')
      return take(bytesIn(answer))
    })
  }
}

/** STORED DATA depends on it (docs/FORMAT.md, Key providers). */
function boundData(context: KeyContext): Buffer {
  serviceContext(context)
  return bindingOf(context)
}

function bytesIn({ value }: Data): Buffer {
  const bytes = typeof value === 'string' && value.length <= 1024 ? Buffer.from(value, 'base64url') : null
  if (bytes === null || bytes.toString('base64url') !== value) throw new WrongServiceAnswer('Key Vault answered without a value.')
  return bytes
}
