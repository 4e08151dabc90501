import { Finding, S3Error } from '../../errors.ts'
import { encryptionContext, isReservedContextName } from '../types.ts'
import { KEY_BYTES, takeKey } from '../key-material.ts'
import { KmsConnection, type KmsLimits, type KmsMetrics } from './kms-connection.ts'
import { WrongKmsAnswer } from './kms-errors.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, WrappedBucketKey } from '../types.ts'
import type { KMSClientConfig } from '@aws-sdk/client-kms'
import type { KeyObject } from 'node:crypto'

export interface KmsProviderOptions {
  /** ARN of the key that wraps: `arn:<partition>:kms:<region>:<account>:key/<id>`. No alias: an alias can be moved to another key. */
  readonly arn: string
  /** ARNs of keys that may still unwrap. */
  readonly decryptOnly: readonly string[]
  /** ARNs of other configured keys of the same service and region, from which ReEncrypt to this key is possible. */
  readonly reEncryptFrom?: readonly string[]
  /** Region to call for `arn`; null: the one in the ARN. */
  readonly region: string | null
  /** null: the public endpoint. */
  readonly endpoint: string | null
  /** The context of the self-test, so that key policies which demand a context allow it. */
  readonly selfTestContext: KeyContext
  /** Absent: the standard AWS credential chain. */
  readonly credentials?: KMSClientConfig['credentials']
  readonly limits?: Partial<KmsLimits>
  readonly metrics?: KmsMetrics
}

/** CiphertextBlob, AWS KMS API reference, Decrypt: 1 to 6,144 bytes. */
const MAX_BLOB_BYTES = 6144
const keyArn = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/[A-Za-z0-9-]+$/

/**
 * AWS KMS as master key. Key ids come from the configuration alone; a key id found in an object only chooses among them,
 * and the id that the service answers with is compared. Bucket keys are bound by encryption context.
 */
export class KmsKeyProvider implements KeySource {
  readonly #options: KmsProviderOptions
  readonly #arns: ReadonlySet<string>
  readonly #connections = new Map<string, KmsConnection>()

