import type { ExecutorName } from '../plan/plan.ts'
import type { Executor } from './context.ts'
import { S3Error } from '../errors.ts'
import { copyObject } from './copy-object.ts'
import { deleteObject } from './delete-object.ts'
import { deleteObjects } from './delete-objects.ts'
import { forward } from './forward.ts'
import { getObjectAttributes } from './get-object-attributes.ts'
import { getObject } from './get-object.ts'
import { headObject } from './head-object.ts'
import { listBuckets } from './list-buckets.ts'
import { listObjects } from './list-objects.ts'
import { abortMultipartUpload } from './multipart/abort-upload.ts'
import { completeMultipartUpload } from './multipart/complete-upload.ts'
import { createMultipartUpload } from './multipart/create-upload.ts'
import { listParts } from './multipart/list-parts.ts'
import { listMultipartUploads } from './multipart/list-uploads.ts'
import { uploadPart } from './multipart/upload-part.ts'
import { uploadPartCopy } from './multipart/upload-part-copy.ts'
import { postObject } from './post-object.ts'
import { putObject } from './put-object.ts'

const notYet: Executor = async (x) => {
  throw new S3Error('NotImplemented', { message: `${x.operation.name} is not available through this gateway yet.` })
}

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
  restoreObject: notYet,
  createMultipartUpload,
  uploadPart,
  uploadPartCopy,
  completeMultipartUpload,
  abortMultipartUpload,
  listParts,
  listMultipartUploads,
  bucketEncryption: notYet,
  lifecycle: notYet
} as const satisfies Record<Exclude<ExecutorName, 'refuse' | 'preflight'>, Executor>
