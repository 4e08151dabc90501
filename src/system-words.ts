import { getSystemErrorMessage } from 'node:util'

/**
 * What the operating system says of a failed call, in words and with its code: "no such file or directory (ENOENT)".
 * Never the message of the error itself, which may quote anything.
 */
export function systemWords(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return 'unknown error'
  const words = 'errno' in error && typeof error.errno === 'number' ? getSystemErrorMessage(error.errno) : null
  return words === null || words.startsWith('Unknown system error') ? error.code : `${words} (${error.code})`
}
