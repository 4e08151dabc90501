// Uploads in parts that a command has begun, noted in the state bucket: a run that is killed leaves its upload, and the next one aborts it. An upload
// of a client is never noted, so it is never taken for one of these. docs/decisions/0126-uploads-of-commands.md.
import { createHash } from 'node:crypto'
import type { Header } from '../http/message.ts'
import { type BucketClient, fieldOf } from '../store-client/bucket-client.ts'
import { COMMAND_UPLOADS_PREFIX } from '../store-client/state-names.ts'

/** For cleaning up even when the command is being stopped. */
const CLEAN_UP_MS = 30_000
/** Milliseconds after which a note is written again, and after which one that is not counts as left behind, whoever wrote it. */
const RENEW_MS = 60_000
const STALE_MS = 3_600_000
const MOST_NOTE = 16_384

/** Who runs: a process that has ended cannot go on with its upload. */
export interface Runner {
  /** Of the machine, or the container: where process ids mean the same. */
  readonly machine: string
  readonly pid: number
  readonly isAlive: (pid: number) => boolean
}

interface Note {
  readonly bucket: string
  readonly key: string
  readonly uploadId: string
  readonly machine: string
  readonly pid: number
}

export class UploadJournal {
  readonly #state: BucketClient
  readonly #bucket: BucketClient
  readonly #me: Runner

  /** @param state the state bucket of the store. @param bucket where uploads are begun and aborted: through the gateway for sealed ones. */
  constructor(state: BucketClient, bucket: BucketClient, me: Runner) {
    this.#state = state
    this.#bucket = bucket
    this.#me = me
  }

  /**
   * Begins an upload and runs what uploads and completes it. It is noted before its first part: one whose note is missing has no bytes.
   * @param bucket the same as the journal's, with another signal. @param work null: it was not completed.
   * @throws S3Error of the store; what `work` throws. The upload is aborted then.
   */
  async upload<T>(bucket: BucketClient, key: string, headers: readonly Header[], work: (uploadId: string) => Promise<T | null>): Promise<T | null> {
    const uploadId = fieldOf(await bucket.document({ method: 'POST', key, query: [['uploads', null]], headers }), 'UploadId')
    const timer = setInterval(() => void this.#note(key, uploadId).catch(() => undefined), RENEW_MS).unref()
    let done = false
    try {
      await this.#note(key, uploadId)
      const result = await work(uploadId)
      done = result !== null
      return result
    } finally {
      clearInterval(timer)
      if (done || await abort(this.#bucket, key, uploadId)) await this.#forget(key, uploadId)
    }
  }

  /** Aborts what runs before have left. @returns how many; `left`: of runs that go on, or that the store does not abort. @throws S3Error of the store. */
  async recover(): Promise<{ readonly aborted: number; readonly left: number }> {
    const counts = { aborted: 0, left: 0 }
    for await (const page of this.#state.objects(`${COMMAND_UPLOADS_PREFIX}${digest(this.#bucket.name)}/`)) {
      for (const { key: name, lastModified } of page) {
        const note = await readNote(this.#state, name)
        if (note === null || note.bucket !== this.#bucket.name) continue
        const over = this.#isOver(note) || Date.parse(lastModified ?? '') < Date.now() - STALE_MS
        if (over && await abort(this.#bucket, note.key, note.uploadId)) {
          await this.#state.answer({ method: 'DELETE', key: name, retry: true })
          counts.aborted += 1
        } else counts.left += 1
      }
    }
    return counts
  }

  /** Whoever has this process's id here ran before it did. */
  #isOver({ machine, pid }: Note): boolean {
    return machine === this.#me.machine && (pid === this.#me.pid || !this.#me.isAlive(pid))
  }

  async #note(key: string, uploadId: string): Promise<void> {
    const { machine, pid } = this.#me
    const note: Note = { bucket: this.#bucket.name, key, uploadId, machine, pid }
    await this.#state.document({ method: 'PUT', key: this.#nameOf(key, uploadId), body: Buffer.from(JSON.stringify(note)) })
  }

  async #forget(key: string, uploadId: string): Promise<void> {
    await this.#state.answer({ method: 'DELETE', key: this.#nameOf(key, uploadId), signal: AbortSignal.timeout(CLEAN_UP_MS), retry: true })
      .catch(() => undefined)
  }

  #nameOf(key: string, uploadId: string): string {
    return `${COMMAND_UPLOADS_PREFIX}${digest(this.#bucket.name)}/${digest(JSON.stringify([key, uploadId]))}`
  }
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
