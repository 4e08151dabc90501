import type { KeyObject } from 'node:crypto'
import type { AuditSink, BucketKey, KeyContext, KeyProvider, KeyUse, WrappedBucketKey, WrappedForClients } from './types.ts'
import type { Writable } from '../s3ec/seal.ts'
import { Finding, S3Error } from '../errors.ts'
import { auditEvent, errorCodeOf } from './audited-provider.ts'
import {
  answersTo,
  describeKey,
  type KeyDescription,
  kindOf,
  openKey,
  type ConfiguredKey,
  type KeyRegistryOptions,
  type NamedProvider
} from './configured-key.ts'
import { keyNotHeld } from './service/answers.ts'
import { InFlight } from '../concurrency/in-flight.ts'
import { openDataKey, wrapDataKey } from './data-keys.ts'
import { KeyringError } from './keyring.ts'
import { openWithCustomerKey, sealWithCustomerKey, SSEC_KEY_ID, type CustomerKey } from './ssec.ts'
import { keysOf, sealingKeys, type KeyPins } from '../config/pins.ts'
import type { WrappedDataKey } from '../s3ec/description.ts'

/**
 * Opens every key of the configuration. Keyrings are read; KMS is not called before it is needed.
 * @throws KeyringError for a keyring that cannot be used or two keys whose key ids are the same; S3Error InvalidArgument for a bad ARN.
 */
export async function openKeyRegistry(options: KeyRegistryOptions): Promise<KeyRegistry> {
  const keys: ConfiguredKey[] = []
  const prefixes = new Map<string, string>()
  const registry = new KeyRegistry(keys, options.audit)
  try {
    for (const [name, config] of Object.entries(options.keys)) {
      const key = await openKey(name, config, options)
      keys.push(key)
      const { keyIdPrefix } = key.source
      const other = keyIdPrefix === null ? undefined : prefixes.get(keyIdPrefix)
      if (other !== undefined) throw new KeyringError(`Keys ${other} and ${name} have the same key ids: ${keyIdPrefix ?? ''}*.`)
      if (keyIdPrefix !== null) prefixes.set(keyIdPrefix, name)
    }
    return registry
  } catch (error) {
    await registry.close()
    throw error
  }
}

/** The failure of one key among several. */
class KeyFault extends Error {
  /** Its name in the configuration. */
  readonly key: string

  constructor(key: string, message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'KeyFault'
    this.key = key
  }
}

/** An object or record names a key that the gateway holds and that may not open there. */
export class ForeignKey extends Error {
  /** @param key its name in the configuration */
  constructor(key: string) {
    super(`Key ${key} is neither the key of the bucket or prefix nor in its allowedKeys or openKeys.`)
    this.name = 'ForeignKey'
  }
}

/** All keys the gateway may use, behind cache and audit trail. */
export class KeyRegistry {
  readonly #keys: readonly ConfiguredKey[]
  readonly #audit: AuditSink
  readonly #users = new InFlight()

  constructor(keys: readonly ConfiguredKey[], audit: AuditSink) {
    this.#keys = keys
    this.#audit = audit
  }

  /** The key of that name. @throws S3Error InternalError: the configuration was checked to name only keys that exist. */
  providerFor(name: string): KeyProvider {
    return this.#required(name).provider
  }

  /**
   * The key that opens objects with this key id at a place. The store states the id; the configuration decides which keys it may name there.
   * @param pins those of the object's name (`pinsAt`).
   * @throws S3Error SealgateKeyUnavailable, naming the id; audited. Its cause is a ForeignKey where the gateway holds the key.
   */
  openerOf(keyId: string, pins: KeyPins, use: KeyUse): NamedProvider {
    const key = this.owner(keyId)
    if (key !== null && keysOf(pins).includes(key.name)) return key
    const error = key === null
      ? keyNotHeld(keyId)
      : new S3Error('SealgateKeyUnavailable', {
        message: `The object is sealed with key ${keyId}, which must not open it here.`,
        cause: new ForeignKey(key.name)
      })
    this.#auditRefusal(keyId, error, use)
    throw error
  }

  /** The configured key that a key id found in an object belongs to; null when it belongs to none. */
  owner(keyId: string): NamedProvider | null {
    return this.#keys.find((candidate) => candidate.provider.owns(keyId)) ?? null
  }

  /** The key of that name; null when the configuration has none. */
  named(name: string): NamedProvider | null {
    return this.#keys.find((candidate) => candidate.name === name) ?? null
  }

  /** Whether the name that a client gives is that of the configured key with this key id. @param requested as `resolve` takes it. */
  names(requested: string, keyId: string): boolean {
    const key = this.#keys.find((candidate) => candidate.provider.owns(keyId))
    return key !== undefined && answersTo(key, requested)
  }

  /** The id that clients see: the name in the configuration, which they may use in requests, or a KMS key's ARN. */
  shownId(keyId: string): string {
    const entry = this.#keys.find((candidate) => candidate.provider.owns(keyId))
    return entry !== undefined && kindOf(entry.config).shownByName ? entry.name : keyId
  }

  /**
   * The key of a write that asks for SSE-KMS.
   * @param requested key id, key ARN, alias or alias ARN, or the key's name in the configuration; null: the bucket's own key.
   * @throws S3Error KMS.NotFoundException for a key that is not configured, AccessDenied for one that is not allowed there; both are audited.
   */
  resolve(requested: string | null, pins: KeyPins, use: KeyUse): NamedProvider {
    try {
      if (requested === null) return this.#required(pins.key)
      const entry = this.#keys.find((candidate) => answersTo(candidate, requested))
      if (entry === undefined) throw new S3Error('KMS.NotFoundException', { message: `Key '${requested}' does not exist` })
      if (!sealingKeys(pins).includes(entry.name)) throw new S3Error('AccessDenied')
      return entry
    } catch (error) {
      this.#auditRefusal(requested, error, use)
      throw error
    }
  }

