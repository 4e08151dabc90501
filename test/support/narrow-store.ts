// A store with less than all of S3: a server in front of any S3 store that verifies each request as the provider would, refuses or bends what
// the provider does, and sends the rest on, signed anew by the signer of the tests. The switches are `Limits`; those of known providers are
// in narrow-profiles.ts.
import { createHash } from 'node:crypto'
import dns from 'node:dns'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Agent, request as send, type IncomingMessage, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { errorAnswer } from '../../src/embedded-store/request.ts'
import { closeServer, createStoreServer, listen, sendAnswer } from '../../src/embedded-store/server.ts'
import { SignatureCheck } from '../../src/embedded-store/verify.ts'
import { S3Error } from '../../src/errors.ts'
import { HeaderList, type Header, type HttpRequest, type HttpResponse } from '../../src/http/message.ts'
import { route, type Operation } from '../../src/s3/route.ts'
import type { OperationName } from '../../src/s3/operations.ts'
import { resetConnection } from './faults.ts'
import { signHeader } from './signing.ts'
import type { StoreAccess } from './gateway.ts'

/** How a store says no. */
export interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
}

/** What operations need. A store that lacks one refuses them. */
const featureOperations = {
  acl: ['GetObjectAcl', 'PutObjectAcl', 'GetBucketAcl', 'PutBucketAcl'],
  attributes: ['GetObjectAttributes'],
  cors: ['GetBucketCors', 'PutBucketCors', 'DeleteBucketCors', 'Preflight'],
  encryption: ['GetBucketEncryption', 'PutBucketEncryption', 'DeleteBucketEncryption'],
  forms: ['PostObject'],
  lifecycle: ['GetBucketLifecycleConfiguration', 'PutBucketLifecycleConfiguration', 'DeleteBucketLifecycle'],
  listV2: ['ListObjectsV2'],
  lock: [
    'GetObjectLegalHold',
    'PutObjectLegalHold',
    'GetObjectRetention',
    'PutObjectRetention',
    'GetObjectLockConfiguration',
    'PutObjectLockConfiguration'
  ],
  multiDelete: ['DeleteObjects'],
  partCopy: ['UploadPartCopy'],
  policy: ['GetBucketPolicy', 'PutBucketPolicy', 'DeleteBucketPolicy', 'GetBucketPolicyStatus'],
  tagging: ['GetObjectTagging', 'PutObjectTagging', 'DeleteObjectTagging', 'GetBucketTagging', 'PutBucketTagging', 'DeleteBucketTagging'],
  versioning: ['GetBucketVersioning', 'PutBucketVersioning', 'ListObjectVersions'],
  website: ['GetBucketWebsite', 'PutBucketWebsite', 'DeleteBucketWebsite']
} as const satisfies Record<string, readonly OperationName[]>

type Feature = keyof typeof featureOperations

/** Headers that are the request form of a feature. */
const featureHeaders: Readonly<Partial<Record<Feature, RegExp>>> = {
  acl: /^x-amz-(acl|grant-.*)$/,
  lock: /^x-amz-(object-lock-.*|bypass-governance-retention)$/,
  tagging: /^x-amz-tagging(-directive)?$/
}

/** Writes that a condition can stand on. */
type Conditional = 'PutObject' | 'CompleteMultipartUpload' | 'CopyObject' | 'DeleteObject'

