import { S3Error } from '../../errors.ts'
import { answeredBlob, answeredKey, checkBlob, eachOf, keyNotHeld, serviceContext, wrapAndUnwrap } from '../service/answers.ts'
import { REQUEST_MS, type ServiceLimits, type ServiceOptions } from '../service/connection.ts'
import { WrongServiceAnswer, type ServiceCall } from '../service/errors.ts'
import { inRegion, isMultiRegion, regionOf } from './kms-arn.ts'
import { KmsConnection, type KmsSend } from './kms-connection.ts'
import { keyKindOf } from '../../s3ec/data-key.ts'
import type { WrappedDataKey } from '../../s3ec/description.ts'
import { boundOf, contextOf, type Writable } from '../../s3ec/seal.ts'
import type { BucketKey, KeyContext, KeySource, KeyUse, OpenedDataKey, WrappedBucketKey, WrappedForClients } from '../types.ts'
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
  /** Further regions that have a replica of a multi-Region key, in the order in which they are asked when the one before does not answer. */
  readonly regions?: readonly string[]
  /** null: the public endpoint. */
  readonly endpoint: string | null
  /** The context of the self-test, so that key policies which demand a context allow it. */
  readonly selfTestContext: KeyContext
  /** Absent: the standard AWS credential chain. */
  readonly credentials?: KMSClientConfig['credentials']
}

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
    return this.#call('GenerateDataKey', arn, use.signal, async (client, sdk, options, place) => {
      const answer = await client.send(
        new sdk.GenerateDataKeyCommand({
          KeyId: place,
          KeySpec: 'AES_256',
          EncryptionContext: bound
        }),
        options
      )
      const key = answeredKey(answer.Plaintext)
      expectKeyId(answer.KeyId, place)
      return { key, wrapped: { keyId: arn, blob: answeredBlob(answer.CiphertextBlob) } }
    })
  }

  /**
   * @throws S3Error as generate does; SealgateKeyUnavailable for a key that is not configured; SealgateIntegrityError for a
   * blob or context that is not the one wrapped.
   */
  async unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    const { keyId, blob } = this.#check(wrapped)
    return this.#decrypt(keyId, blob, serviceContext(context), use.signal)
  }

  /**
   * Schedules the deletion of every key of this entry. KMS refuses all uses from then on, and deletes the key after the waiting time.
   * @param days 7 to 30 (AWS KMS API reference, ScheduleKeyDeletion).
   * @returns the keys, when the last one is deleted, and why others were refused.
   * @throws S3Error as generate does, where all are refused.
   */
  async scheduleDeletion(
    days: number,
    signal: AbortSignal
  ): Promise<{ readonly arns: readonly string[]; readonly last: Date; readonly failure: S3Error | null }> {
    let last = new Date()
    const { done, failure } = await eachOf([...this.#arns].flatMap((each) => this.#places(each)), async (arn) => {
      const { DeletionDate: date } = await this.#at(arn).call(
        'ScheduleKeyDeletion',
        arn,
        signal,
        (client, sdk, options) => client.send(new sdk.ScheduleKeyDeletionCommand({ KeyId: arn, PendingWindowInDays: days }), options)
      )
      if (date !== undefined && date > last) last = date
    })
    return { arns: done, last, failure }
  }

  /**
   * By ReEncrypt, even from another key of the service: the bucket key stays inside KMS. Between two regions, where KMS cannot do this, by Decrypt
   * and Encrypt.
   * @throws S3Error as unwrap does.
   */
  async rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    const { keyId, blob } = this.#check(wrapped, this.rewraps(wrapped.keyId))
    const { arn } = this.#options
    const sources = this.#places(keyId)
    const sourceIn = (place: string): string | undefined => sources.find((source) => regionOf(source) === regionOf(place))
    if (sourceIn(arn) === undefined) return this.#encrypt(await this.unwrap(wrapped, from, use), serviceContext(to), use.signal)
    const source = serviceContext(from)
    const destination = serviceContext(to)
    return this.#call('ReEncrypt', arn, use.signal, async (client, sdk, options, place) => {
      const sourceId = sourceIn(place) ?? ''
      const answer = await client.send(
        new sdk.ReEncryptCommand({
          CiphertextBlob: blob,
          SourceKeyId: sourceId,
          SourceEncryptionContext: source,
          DestinationKeyId: place,
          DestinationEncryptionContext: destination
        }),
        options
      )
      expectKeyId(answer.SourceKeyId, sourceId)
      expectKeyId(answer.KeyId, place)
      return { keyId: arn, blob: answeredBlob(answer.CiphertextBlob) }
    }, (place) => sourceIn(place) !== undefined)
  }

  /** Wraps, unwraps and compares. @throws S3Error as generate and unwrap do. */
  async selfTest(): Promise<void> {
    await wrapAndUnwrap(this, this.#options.selfTestContext)
  }

  opensDataKey(wrapped: WrappedDataKey): boolean {
    return keyKindOf(wrapped) === 'kms'
  }

  /**
   * A data key of the S3 Encryption Client, by the context that it was wrapped with. Its keys of the configuration are named in the calls, one after
   * the other, so that KMS refuses what any other key of the account has wrapped.
   * @throws S3Error as unwrap does.
   */
  async openDataKey({ blob, material }: WrappedDataKey, signal: AbortSignal): Promise<OpenedDataKey | null> {
    for (const keyId of this.#arns) {
      try {
        const key = await this.#decrypt(keyId, blob, { ...material }, signal)
        return { key, keyId }
      } catch (error) {
        if (!(error instanceof S3Error) || error.diagnosis?.errorName !== 'IncorrectKeyException') throw error
      }
    }
    return null
  }

  /** Under the context that the client demands, and no other. @throws S3Error as generate does. */
  async wrapDataKey(dataKey: KeyObject, version: Writable, signal: AbortSignal): Promise<WrappedForClients> {
    const context = contextOf(version)
    const { keyId, blob } = await this.#encrypt(dataKey, { ...context }, signal)
    return { key: dataKey, wrap: 'kms+context', blob, material: context, bound: boundOf(version), keyId }
  }

  owns(keyId: string): boolean {
    return this.#configured(keyId) !== null
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

  async #decrypt(keyId: string, blob: Buffer, context: Record<string, string>, signal: AbortSignal): Promise<KeyObject> {
    return this.#call('Decrypt', keyId, signal, async (client, sdk, options, place) => {
      const answer = await client.send(
        new sdk.DecryptCommand({
          KeyId: place,
          CiphertextBlob: blob,
          EncryptionContext: context
        }),
        options
      )
      const key = answeredKey(answer.Plaintext)
      expectKeyId(answer.KeyId, place)
      return key
    })
  }

  async #encrypt(key: KeyObject, bound: Record<string, string>, signal: AbortSignal): Promise<WrappedBucketKey> {
    const { arn } = this.#options
    const bytes = key.export()
    try {
      return await this.#call('Encrypt', arn, signal, async (client, sdk, options, place) => {
        const answer = await client.send(
          new sdk.EncryptCommand({
            KeyId: place,
            Plaintext: bytes,
            EncryptionContext: bound
          }),
          options
        )
        expectKeyId(answer.KeyId, place)
        return { keyId: arn, blob: answeredBlob(answer.CiphertextBlob) }
      })
    } finally {
      bytes.fill(0)
    }
  }

  /** The configured ARN that a key id means: itself, or, of a multi-Region key, that of another region. */
  #configured(keyId: string): string | null {
    if (this.#arns.has(keyId)) return keyId
    return isMultiRegion(keyId) ? [...this.#arns].find((arn) => keyId === inRegion(arn, regionOf(keyId))) ?? null : null
  }

  /** The ARNs by which a key can be asked for, in the order of the regions. One of a key that another entry has stays as it is. */
  #places(keyId: string): readonly string[] {
    const arn = this.#configured(keyId) ?? keyId
    return isMultiRegion(arn) && this.#arns.has(arn) ? [...new Set([arn, ...(this.#options.regions ?? []).map((region) => inRegion(arn, region))])] : [arn]
  }

  /** In the first region that answers. @param send gets the ARN of the key there. @param fits whether a region can do it at all. */
  async #call<T>(operation: ServiceCall, keyId: string, signal: AbortSignal, send: PlacedSend<T>, fits: (place: string) => boolean = () => true): Promise<T> {
    const places = this.#places(keyId).filter(fits)
    for (const [i, place] of places.entries()) {
      try {
        return await this.#at(place).call(operation, place, signal, (client, sdk, options) => send(client, sdk, options, place))
      } catch (error) {
        if (i + 1 === places.length || !(error instanceof S3Error) || error.code !== 'ServiceUnavailable') throw error
      }
    }
    throw keyNotHeld(keyId)
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
        limits: { ...sharedLimits(this.#options.regions?.length ?? 0), ...limits },
        metrics,
        ...credentials === undefined ? {} : { credentials }
      })
      this.#connections.set(region, connection)
    }
    return connection
  }
}

type PlacedSend<T> = (...call: [...Parameters<KmsSend<T>>, place: string]) => Promise<T>

/** With further regions each gets a share of the time that a key request may take, and less of it for retries. */
function sharedLimits(further: number): Partial<ServiceLimits> {
  const requestMs = Math.floor(REQUEST_MS / (further + 1))
  return further === 0 ? {} : { requestMs, callMs: Math.floor(requestMs / 2), attempts: 2 }
}

function expectKeyId(answered: string | undefined, asked: string): void {
  if (answered !== asked) throw new WrongServiceAnswer(`KMS used key ${answered ?? 'without a name'}, not ${asked}.`)
}
