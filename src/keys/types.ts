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
 * the bucket-key cache is a decorator of it.
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
