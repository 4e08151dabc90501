import { link, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { FileHandle } from 'node:fs/promises'

/**
 * A file that appears under its name complete and durable, or not: written beside, synced, renamed, and the directory
 * synced so that the name survives a loss of power too.
 */
export class NewFile {
  readonly #temporary: string
  readonly #handle: FileHandle
  #state: 'open' | 'closed' = 'open'

  private constructor(temporary: string, handle: FileHandle) {
    this.#temporary = temporary
    this.#handle = handle
  }

  /** @param temporary must be free, and on the same file system as the final name */
  static async create(temporary: string): Promise<NewFile> {
    return new NewFile(temporary, await open(temporary, 'wx', 0o600))
  }

  async write(chunks: readonly Buffer[]): Promise<void> {
    let rest = chunks
    while (rest.length > 0) rest = after(rest, (await this.#handle.writev(rest)).bytesWritten)
  }

  async publish(path: string): Promise<void> {
    await this.#handle.sync()
    await this.#close()
    await rename(this.#temporary, path)
    await syncDirectory(dirname(path))
  }

  /** Idempotent; after `publish` there is nothing left to discard. */
  async discard(): Promise<void> {
    await this.#close()
    await rm(this.#temporary, { force: true })
  }

  async #close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    await this.#handle.close()
  }
}

/** What a short write has left over. */
function after(chunks: readonly Buffer[], written: number): readonly Buffer[] {
  let left = written
  const rest: Buffer[] = []
  for (const chunk of chunks) {
    if (left < chunk.length) rest.push(chunk.subarray(left))
    left = Math.max(0, left - chunk.length)
  }
  return rest
}

export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a directory and those above it, all durable. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made))
}

/** A second name for a file; durable when it resolves. */
export async function linkFile(existing: string, path: string): Promise<void> {
  await link(existing, path)
  await syncDirectory(dirname(path))
}

export async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8')) as unknown
}
