import type { HttpResponse } from '../http/message.ts'
import type { BucketRecord } from './records.ts'
import { S3Error } from '../errors.ts'
import { emptyAnswer, isoDate, xmlAnswer, type StoreContext, type StoreRequest, textAnswer } from './request.ts'
import { readAcl } from './attributes.ts'
import { ownerElement } from './listings.ts'
import { pageSize } from './page.ts'
import { receiveDocument } from './receive.ts'
import { parseXml, element, textElement, xmlDocument } from './xml.ts'

/** ListBuckets. */
export async function listBuckets({ query }: StoreRequest, { catalog, region }: StoreContext): Promise<HttpResponse> {
  const prefix = query.get('prefix') ?? ''
  const after = query.get('continuation-token') ?? ''
  const limit = pageSize('max-buckets', query.get('max-buckets'))
  const all = [...catalog.buckets].map(({ record }) => record).filter(({ name }) => name.startsWith(prefix) && name > after)
  const page = all.slice(0, limit)
  return xmlAnswer(
    xmlDocument(
      'ListAllMyBucketsResult',
      ownerElement(),
      element(
        'Buckets',
        ...page.map(({ name, created }) =>
          element('Bucket', textElement('Name', name), textElement('CreationDate', isoDate(created)), textElement('BucketRegion', region))
        )
      ),
      page.length < all.length ? textElement('ContinuationToken', page.at(-1)?.name) : '',
      query.has('prefix') ? textElement('Prefix', prefix) : ''
    )
  )
}

/** CreateBucket. */
export async function createBucket(request: StoreRequest, { catalog, region }: StoreContext): Promise<HttpResponse> {
  checkBucketName(request.bucket)
  const body = await receiveDocument(request)
  const wanted = body.length === 0 ? undefined : parseXml(body, 'CreateBucketConfiguration').value('LocationConstraint')
  if (wanted !== undefined && wanted !== '' && wanted !== region) {
    throw new S3Error('InvalidRequest', {
      code: 'IllegalLocationConstraintException',
      message: `The ${wanted} location constraint is incompatible for the region specific endpoint this request was sent to.`
    })
  }
  // AWS keeps this from its first years, in its first region only.
  if (catalog.has(request.bucket) && region === 'us-east-1') return emptyAnswer(200, [['Location', `/${request.bucket}`]])
  const objectLock = request.headers.get('x-amz-bucket-object-lock-enabled')?.toLowerCase() === 'true'
  const lockDocument = xmlDocument('ObjectLockConfiguration', textElement('ObjectLockEnabled', 'Enabled'))
  await catalog.createBucket({
    name: request.bucket,
    created: Date.now(),
    versioning: objectLock ? 'Enabled' : 'Unversioned',
    objectLock,
    acl: readAcl(request.headers),
    documents: objectLock ? { 'object-lock': lockDocument } : {}
  })
  return emptyAnswer(200, [['Location', `/${request.bucket}`]])
}

/** @throws S3Error InvalidBucketName (AWS, "General purpose bucket naming rules") */
function checkBucketName(name: string): void {
  const wellFormed = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes('..') && !/^\d{1,3}(\.\d{1,3}){3}$/.test(name)
  if (!wellFormed) throw new S3Error('InvalidBucketName', { fields: { BucketName: name } })
}

/** HeadBucket. */
export async function headBucket(request: StoreRequest, { catalog, region }: StoreContext): Promise<HttpResponse> {
  catalog.bucket(request.bucket)
  const headers = [['x-amz-bucket-region', region], ['x-amz-access-point-alias', 'false'], ['Content-Type', 'application/xml']] as const
  return { status: 200, headers, body: null }
}

/** DeleteBucket. */
export async function deleteBucket(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  await catalog.removeBucket(request.bucket)
  return emptyAnswer(204)
}

/** GetBucketLocation: the first region is written as an empty element. */
export async function getBucketLocation(request: StoreRequest, { catalog, region }: StoreContext): Promise<HttpResponse> {
  catalog.bucket(request.bucket)
  return xmlAnswer(xmlDocument('LocationConstraint', region === 'us-east-1' ? '' : region))
}

/** GetBucketVersioning: no status as long as it was never set. */
export async function getBucketVersioning(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const { versioning } = catalog.bucket(request.bucket).record
  return xmlAnswer(xmlDocument('VersioningConfiguration', versioning === 'Unversioned' ? '' : textElement('Status', versioning)))
}

/** PutBucketVersioning. */
export async function putBucketVersioning(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  const root = parseXml(await receiveDocument(request), 'VersioningConfiguration')
  const status = root.value('Status')
  if (status !== 'Enabled' && status !== 'Suspended') throw new S3Error('IllegalVersioningConfigurationException')
  if (root.value('MfaDelete') === 'Enabled') throw new S3Error('NotImplemented')
  await bucket.saveRecord((record): BucketRecord => {
    if (record.objectLock && status === 'Suspended') {
      throw new S3Error('InvalidRequest', {
        code: 'InvalidBucketState',
        status: 409,
        message: 'An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.'
      })
    }
    return { ...record, versioning: status }
  })
  return emptyAnswer(200)
}

interface DocumentRule {
  /** Root element; null for the policy, which is JSON. */
  readonly root: string | null
  /** What GET gives when nothing was put: the content of the root element, or an error code with its message. */
  readonly absent: { readonly content: string } | { readonly code: string; readonly message: string }
  readonly deletable: boolean
  /** AWS refuses the PUT without Content-MD5 or a checksum. */
  readonly digest: 'demanded' | 'optional'
}

