// From an HTTP request to an authenticated one: Signature Version 4 and 2, in headers, in the query and in browser forms, and the check of the
// body while it arrives (body-verifier.ts). authorize.ts decides which client may use which bucket.
// Pure functions: no clock, key or setting but those in the AuthContext.
import { createHmac } from 'node:crypto'
import type { HttpRequest } from '../http/message.ts'
import { type AuthContext, type Verified, type Authenticated, type Client, noSecret } from './types.ts'
import { S3Error } from '../errors.ts'
import { algorithmV4, algorithmV4A, sigV4aRefused, parseContentSha256, parseCredential, type Malformed } from '../sigv4/claims.ts'
import { checkPostLength, checkPostPolicy, parsePostPolicy, type LengthRange } from '../sigv4/post-policy.ts'
import { hasPresignedCredential } from '../sigv4/presigned.ts'
import { hasV2Credential } from '../sigv4/v2.ts'
import { effectiveHeaders, refuseRepeatedFields, headerValue } from './effective-headers.ts'
import { declaredDigests, payloadPromise } from './payload.ts'
import { invalidAuthorization, signatureMismatch, tokenRefused, unknownAccessKeyId, v2NotSupported } from './errors.ts'
import { verifyHeaderV2, verifyQueryV2, verifyHeaderV4, verifyQueryV4 } from './verify-signature.ts'
import { parseIsoBasic } from '../sigv4/date.ts'
import { equalSignatures, signV4 } from '../sigv4/signing.ts'

/**
 * Authenticates a request by headers and query alone: no byte of the body is read. One function decides the signer and what is declared of the body,
 * so that no payload mode can bypass the signature.
 * POST forms have their signature in the body: see `isFormUpload` and `authenticateForm`. Here they are anonymous writes.
 * @throws S3Error with the codes and elements of AWS; see the schemes.
 */
export function authenticate(request: HttpRequest, context: AuthContext): Authenticated {
  refuseRepeatedFields(request.headers)
  const place = credentialPlace(request)
  switch (place) {
    case 'none':
      return anonymous(request, context)
    case 'header':
      return authenticated(request, byHeader(request, context))
    case 'v4-query':
      return authenticated(request, verifyQueryV4(request, context))
    case 'v2-query':
      return authenticated(request, verifyQueryV2(request, context))
  }
}

/**
 * Whether the request is a browser form upload, for `authenticateForm` once its fields have been read. Forms have no credentials outside the form;
 * with any, the request is an ordinary one.
 */
export function isFormUpload(request: HttpRequest): boolean {
  return request.method === 'POST' && /^multipart\/form-data\s*(?:;|$)/i.test(request.headers.get('content-type') ?? '') &&
    credentialPlace(request) === 'none'
}

/** A form whose policy has verified. */
interface AuthenticatedForm {
  readonly client: Client
  /** Expanded. */
  readonly fields: ReadonlyMap<string, string>
  /** @param fileLength exact size of the file in bytes. @throws S3Error EntityTooSmall, EntityTooLarge by content-length-range. */
  readonly withFile: (fileLength: number) => Authenticated
}

/**
 * Authenticates a form upload by the policy in it, before its file is read. The headers of the result come from the fields alone, because the headers
 * of the HTTP request are not signed.
 * @throws S3Error as `verifyPostPolicy`; InvalidDigest and InvalidRequest for checksum fields.
 */
export function authenticateForm(request: HttpRequest, form: FormUpload, context: AuthContext): AuthenticatedForm {
  const { client, fields, lengthRange } = verifyPostPolicy(form, context)
  const headers = formHeaders(fields)
  const digests = declaredDigests(headers, null)
  const withFile = (fileLength: number): Authenticated => {
    checkPostLength(lengthRange, fileLength)
    const payload = { framing: 'plain', length: fileLength, sha256: null, chunkSigner: null, ...digests, trailer: null } as const
    return brand({ http: request, client, scheme: 'post-policy', headers, payload })
  }
  return { client, fields, withFile }
}

