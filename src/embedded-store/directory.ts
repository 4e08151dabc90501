import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { linkFile, makeDirectory, NewFile, readJson, syncDirectory } from './files.ts'
import type { Dirent } from 'node:fs'
import type { Backend, BlobWriter, StoredBucket } from './backend.ts'
import type { Blob, BucketRecord, Slice, UploadedPart, UploadRecord, Version } from './records.ts'

/** Bytes gathered before they are written: fewer system calls than one per network packet. */
const WRITE_SIZE = 1024 * 1024
const READ_SIZE = 256 * 1024

/** THE LAYOUT BELOW IS PART OF STORED DATA: change it only together with this number, and keep reading the old one. */
const LAYOUT = 1

interface KeyRecord {
  readonly key: string
  readonly versions: readonly Version[]
}

/**
 * Keeps everything in one directory:
 *
 *     store.json                                      the number of this layout
 *     blobs/<2 hex>/<id>                              bytes, nothing else
 *     buckets/<bucket>/bucket.json                    BucketRecord
 *     buckets/<bucket>/keys/<2 hex>/<62 hex>.json     the key and its versions; named by the SHA-256 of the key, because
 *                                                     file systems know 255 bytes, "..", and cases that keys do not know
 *     buckets/<bucket>/uploads/<id>/upload.json       UploadRecord
 *     buckets/<bucket>/uploads/<id>/<number>.json     UploadedPart
 *     new/                                            files being written; emptied at every start
 *
 * A blob is in place before a record names it, and a record is gone before its blobs are: a crash can leave blobs that
 * nothing names, never names without a blob. `load` clears such blobs away. One process at a time may use a directory.
 */
export class DirectoryBackend implements Backend {
  readonly #root: string

  /** @param root is made if it is not there */
  constructor(root: string) {
    this.#root = root
  }

