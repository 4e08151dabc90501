import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import type { KmipConfig } from '../../config/key-config.ts'
import { S3Error } from '../../errors.ts'
import { bindingOf, KEY_BYTES } from '../key-material.ts'
import { answeredKey, checkBlob, eachOf, keyNotHeld, serviceContext, wrapAndUnwrap } from '../service/answers.ts'
import { ServiceConnection, type ServiceOptions } from '../service/connection.ts'
import { WrongServiceAnswer, type ServiceCall } from '../service/errors.ts'
import type { ServerTrust } from '../service/http.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, WrappedBucketKey } from '../types.ts'
import { KmipClient, TAG_BYTES, type Sealed } from './kmip-client.ts'
import { KmipRefusal, kmipErrors } from './kmip-errors.ts'
import { kmipKeyIdPrefix } from './kmip-key.ts'

const NONCE_BYTES = 12
const BLOB_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES

export interface KmipOptions extends ServiceOptions {
  readonly config: KmipConfig
  /** PEM texts of the configuration's files. */
  readonly trust: ServerTrust
  readonly selfTestContext: KeyContext
}

/**
 * An AES-256 key of a KMIP server as master key. The configuration names its versions by their unique identifiers. Bucket keys are bound to their
 * context as additional data of AES-GCM, and a server that ignores these is refused (docs/decisions/0157-kmip.md).
 */
export class KmipKeyProvider implements KeySource {
  readonly keyIdPrefix: string
  readonly #options: KmipOptions
  readonly #client: KmipClient
  readonly #calls: ServiceConnection
  /** Versions with which the server was seen to refuse other additional data. */
  readonly #proven = new Set<string>()

  /** Nothing is called yet. */
  constructor(options: KmipOptions) {
    const { config, trust } = options
    this.#options = options
    this.keyIdPrefix = kmipKeyIdPrefix(config)
    this.#calls = new ServiceConnection(kmipErrors, options)
    this.#client = new KmipClient(config.addresses, trust)
  }

  /** Key id that new wraps get; null when no version is enabled. */
  currentKeyId(): string | null {
    const version = this.#options.config.versions.findLast(({ state }) => state === 'enabled')
    return version === undefined ? null : this.keyIdPrefix + version.id
  }

  get versions(): KmipConfig['versions'] {
    return this.#options.config.versions
  }