/** @throws S3Error InvalidArgument unless credentials are in one place only: of two, two parsers could pick differently. */
function credentialPlace(request: HttpRequest): 'none' | 'header' | 'v4-query' | 'v2-query' {
  const { query } = request.target
  const header = request.headers.has('authorization')
  const v4 = hasPresignedCredential(query)
  const v2 = hasV2Credential(query)
  if (Number(header) + Number(v4) + Number(v2) > 1) {
    throw new S3Error('InvalidArgument', {
      message:
        'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
      fields: { ArgumentName: 'Authorization' }
    })
  }
  return header ? 'header' : v4 ? 'v4-query' : v2 ? 'v2-query' : 'none'
}

function byHeader(request: HttpRequest, context: AuthContext): Verified {
  const text = (request.headers.get('authorization') ?? '').trim()
  if (text === '') throw new S3Error('AccessDenied')
  const space = text.indexOf(' ')
  if (space < 0) throw invalidAuthorization('Authorization header is invalid -- one and only one \' \' (space) required', '')
  const scheme = text.slice(0, space)
  const parameters = text.slice(space + 1)
  if (scheme === algorithmV4) return verifyHeaderV4(request, parameters, context)
  if (scheme === 'AWS') return verifyHeaderV2(request, parameters, context)
  if (scheme === algorithmV4A) throw sigV4aRefused()
  throw invalidAuthorization('Unsupported Authorization Type', scheme)
}

function authenticated(request: HttpRequest, verified: Verified): Authenticated {
  const { client, scheme, headers, contentSha256, chunkSigner } = verified
  return brand({ http: request, client, scheme, headers, payload: payloadPromise(request, headers, contentSha256, chunkSigner) })
}

function anonymous(request: HttpRequest, context: AuthContext): Authenticated {
  const { method, headers, target } = request
  const text = headers.get('x-amz-content-sha256')
  const word = text === undefined ? null : parseContentSha256(text)
  if (word?.kind === 'streaming') {
    throw new S3Error('InvalidRequest', {
      message: 'Anonymous requests don\'t support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or ' +
        'STREAMING-UNSIGNED-PAYLOAD-TRAILER.'
    })
  }
  if ((method !== 'GET' && method !== 'HEAD') || !context.isPublicRead(request)) throw new S3Error('AccessDenied')
  if (target.query.parameters.some((p) => p.name.startsWith('response-'))) {
    throw new S3Error('InvalidRequest', { message: 'Request specific response headers cannot be used for anonymous GET requests.' })
  }
  const effective = effectiveHeaders(headers, new Map())
  return brand({ http: request, client: null, scheme: 'anonymous', headers: effective, payload: payloadPromise(request, effective, word, null) })
}

type Unbranded = Pick<Authenticated, 'http' | 'client' | 'scheme' | 'headers' | 'payload'>

/** The only place that sets the brand. */
function brand(value: Unbranded): Authenticated {
  return value as Authenticated
}

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
    message,
    fields: { ArgumentName: 'x-amz-credential', ...fields }
  })

/**
 * Checks the signature of a POST form (Version 4 or, where allowed, 2) on the fields as sent, and then every condition of its
 * policy on the expanded ones, as AWS does. A field named `bucket` does not change the bucket of the URL.
 * @throws S3Error InvalidArgument, InvalidPolicyDocument, AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch,
 * InvalidToken, InvalidRequest, NotImplemented, MaxMessageLengthExceeded.
 */
function verifyPostPolicy({ fields, expanded, bucket }: FormUpload, context: AuthContext): VerifiedPolicy {
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

function wrongField(name: string, value: string, message: string): S3Error {
  return new S3Error('InvalidArgument', { message, fields: { ArgumentName: name, ArgumentValue: value.slice(0, 128) } })
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
  if (algorithm !== algorithmV4) throw wrongField('X-Amz-Algorithm', algorithm, `Only ${algorithmV4} is supported`)
  const credentialText = need(fields, 'x-amz-credential')
  const { accessKeyId, date, region } = parseCredential(credentialText, context.regions, malformedForm)
  const timestamp = need(fields, 'x-amz-date')
  if (parseIsoBasic(timestamp) === undefined || !timestamp.startsWith(date)) {
    throw wrongField('X-Amz-Date', timestamp, 'X-Amz-Date must be formated via ISO8601 Long format')
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
