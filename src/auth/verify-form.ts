import { createHmac } from 'node:crypto'
import { S3Error } from '../errors.ts'
import { headerValue } from './effective-headers.ts'
import { algorithmV4, algorithmV4A, sigV4aRefused, parseCredential, type Malformed } from '../sigv4/claims.ts'
import { parseIsoBasic } from '../sigv4/date.ts'
import { checkPostPolicy, parsePostPolicy, type LengthRange } from '../sigv4/post-policy.ts'
import { equalSignatures, signV4 } from '../sigv4/signing.ts'
import { type AuthContext, noSecret, type Client } from './types.ts'
import { signatureMismatch, tokenRefused, unknownAccessKeyId, v2NotSupported } from './errors.ts'

/** A browser form upload whose fields have been read, up to the first byte of the file. */
export interface FormUpload {
  /** Lower-case names, each once, decoded as UTF-8, as they were sent. Without `file`. */
  readonly fields: ReadonlyMap<string, string>
  /** The same with `${filename}` replaced, to be called once the signature has verified. @throws S3Error MaxMessageLengthExceeded */
  readonly expanded: () => ReadonlyMap<string, string>
  /** The bucket of the URL. */
  readonly bucket: string
}

const headerFields = new Set([
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-md5',
  'content-type',
  'expires'
])
const signatureFields = new Set(['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-security-token', 'x-amz-signature'])

/**
 * The fields of a form that are headers of the upload; `acl` means `x-amz-acl`.
 * @throws S3Error InvalidArgument for values no header can carry and for an ACL given twice.
 */
export function formHeaders(fields: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  for (const [field, text] of fields) {
    const name = field === 'acl' ? 'x-amz-acl' : field
    if (!headerFields.has(name) && (!name.startsWith('x-amz-') || signatureFields.has(name))) continue
    const value = headerValue(text)
    if (value === null || headers.has(name) || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
      throw new S3Error('InvalidArgument', { message: 'A form field cannot be used as a header.', fields: { ArgumentName: field.slice(0, 128) } })
    }
    headers.set(name, value)
  }
  return headers
}

interface VerifiedPolicy {
  readonly client: Client
  /** Every field, `${filename}` replaced. */
  readonly fields: ReadonlyMap<string, string>
  /** Bounds of the file in bytes; null: none given. */
  readonly lengthRange: LengthRange | null
}

const malformedForm: Malformed = (message, fields) =>
  new S3Error('InvalidArgument', {
    message: `The form is malformed; ${message}`,
    fields: { ArgumentName: 'x-amz-credential', ...fields }
  })

/**
 * Checks the signature of a POST form (Version 4 or, where allowed, 2) on the fields as sent, and then every condition of its
 * policy on the expanded ones, as AWS does. A field named `bucket` does not change the bucket of the URL.
 * @throws S3Error InvalidArgument, InvalidPolicyDocument, AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch,
 * InvalidToken, InvalidRequest, NotImplemented, MaxMessageLengthExceeded.
 */
export function verifyPostPolicy({ fields, expanded, bucket }: FormUpload, context: AuthContext): VerifiedPolicy {
  const policy = fields.get('policy')
  const v4 = ['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-signature'].some((name) => fields.has(name))
  const v2 = fields.has('awsaccesskeyid') || fields.has('signature')
  if (v4 && v2) throw new S3Error('InvalidArgument', { message: 'Only one auth mechanism allowed in a form.' })
  if (!v4 && !v2) throw policy === undefined ? new S3Error('AccessDenied') : missing('signature')
  if (policy === undefined) throw missing('policy')
  const client = v4 ? verifyV4(fields, policy, context) : verifyV2(fields, policy, context)
  if (fields.has('x-amz-security-token')) throw tokenRefused()
  const whole = expanded()
  const lengthRange = checkPostPolicy(parsePostPolicy(policy), new Map(whole).set('bucket', bucket), context.now())
  return { client, fields: whole, lengthRange }
}

function missing(name: string): S3Error {
  return new S3Error('InvalidArgument', {
    message: `Bucket POST must contain a field named '${name}'.  If it is specified, please check the order of the fields.`,
    fields: { ArgumentName: name }
  })
}

function need(fields: ReadonlyMap<string, string>, name: string): string {
  const value = fields.get(name)
  if (value === undefined || value === '') throw missing(name)
  return value
}

/** AWS, "Authenticating requests in browser-based uploads using POST": the signature is over the policy as sent. */
function verifyV4(fields: ReadonlyMap<string, string>, policy: string, context: AuthContext): Client {
  const algorithm = need(fields, 'x-amz-algorithm')
  if (algorithm === algorithmV4A) throw sigV4aRefused()
  if (algorithm !== algorithmV4) throw new S3Error('InvalidArgument', { message: `X-Amz-Algorithm only supports "${algorithmV4}"` })
  const credentialText = need(fields, 'x-amz-credential')
  const { accessKeyId, date, region } = parseCredential(credentialText, context.regions, malformedForm)
  const timestamp = need(fields, 'x-amz-date')
  if (parseIsoBasic(timestamp) === undefined || !timestamp.startsWith(date)) {
    throw new S3Error('InvalidArgument', { message: 'X-Amz-Date must be an ISO 8601 basic date of the day of the credential.' })
  }
  const signature = need(fields, 'x-amz-signature')
  const credential = context.credential(accessKeyId)
  const expected = signV4((credential?.secret ?? noSecret).signingKey(date, region), policy)
  const valid = equalSignatures(expected, signature)
  if (credential === undefined) throw unknownAccessKeyId(accessKeyId)
  if (!valid) throw signatureMismatch(accessKeyId, signature, policy, null)
  return credential.client
}

function verifyV2(fields: ReadonlyMap<string, string>, policy: string, context: AuthContext): Client {
  if (!context.v2Query) throw v2NotSupported()
  const accessKeyId = need(fields, 'awsaccesskeyid')
  const signature = need(fields, 'signature')
  const credential = context.credential(accessKeyId)
  const expected = createHmac('sha1', (credential?.secret ?? noSecret).v2Key).update(policy, 'utf8').digest('base64')
  const valid = equalSignatures(expected, signature)
  if (credential === undefined) throw unknownAccessKeyId(accessKeyId)
  if (!valid) throw signatureMismatch(accessKeyId, signature, policy, null)
  return credential.client
}
