import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { MemoryBackend } from '../../src/embedded-store/memory.ts'
import { Catalog } from '../../src/embedded-store/catalog.ts'
import { slices } from '../../src/embedded-store/locate.ts'
import type { Bucket } from '../../src/embedded-store/bucket.ts'
import type { StoredBucket } from '../../src/embedded-store/backend.ts'
import type { Blob, ObjectVersion, Version } from '../../src/embedded-store/records.ts'

/** A memory backend that forgets nothing: every version a key ever had, and its bytes. */
export class RememberingBackend extends MemoryBackend {
  readonly #history = new Map<string, ObjectVersion[]>()

  override async saveKey(bucket?: string, key?: string, versions: readonly Version[] = []): Promise<void> {
    const name = `${bucket ?? ''}/${key ?? ''}`
    const known = this.#history.get(name) ?? []
    this.#history.set(name, known)
    for (const version of versions.toReversed()) if (version.kind === 'object' && !known.includes(version)) known.push(version)
  }

  override async removeBlob(): Promise<void> {}

  /** Every state the key was ever in, oldest first. */
  history(bucket: string, key: string): readonly ObjectVersion[] {
    return this.#history.get(`${bucket}/${key}`) ?? []
  }

  async addBlob(body: Buffer): Promise<Blob> {
    const writer = await this.createBlob()
    await writer.write(body)
    return writer.commit()
  }

  /** A catalog in which the key has one version and nothing else exists. */
  shadow(bucket: Bucket, key: string, version: ObjectVersion): Promise<Catalog> {
    const stored: StoredBucket = { record: bucket.record, keys: [[key, [version]]], uploads: [] }
    const view = new MemoryBackend()
    view.load = async () => [stored]
    view.read = (slices) => this.read(slices)
    return Catalog.open(view)
  }
}

/** What a test may change of a stored object; the rest stays. */
export interface ObjectChange {
  readonly body?: Buffer
  /** User metadata without `x-amz-meta-`, in place of what was there. */
  readonly metadata?: Readonly<Record<string, string>>
  /** System headers in lower case, in place of what was there. */
  readonly headers?: Readonly<Record<string, string>>
  /** `keep`: the ETag stays although the body changes. Default: the MD5 of the body. */
  readonly etag?: 'keep' | (string & {})
}

/** An object in the test store, read without S3. */
export class StoredObject {
  readonly #backend: RememberingBackend
  readonly #bucket: Bucket
  readonly #key: string

  constructor(backend: RememberingBackend, bucket: Bucket, key: string) {
    this.#backend = backend
    this.#bucket = bucket
    this.#key = key
  }

  get exists(): boolean {
    return this.#bucket.current(this.#key) !== undefined
  }

  /** The current version. @throws Error when there is none */
  get version(): ObjectVersion {
    const version = this.#bucket.current(this.#key)
    if (version === undefined) throw new Error(`no object ${this.#key} in ${this.#bucket.record.name}`)
    return version
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.version.metadata
  }

  /** Every state the object was ever in, oldest first, the current one last. */
  get history(): readonly ObjectVersion[] {
    return this.#backend.history(this.#bucket.record.name, this.#key)
  }

  /** Bytes of the current version, or of one from the history. */
  async body(version: ObjectVersion = this.version): Promise<Buffer> {
    return buffer(this.#backend.read(slices(version, 0, version.size)))
  }

  /** Changes the current version in place, or makes the object. */
  async set({ body, metadata, headers, etag }: ObjectChange): Promise<void> {
    const before = this.#bucket.current(this.#key) ?? blank
    const size = body?.length ?? before.size
    const version: ObjectVersion = {
      ...before,
      metadata: metadata ?? before.metadata,
      headers: headers ?? before.headers,
      blobs: body === undefined ? before.blobs : [await this.#backend.addBlob(body)],
      size,
      etag: etag === 'keep' ? before.etag : etag ?? (body === undefined ? before.etag : createHash('md5').update(body).digest('hex')),
      // A checksum of other bytes would give the change away.
      checksum: body === undefined ? before.checksum : null,
      parts: size === before.size ? before.parts : null
    }
    await this.#bucket.changeKey(this.#key, (versions) => ({ versions: [version, ...versions.filter((one) => one !== before)], result: undefined }))
  }

  async remove(): Promise<void> {
    await this.#bucket.changeKey(this.#key, (versions) => ({ versions: versions.length === 0 ? versions : [], result: undefined }))
  }
}

const blank: ObjectVersion = {
  kind: 'object',
  versionId: 'null',
  lastModified: 0,
  etag: createHash('md5').digest('hex'),
  size: 0,
  checksum: null,
  blobs: [],
  parts: null,
  headers: { 'content-type': 'binary/octet-stream' },
  metadata: {},
  tags: [],
  acl: 'private',
  storageClass: 'STANDARD',
  retention: null,
  legalHold: false
}
