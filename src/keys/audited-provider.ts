import type { KeyObject } from 'node:crypto'
import { S3Error } from '../errors.ts'
import {
  encryptionContext,
  type AuditEvent,
  type AuditSink,
  type BucketKey,
  type CachingKeyProvider,
  type KeyAnswer,
  type KeyContext,
  type KeyProvider,
  type KeyUse,
  type WrappedBucketKey
} from './types.ts'

interface AuditOptions {
  readonly sink: AuditSink
  readonly now: () => Date
  /** Key id that a failed `generate` would have used. */
  readonly currentKeyId: () => string | null
}

/** Records every call in the audit trail, failures included. It stands before the cache: an answer from the cache is a use as well. */
export function withAudit(provider: CachingKeyProvider, options: AuditOptions): KeyProvider {
  return new AuditedKeyProvider(provider, options)
}

class AuditedKeyProvider implements KeyProvider {
  readonly #provider: CachingKeyProvider
  readonly #options: AuditOptions

  constructor(provider: CachingKeyProvider, options: AuditOptions) {
    this.#provider = provider
    this.#options = options
  }

  generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    // The cache makes no key: the object's key is wrapped under an earlier bucket key.
    return this.#audited(use, context, this.#provider.generate(context, use), (cached, result) => ({
      action: cached ? 'wrap' : 'generate',
      masterKeyId: result?.wrapped.keyId ?? this.#options.currentKeyId()
    }))
  }

  unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    return this.#audited(use, context, this.#provider.unwrap(wrapped, context, use), () => ({
      action: 'unwrap',
      masterKeyId: wrapped.keyId
    }))
  }

  rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    return this.#audited(use, to, this.#provider.rewrap(wrapped, from, to, use), (_cached, result) => ({
      action: 'rewrap',
      masterKeyId: result?.keyId ?? wrapped.keyId
    }))
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

  async #audited<T>(
    use: KeyUse,
    context: KeyContext,
    call: Promise<KeyAnswer<T>>,
    describe: (cached: boolean, result: T | null) => Pick<AuditEvent, 'action' | 'masterKeyId'>
  ): Promise<T> {
    const { cached, result } = await call
    const failed = result.status === 'rejected'
    this.#options.sink({
      ...auditEvent(use, context, this.#options.now(), failed ? errorCodeOf(result.reason, use) : null),
      ...describe(cached, failed ? null : result.value),
      cached
    })
    if (failed) throw result.reason
    return result.value
  }
}

/** The fields of an event that come from the request and its outcome. */
export function auditEvent(
  use: KeyUse,
  context: KeyContext | null,
  now: Date,
  error: string | null
): Omit<AuditEvent, 'action' | 'masterKeyId' | 'cached'> {
  return {
    time: now.toISOString(),
    requestId: use.requestId,
    principal: use.principal,
    sourceAddress: use.sourceAddress,
    operation: use.operation,
    bucket: use.bucket,
    key: use.objectKey,
    versionId: use.versionId,
    context: context === null ? {} : encryptionContext(context),
    outcome: error === null ? 'ok' : 'failed',
    error
  }
}

/** `Aborted` when the client disconnected, the S3 error code otherwise. */
export function errorCodeOf(error: unknown, use: KeyUse): string {
  if (error instanceof S3Error) return error.code
  return use.signal.aborted ? 'Aborted' : 'InternalError'
}