  /** @throws S3Error KMS.*, AccessDenied, SlowDown, ServiceUnavailable; InternalError when the answer is not usable. */
  async generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    const bytes = randomBytes(KEY_BYTES)
    try {
      const wrapped = await this.#wrap('GenerateDataKey', bytes, context, use.signal)
      return { key: answeredKey(bytes), wrapped }
    } finally {
      bytes.fill(0)
    }
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a version that is not configured; SealgateIntegrityError for a blob or context that is
   * not the one wrapped.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    const id = this.#versionOf(wrapped.keyId)
    checkBlob(wrapped)
    if (wrapped.blob.length !== BLOB_BYTES) throw new S3Error('SealgateIntegrityError')
    const sealed = parted(wrapped.blob)
    const bound = boundData(context)
    const key = await this.#open(id, sealed, bound, use.signal)
    await this.#prove(id, sealed, bound, use.signal)
    return key
  }

  /** By Decrypt and Encrypt: the bucket key is in the gateway's memory in between. @throws S3Error as unwrap and generate do. */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const bytes = (await this.unwrap(wrapped, from, use)).export()
    try {
      return await this.#wrap('Encrypt', bytes, to, use.signal)
    } finally {
      bytes.fill(0)
    }
  }

  /** Wraps and unwraps with the current version. @throws S3Error as generate and unwrap do. */
  async selfTest(): Promise<void> {
    if (this.currentKeyId() !== null) {
      await wrapAndUnwrap(this, this.#options.selfTestContext)
      return
    }
    const open = this.versions.find(({ state }) => state !== 'disabled')
    if (open === undefined) throw disabled(this.keyIdPrefix.slice(0, -1))
    await this.#calls.call('DescribeKey', this.keyIdPrefix + open.id, new AbortController().signal, (signal) => this.#client.stateOf(open.id, signal))
  }

  /**
   * Destroys every version that the configuration names, whatever its state. @returns key ids of those that are destroyed, and why not all are.
   * @throws S3Error as generate does, where none is destroyed.
   */
  async destroy(signal: AbortSignal): Promise<{ readonly keyIds: readonly string[]; readonly failure: S3Error | null }> {
    const { done, failure } = await eachOf(
      this.versions.map(({ id }) => id),
      (id) => this.#calls.call('ScheduleKeyDeletion', this.keyIdPrefix + id, signal, (within) => this.#client.destroy(id, within))
    )
    return { keyIds: done.map((id) => this.keyIdPrefix + id), failure }
  }

  owns(keyId: string): boolean {
    return keyId.startsWith(this.keyIdPrefix)
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId)
  }

  heldBack(): (readonly [endpoint: string, held: boolean])[] {
    return [[this.#options.config.addresses[0] ?? '', this.#calls.holdsBack]]
  }

  async close(): Promise<void> {
    this.#client.close()
  }

  async #wrap(call: ServiceCall, bytes: Buffer, context: KeyContext, signal: AbortSignal): Promise<WrappedBucketKey> {
    const keyId = this.currentKeyId()
    if (keyId === null) throw disabled(this.keyIdPrefix.slice(0, -1))
    const id = this.#versionOf(keyId)
    const bound = boundData(context)
    const sealed = await this.#calls.call(call, keyId, signal, (within) => this.#client.encrypt(id, bytes, randomBytes(NONCE_BYTES), bound, within))
    // Nothing in an answer to Encrypt shows that it opens.
    const opened = await this.#open(id, sealed, bound, signal)
    if (!opened.equals(createSecretKey(bytes))) {
      throw new S3Error('InternalError', { endedBy: 'keys', cause: new WrongServiceAnswer('The KMIP server has encrypted something else.') })
    }
    await this.#prove(id, sealed, bound, signal)
    return { keyId, blob: Buffer.concat([sealed.nonce, sealed.ciphertext, sealed.tag]) }
  }

  #open(id: string, sealed: Sealed, bound: Buffer, signal: AbortSignal): Promise<KeyObject> {
    return this.#calls.call(
      'Decrypt',
      this.keyIdPrefix + id,
      signal,
      async (within) => answeredKey(await this.#client.decrypt(id, sealed, bound, within))
    )
  }

  /**
   * Once for each version: with other additional data, and with another tag, the server must refuse. One that takes no notice of them, as a server
   * below KMIP 1.4 may, would open a wrap in every place. @throws S3Error KMS.KMSInvalidStateException.
   */
  async #prove(id: string, sealed: Sealed, bound: Buffer, signal: AbortSignal): Promise<void> {
    if (this.#proven.has(id)) return
    const tag = Buffer.from(sealed.tag)
    tag.writeUInt8(tag.readUInt8(0) ^ 1, 0)
    const others = [[sealed, Buffer.concat([bound, Buffer.of(0)])], [{ ...sealed, tag }, bound]] as const
    for (const [changed, additional] of others) {
      const refused = await this.#calls.call('Decrypt', this.keyIdPrefix + id, signal, async (within) => {
        try {
          const opened = await this.#client.decrypt(id, changed, additional, within)
          opened.fill(0)
          return false
        } catch (error) {
          if (error instanceof KmipRefusal && kmipErrors.classify(error) === 'wrong-context') return true
          throw error
        }
      })
      if (!refused) {
        throw new S3Error('KMS.KMSInvalidStateException', {
          message: `The KMIP server of ${this.keyIdPrefix}${id} takes no notice of additional data: a wrapped key would open in every place.`
        })
      }
    }
    this.#proven.add(id)
  }

  /** @returns the unique identifier of a version that may open. @throws S3Error SealgateKeyUnavailable, KMS.DisabledException */
  #versionOf(keyId: string): string {
    const version = this.owns(keyId) ? this.versions.find(({ id }) => keyId === this.keyIdPrefix + id) : undefined
    if (version === undefined) throw keyNotHeld(keyId)
    if (version.state === 'disabled') throw disabled(keyId)
    return version.id
  }
}

function parted(blob: Buffer): Sealed {
  return { nonce: blob.subarray(0, NONCE_BYTES), ciphertext: blob.subarray(NONCE_BYTES, -TAG_BYTES), tag: blob.subarray(-TAG_BYTES) }
}

/** STORED DATA depends on it (docs/FORMAT.md, Key providers). */
function boundData(context: KeyContext): Buffer {
  serviceContext(context)
  return bindingOf(context)
}

function disabled(keyId: string): S3Error {
  return new S3Error('KMS.DisabledException', { message: `${keyId} is disabled.` })
}
