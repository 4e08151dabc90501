import { S3Error } from '../errors.ts'
import { formatIsoBasic, maxSkewMilliseconds } from '../sigv4/date.ts'

/** The errors of authentication, with the extra elements of AWS: clients use some of them, people the rest. */

export function unknownAccessKeyId(accessKeyId: string): S3Error {
  return new S3Error('InvalidAccessKeyId', { fields: { AWSAccessKeyId: accessKeyId } })
}

/** Hex of Version 4, base64 of Version 2. Any other text may be a secret in the wrong place. */
const signatureShape = /^(?:[0-9a-f]{64}|[A-Za-z0-9+/]{27}=)$/

/**
 * SignatureDoesNotMatch with what was signed here, so that a developer can find the difference.
 * @param canonicalRequest null for Signature Version 2 and forms, which have none.
 */
export function signatureMismatch(
  accessKeyId: string,
  signature: string,
  stringToSign: string,
  canonicalRequest: string | null
): S3Error {
  const toSign = withoutSecrets(stringToSign)
  const fields: Record<string, string> = {
    AWSAccessKeyId: accessKeyId,
    StringToSign: readable(toSign),
    SignatureProvided: signatureShape.test(signature) ? signature : '',
    StringToSignBytes: spacedHex(toSign)
  }
  if (canonicalRequest !== null) {
    const canonical = withoutSecrets(canonicalRequest)
    fields['CanonicalRequest'] = readable(canonical)
    fields['CanonicalRequestBytes'] = spacedHex(canonical)
  }
  return new S3Error('SignatureDoesNotMatch', { fields })
}

// A customer's key or a session token may be in signed headers or a presigned query, and error bodies end up in logs.
function withoutSecrets(text: string): string {
  return text
    .replace(/^(x-amz-(?:copy-source-)?server-side-encryption-customer-key|x-amz-security-token):.*$/gm, '$1:******')
    .replace(/(x-amz-security-token|x-amz-(?:copy-source-)?server-side-encryption-customer-key)=[^&\n]*/gi, '$1=******')
}

function readable(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8')
}

function spacedHex(text: string): string {
  return Buffer.from(text, 'latin1').toString('hex').replace(/..(?=.)/g, '$& ')
}

export function invalidDate(): S3Error {
  return new S3Error('AccessDenied', { message: 'AWS authentication requires a valid Date or x-amz-date header.' })
}

/** @throws S3Error RequestTimeTooSkewed when `date` is more than 15 minutes from `now`; SDKs set their clocks by its fields. */
export function checkSkew(date: Date, now: Date): void {
  if (Math.abs(now.getTime() - date.getTime()) <= maxSkewMilliseconds) return
  throw new S3Error('RequestTimeTooSkewed', {
    fields: {
      RequestTime: formatIsoBasic(date),
      ServerTime: seconds(now),
      MaxAllowedSkewMilliseconds: String(maxSkewMilliseconds)
    }
  })
}

/** @throws S3Error AccessDenied from `expires` on. */
export function checkExpiry(expires: Date, now: Date, fields: Readonly<Record<string, string>>): void {
  if (now.getTime() < expires.getTime()) return
  throw new S3Error('AccessDenied', {
    message: 'Request has expired',
    fields: { ...fields, Expires: seconds(expires), ServerTime: seconds(now) }
  })
}

function seconds(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`
}

/** s3cmd switches to Signature Version 4 on exactly this text. */
export function v2NotSupported(): S3Error {
  return new S3Error('InvalidRequest', {
    message: 'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.'
  })
}

const knownSchemes: ReadonlySet<string> = new Set(['AWS', 'Basic', 'Bearer', 'Digest', 'Negotiate', 'Token'])

/** @param scheme the first word. Quoted only if it is the name of a scheme: it may be a password or a token. */
export function invalidAuthorization(message: string, scheme: string): S3Error {
  const quoted = knownSchemes.has(scheme) || /^AWS\d-/.test(scheme) ? scheme.slice(0, 64) : ''
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: 'Authorization', ArgumentValue: quoted } })
}

/** Clients are configured with fixed keys, which have no session tokens. */
export function tokenRefused(): S3Error {
  return new S3Error('InvalidToken')
}

/** As AWS answers where the value is valid, but not for this operation. */
export function contentSha256Refused(): S3Error {
  return new S3Error('InvalidRequest', { message: 'The value of x-amz-content-sha256 header is invalid.' })
}
