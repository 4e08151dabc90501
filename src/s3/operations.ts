// The words of S3: this table of operations, routing (route.ts), names of buckets and objects, ranges, conditions, and the documents of requests and
// responses (documents.ts, listing.ts, xml.ts). Pure functions; only this room parses XML, with one parser (docs/decisions/0015-own-xml-parser.md).
// What an operation does to sealed objects is in `plan`.
/**
 * The operations of S3: AWS's service model of August 2026 (116 names; four are older names of another request, see `olderNames`), the browser form
 * upload and the CORS preflight, which the model leaves out. Operations without a row are refused.
 */
type Method = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE' | 'OPTIONS'
export type Level = 'service' | 'bucket' | 'object'

export interface OperationRow {
  readonly method: Method
  readonly level: Level
  /** Query names that must all be present, `name=value` where the value matters. The row with the most of them wins. */
  readonly select: readonly string[]
  /** A header that must be present as well. */
  readonly header?: string
  /** Further query parameters that are accepted; they go upstream. */
  readonly parameters: readonly string[]
  /** Needs the right to write. Data that leaves the store and changed settings need it, a query of data does not. */
  readonly write: boolean
  /**
   * The operations that READ grants everybody in an ACL of S3: objects and listings, but no settings (AWS S3 User Guide, "Access control list (ACL)
   * overview", mapping of permissions).
   */
  readonly public: boolean
  /** `document`: XML or JSON of a bounded size, read whole. `data`: object bytes. `form`: multipart/form-data. */
  readonly takesBody: 'none' | 'document' | 'data' | 'form'
  /** STREAMING-* payloads (aws-chunked) are allowed here only (AWS, "Signature calculations", chunked upload). */
  readonly mayStream: boolean
  /** S3 demands Content-MD5 or a checksum of the body. Clients since 2025 send a CRC, but older stores need the MD5: the gateway adds it. */
  readonly requiresDigest: boolean
}

const read = { write: false, public: false, takesBody: 'none', mayStream: false, requiresDigest: false, parameters: [] } as const
const open = { ...read, public: true } as const
const write = { ...read, write: true } as const
const document = { ...write, takesBody: 'document' } as const
const digested = { ...document, requiresDigest: true } as const
const data = { ...write, takesBody: 'data' } as const
const form = { ...write, takesBody: 'form' } as const

const responseOverrides = [
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires'
] as const

/** MinIO lists user metadata on request, Ceph lists unordered on request: neither changes the meaning of a row. */
const listing = ['delimiter', 'encoding-type', 'max-keys', 'prefix', 'metadata', 'allow-unordered'] as const

