import { S3Error } from '../errors.ts'
import { auditEvent, errorCodeOf, withAudit } from './audit.ts'
import { withBucketKeyCache, type CachingKeyProvider } from './cache.ts'
import { Drain } from './drain.ts'
import { KeyringError } from './keyring.ts'
import { KmsKeyProvider } from './kms.ts'
import { LocalKeyProvider } from './local.ts'
import { openWithCustomerKey, sealWithCustomerKey, SSEC_KEY_ID, type CustomerKey } from './ssec.ts'
import type { BucketPolicy, Config, KeyConfig } from '../config.ts'
import type { AuditSink } from './audit-event.ts'
import type { KmsMetrics } from './kms-connection.ts'
import type { KmsProviderOptions } from './kms.ts'
import type { BucketKey, KeyContext, KeyProvider, KeyUse, WrappedBucketKey } from './types.ts'
import type { KeyObject } from 'node:crypto'

export interface KeyRegistryOptions {
  readonly keys: Config['keys']
  readonly cache: Config['keyCache']
  /** Realm and bucket of the self-test's context: those of the gateway's own state bucket. */
  readonly realm: string
  readonly stateBucket: string
  readonly audit: AuditSink
  readonly metrics?: KmsMetrics
  /** Absent: the standard AWS credential chain. */
  readonly kmsCredentials?: KmsProviderOptions['credentials']
  /** Clock of the cache, in milliseconds; only differences count. Absent: performance.now. */
  readonly now?: () => number
}

/** A key of the configuration, by the name it has there. */
export interface NamedProvider {
  readonly name: string
  readonly provider: KeyProvider
  /** Key id that new wraps get; null when no version of a keyring is enabled. */
  currentKeyId(): string | null
}

type KmsConfig = Extract<KeyConfig, { type: 'aws-kms' }>

interface Entry extends NamedProvider {
  readonly config: KeyConfig
  readonly cache: CachingKeyProvider
  readonly source: LocalKeyProvider | KmsKeyProvider
}

/**
 * Opens every key of the configuration. Keyrings are read; KMS is not called before it is needed.
 * @throws KeyringError for a keyring that cannot be used or two keyrings of one name; S3Error InvalidArgument for a bad ARN.
 */
export async function openKeyRegistry(options: KeyRegistryOptions): Promise<KeyRegistry> {
  const entries: Entry[] = []
  const keyrings = new Set<string>()
  for (const [name, config] of Object.entries(options.keys)) {
    const source = config.type === 'local' ? await LocalKeyProvider.open(config.keyring) : kmsProvider(config, options)
    if (source instanceof LocalKeyProvider) {
      // Their key ids would be told apart by nothing.
      if (keyrings.has(source.keyringName)) throw new KeyringError(`Two keys use keyrings named ${source.keyringName}.`)
      keyrings.add(source.keyringName)
    }
    entries.push(entryOf(name, config, source, options))
  }
  return new KeyRegistry(entries, options.audit)
}

/** What went wrong with one key among several. */
export class KeyFault extends Error {
  /** Its name in the configuration. */
  readonly key: string

  constructor(key: string, message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'KeyFault'
    this.key = key
  }
}

/** All keys the gateway may use, behind cache and audit trail. */
export class KeyRegistry {
  readonly #entries: readonly Entry[]
  readonly #audit: AuditSink
  readonly #users = new Drain()

  constructor(entries: readonly Entry[], audit: AuditSink) {
    this.#entries = entries
    this.#audit = audit
  }

  /** The key of that name. @throws S3Error InternalError: the configuration was checked to name only keys that exist. */
  providerFor(name: string): KeyProvider {
    return this.#required(name).provider
  }

  /** Who opens objects that carry this key id. @throws S3Error SealgateKeyUnavailable, naming the id. */
  providerOf(keyId: string): KeyProvider {
    const key = this.owner(keyId)
    if (key === null) {
      throw new S3Error('SealgateKeyUnavailable', { message: `The object is sealed with key ${keyId}, which the gateway does not hold.` })
    }
    return key.provider
  }

  /** The configured key that a key id found in an object belongs to; null when it is none of ours. */
  owner(keyId: string): NamedProvider | null {
    return this.#entries.find((candidate) => candidate.provider.owns(keyId)) ?? null
  }

  /** The key of that name; null when the configuration has none. */
  named(name: string): NamedProvider | null {
    return this.#entries.find((candidate) => candidate.name === name) ?? null
  }

  /** The id clients are shown: of a local key its name in the configuration, by which they may ask for it; of a KMS key its ARN. */
  shownId(keyId: string): string {
    const entry = this.#entries.find((candidate) => candidate.provider.owns(keyId))
    return entry?.config.type === 'local' ? entry.name : keyId
  }

