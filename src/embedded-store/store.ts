// A small S3 store for `npm start` and the tests, in memory or in a directory. The tests compare the gateway with it, so it has its own XML
// reader, chunk decoder and conditions: it shares words with the gateway and no decision.
// A production process never loads it (test/architecture.test.ts).
import type { HttpRequest, HttpResponse } from '../http/message.ts'
import type { Backend } from './backend.ts'
import type { CannedAcl } from './records.ts'
import { S3Error } from '../errors.ts'
import { percentDecode } from '../http/target.ts'
import { errorAnswer, type StoreRequest, type StoreSettings, type StoreContext } from './request.ts'
import { Catalog } from './catalog.ts'
import {
  documentRules,
  bucketDocument,
  type DocumentName,
  createBucket,
  deleteBucket,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
  listBuckets,
  putBucketVersioning
} from './buckets.ts'
import { SignatureCheck, type Credential } from './verify.ts'
import { copyObject } from './copy-object.ts'
import { deleteObject, deleteObjects, putObject } from './objects.ts'
import { getObject, getObjectAttributes } from './get-object.ts'
import { completeMultipartUpload, abortMultipartUpload, createMultipartUpload, uploadPart, uploadPartCopy } from './multipart.ts'
import { listMultipartUploads, listParts, listObjects, listObjectsV2, listObjectVersions } from './listings.ts'
import { bucketAcl, objectAcl, objectLegalHold, objectRetention, objectTagging } from './object-properties.ts'

export interface StoreOptions {
  readonly backend: Backend
  readonly credentials: readonly Credential[]
  /** The one region of the credential scopes. */
  readonly region: string
  /**
   * Whether objects written without a checksum get a CRC-64/NVME, as AWS does since 2025. Default true; it costs CPU time
   * per byte, which benchmarks of something else do not want to pay.
   */
  readonly defaultChecksum?: boolean
  /** Default false: headers of server-side encryption are refused. */
  readonly demandsSse?: boolean
  /** Base domain: requests to `bucket.<domain>` are virtual-host style. Default: none, path style only. */
  readonly domain?: string
}

/** S3 without the HTTP server around it: requests in, answers out, errors rendered. */
export class Store {
  readonly catalog: Catalog
  readonly #settings: StoreSettings
  readonly #signatures: SignatureCheck
  readonly #domain: string | undefined

  private constructor(catalog: Catalog, settings: StoreSettings, { credentials, region, domain }: StoreOptions) {
    this.catalog = catalog
    this.#settings = settings
    this.#signatures = new SignatureCheck(credentials, region)
    this.#domain = domain
  }

  static async open(options: StoreOptions): Promise<Store> {
    const { region, defaultChecksum = true, demandsSse = false } = options
    return new Store(await Catalog.open(options.backend), { region, defaultChecksum, demandsSse }, options)
  }

  /**
   * Never rejects: every failure becomes an error answer.
   * @param catalog what the answer is about, where that is not what is stored
   */
  async handle(request: HttpRequest, catalog: Catalog = this.catalog): Promise<HttpResponse> {
    try {
      const { anonymous, headers, payload } = this.#signatures.verify(request, Date.now())
      const { bucket, key } = this.address(request)
      const { method, target: { query } } = request
      const storeRequest: StoreRequest = { http: request, method, bucket, key, query, headers, payload, anonymous }
      if (anonymous) this.#checkAnonymous(storeRequest)
      return await route(storeRequest)(storeRequest, { ...this.#settings, catalog })
    } catch (error) {
      return errorAnswer(error, request)
    }
  }

  /**
   * Bucket and key of a request, each '' when there is none. Decoded once; everything after the slash that follows the bucket is the key.
   * @throws S3Error InvalidURI
   */
  address({ host, target: { rawPath } }: Pick<HttpRequest, 'host' | 'target'>): { readonly bucket: string; readonly key: string } {
    const name = host.replace(/:\d+$/, '')
    if (this.#domain !== undefined && name.endsWith(`.${this.#domain}`)) {
      return { bucket: name.slice(0, -this.#domain.length - 1), key: percentDecode(rawPath.slice(1)) }
    }
    const slash = rawPath.indexOf('/', 1)
    const end = slash < 0 ? rawPath.length : slash
    return { bucket: percentDecode(rawPath.slice(1, end)), key: percentDecode(rawPath.slice(end + 1)) }
  }

  /** Anonymous requests may read what a canned ACL made public, and nothing else. @throws S3Error AccessDenied */
  #checkAnonymous({ method, bucket, key, query }: StoreRequest): void {
    const reads = (method === 'GET' || method === 'HEAD') && query.parameters.every(({ name }) => !privateParameters.has(name))
    const acl: CannedAcl | undefined = reads && this.catalog.has(bucket)
      ? key === '' ? this.catalog.bucket(bucket).record.acl : this.catalog.bucket(bucket).current(key)?.acl
      : undefined
    if (acl !== 'public-read' && acl !== 'public-read-write') throw new S3Error('AccessDenied')
  }
}

/** Sub-resources and old versions are not covered by READ of the current object or the listing. */
const privateParameters = new Set([
  'acl',
  'attributes',
  'legal-hold',
  'location',
  'retention',
  'tagging',
  'uploadId',
  'uploads',
  'versionId',
  'versioning',
  'versions',
  ...Object.keys(documentRules)
])

type Handler = (request: StoreRequest, context: StoreContext) => Promise<HttpResponse>
type Methods = Readonly<Partial<Record<string, Handler>>>

/** A request with one of these parameters is about that sub-resource; `''` means none. First match wins. */
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

/** Parameters that refine an operation and never choose one. `metadata` is MinIO's, `allow-unordered` Ceph's: in order is one of the orders. */
const plainParameters = new Set([
  'allow-unordered',
  'bucket-region',
  'continuation-token',
  'delimiter',
  'encoding-type',
  'fetch-owner',
  'key-marker',
  'list-type',
  'marker',
  'max-buckets',
  'max-keys',
  'max-parts',
  'max-uploads',
  'metadata',
  'part-number-marker',
  'partNumber',
  'prefix',
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires',
  'start-after',
  'upload-id-marker',
  'uploadId',
  'version-id-marker',
  'versionId',
  'x-id'
])

/**
 * Finds the operation of a request.
 * @throws S3Error NotImplemented for sub-resources this store does not have (it would otherwise overwrite an object where an
 *   unknown property of it was meant), MethodNotAllowed
 */
function route(request: Pick<StoreRequest, 'method' | 'bucket' | 'key' | 'query'>): Handler {
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
