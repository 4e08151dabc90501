import { S3Error } from '../errors.ts'

/** One query parameter, decoded once. `value` is null where the raw query had no "=" (`?acl`). */
export interface QueryParameter {
  readonly name: string
  readonly value: string | null
  /** As received, still percent-encoded: signatures are computed over this. */
  readonly raw: string
}

/**
 * The request target, parsed once. Everything later (signature, routing, authorisation, the upstream request) uses this value; nothing decodes a
 * second time.
 */
export interface RequestTarget {
  /** The path as received, percent-encoding untouched, always starting with "/". */
  readonly rawPath: string
  readonly rawQuery: string
  readonly query: Query
}

export class Query {
  readonly parameters: readonly QueryParameter[]

  constructor(parameters: readonly QueryParameter[]) {
    this.parameters = parameters
  }

  has(name: string): boolean {
    return this.parameters.some((p) => p.name === name)
  }

  /**
   * The value of a parameter; '' for a bare name; undefined when absent.
   * @throws S3Error InvalidArgument when the parameter comes twice: two parsers could pick differently.
   */
  get(name: string): string | undefined {
    let found: QueryParameter | undefined
    for (const p of this.parameters) {
      if (p.name !== name) continue
      if (found !== undefined) {
        throw new S3Error('InvalidArgument', {
          message: 'A query parameter was given more than once.',
          fields: { ArgumentName: name }
        })
      }
      found = p
    }
    return found === undefined ? undefined : found.value ?? ''
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Percent-decodes once and requires UTF-8 (S3 keys are UTF-8, AWS "Creating object key names").
 * @throws S3Error InvalidURI on a bad escape or on bytes that are not UTF-8.
 */
export function percentDecode(raw: string): string {
  if (!raw.includes('%')) return raw
  if (/%(?![0-9a-fA-F]{2})/.test(raw)) throw new S3Error('InvalidURI')
  try {
    return utf8.decode(Buffer.from(raw.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))), 'latin1'))
  } catch (cause) {
    throw new S3Error('InvalidURI', { cause })
  }
}

const hexTable = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)

/**
 * Percent-encodes UTF-8 bytes as SigV4 canonicalises them: all but `A-Z a-z 0-9 - . _ ~`; "/" is kept for paths
 * (AWS "Create a signed request", UriEncode).
 */
export function percentEncode(text: string, options: { readonly keepSlash: boolean }): string {
  const safe = options.keepSlash ? /^[A-Za-z0-9\-._~/]*$/ : /^[A-Za-z0-9\-._~]*$/
  if (safe.test(text)) return text
  let out = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    const char = String.fromCharCode(byte)
    out += safe.test(char) ? char : hexTable[byte] ?? ''
  }
  return out
}

/** A request target as received, split and not decoded. */
interface RawTarget {
  /** `host` or `host:port` of an absolute-form target; null in origin form. */
  readonly authority: string | null
  readonly rawPath: string
  readonly rawQuery: string
}

/**
 * Splits the request target: origin form (`/path?query`) or absolute form (`http://host/path?query`, which a server must accept, RFC 9112 3.2.2).
 * Signatures are computed over path and query in both.
 * @throws S3Error InvalidURI for asterisk and authority form, other schemes than http and https, user information, fragments, control or non-ASCII
 * bytes.
 */
export function splitTarget(rawTarget: string): RawTarget {
  if (/[^\x21-\x7e]|#/.test(rawTarget)) throw new S3Error('InvalidURI')
  const absolute = rawTarget.startsWith('/') ? null : /^https?:\/\/([^/?\\@]+)((?:[/?].*)?)$/i.exec(rawTarget)
  if (absolute === null && !rawTarget.startsWith('/')) throw new S3Error('InvalidURI')
  const rest = absolute?.[2] ?? rawTarget
  const mark = rest.indexOf('?')
  const path = mark < 0 ? rest : rest.slice(0, mark)
  // An absolute form without a path means the root (RFC 9110 4.2.3).
  return { authority: absolute?.[1] ?? null, rawPath: path === '' ? '/' : path, rawQuery: mark < 0 ? '' : rest.slice(mark + 1) }
}

/**
 * Parses the request target as received. Its authority, which `admit` has compared with the Host header, is not part of the result.
 * @throws S3Error InvalidURI as `splitTarget`, and for bad escapes in the query.
 */
export function parseTarget(rawTarget: string): RequestTarget {
  const { rawPath, rawQuery } = splitTarget(rawTarget)
  return { rawPath, rawQuery, query: parseQuery(rawQuery) }
}

/** Splits on "&" and the first "="; "+" means a space in S3 queries (as AWS and Go's parser read it). */
export function parseQuery(rawQuery: string): Query {
  const parameters: QueryParameter[] = []
  for (const raw of rawQuery.split('&')) {
    if (raw === '') continue
    const equals = raw.indexOf('=')
    const name = equals < 0 ? raw : raw.slice(0, equals)
    const value = equals < 0 ? null : raw.slice(equals + 1)
    parameters.push({
      name: percentDecode(name.replaceAll('+', ' ')),
      value: value === null ? null : percentDecode(value.replaceAll('+', ' ')),
      raw
    })
  }
  return new Query(parameters)
}
