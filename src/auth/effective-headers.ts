import { S3Error } from '../errors.ts'
import type { HeaderList } from '../http/message.ts'
import type { Query } from '../http/target.ts'
import { isPresignParameter } from '../sigv4/presigned.ts'

/** Fields that must have one value: of two, parsers could pick different ones. */
const single = new Set(['authorization', 'content-length', 'content-md5', 'content-type', 'date', 'host', 'range'])
/** Of the x-amz fields only these are lists, or merged by S3 itself. */
const repeatable = /^x-amz-(?:meta-|grant-|object-attributes$|optional-object-attributes$)/

/** @throws S3Error InvalidRequest when a field that can have one value only comes twice. */
export function refuseRepeatedFields(headers: HeaderList): void {
  for (const name of headers.repeatedNames()) {
    if (single.has(name) || (name.startsWith('x-amz-') && !repeatable.test(name))) {
      throw new S3Error('InvalidRequest', { message: `The header field ${name} was given more than once.` })
    }
  }
}

/**
 * Checksums hoisted into a presigned query do not describe the body: the SDK for JavaScript puts the CRC of an empty body there. Lengths and trailers
 * of a framing that presigned requests cannot have are ignored as well.
 */
const notHoisted = /^x-amz-(?:checksum-(?!mode$|algorithm$|type$)|sdk-checksum-algorithm$|trailer$|decoded-content-length$)/

/**
 * `x-amz-…` parameters of a presigned query, which S3 reads as headers: names in lower case, values as bytes.
 * @param also further lower-case names taken over (V2 puts Content-Type and Content-MD5 in the query).
 * @throws S3Error InvalidArgument when a parameter comes twice or cannot be a header (control characters would split the
 * header block of the request upstream).
 */
export function hoistedHeaders(query: Query, also: readonly string[] = []): ReadonlyMap<string, string> {
  const hoisted = new Map<string, string>()
  for (const p of query.parameters) {
    const name = p.name.toLowerCase()
    if (!(name.startsWith('x-amz-') || also.includes(name)) || isPresignParameter(name) || notHoisted.test(name)) continue
    const value = headerValue(p.value ?? '')
    if (hoisted.has(name) || value === null || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
      throw new S3Error('InvalidArgument', { message: 'A query parameter cannot be used as a header.', fields: { ArgumentName: p.name.slice(0, 128) } })
    }
    hoisted.set(name, value)
  }
  return hoisted
}

/** Text as header bytes (one latin1 character per UTF-8 byte); null when it has characters a header cannot carry. */
export function headerValue(text: string): string | null {
  // Everything below space except tab, and DEL: RFC 9110 5.5.
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(text)) return null
  return Buffer.from(text, 'utf8').toString('latin1')
}

const signatureFields = new Set(['authorization', 'x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token'])

/**
 * The headers as S3 sees them: received and hoisted, without credentials and fields of the signature.
 * @throws S3Error InvalidRequest when a header comes both ways with different values.
 */
export function effectiveHeaders(headers: HeaderList, hoisted: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const effective = new Map<string, string>()
  for (const name of headers.names()) {
    if (!signatureFields.has(name)) effective.set(name, headers.get(name) ?? '')
  }
  for (const [name, value] of hoisted) {
    const received = effective.get(name)
    if (received !== undefined && received !== value) {
      throw new S3Error('InvalidRequest', { message: `The header field ${name} and the query parameter of that name differ.` })
    }
    effective.set(name, value)
  }
  return effective
}