  /** sealWithCustomerKey, audited. Never cached. */
  sealForCustomer(customer: CustomerKey, context: KeyContext, use: KeyUse): BucketKey {
    return this.#auditCustomerUse('wrap', context, use, () => sealWithCustomerKey(customer))
  }

  /** openWithCustomerKey, audited. Never cached. @throws S3Error InvalidRequest for a wrong key. */
  openForCustomer(customer: CustomerKey, wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): KeyObject {
    return this.#auditCustomerUse(
      'unwrap',
      context,
      use,
      () => openWithCustomerKey(customer, { blob: wrapped.blob, scope: context.objectKey === null ? 'bucket' : 'object' })
    )
  }

  /** A data key of the S3 Encryption Client, by the keys of these names. @throws as `openDataKey` of data-keys.ts. */
  async openDataKey(names: readonly string[], wrapped: WrappedDataKey, use: KeyUse): Promise<KeyObject> {
    return openDataKey(names.map((name) => this.#required(name)), wrapped, use, this.#audit)
  }

  /** Wraps the data key of a new object of the S3 Encryption Client by the key of that name. @throws as `wrapDataKey` of data-keys.ts. */
  async wrapDataKey(name: string, dataKey: KeyObject, version: Writable, use: KeyUse): Promise<WrappedForClients> {
    return wrapDataKey(this.#required(name), dataKey, version, use, this.#audit)
  }

  /** Whether the key of that name seals nothing. */
  opensOnly(name: string): boolean {
    return this.#required(name).source.opensOnly === true
  }

  /** Names of all keys, in the order of the configuration. */
  get keyNames(): readonly string[] {
    return this.#keys.map(({ name }) => name)
  }

  /** What each key is. Reads beside every keyring when a backup of it was checked. */
  async describe(): Promise<readonly KeyDescription[]> {
    return Promise.all(this.#keys.map(describeKey))
  }

  /** Wraps and unwraps with the key of that name. @throws S3Error of the key; InternalError for a name that is not configured. */
  async selfTestOf(name: string): Promise<void> {
    await this.#required(name).source.selfTest()
  }

  /** What the service of a key says of it and an operator should change; known after its self-test. */
  warningsOf(name: string): readonly string[] {
    return this.#required(name).source.warnings ?? []
  }

  /** Asks the services which version of each key is current. One that does not answer is no failure yet: the key may not be used. */
  async learn(signal: AbortSignal): Promise<void> {
    await this.#forAll('look-up', async ({ source }) => {
      await source.learn?.(signal).catch((error: unknown) => {
        if (signal.aborted || !(error instanceof S3Error)) throw error
      })
    })
  }

  /** Wraps and unwraps with every key. @throws AggregateError naming each key that failed. */
  async selfTest(): Promise<void> {
    await this.#forAll('self-test', async (key) => key.source.selfTest())
  }

  /** Endpoints of key services called so far, and whether the calls of any key there are held back after failures. */
  heldBack(): ReadonlyMap<string, boolean> {
    const endpoints = new Map<string, boolean>()
    for (const { source } of this.#keys) {
      for (const [endpoint, held] of source.heldBack()) endpoints.set(endpoint, held || endpoints.get(endpoint) === true)
    }
    return endpoints
  }

  /** Registers a request that may use keys until it calls the returned function. */
  enter(): () => void {
    return this.#users.enter()
  }

  /** As `close`, once every registered request has ended, so that none of their calls is aborted. */
  async retire(): Promise<void> {
    await this.#users.empty()
    await this.close()
  }

  /** Drops every cached key and closes connections. */
  async close(): Promise<void> {
    await this.#forAll('close', async (key) => {
      key.cache.clear()
      key.dataKeys.clear()
      await key.source.close()
    })
  }

  #auditRefusal(masterKeyId: string | null, error: unknown, use: KeyUse): void {
    this.#audit({ ...auditEvent(use, null, new Date(), errorCodeOf(error, use)), action: 'refused', masterKeyId, cached: false })
  }

  #required(name: string): ConfiguredKey {
    const key = this.#keys.find((candidate) => candidate.name === name) ?? null
    if (key === null) throw new S3Error('InternalError', { cause: new Finding(`No key named ${name} is configured.`) })
    return key
  }

  async #forAll(what: string, work: (key: ConfiguredKey) => Promise<void>): Promise<void> {
    const failures: KeyFault[] = []
    await Promise.all(this.#keys.map(async (key) => {
      try {
        await work(key)
      } catch (error) {
        failures.push(new KeyFault(key.name, `Key ${key.name}: ${what} failed: ${(error as Error).message}`, error))
      }
    }))
    if (failures.length > 0) throw new AggregateError(failures, failures.map((failure) => failure.message).join(' '))
  }

  #auditCustomerUse<T>(action: 'wrap' | 'unwrap', context: KeyContext, use: KeyUse, work: () => T): T {
    const report = (error: string | null): void => {
      this.#audit({ ...auditEvent(use, context, new Date(), error), action, masterKeyId: SSEC_KEY_ID, cached: false })
    }
    let result: T
    try {
      result = work()
    } catch (error) {
      report(errorCodeOf(error, use))
      throw error
    }
    report(null)
    return result
  }
}
