import type { Readable } from 'node:stream'
import type { Backend, StoredBucket } from './backend.ts'
import type { Blob, BucketRecord, ObjectVersion, Slice, UploadedPart, UploadRecord, Version } from './records.ts'
import { S3Error } from '../errors.ts'
import { Locks, orderedId } from './locks.ts'
import { SortedMap } from './sorted.ts'

export interface Upload {
  readonly record: UploadRecord
  readonly parts: ReadonlyMap<number, UploadedPart>
}

/** The result of a change of a key's versions. */
interface KeyChange<T> {
  /** Newest first; empty when nothing of the key is left. */
  readonly versions: readonly Version[]
  readonly result: T
}

/**
 * A bucket with all its records in memory. Changes are decided and written to the backend under a lock per key, so that
 * conditional requests are atomic, and seen by others only once the backend has them.
 */
export class Bucket {
  readonly #backend: Backend
  readonly #keys: SortedMap<readonly Version[]>
  readonly #uploads: SortedMap<{ readonly record: UploadRecord; readonly parts: Map<number, UploadedPart> }>
  readonly #locks = new Locks()
  readonly #readers = new Map<string, number>()
  readonly #doomed = new Map<string, Blob>()
  #record: BucketRecord
  /** Changes of keys in progress: a bucket that is about to get an object is not empty. */
  #changes = 0
  #removed = false

  constructor(backend: Backend, stored: StoredBucket) {
    this.#backend = backend
    this.#record = stored.record
    this.#keys = new SortedMap(stored.keys)
    this.#uploads = new SortedMap(stored.uploads.map(({ record, parts }) => [record.id, { record, parts: new Map(parts.map((part) => [part.number, part])) }]))
  }

  get record(): BucketRecord {
    return this.#record
  }

  /** Versions of every key, newest first. */
  get keys(): Pick<SortedMap<readonly Version[]>, 'get' | 'atOrAfter' | 'after' | 'afterPrefix' | 'size'> {
    return this.#keys
  }

  /** Uploads in progress by time of initiation. */
  get uploads(): Iterable<Upload> {
    return this.#uploads.values()
  }

  versions(key: string): readonly Version[] {
    return this.#keys.get(key) ?? []
  }

  /** The object that a plain GET returns, or undefined when there is none or a delete marker hides it. */
  current(key: string): ObjectVersion | undefined {
    const newest = this.versions(key)[0]
    return newest?.kind === 'object' ? newest : undefined
  }