export const operations = {
  // Service
  ListBuckets: {
    ...read,
    method: 'GET',
    level: 'service',
    select: [],
    parameters: ['max-buckets', 'continuation-token', 'prefix', 'bucket-region']
  },
  ListDirectoryBuckets: { ...read, method: 'GET', level: 'service', select: ['max-directory-buckets'], parameters: ['continuation-token'] },

  // Bucket
  CreateBucket: { ...document, method: 'PUT', level: 'bucket', select: [] },
  CreateBucketMetadataConfiguration: { ...digested, method: 'POST', level: 'bucket', select: ['metadataConfiguration'] },
  CreateBucketMetadataTableConfiguration: { ...digested, method: 'POST', level: 'bucket', select: ['metadataTable'] },
  CreateSession: { ...read, method: 'GET', level: 'bucket', select: ['session'] },
  DeleteBucket: { ...write, method: 'DELETE', level: 'bucket', select: [] },
  DeleteBucketAnalyticsConfiguration: { ...write, method: 'DELETE', level: 'bucket', select: ['analytics', 'id'] },
  DeleteBucketCors: { ...write, method: 'DELETE', level: 'bucket', select: ['cors'] },
  DeleteBucketEncryption: { ...write, method: 'DELETE', level: 'bucket', select: ['encryption'] },
  DeleteBucketIntelligentTieringConfiguration: { ...write, method: 'DELETE', level: 'bucket', select: ['intelligent-tiering', 'id'] },
  DeleteBucketInventoryConfiguration: { ...write, method: 'DELETE', level: 'bucket', select: ['inventory', 'id'] },
  DeleteBucketLifecycle: { ...write, method: 'DELETE', level: 'bucket', select: ['lifecycle'] },
  DeleteBucketMetadataConfiguration: { ...write, method: 'DELETE', level: 'bucket', select: ['metadataConfiguration'] },
  DeleteBucketMetadataTableConfiguration: { ...write, method: 'DELETE', level: 'bucket', select: ['metadataTable'] },
  DeleteBucketMetricsConfiguration: { ...write, method: 'DELETE', level: 'bucket', select: ['metrics', 'id'] },
  DeleteBucketOwnershipControls: { ...write, method: 'DELETE', level: 'bucket', select: ['ownershipControls'] },
  DeleteBucketPolicy: { ...write, method: 'DELETE', level: 'bucket', select: ['policy'] },
  DeleteBucketReplication: { ...write, method: 'DELETE', level: 'bucket', select: ['replication'] },
  DeleteBucketTagging: { ...write, method: 'DELETE', level: 'bucket', select: ['tagging'] },
  DeleteBucketWebsite: { ...write, method: 'DELETE', level: 'bucket', select: ['website'] },
  DeleteObjects: { ...digested, method: 'POST', level: 'bucket', select: ['delete'] },
  DeletePublicAccessBlock: { ...write, method: 'DELETE', level: 'bucket', select: ['publicAccessBlock'] },
  GetBucketAbac: { ...read, method: 'GET', level: 'bucket', select: ['abac'] },
  GetBucketAccelerateConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['accelerate'] },
  GetBucketAcl: { ...read, method: 'GET', level: 'bucket', select: ['acl'] },
  GetBucketAnalyticsConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['analytics', 'id'] },
  GetBucketCors: { ...read, method: 'GET', level: 'bucket', select: ['cors'] },
  GetBucketEncryption: { ...read, method: 'GET', level: 'bucket', select: ['encryption'] },
  GetBucketIntelligentTieringConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['intelligent-tiering', 'id'] },
  GetBucketInventoryConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['inventory', 'id'] },
  GetBucketLifecycleConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['lifecycle'] },
  GetBucketLocation: { ...read, method: 'GET', level: 'bucket', select: ['location'] },
  GetBucketLogging: { ...read, method: 'GET', level: 'bucket', select: ['logging'] },
  GetBucketMetadataConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['metadataConfiguration'] },
  GetBucketMetadataTableConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['metadataTable'] },
  GetBucketMetricsConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['metrics', 'id'] },
  GetBucketNotificationConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['notification'] },
  GetBucketOwnershipControls: { ...read, method: 'GET', level: 'bucket', select: ['ownershipControls'] },
  GetBucketPolicy: { ...read, method: 'GET', level: 'bucket', select: ['policy'] },
  GetBucketPolicyStatus: { ...read, method: 'GET', level: 'bucket', select: ['policyStatus'] },
  GetBucketReplication: { ...read, method: 'GET', level: 'bucket', select: ['replication'] },
  GetBucketRequestPayment: { ...read, method: 'GET', level: 'bucket', select: ['requestPayment'] },
  GetBucketTagging: { ...read, method: 'GET', level: 'bucket', select: ['tagging'] },
  GetBucketVersioning: { ...read, method: 'GET', level: 'bucket', select: ['versioning'] },
  GetBucketWebsite: { ...read, method: 'GET', level: 'bucket', select: ['website'] },
  GetObjectLockConfiguration: { ...read, method: 'GET', level: 'bucket', select: ['object-lock'] },
  GetPublicAccessBlock: { ...read, method: 'GET', level: 'bucket', select: ['publicAccessBlock'] },
  HeadBucket: { ...open, method: 'HEAD', level: 'bucket', select: [] },
  ListBucketAnalyticsConfigurations: { ...read, method: 'GET', level: 'bucket', select: ['analytics'], parameters: ['continuation-token'] },
  ListBucketIntelligentTieringConfigurations: {
    ...read,
    method: 'GET',
    level: 'bucket',
    select: ['intelligent-tiering'],
    parameters: ['continuation-token']
  },
  ListBucketInventoryConfigurations: { ...read, method: 'GET', level: 'bucket', select: ['inventory'], parameters: ['continuation-token'] },
  ListBucketMetricsConfigurations: { ...read, method: 'GET', level: 'bucket', select: ['metrics'], parameters: ['continuation-token'] },
  ListMultipartUploads: {
    ...open,
    method: 'GET',
    level: 'bucket',
    select: ['uploads'],
    parameters: ['delimiter', 'encoding-type', 'key-marker', 'max-uploads', 'prefix', 'upload-id-marker']
  },
  ListObjectVersions: {
    ...open,
    method: 'GET',
    level: 'bucket',
    select: ['versions'],
    parameters: [...listing, 'key-marker', 'version-id-marker']
  },
  ListObjects: { ...open, method: 'GET', level: 'bucket', select: [], parameters: [...listing, 'marker'] },
  ListObjectsV2: {
    ...open,
    method: 'GET',
    level: 'bucket',
    select: ['list-type=2'],
    parameters: [...listing, 'continuation-token', 'fetch-owner', 'start-after']
  },
  PostObject: { ...form, method: 'POST', level: 'bucket', select: [] },
  Preflight: { ...read, method: 'OPTIONS', level: 'bucket', select: [] },
  PutBucketAbac: { ...document, method: 'PUT', level: 'bucket', select: ['abac'] },
  PutBucketAccelerateConfiguration: { ...document, method: 'PUT', level: 'bucket', select: ['accelerate'] },
  PutBucketAcl: { ...digested, method: 'PUT', level: 'bucket', select: ['acl'] },
  PutBucketAnalyticsConfiguration: { ...document, method: 'PUT', level: 'bucket', select: ['analytics', 'id'] },
  PutBucketCors: { ...digested, method: 'PUT', level: 'bucket', select: ['cors'] },
  PutBucketEncryption: { ...digested, method: 'PUT', level: 'bucket', select: ['encryption'] },
  PutBucketIntelligentTieringConfiguration: { ...document, method: 'PUT', level: 'bucket', select: ['intelligent-tiering', 'id'] },
  PutBucketInventoryConfiguration: { ...document, method: 'PUT', level: 'bucket', select: ['inventory', 'id'] },
  PutBucketLifecycleConfiguration: { ...digested, method: 'PUT', level: 'bucket', select: ['lifecycle'] },
  PutBucketLogging: { ...digested, method: 'PUT', level: 'bucket', select: ['logging'] },
  PutBucketMetricsConfiguration: { ...document, method: 'PUT', level: 'bucket', select: ['metrics', 'id'] },
  PutBucketNotificationConfiguration: { ...document, method: 'PUT', level: 'bucket', select: ['notification'] },
  PutBucketOwnershipControls: { ...digested, method: 'PUT', level: 'bucket', select: ['ownershipControls'] },
  PutBucketPolicy: { ...digested, method: 'PUT', level: 'bucket', select: ['policy'] },
  PutBucketReplication: { ...digested, method: 'PUT', level: 'bucket', select: ['replication'] },
  PutBucketRequestPayment: { ...digested, method: 'PUT', level: 'bucket', select: ['requestPayment'] },
  PutBucketTagging: { ...digested, method: 'PUT', level: 'bucket', select: ['tagging'] },
  PutBucketVersioning: { ...digested, method: 'PUT', level: 'bucket', select: ['versioning'] },
  PutBucketWebsite: { ...digested, method: 'PUT', level: 'bucket', select: ['website'] },
  PutObjectLockConfiguration: { ...digested, method: 'PUT', level: 'bucket', select: ['object-lock'] },
  PutPublicAccessBlock: { ...digested, method: 'PUT', level: 'bucket', select: ['publicAccessBlock'] },
  UpdateBucketMetadataAnnotationTableConfiguration: { ...digested, method: 'PUT', level: 'bucket', select: ['metadataAnnotationTable'] },
  UpdateBucketMetadataInventoryTableConfiguration: { ...digested, method: 'PUT', level: 'bucket', select: ['metadataInventoryTable'] },
  UpdateBucketMetadataJournalTableConfiguration: { ...digested, method: 'PUT', level: 'bucket', select: ['metadataJournalTable'] },
  WriteGetObjectResponse: { ...data, method: 'POST', level: 'bucket', select: [], header: 'x-amz-request-route' },

  // Object
  AbortMultipartUpload: { ...write, method: 'DELETE', level: 'object', select: ['uploadId'] },
  CompleteMultipartUpload: { ...document, method: 'POST', level: 'object', select: ['uploadId'] },
  CopyObject: { ...write, method: 'PUT', level: 'object', select: [], header: 'x-amz-copy-source' },
  CreateMultipartUpload: { ...write, method: 'POST', level: 'object', select: ['uploads'] },
  DeleteObject: { ...write, method: 'DELETE', level: 'object', select: [], parameters: ['versionId'] },
  DeleteObjectAnnotation: {
    ...write,
    method: 'DELETE',
    level: 'object',
    select: ['annotation', 'annotationName'],
    parameters: ['versionId']
  },
  DeleteObjectTagging: { ...write, method: 'DELETE', level: 'object', select: ['tagging'], parameters: ['versionId'] },
  GetObject: { ...open, method: 'GET', level: 'object', select: [], parameters: [...responseOverrides, 'versionId', 'partNumber'] },
  GetObjectAcl: { ...read, method: 'GET', level: 'object', select: ['acl'], parameters: ['versionId'] },
  GetObjectAnnotation: { ...read, method: 'GET', level: 'object', select: ['annotation', 'annotationName'], parameters: ['versionId'] },
  GetObjectAttributes: { ...open, method: 'GET', level: 'object', select: ['attributes'], parameters: ['versionId'] },
  GetObjectLegalHold: { ...read, method: 'GET', level: 'object', select: ['legal-hold'], parameters: ['versionId'] },
  GetObjectRetention: { ...read, method: 'GET', level: 'object', select: ['retention'], parameters: ['versionId'] },
  GetObjectTagging: { ...read, method: 'GET', level: 'object', select: ['tagging'], parameters: ['versionId'] },
  GetObjectTorrent: { ...read, method: 'GET', level: 'object', select: ['torrent'] },
  HeadObject: { ...open, method: 'HEAD', level: 'object', select: [], parameters: [...responseOverrides, 'versionId', 'partNumber'] },
  ListObjectAnnotations: {
    ...read,
    method: 'GET',
    level: 'object',
    select: ['annotation'],
    parameters: ['versionId', 'max-annotation-results', 'annotation-prefix', 'continuation-token']
  },
  ListParts: { ...read, method: 'GET', level: 'object', select: ['uploadId'], parameters: ['max-parts', 'part-number-marker'] },
  PutObject: { ...data, mayStream: true, method: 'PUT', level: 'object', select: [] },
  PutObjectAcl: { ...digested, method: 'PUT', level: 'object', select: ['acl'], parameters: ['versionId'] },
  PutObjectAnnotation: { ...data, method: 'PUT', level: 'object', select: ['annotation', 'annotationName'], parameters: ['versionId'] },
  PutObjectLegalHold: { ...digested, method: 'PUT', level: 'object', select: ['legal-hold'], parameters: ['versionId'] },
  PutObjectRetention: { ...digested, method: 'PUT', level: 'object', select: ['retention'], parameters: ['versionId'] },
  PutObjectTagging: { ...digested, method: 'PUT', level: 'object', select: ['tagging'], parameters: ['versionId'] },
  RenameObject: { ...write, method: 'PUT', level: 'object', select: ['renameObject'] },
  RestoreObject: { ...document, method: 'POST', level: 'object', select: ['restore'], parameters: ['versionId'] },
  SelectObjectContent: { ...document, write: false, method: 'POST', level: 'object', select: ['select', 'select-type=2'] },
  UpdateObjectEncryption: { ...digested, method: 'PUT', level: 'object', select: ['encryption'], parameters: ['versionId'] },
  UploadPart: { ...data, mayStream: true, method: 'PUT', level: 'object', select: ['partNumber', 'uploadId'] },
  UploadPartCopy: { ...write, method: 'PUT', level: 'object', select: ['partNumber', 'uploadId'], header: 'x-amz-copy-source' }
} as const satisfies Record<string, OperationRow>

