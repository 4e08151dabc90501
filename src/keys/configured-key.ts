import { hash, type KeyObject } from 'node:crypto'
import type { Config, KeyConfig, UpstreamConfig } from '../config/config.ts'
import type {
  AuditSink,
  CachingKeyProvider,
  KeyAnswer,
  KeyProvider,
  KeySource,
  KeyUse,
  BucketKey,
  KeyContext,
  OpenedDataKey,
  WrappedBucketKey
} from './types.ts'
import type { BackupCheck } from './backup-check.ts'
import { withAudit } from './audited-provider.ts'
import { awsKmsKind } from './providers/aws-kms-kind.ts'
import { azureKeyVaultKind } from './providers/azure-kind.ts'
import { gcpKmsKind } from './providers/gcp-kind.ts'
import { kmipKind } from './providers/kmip-kind.ts'
import { localKind } from './providers/local.ts'
import { pkcs11Kind } from './providers/pkcs11.ts'
import { s3ecAesKind, s3ecRsaKind } from './providers/s3ec.ts'
import { vaultTransitKind } from './providers/vault-kind.ts'
import type { KeySite, ProviderKind } from './provider-kind.ts'
import { SingleFlightCache, type Lookup } from './single-flight-cache.ts'

export interface KeyRegistryOptions {
  readonly keys: Config['keys']
  readonly cache: Config['keyCache']
  /** The stores where a key is used, by its name. The self-test's context has realm and state bucket of the first. */
  readonly usedAt: (key: string) => readonly Pick<UpstreamConfig, 'realm' | 'stateBucket'>[]
  readonly audit: AuditSink
  readonly metrics?: KeySite['metrics']
  /** Absent: the standard AWS credential chain. */
  readonly kmsCredentials?: KeySite['kmsCredentials']
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

/** One key of the configuration: its source, its cache, and both behind the audit trail. */
export interface ConfiguredKey extends NamedProvider {
  readonly config: KeyConfig
  readonly cache: CachingKeyProvider
  readonly source: KeySource
  /** Data keys of the S3 Encryption Client that it has opened. */
  readonly dataKeys: SingleFlightCache<OpenedDataKey | null>
}

/** A key as the operator sees it: nothing of it is secret. */
export interface KeyDescription {
  readonly name: string
  readonly type: KeyConfig['type']
  /** Key id that new wraps get; null when no version of a keyring is enabled. */
  readonly keyId: string | null
  /** Of a keyring; of a key service none. */
  readonly versions: readonly { readonly id: string; readonly state: string }[]
  /** Of a keyring, the last backup that opened and held it; null: none was checked here. */
  readonly backup: BackupCheck | null
}

/** The key as it is in use now, and the backup check as it is on disk. */
export async function describeKey({ name, config, source }: ConfiguredKey): Promise<KeyDescription> {
  const { versions } = source
  const backup = await kindOf(config).backup(config, versions.map(({ id }) => id))
  return { name, type: config.type, keyId: source.currentKeyId(), versions, backup }
}

/**
 * Every kind of key service, by the `type` that the configuration gives a key (config/key-schema.ts): a new one is its file, its schema and its row.
 */
const kinds: { readonly [T in KeyConfig['type']]: ProviderKind<Extract<KeyConfig, { type: T }>> } = {
  'local': localKind,
  'aws-kms': awsKmsKind,
  'vault-transit': vaultTransitKind,
  'pkcs11': pkcs11Kind,
  'gcp-kms': gcpKmsKind,
  'azure-key-vault': azureKeyVaultKind,
  'kmip': kmipKind,
  's3ec-aes': s3ecAesKind,
  's3ec-rsa': s3ecRsaKind
}

/** The row of a key. */
export function kindOf<C extends KeyConfig>(config: C): ProviderKind<C> {
  return kinds[config.type] as unknown as ProviderKind<C>
}

/** Where the key of that name is used. */
export function siteOf(name: string, options: Pick<KeyRegistryOptions, 'keys' | 'usedAt' | 'metrics' | 'kmsCredentials'>): KeySite {
  const stores = options.usedAt(name)
  const { realm, stateBucket } = stores[0] ?? { realm: '', stateBucket: '' }
  return {
    realms: stores.map((store) => store.realm),
    selfTestContext: { realm, bucket: stateBucket, objectKey: null, requestContext: {} },
    keys: options.keys,
    metrics: options.metrics,
    kmsCredentials: options.kmsCredentials
  }
}

/** Reads files such as a keyring; a key service is not called before it is needed. @throws KeyringError; S3Error InvalidArgument for a bad ARN. */
export async function openKey(name: string, config: KeyConfig, options: KeyRegistryOptions): Promise<ConfiguredKey> {
  const source = await kindOf(config).open(config, siteOf(name, options))
  const caching = { ...options.cache, now: options.now ?? (() => performance.now()) }
  const cache = withBucketKeyCache(source, caching)
  const currentKeyId = (): string | null => source.currentKeyId()
  const provider = withAudit(cache, { sink: options.audit, now: () => new Date(), currentKeyId })
  return { name, config, source, cache, provider, currentKeyId, dataKeys: new SingleFlightCache(caching) }
}

/**
 * Whether a name in a request means this key: its name in the configuration, as plain name or alias, or a name that its kind has. A key id of any
 * version, as in answers, means the key where versions correspond to the key material of a KMS key.
 */
export function answersTo({ name, config, source }: ConfiguredKey, requested: string): boolean {
  const kind = kindOf(config)
  return [name, `alias/${name}`, ...kind.names(config)].includes(requested) || (kind.shownByName && source.owns(requested))
}

interface BucketKeyCacheOptions {
  /** Seconds a bucket key is kept in plaintext, counted from the call that returned it: the delay of a revocation. */
  readonly maxAgeSeconds: number
  /** Entries of each kind: keys to seal with, unwrapped keys, re-wraps, and failures of each. Clients share them fairly. */
  readonly maxEntries: number
  /** Objects sealed under one bucket key before a new one is made. 1: a wrap for every object. */
  readonly maxUses: number
  /** Milliseconds; only differences count. */
  readonly now: () => number
}

/**
 * Bucket keys (docs/FORMAT.md, "Keys"): one wrap serves many objects for a while, and unwrapped keys are kept for the same time. Every entry is bound
 * to the full context, so that a key never serves a place it was not wrapped for. Customer keys are never cached: they have no provider.
 */
export function withBucketKeyCache(provider: KeyProvider, options: BucketKeyCacheOptions): CachingKeyProvider {
  return new BucketKeyCache(provider, options)
}

interface Sealing {
  readonly bucketKey: BucketKey
  uses: number
}

class BucketKeyCache implements CachingKeyProvider {
  readonly #provider: KeyProvider
  readonly #options: BucketKeyCacheOptions
  readonly #sealing: SingleFlightCache<Sealing>
  readonly #unwrapped: SingleFlightCache<KeyObject>
  readonly #rewrapped: SingleFlightCache<WrappedBucketKey>
  /** Counts the calls of clear: a key requested before it must not be cached after it. */
  #epoch = 0

