import type { S3Error } from '../errors.ts'

/** `<access key id>/<YYYYMMDD>/<region>/s3/aws4_request`, taken apart. */
export interface ScopedCredential {
  readonly accessKeyId: string
  /** YYYYMMDD, UTC. */
  readonly date: string
  readonly region: string
  /** Everything after the access key id: a line of the string to sign. */
  readonly scope: string
}

/**
 * Clients of stores other than AWS sign with whatever stands for a region: `*`, `auto`, the host (git-annex: `127.0.0.1`), with a port.
 * So a region is any text that no reader of the scope can take apart: printable ASCII without "/" and ",", as long as a DNS name with
 * a port can be (RFC 1035 2.3.4: 253 characters).
 */
const regionText = /^[\x21-\x2b\x2d\x2e\x30-\x7e]{1,259}$/

/** Makes the error of the place the credential stood in: header, query and form have different codes. */
export type Malformed = (message: string, fields?: Readonly<Record<string, string>>) => S3Error

/**
 * @param regions accepted; empty accepts every region, because S3 clients of other stores are told to name any.
 * @throws `malformed(…)` on any deviation, with `Region` when only the region is wrong (clients correct themselves by it).
 */
export function parseCredential(text: string, regions: readonly string[], malformed: Malformed): ScopedCredential {
  const parts = text.split('/')
  const [terminal, service, region, date] = [parts.pop(), parts.pop(), parts.pop(), parts.pop()]
  // Stores other than AWS allow "/" in access key ids, so the scope is counted from the end.
  const accessKeyId = parts.join('/')
  if (date === undefined || region === undefined || accessKeyId === '' || accessKeyId.length > 128) {
    throw malformed('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
  }
  if (!/^\d{8}$/.test(date)) throw malformed('incorrect date format. This date in the credential must be in the format "yyyyMMdd".')
  if (terminal !== 'aws4_request') throw malformed('incorrect terminal. This endpoint uses "aws4_request".')
  if (service !== 's3') throw malformed('incorrect service. This endpoint belongs to "s3".')
  if (!regionText.test(region)) throw malformed('the region is missing or not well-formed.')
  const expected = regions[0]
  if (expected !== undefined && !regions.includes(region)) {
    throw malformed(`the region '${region}' is wrong; expecting '${expected}'`, { Region: expected })
  }
  return { accessKeyId, date, region, scope: `${date}/${region}/s3/aws4_request` }
}

/**
 * Names in SignedHeaders, lower case and sorted: clients that list them otherwise still sign them so.
 * @throws `malformed(…)` on names that are no header names, that come twice, and when `host` is not among them.
 */
export function parseSignedHeaders(text: string, malformed: Malformed): readonly string[] {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+)*$/.test(text)) throw malformed('the SignedHeaders are not well-formed.')
  const names = text.toLowerCase().split(';').sort()
  if (names.some((name, i) => name === names[i + 1])) throw malformed('a header is listed twice in the SignedHeaders.')
  if (!names.includes('host')) throw malformed('the host header must be signed.')
  return names
}
