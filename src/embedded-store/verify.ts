import { S3Error } from '../errors.ts'
import { HeaderList, type HttpRequest } from '../http/message.ts'
import { algorithmV4, malformedHeader, parseAuthorization, parseContentSha256, type SignatureClaim } from '../sigv4/claims.ts'
import { ChunkSignatureChain, SigningSecret, verifySignatureV4 } from '../sigv4/signing.ts'
import { formatIsoBasic, maxSkewMilliseconds, parseHttpDate, parseIsoBasic } from '../sigv4/date.ts'
import { hasPresignedCredential, isPresignParameter, parsePresigned } from '../sigv4/presigned.ts'

export interface Credential {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** The body hash that the signature covers. */
export type Payload =
  | { readonly framing: 'plain'; /** Hex; null when unsigned. */ readonly sha256: string | null }
  | { readonly framing: 'aws-chunked'; /** null when chunks are unsigned. */ readonly chain: ChunkSignatureChain | null }

interface Verified {
  readonly anonymous: boolean
  /** The request's own, and for presigned requests the `x-amz-*` parameters in place of headers. */
  readonly headers: HeaderList
  readonly payload: Payload
}

/** A claim with the time and the payload hash that were signed with it. */
interface Signed {
  readonly claim: SignatureClaim
  readonly timestamp: string
  readonly payloadHash: string
  /** The query parameter that holds the signature. */
  readonly withoutParameter: string | null
}

/** Checks SigV4 signatures of requests to the store: the pure parts are those of the gateway. */
export class SignatureCheck {
  readonly #secrets: ReadonlyMap<string, SigningSecret>
  readonly #region: string

  constructor(credentials: readonly Credential[], region: string) {
    this.#secrets = new Map(credentials.map(({ accessKeyId, secretAccessKey }) => [accessKeyId, new SigningSecret(secretAccessKey)]))
    this.#region = region
  }

  /**
   * Verifies the Authorization header or the presigned query (AWS, "Authenticating Requests (AWS Signature Version 4)").
   * @param now milliseconds since 1970
   * @throws S3Error with the codes AWS gives for each fault
   */
  verify(request: HttpRequest, now: number): Verified {
    const authorization = request.headers.get('authorization')
    const presigned = hasPresignedCredential(request.target.query)
    if (authorization !== undefined && presigned) {
      throw new S3Error('InvalidArgument', {
        message: 'Only one auth mechanism allowed',
        fields: { ArgumentName: 'Authorization', ArgumentValue: authorization }
      })
    }
    if (authorization !== undefined) return this.#verifyHeader(request, authorization, now)
    if (presigned) return this.#verifyQuery(request, now)
    return { anonymous: true, headers: request.headers, payload: { framing: 'plain', sha256: null } }
  }