  async saveRecord(change: (record: BucketRecord) => BucketRecord): Promise<void> {
    await this.#locks.hold('bucket', async () => {
      const changed = change(this.#record)
      await this.#backend.saveBucket(changed)
      this.#record = changed
    })
  }

  /**
   * Replaces the versions of a key by the result of `change`. When `change` throws, nothing has happened. Blobs that no version needs any more are
   * freed.
   */
  async changeKey<T>(key: string, change: (versions: readonly Version[]) => KeyChange<T>): Promise<T> {
    if (this.#removed) throw new S3Error('NoSuchBucket', { fields: { BucketName: this.#record.name } })
    this.#changes += 1
    try {
      return await this.#locks.hold(`key ${key}`, async () => {
        const before = this.versions(key)
        const { versions, result } = change(before)
        if (versions !== before) await this.#replace(key, before, versions)
        return result
      })
    } finally {
      this.#changes -= 1
    }
  }

  async #replace(key: string, before: readonly Version[], versions: readonly Version[]): Promise<void> {
    await this.#backend.saveKey(this.#record.name, key, versions)
    if (versions.length === 0) this.#keys.delete(key)
    else this.#keys.set(key, versions)
    const kept = new Set(versions.flatMap(blobsOf).map(({ id }) => id))
    await this.free(before.flatMap(blobsOf).filter(({ id }) => !kept.has(id)))
  }

  /** Puts a new version on top: in addition to the others where the bucket is versioned, in place of `null` elsewhere. */
  addVersion(versions: readonly Version[], make: (versionId: string) => Version): readonly Version[] {
    if (this.#record.versioning === 'Enabled') return [make(orderedId()), ...versions]
    return [make('null'), ...versions.filter(({ versionId }) => versionId !== 'null')]
  }

  /** @throws S3Error NoSuchUpload, also when the upload is one of another key. */
  upload(key: string, id: string): Upload {
    const upload = this.#uploads.get(id)
    if (upload?.record.key !== key) throw new S3Error('NoSuchUpload', { fields: { UploadId: id } })
    return upload
  }

  async createUpload(record: UploadRecord): Promise<void> {
    await this.#backend.saveUpload(this.#record.name, record)
    this.#uploads.set(record.id, { record, parts: new Map() })
  }

  /** @throws S3Error NoSuchUpload when the upload was completed or aborted while the part arrived. */
  async savePart(key: string, id: string, part: UploadedPart): Promise<void> {
    await this.#locks.hold(`upload ${id}`, async () => {
      this.upload(key, id)
      await this.#backend.savePart(this.#record.name, id, part)
      const parts = this.#uploads.get(id)?.parts
      const replaced = parts?.get(part.number)
      parts?.set(part.number, part)
      if (replaced !== undefined) await this.free([replaced.blob])
    })
  }

  /** Ends an upload. `finish` runs under its lock and returns the blobs that are used elsewhere. */
  async endUpload<T>(key: string, id: string, finish: (upload: Upload) => Promise<{ kept: ReadonlySet<string>; result: T }>): Promise<T> {
    return this.#locks.hold(`upload ${id}`, async () => {
      const upload = this.upload(key, id)
      const { kept, result } = await finish(upload)
      await this.#backend.removeUpload(this.#record.name, id)
      this.#uploads.delete(id)
      await this.free([...upload.parts.values()].map(({ blob }) => blob).filter(({ id: blobId }) => !kept.has(blobId)))
      return result
    })
  }

  /** The bytes of the slices; their blobs stay until the stream is closed, even when the object is overwritten meanwhile. */
  read(slices: readonly Slice[]): Readable {
    const release = this.#retain(slices.map(({ blob }) => blob))
    const stream = this.#backend.read(slices)
    stream.once('close', release)
    return stream
  }

  /** Second names for the same bytes. */
  async link(blobs: readonly Blob[]): Promise<readonly Blob[]> {
    const release = this.#retain(blobs)
    const linked: Blob[] = []
    try {
      for (const blob of blobs) linked.push(await this.#backend.linkBlob(blob))
      return linked
    } catch (error) {
      await this.free(linked)
      throw error
    } finally {
      release()
    }
  }

  /** Removes unreferenced blobs, as soon as they have no reader. */
  async free(blobs: readonly Blob[]): Promise<void> {
    for (const blob of blobs) {
      if (this.#readers.has(blob.id)) this.#doomed.set(blob.id, blob)
      else await this.#backend.removeBlob(blob)
    }
  }

  /** @throws S3Error BucketNotEmpty. Uploads in progress go with the bucket. */
  async remove(): Promise<void> {
    await this.#locks.hold('bucket', async () => {
      if (this.#keys.size > 0 || this.#changes > 0) throw new S3Error('BucketNotEmpty', { fields: { BucketName: this.#record.name } })
      this.#removed = true
      for (const { record } of [...this.#uploads.values()]) {
        await this.endUpload(record.key, record.id, async () => ({ kept: new Set(), result: undefined }))
      }
      await this.#backend.removeBucket(this.#record.name)
    })
  }

  /** @throws S3Error InvalidRequest when the bucket was not made for object lock. */
  requireObjectLock(): void {
    if (!this.#record.objectLock) throw new S3Error('InvalidRequest', { message: 'Bucket is missing Object Lock Configuration' })
  }

  #retain(blobs: readonly Blob[]): () => void {
    for (const { id } of blobs) this.#readers.set(id, (this.#readers.get(id) ?? 0) + 1)
    return () => {
      this.#release(blobs)
    }
  }

  #release(blobs: readonly Blob[]): void {
    for (const { id } of blobs) {
      const left = (this.#readers.get(id) ?? 1) - 1
      if (left > 0) {
        this.#readers.set(id, left)
        continue
      }
      this.#readers.delete(id)
      const doomed = this.#doomed.get(id)
      this.#doomed.delete(id)
      // A file that cannot be removed now is an orphan, which the next start removes.
      if (doomed !== undefined) this.#backend.removeBlob(doomed).catch(() => undefined)
    }
  }
}

function blobsOf(version: Version): readonly Blob[] {
  return version.kind === 'object' ? version.blobs : []
}
