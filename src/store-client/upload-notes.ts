// Uploads in parts that the gateway or a command has begun by itself, noted in the state bucket: whoever is killed leaves its upload, and the next run of
// a command, or `gc`, aborts it. An upload of a client is never noted, so it is never taken for one of these.
// docs/decisions/0126-uploads-of-commands.md, docs/decisions/0152-conditional-copies-by-upload.md.
import { createHash } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import process from 'node:process'
import type { BucketClient } from './bucket-client.ts'
import { COMMAND_UPLOADS_PREFIX } from './state-names.ts'

/** For cleaning up even when what began the upload is being stopped. */
const CLEAN_UP_MS = 30_000
/** Milliseconds after which a note is written again. */
const RENEW_MS = 60_000
const MOST_NOTE = 16_384

/** Who runs: a process that has ended cannot go on with its upload. */
export interface Runner {
  /** Of the machine, or the container: where process ids mean the same. */
  readonly machine: string
  readonly pid: number
  readonly isAlive: (pid: number) => boolean
}

/**
 * This process among those of its machine. Containers share the name of a machine, and not its process ids. Names of machines are not the store's to know:
 * a digest tells them apart.
 */
export const thisProcess: Runner = {
  machine: digest(`${hostname()} ${processIds()}`),
  pid: process.pid,
  isAlive: (pid) => {
    try {
      return process.kill(pid, 0)
    } catch (error) {
      // Of another user.
      return error instanceof Error && 'code' in error && error.code === 'EPERM'
    }
  }
}

/** The name space of process ids; empty where the system has none (not Linux). */
function processIds(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/** An upload that has been begun. */
export interface BegunUpload {
  readonly bucket: string
  readonly key: string
  readonly uploadId: string
}

export interface Note extends BegunUpload, Pick<Runner, 'machine' | 'pid'> {}

interface NotedWork<T> {
  /** @returns null: the upload was not completed. */
  readonly work: () => Promise<T>
  /** @returns whether there is no such upload any more. It must not throw. */
  readonly abort: () => Promise<boolean>
}

/**
 * Runs what uploads the parts of an upload that has just been begun and completes it. It is noted before its first part: one whose note is missing has no
 * bytes. Unless it is completed, it is aborted.
 * @param state the state bucket of the store.
 * @throws S3Error where the note cannot be written; what `work` throws.
 */
export async function withNote<T>(state: BucketClient, upload: BegunUpload, { work, abort }: NotedWork<T>, me: Runner = thisProcess): Promise<T> {
  const { bucket, key, uploadId } = upload
  const name = noteName(upload)
  const body = Buffer.from(JSON.stringify({ bucket, key, uploadId, machine: me.machine, pid: me.pid } satisfies Note))
  const write = (): Promise<Buffer> => state.document({ method: 'PUT', key: name, body, retry: true })
  const timer = setInterval(() => void write().catch(() => undefined), RENEW_MS).unref()
  let done = false
  try {
    await write()
    const result = await work()
    done = result !== null
    return result
  } finally {
    clearInterval(timer)
    if (done || await abort()) {
      await state.answer({ method: 'DELETE', key: name, signal: AbortSignal.timeout(CLEAN_UP_MS), retry: true }).catch(() => undefined)
    }
  }
}

/** Name of the note of an upload in the state bucket. */
export function noteName({ bucket, key, uploadId }: BegunUpload): string {
  return `${notesOf(bucket)}${digest(JSON.stringify([key, uploadId]))}`
}

/** Prefix of the notes of uploads in a bucket. */
export function notesOf(bucket: string): string {
  return `${COMMAND_UPLOADS_PREFIX}${digest(bucket)}/`
}

/** @returns null for an object that is no note. @throws S3Error the store's error. */
export async function readNote(state: BucketClient, name: string): Promise<Note | null> {
  const { status, body } = await state.answer({ method: 'GET', key: name, retry: true }, MOST_NOTE)
  if (status !== 200) return null
  try {
    const { bucket, key, uploadId, machine, pid } = (JSON.parse(body.toString('utf8')) ?? {}) as Partial<Note>
    const texts = [bucket, key, uploadId, machine]
    return texts.every((text) => typeof text === 'string' && text !== '') && typeof pid === 'number' ? { bucket, key, uploadId, machine, pid } as Note : null
  } catch {
    return null
  }
}

/** @returns whether there is no such upload any more. */
export async function abort(bucket: BucketClient, key: string, uploadId: string): Promise<boolean> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS)
  return bucket.answer({ method: 'DELETE', key, query: [['uploadId', uploadId]], signal, retry: true }).then(
    ({ status, error }) => status === 204 || status === 200 || (status === 404 && error?.code === 'NoSuchUpload'),
    () => false
  )
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
