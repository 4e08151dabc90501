import type { HttpRequest } from '../http/message.ts'
import { S3Error } from '../errors.ts'
import { canonicalPath } from '../sigv4/canonical.ts'
import { parseContentSha256, type ContentSha256 } from '../sigv4/claims.ts'
import { parseHttpDate, parseIsoBasic } from '../sigv4/date.ts'
import { equalSignatures } from '../sigv4/signing.ts'
import { canonicalResourceV2, refuseUnsignedParameters, signV2, stringToSignV2 } from '../sigv4/v2.ts'
import { type AuthContext, type Verified, noSecret, type Client } from './types.ts'
import { effectiveHeaders, hoistedHeaders } from './effective-headers.ts'
import {
  checkExpiry,
  checkSkew,
  contentSha256Refused,
  invalidAuthorization,
  invalidDate,
  signatureMismatch,
  tokenRefused,
  unknownAccessKeyId,
  v2NotSupported
} from './errors.ts'

/**
 * `Authorization: AWS <id>:<signature>` (AWS, "Signing and authenticating REST requests"). Off unless configured: no
 * region, no body hash, SHA-1.
 * @throws S3Error InvalidRequest when off, InvalidArgument, AccessDenied, RequestTimeTooSkewed, InvalidAccessKeyId,
 * SignatureDoesNotMatch, InvalidToken.
 */
export function verifyHeaderV2(request: HttpRequest, parameters: string, context: AuthContext): Verified {
  if (!context.v2Header) throw v2NotSupported()
  const colon = parameters.lastIndexOf(':')
  const accessKeyId = parameters.slice(0, Math.max(colon, 0))
  const signature = parameters.slice(colon + 1)
  if (accessKeyId === '' || signature === '' || /\s/.test(parameters)) {
    throw invalidAuthorization('AWS authorization header is invalid.  Expected AwsAccessKeyId:signature', 'AWS')
  }
  const { headers, target } = request
  const amzDate = headers.get('x-amz-date')
  const dateHeader = headers.get('date')
  const text = amzDate ?? dateHeader ?? ''
  const date = parseHttpDate(text) ?? parseIsoBasic(text)
  if (date === undefined) throw invalidDate()
  checkSkew(date, context.now())
  const none = new Map<string, string>()
  refuseUnsignedParameters(target.query, none)
  const signed = signedHeaders(request, none)
  const client = verifySignature(request, context, {
    accessKeyId,
    signature,
    date: amzDate === undefined ? dateHeader ?? '' : '',
    headers: signed
  })
  if (headers.has('x-amz-security-token')) throw tokenRefused()
  return { client, scheme: 'v2-header', headers: effectiveHeaders(headers, none), contentSha256: bodyHash(request), chunkSigner: null }
}

/**
 * `AWSAccessKeyId`, `Expires` (seconds since 1970) and `Signature` in the query. boto3 presigns so in eight regions and
 * with custom endpoints. Content-Type, Content-MD5 and `x-amz-…` may stand in the query and are signed as headers.
 * @throws S3Error as `verifyHeaderV2`
 */
export function verifyQueryV2(request: HttpRequest, context: AuthContext): Verified {
  if (!context.v2Query) throw v2NotSupported()
  const { headers, target } = request
  const { query } = target
  const accessKeyId = query.get('AWSAccessKeyId')
  const signature = query.get('Signature')
  const expires = query.get('Expires')
  if (!accessKeyId || !signature || !expires) {
    throw new S3Error('AccessDenied', { message: 'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters' })
  }
  if (!/^\d{1,11}$/.test(expires)) throw new S3Error('AccessDenied', { message: `Invalid date (should be seconds since epoch): ${expires.slice(0, 32)}` })
  checkExpiry(new Date(Number(expires) * 1000), context.now(), {})
  if (query.parameters.some((p) => p.name.toLowerCase() === 'x-amz-security-token')) throw tokenRefused()
  const hoisted = hoistedHeaders(query, ['content-md5', 'content-type'])
  refuseUnsignedParameters(query, hoisted)
  const signed = signedHeaders(request, hoisted)
  const client = verifySignature(request, context, { accessKeyId, signature, date: expires, headers: signed })
  if (headers.has('x-amz-security-token')) throw tokenRefused()
  return { client, scheme: 'v2-query', headers: effectiveHeaders(headers, hoisted), contentSha256: bodyHash(request), chunkSigner: null }
}

/** Received and hoisted headers, none left out: V2 signs every x-amz header there is. */
function signedHeaders(request: HttpRequest, hoisted: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const all = new Map<string, string>()
  for (const name of request.headers.names()) all.set(name, request.headers.get(name) ?? '')
  // A header that comes both ways with two values is refused by effectiveHeaders.
  for (const [name, value] of hoisted) if (!all.has(name)) all.set(name, value)
  return all
}

interface ClaimV2 {
  readonly accessKeyId: string
  readonly signature: string
  readonly date: string
  readonly headers: ReadonlyMap<string, string>
}

function verifySignature(request: HttpRequest, context: AuthContext, claim: ClaimV2): Client {
  const { rawPath, query } = request.target
  const credential = context.credential(claim.accessKeyId)
  const secret = credential?.secret ?? noSecret
  const bucket = context.virtualHostBucket(request.host)
  const stringToSign = (path: string): string =>
    stringToSignV2({
      method: request.method,
      contentMd5: claim.headers.get('content-md5') ?? '',
      contentType: claim.headers.get('content-type') ?? '',
      date: claim.date,
      headers: claim.headers,
      resource: canonicalResourceV2(bucket, path, query)
    })
  const valid = signedPaths(rawPath, bucket === null).some((path) => equalSignatures(signV2(secret, stringToSign(path)), claim.signature))
  if (credential === undefined) throw unknownAccessKeyId(claim.accessKeyId)
  if (!valid) throw signatureMismatch(claim.accessKeyId, claim.signature, stringToSign(rawPath), null)
  return credential.client
}

/**
 * The paths a client may have signed: as received, strictly encoded, and for a bucket with a "/" behind, which botocore adds
 * to what it signs but not to what it sends. All name the same thing; in virtual-host style a "/" behind is another key.
 */
function signedPaths(rawPath: string, pathStyle: boolean): readonly string[] {
  const encoded = canonicalPath(rawPath)
  const paths = encoded === rawPath ? [rawPath] : [rawPath, encoded]
  return pathStyle && /^\/[^/]+$/.test(rawPath) ? [...paths, `${rawPath}/`] : paths
}

/** V2 signs x-amz-content-sha256 like any x-amz header: a hash there is held to. Chunk signatures have no seed in V2. */
function bodyHash(request: HttpRequest): ContentSha256 | null {
  const text = request.headers.get('x-amz-content-sha256')
  if (text === undefined) return null
  const word = parseContentSha256(text)
  if (word.kind === 'streaming') throw contentSha256Refused()
  return word
}
