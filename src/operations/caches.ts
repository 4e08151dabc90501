import type { Manifest, ManifestOf } from '../envelope/manifest.ts'
import type { UploadRecord } from '../envelope/upload-records.ts'
import type { BucketEncryption } from '../s3/bucket-settings.ts'
import { BoundedCache } from '../collections/bounded-cache.ts'
import { CorsKnowledge } from './buckets/cors-knowledge.ts'

/** The last known state of a name. It lets a ranged read of a multipart object ask for the right bytes at once. */
export interface Hint {
  readonly upstreamEtag: string
  readonly manifest: ManifestOf<'multipart'>
}

/** `reader`: the identity the object was read with, because another one may list an object and not read it. */
export type RowName = readonly [reader: string | null, bucket: string, key: string, versionId: string | null, upstreamEtag: string]

/** Size and ETag of a row of a listing. */
export interface RowFacts {
  readonly size: number
  readonly etag: string
}

const MANIFEST_BYTES = 64 * 1024 * 1024
const ROW_BYTES = 64 * 1024 * 1024
const UPLOAD_BYTES = 16 * 1024 * 1024
const EQUAL_SIZES = 10_000

/**
 * Caches of verified facts. None of them opens an object: a manifest is used only after this request's own unwrap has given the same commitment. A
 * hint only chooses which bytes to ask for first, with If-Match.
 */
export class ObjectCache {
  readonly #manifests = new BoundedCache<Manifest>(MANIFEST_BYTES)
  readonly #hints = new BoundedCache<Hint>(MANIFEST_BYTES)
  readonly #rows = new BoundedCache<RowFacts>(ROW_BYTES)
  readonly #uploads = new BoundedCache<UploadRecord>(UPLOAD_BYTES)
  readonly #equalSizes = new BoundedCache<number>(EQUAL_SIZES)

  manifest(commitment: Buffer, upstreamEtag: string): Manifest | undefined {
    return this.#manifests.get(manifestKey(commitment, upstreamEtag))
  }

  rememberManifest(commitment: Buffer, upstreamEtag: string, manifest: Manifest): void {
    this.#manifests.set(manifestKey(commitment, upstreamEtag), manifest, weightOf(manifest))
  }

  hint(bucket: string, key: string, versionId: string | null): Hint | undefined {
    return this.#hints.get(nameKey(bucket, key, versionId))
  }

  rememberHint(bucket: string, key: string, versionId: string | null, hint: Hint): void {
    this.#hints.set(nameKey(bucket, key, versionId), hint, weightOf(hint.manifest))
  }

  forgetHint(bucket: string, key: string, versionId: string | null): void {
    this.#hints.delete(nameKey(bucket, key, versionId))
  }

  row(...row: RowName): RowFacts | undefined {
    return this.#rows.get(rowKey(row))
  }

  rememberRow(facts: RowFacts, ...row: RowName): void {
    const name = rowKey(row)
    this.#rows.set(name, facts, 256 + name.length)
  }

  /** The record of an upload, still sealed, that has opened once. Records are written once, so it is valid for as long as the upload exists. */
  upload(hash: Buffer): UploadRecord | undefined {
    return this.#uploads.get(hash.toString('base64'))
  }

  rememberUpload(hash: Buffer, record: UploadRecord): void {
    this.#uploads.set(hash.toString('base64'), record, weightOfUpload(record))
  }

  forgetUpload(hash: Buffer): void {
    this.#uploads.delete(hash.toString('base64'))
    this.#equalSizes.delete(hash.toString('base64'))
  }

  /** Stored size of the equal parts of an upload, as the store returned it. Nothing is decided by it: Complete checks the parts themselves. */
  equalSize(hash: Buffer): number | undefined {
    return this.#equalSizes.get(hash.toString('base64'))
  }

  rememberEqualSize(hash: Buffer, size: number): void {
    this.#equalSizes.set(hash.toString('base64'), size, 1)
  }
}

function manifestKey(commitment: Buffer, upstreamEtag: string): string {
  return `${commitment.toString('base64')}\n${upstreamEtag}`
}

/** JSON, so that no two lists give the same key: names may hold any character, and all of a listing is chosen by the store. */
function nameKey(...names: readonly (string | null)[]): string {
  return JSON.stringify(names)
}

/** As `nameKey`, for a thousand rows at a time: by the lengths in front no two names give the same key. */
function rowKey([reader, bucket, key, versionId, etag]: RowName): string {
  return `${reader?.length ?? '-'} ${bucket.length} ${versionId?.length ?? '-'} ${etag.length} ${reader ?? ''}${bucket}${versionId ?? ''}${etag}${key}`
}

function weightOf(manifest: Manifest): number {
  return 512 + (manifest.kind === 'single' ? 0 : manifest.parts.length * 256)
}

/** Of the whole record: its fields are views of one buffer. */
function weightOfUpload({ blob }: UploadRecord): number {
  return 512 + blob.buffer.byteLength
}

const ENCRYPTION_MS = 5_000
const MAX_ENTRIES = 10_000

/**
 * Bucket settings that the gateway acts on, absence included, cached briefly. A change by another instance takes effect when the entry expires, one
 * by this instance at once.
 */
export class SettingsCache {
  readonly #cors = new Map<string, CorsKnowledge>()
  readonly #encryption = new BoundedCache<BucketEncryption | null>(MAX_ENTRIES, undefined, { maxAgeMs: ENCRYPTION_MS })

  /** What is known of the buckets of one store: each has budgets of its own. @param upstream its name in the configuration */
  corsAt(upstream: string): CorsKnowledge {
    const known = this.#cors.get(upstream) ?? new CorsKnowledge()
    this.#cors.set(upstream, known)
    return known
  }

  /** null: the bucket has no default of its own. */
  get encryption(): BoundedCache<BucketEncryption | null> {
    return this.#encryption
  }
}