  #verifyHeader(request: HttpRequest, authorization: string, now: number): Verified {
    if (!authorization.startsWith(`${algorithmV4} `)) {
      // s3cmd switches to SigV4 on exactly this text.
      throw new S3Error('InvalidRequest', { message: `The authorization mechanism you have provided is not supported. Please use ${algorithmV4}.` })
    }
    const claim = parseAuthorization(authorization.slice(algorithmV4.length + 1), [this.#region])
    const date = requestDate(request)
    if (Math.abs(now - date.getTime()) > maxSkewMilliseconds) {
      throw new S3Error('RequestTimeTooSkewed', {
        fields: {
          RequestTime: formatIsoBasic(date),
          ServerTime: new Date(now).toISOString(),
          MaxAllowedSkewMilliseconds: String(maxSkewMilliseconds)
        }
      })
    }
    const timestamp = formatIsoBasic(date)
    if (!timestamp.startsWith(claim.credential.date)) throw malformedHeader('the date in the credential is not that of the request.')
    const payloadHash = request.headers.get('x-amz-content-sha256')
    if (payloadHash === undefined) {
      throw new S3Error('InvalidRequest', { message: 'Missing required header for this request: x-amz-content-sha256' })
    }
    return { anonymous: false, headers: request.headers, payload: this.#check(request, { claim, timestamp, payloadHash, withoutParameter: null }) }
  }

  #verifyQuery(request: HttpRequest, now: number): Verified {
    const { query } = request.target
    const claim = parsePresigned(query, [this.#region])
    const [start, end] = [claim.date.getTime(), claim.date.getTime() + claim.expiresSeconds * 1000]
    if (start > now + maxSkewMilliseconds) throw new S3Error('AccessDenied', { message: 'Request is not yet valid' })
    if (end <= now) {
      throw new S3Error('AccessDenied', {
        message: 'Request has expired',
        fields: {
          'X-Amz-Expires': String(claim.expiresSeconds),
          Expires: new Date(end).toISOString(),
          ServerTime: new Date(now).toISOString()
        }
      })
    }
    const payloadHash = request.headers.get('x-amz-content-sha256') ?? claim.contentSha256 ?? 'UNSIGNED-PAYLOAD'
    const payload = this.#check(request, { claim, timestamp: claim.timestamp, payloadHash, withoutParameter: 'X-Amz-Signature' })
    return { anonymous: false, headers: withHoisted(request), payload }
  }

  #check(request: HttpRequest, { claim, timestamp, payloadHash, withoutParameter }: Signed): Payload {
    const { accessKeyId, date, region, scope } = claim.credential
    const secret = this.#secrets.get(accessKeyId)
    if (secret === undefined) throw new S3Error('InvalidAccessKeyId', { fields: { AWSAccessKeyId: accessKeyId } })
    if (request.headers.has('x-amz-security-token') || request.target.query.has('X-Amz-Security-Token')) throw new S3Error('InvalidToken')
    const signed = new Set(claim.signedHeaders)
    const unsigned = [...request.headers.names()].filter((name) => name.startsWith('x-amz-') && !signed.has(name))
    if (unsigned.length > 0) {
      throw new S3Error('AccessDenied', {
        message: 'There were headers present in the request which were not signed',
        fields: { HeadersNotSigned: unsigned.join(', ') }
      })
    }
    const key = secret.signingKey(date, region)
    const { valid, canonicalRequest, stringToSign } = verifySignatureV4(request, claim, { timestamp, payloadHash, withoutParameter, key })
    if (!valid) {
      throw new S3Error('SignatureDoesNotMatch', {
        fields: {
          AWSAccessKeyId: accessKeyId,
          StringToSign: stringToSign,
          SignatureProvided: claim.signature,
          CanonicalRequest: canonicalRequest
        }
      })
    }
    return readPayload(payloadHash, () => new ChunkSignatureChain(key, timestamp, scope, claim.signature))
  }
}

/** `x-amz-date`, or `Date` alone, with which botocore signs when its caller set one. @throws S3Error AccessDenied */
function requestDate(request: HttpRequest): Date {
  const amzDate = request.headers.get('x-amz-date')
  const plain = request.headers.get('date') ?? ''
  const date = amzDate === undefined ? parseHttpDate(plain) ?? parseIsoBasic(plain) : parseIsoBasic(amzDate)
  if (date === undefined) throw new S3Error('AccessDenied', { message: 'AWS authentication requires a valid Date or x-amz-date header' })
  return date
}

function readPayload(text: string, chain: () => ChunkSignatureChain): Payload {
  const parsed = parseContentSha256(text)
  switch (parsed.kind) {
    case 'hash':
      return { framing: 'plain', sha256: parsed.text }
    case 'unsigned':
      return { framing: 'plain', sha256: null }
    case 'streaming':
      return { framing: 'aws-chunked', chain: parsed.signed ? chain() : null }
  }
}

const bodyChecksum = /^x-amz-(?:checksum-(?!mode$|algorithm$|type$)|sdk-checksum-)/

/**
 * Query parameters that SDKs move there from headers. Checksums among them are those of an empty body (JS SDK from 3.729),
 * and S3 ignores them.
 */
function withHoisted(request: HttpRequest): HeaderList {
  const hoisted = request.target.query.parameters
    .map(({ name, value }) => [name.toLowerCase(), Buffer.from(value ?? '', 'utf8').toString('latin1')] as const)
    .filter(([name]) => name.startsWith('x-amz-') && !isPresignParameter(name) && !bodyChecksum.test(name))
  return new HeaderList([...request.headers.entries, ...hoisted])
}