  /** @throws S3Error InvalidArgument when an ARN is not the ARN of a KMS key. Nothing is loaded or called yet. */
  constructor(options: KmsProviderOptions) {
    this.#options = options
    this.#arns = new Set([options.arn, ...options.decryptOnly])
    for (const arn of this.#arns) regionOf(arn)
  }

  /** ARN of the key that wraps. */
  currentKeyId(): string {
    return this.#options.arn
  }

  /** @throws S3Error KMS.*, AccessDenied, SlowDown, ServiceUnavailable; InternalError when the answer is not a usable key. */
  async generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    const { arn } = this.#options
    const bound = kmsContext(context)
    return this.#at(arn).call('GenerateDataKey', arn, use.signal, async (client, sdk, options) => {
      const answer = await client.send(
        new sdk.GenerateDataKeyCommand({
          KeyId: arn,
          KeySpec: 'AES_256',
          EncryptionContext: bound
        }),
        options
      )
      const key = keyOf(answer.Plaintext)
      expectKeyId(answer.KeyId, arn)
      return { key, wrapped: { keyId: arn, blob: blobOf(answer.CiphertextBlob) } }
    })
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a key that is not configured; SealgateIntegrityError for a
   * blob or context that is not the one wrapped.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    const { keyId, blob } = this.#check(wrapped)
    const bound = kmsContext(context)
    return this.#at(keyId).call('Decrypt', keyId, use.signal, async (client, sdk, options) => {
      const answer = await client.send(
        new sdk.DecryptCommand({
          KeyId: keyId,
          CiphertextBlob: blob,
          EncryptionContext: bound
        }),
        options
      )
      const key = keyOf(answer.Plaintext)
      expectKeyId(answer.KeyId, keyId)
      return key
    })
  }

  /**
   * By ReEncrypt, even from another key of the service: the bucket key stays inside KMS. Between two regions, where KMS cannot do this, by Decrypt
   * and Encrypt.
   * @throws S3Error as unwrap does.
   */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const { keyId, blob } = this.#check(wrapped, this.rewraps(wrapped.keyId))
    const { arn } = this.#options
    if (this.#at(keyId) !== this.#at(arn)) return this.#encrypt(await this.unwrap(wrapped, from, use), to, use)
    const source = kmsContext(from)
    const destination = kmsContext(to)
    return this.#at(arn).call('ReEncrypt', arn, use.signal, async (client, sdk, options) => {
      const answer = await client.send(
        new sdk.ReEncryptCommand({
          CiphertextBlob: blob,
          SourceKeyId: keyId,
          SourceEncryptionContext: source,
          DestinationKeyId: arn,
          DestinationEncryptionContext: destination
        }),
        options
      )
      expectKeyId(answer.SourceKeyId, keyId)
      expectKeyId(answer.KeyId, arn)
      return { keyId: arn, blob: blobOf(answer.CiphertextBlob) }
    })
  }

  /** Wraps, unwraps and compares. @throws S3Error as generate and unwrap do. */
  async selfTest(): Promise<void> {
    const context = this.#options.selfTestContext
    const use: KeyUse = {
      requestId: 'self-test',
      principal: 'self-test',
      sourceAddress: '',
      operation: 'self-test',
      bucket: context.bucket,
      objectKey: null,
      versionId: null,
      signal: new AbortController().signal
    }
    const made = await this.generate(context, use)
    const opened = await this.unwrap(made.wrapped, context, use)
    if (!opened.equals(made.key)) {
      throw new S3Error('InternalError', { cause: new Finding(`Self-test of ${this.#options.arn} gave another key back.`) })
    }
  }

  owns(keyId: string): boolean {
    return this.#arns.has(keyId)
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId) || this.#options.reEncryptFrom?.includes(keyId) === true
  }

  heldBack(): (readonly [region: string, held: boolean])[] {
    return [...this.#connections].map(([region, { holdsBack }]) => [region, holdsBack])
  }

  /** Closes idle connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()))
  }

  async #encrypt(key: KeyObject, context: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const { arn } = this.#options
    const bound = kmsContext(context)
    const bytes = key.export()
    try {
      return await this.#at(arn).call('Encrypt', arn, use.signal, async (client, sdk, options) => {
        const answer = await client.send(
          new sdk.EncryptCommand({
            KeyId: arn,
            Plaintext: bytes,
            EncryptionContext: bound
          }),
          options
        )
        expectKeyId(answer.KeyId, arn)
        return { keyId: arn, blob: blobOf(answer.CiphertextBlob) }
      })
    } finally {
      bytes.fill(0)
    }
  }

  #check(wrapped: WrappedBucketKey, known = this.owns(wrapped.keyId)): WrappedBucketKey {
    if (!known) {
      throw new S3Error('SealgateKeyUnavailable', {
        message: `The object is sealed with key ${wrapped.keyId}, which the gateway does not hold.`
      })
    }
    if (wrapped.blob.length === 0 || wrapped.blob.length > MAX_BLOB_BYTES) {
      throw new S3Error('SealgateIntegrityError', { cause: new Finding('The wrapped key has an impossible length.') })
    }
    return wrapped
  }

  /** One connection, one breaker, per region. */
  #at(arn: string): KmsConnection {
    const { arn: current, region: override, endpoint, credentials, limits, metrics } = this.#options
    const ownRegion = regionOf(arn)
    const region = ownRegion === regionOf(current) ? override ?? ownRegion : ownRegion
    let connection = this.#connections.get(region)
    if (connection === undefined) {
      connection = new KmsConnection({
        region,
        endpoint,
        ...credentials === undefined ? {} : { credentials },
        ...limits === undefined ? {} : { limits },
        ...metrics === undefined ? {} : { metrics }
      })
      this.#connections.set(region, connection)
    }
    return connection
  }
}

/** @throws S3Error InvalidArgument when the client's context uses a reserved name. */
function kmsContext(context: KeyContext): Record<string, string> {
  const reserved = Object.keys(context.requestContext).find(isReservedContextName)
  if (reserved !== undefined) throw new S3Error('InvalidArgument', { message: `The encryption context name ${reserved} is reserved.` })
  return encryptionContext(context)
}

function regionOf(arn: string): string {
  const region = keyArn.exec(arn)?.[1]
  if (region === undefined) throw new S3Error('InvalidArgument', { message: `${arn} is not the ARN of a KMS key.` })
  return region
}

function keyOf(plaintext: Uint8Array | undefined): KeyObject {
  const key = plaintext === undefined ? null : takeKey(plaintext)
  if (key === null) throw new WrongKmsAnswer(`KMS answered with a key that is not ${KEY_BYTES} bytes or is zero.`)
  return key
}

function blobOf(blob: Uint8Array | undefined): Buffer {
  if (blob === undefined || blob.length === 0 || blob.length > MAX_BLOB_BYTES) {
    throw new WrongKmsAnswer('KMS answered with a ciphertext of an impossible length.')
  }
  return Buffer.from(blob)
}

function expectKeyId(answered: string | undefined, asked: string): void {
  if (answered !== asked) throw new WrongKmsAnswer(`KMS used key ${answered ?? 'without a name'}, not ${asked}.`)
}
