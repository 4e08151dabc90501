import { isDeepStrictEqual } from 'node:util'
import type { Config, KeyConfig } from '../config/config.ts'
import type { AuditSink, KeyProvider, KeyUse } from './types.ts'
import type { KmsMetrics } from './providers/kms-connection.ts'
import { withAudit } from './audited-provider.ts'
import { withBucketKeyCache, type CachingKeyProvider } from './bucket-key-cache.ts'
import { KmsKeyProvider, type KmsProviderOptions } from './providers/aws-kms.ts'
import { LocalKeyProvider } from './providers/local.ts'

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

/** One key of the configuration: where it comes from, its cache, and both behind the audit trail. */
export interface ConfiguredKey extends NamedProvider {
  readonly config: KeyConfig
  readonly cache: CachingKeyProvider
  readonly source: LocalKeyProvider | KmsKeyProvider
}

type KmsConfig = Extract<KeyConfig, { type: 'aws-kms' }>

/** Reads a keyring; KMS is not called before it is needed. @throws KeyringError; S3Error InvalidArgument for a bad ARN. */
export async function openKey(name: string, config: KeyConfig, options: KeyRegistryOptions): Promise<ConfiguredKey> {
  const source = config.type === 'local' ? await LocalKeyProvider.open(config.keyring, options.realm) : kmsProvider(config, options)
  const shared = new WeakSet<KeyUse>()
  const cache = withBucketKeyCache(source, {
    ...options.cache,
    now: options.now ?? (() => performance.now()),
    onShared: (use) => {
      shared.add(use)
    }
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
    ...credentialsFor(config, options)
  })
}

/** What the configuration gives, else what the registry was given, else the standard chain. */
function credentialsFor({ credentials }: KmsConfig, { kmsCredentials }: KeyRegistryOptions): Pick<KmsProviderOptions, 'credentials'> {
  if (credentials === 'aws') return kmsCredentials === undefined ? {} : { credentials: kmsCredentials }
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  return { credentials: { accessKeyId, secretAccessKey, ...sessionToken === null ? {} : { sessionToken } } }
}

/** ARNs of all keys that live in the same region of the same service, and are asked for with the same credentials. */
function siblings(config: KmsConfig, keys: Config['keys']): string[] {
  const serviceOf = (arn: string): string => arn.split(':', 4).join(':')
  const kms = Object.values(keys).filter((key): key is KmsConfig =>
    key.type === 'aws-kms' && key.endpoint === config.endpoint && isDeepStrictEqual(key.credentials, config.credentials)
  )
  return kms.flatMap(({ arn, decryptOnly }) => [arn, ...decryptOnly]).filter((arn) => serviceOf(arn) === serviceOf(config.arn))
}

/**
 * The forms in which KMS takes a key id (AWS KMS API reference, GenerateDataKey, KeyId), and the name in our configuration,
 * as plain name or alias, so that clients can name local keys too. A local key id of any version, as answers have it, means
 * the keyring: its versions are to it what key material is to a KMS key.
 */
export function answersTo(key: ConfiguredKey, requested: string): boolean {
  const names = [key.name, `alias/${key.name}`]
  if (key.source instanceof LocalKeyProvider && key.source.owns(requested)) return true
  if (key.config.type === 'aws-kms') {
    const { arn, aliases } = key.config
    const account = arn.slice(0, arn.indexOf(':key/') + 1)
    names.push(arn, arn.slice(account.length + 'key/'.length))
    for (const alias of aliases) {
      const bare = alias.replace(/^alias\//, '')
      names.push(bare, `alias/${bare}`, `${account}alias/${bare}`)
    }
  }
  return names.includes(requested)
}
