import { S3Error } from '../../src/errors.ts'

/** The S3 error code a call ends in; `ok` when it returns. Other errors are thrown. */
export function errorCode(call: () => unknown): string {
  try {
    call()
    return 'ok'
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
}

/**
 * The S3 error code that the work fails with; `ok` when it succeeds. Errors of the SDK have the code as their name, and `AbortError`
 * when the caller aborts. Any other error is returned as text.
 */
export async function codeOf(work: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    await (typeof work === 'function' ? work() : work)
    return 'ok'
  } catch (error) {
    if (error instanceof S3Error) return error.code
    return error instanceof Error && ('$fault' in error || error.name === 'AbortError') ? error.name : String(error)
  }
}
