import type { HttpResponse } from '../http/message.ts'
import type { Bucket } from './bucket.ts'
import type { CannedAcl, ObjectVersion, Retention } from './records.ts'
import { S3Error } from '../errors.ts'
import { emptyAnswer, xmlAnswer, owner, type StoreContext, type StoreRequest } from './request.ts'
import { checkRetention, checkTags, readAcl } from './attributes.ts'
import { ownerElement } from './listings.ts'
import { locate, versionHeader } from './locate.ts'
import { receiveDocument } from './receive.ts'
import { parseXml, element, textElement, xmlDocument, type XmlElement } from './xml.ts'

/** GET, PUT and DELETE of `?tagging` on an object. */
export async function objectTagging(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  if (request.method === 'GET') {
    const version = target(bucket, request)
    const tags = version.tags.map(([key, value]) => element('Tag', textElement('Key', key), textElement('Value', value)))
    return xmlAnswer(xmlDocument('Tagging', element('TagSet', ...tags)), versionHeader(bucket, version))
  }
  const tags = request.method === 'DELETE' ? [] : readTagSet(parseXml(await receiveDocument(request), 'Tagging'))
  const version = await change(bucket, request, () => ({ tags }))
  return emptyAnswer(request.method === 'DELETE' ? 204 : 200, versionHeader(bucket, version))
}

function readTagSet(root: XmlElement): ObjectVersion['tags'] {
  const [set] = root.all('TagSet')
  if (set === undefined) throw new S3Error('MalformedXML')
  return checkTags(
    set.all('Tag').map((tag) => {
      const [key, value] = [tag.value('Key'), tag.value('Value')]
      if (key === undefined || value === undefined) throw new S3Error('MalformedXML')
      return [key, value]
    })
  )
}

/** GET and PUT of `?retention`. */
export async function objectRetention(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  bucket.requireObjectLock()
  if (request.method === 'GET') {
    const { retention } = target(bucket, request)
    if (retention === null) throw noLock()
    return xmlAnswer(xmlDocument('Retention', textElement('Mode', retention.mode), textElement('RetainUntilDate', retention.until)))
  }
  const root = parseXml(await receiveDocument(request, 'demanded'), 'Retention')
  const retention = root.children.length === 0 ? null : checkRetention(root.value('Mode'), root.value('RetainUntilDate'))
  const bypass = request.headers.get('x-amz-bypass-governance-retention')?.toLowerCase() === 'true'
  await change(bucket, request, (version) => {
    checkShortening(version.retention, retention, bypass)
    return { retention }
  })
  return emptyAnswer(200)
}

/** Retention may grow, and governance shrinks for those who may bypass it. @throws S3Error AccessDenied */
function checkShortening(before: Retention | null, after: Retention | null, bypass: boolean): void {
  if (before === null || Date.parse(before.until) <= Date.now()) return
  if (before.mode === 'GOVERNANCE' && bypass) return
  const weaker = after === null || after.until < before.until || (before.mode === 'COMPLIANCE' && after.mode === 'GOVERNANCE')
  if (weaker) throw new S3Error('AccessDenied', { message: 'Access Denied because object protected by object lock.' })
}

/** GET and PUT of `?legal-hold`. */
export async function objectLegalHold(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  bucket.requireObjectLock()
  if (request.method === 'GET') {
    return xmlAnswer(xmlDocument('LegalHold', textElement('Status', target(bucket, request).legalHold ? 'ON' : 'OFF')))
  }
  const status = parseXml(await receiveDocument(request, 'demanded'), 'LegalHold').value('Status')
  if (status !== 'ON' && status !== 'OFF') throw new S3Error('MalformedXML')
  await change(bucket, request, () => ({ legalHold: status === 'ON' }))
  return emptyAnswer(200)
}

/** GET and PUT of `?acl` on an object. */
export async function objectAcl(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  if (request.method === 'GET') return xmlAnswer(aclDocument(target(bucket, request).acl))
  const acl = await readPutAcl(request)
  await change(bucket, request, () => ({ acl }))
  return emptyAnswer(200)
}

