// Handlers: what is done for an S3 operation, by the handler that its plan names. objects/ has reads and single writes, copy/ copies, multipart/
// uploads, buckets/ settings and listings; forward.ts sends a request on unchanged. A handler gets an `OperationContext` (context.ts) and
// sends its requests to the store with `send`.
import type { HandlerName, OperationsOf } from '../plan/plan.ts'
import type { Handler } from './context.ts'
import { bucketEncryption } from './buckets/bucket-encryption.ts'
import { changeCors, deleteBucket, headBucket, lifecycle, bucketLocation, createBucket, restoreObject, targetBuckets } from './buckets/buckets.ts'
import { listObjects } from './buckets/list-objects.ts'
import { listBuckets } from './buckets/list-buckets.ts'
import { copyObject } from './copy/copy-object.ts'
import { deleteObject, deleteObjects } from './objects/delete.ts'
import { forward } from './forward.ts'
import { getObjectAttributes, getObject } from './objects/get-object.ts'
import { headObject } from './objects/inspect.ts'
import { abortMultipartUpload, createMultipartUpload, listParts, listMultipartUploads } from './multipart/uploads.ts'
import { completePlain } from './multipart/previous-completion.ts'
import { completeMultipartUpload } from './multipart/complete.ts'
import { uploadPart, uploadPartCopy } from './multipart/upload-part.ts'
import { postObject } from './objects/post-object.ts'
import { putObject } from './objects/put-object.ts'

/**
 * The handlers that the plan table names. A missing handler does not compile, nor does one planned for an operation that lacks what the handler
 * needs, such as a key or an upload id.
 */
export const handlers = {
  forward,
  putObject,
  postObject,
  getObject,
  headObject,
  copyObject,
  deleteObject,
  deleteObjects,
  listObjects,
  listVersions: listObjects,
  listBuckets,
  getObjectAttributes,
  restoreObject,
  createMultipartUpload,
  uploadPart,
  uploadPartCopy,
  completeMultipartUpload,
  completePlain,
  abortMultipartUpload,
  listParts,
  listMultipartUploads,
  bucketEncryption,
  changeCors,
  createBucket,
  bucketLocation,
  deleteBucket,
  headBucket,
  lifecycle,
  targetBuckets
} as const satisfies { [H in Exclude<HandlerName, 'refuse' | 'preflight'>]: Handler<OperationsOf<H>> }
