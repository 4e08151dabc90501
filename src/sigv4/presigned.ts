import type { Query } from '../http/target.ts'
import { S3Error } from '../errors.ts'
import { algorithmV4, algorithmV4A, sigV4aRefused, type SignatureClaim, parseCredential, parseSignedHeaders, type Malformed } from './claims.ts'
import { parseIsoBasic } from './date.ts'

/** A presigned query, parsed. `X-Amz-Security-Token` and `X-Amz-Content-Sha256` are optional and null when absent. */
export interface PresignedClaim extends SignatureClaim {
  readonly date: Date
  /** As in the query: a line of the string to sign. */
  readonly timestamp: string
  readonly expiresSeconds: number
  readonly securityToken: string | null
  readonly contentSha256: string | null
}

const required = ['X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Signature', 'X-Amz-Date', 'X-Amz-SignedHeaders', 'X-Amz-Expires'] as const
const spelling = new Map([...required, 'X-Amz-Security-Token', 'X-Amz-Content-Sha256'].map((name) => [name.toLowerCase(), name]))
const maxExpiresSeconds = 604_800

/**
 * Whether the query carries SigV4 credentials. Any one parameter of the set counts, in any case: a credential is either valid or refused, never
 * ignored.
 */
export function hasPresignedCredential(query: Query): boolean {
  return query.parameters.some((p) => /^x-amz-(?:algorithm|credential|date|expires|signedheaders|signature)$/i.test(p.name))
}

/** @param lowerName lower-case parameter name. @returns whether it belongs to the signature and is not a hoisted header. */
export function isPresignParameter(lowerName: string): boolean {
  return spelling.has(lowerName)
}

const malformedQuery: Malformed = (message, fields) =>
  new S3Error('AuthorizationQueryParametersError', {
    message,
    ...(fields === undefined ? {} : { fields })
  })
const malformedCredential: Malformed = (message, fields) => malformedQuery(`Error parsing the X-Amz-Credential parameter; ${message}`, fields)

/**
 * @throws S3Error AuthorizationQueryParametersError for anything missing, repeated or malformed, and for an `X-Amz-Expires` outside
 * 0 … 604,800 seconds; NotImplemented for SigV4A.
 */
export function parsePresigned(query: Query, regions: readonly string[]): PresignedClaim {
  const found = new Map<string, string>()
  for (const p of query.parameters) {
    const name = spelling.get(p.name.toLowerCase())
    if (name === undefined) continue
    // Signers that move headers into the query keep the caller's case of the optional two.
    const wellSpelt = name === p.name || !required.some((r) => r === name)
    if (!wellSpelt || found.has(name)) throw malformedQuery(`The query parameter ${name} must be spelled so and be given once.`)
    found.set(name, p.value ?? '')
  }
  const need = (name: typeof required[number]): string => {
    const value = found.get(name)
    if (value === undefined || value === '') {
      throw malformedQuery(`Query-string authentication version 4 requires the ${required.slice(0, -1).join(', ')}, and ${required.at(-1) ?? ''} parameters.`)
    }
    return value
  }
  const algorithm = need('X-Amz-Algorithm')
  if (algorithm === algorithmV4A) throw sigV4aRefused()
  if (algorithm !== algorithmV4) throw malformedQuery(`X-Amz-Algorithm only supports "${algorithmV4}"`)
  const credential = parseCredential(need('X-Amz-Credential'), regions, malformedCredential)
  const timestamp = need('X-Amz-Date')
  const date = parseIsoBasic(timestamp)
  if (date === undefined) throw malformedQuery('X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd\'T\'HHmmss\'Z\'"')
  if (!timestamp.startsWith(credential.date)) {
    throw malformedQuery(`Invalid credential date "${credential.date}". This date is not the same as X-Amz-Date: "${timestamp.slice(0, 8)}".`)
  }
  return {
    credential,
    signedHeaders: parseSignedHeaders(need('X-Amz-SignedHeaders'), malformedQuery),
    signature: need('X-Amz-Signature'),
    date,
    timestamp,
    expiresSeconds: parseExpires(need('X-Amz-Expires')),
    securityToken: found.get('X-Amz-Security-Token') ?? null,
    contentSha256: found.get('X-Amz-Content-Sha256') ?? null
  }
}

function parseExpires(text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw malformedQuery('X-Amz-Expires should be a number')
  const seconds = Number(text)
  if (seconds < 0) throw malformedQuery('X-Amz-Expires must be non-negative')
  if (seconds > maxExpiresSeconds) {
    throw malformedQuery('X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds')
  }
  return seconds
}