/** GET and PUT of `?acl` on a bucket. */
export async function bucketAcl(request: StoreRequest, { catalog }: StoreContext): Promise<HttpResponse> {
  const bucket = catalog.bucket(request.bucket)
  if (request.method === 'GET') return xmlAnswer(aclDocument(bucket.record.acl))
  const acl = await readPutAcl(request)
  await bucket.saveRecord((record) => ({ ...record, acl }))
  return emptyAnswer(200)
}

/**
 * A canned name in a header, or a document. The only document that is
 * accepted is that of every private object: the owner has FULL_CONTROL. @throws S3Error NotImplemented for other grants
 */
async function readPutAcl(request: StoreRequest): Promise<CannedAcl> {
  const body = await receiveDocument(request)
  if ([...request.headers.names()].some((name) => name.startsWith('x-amz-grant-'))) throw new S3Error('NotImplemented')
  if (body.length === 0) {
    if (!request.headers.has('x-amz-acl')) throw new S3Error('MissingSecurityHeader', { fields: { MissingHeaderName: 'x-amz-acl' } })
    return readAcl(request.headers)
  }
  const grants = parseXml(body, 'AccessControlPolicy').all('AccessControlList').flatMap((list) => list.all('Grant'))
  const toOwner = grants.every((one) => one.value('Permission') === 'FULL_CONTROL' && one.all('Grantee')[0]?.value('ID') === owner.id)
  if (!toOwner) throw new S3Error('NotImplemented', { message: 'This store takes canned ACLs only.' })
  return 'private'
}

const groups = {
  everybody: 'http://acs.amazonaws.com/groups/global/AllUsers',
  authenticated: 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers',
  logDelivery: 'http://acs.amazonaws.com/groups/s3/LogDelivery'
} as const

/** Grants in addition to the owner's (AWS, "Canned ACL"). */
const cannedGrants: Readonly<Partial<Record<CannedAcl, readonly (readonly [group: string, permission: string])[]>>> = {
  'public-read': [[groups.everybody, 'READ']],
  'public-read-write': [[groups.everybody, 'READ'], [groups.everybody, 'WRITE']],
  'authenticated-read': [[groups.authenticated, 'READ']],
  'log-delivery-write': [[groups.logDelivery, 'WRITE'], [groups.logDelivery, 'READ_ACP']]
}

function aclDocument(acl: CannedAcl): string {
  const grants = (cannedGrants[acl] ?? []).map(([group, permission]) => grant('Group', textElement('URI', group), permission))
  const own = grant('CanonicalUser', textElement('ID', owner.id) + textElement('DisplayName', owner.displayName), 'FULL_CONTROL')
  return xmlDocument('AccessControlPolicy', ownerElement(), element('AccessControlList', own, ...grants))
}

function grant(type: string, who: string, permission: string): string {
  return element(
    'Grant',
    `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="${type}">${who}</Grantee>`,
    textElement('Permission', permission)
  )
}

function target(bucket: Bucket, request: StoreRequest): ObjectVersion {
  return locate(bucket, request.key, request.query.get('versionId'))
}

/** Replaces properties of a version in place: tags, locks and ACLs are no part of what a version is. */
async function change(bucket: Bucket, request: StoreRequest, make: (version: ObjectVersion) => Partial<ObjectVersion>): Promise<ObjectVersion> {
  return bucket.changeKey(request.key, (versions) => {
    const version = target(bucket, request)
    const changed: ObjectVersion = { ...version, ...make(version) }
    return { versions: versions.map((one) => one === version ? changed : one), result: changed }
  })
}

function noLock(): S3Error {
  return new S3Error('InvalidRequest', {
    code: 'NoSuchObjectLockConfiguration',
    status: 404,
    message: 'The specified object does not have a ObjectLock configuration'
  })
}
