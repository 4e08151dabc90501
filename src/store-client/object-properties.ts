import { createHash } from 'node:crypto'
import type { Header, HeaderList } from '../http/message.ts'
import type { BucketClient } from './bucket-client.ts'
import { percentEncode } from '../http/target.ts'
import { CONTEXT_HEADER, ENVELOPE_HEADER, KEY_ID_HEADER } from '../envelope/envelope.ts'
import { S3Error } from '../errors.ts'
import { parseTagging, type Tag } from '../s3/documents.ts'
import { keptHeaders } from '../s3/names.ts'
import { renderXml, upstreamDocument, type XmlNode, childOf, childrenOf, childText, parseXml, type XmlDocument, type XmlElement } from '../s3/xml.ts'

const kept: ReadonlySet<string> = new Set(keptHeaders)
const replaced = new Set([ENVELOPE_HEADER, KEY_ID_HEADER, CONTEXT_HEADER])

/**
 * The headers of a write that describe an object. The caller adds the envelope with its key id and context.
 * @throws S3Error SealgateBadUpstream when the store has metadata that no header can carry: a copy would lose it.
 */
export function describingHeaders(headers: HeaderList): Header[] {
  if (Number(headers.get('x-amz-missing-meta') ?? 0) > 0) {
    throw new S3Error('SealgateBadUpstream', { message: 'It has metadata that the store cannot show in headers (x-amz-missing-meta).' })
  }
  return [...headers.names()]
    .filter((name) => kept.has(name) || (name.startsWith('x-amz-meta-') && !replaced.has(name)))
    .map((name): Header => [name, headers.get(name) ?? ''])
}

/** Grants of the object other than its owner's, as headers of a write. Stores without ACLs have none. */
export async function grantHeaders(bucket: BucketClient, key: string, versionId: string | null): Promise<Header[]> {
  const acl = await bucket.documentOrNull({ method: 'GET', key, query: subresource('acl', versionId), retry: true })
  return acl === null ? [] : grantsAsHeaders(acl)
}

/** The tags of an object; none where the store does not support tags. */
export async function tagsOf(bucket: BucketClient, key: string, versionId: string | null): Promise<readonly Tag[]> {
  const document = await bucket.documentOrNull({ method: 'GET', key, query: subresource('tagging', versionId), retry: true })
  // radosgw 16 answers with an empty body for objects that were uploaded in parts.
  return document === null || document.length === 0 ? [] : parseTagging(document, upstreamDocument)
}

/** Tags as `x-amz-tagging` carries them: no header for none. */
export function tagHeaders(tags: readonly Tag[]): Header[] {
  const pairs = tags.map(([name, value]) => `${percentEncode(name, { keepSlash: false })}=${percentEncode(value, { keepSlash: false })}`)
  return pairs.length === 0 ? [] : [['x-amz-tagging', pairs.join('&')]]
}

/** PutObjectTagging on the current version. @throws S3Error the store's error. */
export async function putTags(bucket: BucketClient, key: string, tags: readonly Tag[]): Promise<void> {
  const set = tags.map(([name, value]): XmlNode => ['Tag', [['Key', name], ['Value', value]]])
  const body = renderXml(['Tagging', [['TagSet', set]]])
  await bucket.document({ method: 'PUT', key, query: [['tagging', null]], headers: [contentMd5(body), ['content-type', 'application/xml']], body })
}

function subresource(name: string, versionId: string | null): [string, string | null][] {
  return versionId === null ? [[name, null]] : [[name, null], ['versionId', versionId]]
}

const ALL_USERS = 'http://acs.amazonaws.com/groups/global/AllUsers'
const AUTHENTICATED_USERS = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers'

/** Canned ACLs by their grants other than the owner's (AWS S3 User Guide, "Canned ACL"): some stores support nothing else. */
const canned: Readonly<Record<string, string>> = {
  [`${ALL_USERS} READ`]: 'public-read',
  [`${ALL_USERS} READ,${ALL_USERS} WRITE`]: 'public-read-write',
  [`${AUTHENTICATED_USERS} READ`]: 'authenticated-read'
}

const headerOfPermission: Readonly<Record<string, string>> = {
  READ: 'x-amz-grant-read',
  WRITE: 'x-amz-grant-write',
  READ_ACP: 'x-amz-grant-read-acp',
  WRITE_ACP: 'x-amz-grant-write-acp',
  FULL_CONTROL: 'x-amz-grant-full-control'
}

/**
 * Headers that give a new object the grants of an AccessControlPolicy: copies do not keep them (AWS API, CopyObject). None for an object that only
 * its owner may use, as in stores without ACLs.
 * @throws S3Error SealgateBadUpstream for a document or grant that cannot be written as headers: it must not be lost silently.
 */
export function grantsAsHeaders(acl: Buffer): Header[] {
  const document = parseXml(acl, upstreamDocument)
  const owner = childOf(document, document.root, 'Owner')
  const ownerId = owner === undefined ? null : childText(document, owner, 'ID')
  const list = childOf(document, document.root, 'AccessControlList')
  const grants = (list === undefined ? [] : childrenOf(list, 'Grant')).map((grant) => readGrant(document, grant))
  const others = grants.filter(({ grantee, permission }) => !(grantee === `id="${ownerId ?? ''}"` && permission === 'FULL_CONTROL'))
  if (others.length === 0) return []
  if (others.some(({ grantee }) => grantee === NOBODY)) {
    throw new S3Error('SealgateBadUpstream', { message: 'The store names a grantee that cannot be written as a header.' })
  }
  const name = canned[others.map(({ uri, permission }) => `${uri ?? '-'} ${permission}`).sort().join(',')]
  if (name !== undefined && others.length < grants.length) return [['x-amz-acl', name]]
  const byHeader = Map.groupBy(grants, ({ permission }) => permission)
  return [...byHeader].map(([permission, list]): Header => {
    const header = headerOfPermission[permission]
    if (header === undefined) throw new S3Error('SealgateBadUpstream', { message: `The store names a permission that S3 does not have: ${permission}.` })
    return [header, list.map(({ grantee }) => grantee).join(', ')]
  })
}

/** A grantee without a name. */
const NOBODY = 'id=""'

interface Grant {
  /** As `x-amz-grant-*` writes it. */
  readonly grantee: string
  /** Of a group. */
  readonly uri: string | null
  readonly permission: string
}

function readGrant(document: XmlDocument, grant: XmlElement): Grant {
  const grantee = childOf(document, grant, 'Grantee')
  const permission = childText(document, grant, 'Permission')
  if (grantee === undefined || permission === null) throw new S3Error('SealgateBadUpstream')
  const uri = childText(document, grantee, 'URI')
  // MinIO names neither its owner nor the one grantee, who is the owner.
  const id = childText(document, grantee, 'ID') ?? ''
  const email = childText(document, grantee, 'EmailAddress')
  const named = uri !== null ? `uri="${uri}"` : id === '' && email !== null ? `emailAddress="${email}"` : `id="${id}"`
  return { grantee: named, uri, permission }
}

/** `content-md5` of a document that goes to the store: S3 demands a digest of some documents, and older stores support only this one. */
export function contentMd5(document: Buffer): readonly [name: string, value: string] {
  return ['content-md5', createHash('md5').update(document).digest('base64')]
}
