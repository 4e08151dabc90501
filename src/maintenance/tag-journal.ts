import { createHash } from 'node:crypto'
import type { Tag } from '../s3/documents.ts'
import type { BucketClient } from '../store-client/bucket-client.ts'
import { putTags, tagsOf } from '../store-client/object-properties.ts'

const PREFIX = 'rewrap-tags/'

interface Entry {
  readonly bucket: string
  readonly key: string
  readonly tags: readonly Tag[]
}

/**
 * For stores whose copies lose tags: the tags are saved in the state bucket before the copy and written again after it, so that a kill in between
 * loses nothing. Tags are not secret from the store, which has them in plaintext on the object.
 */
export class TagJournal {
  readonly #state: BucketClient
  readonly #bucket: BucketClient

  constructor(state: BucketClient, bucket: BucketClient) {
    this.#state = state
    this.#bucket = bucket
  }

  /** Runs a copy of the object onto itself that loses its tags. @throws what the copy throws, or the store's error. */
  async guard<T>(key: string, tags: readonly Tag[], copy: () => Promise<T>): Promise<T> {
    if (tags.length === 0) return copy()
    const entry: Entry = { bucket: this.#bucket.name, key, tags }
    await this.#state.document({ method: 'PUT', key: this.#nameOf(key), body: Buffer.from(JSON.stringify(entry)) })
    try {
      return await copy()
    } finally {
      // Even when it failed: the answer of a completed copy may have been lost.
      await this.#settle(this.#nameOf(key), entry)
    }
  }

  /** Restores the tags that a killed run has left. @returns the number of objects restored. */
  async recover(): Promise<number> {
    let recovered = 0
    for await (const page of this.#state.objects(this.#prefix)) {
      for (const { key: name } of page) {
        const body = await this.#state.documentOrNull({ method: 'GET', key: name, retry: true })
        if (body !== null && await this.#settle(name, JSON.parse(body.toString('utf8')) as Entry)) recovered += 1
      }
    }
    return recovered
  }

  /** An object that still has tags was not copied. */
  async #settle(name: string, { key, tags }: Entry): Promise<boolean> {
    const lost = await this.#bucket.head(key) !== null && (await tagsOf(this.#bucket, key, null)).length === 0
    if (lost) await putTags(this.#bucket, key, tags)
    await this.#state.document({ method: 'DELETE', key: name })
    return lost
  }

  get #prefix(): string {
    return `${PREFIX}${hash(this.#bucket.name)}/`
  }

  #nameOf(key: string): string {
    return `${this.#prefix}${hash(key)}`
  }
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
