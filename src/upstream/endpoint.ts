import { isIP } from 'node:net'
import { S3Error } from '../errors.ts'
import { percentEncode } from '../http/target.ts'

type AddressStyle = 'path' | 'virtual-host'

/** Where a request goes, already percent-encoded. */
export interface RequestAddress {
  /** Scheme, host and port to connect to. */
  readonly origin: string
  /** Host header: with the port only where it is not the scheme's default (RFC 9110 7.2). */
  readonly host: string
  readonly path: string
  /** Without "?"; '' when there are no parameters. */
  readonly query: string
}

/** The part of a request that decides its address; key and parameters decoded. */
interface RequestPlace {
  readonly bucket: string | null
  readonly key: string | null
  readonly query: readonly (readonly [name: string, value: string | null])[]
}

/**
 * Reads `upstream.endpoint`.
 * @throws Error naming the setting: not http(s), or with a path, query, fragment or credentials. A base path would have to be signed here and
 * stripped by an unknown front end.
 */
export function parseEndpoint(endpoint: string, style: AddressStyle): URL {
  if (!URL.canParse(endpoint)) throw new Error('upstream.endpoint is not a URL')
  const url = new URL(endpoint)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Error('upstream.endpoint must be an http or https URL')
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') throw new Error('upstream.endpoint must have no path, query or fragment')
  if (url.username !== '' || url.password !== '') throw new Error('upstream.endpoint must not carry credentials')
  if (style === 'virtual-host' && isIP(bareHost(url)) !== 0) throw new Error('upstream.style virtual-host needs a host name in upstream.endpoint')
  return url
}

/** True where no byte leaves the machine, so that an unsigned body cannot be changed on its way. */
export function isLoopback(endpoint: URL): boolean {
  const host = bareHost(endpoint)
  return host === 'localhost' || host.endsWith('.localhost') || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/**
 * Encodes bucket, key and parameters as the signer canonicalises them, so that what is sent is what was signed. Dot
 * segments and double slashes of a key are kept: S3 does not normalise paths (AWS "Create a signed request").
 * @throws S3Error InvalidBucketName for upper case in a host: hosts compare without case (RFC 9110 4.2.3), so the store would take
 * it for another bucket than the one whose policy and permissions were looked up.
 */
export function requestAddress(endpoint: URL, style: AddressStyle, place: RequestPlace): RequestAddress {
  const key = place.key === null ? '' : percentEncode(place.key, { keepSlash: true })
  const query = place.query.map(([name, value]) => {
    const encoded = percentEncode(name, { keepSlash: false })
    return value === null ? encoded : `${encoded}=${percentEncode(value, { keepSlash: false })}`
  }).join('&')
  if (place.bucket === null) return { origin: endpoint.origin, host: endpoint.host, path: '/', query }
  const bucket = percentEncode(place.bucket, { keepSlash: false })
  if (style === 'path') {
    return { origin: endpoint.origin, host: endpoint.host, path: place.key === null ? `/${bucket}` : `/${bucket}/${key}`, query }
  }
  if (/[A-Z]/.test(place.bucket)) throw new S3Error('InvalidBucketName', { fields: { BucketName: place.bucket } })
  const host = `${bucket}.${endpoint.host}`
  return { origin: `${endpoint.protocol}//${host}`, host, path: `/${key}`, query }
}

function bareHost(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}
