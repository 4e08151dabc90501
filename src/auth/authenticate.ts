// From an HTTP request to an authenticated one: Signature Version 4 and 2, in headers, in the query and in browser forms, and the check of the
// body while it arrives (body-verifier.ts). authorize.ts decides which client may use which bucket.
// Pure functions: no clock, key or setting but those in the AuthContext.
import type { HttpRequest } from '../http/message.ts'
import type { AuthContext, Verified, Authenticated, Client } from './types.ts'
import { S3Error } from '../errors.ts'
import { algorithmV4, algorithmV4A, sigV4aRefused, parseContentSha256 } from '../sigv4/claims.ts'
import { checkPostLength } from '../sigv4/post-policy.ts'
import { hasPresignedCredential } from '../sigv4/presigned.ts'
import { hasV2Credential } from '../sigv4/v2.ts'
import { effectiveHeaders, refuseRepeatedFields } from './effective-headers.ts'
import { formHeaders, type FormUpload, verifyPostPolicy } from './verify-form.ts'
import { declaredDigests, payloadPromise } from './payload.ts'
import { invalidAuthorization } from './errors.ts'
import { verifyHeaderV2, verifyQueryV2, verifyHeaderV4, verifyQueryV4 } from './verify-signature.ts'

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
    throw new S3Error('InvalidRequest', { message: 'Anonymous requests cannot have a streaming x-amz-content-sha256.' })
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
