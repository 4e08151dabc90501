import { S3Error } from '../errors.ts'
import { KeyFault, type KeyRegistry } from './registry.ts'

/** One key that failed its self-test, worded for the operator. */
export interface KeyFailure {
  readonly key: string
  /** S3 error code of the failure. */
  readonly code: string
  /** Never key bytes, and never what a service sent but did not word as an error. */
  readonly reason: string
}

/**
 * The self-test of every configured key, until it has passed once. Afterwards a key service that is away shows in the requests
 * that need it: those whose keys are in memory go on, so the gateway stays ready.
 */
export class KeySelfTest {
  readonly #keys: KeyRegistry
  readonly #failed: (failures: readonly KeyFailure[]) => void
  #passed = false

  constructor(keys: KeyRegistry, failed: (failures: readonly KeyFailure[]) => void) {
    this.#keys = keys
    this.#failed = failed
  }

  /** @throws S3Error with the code of the first key that failed. */
  async run(): Promise<void> {
    if (this.#passed) return
    try {
      await this.#keys.selfTest()
      this.#passed = true
    } catch (error) {
      const failures = error instanceof AggregateError ? error.errors.map(failureOf) : [failureOf(error)]
      this.#failed(failures)
      throw new S3Error('SealgateKeyUnavailable', { code: failures[0]?.code ?? 'InternalError', cause: error })
    }
  }
}

function failureOf(error: unknown): KeyFailure {
  const cause = error instanceof Error ? error.cause : undefined
  return {
    key: error instanceof KeyFault ? error.key : '',
    code: cause instanceof S3Error ? cause.code : 'InternalError',
    reason: error instanceof Error ? error.message : 'unknown error'
  }
}
