import type { Client } from '../auth/types.ts'
import type { Credentials, KeyConfig } from './key-config.ts'
import type { ProfileName, StoreFeature } from './store-profiles.ts'
import type { PolicyKeys } from './pins.ts'
import { Finding, S3Error } from '../errors.ts'
import { allKeysOf } from './pins.ts'
import { PrefixMap } from './patterns.ts'
import type { S3ecPolicy } from './s3ec-policy.ts'

export type { KeyConfig }

/** The policy of a bucket. Patterns are resolved to one policy per bucket name when asked. */
export interface BucketPolicy {
  /** Name in `upstreams`: the store where the bucket is. */
  readonly upstream: string
  /** `on`: every object is sealed. `off`: objects pass unchanged. */
  readonly encryption: 'on' | 'off'
  readonly keys: PolicyKeys
  /** `md5-small`: the MD5 of objects of one piece up to 8 MiB, opaque ETags of others. */
  readonly etag: 'md5' | 'md5-small' | 'opaque'
  /** `sealed`: metadata is sealed with the object's key; `clear`: the store has it in plaintext, and a digest binds it. */
  readonly metadata: 'sealed' | 'clear'
  /** What to do with objects that Sealgate did not write. */
  readonly plaintext: 'refuse' | 'allow'
  /** null: objects of the S3 Encryption Client are objects that Sealgate did not write, like any other. */
  readonly s3ec: S3ecPolicy | null
  /** Answer reads with SSE-KMS headers although the client did not ask for SSE-KMS (old Java SDKs need it). */
  readonly announce: 'none' | 'aws:kms'
  /**
   * Anonymous GET, HEAD and listing. `true`: answered, with the gateway's own rights; prefixes: the same, for objects under one of them; `store`:
   * passed on unsigned, so that the store's ACLs and policies decide. The store is not trusted, but then decides who reads plaintext. `marked`: the
   * same, but only for objects with the public mark (docs/FORMAT.md, Public mark).
   */
  readonly publicRead: boolean | 'store' | 'marked' | { readonly prefixes: readonly string[] }
  /** KMS only: one wrap serves many objects for a while. */
  readonly bucketKeys: boolean
  /** Names of other buckets whose objects (replicas from there) open here, one way. */
  readonly aliases: readonly string[]
  /** Uploads must ask for one of these modes; empty: no demand. */
  readonly requireSse: readonly ('AES256' | 'aws:kms' | 'SSE-C')[]
}

/** SSE-S3, or SSE-KMS under a key of the store's key service (AWS API, PutObject). */
export type StoreEncryption = 'AES256' | { readonly kms: string; readonly context: Readonly<Record<string, string>>; readonly bucketKey: boolean }

/** A store that holds sealed objects, and how it is used. */
export interface UpstreamConfig {
  readonly name: string
  /** Where the file has it, for messages: `upstream`, `upstreams.NAME`. */
  readonly section: string
  readonly endpoint: string
  readonly region: string
  /** `aws`: the standard AWS credential chain with refresh. */
  readonly credentials: Credentials
  readonly stateBucket: string
  readonly realm: string
  readonly style: 'path' | 'virtual-host'
  readonly ca: string | null
  readonly connections: number
  /** Overrides the results of the probe of conditional requests. */
  readonly conditions: Readonly<Partial<Record<'put' | 'complete' | 'copy' | 'delete', boolean>>>
  /** The store's own encryption, requested for every new object and upload; null: the store's default. */
  readonly sse: StoreEncryption | null
  /** Checksum of the stored bytes that is sent to the store with them: buckets with Object Lock demand one. null: none. */
  readonly checksum: 'crc32' | null
  /** Bytes of user metadata that the store accepts with an object, including Sealgate's own. */
  readonly metadataBytes: number
  /** Parts that the store accepts in one upload: 10,000 in S3, fewer at some providers. Also its highest part number. */
  readonly maxParts: number
  /** The store demands parts of one size, and a last one that is not larger (R2). */
  readonly equalParts: boolean
  /** The provider that options were left out for. */
  readonly profile: ProfileName
  /** Parts of S3 that the store does not have: done by other requests, or refused. */
  readonly lacks: readonly StoreFeature[]
}

export interface AuditSinkConfig {
  /** `udp:`, `tcp:`, `tls:` and `unix:` are syslog. */
  readonly url: string
  readonly ca: string | null
  readonly tokenFile: string | null
  /** `refuse`: no key is used while it is down. `buffer`: lines wait, and are lost to it beyond `bufferBytes`. */
  readonly whenDown: 'buffer' | 'refuse'
  readonly bufferBytes: number
}

