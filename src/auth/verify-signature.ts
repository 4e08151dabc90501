import type { HeaderList, HttpRequest } from '../http/message.ts'
import { S3Error } from '../errors.ts'
import { malformedHeader, parseAuthorization, type SignatureClaim, parseContentSha256, type ContentSha256 } from '../sigv4/claims.ts'
import { ChunkSignatureChain, verifySignatureV4, equalSignatures } from '../sigv4/signing.ts'
import { formatIsoBasic, maxSkewMilliseconds, parseHttpDate, parseIsoBasic } from '../sigv4/date.ts'
import { parsePresigned, type PresignedClaim } from '../sigv4/presigned.ts'
import { type AuthContext, type Verified, noSecret, type Credential, type Client } from './types.ts'
import { effectiveHeaders, hoistedHeaders } from './effective-headers.ts'
import {
  checkExpiry,
  checkSkew,
  contentSha256Refused,
  invalidDate,
  signatureMismatch,
  tokenRefused,
  unknownAccessKeyId,
  invalidAuthorization,
  v2NotSupported
} from './errors.ts'
import { canonicalPath } from '../sigv4/canonical.ts'
import { canonicalResourceV2, refuseUnsignedParameters, signV2, stringToSignV2 } from '../sigv4/v2.ts'

const noHeaders: ReadonlyMap<string, string> = new Map()

/**
 * `Authorization: AWS4-HMAC-SHA256 …`.
 * @param parameters what follows the algorithm.
 * @throws S3Error as facts of AWS: AuthorizationHeaderMalformed, AccessDenied, RequestTimeTooSkewed, InvalidRequest,
 * InvalidArgument, InvalidAccessKeyId, SignatureDoesNotMatch, InvalidToken.
 */
export function verifyHeaderV4(request: HttpRequest, parameters: string, context: AuthContext): Verified {
  const { headers } = request
  const claim = parseAuthorization(parameters, context.regions)
  const { date, timestamp } = requestDate(headers)
  if (!timestamp.startsWith(claim.credential.date)) {
    throw malformedHeader(`Invalid credential date "${claim.credential.date}". This date is not the same as X-Amz-Date: "${timestamp.slice(0, 8)}".`)
  }
  checkSkew(date, context.now())
  const text = headers.get('x-amz-content-sha256')
  if (text === undefined) throw new S3Error('InvalidRequest', { message: 'Missing required header for this request: x-amz-content-sha256' })
  const contentSha256 = parseContentSha256(text)
  refuseUnsignedHeaders(headers, claim.signedHeaders, null)
  const { client, secret } = verifySignature(request, claim, context, {
    timestamp,
    payloadHash: text,
    withoutParameter: null,
    token: headers.has('x-amz-security-token')
  })
  const chunkSigner = contentSha256.kind === 'streaming' && contentSha256.signed
    ? new ChunkSignatureChain(secret.signingKey(claim.credential.date, claim.credential.region), timestamp, claim.credential.scope, claim.signature)
    : null
  return { client, scheme: 'v4-header', headers: effectiveHeaders(headers, noHeaders), contentSha256, chunkSigner }
}

/**
 * A presigned query. Parameters named `x-amz-…` become headers.
 * @throws S3Error AuthorizationQueryParametersError, AccessDenied (expired, not yet valid, unsigned headers),
 * InvalidRequest, InvalidArgument, InvalidAccessKeyId, SignatureDoesNotMatch, InvalidToken.
 */
export function verifyQueryV4(request: HttpRequest, context: AuthContext): Verified {
  const { headers, target } = request
  const claim = parsePresigned(target.query, context.regions)
  const now = context.now()
  if (claim.date.getTime() - now.getTime() > maxSkewMilliseconds) throw new S3Error('AccessDenied', { message: 'Request is not valid yet' })
  const seconds = claim.expiresSeconds
  // A date slightly ahead of the gateway's clock must not give a lifetime of zero.
  const expires = seconds === 0 ? now : new Date(claim.date.getTime() + seconds * 1000)
  checkExpiry(expires, now, { 'X-Amz-Expires': String(seconds) })
  refuseUnsignedHeaders(headers, claim.signedHeaders, 'x-amz-content-sha256')
  const { payloadHash, contentSha256 } = presignedPayload(headers, claim)
  const { client } = verifySignature(request, claim, context, {
    timestamp: claim.timestamp,
    payloadHash,
    withoutParameter: 'X-Amz-Signature',
    token: claim.securityToken !== null || headers.has('x-amz-security-token')
  })
  return { client, scheme: 'v4-query', headers: effectiveHeaders(headers, hoistedHeaders(target.query)), contentSha256, chunkSigner: null }
}

/**
 * The signed hash, and the hash that the body must have. A presigned request signs UNSIGNED-PAYLOAD unless the query or a signed header differs. A
 * hash in an unsigned header only restricts what the signature leaves open, so it is checked (clients add that header without regard to presigning).
 */
