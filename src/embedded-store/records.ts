import type { ChecksumAlgorithm } from '../http/checksums.ts'

/** Bytes at rest: written once, never changed. The backend knows where they are. */
export interface Blob {
  readonly id: string
  /** Bytes. */
  readonly size: number
}

/** Part of a blob: bytes `start` up to, not including, `end`. */
export interface Slice {
  readonly blob: Blob
  readonly start: number
  readonly end: number
}

export interface StoredChecksum {
  readonly algorithm: ChecksumAlgorithm
  /** Base64; composite values end in `-<number of parts>`. */
  readonly value: string
  readonly type: 'COMPOSITE' | 'FULL_OBJECT'
}

/** A part of a finished multipart upload, as GetObjectAttributes and `partNumber` show it. */
export interface FinishedPart {
  readonly number: number
  readonly size: number
  readonly checksum: StoredChecksum | null
}

/** ACLs are kept as the canned name that made them: https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#canned-acl */
export type CannedAcl =
  | 'private'
  | 'public-read'
  | 'public-read-write'
  | 'authenticated-read'
  | 'aws-exec-read'
  | 'bucket-owner-read'
  | 'bucket-owner-full-control'
  | 'log-delivery-write'

export type StorageClass = 'STANDARD' | 'REDUCED_REDUNDANCY' | 'STANDARD_IA' | 'ONEZONE_IA' | 'INTELLIGENT_TIERING' | 'GLACIER_IR'

export interface Retention {
  readonly mode: 'GOVERNANCE' | 'COMPLIANCE'
  /** ISO 8601. */
  readonly until: string
}

/** What a writer sets for an object in addition to its bytes: sent with PutObject, CreateMultipartUpload and CopyObject alike. */
export interface ObjectAttributes {
  /** `content-type`, `cache-control` and the like: lower-case names, latin1 values, returned unchanged. */
  readonly headers: Readonly<Record<string, string>>
  /** User metadata without the `x-amz-meta-` prefix: lower-case names, latin1 values. */
  readonly metadata: Readonly<Record<string, string>>
  readonly tags: readonly Tag[]
  readonly acl: CannedAcl
  readonly storageClass: StorageClass
  readonly retention: Retention | null
  readonly legalHold: boolean
}

export type Tag = readonly [key: string, value: string]

export interface ObjectVersion extends ObjectAttributes {
  readonly kind: 'object'
  /** `null` for what was written while the bucket was not versioned. */
  readonly versionId: string
  /** Milliseconds since 1970, whole seconds: all that HTTP dates can say. */
  readonly lastModified: number
  /** Without quotes. */
  readonly etag: string
  /** Bytes. */
  readonly size: number
  readonly checksum: StoredChecksum | null
  /** The body is these, one after the other. */
  readonly blobs: readonly Blob[]
  /** null for objects that were not uploaded in parts. */
  readonly parts: readonly FinishedPart[] | null
}

export interface DeleteMarker {
  readonly kind: 'marker'
  readonly versionId: string
  readonly lastModified: number
}

export type Version = ObjectVersion | DeleteMarker

export interface BucketRecord {
  readonly name: string
  /** Milliseconds since 1970. */
  readonly created: number
  readonly versioning: 'Unversioned' | 'Enabled' | 'Suspended'
  readonly objectLock: boolean
  readonly acl: CannedAcl
  /** Sub-resources kept as they came (policy, cors, lifecycle, …) by name. */
  readonly documents: Readonly<Record<string, string>>
}

export interface UploadedPart extends FinishedPart {
  readonly etag: string
  readonly blob: Blob
  readonly lastModified: number
}

export interface UploadRecord {
  /** Sorts by time of initiation. */
  readonly id: string
  readonly key: string
  readonly initiated: number
  readonly attributes: ObjectAttributes
  /** What the client asked of CreateMultipartUpload. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly type: StoredChecksum['type'] } | null
}