/**
 * Sub-resources of buckets that are stored and returned unchanged. They have no effect here: this store runs no
 * lifecycle, sends no events, and checks no policy.
 */
export const documentRules = {
  accelerate: {
    root: 'AccelerateConfiguration',
    deletable: false,
    digest: 'optional',
    absent: { content: '' }
  },
  cors: {
    root: 'CORSConfiguration',
    deletable: true,
    digest: 'demanded',
    absent: { code: 'NoSuchCORSConfiguration', message: 'The CORS configuration does not exist' }
  },
  encryption: {
    root: 'ServerSideEncryptionConfiguration',
    deletable: true,
    digest: 'optional',
    absent: { code: 'ServerSideEncryptionConfigurationNotFoundError', message: 'The server side encryption configuration was not found' }
  },
  lifecycle: {
    root: 'LifecycleConfiguration',
    deletable: true,
    digest: 'demanded',
    absent: { code: 'NoSuchLifecycleConfiguration', message: 'The lifecycle configuration does not exist' }
  },
  logging: {
    root: 'BucketLoggingStatus',
    deletable: false,
    digest: 'optional',
    absent: { content: '' }
  },
  notification: {
    root: 'NotificationConfiguration',
    deletable: false,
    digest: 'optional',
    absent: { content: '' }
  },
  'object-lock': {
    root: 'ObjectLockConfiguration',
    deletable: false,
    digest: 'demanded',
    absent: { code: 'ObjectLockConfigurationNotFoundError', message: 'Object Lock configuration does not exist for this bucket' }
  },
  ownershipControls: {
    root: 'OwnershipControls',
    deletable: true,
    digest: 'optional',
    absent: { code: 'OwnershipControlsNotFoundError', message: 'The bucket ownership controls were not found' }
  },
  policy: {
    root: null,
    deletable: true,
    digest: 'optional',
    absent: { code: 'NoSuchBucketPolicy', message: 'The bucket policy does not exist' }
  },
  publicAccessBlock: {
    root: 'PublicAccessBlockConfiguration',
    deletable: true,
    digest: 'optional',
    absent: { code: 'NoSuchPublicAccessBlockConfiguration', message: 'The public access block configuration was not found' }
  },
  replication: {
    root: 'ReplicationConfiguration',
    deletable: true,
    digest: 'demanded',
    absent: { code: 'ReplicationConfigurationNotFoundError', message: 'The replication configuration was not found' }
  },
  requestPayment: {
    root: 'RequestPaymentConfiguration',
    deletable: false,
    digest: 'optional',
    absent: { content: textElement('Payer', 'BucketOwner') }
  },
  tagging: {
    root: 'Tagging',
    deletable: true,
    digest: 'demanded',
    absent: { code: 'NoSuchTagSet', message: 'The TagSet does not exist' }
  },
  website: {
    root: 'WebsiteConfiguration',
    deletable: true,
    digest: 'optional',
    absent: { code: 'NoSuchWebsiteConfiguration', message: 'The specified bucket does not have a website configuration' }
  }
} as const satisfies Record<string, DocumentRule>

export type DocumentName = keyof typeof documentRules

/** GET, PUT and DELETE of one sub-resource. @throws S3Error MethodNotAllowed for those that cannot be deleted */
export async function bucketDocument(name: DocumentName, request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  const rule: DocumentRule = documentRules[name]
  if (request.method === 'GET') return readDocument(rule, request.bucket, bucket.record.documents[name])
  if (request.method === 'PUT') {
    if (name === 'object-lock') bucket.requireObjectLock()
    const document = await receiveChecked(rule, request)
    await bucket.saveRecord((record) => ({ ...record, documents: { ...record.documents, [name]: document } }))
    return emptyAnswer(name === 'policy' ? 204 : 200)
  }
  if (request.method !== 'DELETE' || !rule.deletable) {
    throw new S3Error('MethodNotAllowed', { fields: { Method: request.method, ResourceType: name.toUpperCase() } })
  }
  await bucket.saveRecord((record) => ({ ...record, documents: without(record, name) }))
  return emptyAnswer(204)
}

function readDocument({ root, absent }: DocumentRule, bucket: string, stored: string | undefined): HttpResponse {
  if (stored !== undefined) return root === null ? textAnswer(stored, 'application/json') : xmlAnswer(stored)
  if ('content' in absent) return xmlAnswer(xmlDocument(root ?? '', absent.content))
  throw new S3Error('InvalidRequest', { code: absent.code, status: 404, message: absent.message, fields: { BucketName: bucket } })
}

/** Well-formed, with the right root: more is not known of it. @throws S3Error MalformedXML, MalformedPolicy */
async function receiveChecked({ root, digest }: DocumentRule, request: StoreRequest): Promise<string> {
  const body = await receiveDocument(request, digest)
  if (root !== null) parseXml(body, root)
  else if (!isJsonObject(body)) {
    throw new S3Error('InvalidRequest', { code: 'MalformedPolicy', message: 'Policies must be valid JSON and the first byte must be \'{\'' })
  }
  return body.toString('utf8')
}

function isJsonObject(body: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

function without({ documents }: BucketRecord, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(documents).filter(([other]) => other !== name))
}