  constructor(provider: KeyProvider, options: BucketKeyCacheOptions) {
    this.#provider = provider
    this.#options = options
    this.#sealing = new SingleFlightCache(options)
    this.#unwrapped = new SingleFlightCache(options)
    this.#rewrapped = new SingleFlightCache(options)
  }

  get size(): number {
    return this.#sealing.size + this.#unwrapped.size + this.#rewrapped.size
  }

  async generate(context: KeyContext, use: KeyUse): Promise<KeyAnswer<BucketKey>> {
    // A context that names one object cannot be shared.
    if (this.#options.maxUses === 1 || context.objectKey !== null) return settled({ shared: false, value: this.#make(context, use) })
    const id = cacheKey(context)
    for (;;) {
      const { cached, result } = await settled(
        this.#sealing.get(id, use.principal, use.signal, async (signal) => ({ bucketKey: await this.#make(context, { ...use, signal }), uses: 0 }))
      )
      if (result.status === 'rejected') return { cached, result }
      const { value } = result
      if (value.uses < this.#options.maxUses) {
        value.uses += 1
        return { cached, result: { status: 'fulfilled', value: value.bucketKey } }
      }
      this.#sealing.drop(id, value)
    }
  }

  unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyAnswer<KeyObject>> {
    const id = cacheKey(context, wrapped)
    return settled(this.#unwrapped.get(id, use.principal, use.signal, (signal) => this.#provider.unwrap(wrapped, context, { ...use, signal })))
  }

  rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<KeyAnswer<WrappedBucketKey>> {
    const id = cacheKey(from, wrapped) + cacheKey(to)
    return settled(this.#rewrapped.get(id, use.principal, use.signal, (signal) => this.#provider.rewrap(wrapped, from, to, { ...use, signal })))
  }

  selfTest(): Promise<void> {
    return this.#provider.selfTest()
  }

  owns(keyId: string): boolean {
    return this.#provider.owns(keyId)
  }

  rewraps(keyId: string): boolean {
    return this.#provider.rewraps(keyId)
  }

  clear(): void {
    this.#epoch += 1
    for (const cache of [this.#sealing, this.#unwrapped, this.#rewrapped]) cache.clear()
  }

  sweep(): void {
    for (const cache of [this.#sealing, this.#unwrapped, this.#rewrapped]) cache.sweep()
  }

  /** A new bucket key, kept unwrapped for reads of the objects written with it. */
  async #make(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    const startedAt = this.#options.now()
    const epoch = this.#epoch
    const bucketKey = await this.#provider.generate(context, use)
    if (epoch === this.#epoch) this.#unwrapped.put(cacheKey(context, bucketKey.wrapped), use.principal, bucketKey.key, startedAt)
    return bucketKey
  }
}

async function settled<V>({ shared, value }: Lookup<V>): Promise<KeyAnswer<V>> {
  try {
    return { cached: shared, result: { status: 'fulfilled', value: await value } }
  } catch (reason) {
    return { cached: shared, result: { status: 'rejected', reason } }
  }
}

/** A hash, so that a key of the cache is small for every blob and context; of JSON, so that different lists have different texts. */
function cacheKey(context: KeyContext, wrapped?: WrappedBucketKey): string {
  const requestContext = Object.entries(context.requestContext).sort(([a], [b]) => a < b ? -1 : 1)
  const parts = [
    wrapped?.keyId ?? null,
    wrapped?.blob.toString('base64') ?? null,
    context.realm,
    context.bucket,
    context.objectKey,
    requestContext
  ]
  return hash('sha256', JSON.stringify(parts), 'base64')
}
