// Uploads in parts that a command has begun, and those that runs before have left. docs/decisions/0126-uploads-of-commands.md.
import type { Header } from '../http/message.ts'
import { type BucketClient, fieldOf } from '../store-client/bucket-client.ts'
import { abort, type Note, notesOf, readNote, type Runner, withNote } from '../store-client/upload-notes.ts'

/** Milliseconds after which a note that is not written again counts as left behind, whoever wrote it. */
const STALE_MS = 3_600_000

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
   * Begins an upload and runs what uploads and completes it.
   * @param bucket the same as the journal's, with another signal. @param work null: it was not completed.
   * @throws S3Error of the store; what `work` throws. The upload is aborted then.
   */
  async upload<T>(bucket: BucketClient, key: string, headers: readonly Header[], work: (uploadId: string) => Promise<T | null>): Promise<T | null> {
    const uploadId = fieldOf(await bucket.document({ method: 'POST', key, query: [['uploads', null]], headers }), 'UploadId')
    return withNote(this.#state, { bucket: this.#bucket.name, key, uploadId }, {
      work: () => work(uploadId),
      abort: () => abort(this.#bucket, key, uploadId)
    }, this.#me)
  }

  /** Aborts what runs before have left. @returns how many; `left`: of runs that go on, or that the store does not abort. @throws S3Error of the store. */
  async recover(): Promise<{ readonly aborted: number; readonly left: number }> {
    const counts = { aborted: 0, left: 0 }
    for await (const page of this.#state.objects(notesOf(this.#bucket.name))) {
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
}