  /**
   * The key that a write gets which asks for SSE-KMS.
   * @param requested key id, key ARN, alias or alias ARN, or the key's name in the configuration; null: the bucket's own key.
   * @throws S3Error KMS.NotFoundException for a key that is not configured, AccessDenied for one the bucket does not allow;
   * both are audited.
   */
  resolve(requested: string | null, policy: Pick<BucketPolicy, 'key' | 'allowedKeys'>, use: KeyUse): NamedProvider {
    try {
      if (requested === null) return this.#required(policy.key)
      const entry = this.#entries.find((candidate) => answersTo(candidate, requested))
      if (entry === undefined) throw new S3Error('KMS.NotFoundException', { message: `Key '${requested}' does not exist` })
      if (entry.name !== policy.key && !policy.allowedKeys.includes(entry.name)) throw new S3Error('AccessDenied')
      return entry
    } catch (error) {
      this.#audit({
        ...auditEvent(use, null, new Date(), errorCodeOf(error, use)), action: 'refused', masterKeyId: requested, cached: false
      })
      throw error
    }
  }

  /** sealWithCustomerKey, audited. Never cached. */
  sealForCustomer(customer: CustomerKey, context: KeyContext, use: KeyUse): BucketKey {
    return this.#tellCustomerUse('wrap', context, use, () => sealWithCustomerKey(customer))
  }

  /** openWithCustomerKey, audited. Never cached. @throws S3Error InvalidRequest for a wrong key. */
  openForCustomer(customer: CustomerKey, wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): KeyObject {
    return this.#tellCustomerUse('unwrap', context, use, () => openWithCustomerKey(customer, wrapped.blob))
  }

  /** Wraps and unwraps with every key. @throws AggregateError naming each key that failed; the gateway is not ready until none does. */
  async selfTest(): Promise<void> {
    await this.#forAll('self-test', async (entry) => entry.source.selfTest())
  }

  /** Regions of key services called so far, and whether the calls of any key there are held back after failures. */
  heldBack(): ReadonlyMap<string, boolean> {
    const regions = new Map<string, boolean>()
    for (const { source } of this.#entries) {
      if (!(source instanceof KmsKeyProvider)) continue
      for (const [region, held] of source.heldBack()) regions.set(region, held || regions.get(region) === true)
    }
    return regions
  }

  /** Tells that a request begins that may ask for keys at any time until it calls what this returns. */
  enter(): () => void {
    return this.#users.enter()
  }

  /** As `close`, once every request that entered has left: none of their calls is cut. */
  async retire(): Promise<void> {
    await this.#users.empty()
    await this.close()
  }

  /** Forgets every key and closes connections. */
  async close(): Promise<void> {
    await this.#forAll('close', async (entry) => {
      entry.cache.clear()
      if (entry.source instanceof KmsKeyProvider) await entry.source.close()
    })
  }

  #required(name: string): NamedProvider {
    const key = this.named(name)
    if (key === null) throw new S3Error('InternalError', { cause: new Error(`No key named ${name} is configured.`) })
    return key
  }

  async #forAll(what: string, work: (entry: Entry) => Promise<void>): Promise<void> {
    const failures: KeyFault[] = []
    await Promise.all(this.#entries.map(async (entry) => {
      try {
        await work(entry)
      } catch (error) {
        failures.push(new KeyFault(entry.name, `Key ${entry.name}: ${what} failed: ${(error as Error).message}`, error))
      }
    }))
    if (failures.length > 0) throw new AggregateError(failures, failures.map((failure) => failure.message).join(' '))
  }

  #tellCustomerUse<T>(action: 'wrap' | 'unwrap', context: KeyContext, use: KeyUse, work: () => T): T {
    const tell = (error: string | null): void => {
      this.#audit({ ...auditEvent(use, context, new Date(), error), action, masterKeyId: SSEC_KEY_ID, cached: false })
    }
    let result: T
    try {
      result = work()
    } catch (error) {
      tell(errorCodeOf(error, use))
      throw error
    }
    tell(null)
    return result
  }
}

function entryOf(name: string, config: KeyConfig, source: Entry['source'], options: KeyRegistryOptions): Entry {
  const shared = new WeakSet<KeyUse>()
  const cache = withBucketKeyCache(source, {
    ...options.cache,
    now: options.now ?? (() => performance.now()),
    onShared: (use) => { shared.add(use) }
  })
  const currentKeyId = (): string | null => source instanceof LocalKeyProvider ? source.currentKeyId() : source.arn
  const provider = withAudit(cache, {
    sink: options.audit,
    now: () => new Date(),
    currentKeyId,
    wasCached: (use) => shared.has(use)
  })
  return { name, config, source, cache, provider, currentKeyId }
}

function kmsProvider(config: KmsConfig, options: KeyRegistryOptions): KmsKeyProvider {
  return new KmsKeyProvider({
    arn: config.arn,
    decryptOnly: config.decryptOnly,
    reEncryptFrom: siblings(config, options.keys),
    region: config.region,
    endpoint: config.endpoint,
    selfTestContext: { realm: options.realm, bucket: options.stateBucket, objectKey: null, requestContext: {} },
    ...options.metrics === undefined ? {} : { metrics: options.metrics },
    ...options.kmsCredentials === undefined ? {} : { credentials: options.kmsCredentials }
  })
}

/** ARNs of all keys that live in the same region of the same service. */
function siblings(config: KmsConfig, keys: Config['keys']): string[] {
  const serviceOf = (arn: string): string => arn.split(':', 4).join(':')
  const kms = Object.values(keys).filter((key): key is KmsConfig => key.type === 'aws-kms' && key.endpoint === config.endpoint)
  return kms.flatMap(({ arn, decryptOnly }) => [arn, ...decryptOnly]).filter((arn) => serviceOf(arn) === serviceOf(config.arn))
}

/**
 * The forms in which KMS takes a key id (AWS KMS API reference, GenerateDataKey, KeyId), and the name in our configuration,
 * as plain name or alias, so that local keys can be asked for too. A local key id of any version, as told in answers, means
 * the keyring: its versions are to it what key material is to a KMS key.
 */
function answersTo(entry: Entry, requested: string): boolean {
  const names = [entry.name, `alias/${entry.name}`]
  if (entry.source instanceof LocalKeyProvider && entry.source.owns(requested)) return true
  if (entry.config.type === 'aws-kms') {
    const { arn, aliases } = entry.config
    const account = arn.slice(0, arn.indexOf(':key/') + 1)
    names.push(arn, arn.slice(account.length + 'key/'.length))
    for (const alias of aliases) {
      const bare = alias.replace(/^alias\//, '')
      names.push(bare, `alias/${bare}`, `${account}alias/${bare}`)
    }
  }
  return names.includes(requested)
}
