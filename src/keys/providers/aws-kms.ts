import { isDeepStrictEqual } from 'node:util'
import { S3Error } from '../../errors.ts'
import { answeredBlob, answeredKey, checkBlob, keyNotHeld, serviceContext, wrapAndUnwrap } from '../service/answers.ts'
import type { ServiceOptions } from '../service/connection.ts'
import { WrongServiceAnswer } from '../service/errors.ts'
import type { KeySite, ProviderKind } from '../provider-kind.ts'
import type { KeyConfig } from '../../config/config.ts'
import { KmsConnection } from './kms-connection.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, WrappedBucketKey } from '../types.ts'
import type { KMSClientConfig } from '@aws-sdk/client-kms'
import type { KeyObject } from 'node:crypto'

export interface KmsProviderOptions extends ServiceOptions {
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
}

const keyArn = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/[A-Za-z0-9-]+$/

/**
 * AWS KMS as master key. Key ids come from the configuration alone; a key id found in an object only chooses among them,
 * and the id that the service answers with is compared. Bucket keys are bound by encryption context.
 */
export class KmsKeyProvider implements KeySource {
  readonly keyIdPrefix = null
  readonly versions = []
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
    const bound = serviceContext(context)
    return this.#at(arn).call('GenerateDataKey', arn, use.signal, async (client, sdk, options) => {
      const answer = await client.send(
        new sdk.GenerateDataKeyCommand({
          KeyId: arn,
          KeySpec: 'AES_256',
          EncryptionContext: bound
        }),
        options
      )
      const key = answeredKey(answer.Plaintext)
      expectKeyId(answer.KeyId, arn)
      return { key, wrapped: { keyId: arn, blob: answeredBlob(answer.CiphertextBlob) } }
    })
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a key that is not configured; SealgateIntegrityError for a
   * blob or context that is not the one wrapped.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    const { keyId, blob } = this.#check(wrapped)
    const bound = serviceContext(context)
    return this.#at(keyId).call('Decrypt', keyId, use.signal, async (client, sdk, options) => {
      const answer = await client.send(
        new sdk.DecryptCommand({
          KeyId: keyId,
          CiphertextBlob: blob,
          EncryptionContext: bound
        }),
        options
      )
      const key = answeredKey(answer.Plaintext)
      expectKeyId(answer.KeyId, keyId)
      return key
    })
  }

  /**
   * Schedules the deletion of every key of this entry. KMS refuses all uses from then on, and deletes the key after the waiting time.
   * @param days 7 to 30 (AWS KMS API reference, ScheduleKeyDeletion).
   * @returns when the last one is deleted.
   * @throws S3Error as generate does.
   */
  async scheduleDeletion(days: number, signal: AbortSignal): Promise<Date> {
    let last = new Date()
    for (const arn of this.#arns) {
      const { DeletionDate: date } = await this.#at(arn).call(
        'ScheduleKeyDeletion',
        arn,
        signal,
        (client, sdk, options) => client.send(new sdk.ScheduleKeyDeletionCommand({ KeyId: arn, PendingWindowInDays: days }), options)
      )
      if (date !== undefined && date > last) last = date
    }
    return last
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
    const source = serviceContext(from)
    const destination = serviceContext(to)
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
      return { keyId: arn, blob: answeredBlob(answer.CiphertextBlob) }
    })
  }

  /** Wraps, unwraps and compares. @throws S3Error as generate and unwrap do. */
  async selfTest(): Promise<void> {
    await wrapAndUnwrap(this, this.#options.selfTestContext)
  }

  owns(keyId: string): boolean {
    return this.#arns.has(keyId)
  }

  rewraps(keyId: string): boolean {
    return this.owns(keyId) || this.#options.reEncryptFrom?.includes(keyId) === true
  }

  heldBack(): (readonly [endpoint: string, held: boolean])[] {
    return [...this.#connections].map(([region, { holdsBack }]) => [region, holdsBack])
  }

  /** Closes idle connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()))
  }

  async #encrypt(key: KeyObject, context: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const { arn } = this.#options
    const bound = serviceContext(context)
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
        return { keyId: arn, blob: answeredBlob(answer.CiphertextBlob) }
      })
    } finally {
      bytes.fill(0)
    }
  }

  #check(wrapped: WrappedBucketKey, known = this.owns(wrapped.keyId)): WrappedBucketKey {
    if (!known) throw keyNotHeld(wrapped.keyId)
    checkBlob(wrapped)
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
        limits,
        metrics,
        ...credentials === undefined ? {} : { credentials }
      })
      this.#connections.set(region, connection)
    }
    return connection
  }
}

function regionOf(arn: string): string {
  const region = keyArn.exec(arn)?.[1]
  if (region === undefined) throw new S3Error('InvalidArgument', { message: `${arn} is not the ARN of a KMS key.` })
  return region
}

function expectKeyId(answered: string | undefined, asked: string): void {
  if (answered !== asked) throw new WrongServiceAnswer(`KMS used key ${answered ?? 'without a name'}, not ${asked}.`)
}

type KmsConfig = Extract<KeyConfig, { type: 'aws-kms' }>

export const awsKmsKind: ProviderKind<KmsConfig> = {
  open: async (config, site) => openKms(config, site),
  /** The forms in which KMS accepts a key id (AWS KMS API reference, GenerateDataKey, KeyId). */
  names({ arn, aliases }) {
    const account = arn.slice(0, arn.indexOf(':key/') + 1)
    return [
      arn,
      arn.slice(account.length + 'key/'.length),
      ...aliases.map((alias) => alias.replace(/^alias\//, '')).flatMap((bare) => [bare, `alias/${bare}`, `${account}alias/${bare}`])
    ]
  },
  shownByName: false,
  async describe({ arn, decryptOnly, aliases }) {
    const older = decryptOnly.length === 0 ? '' : `; opens also ${decryptOnly.join(', ')}`
    return `AWS KMS ${arn}${older}${aliases.length === 0 ? '' : `; aliases ${aliases.join(', ')}`}`
  },
  check: async () => ({ faults: [], keyIds: null }),
  backup: async () => null,
  async destroy(config, site, { days, signal }) {
    const provider = openKms(config, site)
    try {
      const final = await provider.scheduleDeletion(days, signal)
      return { keyIds: [config.arn, ...config.decryptOnly], final: final.toISOString() }
    } finally {
      await provider.close()
    }
  }
}

function openKms(config: KmsConfig, site: KeySite): KmsKeyProvider {
  return new KmsKeyProvider({
    arn: config.arn,
    decryptOnly: config.decryptOnly,
    reEncryptFrom: siblings(config, site),
    region: config.region,
    endpoint: config.endpoint,
    selfTestContext: site.selfTestContext,
    metrics: site.metrics,
    ...credentialsFor(config, site)
  })
}

/** Credentials of the configuration, else those of the registry, else the standard chain. */
function credentialsFor({ credentials }: KmsConfig, { kmsCredentials }: KeySite): Pick<KmsProviderOptions, 'credentials'> {
  if (credentials === 'aws') return kmsCredentials === undefined ? {} : { credentials: kmsCredentials }
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  return { credentials: { accessKeyId, secretAccessKey, ...sessionToken === null ? {} : { sessionToken } } }
}

/** ARNs of all keys in the same region of the same service that use the same credentials: KMS can re-encrypt from them by itself. */
function siblings(config: KmsConfig, { keys }: KeySite): string[] {
  const serviceOf = (arn: string): string => arn.split(':', 4).join(':')
  const kms = Object.values(keys).filter((key): key is KmsConfig =>
    key.type === 'aws-kms' && key.endpoint === config.endpoint && isDeepStrictEqual(key.credentials, config.credentials)
  )
  return kms.flatMap(({ arn, decryptOnly }) => [arn, ...decryptOnly]).filter((arn) => serviceOf(arn) === serviceOf(config.arn))
}
