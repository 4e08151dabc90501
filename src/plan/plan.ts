// Tables without input or output: here, for every S3 operation, what is done in sealed and in plain buckets; in headers.ts, which header passes in
// which direction. docs/COMPATIBILITY.md is printed from them.
// What has no row here is refused, and what has no planner does not compile.
import type { BucketPolicy } from '../config/config.ts'
import type { Operation } from '../s3/route.ts'
import { type OperationName, operations } from '../s3/operations.ts'

/**
 * The effect of encryption on every S3 operation. Pure, and the only place that decides it: handlers do what a row names, the documentation is
 * printed from it, and an operation without a row does not compile.
 *
 * - `forward`: re-signed, headers filtered, body untouched
 * - `seal`: bytes are encrypted on their way to the store
 * - `open`: bytes or facts are decrypted and verified on their way to the client
 * - `rewrite`: the store does the work; sizes, ETags or conditions are translated
 * - `copy`: the store copies sealed bytes under a new wrap
 * - `emulate`: the gateway answers
 * - `refuse`: 501 NotImplemented, with the reason
 */
type Effect = 'forward' | 'seal' | 'open' | 'rewrite' | 'copy' | 'emulate' | 'refuse'

interface Plan<H extends string = string> {
  readonly effect: Effect
  /** The handler in src/operations/handlers.ts; `refuse` and `preflight` are the pipeline's own. */
  readonly handler: H
  /** What changes on the way, or why it is refused; '' when nothing changes. For the documentation, and the message of a refusal. */
  readonly note: string
}

interface Planner<On extends string = string, Off extends string = string> {
  /** In buckets whose encryption is on, and for requests without a bucket. */
  readonly on: Plan<On>
  readonly off: Plan<Off>
}

const untouched: Plan<'forward'> = { effect: 'forward', handler: 'forward', note: '' }

/** The same in both kinds of bucket. */
function always<H extends string>(effect: Effect, handler: H, note: string): Planner<H, H> {
  const both = { effect, handler, note }
  return { on: both, off: both }
}

/** In sealed buckets; others are passed through. */
function sealed<H extends string>(effect: Effect, handler: H, note: string): Planner<H, 'forward'> {
  return { on: { effect, handler, note }, off: untouched }
}

const forward = (note = '') => sealed('forward', 'forward', note)
const refuse = (note: string) => always('refuse', 'refuse', note)
const seal = <H extends string>(handler: H, note: string) => sealed('seal', handler, note)
const open = <H extends string>(handler: H, note: string) => sealed('open', handler, note)
const rewrite = <H extends string>(handler: H, note: string) => sealed('rewrite', handler, note)
const emulate = <H extends string>(handler: H, note: string) => sealed('emulate', handler, note)

/** Settings that make the store write into another bucket. */
const shapes = 'A document that does not name its target as AWS documents is refused.'
const targeted = (note: string) => always('forward', 'targetBuckets', `${note} The client needs the right to write to the target bucket. ${shapes}`)

const changedEncryption =
  'The gateway\'s own default encryption, sealed in the state bucket. The client needs the right to write to the bucket; one with its own ' +
  'identity at the store also needs the right there.'
const reports = 'Reports show stored sizes, ETags and checksums.'
const metadataTables = 'The tables show stored sizes, ETags and the gateway\'s own metadata.'
const annotations = 'Annotations contain data that would not be sealed; a store that does not support them would act on the object itself.'

