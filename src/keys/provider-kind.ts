import type { KMSClientConfig } from '@aws-sdk/client-kms'
import type { Config, KeyConfig } from '../config/config.ts'
import type { S3Error } from '../errors.ts'
import type { BackupCheck } from './backup-check.ts'
import type { ServiceMetrics } from './service/connection.ts'
import type { KeyContext, KeySource } from './types.ts'

/** Where a key is used, and what all keys of a gateway have in common. */
export interface KeySite {
  /** Of the stores where it is used. */
  readonly realms: readonly string[]
  /** The context of the self-test, so that key policies which demand a context allow it: realm and state bucket of the first store. */
  readonly selfTestContext: KeyContext
  /** All keys of the configuration: a service may rewrap from one of its keys to another. */
  readonly keys: Config['keys']
  readonly metrics: ServiceMetrics | undefined
  /** undefined: the standard AWS credential chain. */
  readonly kmsCredentials: KMSClientConfig['credentials']
}

/** A kind of key service: how its section of the configuration becomes a key. */
export interface ProviderKind<C extends KeyConfig> {
  /** Reads files; the service is not called before it is needed. @throws KeyringError, S3Error InvalidArgument for what cannot be opened. */
  open(config: C, site: KeySite): Promise<KeySource>
  /** Names that requests may use for the key, beside its name in the configuration. */
  names(config: C): readonly string[]
  /**
   * True: clients see the name in the configuration, and any key id of the key names it in requests: a key id changes with each version.
   * False: clients see the key id.
   */
  readonly shownByName: boolean
  /** One line for people. No secret appears. */
  describe(config: C): Promise<string>
  /** Reads the files that it names. @param realms of the stores where the key is used */
  check(config: C, realms: readonly string[]): Promise<FilesFound>
  /** The last check of a backup that holds these versions; null: there was none here, or the service keeps the key. */
  backup(config: C, versions: readonly string[]): Promise<BackupCheck | null>
  /**
   * Destroys the key with every version, or has the service do it at a later time and refuse all uses until then.
   * @throws KeyringError, S3Error of the service where nothing was destroyed.
   */
  destroy(config: C, site: KeySite, wanted: { readonly days: number; readonly signal: AbortSignal }): Promise<Destruction>
}

/** What a destruction has come to. */
export interface Destruction {
  /** Key ids that open nothing any more. */
  readonly keyIds: readonly string[]
  /** When the key is gone for good, ISO 8601. Until then only the key service can bring it back. */
  readonly final: string
  /** What the operator has to know or do: what can bring the key back, and what was left. */
  readonly notes: readonly string[]
  /** Why the rest of the key is still there; null: all of it is destroyed. */
  readonly failure: S3Error | null
}

interface FilesFound {
  /** What is wrong with them, by option. */
  readonly faults: readonly { readonly option: string; readonly message: string }[]
  /** KeySource.keyIdPrefix, and the option that decides it; null: there is none, or it cannot be known. */
  readonly keyIds: { readonly option: string; readonly prefix: string } | null
}