  /** @throws Error when the directory holds something else, or a newer layout */
  async load(): Promise<readonly StoredBucket[]> {
    await this.#prepare()
    const buckets: StoredBucket[] = []
    for (const { name } of await list(this.#path('buckets'))) {
      const stored = await this.#loadBucket(name)
      if (stored !== null) buckets.push(stored)
    }
    await this.#removeOrphans(buckets)
    return buckets
  }

  async createBlob(): Promise<BlobWriter> {
    const id = randomUUID()
    const file = await NewFile.create(this.#path('new', id))
    let waiting: Buffer[] = []
    let waitingSize = 0
    let size = 0
    const flush = async (): Promise<void> => {
      const chunks = waiting
      waiting = []
      waitingSize = 0
      await file.write(chunks)
    }
    return {
      write: (chunk) => {
        waiting.push(chunk)
        waitingSize += chunk.length
        size += chunk.length
        return waitingSize < WRITE_SIZE ? undefined : flush()
      },
      commit: async () => {
        await flush()
        await file.publish(this.#blobPath(id))
        return { id, size }
      },
      abort: () => file.discard()
    }
  }

  async linkBlob({ id, size }: Blob): Promise<Blob> {
    const copy = randomUUID()
    await linkFile(this.#blobPath(id), this.#blobPath(copy))
    return { id: copy, size }
  }

  read(slices: readonly Slice[]): Readable {
    const [only, ...others] = slices
    // One file is the usual case, and its own stream passes the bytes on without a generator between.
    if (only !== undefined && others.length === 0) return this.#readSlice(only)
    return Readable.from(this.#readSlices(slices), { objectMode: false, highWaterMark: READ_SIZE })
  }

  async removeBlob({ id }: Blob): Promise<void> {
    await rm(this.#blobPath(id), { force: true })
  }

  async saveBucket(record: BucketRecord): Promise<void> {
    await makeDirectory(this.#path('buckets', record.name, 'uploads'))
    await makeDirectory(this.#path('buckets', record.name, 'keys'))
    await this.#save(record, 'buckets', record.name, 'bucket.json')
  }

  async removeBucket(name: string): Promise<void> {
    // The record first: a directory without it is not a bucket any more, even when a crash leaves other files in it.
    await rm(this.#path('buckets', name, 'bucket.json'))
    await syncDirectory(this.#path('buckets', name))
    await rm(this.#path('buckets', name), { recursive: true })
  }

  async saveKey(bucket: string, key: string, versions: readonly Version[]): Promise<void> {
    const hash = createHash('sha256').update(key, 'utf8').digest('hex')
    const directory = ['buckets', bucket, 'keys', hash.slice(0, 2)]
    await makeDirectory(this.#path(...directory))
    const record: KeyRecord = { key, versions }
    if (versions.length > 0) await this.#save(record, ...directory, `${hash.slice(2)}.json`)
    else {
      await rm(this.#path(...directory, `${hash.slice(2)}.json`), { force: true })
      await syncDirectory(this.#path(...directory))
    }
  }

  async saveUpload(bucket: string, record: UploadRecord): Promise<void> {
    await makeDirectory(this.#path('buckets', bucket, 'uploads', record.id))
    await this.#save(record, 'buckets', bucket, 'uploads', record.id, 'upload.json')
  }

  async savePart(bucket: string, uploadId: string, part: UploadedPart): Promise<void> {
    await this.#save(part, 'buckets', bucket, 'uploads', uploadId, `${part.number}.json`)
  }

  async removeUpload(bucket: string, uploadId: string): Promise<void> {
    await rm(this.#path('buckets', bucket, 'uploads', uploadId, 'upload.json'), { force: true })
    await syncDirectory(this.#path('buckets', bucket, 'uploads', uploadId))
    await rm(this.#path('buckets', bucket, 'uploads', uploadId), { recursive: true })
  }

  #path(...names: readonly string[]): string {
    return join(this.#root, ...names)
  }

  #blobPath(id: string): string {
    return this.#path('blobs', id.slice(0, 2), id)
  }

  async #save(record: unknown, ...names: readonly string[]): Promise<void> {
    const file = await NewFile.create(this.#path('new', randomUUID()))
    try {
      await file.write([Buffer.from(JSON.stringify(record), 'utf8')])
      await file.publish(this.#path(...names))
    } catch (error) {
      await file.discard()
      throw error
    }
  }

  #readSlice({ blob, start, end }: Slice): Readable {
    return createReadStream(this.#blobPath(blob.id), { start, end: end - 1, highWaterMark: READ_SIZE })
  }

  async *#readSlices(slices: readonly Slice[]): AsyncGenerator<Buffer> {
    for (const slice of slices) yield* this.#readSlice(slice) as AsyncIterable<Buffer>
  }

  async #prepare(): Promise<void> {
    await makeDirectory(this.#root)
    const names = (await list(this.#root)).map(({ name }) => name)
    if (names.includes('store.json')) {
      const { layout } = await readJson(this.#path('store.json')) as { layout: unknown }
      if (layout !== LAYOUT) throw new Error(`${this.#root} has store layout ${String(layout)}; this version reads ${LAYOUT}`)
    } else if (names.some((name) => name !== 'new')) {
      throw new Error(`${this.#root} is not empty and holds no store`)
    }
    await rm(this.#path('new'), { recursive: true, force: true })
    for (const name of ['new', 'buckets', 'blobs']) await makeDirectory(this.#path(name))
    // All at once now, so that no blob has to make its directory.
    for (let i = 0; i < 256; i += 1) await makeDirectory(this.#path('blobs', i.toString(16).padStart(2, '0')))
    if (!names.includes('store.json')) await this.#save({ layout: LAYOUT }, 'store.json')
  }

  /** @returns null for the remains of a bucket that was being created or removed at a crash */
  async #loadBucket(name: string): Promise<StoredBucket | null> {
    const path = this.#path('buckets', name)
    if (!(await list(path)).some((entry) => entry.name === 'bucket.json')) {
      await rm(path, { recursive: true })
      return null
    }
    const keys: [string, readonly Version[]][] = []
    for (const directory of await list(join(path, 'keys'))) {
      for (const file of await list(join(path, 'keys', directory.name))) {
        const { key, versions } = await readJson(join(path, 'keys', directory.name, file.name)) as KeyRecord
        keys.push([key, versions])
      }
    }
    const finished = new Set(keys.flatMap(([, versions]) => versions.flatMap(blobIds)))
    const uploads: StoredBucket['uploads'][number][] = []
    for (const { name: id } of await list(join(path, 'uploads'))) {
      const upload = await this.#loadUpload(join(path, 'uploads', id), finished)
      if (upload !== null) uploads.push(upload)
    }
    return { record: await readJson(join(path, 'bucket.json')) as BucketRecord, keys, uploads }
  }

  /** @returns null, and removes it, when a crash left it: half made, half removed, or completed (an object has its parts) */
  async #loadUpload(path: string, finished: ReadonlySet<string>): Promise<StoredBucket['uploads'][number] | null> {
    const files = await list(path)
    const parts: UploadedPart[] = []
    for (const { name } of files) if (name !== 'upload.json') parts.push(await readJson(join(path, name)) as UploadedPart)
    if (files.some(({ name }) => name === 'upload.json') && !parts.some(({ blob }) => finished.has(blob.id))) {
      return { record: await readJson(join(path, 'upload.json')) as UploadRecord, parts }
    }
    await rm(path, { recursive: true })
    return null
  }

  async #removeOrphans(buckets: readonly StoredBucket[]): Promise<void> {
    const named = new Set(buckets.flatMap(({ keys, uploads }) => [
      ...keys.flatMap(([, versions]) => versions.flatMap(blobIds)),
      ...uploads.flatMap(({ parts }) => parts.map(({ blob }) => blob.id))
    ]))
    for (const directory of await list(this.#path('blobs'))) {
      for (const { name } of await list(this.#path('blobs', directory.name))) {
        if (!named.has(name)) await rm(this.#path('blobs', directory.name, name))
      }
    }
  }
}

function list(path: string): Promise<readonly Dirent[]> {
  return readdir(path, { withFileTypes: true })
}

function blobIds(version: Version): readonly string[] {
  return version.kind === 'object' ? version.blobs.map(({ id }) => id) : []
}