export interface Config {
  readonly listen: {
    readonly host: string
    readonly port: number
    readonly tls: { readonly cert: string; readonly key: string; readonly clientCa: string | null } | null
    /** Regions accepted in credential scopes; empty: any. */
    readonly regions: readonly string[]
    /** Base domains for virtual-host style requests (`bucket.<domain>`). */
    readonly domains: readonly string[]
    /** Addresses of front ends that terminate TLS and whose X-Forwarded-Proto is trusted. */
    readonly trustedProxies: readonly string[]
    /** Where the address of a client is taken from on connections of these. */
    readonly clientAddress: 'peer' | 'x-forwarded-for' | 'forwarded' | 'proxy-protocol'
    readonly allowPlainBeyondLoopback: boolean
    /** CORS rules for all buckets; empty: the store's rules of each bucket. */
    readonly cors: readonly {
      readonly origins: readonly string[]
      readonly methods: readonly string[]
      readonly headers: readonly string[]
      readonly expose: readonly string[]
      /** Seconds, as digits; null: not set. */
      readonly maxAge: string | null
    }[]
  }
  /** `page`: with the status page. */
  readonly admin: { readonly host: string; readonly port: number; readonly page: boolean } | null
  /** By name. One that the file has as `upstream` is named `default`. */
  readonly upstreams: Readonly<Record<string, UpstreamConfig>>
  readonly clients: readonly (Client & { readonly secretAccessKey: string })[]
  readonly keys: Readonly<Record<string, KeyConfig>>
  readonly buckets: readonly (readonly [pattern: string, policy: BucketPolicy])[]
  readonly auth: {
    readonly v2Query: boolean
    readonly v2Header: boolean
    /** SSE-C without TLS: for tests only. */
    readonly ssecOverHttp: boolean
  }
  readonly keyCache: {
    /** Seconds that an unwrapped bucket key is kept: also the delay of a revocation. */
    readonly maxAgeSeconds: number
    readonly maxEntries: number
    /** Objects sealed under one bucket key before a new one is made. */
    readonly maxUses: number
  }
  readonly limits: {
    readonly connections: number
    readonly requestsInFlight: number
    /** Forms up to their file, and preflights: so many of each at once. */
    readonly unauthenticatedRequests: number
    readonly headerBytes: number
    readonly xmlBytes: number
    /** Bytes per second below which a transfer is cut, averaged over `minRateWindowSeconds`. */
    readonly minRate: number
    readonly minRateWindowSeconds: number
    readonly upstreamFirstByteSeconds: number
    /** After a stop was requested: not ready, and still serving. */
    readonly drainSeconds: number
    readonly graceSeconds: number
  }
  readonly log: {
    readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
    /** `auto`: for people on a terminal, JSON lines elsewhere. */
    readonly format: 'auto' | 'json' | 'pretty'
  }
  readonly audit: {
    readonly file: string | null
    /** Name in `keys`, of a keyring: its lines are chained under it. null: they stand alone. */
    readonly key: string | null
    /** Seconds between two signed statements about the file. */
    readonly checkpointSeconds: number
    /** Each line is on the disk before the key is used. */
    readonly sync: boolean
    /** What takes the lines beside the file. */
    readonly sinks: readonly AuditSinkConfig[]
  }
  readonly workers: number | 'auto'
}

/** Stores keep objects of these kinds of bucket in different ways (AWS, PutBucketVersioning); Object Lock implies `versioned`. */
export const bucketKinds = ['unversioned', 'versioned', 'suspended'] as const
export type BucketKind = (typeof bucketKinds)[number]

/** S3's limit of a bucket name, in characters. */
const BUCKET_NAME_LENGTH = 63

/** The gateway's own bucket of a kind, in which it probes the store's behaviour in buckets of that kind. Holds no data. */
export function kindBucket(stateBucket: string, kind: BucketKind): string {
  return `${stateBucket.slice(0, BUCKET_NAME_LENGTH - kind.length - 1)}-${kind}`
}

/** Of the names of buckets that `sealgate store check` makes and removes; cut so that an id and a kind fit behind. */
function checkBucketPrefix(stateBucket: string): string {
  return `${stateBucket.slice(0, BUCKET_NAME_LENGTH - '-check-12345678-unversioned'.length)}-check-`
}

/** @param id 8 hex digits, new for every run. @param purpose at most 11 letters. */
export function checkBucket(stateBucket: string, id: string, purpose: string): string {
  return `${checkBucketPrefix(stateBucket)}${id}-${purpose}`
}

