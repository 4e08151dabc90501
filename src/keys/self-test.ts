import { S3Error } from '../errors.ts'
import { KeyFault, type KeyRegistry } from './registry.ts'

/**
 * The self-test of every configured key, until it has passed once. Afterwards a key service that is away shows in the requests
 * that need it: those whose keys are in memory go on, so the gateway stays ready.
 */
export class KeySelfTest {
  readonly #keys: KeyRegistry
  #passed = false

  constructor(keys: KeyRegistry) {
    this.#keys = keys
  }

  /** @throws S3Error with the code of the first key that failed, and a message for the operator that names each with its reason. */
  async run(): Promise<void> {
    if (this.#passed) return
    try {
      await this.#keys.selfTest()
      this.#passed = true
    } catch (error) {
      const failures: readonly unknown[] = error instanceof AggregateError ? error.errors : [error]
      const code = codeOf(failures[0])
      throw new S3Error('SealgateKeyUnavailable', { ...code === null ? {} : { code }, message: (error as Error).message, cause: error })
    }
  }
}

function codeOf(failure: unknown): string | null {
  return failure instanceof KeyFault && failure.cause instanceof S3Error ? failure.cause.code : null
}
