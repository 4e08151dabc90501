import { stat } from 'node:fs/promises'

/** True for a file that every user of the machine can read; false also where there is none. */
export async function isOpenToAll(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found !== null && (found.mode & 0o004) !== 0
}
