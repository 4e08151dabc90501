import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { isIP } from 'node:net'
import type { StoreEncryption } from '../config/config.ts'
import type { Header } from '../http/message.ts'
import type { UpstreamIdentity, UpstreamRequest } from './types.ts'
import type { IdentitySource, Signer, SigningRequest } from './signer.ts'
import { createChecksum, emptySha256, type ChecksumAlgorithm } from '../http/checksums.ts'
import { StagedReadable, type ByteStage } from '../http/stage.ts'
import {
  ChecksumTrailer,
  type ChecksumField,
  SignedChunks,
  signedChunksLength,
  signedChunksPayload,
  UnsignedChunks,
  unsignedChunksLength,
  unsignedChunksPayload
} from './aws-chunked-encoder.ts'
import { Finding, S3Error } from '../errors.ts'
import { percentEncode } from '../http/target.ts'

/** A request as it is sent. */
export interface WireRequest {
  /** With the query, percent-encoded. */
  readonly path: string
  /** Name, value, name, value, … */
  readonly headers: string[]
  readonly body: Buffer | Readable | null
  /** Bytes of `body`. */
  readonly contentLength: number
  /** The checksum sent with object data; null when there is none, and before the last byte of a stream. */
  readonly checksum: () => ChecksumField | null
}

const SSE = 'x-amz-server-side-encryption'

type Framing = Pick<WireRequest, 'body' | 'contentLength' | 'checksum'>

/** Signs requests and frames their bodies. */
export class RequestWriter {
  readonly #signer: Signer
  readonly #ownIdentity: IdentitySource
  readonly #signStreams: boolean
  readonly #storeEncryption: readonly Header[]

  /** @param sse the encryption requested from the store whenever a request creates an object or an upload */
  constructor(signer: Signer, ownIdentity: IdentitySource, signStreams: boolean, sse: StoreEncryption | null) {
    this.#storeEncryption = sse === null ? [] : storeEncryptionHeaders(sse)
    this.#signer = signer
    this.#ownIdentity = ownIdentity
    this.#signStreams = signStreams
  }

  /** @param body `request.body`, null where it turned out to be empty */
  async write(request: UpstreamRequest, body: Buffer | Readable | null, address: RequestAddress): Promise<WireRequest> {
    const path = address.query === '' ? address.path : `${address.path}?${address.query}`
    const identity = request.identity === undefined ? await this.#ownIdentity() : request.identity
    const { headers, framing } = identity === null
      ? { headers: { ...joined(request.headers), host: address.host }, framing: plain(request, body, null) }
      : await this.#signed(request, body, address, identity)
    return { path, ...framing, headers: flat(request.method, headers, framing) }
  }

  async #signed(
    request: UpstreamRequest,
    body: Buffer | Readable | null,
    address: RequestAddress,
    identity: UpstreamIdentity
  ): Promise<{ headers: Readonly<Record<string, string>>; framing: Framing }> {
    const headers = joined(this.#makesObject(request) ? [...request.headers, ...this.#storeEncryption] : request.headers)
    const target = { method: request.method, host: address.host, path: address.path, query: request.query, headers }
    const algorithm = request.checksum ?? null
    let field: ChecksumField | null = null
    if (body instanceof Readable) {
      if (this.#signStreams || algorithm !== null) return this.#chunked(target, body, request.contentLength, algorithm, identity)
    } else if (algorithm !== null) {
      field = checksumField(algorithm, body ?? Buffer.alloc(0))
      announce(headers, algorithm, ...field)
    } else if (body !== null && locks(headers)) {
      headers['content-md5'] ??= createHash('md5').update(body).digest('base64')
    }
    const signed = await this.#signer.sign({ ...target, payloadHash: payloadHash(body) }, identity)
    return { headers: signed.headers, framing: plain(request, body, field) }
  }

  /**
   * PutObject, CopyObject and CreateMultipartUpload: S3 accepts no such header with the parts of an upload. Encryption headers of the request itself
   * have precedence: they are the client's, for an object that is not sealed.
   */
  #makesObject({ method, key, query, headers }: UpstreamRequest): boolean {
    if (this.#storeEncryption.length === 0 || key === null || headers.some(([name]) => name.startsWith(SSE))) return false
    return (method === 'PUT' && query.length === 0) || (method === 'POST' && query.some(([name]) => name === 'uploads'))
  }

  /** A stream in chunks, signed where needed, followed by its checksum where there is one. */
  async #chunked(
    target: Target,
    body: Readable,
    length: number,
    algorithm: ChecksumAlgorithm | null,
    identity: UpstreamIdentity
  ): Promise<{ headers: Readonly<Record<string, string>>; framing: Framing }> {
    const { headers } = target
    const trailer = algorithm === null ? null : new ChecksumTrailer(algorithm)
    headers['x-amz-decoded-content-length'] = String(length)
    if (algorithm !== null) announce(headers, algorithm, 'x-amz-trailer', `x-amz-checksum-${algorithm}`)
    if (trailer !== null && !this.#signStreams) {
      const signed = await this.#signer.sign({ ...target, payloadHash: unsignedChunksPayload }, identity)
      return { headers: signed.headers, framing: framed(body, new UnsignedChunks(trailer, length), unsignedChunksLength(length, trailer), trailer) }
    }
    const { chunkScope, signature, headers: signed } = await this.#signer.sign({ ...target, payloadHash: signedChunksPayload(trailer) }, identity)
    const framer = new SignedChunks(chunkScope, signature, length, trailer)
    return { headers: signed, framing: framed(body, framer, signedChunksLength(length, trailer), trailer) }
  }
}