/** One switch per limit; what is not named is as in S3. */
export interface Limits {
  /** Operations and headers that the store does not have. */
  readonly lacks?: readonly Feature[]
  /** How it says that; `{}` in the message is the operation or the header. Default: 501 NotImplemented, as R2 words it. */
  readonly lacking?: Refusal
  /** Bodies in aws-chunked. */
  readonly chunkedBodies?: Refusal
  /** Checksums behind a body (`x-amz-trailer`). */
  readonly trailers?: Refusal
  /** `x-amz-checksum-*` and `x-amz-sdk-checksum-algorithm` in front of it. */
  readonly checksums?: Refusal
  /** An `x-amz-tagging` that holds nothing. */
  readonly emptyTagging?: Refusal
  /** Any other `x-amz-*` header of a request is refused with 501; `x-amz-meta-*` and those of the signature are known to all. */
  readonly knownHeaders?: RegExp
  /** Operations that must come with Content-MD5, and how their lack is said. */
  readonly contentMd5?: { readonly of: readonly OperationName[]; readonly withLock?: boolean; readonly refusal: Refusal }
  /** The highest part number. */
  readonly maxParts?: number
  /** All parts but the last have one size, and the last is not larger: checked by Complete. */
  readonly equalParts?: boolean
  /** `ignored`: the header does not reach the store; else how they are refused. Per write; default: enforced. */
  readonly conditions?: Readonly<Partial<Record<Conditional, 'ignored' | Refusal>>>
  /** Errors are HTML: `refused`: those of the front end, which are what is refused here and all from 500 on; `all`. */
  readonly htmlErrors?: 'refused' | 'all'
  /** Answers to HEAD have no Content-Length; `compressible`: unless the request has `Accept-Encoding: identity`. */
  readonly headWithoutLength?: 'always' | 'compressible'
  /** What a front end adds to Accept-Encoding before the signature is verified. */
  readonly acceptEncoding?: string
  /** Milliseconds after an answer at which the connection is closed without a word. */
  readonly idleMs?: number
  /**
   * ListObjectsV2: `noToken`: an answer that goes on names no token; `asV1`: `list-type` is not looked at.
   */
  readonly listV2?: 'noToken' | 'asV1'
  /** Bytes of names and values of user metadata. */
  readonly metadataBytes?: number
  /** `x-amz-server-side-encryption*`: how it is refused, or what every new object must ask for. */
  readonly sse?: Refusal | { readonly demanded: string }
  /** The word that requests are signed for. Default: the store's. */
  readonly region?: string
  /** `virtual-host`: the bucket must be in the name of the host, under `localhost`. Default: path style only. */
  readonly style?: 'path' | 'virtual-host'
}

/** Alibaba Cloud OSS, to requests that name the bucket in the path (seaweedfs/seaweedfs#6466). */
const pathStyle: Refusal = {
  status: 403,
  code: 'SecondLevelDomainForbidden',
  message: 'Please use virtual hosted style to access.'
}

export const notImplemented: Refusal = {
  status: 501,
  code: 'NotImplemented',
  message: 'A header you provided implies functionality that is not implemented.'
}

const { lookup } = dns

/** A `dns.lookup` for stores in virtual-host style: BUCKET.localhost is this machine, which not every resolver knows (RFC 6761, 6.3). */
export const lookupBuckets = ((name: string, ...rest: unknown[]) => {
  Reflect.apply(lookup, dns, [name.endsWith('.localhost') ? 'localhost' : name, ...rest])
}) as typeof lookup

export interface NarrowStore extends StoreAccess {
  /** What was refused, in the order of the requests: the operation and the code. */
  readonly refused: readonly string[]
  close(): Promise<void>
}

/** Starts the store on a free port of 127.0.0.1. It signs for the store behind it with the credentials it demands itself. */
export async function startNarrowStore(store: StoreAccess, limits: Limits): Promise<NarrowStore> {
  const refused: string[] = []
  const front = new Front(store, limits, refused)
  const server = createStoreServer((request, response) => front.serve(request, response))
  // On a busy machine a client would meet connections that are just being closed.
  server.keepAliveTimeout = 60_000
  const endpoint = await listen(server, '127.0.0.1', 0)
  return {
    endpoint: limits.style === 'virtual-host' ? endpoint.replace('127.0.0.1', 'localhost') : endpoint,
    region: limits.region ?? store.region,
    accessKeyId: store.accessKeyId,
    secretAccessKey: store.secretAccessKey,
    ...limits.conditions === undefined && store.conditions !== undefined ? { conditions: store.conditions } : {},
    refused,
    close: async () => {
      front.close()
      await closeServer(server)
    }
  }
}

/** A request with what is needed to decide on it. */
interface Asked {
  readonly http: HttpRequest
  /** null: one that S3 does not have. */
  readonly operation: Operation | null
  readonly headers: HeaderList
}

/** A document that had to be read. */
type Body = Buffer | IncomingMessage

const ofConnection: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding', 'expect', 'te', 'upgrade'])
const ofSignature: ReadonlySet<string> = new Set(['authorization', 'x-amz-date', 'x-amz-content-sha256', 'host', 'content-length'])
const checksumHeader = /^x-amz-(checksum-|sdk-checksum-)/
const MOST_DOCUMENT = 8 * 1024 * 1024

class Front {
  readonly #store: StoreAccess
  readonly #limits: Limits
  readonly #refused: string[]
  readonly #check: SignatureCheck
  readonly #agent = new Agent({ keepAlive: true })
  /** Sizes of the parts of uploads, by upload id. */
  readonly #parts = new Map<string, Map<number, number>>()

  constructor(store: StoreAccess, limits: Limits, refused: string[]) {
    this.#store = store
    this.#limits = limits
    this.#refused = refused
    this.#check = new SignatureCheck([store], limits.region ?? store.region)
  }

  close(): void {
    this.#agent.destroy()
  }

