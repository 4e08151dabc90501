import { createHmac } from 'node:crypto'
import { S3Error } from '../errors.ts'
import type { Query } from '../http/target.ts'
import type { SigningSecret } from './signing.ts'

/** Query parameters that Signature Version 2 signs (the sub-resources of AWS "Signing and authenticating REST requests"). */
const signedParameters = new Set([
  'accelerate',
  'acl',
  'analytics',
  'cors',
  'defaultObjectAcl',
  'delete',
  'inventory',
  'lifecycle',
  'location',
  'logging',
  'metrics',
  'notification',
  'object-lock',
  'partNumber',
  'policy',
  'replication',
  'requestPayment',
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires',
  'restore',
  'select',
  'select-type',
  'storageClass',
  'tagging',
  'torrent',
  'uploadId',
  'uploads',
  'versionId',
  'versioning',
  'versions',
  'website'
])

/** Parameters that V2 does not sign and that only change how a listing is shown, never the operation or its target. */
const harmlessParameters = new Set([
  'continuation-token',
  'delimiter',
  'encoding-type',
  'fetch-owner',
  'key-marker',
  'list-type',
  'marker',
  'max-keys',
  'max-parts',
  'max-uploads',
  'part-number-marker',
  'prefix',
  'start-after',
  'upload-id-marker',
  'version-id-marker',
  'x-id'
])
const credentialParameters = new Set(['AWSAccessKeyId', 'Expires', 'Signature'])

/** Whether the query carries Signature Version 2 credentials; either of two parameters counts, in any case. */
export function hasV2Credential(query: Query): boolean {
  return query.parameters.some((p) => /^(?:awsaccesskeyid|signature)$/i.test(p.name))
}

/**
 * V2 does not sign parameters outside its list, so `?retention` (younger than the list) could be added to a presigned PUT and turn it into another
 * operation. Parameters that are neither signed nor harmless are refused. So is a value that contains a further signed parameter: values are signed
 * decoded, so `a=1&versionId=2` and `a=1%26versionId%3D2` have one signature, and the version could be removed.
 * @param hoisted lower-case names that count as headers and are signed as such.
 * @throws S3Error AccessDenied
 */
export function refuseUnsignedParameters(query: Query, hoisted: ReadonlyMap<string, string>): void {
  for (const { name, value } of query.parameters) {
    const known = signedParameters.has(name) || harmlessParameters.has(name) || credentialParameters.has(name)
    const hides = signedParameters.has(name) && (value ?? '').split('&').slice(1).some((text) => signedParameters.has(text.split('=', 1)[0] ?? ''))
    if (hides || (!known && !hoisted.has(name.toLowerCase()))) {
      throw new S3Error('AccessDenied', { message: 'Signature Version 2 does not protect a query parameter of this request. Please use AWS4-HMAC-SHA256.' })
    }
  }
}

interface SignedPartsV2 {
  readonly method: string
  readonly contentMd5: string
  readonly contentType: string
  /** The Date header; '' when x-amz-date is given; the `Expires` parameter in a presigned query. */
  readonly date: string
  /** Lower-case names; values as bytes, repeated fields joined with ",". Only `x-amz-…` count. */
  readonly headers: ReadonlyMap<string, string>
  readonly resource: string
}

/**
 * The canonicalized resource: bucket of a virtual-host request, path as received, and the signed parameters with their
 * values decoded.
 */
export function canonicalResourceV2(hostBucket: string | null, rawPath: string, query: Query): string {
  const signed = query.parameters.filter(({ name }) => signedParameters.has(name)).sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
  const pairs = signed.map(({ name, value }) => value === null || value === '' ? name : `${name}=${bytes(value)}`)
  const path = hostBucket === null ? rawPath : `/${hostBucket}${rawPath}`
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`
}

/** Decoded text as one character per UTF-8 byte, like header values. */
function bytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

export function stringToSignV2(parts: SignedPartsV2): string {
  const amz = [...parts.headers].filter(([name]) => name.startsWith('x-amz-')).sort(([a], [b]) => a < b ? -1 : 1)
  // Unlike in Version 4, inner runs of spaces stay. The request is not authenticated yet, so the time must be linear: the end of a run is searched
  // for once.
  const amzLines = amz.map(([name, value]) => `${name}:${value.replace(/^[ \t]+|(?<![ \t])[ \t]+$/g, '')}\n`).join('')
  return `${parts.method}\n${parts.contentMd5}\n${parts.contentType}\n${parts.date}\n${amzLines}${parts.resource}`
}

/** @returns base64 HMAC-SHA1 of the bytes that the characters encode. */
export function signV2(secret: SigningSecret, stringToSign: string): string {
  return createHmac('sha1', secret.v2Key).update(Buffer.from(stringToSign, 'latin1')).digest('base64')
}
