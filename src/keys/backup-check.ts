import { readFile, stat, writeFile } from 'node:fs/promises'
import { systemWords } from '../diagnosis.ts'
import type { Keyring } from './keyring.ts'

/** The last check of a backup of one keyring. */
export interface BackupCheck {
  /** When it was checked, ISO 8601. */
  readonly at: string
  /** Versions that the keyring has now and the backup had not. */
  readonly missing: readonly string[]
}

/** More than the ids of the versions that fit into the largest keyring. */
const MOST_BYTES = 1 << 20

/** Beside the keyring, so that it goes where the keyring goes and needs no configuration. */
function fileOf(keyring: string): string {
  return `${keyring}.backup-checked`
}

/**
 * Notes beside a keyring that a backup of it has opened and holds every version. The note has no secret, and
 * is for a gateway that may run as another user.
 * @returns null; why it could not be written, as where the keyring is mounted read-only.
 */
export async function noteBackupCheck(path: string, { name, versions }: Keyring, now: Date): Promise<string | null> {
  const note = { checked: now.toISOString(), keyring: name, versions: versions.map(({ id }) => id) }
  try {
    await writeFile(fileOf(path), `${JSON.stringify(note)}\n`, { mode: 0o644 })
    return null
  } catch (error) {
    return systemWords(error)
  }
}

/** @param versions ids that the keyring has. @returns null where there is no note that can be read. */
export async function readBackupCheck(path: string, versions: readonly string[]): Promise<BackupCheck | null> {
  try {
    const { size } = await stat(fileOf(path))
    if (size > MOST_BYTES) return null
    const note: unknown = JSON.parse(await readFile(fileOf(path), 'utf8'))
    if (typeof note !== 'object' || note === null || !('checked' in note) || !('versions' in note)) return null
    const { checked, versions: held } = note
    const at = new Date(typeof checked === 'string' ? checked : '')
    if (Number.isNaN(at.getTime()) || !Array.isArray(held)) return null
    return { at: at.toISOString(), missing: versions.filter((id) => !held.includes(id)) }
  } catch {
    return null
  }
}