  async serve(http: HttpRequest, response: ServerResponse): Promise<void> {
    http.sendContinue()
    const { socket } = response
    // Said of the connection, so that nothing is said of how long it is kept.
    response.setHeader('Connection', 'keep-alive')
    let name = http.method
    try {
      this.#verify(http)
      const asked = { http, operation: operationOf(http, this.#limits), headers: http.headers }
      name = asked.operation?.name ?? http.method
      this.#refuse(asked)
      const body = await this.#checkDocument(asked)
      await this.#forward(asked, body, response)
    } catch (error) {
      if (!(error instanceof S3Error)) {
        resetConnection(socket)
        return
      }
      this.#refused.push(`${name} ${error.code}`)
      await sendAnswer(response, http, this.#shown(errorAnswer(error, http), http, 'refused'))
    }
    const { idleMs } = this.#limits
    if (idleMs !== undefined) closeWhenIdle(socket, idleMs)
  }

  /** As the store sees the request, that is after its front end has been at it. */
  #verify(http: HttpRequest): void {
    const { acceptEncoding } = this.#limits
    const headers = acceptEncoding === undefined ? http.headers : new HeaderList(
      http.headers.entries.map(([name, value]): Header => name.toLowerCase() === 'accept-encoding' ? [name, `${value},${acceptEncoding}`] : [name, value])
    )
    if (!http.headers.has('authorization')) return
    this.#check.verify({ ...http, headers }, Date.now())
  }

  #refuse({ http, operation, headers }: Asked): void {
    const limits = this.#limits
    if (limits.style === 'virtual-host' && /^localhost(?::\d+)?$/.test(http.host) && http.target.rawPath !== '/') throw refusal(pathStyle)
    const names = [...headers.names()]
    const lacking = limits.lacking ?? { ...notImplemented, message: '{} not implemented' }
    for (const feature of limits.lacks ?? []) {
      const operations: readonly OperationName[] = featureOperations[feature]
      if (operation !== null && operations.includes(operation.name)) throw refusal(lacking, operation.name)
      const header = names.find((name) => featureHeaders[feature]?.test(name) === true)
      if (header !== undefined) throw refusal(lacking, header)
    }
    if (limits.chunkedBodies !== undefined && headers.get('x-amz-content-sha256')?.startsWith('STREAMING-') === true) throw refusal(limits.chunkedBodies)
    if (limits.trailers !== undefined && headers.has('x-amz-trailer')) throw refusal(limits.trailers)
    if (limits.checksums !== undefined && names.some((name) => checksumHeader.test(name))) {
      throw refusal(limits.checksums, names.find((name) => checksumHeader.test(name)))
    }
    if (limits.emptyTagging !== undefined && headers.get('x-amz-tagging') === '') throw refusal(limits.emptyTagging)
    const known = limits.knownHeaders
    const unknown = known === undefined ? undefined : names.find((name) => /^x-amz-(?!meta-|date$|content-sha256$|user-agent$)/.test(name) && !known.test(name))
    if (unknown !== undefined) {
      throw refusal({ ...notImplemented, message: 'Header {} not implemented' }, unknown)
    }
    this.#refuseWrite({ http, operation, headers })
  }

  #refuseWrite({ operation, headers }: Asked): void {
    const { contentMd5, maxParts, sse, metadataBytes, conditions } = this.#limits
    if (operation === null) return
    const locked = contentMd5?.withLock === true && [...headers.names()].some((name) => name.startsWith('x-amz-object-lock-'))
    if (contentMd5 !== undefined && (contentMd5.of.includes(operation.name) || locked) && !headers.has('content-md5')) throw refusal(contentMd5.refusal)
    const part = Number(operation.query.get('partNumber') ?? '0')
    if (maxParts !== undefined && part > maxParts) {
      throw refusal({ status: 400, code: 'InvalidArgument', message: `Part number must be an integer between 1 and ${maxParts}, inclusive` })
    }
    const wanted = headers.get('x-amz-server-side-encryption')
    if (sse !== undefined && 'code' in sse && [...headers.names()].some((name) => name.startsWith('x-amz-server-side-encryption'))) throw refusal(sse)
    const makes = ['PutObject', 'CopyObject', 'CreateMultipartUpload'].includes(operation.name)
    if (sse !== undefined && 'demanded' in sse && makes && wanted !== sse.demanded) {
      throw refusal({ status: 403, code: 'AccessDenied', message: 'Access Denied' })
    }
    if (metadataBytes !== undefined && metadataSize(headers) > metadataBytes) {
      throw refusal({ status: 400, code: 'MetadataTooLarge', message: 'Your metadata headers exceed the maximum allowed metadata size' })
    }
    const condition = conditionsOf(conditions, operation)
    if (condition !== undefined && condition !== 'ignored' && (headers.has('if-match') || headers.has('if-none-match'))) throw refusal(condition)
  }

