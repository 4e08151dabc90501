import { Readable } from 'node:stream'
import type { Diagnosis } from '../diagnosis.ts'
import { Finding, S3Error } from '../errors.ts'
import type { HeaderList } from '../http/message.ts'
import type { ChecksumField } from './aws-chunked-encoder.ts'
import { readAll } from '../http/stage.ts'
import type { UpstreamRequest } from './types.ts'

/** The facts of the request that the checks need. */
export type Asked = Pick<UpstreamRequest, 'method' | 'pool' | 'key' | 'query' | 'headers'>

const maxHeaders = 200
const maxErrorBytes = 65536
/** With two values of any of these, two parsers could pick differently. The gateway's own metadata entries are checked as well. */
const singleValued = [
  'content-length',
  'content-range',
  'content-type',
  'content-encoding',
  'etag',
  'last-modified',
  'transfer-encoding',
  'x-amz-version-id',
  'x-amz-delete-marker',
  'x-amz-mp-parts-count'
]

/**
 * Both checks of the head of an answer.
 * @param diagnose what is known of the answer; asked when it is refused
 * @throws S3Error SealgateBadUpstream
 */
export function checkAnswer(
  { status, headers, asked, sent }: { readonly status: number; readonly headers: HeaderList; readonly asked: Asked; readonly sent: ChecksumField | null },
  diagnose: () => Diagnosis
): void {
  try {
    checkHead(status, headers, asked)
    checkEcho(status, headers, sent)
  } catch (error) {
    throw error instanceof S3Error ? error.diagnose(diagnose()) : error
  }
}

/**
 * Refuses heads that make a body untrustworthy: redirects (a client that followed one would bypass the gateway with plaintext), repeated fields,
 * framing whose end a cut connection can fake (RFC 9112 6.3, close-delimited), and a success for another request.
 * @throws S3Error SealgateBadUpstream
 */
export function checkHead(status: number, headers: HeaderList, asked: Asked): void {
  if (headers.entries.length > maxHeaders) throw bad('too many header fields')
  if (status >= 300 && status < 400 && status !== 304) {
    throw new S3Error('SealgateBadUpstream', {
      message: 'The store redirected the request. The operator should check upstream.region and upstream.endpoint.'
    })
  }
  for (const name of headers.repeatedNames()) {
    if (singleValued.includes(name) || name.startsWith('x-amz-meta-sealgate')) {
      throw bad(singleValued.includes(name) ? `repeated ${name}` : 'repeated metadata of the gateway')
    }
  }
  checkFraming(status, headers, asked)
  if (status < 300 && storesBody(asked) && (headers.get('etag') ?? '') === '') throw bad('a write acknowledged without an ETag')
}

/**
 * PutObject and UploadPart, which are answered with an ETag (AWS API). Nothing else in HTTP/1.1 ties an answer to its request: a surplus answer that
 * arrives after the next request is sent becomes the answer to that. A refused answer closes its connection, so that later answers stay with their
 * requests.
 */
function storesBody({ method, key, query, headers }: Asked): boolean {
  return method === 'PUT' && key !== null && query.every(([name]) => name === 'partNumber' || name === 'uploadId')
    && !headers.some(([name]) => name === 'x-amz-copy-source')
}

function checkFraming(status: number, headers: HeaderList, asked: Asked): void {
  const length = headers.get('content-length')
  if (length !== undefined && !(/^\d{1,16}$/.test(length) && Number.isSafeInteger(Number(length)))) throw bad('unusable Content-Length')
  const coding = headers.get('transfer-encoding')
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') throw bad('unusable Transfer-Encoding')
  if (asked.method === 'HEAD' || status === 204 || status === 304) return
  if (length === undefined && coding === undefined) throw bad('a body that only the end of the connection delimits')
  // Object data must have a length before the first byte is passed on; XML may come chunked.
  if (length === undefined && asked.method === 'GET' && (asked.pool === 'data' || asked.pool === 'source') && status < 300) {
    throw bad('object data without Content-Length')
  }
}

function bad(fault: string): S3Error {
  return new S3Error('SealgateBadUpstream', { cause: new Finding(fault) })
}

/**
 * Stores that keep the checksum of a body return it when they acknowledge the body (AWS API, PutObject and UploadPart). Another one means that the
 * answer, or what the store has, belongs to another request.
 * @param sent with the body; null: none
 * @throws S3Error SealgateBadUpstream
 */
function checkEcho(status: number, headers: HeaderList, sent: ChecksumField | null): void {
  if (sent === null || status >= 300) return
  const [name, value] = sent
  const returned = headers.get(name)
  if (returned !== undefined && returned !== value) throw bad('the checksum of another body')
}

/**
 * Errors about the gateway's own signature and credentials. Their bodies hold its access key id and canonical request, and clients would look for the
 * fault in their own credentials.
 */
const ownFaults: ReadonlySet<string> = new Set([
  'AuthorizationHeaderMalformed',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidToken',
  'RequestExpired',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
  'XAmzContentSHA256Mismatch'
])

/**
 * The store's error code when the fault is the gateway's and not the client's.
 * @param body XML of an error answer
 */
export function ownFault(body: Buffer): string | null {
  const code = errorCode(body)
  return code !== null && ownFaults.has(code) ? code : null
}

/** The `Code` of an S3 error document; null when there is none. */
export function errorCode(body: Buffer): string | null {
  return /<Code>\s*([A-Za-z0-9._-]{1,100})\s*<\/Code>/.exec(body.toString('latin1'))?.[1] ?? null
}

/**
 * Reads an error document of at most 64 KiB.
 * @throws S3Error SealgateBadUpstream when it is longer; the stream's own error
 */
export async function readErrorBody(body: Readable): Promise<Buffer> {
  return readAll(body, maxErrorBytes, () => bad('an error document of more than 64 KiB'))
}

/** A stream of bytes that are in memory. */
export function whole(bytes: Buffer): Readable {
  return new Readable({
    read() {
      this.push(bytes)
      this.push(null)
    }
  })
}
