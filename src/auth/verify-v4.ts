import type { HeaderList, HttpRequest } from '../http/message.ts'
import { S3Error } from '../errors.ts'
import { malformedHeader, parseAuthorization, type SignatureClaim, parseContentSha256, type ContentSha256 } from '../sigv4/claims.ts'
import { ChunkSignatureChain, verifySignatureV4 } from '../sigv4/signing.ts'
import { formatIsoBasic, maxSkewMilliseconds, parseHttpDate, parseIsoBasic } from '../sigv4/date.ts'
import { parsePresigned, type PresignedClaim } from '../sigv4/presigned.ts'
import { type AuthContext, type Verified, noSecret, type Credential } from './types.ts'
import { effectiveHeaders, hoistedHeaders } from './effective-headers.ts'
import { checkExpiry, checkSkew, contentSha256Refused, invalidDate, signatureMismatch, tokenRefused, unknownAccessKeyId } from './errors.ts'

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
  // A date a little ahead of our clock must not give a lifetime of zero some time.
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
 * The hash that was signed and the one the body must have. A presigned request signs UNSIGNED-PAYLOAD unless the query or a
 * signed header differs. A hash in an unsigned header only tightens what the signature leaves open, so it is
 * heeded (clients add that header without thinking of presigning).
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
 * S3 acts on x-amz headers, so one that anybody on the way could have added (`x-amz-copy-source` on a presigned PUT) must
 * not count. @param tolerated lower-case name of one that can do no harm, or null.
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
  if (!outcome.valid || claim.signedHeaders.some((name) => name !== 'host' && !request.headers.has(name))) {
    throw signatureMismatch(accessKeyId, claim.signature, outcome.stringToSign, outcome.canonicalRequest)
  }
  if (signed.token) throw tokenRefused()
  return credential
}
