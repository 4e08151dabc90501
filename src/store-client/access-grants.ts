import { S3Error } from '../errors.ts'
import { childOf, childrenOf, childText, parseXml, upstreamDocument, type XmlDocument, type XmlElement } from '../s3/xml.ts'

type Header = readonly [name: string, value: string]

const ALL_USERS = 'http://acs.amazonaws.com/groups/global/AllUsers'
const AUTHENTICATED_USERS = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers'

/** Canned ACLs by the grants they stand for beside the owner's (AWS S3 User Guide, "Canned ACL"), since some stores know no others. */
const canned: Readonly<Record<string, string>> = {
  [`${ALL_USERS} READ`]: 'public-read',
  [`${ALL_USERS} READ,${ALL_USERS} WRITE`]: 'public-read-write',
  [`${AUTHENTICATED_USERS} READ`]: 'authenticated-read'
}

const grantHeaders: Readonly<Record<string, string>> = {
  READ: 'x-amz-grant-read',
  WRITE: 'x-amz-grant-write',
  READ_ACP: 'x-amz-grant-read-acp',
  WRITE_ACP: 'x-amz-grant-write-acp',
  FULL_CONTROL: 'x-amz-grant-full-control'
}

/**
 * Headers that give a new object the grants of an AccessControlPolicy: no copy keeps those (AWS API, CopyObject). None for an
 * object that is its owner's alone, which is what stores without ACLs want, too.
 * @throws S3Error SealgateBadUpstream for a document or grant that cannot be said again: it must not be lost in silence.
 */
export function grantsAsHeaders(acl: Buffer): Header[] {
  const document = parseXml(acl, upstreamDocument)
  const owner = childOf(document, document.root, 'Owner')
  const ownerId = owner === undefined ? null : childText(document, owner, 'ID')
  const list = childOf(document, document.root, 'AccessControlList')
  const grants = (list === undefined ? [] : childrenOf(list, 'Grant')).map((grant) => readGrant(document, grant))
  const others = grants.filter(({ grantee, permission }) => !(grantee === `id="${ownerId ?? ''}"` && permission === 'FULL_CONTROL'))
  if (others.length === 0) return []
  const name = canned[others.map(({ uri, permission }) => `${uri ?? '-'} ${permission}`).sort().join(',')]
  if (name !== undefined && others.length < grants.length) return [['x-amz-acl', name]]
  const byHeader = Map.groupBy(grants, ({ permission }) => permission)
  return [...byHeader].map(([permission, list]): Header => {
    const header = grantHeaders[permission]
    if (header === undefined) throw new S3Error('SealgateBadUpstream', { message: `The store names a permission that S3 does not have: ${permission}.` })
    return [header, list.map(({ grantee }) => grantee).join(', ')]
  })
}

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
  const id = childText(document, grantee, 'ID')
  const email = childText(document, grantee, 'EmailAddress')
  const named = uri !== null ? `uri="${uri}"` : id !== null ? `id="${id}"` : email !== null ? `emailAddress="${email}"` : null
  if (named === null) throw new S3Error('SealgateBadUpstream', { message: 'The store names a grantee that cannot be said again.' })
  return { grantee: named, uri, permission }
}