  /** Reads the part list of a Complete where it decides something. */
  async #checkDocument({ http, operation }: Asked): Promise<Body> {
    const body = http.body as IncomingMessage
    if (this.#limits.equalParts !== true || operation?.name !== 'CompleteMultipartUpload') return body
    if ((http.contentLength ?? 0) > MOST_DOCUMENT) throw refusal({ status: 400, code: 'EntityTooLarge', message: 'Too large' })
    const document = await buffer(body)
    const numbers = [...document.toString('utf8').matchAll(/<PartNumber>\s*(\d+)\s*<\/PartNumber>/g)].map(([, number]) => Number(number))
    const known = this.#parts.get(operation.uploadId)
    const sizes = numbers.sort((a, b) => a - b).map((number) => known?.get(number) ?? 0)
    const [first = 0] = sizes
    const wrong = sizes.findIndex((size, i) => i === sizes.length - 1 ? size > first : size !== first)
    if (wrong < 0) return document
    throw refusal({
      status: 400,
      code: 'InvalidPart',
      message: `All non-trailing parts must have the same length. Non Uniform Part Sizes: Expected part ${numbers[wrong] ?? 0} to have size ${first}, found ${
        sizes[wrong] ?? 0
      }`
    })
  }

  async #forward(asked: Asked, body: Body, response: ServerResponse): Promise<void> {
    const { http, operation } = asked
    const answer = await this.#ask(asked, body)
    const { statusCode: status = 500 } = answer
    if (status === 200 && (operation?.name === 'UploadPart' || operation?.name === 'UploadPartCopy')) {
      const sizes = this.#parts.get(operation.uploadId) ?? new Map<number, number>()
      this.#parts.set(operation.uploadId, sizes.set(Number(operation.query.get('partNumber')), partSize(http)))
    }
    const headers = HeaderList.fromRaw(answer.rawHeaders).entries.filter(([name]) => !ofConnection.has(name.toLowerCase()))
    if (status >= 400 || this.#bends(operation)) {
      const whole = await buffer(answer)
      const changed = this.#bends(operation) && status < 300 ? Buffer.from(bentListing(whole.toString('utf8')), 'utf8') : whole
      const shown = { status, headers: [...headers.filter(([name]) => name.toLowerCase() !== 'content-length'), length(changed)], body: changed }
      await write(response, http.method, this.#shown(shown, http, 'all'))
      return
    }
    const shown = this.#shown({ status, headers, body: answer }, http, 'all')
    response.writeHead(status, shown.headers.flat())
    await pipeline(answer, response)
  }

