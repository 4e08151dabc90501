import { randomBytes } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { noteBackupCheck } from '../keys/backup-check.ts'
import { MIN_PASSPHRASE_BYTES, openBackup, openFromAge, sealBackup, sealForAge } from '../keys/keyring-backup.ts'
import { createKeyring, editKeyring, readKeyring, writeAtomically, writeNewKeyring } from '../keys/keyring-file.ts'
import { type Keyring, KeyringError, type KeyState } from '../keys/keyring.ts'
import { isOpenToAll } from './deployment-warnings.ts'
import { UsageError } from './command-line.ts'
import { systemWords } from '../diagnosis.ts'

/** Input and output of a command, other than files. */
export interface CommandIo {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  readonly env: Readonly<Record<string, string | undefined>>
}

interface BackupOptions {
  readonly backup: string
  readonly 'passphrase-file': string | undefined
}

interface OpenOptions extends BackupOptions {
  readonly 'age-identity': string | undefined
}

interface ExportOptions extends BackupOptions {
  readonly 'keyring': string
  readonly 'make-passphrase': boolean
  readonly 'age': string | undefined
}

const PASSPHRASE_VARIABLE = 'SEALGATE_KEYRING_PASSPHRASE'

/*
 * The commands of `sealgate keys`. Each prints what it did, never key bytes, and returns the exit code.
 * All throw KeyringError with a message for the operator.
 */

export async function createKeys(path: string, name: string, realm: string, io: CommandIo): Promise<number> {
  const keyring = await createKeyring(path, name, new Date(), realm)
  io.stdout.write(`Created keyring ${keyring.name} of realm ${realm} in ${path} with key ${currentId(keyring)}.\n`)
  io.stderr.write(`
  ************************************************************************
  *  A LOST KEYRING IS LOST DATA.                                        *
  *  Whoever loses this file loses every object sealed with it: nobody   *
  *  can open them again. Back it up now, away from the store:           *
  *    sealgate keys export --keyring FILE --backup FILE                 *
  *  and check the backup with "sealgate keys check-backup".             *
  ************************************************************************
`)
  return 0
}

export async function rotateKeys(path: string, io: CommandIo): Promise<number> {
  const keyring = await editKeyring(path, (old) => old.rotate(new Date()))
  io.stdout.write(`Keyring ${keyring.name} now wraps with ${currentId(keyring)}. Earlier enabled versions are decrypt-only.\n`)
  io.stderr.write(
    'Bring the file to every gateway before any of them reloads (SIGHUP): one that lacks the new version cannot open\n'
      + 'what is sealed with it. Then make a new backup: the old one lacks it too.\n'
  )
  return 0
}

export async function listKeys(path: string, json: boolean, io: CommandIo): Promise<number> {
  const keyring = await readKeyring(path)
  const current = keyring.current()
  const rows = keyring.versions.map((version) => ({
    keyId: keyring.keyId(version),
    state: version.state,
    created: version.created,
    current: version === current
  }))
  if (json) {
    io.stdout.write(`${JSON.stringify({ name: keyring.name, realm: keyring.realm, keys: rows })}\n`)
    return 0
  }
  io.stdout.write(`${realmOf(keyring)}\n`)
  for (const row of rows) io.stdout.write(`${row.keyId}  ${row.state.padEnd(12)}  ${row.created}${row.current ? '  current' : ''}\n`)
  return 0
}

/** @param realm undefined: the keyring names none. */
export async function setRealm(path: string, realm: string | undefined, io: CommandIo): Promise<number> {
  const keyring = await editKeyring(path, (old) => old.withRealm(realm ?? null))
  io.stdout.write(`${keyring.name}: ${realmOf(keyring)}. Make a new backup: the old one does not say so.\n`)
  return 0
}

export async function setKeyState(path: string, version: string, state: KeyState, io: CommandIo): Promise<number> {
  const keyring = await editKeyring(path, (old) => old.withState(versionId(old, version), state))
  io.stdout.write(
    `${keyring.name}: version ${versionId(keyring, version)} is ${state}. Gateways see it after a reload (SIGHUP)${
      state === 'disabled' ? ', or when what they have in memory has aged (keyCache.maxAgeSeconds)' : ''
    }.\n`
  )
  if (state === 'disabled') io.stderr.write('Objects sealed with a disabled version cannot be read.\n')
  if (keyring.current() === null) io.stderr.write('No version is enabled: writes fail until one is, or the keyring is rotated.\n')
  return 0
}

export async function exportKeys(options: ExportOptions, io: CommandIo): Promise<number> {
  const { keyring: path, backup: backupPath, age } = options
  if (age !== undefined && (options['passphrase-file'] !== undefined || options['make-passphrase'])) {
    throw new UsageError('A backup for --age recipients has no passphrase.')
  }
  const keyring = await readKeyring(path)
  await refuseExisting(backupPath)
  if (options['make-passphrase']) await makePassphrase(options['passphrase-file'], io)
  await writeAtomically(backupPath, age === undefined ? await underPassphrase(keyring, options, io) : await sealForAge(keyring, age.split(',')))
  io.stdout.write(`Wrote a backup of keyring ${keyring.name} (${countOf(keyring)}, ${realmOf(keyring)}) to ${backupPath}.\n`)
  const secret = age === undefined ? 'passphrase' : 'identity (secret key) of a recipient'
  io.stderr.write(`Without the ${secret} the backup is worthless. Keep the two apart, and check that it opens.\n`)
  return 0
}

