import { S3Error } from '../errors.ts'
import { Bucket } from './bucket.ts'
import { Locks } from './locks.ts'
import { SortedMap } from './sorted.ts'
import type { Backend } from './backend.ts'
import type { BucketRecord } from './records.ts'

/** All buckets. Records are kept in memory and written through to the backend. */
export class Catalog {
  readonly backend: Backend
  readonly #buckets: SortedMap<Bucket>
  readonly #locks = new Locks()

  private constructor(backend: Backend, buckets: readonly Bucket[]) {
    this.backend = backend
    this.#buckets = new SortedMap(buckets.map((bucket) => [bucket.record.name, bucket]))
  }

  /** Loads what the backend has. */
  static async open(backend: Backend): Promise<Catalog> {
    return new Catalog(backend, (await backend.load()).map((stored) => new Bucket(backend, stored)))
  }

  /** By name. */
  get buckets(): Iterable<Bucket> {
    return this.#buckets.values()
  }

  has(name: string): boolean {
    return this.#buckets.get(name) !== undefined
  }

  /** @throws S3Error NoSuchBucket */
  bucket(name: string): Bucket {
    const bucket = this.#buckets.get(name)
    if (bucket === undefined) throw new S3Error('NoSuchBucket', { fields: { BucketName: name } })
    return bucket
  }

  /** @throws S3Error BucketAlreadyOwnedByYou */
  async createBucket(record: BucketRecord): Promise<void> {
    await this.#locks.hold(record.name, async () => {
      if (this.has(record.name)) throw new S3Error('BucketAlreadyOwnedByYou', { fields: { BucketName: record.name } })
      await this.backend.saveBucket(record)
      this.#buckets.set(record.name, new Bucket(this.backend, { record, keys: [], uploads: [] }))
    })
  }

  /** @throws S3Error NoSuchBucket, BucketNotEmpty */
  async removeBucket(name: string): Promise<void> {
    await this.#locks.hold(name, async () => {
      await this.bucket(name).remove()
      this.#buckets.delete(name)
    })
  }
}