export type OperationName = keyof typeof operations
export const operationNames = Object.keys(operations) as OperationName[]

/** Names AWS keeps in its model for requests that are the same on the wire as the newer operation. */
export const olderNames = {
  GetBucketLifecycle: 'GetBucketLifecycleConfiguration',
  GetBucketNotification: 'GetBucketNotificationConfiguration',
  PutBucketLifecycle: 'PutBucketLifecycleConfiguration',
  PutBucketNotification: 'PutBucketNotificationConfiguration'
} as const satisfies Record<string, OperationName>

/**
 * Requests of other servers that look like S3. They are refused by name with a reason, whatever operation they are part of: without the marker the
 * request would store or serve something that the client did not ask for.
 */
export interface Extension {
  readonly name: string
  readonly query?: string
  readonly header?: string
  /** True when `query` or `header` is only the beginning of the name. */
  readonly prefix?: boolean
  /** Refused only with this value. */
  readonly value?: string
}

/**
 * Bare query names for which some S3 server, or a store with an S3 gateway, returns something else than the object's bytes. They are never dropped as
 * unknown. In lower case, because they are compared without case.
 */
// dprint-ignore
export const foreignSubResources: ReadonlySet<string> = new Set([
  // MinIO, Ceph, SeaweedFS, Garage
  'append', 'events', 'inspect', 'inventory', 'layout', 'lambdaarn', 'log', 'mdsearch', 'metadata', 'object-layout', 'ping', 'quota', 'replication-metrics',
  'replication-reset', 'replication-reset-status', 'requestpayment', 'select', 'stat', 'stats', 'sync', 'usage', 'website', 'zip',
  // Google Cloud Storage
  'billing', 'compose', 'encryptionconfig', 'generation', 'resumable', 'retentionpolicy', 'storageclass', 'upload_id', 'userproject',
  // Alibaba, Tencent, Huawei, IBM, Wasabi
  'asyncfetch', 'asyncprocess', 'backtosource', 'callback', 'ci-process', 'cname', 'directory', 'extendretention', 'img', 'imageinfo', 'legalhold', 'live',
  'meta', 'modify', 'objectinfo', 'objectmeta', 'position', 'process', 'processconfiguration', 'qos', 'referer', 'rename', 'seal', 'sequential',
  'status', 'style', 'symlink', 'tailormade', 'truncate', 'udf', 'version', 'vod', 'wasabi', 'worm', 'wormextend', 'wormid', 'x-image-process',
  'x-obs-security-token', 'x-oss-process', 'x-cos-process'
])

export const extensions: readonly Extension[] = [
  { name: 'Ceph and MinIO append', query: 'append' },
  { name: 'Ceph multisite and admin parameters', query: 'rgwx-', prefix: true },
  { name: 'Ceph multisite headers', header: 'x-rgw-', prefix: true },
  { name: 'IAM, STS and SNS actions', query: 'Action' },
  { name: 'MinIO object lambda and prompts', query: 'lambdaArn' },
  { name: 'MinIO read inside an archive', header: 'x-minio-extract', value: 'true' },
  { name: 'MinIO replication headers', header: 'x-minio-source-', prefix: true },
  { name: 'MinIO Snowball extraction', header: 'x-amz-meta-snowball-auto-extract', value: 'true' },
  { name: 'S3 Express append', header: 'x-amz-write-offset-bytes' }
]