function presignedPayload(headers: HeaderList, claim: PresignedClaim): { readonly payloadHash: string; readonly contentSha256: ContentSha256 } {
  const inHeader = headers.get('x-amz-content-sha256')
  const header = inHeader === undefined ? null : parseContentSha256(inHeader)
  const query = claim.contentSha256 === null ? null : parseContentSha256(claim.contentSha256)
  if (header?.kind === 'streaming' || query?.kind === 'streaming') throw contentSha256Refused()
  if (header?.kind === 'hash' && query?.kind === 'hash' && header.text !== query.text) throw contentSha256Refused()
  const signedHeader = claim.signedHeaders.includes('x-amz-content-sha256') ? header : null
  const payloadHash = (query ?? signedHeader)?.text ?? 'UNSIGNED-PAYLOAD'
  const hash = query?.kind === 'hash' ? query : header
  return { payloadHash, contentSha256: hash ?? parseContentSha256('UNSIGNED-PAYLOAD') }
}

/** X-Amz-Date, else Date: botocore sends RFC 1123 in Date, and no X-Amz-Date, when the caller has set a Date. */
function requestDate(headers: HeaderList): { readonly date: Date; readonly timestamp: string } {
  const amzDate = headers.get('x-amz-date')
  const text = amzDate ?? headers.get('date') ?? ''
  const iso = parseIsoBasic(text)
  if (iso !== undefined) return { date: iso, timestamp: text }
  const date = amzDate === undefined ? parseHttpDate(text) : undefined
  if (date === undefined) throw invalidDate()
  return { date, timestamp: formatIsoBasic(date) }
}

/**
 * S3 acts on x-amz headers, so an unsigned one, which anybody on the way could have added (`x-amz-copy-source` on a presigned PUT), must not count.
 * @param tolerated lower-case name of a harmless one, or null.
 */
function refuseUnsignedHeaders(headers: HeaderList, signedHeaders: readonly string[], tolerated: string | null): void {
  let unsigned = ''
  const signed = new Set(signedHeaders)
  for (const name of headers.names()) {
    if (name.startsWith('x-amz-') && name !== tolerated && !signed.has(name)) unsigned += `${unsigned === '' ? '' : ', '}${name}`
  }
  if (unsigned === '') return
  throw new S3Error('AccessDenied', {
    message: 'There were headers present in the request which were not signed',
    fields: { HeadersNotSigned: unsigned }
  })
}

interface Signed {
  readonly timestamp: string
  readonly payloadHash: string
  readonly withoutParameter: string | null
  readonly token: boolean
}

function verifySignature(request: HttpRequest, claim: SignatureClaim, context: AuthContext, signed: Signed): Credential {
  const { accessKeyId, date, region } = claim.credential
  const credential = context.credential(accessKeyId)
  const key = (credential?.secret ?? noSecret).signingKey(date, region)
  const outcome = verifySignatureV4(request, claim, { ...signed, key })
  if (credential === undefined) throw unknownAccessKeyId(accessKeyId)
  // Before the signature, as AWS does: whoever adds the token to a request that is already signed is told so.
  if (signed.token) throw tokenRefused()
  if (!outcome.valid || claim.signedHeaders.some((name) => name !== 'host' && !request.headers.has(name))) {
    throw signatureMismatch(accessKeyId, claim.signature, outcome.stringToSign, outcome.canonicalRequest)
  }
  return credential
}

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
  const client = verifyClaimV2(request, context, {
    accessKeyId,
    signature,
    date: amzDate === undefined ? dateHeader ?? '' : '',
    headers: signed
  })
  if (headers.has('x-amz-security-token')) throw tokenRefused()
  return { client, scheme: 'v2-header', headers: effectiveHeaders(headers, none), contentSha256: bodyHash(request), chunkSigner: null }
}

/**
 * `AWSAccessKeyId`, `Expires` (seconds since 1970) and `Signature` in the query. boto3 presigns in this form in eight regions and with custom
 * endpoints. Content-Type, Content-MD5 and `x-amz-…` may be in the query and are signed as headers.
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
  const client = verifyClaimV2(request, context, { accessKeyId, signature, date: expires, headers: signed })
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

function verifyClaimV2(request: HttpRequest, context: AuthContext, claim: ClaimV2): Client {
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
 * The paths that a client may have signed: as received, strictly encoded, and for a bucket with a trailing "/", which botocore signs but does not
 * send. All of them name the same bucket; in virtual-host style a trailing "/" is another key.
 */
function signedPaths(rawPath: string, pathStyle: boolean): readonly string[] {
  const encoded = canonicalPath(rawPath)
  const paths = encoded === rawPath ? [rawPath] : [rawPath, encoded]
  return pathStyle && /^\/[^/]+$/.test(rawPath) ? [...paths, `${rawPath}/`] : paths
}

/** V2 signs x-amz-content-sha256 like any x-amz header, so the hash is enforced. Chunk signatures have no seed in V2. */
function bodyHash(request: HttpRequest): ContentSha256 | null {
  const text = request.headers.get('x-amz-content-sha256')
  if (text === undefined) return null
  const word = parseContentSha256(text)
  if (word.kind === 'streaming') throw contentSha256Refused()
  return word
}
