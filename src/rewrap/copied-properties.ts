import type { HeaderList } from '../http/headers.ts'
import type { StoredBucket } from './stored-bucket.ts'
import { percentEncode } from '../http/target.ts'
import { CONTEXT_HEADER, ENVELOPE_HEADER, KEY_ID_HEADER } from '../execute/stored-object.ts'
import { S3Error } from '../errors.ts'
import { parseTagging } from '../s3/documents.ts'
import { upstreamDocument } from '../s3/xml.ts'
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

/** The tags of an object as `x-amz-tagging` carries them; empty when it has none. */
export async function tagsOf(bucket: StoredBucket, key: string, versionId: string | null): Promise<string> {
  const document = await bucket.documentOrNull({ method: 'GET', key, query: subresource('tagging', versionId), retry: true })
  if (document === null) return ''
  return parseTagging(document, upstreamDocument)
    .map(([name, value]) => `${percentEncode(name, { keepSlash: false })}=${percentEncode(value, { keepSlash: false })}`)
    .join('&')
}

function subresource(name: string, versionId: string | null): [string, string | null][] {
  return versionId === null ? [[name, null]] : [[name, null], ['versionId', versionId]]
}