type Target = Omit<SigningRequest, 'payloadHash' | 'headers'> & { readonly headers: Record<string, string> }

/** As PutObject takes them (AWS API): the context is base64 of JSON. */
function storeEncryptionHeaders(sse: StoreEncryption): Header[] {
  if (sse === 'AES256') return [[SSE, 'AES256']]
  const headers: Header[] = [[SSE, 'aws:kms'], [`${SSE}-aws-kms-key-id`, sse.kms]]
  if (Object.keys(sse.context).length > 0) headers.push([`${SSE}-context`, Buffer.from(JSON.stringify(sse.context)).toString('base64')])
  if (sse.bucketKey) headers.push([`${SSE}-bucket-key-enabled`, 'true'])
  return headers
}

/** Where S3 demands a checksum it also demands the name of its algorithm (AWS API, PutObject); SDKs always send it. */
function announce(headers: Record<string, string>, algorithm: ChecksumAlgorithm, name: string, value: string): void {
  headers['x-amz-sdk-checksum-algorithm'] = algorithm.toUpperCase()
  headers[name] = value
}

/**
 * A retention or legal hold that goes with an object: S3 demands a digest of the body with it (AWS API, PutObject), and stores without
 * `x-amz-checksum-*`, as Backblaze B2, this one. A stream has its own behind it (`upstream.checksum`).
 */
function locks(headers: Readonly<Record<string, string>>): boolean {
  return Object.keys(headers).some((name) => name.startsWith('x-amz-object-lock-'))
}

function checksumField(algorithm: ChecksumAlgorithm, body: Buffer): ChecksumField {
  const checksum = createChecksum(algorithm)
  checksum.update(body)
  return [`x-amz-checksum-${algorithm}`, checksum.digest().toString('base64')]
}

function framed(body: Readable, framer: ByteStage, contentLength: number, trailer: ChecksumTrailer | null): Framing {
  return { body: new StagedReadable(body, [framer], { destroySource: true }), contentLength, checksum: () => trailer?.field ?? null }
}

function plain(request: UpstreamRequest, body: Buffer | Readable | null, checksum: ChecksumField | null): Framing {
  return { body, contentLength: body === null ? 0 : request.contentLength, checksum: () => checksum }
}

/** S3 joins repeated fields with ","; sent joined, they are what the signer sees. */
function joined(headers: UpstreamRequest['headers']): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of headers) {
    const before = out[name]
    out[name] = before === undefined ? value : `${before},${value}`
  }
  return out
}

function payloadHash(body: Buffer | Readable | null): string {
  if (body === null) return emptySha256
  return Buffer.isBuffer(body) ? createHash('sha256').update(body).digest('hex') : 'UNSIGNED-PAYLOAD'
}

/** undici's flat header list, with the unsigned headers: framing, and the request for bytes as they are stored. */
function flat(method: string, headers: Readonly<Record<string, string>>, framing: Framing): string[] {
  const out: string[] = []
  for (const [name, value] of Object.entries(headers)) out.push(name, value)
  if (framing.body !== null) out.push('content-length', String(framing.contentLength))
  if (method === 'GET' || method === 'HEAD') out.push('accept-encoding', 'identity')
  return out
}

/**
 * Waits until a stream has its first byte, or has ended without one, before a connection is used for it. A source that fails at once then never
 * reaches the store. A source that ends empty against its declared length cannot become a complete, empty message, which undici would send for it.
 * @returns the stream, or null when there is nothing to send
 * @throws S3Error InternalError when the stream has another length than declared, as far as that is known here; the stream's own error
 */
export async function awaitFirstByte(body: Readable, contentLength: number): Promise<Readable | null> {
  await firstByteOrEnd(body)
  const empty = body.readableLength === 0
  if (empty === (contentLength === 0)) return empty ? null : body
  const error = new S3Error('InternalError', { cause: new Finding(`body of another length than the declared ${contentLength}`) })
  body.destroy(error)
  throw error
}

async function firstByteOrEnd(body: Readable): Promise<void> {
  // Later failures reach the exchange; without a listener in between they would end the process.
  body.on('error', () => undefined)
  if (body.errored !== null) throw body.errored
  if (body.readableEnded || body.readableLength > 0) return
  const { promise, resolve, reject } = Promise.withResolvers<undefined>()
  const onReadable = () => {
    // "readable" also announces the end; read(0) makes an empty stream emit "end".
    if (body.readableLength > 0) resolve(undefined)
    else body.read(0)
  }
  const onEnd = () => {
    resolve(undefined)
  }
  const onClose = () => {
    reject(body.errored ?? new S3Error('IncompleteBody'))
  }
  body.on('readable', onReadable).on('end', onEnd).on('error', reject).on('close', onClose)
  try {
    await promise
  } finally {
    body.off('readable', onReadable).off('end', onEnd).off('error', reject).off('close', onClose)
  }
}

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