export const planners = {
  // Object data
  PutObject: seal(
    'putObject',
    'The body is sealed; digests, checksums and length are verified against the plaintext before the last byte is sent to the store. With s3ec.write it is stored in the format of the S3 Encryption Client.'
  ),
  PostObject: always('seal', 'postObject', 'Browser form: the gateway verifies the policy and stores the file as PutObject does.'),
  GetObject: open('getObject', 'Ranges and parts are those of the plaintext; every byte is verified before it is sent.'),
  HeadObject: open('headObject', 'Size, ETag and checksums of the plaintext, taken from the sealed envelope.'),
  GetObjectAttributes: emulate('getObjectAttributes', 'Answered from the sealed envelope and manifest.'),
  CopyObject: always(
    'copy',
    'copyObject',
    'Between sealed buckets the gateway re-wraps the envelope and the store copies the body, bound to the ETag or version of the source. Otherwise the body passes through the gateway and is compared with the checksum of its source.'
  ),
  DeleteObject: rewrite('deleteObject', 'Conditions on ETag and size are translated to the stored ones.'),
  DeleteObjects: rewrite('deleteObjects', 'Conditions on ETag and size are translated; Content-MD5 is added for older stores.'),
  RestoreObject: always('forward', 'restoreObject', 'A restore with a SELECT is refused: it would run on sealed bytes.'),

  // Multipart uploads
  CreateMultipartUpload: seal('createMultipartUpload', 'The gateway generates and wraps the data key; the state of the upload is sealed in the state bucket.'),
  UploadPart: seal('uploadPart', 'Each attempt at a part is sealed with a fresh salt.'),
  UploadPartCopy: always(
    'copy',
    'uploadPartCopy',
    'The part passes through the gateway and is opened and sealed again, because plaintext ranges do not align with sealed segments.'
  ),
  CompleteMultipartUpload: {
    on: {
      effect: 'seal',
      handler: 'completeMultipartUpload',
      note:
        'The part list is checked against the sealed records; the sealed manifest is appended to the last part. With s3ec.write all parts are encrypted as one body now, under a key of this Complete, and written by another upload.'
    },
    off: { effect: 'forward', handler: 'completePlain', note: '' }
  },
  AbortMultipartUpload: rewrite('abortMultipartUpload', 'The state of the upload is removed after the store has aborted it.'),
  ListParts: rewrite('listParts', 'Sizes, ETags and checksums of the plaintext parts.'),
  ListMultipartUploads: rewrite(
    'listMultipartUploads',
    'The store\'s list, without uploads that the gateway or a command has begun by itself, and without checksum settings, which are sealed.'
  ),

  // Listings and buckets
  ListObjects: rewrite('listObjects', 'Plaintext sizes are computed from stored sizes; ETags follow the bucket\'s mode.'),
  ListObjectsV2: rewrite('listObjects', 'Plaintext sizes are computed from stored sizes; ETags follow the bucket\'s mode.'),
  ListObjectVersions: rewrite('listVersions', 'As ListObjects; delete markers are unchanged.'),
  ListBuckets: always('rewrite', 'listBuckets', 'Without the state bucket and the buckets that the client has no access to.'),
  CreateBucket: always('forward', 'createBucket', 'A location that the gateway accepts as a region becomes the store\'s own.'),
  DeleteBucket: rewrite('deleteBucket', 'The gateway\'s record of default encryption is deleted with the bucket.'),
  HeadBucket: always('rewrite', 'headBucket', 'Region as in GetBucketLocation. Bytes used (Ceph) are computed, within 20 bytes per object.'),
  GetBucketLocation: always('rewrite', 'bucketLocation', 'The store\'s region, or `listen.region` if clients may not sign for the store\'s.'),
  Preflight: always('emulate', 'preflight', 'Browsers do not sign it. Answered from the bucket\'s CORS rules, which are cached.'),

  // Encryption settings
  PutBucketEncryption: emulate('bucketEncryption', changedEncryption),
  GetBucketEncryption: emulate('bucketEncryption', 'The gateway\'s own default encryption, sealed in the state bucket.'),
  DeleteBucketEncryption: emulate('bucketEncryption', changedEncryption),

  // Settings that the store keeps and that contain no object data
  GetObjectAcl: forward(),
  PutObjectAcl: forward(),
  GetBucketAcl: forward('Readers granted by the store directly get sealed bytes.'),
  PutBucketAcl: forward('Readers granted by the store directly get sealed bytes.'),
  GetObjectTagging: forward('Tags are not encrypted.'),
  PutObjectTagging: forward('Tags are not encrypted.'),
  DeleteObjectTagging: forward('Tags are not encrypted.'),
  GetObjectLegalHold: forward(),
  PutObjectLegalHold: forward(),
  GetObjectRetention: forward(),
  PutObjectRetention: forward(),
  GetObjectLockConfiguration: forward(),
  PutObjectLockConfiguration: forward(),
  GetBucketAbac: forward(),
  PutBucketAbac: forward(),
  GetBucketAccelerateConfiguration: forward('Accelerate endpoints bypass the gateway and serve sealed bytes.'),
  PutBucketAccelerateConfiguration: forward('Accelerate endpoints bypass the gateway and serve sealed bytes.'),
  GetBucketCors: forward(),
  PutBucketCors: always('forward', 'changeCors', 'Removes the cached rules for preflights.'),
  DeleteBucketCors: always('forward', 'changeCors', 'Removes the cached rules for preflights.'),
  GetBucketLifecycleConfiguration: rewrite('lifecycle', 'Object size filters are converted back to plaintext sizes.'),
  PutBucketLifecycleConfiguration: rewrite('lifecycle', 'Object size filters are converted to stored sizes.'),
  DeleteBucketLifecycle: forward(),
  GetBucketLogging: forward('Log objects are written by the store and are not sealed.'),
  PutBucketLogging: targeted('Log objects are written by the store and are not sealed.'),
  GetBucketNotificationConfiguration: forward('Events carry stored sizes and ETags.'),
  PutBucketNotificationConfiguration: always('forward', 'targetBuckets', `Events carry stored sizes and ETags. ${shapes}`),
  GetBucketOwnershipControls: forward(),
  PutBucketOwnershipControls: forward(),
  DeleteBucketOwnershipControls: forward(),
  GetBucketPolicy: forward('Conditions on source address, user agent, authentication and encryption headers apply to the gateway\'s requests.'),
  PutBucketPolicy: forward('Conditions on source address, user agent, authentication and encryption headers apply to the gateway\'s requests.'),
  DeleteBucketPolicy: forward('Conditions on source address, user agent, authentication and encryption headers apply to the gateway\'s requests.'),
  GetBucketPolicyStatus: forward(),
  GetPublicAccessBlock: forward(),
  PutPublicAccessBlock: forward(),
  DeletePublicAccessBlock: forward(),
  GetBucketReplication: forward('Replicas are sealed; a gateway reads them if its configuration names the source bucket as an alias.'),
  PutBucketReplication: targeted('Replicas are sealed; a gateway reads them if its configuration names the source bucket as an alias.'),
  DeleteBucketReplication: forward('Replicas are sealed; a gateway reads them if its configuration names the source bucket as an alias.'),
  GetBucketRequestPayment: forward(),
  PutBucketRequestPayment: forward(),
  GetBucketTagging: forward(),
  PutBucketTagging: forward(),
  DeleteBucketTagging: forward(),
  GetBucketVersioning: forward(),
  PutBucketVersioning: forward(),
  GetBucketWebsite: forward('Website endpoints bypass the gateway and serve sealed bytes.'),
  PutBucketWebsite: forward('Website endpoints bypass the gateway and serve sealed bytes.'),
  DeleteBucketWebsite: forward('Website endpoints bypass the gateway and serve sealed bytes.'),

  // Reports the store makes
  GetBucketAnalyticsConfiguration: forward(reports),
  PutBucketAnalyticsConfiguration: targeted(reports),
  DeleteBucketAnalyticsConfiguration: forward(reports),
  ListBucketAnalyticsConfigurations: forward(reports),
  GetBucketIntelligentTieringConfiguration: forward(reports),
  PutBucketIntelligentTieringConfiguration: forward(reports),
  DeleteBucketIntelligentTieringConfiguration: forward(reports),
  ListBucketIntelligentTieringConfigurations: forward(reports),
  GetBucketInventoryConfiguration: forward(reports),
  PutBucketInventoryConfiguration: targeted(reports),
  DeleteBucketInventoryConfiguration: forward(reports),
  ListBucketInventoryConfigurations: forward(reports),
  GetBucketMetricsConfiguration: forward(reports),
  PutBucketMetricsConfiguration: always('forward', 'targetBuckets', `${reports} ${shapes}`),
  DeleteBucketMetricsConfiguration: forward(reports),
  ListBucketMetricsConfigurations: forward(reports),
  CreateBucketMetadataConfiguration: forward(metadataTables),
  GetBucketMetadataConfiguration: forward(metadataTables),
  DeleteBucketMetadataConfiguration: forward(metadataTables),
  CreateBucketMetadataTableConfiguration: forward(metadataTables),
  GetBucketMetadataTableConfiguration: forward(metadataTables),
  DeleteBucketMetadataTableConfiguration: forward(metadataTables),
  UpdateBucketMetadataAnnotationTableConfiguration: forward(metadataTables),
  UpdateBucketMetadataInventoryTableConfiguration: forward(metadataTables),
  UpdateBucketMetadataJournalTableConfiguration: forward(metadataTables),

  // Refused
  SelectObjectContent: refuse('The store would have to read the plaintext.'),
  GetObjectTorrent: refuse('A torrent would serve stored bytes without the gateway.'),
  WriteGetObjectResponse: refuse('Object Lambda functions read the plaintext at the store.'),
  CreateSession: refuse('Session credentials would bypass the gateway.'),
  ListDirectoryBuckets: refuse('Directory buckets need session credentials, which would bypass the gateway.'),
  RenameObject: refuse('An object is bound to its name; a store that does not support the request would overwrite the object.'),
  UpdateObjectEncryption: refuse('Keys are changed by "sealgate rewrap"; a store that does not support this request would overwrite the object.'),
  PutObjectAnnotation: refuse(annotations),
  GetObjectAnnotation: refuse(annotations),
  ListObjectAnnotations: refuse(annotations),
  DeleteObjectAnnotation: refuse(annotations)
} as const satisfies Record<OperationName, Planner>

