import type { Readable } from 'node:stream'
import type { Blob, BucketRecord, Slice, UploadedPart, UploadRecord, Version } from './records.ts'

/** Writes the bytes of one blob. Nothing is visible before `commit`, and nothing is left after `abort`. */
export interface BlobWriter {
  /** The writer owns the chunk from then on. Resolves when more may come. */
  write(chunk: Buffer): Promise<void> | undefined
  /** Durable when it resolves. */
  commit(): Promise<Blob>
  /** Idempotent; does nothing after `commit`. */
  abort(): Promise<void>
}

export interface StoredBucket {
  readonly record: BucketRecord
  /** Versions of each key, newest first, never empty. In any order of keys. */
  readonly keys: readonly (readonly [key: string, versions: readonly Version[]])[]
  readonly uploads: readonly { readonly record: UploadRecord; readonly parts: readonly UploadedPart[] }[]
}

/**
 * Storage of bytes and records. It decides nothing: their meaning in S3 is up to the catalog, which keeps all records in memory, writes them through
 * here, and calls `load` once at the start. Each `save…` replaces the previous record in one step: after a crash either the old or the new one is
 * found.
 */
export interface Backend {
  load(): Promise<readonly StoredBucket[]>

  createBlob(): Promise<BlobWriter>
  /** A second blob of the same bytes, without copying them. */
  linkBlob(blob: Blob): Promise<Blob>
  /** The bytes of the slices one after the other. Slices must be within their blobs. */
  read(slices: readonly Slice[]): Readable
  removeBlob(blob: Blob): Promise<void>

  saveBucket(record: BucketRecord): Promise<void>
  /** The bucket is empty. */
  removeBucket(name: string): Promise<void>
  /** An empty list removes the key. */
  saveKey(bucket: string, key: string, versions: readonly Version[]): Promise<void>
  saveUpload(bucket: string, record: UploadRecord): Promise<void>
  savePart(bucket: string, uploadId: string, part: UploadedPart): Promise<void>
  removeUpload(bucket: string, uploadId: string): Promise<void>
}