  #bends(operation: Operation | null): boolean {
    return operation?.name === 'ListObjectsV2' && this.#limits.listV2 === 'noToken'
  }

  async #ask({ http, operation, headers }: Asked, body: Body): Promise<IncomingMessage> {
    const { conditions, listV2, sse } = this.#limits
    // Who demands encryption does it: the store behind need not.
    const encrypts = sse !== undefined && 'demanded' in sse
    const ignored = conditionsOf(conditions, operation) === 'ignored'
    const kept = headers.entries.filter(([given]) => {
      const name = given.toLowerCase()
      return !ofConnection.has(name) && !ofSignature.has(name) && !(ignored && (name === 'if-match' || name === 'if-none-match'))
        && !(encrypts && name === 'x-amz-server-side-encryption')
    })
    const { host, hostname, port } = new URL(this.#store.endpoint)
    const query = listV2 === 'asV1' ? http.target.rawQuery.replace(/(^|&)list-type=2(?=&|$)/, '') : http.target.rawQuery
    const target = `${this.#path(http)}${query === '' ? '' : `?${query}`}`
    const sha256 = headers.get('x-amz-content-sha256')
    const payloadHash = Buffer.isBuffer(body) ? createHash('sha256').update(body).digest('hex') : sha256
    const size = Buffer.isBuffer(body) ? body.length : http.contentLength
    const framing: Header[] = size === null || (size === 0 && http.method !== 'PUT' && http.method !== 'POST') ? [] : [['content-length', String(size)]]
    const draft = { method: http.method, target, headers: [...kept, ['host', host] as const, ...framing] }
    // Requests without a signature stay so. Chunks that are signed hang on the signature of the request: it stays, too.
    const asItIs = [...draft.headers, ...headers.entries.filter(([name]) => ofSignature.has(name.toLowerCase()) && !/^(host|content-length)$/i.test(name))]
    const chained = sha256?.startsWith('STREAMING-AWS4-') === true
    const signed = payloadHash === undefined || chained ? { ...draft, headers: chained ? withHost(asItIs, http.host) : asItIs } : signHeader(draft, {
      id: this.#store.accessKeyId,
      secret: this.#store.secretAccessKey,
      region: this.#store.region,
      time: new Date().toISOString().replace(/[-:]|\.\d+/g, ''),
      payloadHash
    })
    const sent = send({ agent: this.#agent, host: hostname, port, method: http.method, path: target, headers: signed.headers.flat(), setHost: false })
    const answered = once(sent, 'response', { signal: http.signal })
    // The body may fail before it.
    answered.catch(() => undefined)
    if (Buffer.isBuffer(body)) sent.end(body)
    else await Promise.race([pipeline(body, sent), answered])
    const [answer] = await answered as [IncomingMessage]
    return answer
  }

  /** The store behind is asked in path style. */
  #path({ host, target }: HttpRequest): string {
    const bucket = this.#limits.style === 'virtual-host' ? /^([^:]+)\.localhost(?::\d+)?$/.exec(host)?.[1] : undefined
    return bucket === undefined ? target.rawPath : `/${bucket}${target.rawPath}`
  }

  #shown(answer: HttpResponse, { method, headers }: HttpRequest, origin: 'refused' | 'all'): HttpResponse {
    const { htmlErrors, headWithoutLength } = this.#limits
    if (method === 'HEAD') {
      const without = headWithoutLength === 'always' || (headWithoutLength === 'compressible' && headers.get('accept-encoding') !== 'identity')
      return without ? { ...answer, headers: answer.headers.filter(([name]) => name.toLowerCase() !== 'content-length') } : answer
    }
    const html = htmlErrors === 'all' ? answer.status >= 400 : htmlErrors === 'refused' && (origin === 'refused' || answer.status >= 500)
    if (!html) return answer
    const page = Buffer.from(
      `<html>\r\n<head><title>${answer.status}</title></head>\r\n<body>\r\n<center><h1>${answer.status}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n`
    )
    return { status: answer.status, headers: [['Content-Type', 'text/html'], length(page)], body: page }
  }
}

function closeWhenIdle(socket: Socket | null, afterMs: number): void {
  const timer = setTimeout(() => {
    socket?.destroy()
  }, afterMs).unref()
  socket?.once('data', () => {
    clearTimeout(timer)
  })
}

function withHost(headers: readonly Header[], host: string): readonly Header[] {
  return headers.map(([name, value]) => name === 'host' ? [name, host] : [name, value])
}

async function write(response: ServerResponse, method: string, { status, headers, body }: HttpResponse): Promise<void> {
  response.writeHead(status, headers.flat())
  response.end(method === 'HEAD' || !Buffer.isBuffer(body) ? undefined : body)
  await once(response, 'close')
}

function length(body: Buffer): Header {
  return ['Content-Length', String(body.length)]
}

function operationOf(http: HttpRequest, { style }: Limits): Operation | null {
  try {
    return route(http, style === 'virtual-host' ? ['localhost'] : [])
  } catch {
    return null
  }
}

function conditionsOf(conditions: Limits['conditions'], operation: Operation | null): 'ignored' | Refusal | undefined {
  const found: Readonly<Record<string, 'ignored' | Refusal>> = conditions ?? {}
  return operation === null ? undefined : found[operation.name]
}

function refusal({ status, code, message }: Refusal, refused = ''): S3Error {
  return new S3Error('NotImplemented', { status, code, message: message.replace('{}', refused) })
}

function metadataSize(headers: HeaderList): number {
  return headers.entries.filter(([name]) => /^x-amz-meta-/i.test(name)).reduce(
    (sum, [name, value]) => sum + name.length - 'x-amz-meta-'.length + value.length,
    0
  )
}

/** Of a copied part as its range says it; none: the source is not asked, and no Complete of it is accepted. */
function partSize(http: HttpRequest): number {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(http.headers.get('x-amz-copy-source-range') ?? '') ?? []
  return last === undefined ? decodedLength(http) : Number(last) - Number(first) + 1
}

function decodedLength(http: HttpRequest): number {
  return Number(http.headers.get('x-amz-decoded-content-length') ?? http.contentLength)
}

/** ListObjectsV2 of old Ceph and Swift: `IsTruncated` without a token to go on with. */
function bentListing(xml: string): string {
  return xml.replace(/<(Next)?ContinuationToken>.*?<\/(Next)?ContinuationToken>/g, '')
}