export async function checkBackup(options: OpenOptions & { readonly keyring: string | undefined }, io: CommandIo): Promise<number> {
  const { backup: backupPath, keyring: path } = options
  const backup = await openBackupFile(options, io)
  io.stdout.write(`${backupPath} opens: keyring ${backup.name}, ${realmOf(backup)}, ${countOf(backup)}, newest ${backup.versions.at(-1)?.id ?? 'none'}.\n`)
  if (path === undefined) return 0
  const keyring = await readKeyring(path)
  const missing = keyring.live.filter((version) => !backup.live.some(({ id, key }) => id === version.id && key.equals(version.key)))
  if (missing.length > 0 || keyring.name !== backup.name) {
    const ids = missing.map((version) => keyring.keyId(version)).join(', ')
    throw new KeyringError(`The backup does not cover ${path}: ${missing.length > 0 ? `it lacks ${ids}` : 'it is of another keyring'}.`)
  }
  if (keyring.realm !== backup.realm) throw new KeyringError(`The backup is for ${realmOf(backup)}, and ${path} for ${realmOf(keyring)}.`)
  io.stdout.write(`It holds every key of ${path}.\n`)
  const fault = await noteBackupCheck(path, keyring, new Date())
  if (fault !== null) io.stderr.write(`The check was not noted beside ${path} (${fault}): the status page does not show it.\n`)
  return 0
}

export async function restoreKeys(options: OpenOptions & { readonly keyring: string }, io: CommandIo): Promise<number> {
  const { keyring: path } = options
  const keyring = await writeNewKeyring(path, await openBackupFile(options, io))
  io.stdout.write(`Restored keyring ${keyring.name} (${countOf(keyring)}, ${realmOf(keyring)}) to ${path}.\n`)
  return 0
}

/** A keyring is named after its file unless a name is given. */
export function nameFor(path: string): string {
  return basename(path).replace(/\.[^.]*$/, '')
}

async function underPassphrase(keyring: Keyring, options: BackupOptions, io: CommandIo): Promise<Buffer> {
  const passphrase = await readPassphrase(options, io)
  return sealBackup(keyring, passphrase).finally(() => passphrase.fill(0))
}

async function openBackupFile(options: OpenOptions, io: CommandIo): Promise<Keyring> {
  const backup = await readNamed(options.backup)
  const { 'age-identity': identity } = options
  if (identity !== undefined) {
    const identities = await readNamed(identity)
    await warnOfMode(identity, io)
    return openFromAge(backup, identities.toString()).finally(() => identities.fill(0))
  }
  const passphrase = await readPassphrase(options, io)
  return openBackup(backup, passphrase).finally(() => passphrase.fill(0))
}

/** 256 random bits in base64url, which people can type and print. @throws KeyringError when the file exists. */
async function makePassphrase(path: string | undefined, io: CommandIo): Promise<void> {
  if (path === undefined) throw new UsageError('--make-passphrase needs --passphrase-file FILE, the file to make.')
  await refuseExisting(path)
  await writeAtomically(path, Buffer.from(`${randomBytes(32).toString('base64url')}\n`))
  io.stdout.write(`Made a passphrase in ${path}.\n`)
}

/** From a file or the environment, never from the command line, which every user of the machine can read. */
async function readPassphrase({ 'passphrase-file': path }: BackupOptions, io: CommandIo): Promise<Buffer> {
  const fromEnvironment = io.env[PASSPHRASE_VARIABLE]
  if (path === undefined && fromEnvironment === undefined) {
    throw new KeyringError(`A passphrase is needed: --passphrase-file FILE or ${PASSPHRASE_VARIABLE}. "keys export" makes a new one with --make-passphrase.`)
  }
  const bytes = path === undefined
    ? Buffer.from(fromEnvironment ?? '')
    : await readNamed(path)
  if (path !== undefined) await warnOfMode(path, io)
  // At most one line end, which an editor or echo has added.
  const end = bytes.at(-1) !== 0x0a ? bytes.length : bytes.at(-2) === 0x0d ? bytes.length - 2 : bytes.length - 1
  if (end < MIN_PASSPHRASE_BYTES) throw new KeyringError(`The passphrase must have at least ${MIN_PASSPHRASE_BYTES} bytes.`)
  return bytes.subarray(0, end)
}

async function warnOfMode(path: string, io: CommandIo): Promise<void> {
  if (await isOpenToAll(path)) io.stderr.write(`Every user of this machine can read ${path}. Run: chmod 600 ${path}\n`)
}

/** An older backup may be the only one with some version, so it is not replaced silently. */
async function refuseExisting(path: string): Promise<void> {
  const file = await open(path, 'r').catch(() => null)
  if (file === null) return
  await file.close()
  throw new KeyringError(`${path} exists already. Choose another name.`)
}

/** Accepts `20260722-9f3c01ab` and `local:main:20260722-9f3c01ab`. */
function versionId(keyring: Keyring, text: string): string {
  const prefix = `local:${keyring.name}:`
  return text.startsWith(prefix) ? text.slice(prefix.length) : text
}

function currentId(keyring: Keyring): string {
  const current = keyring.current()
  return current === null ? 'no key' : keyring.keyId(current)
}

function countOf(keyring: Keyring): string {
  return keyring.versions.length === 1 ? '1 key' : `${keyring.versions.length} keys`
}

function realmOf({ realm }: Keyring): string {
  return realm === null ? 'no realm' : `realm ${realm}`
}

async function readNamed(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw new KeyringError(`${path} could not be read: ${systemWords(error)}.`, { cause: error })
  })
}
