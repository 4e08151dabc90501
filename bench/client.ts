import { createHash } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { SignatureV4 } from '@aws-sdk/signature-v4'
import { Pool } from 'undici'
import { Sha256 } from './sha256.ts'

export interface Account {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface SendOptions {
  readonly body?: Readable | Buffer
  /** Bytes of the body. */
  readonly size?: number
  readonly sha256?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
}

export interface Answer {
  readonly status: number
  readonly bytes: number
  readonly etag: string
  /** The body, where it is no longer than one chunk. */
  readonly text: string
}

const block = Buffer.alloc(1 << 20, 'sealgate bench ')

/** A body of `size` bytes that costs the sender next to nothing. */
export function bodyOf(size: number): Readable {
  let left = size
  return new Readable({
    highWaterMark: 1 << 20,
    read() {
      if (left === 0) {
        this.push(null)
        return
      }
      const piece = left >= block.length ? block : block.subarray(0, left)
      left -= piece.length
      this.push(piece)
    }
  })
}

export function hashOf(size: number): string {
  const hash = createHash('sha256')
  for (let left = size; left > 0; left -= block.length) hash.update(left >= block.length ? block : block.subarray(0, left))
  return hash.digest('hex')
}

/** A client as light as can be: signs, sends, counts. */
export class BenchClient {
  readonly #pool: Pool
  readonly #signer: SignatureV4
  readonly #url: URL

  constructor(endpoint: string, account: Account, connections = 128) {
    this.#url = new URL(endpoint)
    this.#pool = new Pool(endpoint, { connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
    this.#signer = new SignatureV4({ credentials: account, region: 'us-east-1', service: 's3', sha256: Sha256, uriEscapePath: false, applyChecksum: false })
  }

  async send(method: 'GET' | 'PUT' | 'POST', path: string, options: SendOptions = {}): Promise<Answer> {
    const { query = {} } = options
    const signed = await this.#sign(method, path, options)
    const headers = { ...signed, ...options.size === undefined ? {} : { 'content-length': String(options.size) } }
    const search = new URLSearchParams(query).toString()
    const answer = await this.#pool.request({ method, path: search === '' ? path : `${path}?${search}`, headers, body: options.body ?? null })
    let bytes = 0
    let text = ''
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      if (bytes === 0 && chunk.length < 65_536) text = chunk.toString('latin1')
      bytes += chunk.length
    }
    return { status: answer.statusCode, bytes, etag: String(answer.headers['etag']), text }
  }

  /** A reader that asks for an object and then reads nothing: the socket is never resumed. */
  async stall(path: string): Promise<Socket> {
    const socket = connect(Number(this.#url.port), this.#url.hostname)
    socket.on('error', () => undefined)
    socket.write(await this.wire('GET', path, null))
    return socket
  }

  /** The whole of a request as it goes over the wire, to be sent any number of times within 15 minutes. */
  async wire(method: 'GET' | 'PUT', path: string, body: Buffer | null): Promise<Buffer> {
    const headers = { ...await this.#sign(method, path, {}), ...body === null ? {} : { 'content-length': String(body.length) } }
    const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`)
    return body === null ? head : Buffer.concat([head, body])
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }

  async #sign(method: string, path: string, { query = {}, sha256 = 'UNSIGNED-PAYLOAD', headers = {} }: SendOptions): Promise<Record<string, string>> {
    const signed = await this.#signer.sign({
      method,
      protocol: 'http:',
      hostname: this.#url.host,
      path,
      query,
      headers: { host: this.#url.host, 'x-amz-content-sha256': sha256, ...headers }
    })
    return signed.headers
  }
}

interface Parts {
  readonly parts: number
  /** Bytes of each. */
  readonly partSize: number
  readonly atOnce: number
}

/** Begins an upload and sends its parts. @throws Error unless all of them are taken */
export async function sendParts(client: BenchClient, path: string, { parts, partSize, atOnce }: Parts): Promise<{ readonly complete: () => Promise<Answer> }> {
  const created = await client.send('POST', path, { query: { uploads: '' } })
  const uploadId = /<UploadId>(.*?)<\/UploadId>/.exec(created.text)?.[1] ?? ''
  const listed: string[] = []
  let next = 1
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let number = next++; number <= parts; number = next++) {
      const query = { partNumber: String(number), uploadId }
      const { status, etag } = await client.send('PUT', path, { query, body: bodyOf(partSize), size: partSize })
      if (status !== 200) throw new Error(`UploadPart: ${status}`)
      listed[number - 1] = `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag></Part>`
    }
  }))
  const list = Buffer.from(`<CompleteMultipartUpload>${listed.join('')}</CompleteMultipartUpload>`)
  return { complete: () => client.send('POST', path, { query: { uploadId }, body: list, size: list.length }) }
}
