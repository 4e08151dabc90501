import { createHash, createHmac } from 'node:crypto'
import { rawRequest } from '../support/raw-client.ts'
import { credentials } from './rig.ts'
import type { RawResponse } from '../support/raw-client.ts'

export interface SignedRequest {
  readonly method: string
  /** With query; signed as it is, so it must be canonical already (sorted, strictly encoded). */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  readonly contentMd5?: boolean
  /** No Content-Length, neither sent nor signed. */
  readonly unsized?: boolean
  /** In place of the SHA-256 of the body. */
  readonly contentSha256?: string
  readonly region?: string
  readonly host?: string
  readonly date?: Date
}

export interface Signer {
  /** The whole head, blank line included. */
  readonly head: string
  readonly signature: string
  readonly timestamp: string
  readonly scope: string
  readonly key: Buffer
}

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')
const hmac = (key: string | Buffer, data: string): Buffer => createHmac('sha256', key).update(data).digest()

/** Signs a request by hand: a second implementation of SigV4, written from AWS's description and not from src/sigv4. */
export function sign(endpoint: string, request: SignedRequest): Signer {
  const body = Buffer.from(request.body ?? '')
  const timestamp = (request.date ?? new Date()).toISOString().replace(/\.\d+|[-:]/g, '')
  const scope = `${timestamp.slice(0, 8)}/${request.region ?? 'us-east-1'}/s3/aws4_request`
  const headers: Record<string, string> = {
    'host': request.host ?? new URL(endpoint).host,
    'x-amz-content-sha256': request.contentSha256 ?? sha256(body),
    'x-amz-date': timestamp,
    ...request.unsized !== true &&
        (body.length > 0 || request.method === 'PUT' || request.method === 'POST') ?
      { 'content-length': String(body.length) } :
      {},
    ...request.contentMd5 === true ? { 'content-md5': createHash('md5').update(body).digest('base64') } : {},
    ...request.headers
  }
  const names = Object.keys(headers).sort()
  const [path = '', query = ''] = request.path.split('?')
  const canonicalQuery = query.split('&').filter((one) => one !== '').map((one) => one.includes('=') ? one : `${one}=`).join('&')
  const canonical = [
    request.method,
    path,
    canonicalQuery,
    ...names.map((name) => `${name}:${headers[name] ?? ''}`),
    '',
    names.join(';'),
    headers['x-amz-content-sha256']
  ].join('\n')
  const key = scope.split('/').reduce<string | Buffer>((last, step) => hmac(last, step), `AWS4${credentials.secretAccessKey}`) as Buffer
  const signature = hmac(key, ['AWS4-HMAC-SHA256', timestamp, scope, sha256(canonical)].join('\n')).toString('hex')
  const lines = [
    ...names.map((name) => `${name}: ${headers[name] ?? ''}`),
    `authorization: AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope},SignedHeaders=${names.join(';')},Signature=${signature}`
  ]
  return { head: `${request.method} ${request.path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, signature, timestamp, scope, key }
}

/** Sends it on a connection of its own. */
export function signedRequest(endpoint: string, request: SignedRequest): Promise<RawResponse> {
  const { head } = sign(endpoint, request)
  return rawRequest(endpoint, Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(request.body ?? '')]), { bodyless: request.method === 'HEAD' })
}

/** An aws-chunked body with chunk signatures; `trailer` ends it with a signed trailer. */
export function signedChunks(
  { signature, timestamp, scope, key }: Signer,
  chunks: readonly (string | Buffer)[],
  trailer?: readonly [name: string, value: string]
): Buffer {
  let previous = signature
  const signChunk = (data: Buffer): string => {
    previous = hmac(key, ['AWS4-HMAC-SHA256-PAYLOAD', timestamp, scope, previous, sha256(''), sha256(data)].join('\n')).toString('hex')
    return previous
  }
  const pieces = [...chunks, ''].map((chunk) => {
    const data = Buffer.from(chunk)
    return Buffer.concat([
      Buffer.from(`${data.length.toString(16)};chunk-signature=${signChunk(data)}\r\n`),
      data,
      Buffer.from(data.length === 0 ? '' : '\r\n')
    ])
  })
  if (trailer === undefined) return Buffer.concat([...pieces, Buffer.from('\r\n')])
  const line = `${trailer[0]}:${trailer[1]}\n`
  const trailerSignature = hmac(key, ['AWS4-HMAC-SHA256-TRAILER', timestamp, scope, previous, sha256(line)].join('\n')).toString('hex')
  return Buffer.concat([...pieces, Buffer.from(`${trailer[0]}:${trailer[1]}\r\nx-amz-trailer-signature:${trailerSignature}\r\n\r\n`)])
}
