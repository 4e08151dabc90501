// Requests as bytes for the tests of the whole gateway, signed by the signer of test/auth that knows the AWS documents alone.
import { createHash, createHmac } from 'node:crypto'
import { Agent, request as httpRequest } from 'node:http'
import { signHeader, signingKey, signQuery, type Draft, type Headers, type SignOptions } from './signing.ts'
import type { TestGateway } from './gateway.ts'

export interface Answer {
  readonly status: number
  /** S3 error code of the body; '' when there is none. */
  readonly code: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')

/** `20130524T000000Z` */
export function timestampOf(date: Date): string {
  return date.toISOString().replace(/\.\d+|[-:]/g, '')
}

/** Where a gateway is, and who signs. */
export type Access = Pick<TestGateway, 'endpoint' | 'accessKeyId' | 'secretAccessKey'>

/** The credentials of the rig's client, signing now. */
export function signOptions(gateway: Omit<Access, 'endpoint'>, options: SignOptions = {}): SignOptions {
  return { id: gateway.accessKeyId, secret: gateway.secretAccessKey, time: timestampOf(new Date()), clock: new Date(), ...options }
}

export function headerSigned(gateway: Access, draft: Draft, body: string | Buffer = '', options: SignOptions = {}): Draft {
  return signHeader(withHost(gateway, draft, body), signOptions(gateway, { payloadHash: sha256(body), ...options }))
}

export function querySigned(gateway: Access, draft: Draft, body: string | Buffer = '', options: SignOptions = {}): Draft {
  return signQuery(withHost(gateway, draft, body), signOptions(gateway, options))
}

function withHost(gateway: Access, draft: Draft, body: string | Buffer): Draft {
  const given = new Set(draft.headers.map(([name]) => name.toLowerCase()))
  const length: Headers = (draft.method === 'PUT' || draft.method === 'POST') && !given.has('content-length')
    ? [['Content-Length', String(Buffer.byteLength(body))]]
    : []
  return { ...draft, headers: [['Host', new URL(gateway.endpoint).host], ...draft.headers, ...length] }
}

export interface PolicyForm {
  readonly id: string
  readonly secret: string
  readonly time: string
  readonly expires: Date
  /** Beside those of the key, the signature and `fields`. */
  readonly conditions: readonly unknown[]
  readonly fields: Readonly<Record<string, string>>
  readonly file: { readonly key: string; readonly text: string }
  /** The text in the place of the signature; null: none. */
  readonly signed: (signature: string) => string | null
}

/** The body of a browser form, with boundary `b`. */
export function policyForm({ id, secret, time, expires, conditions, fields, file, signed }: PolicyForm): string {
  const credential = `${id}/${time.slice(0, 8)}/us-east-1/s3/aws4_request`
  const signing = { 'x-amz-algorithm': 'AWS4-HMAC-SHA256', 'x-amz-credential': credential, 'x-amz-date': time }
  const each = Object.entries({ ...signing, ...fields }).map(([name, value]) => ({ [name]: value }))
  const document = { expiration: expires.toISOString(), conditions: [...conditions, ['starts-with', '$key', ''], ...each] }
  const policy = Buffer.from(JSON.stringify(document)).toString('base64')
  const signature = signed(createHmac('sha256', signingKey(secret, time.slice(0, 8), 'us-east-1')).update(policy).digest('hex'))
  const all = { ...fields, key: file.key, ...signing, policy, ...signature === null ? {} : { 'x-amz-signature': signature } }
  const parts = Object.entries(all).map(([name, value]) => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
  return `${parts.join('')}--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n${file.text}\r\n--b--\r\n`
}

export interface Framing {
  /** Sign the chunks, with the signature of the head as seed. */
  readonly signed: boolean
  /** `name:value` of the trailer, announced in x-amz-trailer. */
  readonly trailer?: string
}

/** An aws-chunked body for a draft that `headerSigned` has signed with one of the STREAMING words. */
export function framed(gateway: TestGateway, draft: Draft, chunks: readonly Buffer[], { signed, trailer }: Framing): Buffer {
  const authorization = draft.headers.find(([name]) => name === 'Authorization')?.[1] ?? ''
  const time = draft.headers.find(([name]) => name === 'x-amz-date')?.[1] ?? ''
  const [, date = '', region = ''] = /Credential=[^/]+\/(\d+)\/([^/]+)\//.exec(authorization) ?? []
  const key = signingKey(gateway.secretAccessKey, date, region)
  let previous = /Signature=([0-9a-f]+)/.exec(authorization)?.[1] ?? ''
  const sign = (kind: 'PAYLOAD' | 'TRAILER', hashes: readonly string[]): string => {
    const text = [`AWS4-HMAC-SHA256-${kind}`, time, `${date}/${region}/s3/aws4_request`, previous, ...hashes].join('\n')
    previous = createHmac('sha256', key).update(text).digest('hex')
    return previous
  }
  const pieces = [...chunks, Buffer.alloc(0)].map((chunk) => {
    const extension = signed ? `;chunk-signature=${sign('PAYLOAD', [sha256(''), sha256(chunk)])}` : ''
    return Buffer.concat([Buffer.from(`${chunk.length.toString(16)}${extension}\r\n`), chunk, Buffer.from(chunk.length === 0 ? '' : '\r\n')])
  })
  const lines = trailer === undefined ? '' : `${trailer}\r\n${signed ? `x-amz-trailer-signature:${sign('TRAILER', [sha256(`${trailer}\n`)])}\r\n` : ''}`
  return Buffer.concat([...pieces, Buffer.from(`${lines}\r\n`)])
}

/** The head of a message, as bytes. */
export function headOf(draft: Draft): Buffer {
  const lines = draft.headers.map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`${draft.method} ${draft.target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
}

/** More than any error document has. */
const ERROR_BYTES = 65_536

/** Sends drafts over few connections that stay open: thousands of rows in seconds. */
export class Wire {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 })
  readonly #url: URL

  constructor(endpoint: string) {
    this.#url = new URL(endpoint)
  }

  send(draft: Draft, body: string | Buffer = ''): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const headers = draft.headers.flatMap(([name, value]) => [name, value])
    const request = httpRequest({
      agent: this.#agent,
      host: this.#url.hostname,
      port: this.#url.port,
      method: draft.method,
      path: draft.target,
      headers,
      setHost: false
    }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const received = Buffer.concat(chunks)
        const code = /<Error>.*?<Code>([^<]*)<\/Code>/s.exec(received.toString('latin1', 0, ERROR_BYTES))?.[1] ?? ''
        resolve({ status: response.statusCode ?? 0, code, headers: response.headers, body: received })
      })
    })
    request.on('error', reject)
    // Node writes the head in the encoding of a body that is text; latin1 characters of headers are bytes.
    request.end(Buffer.from(body))
    return promise
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** Runs many rows, a few at once, in order of start. */
export async function forEach<T>(rows: Iterable<T>, atOnce: number, work: (row: T) => Promise<void>): Promise<void> {
  const queue = rows[Symbol.iterator]()
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) await work(next.value)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}
