import type { HttpResponse } from '../http/message.ts'
import type { BucketRecord } from './records.ts'
import { S3Error } from '../errors.ts'
import { emptyAnswer, isoDate, xmlAnswer, type StoreContext, type StoreRequest } from './request.ts'
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
