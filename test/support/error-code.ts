import { S3Error } from '../../src/errors.ts'

/** The S3 error code a call ends in; '' when it returns. Anything else that is thrown goes on. */
export function errorCode(call: () => unknown): string {
  try {
    call()
    return ''
  } catch (error) {
    if (error instanceof S3Error) return error.code
    throw error
  }
}
