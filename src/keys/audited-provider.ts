import type { KeyObject } from 'node:crypto'
import { S3Error } from '../errors.ts'
import {
  encryptionContext,
  type AuditEvent,
  type AuditSink,
  type BucketKey,
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
  /** True when the call made with this very KeyUse object was answered from the cache. */
  readonly wasCached: (use: KeyUse) => boolean
}

/** Records every call in the audit trail, also failures. The outermost decorator: a use answered from the cache is a use. */
export function withAudit(provider: KeyProvider, options: AuditOptions): KeyProvider {
  return new AuditedKeyProvider(provider, options)
}

class AuditedKeyProvider implements KeyProvider {
  readonly #provider: KeyProvider
  readonly #options: AuditOptions

  constructor(provider: KeyProvider, options: AuditOptions) {
    this.#provider = provider
    this.#options = options
  }

  generate(context: KeyContext, use: KeyUse): Promise<BucketKey> {
    // From the cache no key is made: the object's key is wrapped under a bucket key made before.
    return this.#audited(use, context, (call) => this.#provider.generate(context, call), (cached, result) => ({
      action: cached ? 'wrap' : 'generate',
      masterKeyId: result?.wrapped.keyId ?? this.#options.currentKeyId()
    }))
  }

  unwrap(wrapped: WrappedBucketKey, context: KeyContext, use: KeyUse): Promise<KeyObject> {
    return this.#audited(use, context, (call) => this.#provider.unwrap(wrapped, context, call), () => ({
      action: 'unwrap',
      masterKeyId: wrapped.keyId
    }))
  }

  rewrap(wrapped: WrappedBucketKey, from: KeyContext, to: KeyContext, use: KeyUse): Promise<WrappedBucketKey> {
    return this.#audited(use, to, (call) => this.#provider.rewrap(wrapped, from, to, call), (_cached, result) => ({
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
    work: (call: KeyUse) => Promise<T>,
    describe: (cached: boolean, result: T | null) => Pick<AuditEvent, 'action' | 'masterKeyId'>
  ): Promise<T> {
    // A request may use keys several times with one KeyUse: a copy of it identifies this call.
    const call = { ...use }
    const report = (error: string | null, result: T | null): void => {
      const cached = this.#options.wasCached(call)
      this.#options.sink({
        ...auditEvent(use, context, this.#options.now(), error),
        ...describe(cached, result),
        cached
      })
    }
    let result: T
    try {
      result = await work(call)
    } catch (error) {
      report(errorCodeOf(error, use), null)
      throw error
    }
    report(null, result)
    return result
  }
}

/** The fields of an event that come from the request and what became of it. */
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

/** `Aborted` when the client left, the S3 error code otherwise. */
export function errorCodeOf(error: unknown, use: KeyUse): string {
  if (error instanceof S3Error) return error.code
  return use.signal.aborted ? 'Aborted' : 'InternalError'
}