type Handlers<N extends OperationName> = (typeof planners)[N]['on' | 'off']['handler']

/** The handlers that the table names. */
export type HandlerName = Handlers<OperationName>

/** The operations that a handler is planned for. */
export type OperationsOf<H extends HandlerName> = { [N in OperationName]: H extends Handlers<N> ? N : never }[OperationName]

/**
 * The plan for an operation.
 * @param policy of the bucket; null for requests without one
 */
export function plan(operation: OperationName, policy: Pick<BucketPolicy, 'encryption'> | null): Plan<HandlerName> {
  return policy?.encryption === 'off' ? planners[operation].off : planners[operation].on
}

/** Operations on one object, and on the listing of current objects, that a public prefix allows. */
const ofPrefixes: ReadonlySet<string> = new Set(['GetObject', 'HeadObject', 'GetObjectAttributes', 'ListObjects', 'ListObjectsV2'])

/**
 * Whether everybody may read what this operation reads. `store`, `marked`: the gateway asks the store unsigned. With prefixes: current objects under
 * one of them, and listings of no more than one (docs/decisions/0007).
 */
export function isPublic(publicRead: BucketPolicy['publicRead'], { name, key, query }: Operation): boolean {
  if (publicRead === 'store' || publicRead === 'marked') return true
  if (typeof publicRead === 'boolean') return publicRead && operations[name].public
  // An old version may have been replaced because everybody could read it.
  return ofPrefixes.has(name) && !query.has('versionId') && isUnder(publicRead.prefixes, key ?? query.get('prefix') ?? '')
}

/** A store that keeps objects as files might resolve `public/../secret` to `secret`. */
function isUnder(prefixes: readonly string[], name: string): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix)) && !name.split(/[/\\]/).some((part) => part === '.' || part === '..')
}