export function isCheckBucket(stateBucket: string, name: string): boolean {
  const prefix = checkBucketPrefix(stateBucket)
  return name.startsWith(prefix) && /^[0-9a-f]{8}-[a-z]{1,11}$/.test(name.slice(prefix.length))
}

/** Whether two stores at one endpoint would use a bucket of the gateway's own together. */
export function shareOwnBuckets(a: string, b: string): boolean {
  const within = (stateBucket: string, other: string): boolean =>
    [stateBucket, ...bucketKinds.map((kind) => kindBucket(stateBucket, kind))].some((name) =>
      isOwnBucket({ upstreams: { other: { stateBucket: other } } }, name)
    )
  return within(a, b) || within(b, a)
}

/** The state buckets of all stores, those of `kindBucket` and of `checkBucket`: clients must neither see nor change them, at any store. */
export function isOwnBucket(
  { upstreams }: { readonly upstreams: Readonly<Record<string, Pick<UpstreamConfig, 'stateBucket'>>> },
  name: string | null
): boolean {
  return name !== null &&
    Object.values(upstreams).some(({ stateBucket }) =>
      name === stateBucket || bucketKinds.some((kind) => name === kindBucket(stateBucket, kind)) || isCheckBucket(stateBucket, name)
    )
}

/** The store of a bucket. @throws S3Error AccessDenied when no pattern covers the bucket. */
export function upstreamOf(config: Config, bucket: string): UpstreamConfig {
  const { upstream } = policyFor(config, bucket)
  const found = config.upstreams[upstream]
  if (found === undefined) throw new S3Error('InternalError', { cause: new Finding(`No upstream named ${upstream} is configured.`) })
  return found
}

/**
 * The stores where a key is used: those of the buckets that may seal or open with it, by its name in `keys`. All where no bucket may.
 */
export function upstreamsOfKey({ buckets, upstreams }: Pick<Config, 'buckets' | 'upstreams'>, key: string): readonly UpstreamConfig[] {
  const names = new Set(buckets.filter(([, policy]) => usedKeysOf(policy).includes(key)).map(([, { upstream }]) => upstream))
  const all = Object.values(upstreams)
  return names.size === 0 ? all : all.filter(({ name }) => names.has(name))
}

/** Names of the keys that may open anything in a bucket: sealed objects, and those of the S3 Encryption Client. */
export function usedKeysOf(policy: Pick<BucketPolicy, 'keys' | 's3ec'>): readonly string[] {
  return [...allKeysOf(policy), ...policy.s3ec?.keys ?? []]
}

interface PolicyIndex {
  readonly exact: ReadonlyMap<string, BucketPolicy>
  /** "*" is the empty prefix. */
  readonly prefixes: PrefixMap<BucketPolicy>
}

const indexes = new WeakMap<Config, PolicyIndex>()

/**
 * The policy of a bucket: its own name beats the longest matching prefix pattern, which beats "*".
 * @throws S3Error AccessDenied when no pattern covers the bucket: buckets that are not configured are not served.
 */
export function policyFor(config: Config, bucket: string): BucketPolicy {
  const { exact, prefixes } = indexOf(config)
  const policy = exact.get(bucket) ?? prefixes.longest(bucket)
  if (policy === undefined) throw new S3Error('AccessDenied')
  return policy
}

function indexOf(config: Config): PolicyIndex {
  const known = indexes.get(config)
  if (known !== undefined) return known
  const index = build(config)
  indexes.set(config, index)
  return index
}

function build(config: Config): PolicyIndex {
  const prefixes = config.buckets.filter(([pattern]) => pattern.endsWith('*')).map(([pattern, policy]) => [pattern.slice(0, -1), policy] as const)
  return {
    exact: new Map(config.buckets.filter(([pattern]) => !pattern.endsWith('*'))),
    prefixes: new PrefixMap(prefixes)
  }
}

/** The stores where buckets of these patterns (names, or prefixes followed by "*") may be, for one who lists them. */
export function upstreamsWith(config: Config, patterns: readonly string[]): readonly string[] {
  const { exact, prefixes } = indexOf(config)
  const policies = patterns.flatMap((pattern) => {
    if (!pattern.endsWith('*')) return [exact.get(pattern) ?? prefixes.longest(pattern)]
    const prefix = pattern.slice(0, -1)
    // Every policy of a name or a longer prefix, and the one that covers all other names.
    return [...config.buckets.flatMap(([name, policy]) => name.startsWith(prefix) ? [policy] : []), prefixes.longest(prefix)]
  })
  return [...new Set(policies.flatMap((policy) => policy === undefined ? [] : [policy.upstream]))]
}
