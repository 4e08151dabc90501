import type { ExecutorName } from '../plan/plan.ts'
import type { Executor } from './context.ts'
import { bucketEncryption } from './bucket-encryption.ts'
import { changeCors, deleteBucket, headBucket } from './bucket-life.ts'
import { copyObject } from './copy-object.ts'
import { deleteObject } from './delete-object.ts'
import { deleteObjects } from './delete-objects.ts'
import { forward } from './forward.ts'
import { getObjectAttributes } from './get-object-attributes.ts'
import { getObject } from './get-object.ts'
import { headObject } from './head-object.ts'
import { lifecycle } from './lifecycle.ts'
import { listBuckets } from './list-buckets.ts'
import { listObjects } from './list-objects.ts'
import { abortMultipartUpload } from './multipart/abort-upload.ts'
import { completePlain } from './multipart/complete-plain.ts'
import { completeMultipartUpload } from './multipart/complete-upload.ts'
import { createMultipartUpload } from './multipart/create-upload.ts'
import { listParts } from './multipart/list-parts.ts'
import { listMultipartUploads } from './multipart/list-uploads.ts'
import { uploadPart } from './multipart/upload-part.ts'
import { uploadPartCopy } from './multipart/upload-part-copy.ts'
import { postObject } from './post-object.ts'
import { putObject } from './put-object.ts'
import { bucketLocation, createBucket } from './regions.ts'
import { restoreObject } from './restore-object.ts'
import { targetBuckets } from './target-buckets.ts'

/** One way of acting for each executor the plan table names; a name without one does not compile. */
export const executors = {
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
} as const satisfies Record<Exclude<ExecutorName, 'refuse' | 'preflight'>, Executor>
