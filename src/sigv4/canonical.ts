// Signature Version 4 and 2 as functions of text: canonical requests here, the string to sign and keys in signing.ts, credentials and times in
// claims.ts, date.ts and presigned.ts, form policies in post-policy.ts, Version 2 in v2.ts.
// Nothing here decides whether a request is accepted: `auth` does.
import type { HeaderList } from '../http/message.ts'
import { percentDecode, percentEncode, type Query, type RequestTarget } from '../http/target.ts'

/** The parts of a request that a signature covers. */
export interface SignableRequest {
  readonly method: string
  readonly target: RequestTarget
  readonly headers: HeaderList
  readonly host: string
}

// Text that strict re-encoding would not change: unreserved characters, and upper-case escapes of others ("/" stays bare in paths, so its escape is
// not canonical there). Nearly all requests match, and need no decoding.
const escapedOther = '%(?!2D|2E|3\\d|4[1-9A-F]|5[\\dA]|5F|6[1-9A-F]|7[\\dA]|7E)[\\dA-F]{2}'
const canonicalPathText = new RegExp(`^(?:[A-Za-z0-9\\-._~/]|(?!%2F)${escapedOther})*$`)
const canonicalQueryText = new RegExp(`^(?:[A-Za-z0-9\\-._~]|${escapedOther})*$`)

/** The path, decoded and encoded again as AWS does: once, without touching `.`, `..` or `//`, which are parts of keys. */
export function canonicalPath(rawPath: string): string {
  return canonicalPathText.test(rawPath) ? rawPath : percentEncode(percentDecode(rawPath), { keepSlash: true })
}

/**
 * Parameters sorted by encoded name, then value; `?acl` counts as `acl=`.
 * @param without decoded name of the one parameter left out (`X-Amz-Signature`), or null.
 */
function canonicalQuery(query: Query, without: string | null): string {
  return joinSorted(query, without, (name, value, raw) => {
    const equals = raw.indexOf('=')
    const rawName = equals < 0 ? raw : raw.slice(0, equals)
    const rawValue = equals < 0 ? '' : raw.slice(equals + 1)
    return [
      canonicalQueryText.test(rawName) ? rawName : percentEncode(name, { keepSlash: false }),
      canonicalQueryText.test(rawValue) ? rawValue : percentEncode(value, { keepSlash: false })
    ]
  })
}

/** As `canonicalQuery`, from the text as received: some clients sign without decoding or encoding. */
function rawQuerySorted(query: Query, without: string | null): string {
  return joinSorted(query, without, (_name, _value, raw) => {
    const equals = raw.indexOf('=')
    return equals < 0 ? [raw, ''] : [raw.slice(0, equals), raw.slice(equals + 1)]
  })
}

type Spell = (name: string, value: string, raw: string) => readonly [name: string, value: string]

function joinSorted(query: Query, without: string | null, spell: Spell): string {
  const pairs: (readonly [string, string])[] = []
  for (const p of query.parameters) {
    if (p.name !== without) pairs.push(spell(p.name, p.value ?? '', p.raw))
  }
  if (pairs.length > 1) pairs.sort((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
  let out = ''
  for (const [name, value] of pairs) out += `${out === '' ? '' : '&'}${name}=${value}`
  return out
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/**
 * A header value in SigV4's form: no outer white space, inner runs as one space. Only space and tab are white space: header values are bytes here,
 * and String.trim would remove the byte A0 of a UTF-8 sequence.
 */
function canonicalHeaderValue(value: string): string {
  if (!/^[ \t]|[ \t]$|\t|  /.test(value)) return value
  return value.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '')
}

/** `name:value\n` for each signed header; repeated fields joined with "," in the order received. */
function canonicalHeaders(request: SignableRequest, signedHeaders: readonly string[]): string {
  let out = ''
  for (const name of signedHeaders) {
    if (name === 'host') {
      out += `host:${canonicalHeaderValue(request.host)}\n`
      continue
    }
    const values = request.headers.all(name)
    const [first] = values
    out += `${name}:${values.length === 1 && first !== undefined ? canonicalHeaderValue(first) : values.map(canonicalHeaderValue).join(',')}\n`
  }
  return out
}

/**
 * The canonical requests that this request may have been signed as, likeliest first; lazily, because the first nearly always matches.
 * The first has path and query decoded and strictly encoded again, as AWS verifies them. The second has them as received: some clients (old SDKs,
 * curl, browsers that turn `%21` into `!`) leave reserved characters bare in the request and sign the bare text. Accepting both forms is safe: either
 * text decodes to the same bucket, key and parameters as the request does.
 * @param withoutParameter `X-Amz-Signature` for presigned queries, else null.
 */
export function* canonicalRequests(
  request: SignableRequest,
  signedHeaders: readonly string[],
  payloadHash: string,
  withoutParameter: string | null
): Generator<string, undefined> {
  const { rawPath, query } = request.target
  const tail = `${canonicalHeaders(request, signedHeaders)}\n${signedHeaders.join(';')}\n${payloadHash}`
  const path = canonicalPath(rawPath)
  const queryText = canonicalQuery(query, withoutParameter)
  yield `${request.method}\n${path}\n${queryText}\n${tail}`
  const rawQuery = rawQuerySorted(query, withoutParameter)
  if (rawPath !== path) yield `${request.method}\n${rawPath}\n${queryText}\n${tail}`
  if (rawQuery !== queryText) yield `${request.method}\n${path}\n${rawQuery}\n${tail}`
  if (rawPath !== path && rawQuery !== queryText) yield `${request.method}\n${rawPath}\n${rawQuery}\n${tail}`
}
