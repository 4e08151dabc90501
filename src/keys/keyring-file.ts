import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { link, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { systemWords } from '../diagnosis.ts'
import { Keyring, KeyringError, otherContents } from './keyring.ts'

/** Far beyond any real keyring: about 8,000 versions. */
const MAX_FILE_BYTES = 1 << 20
const LOCK_WAIT_MS = 5000
const LOCK_POLL_MS = 50

/**
 * Reads a keyring file that only its owner may read or write.
 * @param realms that it is to be used for; none: any.
 * @throws KeyringError when it is missing, not a regular file, open to group or others, too large or malformed, or of another realm.
 */
export async function readKeyring(path: string, realms: readonly string[] = []): Promise<Keyring> {
  const bytes = await readOwnerOnly(path)
  try {
    const keyring = Keyring.parse(bytes)
    keyring.requireRealms(realms)
    return keyring
  } catch (error) {
    throw error instanceof KeyringError ? new KeyringError(`${path}: ${error.message}`, { cause: error }) : error
  }
}

/** Creates a keyring with one fresh key. @throws KeyringError when the file exists: overwriting it would lose data. */
export async function createKeyring(path: string, name: string, now: Date, realm: string | null = null): Promise<Keyring> {
  return writeNewKeyring(path, Keyring.create(name, now, realm))
}

/** Writes a keyring (a restored backup) where there is none. @throws KeyringError when the file exists. */
export async function writeNewKeyring(path: string, keyring: Keyring): Promise<Keyring> {
  return withLock(path, LOCK_WAIT_MS, async () => {
    if (await exists(path)) throw new KeyringError(`${path} exists already. A keyring is never overwritten.`)
    await writeAtomically(path, keyring.serialize())
    return keyring
  })
}

/**
 * Reads, changes and replaces a keyring under its lock, so that of two concurrent edits none is lost.
 * @param lockWaitMs milliseconds to wait for another edit to end.
 * @throws KeyringError as readKeyring does, from `edit`, or when another edit keeps the lock.
 */
export async function editKeyring(path: string, edit: (keyring: Keyring) => Keyring, lockWaitMs = LOCK_WAIT_MS): Promise<Keyring> {
  // A symbolic link (secrets are often mounted so) is followed once: a rename would replace the link instead of the file.
  const target = await realpath(path).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  return withLock(target, lockWaitMs, async () => {
    const edited = edit(await readKeyring(target))
    await writeAtomically(target, edited.serialize())
    return edited
  })
}

/**
 * Destroys every key of a keyring file: the file gets the same versions without keys, and the bytes that it had are overwritten. A file system that
 * writes elsewhere than where the bytes were (copy on write, flash), snapshots and other copies keep them.
 * @returns ids of the versions whose keys were destroyed now.
 * @throws KeyringError as editKeyring does.
 */
export async function destroyKeyring(path: string, now: Date): Promise<readonly string[]> {
  const target = await realpath(path).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  return withLock(target, LOCK_WAIT_MS, async () => {
    const before = await readKeyring(target)
    // Opened before the new file takes the name.
    const old = await open(target, 'r+')
    try {
      await writeAtomically(target, before.destroyed(now).serialize())
      await old.write(Buffer.alloc((await old.stat()).size), 0, null, 0)
      await old.sync()
    } finally {
      await old.close()
    }
    return before.live.map((version) => before.keyId(version))
  })
}

/** Identity of the bytes of a file, without reading them; null: it is not there. */
export async function fileStamp(path: string): Promise<string | null> {
  const found = await stat(path, { bigint: true }).catch(() => null)
  return found === null ? null : [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join(':')
}

/**
 * Writes bytes that only the owner may read, completely or not: a temporary file of mode 0600 beside the target,
 * fsync, rename, fsync of the directory. `bytes` is zeroed.
 * @param mayReplace false: a file that is there stays, and is an error.
 * @throws KeyringError.
 */
export async function writeAtomically(path: string, bytes: Buffer, { mayReplace = true }: { readonly mayReplace?: boolean } = {}): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    // A link, unlike a rename, replaces nothing.
    if (mayReplace) await rename(temporary, path)
    else {
      await link(temporary, path)
      await rm(temporary)
    }
  } catch (error) {
    await rm(temporary, { force: true })
    throw new KeyringError(`${path} could not be written: ${systemWords(error)}.`, { cause: error })
  } finally {
    bytes.fill(0)
  }
  const directory = await open(dirname(path), constants.O_RDONLY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/**
 * True for a file that only its owner may read. A file owned by root may be readable by its group where the process does not run as root: Kubernetes
 * gives secrets to such processes in this way (the rule of PostgreSQL, libpq "ssl_key_file").
 */
export function isClosed({ mode, uid }: { readonly mode: number; readonly uid: number }, processUid: number): boolean {
  const open = uid === 0 && processUid !== 0 ? 0o037 : 0o077
  return (mode & open) === 0
}

/** The bytes of a file with keys, which the caller zeroes. @throws KeyringError as readKeyring. */
export async function readOwnerOnly(path: string): Promise<Buffer> {
  // O_NONBLOCK: opening a FIFO must not block before it is recognised.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw new KeyringError(`${path} is not a regular file.`)
    if (stat.size > MAX_FILE_BYTES) throw new KeyringError(`${path} is larger than a keyring can be.`)
    const bytes = await file.readFile()
    if (!isClosed(stat, process.geteuid?.() ?? 0)) {
      const other = otherContents(bytes)
      bytes.fill(0)
      // For a wrong file its type is the fault to report, not its mode.
      if (other !== null) throw new KeyringError(`${path}: This is ${other}, not a keyring.`)
      const mode = (stat.mode & 0o777).toString(8).padStart(4, '0')
      throw new KeyringError(`${path} has mode ${mode}: a keyring must be closed to group and others. Run: chmod 600 ${path}`)
    }
    return bytes
  } finally {
    await file.close()
  }
}

/**
 * A lock file rather than an advisory lock, which Node does not offer. One left by a killed process is not removed
 * (process ids mean nothing across containers): the error names the process that made it and what to do.
 */
async function withLock<T>(path: string, waitMs: number, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`
  const deadline = performance.now() + waitMs
  for (;;) {
    try {
      const file = await open(lock, 'wx', 0o600)
      try {
        await file.writeFile(`process ${process.pid} on ${hostname()}`)
      } finally {
        await file.close()
      }
      break
    } catch (error) {
      if (code(error) !== 'EEXIST') throw new KeyringError(`${lock} could not be made: ${systemWords(error)}.`, { cause: error })
      if (performance.now() > deadline) {
        const holder = await readFile(lock, 'utf8').catch(() => 'an unknown process')
        throw new KeyringError(`${path} is being edited by ${holder}. If that process is gone, remove ${lock} and try again.`)
      }
      await delay(LOCK_POLL_MS)
    }
  }
  try {
    return await work()
  } finally {
    await rm(lock, { force: true })
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await (await open(path, constants.O_RDONLY | constants.O_NONBLOCK)).close()
    return true
  } catch (error) {
    if (code(error) === 'ENOENT') return false
    throw unreadable(path, error)
  }
}

function unreadable(path: string, error: unknown): KeyringError {
  if (code(error) === 'ENOENT') {
    return new KeyringError(`${path} does not exist. "sealgate keys create --keyring ${path}" makes a new one.`, { cause: error })
  }
  return new KeyringError(`${path} could not be read: ${systemWords(error)}.`, { cause: error })
}

function code(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}
