// Key services behind one interface, `KeyProvider`, with one file each in providers/. configured-key.ts puts audit, the cache of bucket keys and
// single flight around every provider, so that a provider has none of them; registry.ts holds the keys of the configuration.
// Also here: keyring files and their backups, and the encryption headers of S3 (sse-headers.ts, ssec.ts).
import type { KeyObject } from 'node:crypto'

/** What a wrap is bound to. It reaches the provider as KMS encryption context, or as AAD of a local wrap. */
export interface KeyContext {
  /** Configured name of the upstream or tenant. */
  readonly realm: string
  readonly bucket: string
  /** Object key when bucket keys are off (the wrap then serves one object), else null. */
  readonly objectKey: string | null
  /** Encryption context the client asked for (x-amz-server-side-encryption-context), sorted by name. */
  readonly requestContext: Readonly<Record<string, string>>
}

/** A wrapped bucket key, as it is stored beside every object it serves. */
export interface WrappedBucketKey {
  /** Readable id of the key that wrapped it: a KMS key ARN, `local:<keyring name>:<version id>`, or `ssec`. */
  readonly keyId: string
  /** The provider's ciphertext, opaque, at most 6,144 bytes. */
  readonly blob: Buffer
}

export interface BucketKey {
  /** 32 bytes, not zero. Input to HKDF only, never itself a GCM key. */
  readonly key: KeyObject
  readonly wrapped: WrappedBucketKey
}

/** Who uses a key and why: every call writes one line to the audit trail. */
export interface KeyUse {
  readonly requestId: string
  /** Access key id of the client, or a name such as `cli`. */
  readonly principal: string
  readonly sourceAddress: string
  /** S3 operation name, or the command. */
  readonly operation: string
  readonly bucket: string
  readonly objectKey: string | null
  readonly versionId: string | null
  readonly signal: AbortSignal
}

/**
 * The one interface to every kind of master key. Implementations: local keyring, AWS KMS; an in-memory twin for tests;
 * the bucket-key cache stands in front of it.
 * All methods throw S3Error with the code S3 itself gives, or `KMS.*`, `SealgateKeyUnavailable`, `ServiceUnavailable`.
 */
export interface KeyProvider {
  /** A bucket key for new objects, wrapped by the provider's current key. */
  generate(context: KeyContext, use: KeyUse): Promise<BucketKey>
  /** Unwraps; the context must equal the one it was wrapped with. */
  unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject>
  /** Wraps the same bucket key for another context and/or by the current version of this provider's key. */
  rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey>
  /** Wrap, unwrap and compare. Readiness stays false until it passes. */
  selfTest(): Promise<void>
  /** True when a key id found in an object's metadata belongs to this provider. Decided by configuration alone. */
  owns(keyId: string): boolean
  /** True when `rewrap` takes what that key wrapped: its own keys, and what its key service can re-encrypt by itself. */
  rewraps(keyId: string): boolean
}

/** A key service or keyring that the configuration names, without cache and audit. */
export interface KeySource extends KeyProvider {
  /** Key id that new wraps get; null when no version of a keyring is enabled. */
  currentKeyId(): string | null
  /** Regions of the service called so far, and whether calls there are held back after failures. Empty where nothing is called. */
  heldBack(): readonly (readonly [region: string, held: boolean])[]
  /** Closes what it holds open. */
  close(): Promise<void>
}

/** What came of a call, and whether the key service was asked for it. */
export interface KeyAnswer<T> {
  readonly cached: boolean
  readonly result: PromiseSettledResult<T>
}

/** A provider that remembers. Its calls do not reject: what goes wrong may be cached, too. */
export interface CachingKeyProvider extends Pick<KeyProvider, 'selfTest' | 'owns' | 'rewraps'> {
  readonly size: number
  generate(context: KeyContext, use: KeyUse): Promise<KeyAnswer<BucketKey>>
  unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyAnswer<KeyObject>>
  rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<KeyAnswer<WrappedBucketKey>>
  /** Forgets everything at once. */
  clear(): void
  /** Drops expired keys now. Runs by itself while anything is held. */
  sweep(): void
}

/** One use of a key, written as one line of JSON. Holds no secret: contexts and key ids are public by definition. */
export interface AuditEvent {
  /** ISO 8601, UTC. */
  readonly time: string
  readonly requestId: string
  /** Access key id of the client, or a name such as `cli`. */
  readonly principal: string
  readonly sourceAddress: string
  /** S3 operation name, or the command. */
  readonly operation: string
  readonly bucket: string
  readonly key: string | null
  readonly versionId: string | null
  /** A KMS key ARN, `local:<keyring>:<version>`, `ssec`, or what the client asked for. null when none was chosen. */
  readonly masterKeyId: string | null
  /** What the wrap is bound to, as sent to a key service. Empty when none was made. */
  readonly context: Readonly<Record<string, string>>
  /**
   * `generate`: a bucket key was made and wrapped by the master key. `wrap`: an object is sealed under a bucket key made
   * before, or under a customer's key. `unwrap`, `rewrap`: as named. `refused`: the client may not use the key it asked for.
   */
  readonly action: 'generate' | 'wrap' | 'unwrap' | 'rewrap' | 'refused'
  /** The key service was not asked for this use: it was answered from memory or by another request's call. */
  readonly cached: boolean
  readonly outcome: 'ok' | 'failed'
  /** An S3 error code, or `Aborted` when the client went away; null when it went well. */
  readonly error: string | null
}

/**
 * Takes an event before the key is handed out. May throw an S3Error when it cannot be written: the key use then fails with
 * that error, so that none goes untold.
 */
export type AuditSink = (event: AuditEvent) => void

/**
 * What a wrap is bound to, as names and values: `aws:s3:arn` as S3 itself gives it to KMS (of the bucket with bucket keys, of
 * the object without; AWS S3 user guide, "Using server-side encryption with AWS KMS keys"), the realm, and what the client asked for.
 */
export function encryptionContext(context: KeyContext): Record<string, string> {
  const arn = `arn:aws:s3:::${context.bucket}${context.objectKey === null ? '' : `/${context.objectKey}`}`
  return { ...context.requestContext, 'aws:s3:arn': arn, 'sealgate:realm': context.realm }
}

/** Names that only the gateway (or AWS) may put into an encryption context: a client must not choose what it is bound to. */
export function isReservedContextName(name: string): boolean {
  return /^(aws|sealgate):/i.test(name)
}
