import type { HeaderList } from '../http/headers.ts'
import type { StoredBucket } from './bucket-client.ts'
import { percentEncode } from '../http/target.ts'
import { contentMd5 } from './content-md5.ts'
import { CONTEXT_HEADER, ENVELOPE_HEADER, KEY_ID_HEADER } from '../operations/objects/sealed-object.ts'
import { S3Error } from '../errors.ts'
import { parseTagging, type Tag } from '../s3/documents.ts'
import { renderXml, upstreamDocument, type XmlNode } from '../s3/xml.ts'
import { grantsAsHeaders } from './access-grants.ts'

type Header = readonly [name: string, value: string]

const kept = new Set([
  'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'content-type', 'expires', 'x-amz-storage-class',
  'x-amz-website-redirect-location'
])
const replaced = new Set([ENVELOPE_HEADER, KEY_ID_HEADER, CONTEXT_HEADER])

/**
 * Everything that describes an object, as a write says it. The envelope with its key id and context is the caller's.
 * @throws S3Error SealgateBadUpstream when the store holds metadata back that no header can carry: a copy would lose it.
 */
export function describingHeaders(headers: HeaderList): Header[] {
  if (Number(headers.get('x-amz-missing-meta') ?? 0) > 0) {
    throw new S3Error('SealgateBadUpstream', { message: 'It has metadata that the store cannot show in headers (x-amz-missing-meta).' })
  }
  return [...headers.names()]
    .filter((name) => kept.has(name) || (name.startsWith('x-amz-meta-') && !replaced.has(name)))
    .map((name): Header => [name, headers.get(name) ?? ''])
}

/** Grants of the object beside its owner's, as headers of a write. Stores without ACLs have none. */
export async function grantHeaders(bucket: StoredBucket, key: string, versionId: string | null): Promise<Header[]> {
  const acl = await bucket.documentOrNull({ method: 'GET', key, query: subresource('acl', versionId), retry: true })
  return acl === null ? [] : grantsAsHeaders(acl)
}

/** The tags of an object; none where the store knows no tags. */
export async function tagsOf(bucket: StoredBucket, key: string, versionId: string | null): Promise<readonly Tag[]> {
  const document = await bucket.documentOrNull({ method: 'GET', key, query: subresource('tagging', versionId), retry: true })
  // radosgw 16 answers with nothing at all for objects that came in parts.
  return document === null || document.length === 0 ? [] : parseTagging(document, upstreamDocument)
}

/** Tags as `x-amz-tagging` carries them: no header for none. */
export function tagHeaders(tags: readonly Tag[]): Header[] {
  const pairs = tags.map(([name, value]) => `${percentEncode(name, { keepSlash: false })}=${percentEncode(value, { keepSlash: false })}`)
  return pairs.length === 0 ? [] : [['x-amz-tagging', pairs.join('&')]]
}

/** PutObjectTagging on the current version. @throws S3Error what the store says. */
export async function putTags(bucket: StoredBucket, key: string, tags: readonly Tag[]): Promise<void> {
  const set = tags.map(([name, value]): XmlNode => ['Tag', [['Key', name], ['Value', value]]])
  const body = renderXml(['Tagging', [['TagSet', set]]])
  await bucket.document({ method: 'PUT', key, query: [['tagging', null]], headers: [contentMd5(body), ['content-type', 'application/xml']], body })
}

function subresource(name: string, versionId: string | null): [string, string | null][] {
  return versionId === null ? [[name, null]] : [[name, null], ['versionId', versionId]]
}
