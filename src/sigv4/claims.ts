import { S3Error } from '../errors.ts'

/** The signature of a request and its claims, from the header or the query. */
export interface SignatureClaim {
  readonly credential: ScopedCredential
  readonly signedHeaders: readonly string[]
  /** As sent: compared with the 64 hex digits expected, never parsed. */
  readonly signature: string
}

export const algorithmV4 = 'AWS4-HMAC-SHA256'
export const algorithmV4A = 'AWS4-ECDSA-P256-SHA256'

export const malformedHeader: Malformed = (message, fields) =>
  new S3Error('AuthorizationHeaderMalformed', {
    message: `The authorization header is malformed; ${message}`,
    ...(fields === undefined ? {} : { fields })
  })

/** SigV4A exists only for multi-region access points of AWS. */
export function sigV4aRefused(): S3Error {
  return new S3Error('NotImplemented', { message: `${algorithmV4A} (Signature Version 4A) is not supported. Please use ${algorithmV4}.` })
}

/**
 * The part of an `Authorization` header after `AWS4-HMAC-SHA256`: `Credential=…, SignedHeaders=…, Signature=…`, the comma
 * with or without a space (botocore writes one, minio-go does not), the three in any order, each exactly once.
 * @throws S3Error AuthorizationHeaderMalformed
 */
export function parseAuthorization(parameters: string, regions: readonly string[]): SignatureClaim {
  const items = parameters.split(',', 4).map((item) => item.trim())
  if (items.length !== 3) throw malformedHeader('the authorization header requires three components: Credential, SignedHeaders, and Signature.')
  const found = new Map<string, string>()
  for (const item of items) {
    const equals = item.indexOf('=')
    if (equals < 0) throw malformedHeader(`the authorization component ${quoted(item)} is malformed.`)
    found.set(item.slice(0, equals), item.slice(equals + 1))
  }
  const [credential, signedHeaders, signature] = [present(found, 'Credential'), present(found, 'SignedHeaders'), present(found, 'Signature')]
  return {
    credential: parseCredential(credential, regions, malformedHeader),
    signedHeaders: parseSignedHeaders(signedHeaders, malformedHeader),
    signature
  }
}

function present(found: ReadonlyMap<string, string>, name: string): string {
  const value = found.get(name)
  if (value === undefined || value === '') throw malformedHeader(`missing ${name}.`)
  return value
}

/** AWS repeats what is wrong. Text that may be a secret in the wrong place is left out: anything longer than the words of a scope. */
function quoted(text: string): string {
  return /^[\w.-]{1,16}$/.test(text) ? `"${text}"` : '""'
}

/** `<access key id>/<YYYYMMDD>/<region>/s3/aws4_request`, split. */
interface ScopedCredential {
  readonly accessKeyId: string
  /** YYYYMMDD, UTC. */
  readonly date: string
  readonly region: string
  /** Everything after the access key id: a line of the string to sign. */
  readonly scope: string
}

/**
 * Clients of other stores than AWS sign with other region names: `*`, `auto`, the host (git-annex: `127.0.0.1`), with a port. So a region is any text
 * that does not split the scope: printable ASCII without "/" and ",", up to the length of a DNS name with a port (RFC 1035 2.3.4: 253 characters).
 */
const regionText = /^[\x21-\x2b\x2d\x2e\x30-\x7e]{1,259}$/

/** Makes the error for the place of the credential: header, query and form have different codes. */
export type Malformed = (message: string, fields?: Readonly<Record<string, string>>) => S3Error

/**
 * @param regions accepted; empty accepts every region, because documentation of other stores lets clients use any.
 * @throws `malformed(…)` on any deviation, with `Region` when only the region is wrong (clients correct themselves with it).
 */
export function parseCredential(text: string, regions: readonly string[], malformed: Malformed): ScopedCredential {
  const parts = text.split('/')
  const [terminal, service, region, date] = [parts.pop(), parts.pop(), parts.pop(), parts.pop()]
  // Stores other than AWS allow "/" in access key ids, so the scope is counted from the end.
  const accessKeyId = parts.join('/')
  const surplus = parts.length > 1 && terminal !== 'aws4_request'
  if (date === undefined || region === undefined || accessKeyId === '' || accessKeyId.length > 128 || surplus) {
    throw malformed('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
  }
  if (terminal !== 'aws4_request') throw malformed(`incorrect terminal ${quoted(terminal ?? '')}. This endpoint uses "aws4_request".`)
  if (service !== 's3') throw malformed(`incorrect service ${quoted(service ?? '')}. This endpoint belongs to "s3".`)
  if (!/^\d{8}$/.test(date)) {
    throw malformed(`incorrect date format ${quoted(date)}. This date in the credential must be in the format "yyyyMMdd".`)
  }
  if (!regionText.test(region)) throw malformed('the region is missing or not well-formed.')
  const expected = regions[0]
  if (expected !== undefined && !regions.includes(region)) {
    throw malformed(`the region '${region}' is wrong; expecting '${expected}'`, { Region: expected })
  }
  return { accessKeyId, date, region, scope: `${date}/${region}/s3/aws4_request` }
}

/**
 * Names in SignedHeaders, in lower case and sorted: clients that list them otherwise still sign them in this form.
 * @throws `malformed(…)` on names that are no header names, that come twice, and when `host` is not among them.
 */
export function parseSignedHeaders(text: string, malformed: Malformed): readonly string[] {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+)*$/.test(text)) throw malformed('the SignedHeaders are not well-formed.')
  const names = text.toLowerCase().split(';').sort()
  if (names.some((name, i) => name === names[i + 1])) throw malformed('a header is listed twice in the SignedHeaders.')
  if (!names.includes('host')) throw malformed('the host header must be signed.')
  return names
}

/** What `x-amz-content-sha256` declares about the body (AWS, "Signature calculations for the Authorization header"). */
export type ContentSha256 =
  | { readonly kind: 'hash'; readonly text: string }
  | { readonly kind: 'unsigned'; readonly text: string }
  | { readonly kind: 'streaming'; readonly text: string; readonly signed: boolean; readonly trailer: boolean }

const words: Readonly<Record<string, ContentSha256>> = {
  'UNSIGNED-PAYLOAD': { kind: 'unsigned', text: 'UNSIGNED-PAYLOAD' },
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER': { kind: 'streaming', text: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', signed: false, trailer: true },
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD': { kind: 'streaming', text: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', signed: true, trailer: false },
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER': {
    kind: 'streaming',
    text: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
    signed: true,
    trailer: true
  }
}
const legal = [
  'UNSIGNED-PAYLOAD',
  'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD',
  'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER'
]

/**
 * @throws S3Error InvalidArgument when the text is no legal word and not 64 lower-case hex digits; NotImplemented for
 * the chunk signatures of SigV4A.
 */
export function parseContentSha256(text: string): ContentSha256 {
  if (/^[0-9a-f]{64}$/.test(text)) return { kind: 'hash', text }
  const word = Object.hasOwn(words, text) ? words[text] : undefined
  if (word !== undefined) return word
  if (legal.includes(text)) {
    throw new S3Error('NotImplemented', { message: 'Signature Version 4A is not supported. Please use AWS4-HMAC-SHA256.' })
  }
  throw new S3Error('InvalidArgument', {
    message: `x-amz-content-sha256 must be ${legal.join(', ')} or a valid sha256 value.`,
    fields: { ArgumentName: 'x-amz-content-sha256', ArgumentValue: text.slice(0, 128) }
  })
}
