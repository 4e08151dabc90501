import { S3Error } from '../errors.ts'
import { bucketDocument, documentRules } from './documents.ts'
import { copyObject } from './copy-object.ts'
import {
  createBucket, deleteBucket, getBucketLocation, getBucketVersioning, headBucket, listBuckets, putBucketVersioning
} from './buckets.ts'
import { deleteObject, deleteObjects } from './delete-object.ts'
import { getObject, getObjectAttributes } from './get-object.ts'
import { completeMultipartUpload } from './complete-multipart.ts'
import { abortMultipartUpload, createMultipartUpload, uploadPart, uploadPartCopy } from './multipart.ts'
import { listMultipartUploads, listParts } from './list-uploads.ts'
import { listObjects, listObjectsV2, listObjectVersions } from './listings.ts'
import { bucketAcl, objectAcl, objectLegalHold, objectRetention, objectTagging } from './object-properties.ts'
import { putObject } from './put-object.ts'
import type { HttpResponse } from '../http/message.ts'
import type { DocumentName } from './documents.ts'
import type { StoreContext, StoreRequest } from './request.ts'

type Handler = (request: StoreRequest, context: StoreContext) => Promise<HttpResponse>
type Methods = Readonly<Partial<Record<string, Handler>>>

/** A request with one of these parameters is about that sub-resource; `''` stands for none. First match wins. */
type Table = Readonly<Record<string, Methods>>

const serviceTable: Table = { '': { GET: listBuckets } }

const bucketTable: Table = {
  acl: { GET: bucketAcl, PUT: bucketAcl },
  delete: { POST: deleteObjects },
  location: { GET: getBucketLocation },
  uploads: { GET: listMultipartUploads },
  versioning: { GET: getBucketVersioning, PUT: putBucketVersioning },
  versions: { GET: listObjectVersions },
  ...Object.fromEntries((Object.keys(documentRules) as DocumentName[]).map((name) => {
    const handler: Handler = (request, context) => bucketDocument(name, request, context)
    return [name, { GET: handler, PUT: handler, DELETE: handler }]
  })),
  '': {
    GET: (request, context) => request.query.get('list-type') === '2' ? listObjectsV2(request, context) : listObjects(request, context),
    HEAD: headBucket,
    PUT: createBucket,
    DELETE: deleteBucket
  }
}

const objectTable: Table = {
  acl: { GET: objectAcl, PUT: objectAcl },
  attributes: { GET: getObjectAttributes },
  'legal-hold': { GET: objectLegalHold, PUT: objectLegalHold },
  retention: { GET: objectRetention, PUT: objectRetention },
  tagging: { GET: objectTagging, PUT: objectTagging, DELETE: objectTagging },
  uploads: { POST: createMultipartUpload },
  uploadId: { GET: listParts, PUT: copyOr(uploadPartCopy, uploadPart), POST: completeMultipartUpload, DELETE: abortMultipartUpload },
  '': { GET: getObject, HEAD: getObject, PUT: copyOr(copyObject, putObject), DELETE: deleteObject }
}

function copyOr(copy: Handler, other: Handler): Handler {
  return (request, context) => request.headers.has('x-amz-copy-source') ? copy(request, context) : other(request, context)
}

/** Parameters that refine an operation and never choose one. */
const plainParameters = new Set(['bucket-region', 'continuation-token', 'delimiter', 'encoding-type', 'fetch-owner', 'key-marker',
  'list-type', 'marker', 'max-buckets', 'max-keys', 'max-parts', 'max-uploads', 'part-number-marker', 'partNumber', 'prefix',
  'response-cache-control', 'response-content-disposition', 'response-content-encoding', 'response-content-language',
  'response-content-type', 'response-expires', 'start-after', 'upload-id-marker', 'uploadId', 'version-id-marker', 'versionId', 'x-id'])

/**
 * Finds the operation of a request.
 * @throws S3Error NotImplemented for sub-resources this store does not have (it would otherwise overwrite an object where an
 *   unknown property of it was meant), MethodNotAllowed
 */
export function route(request: Pick<StoreRequest, 'method' | 'bucket' | 'key' | 'query'>): Handler {
  const table = request.bucket === '' ? serviceTable : request.key === '' ? bucketTable : objectTable
  const name = Object.keys(table).find((candidate) => candidate !== '' && request.query.has(candidate)) ?? ''
  const unknown = request.query.parameters.find((parameter) => parameter.name !== name && !isPlain(parameter.name))
  if (unknown !== undefined) throw new S3Error('NotImplemented', { fields: { Header: unknown.name } })
  const handler = table[name]?.[request.method]
  if (handler !== undefined) return handler
  throw new S3Error('MethodNotAllowed', { fields: { Method: request.method, ResourceType: request.key === '' ? 'BUCKET' : 'OBJECT' } })
}

function isPlain(name: string): boolean {
  return plainParameters.has(name) || /^x-amz-/i.test(name)
}
