// Key services behind one interface, `KeySource`, with one file each in providers/. configured-key.ts puts audit, the cache of bucket keys and
// single flight around every provider, so that a provider has none of them; registry.ts holds the keys of the configuration.
// Also here: keyring files and their backups, and the encryption headers of S3 (sse-headers.ts, ssec.ts).
import type { KeyObject } from 'node:crypto'
import type { WrappedDataKey } from '../s3ec/description.ts'
import type { NewDataKey, Writable } from '../s3ec/seal.ts'

/** The context that a wrap is bound to. It is the KMS encryption context, or the AAD of a local wrap. */
export interface KeyContext {
  /** Configured name of the upstream or tenant. */
  readonly realm: string
  readonly bucket: string
  /** Object key when bucket keys are off (the wrap then serves one object), else null. */
  readonly objectKey: string | null
  /** Encryption context the client asked for (x-amz-server-side-encryption-context), sorted by name. */
  readonly requestContext: Readonly<Record<string, string>>
}

/** A wrapped bucket key, as it is stored with every object that uses it. */
export interface WrappedBucketKey {
  /** Readable id of the key that wrapped it: a KMS key ARN, `local:<keyring name>:<version id>`, others as docs/FORMAT.md (Key providers) has them, or `ssec`. */
  readonly keyId: string
  /** The provider's ciphertext, opaque, at most 6,144 bytes. */
  readonly blob: Buffer
}

export interface BucketKey {
  /** 32 bytes, not zero. Input to HKDF only, never itself a GCM key. */
  readonly key: KeyObject
  readonly wrapped: WrappedBucketKey
}

/** The user and purpose of a key use: every call writes one line to the audit trail. */
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
 * The interface of every kind of master key. Implementations: one file each in providers/. The bucket-key cache stands before it.
 * All methods throw S3Error with the code of S3 itself, or `KMS.*`, `SealgateKeyUnavailable`, `ServiceUnavailable`.
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
  /** True when `rewrap` accepts wraps of that key: its own keys, and those that its key service can re-encrypt by itself. */
  rewraps(keyId: string): boolean
}

/** A key service or keyring that the configuration names, without cache and audit. */
export interface KeySource extends KeyProvider {
  /** Key id that new wraps get; null when no version of a keyring is enabled. */
  currentKeyId(): string | null
  /** What all its key ids begin with, where no other key may have such ids; null: its key ids are whole names, such as ARNs. */
  readonly keyIdPrefix: string | null
  /** Versions of the key and their states, for the operator. Empty where the service has them and they are not asked for. */
  readonly versions: readonly { readonly id: string; readonly state: string }[]
  /** What its service says of the key and an operator should change; known after the self-test. Absent: the service says no such thing. */
  readonly warnings?: readonly string[]
  /** Asks the service which version is current, where key ids have one. @throws S3Error of the service. */
  learn?(signal: AbortSignal): Promise<void>
  /** Endpoints of the service called so far (an AWS region, a host), and whether calls there are held back after failures. */
  heldBack(): readonly (readonly [endpoint: string, held: boolean])[]
  /** Closes its connections. */
  close(): Promise<void>
  /** It seals nothing, and opens no envelope. */
  readonly opensOnly?: boolean
  /** Whether a data key of the S3 Encryption Client is for this key, by the kind of its wrap and the description of its key. Absent: none is. */
  opensDataKey?(wrapped: WrappedDataKey): boolean
  /**
   * Opens it.
   * @returns null: the service says that another key has wrapped it. @throws S3Error SealgateIntegrityError, or of the service.
   */
  openDataKey?(wrapped: WrappedDataKey, signal: AbortSignal): Promise<OpenedDataKey | null>
  /** Wraps a data key for a new object of that version. Absent: it wraps none. @throws S3Error of the service. */
  wrapDataKey?(dataKey: KeyObject, version: Writable, signal: AbortSignal): Promise<WrappedForClients>
}

/** A data key of a new object of the S3 Encryption Client. */
export interface WrappedForClients extends NewDataKey {
  /** Of the key that wrapped it, for the audit trail. */
  readonly keyId: string
}

/** A data key of the S3 Encryption Client. */
export interface OpenedDataKey {
  /** 32 bytes. */
  readonly key: KeyObject
  /** Of the key that opened it, for the audit trail. */
  readonly keyId: string
}

/** Outcome of a call, and whether the key service was called for it. */
export interface KeyAnswer<T> {
  readonly cached: boolean
  readonly result: PromiseSettledResult<T>
}

/** A provider with a cache. Its calls do not reject, because failures may be cached as well. */
export interface CachingKeyProvider extends Pick<KeyProvider, 'selfTest' | 'owns' | 'rewraps'> {
  readonly size: number
  generate(context: KeyContext, use: KeyUse): Promise<KeyAnswer<BucketKey>>
  unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyAnswer<KeyObject>>
  rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<KeyAnswer<WrappedBucketKey>>
  /** Drops everything at once. */
  clear(): void
  /** Drops expired keys now. Runs by itself while there are entries. */
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
  /** A key id, as `WrappedBucketKey` has it, or what the client asked for. null when none was chosen. */
  readonly masterKeyId: string | null
  /** The context of the wrap, as sent to a key service. Empty when there was none. */
  readonly context: Readonly<Record<string, string>>
  /**
   * `generate`: a bucket key was made and wrapped by the master key. `wrap`: an object is sealed under a bucket key made
   * before, or under a customer's key. `unwrap`, `rewrap`: as named. `refused`: the client may not use the key it asked for.
   */
  readonly action: 'generate' | 'wrap' | 'unwrap' | 'rewrap' | 'refused'
  /** The key service was not called for this use: the answer came from memory or from another request's call. */
  readonly cached: boolean
  readonly outcome: 'ok' | 'failed'
  /** An S3 error code, or `Aborted` when the client disconnected; null on success. */
  readonly error: string | null
}

/**
 * Takes an event before the key is used. May throw an S3Error when it cannot be written: the key use then fails with that error, so that none is
 * unrecorded.
 */
export type AuditSink = (event: AuditEvent) => void

/**
 * The context of a wrap, as names and values: `aws:s3:arn` as S3 itself gives it to KMS (of the bucket with bucket keys, of the object without; AWS
 * S3 user guide, "Using server-side encryption with AWS KMS keys"), the realm, and the client's own context.
 */
export function encryptionContext(context: KeyContext): Record<string, string> {
  const arn = `arn:aws:s3:::${context.bucket}${context.objectKey === null ? '' : `/${context.objectKey}`}`
  return { ...context.requestContext, 'aws:s3:arn': arn, 'sealgate:realm': context.realm }
}

/** Names that only the gateway (or AWS) may put into an encryption context: a client must not choose the binding. */
export function isReservedContextName(name: string): boolean {
  return /^(aws|sealgate):/i.test(name)
}
