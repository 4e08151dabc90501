import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { SignatureV4 } from '@aws-sdk/signature-v4'
import { Pool } from 'undici'
import { Sha256 } from '../src/upstream/sha256.ts'

export interface Account {
  readonly accessKeyId: string
  readonly secretAccessKey: string
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

  async send(method: 'GET' | 'PUT', path: string, options: { body?: Readable | Buffer; size?: number; sha256?: string; headers?: Record<string, string> } = {}): Promise<{ status: number; bytes: number }> {
    const signed = await this.#signer.sign({
      method, protocol: 'http:', hostname: this.#url.host, path, query: {},
      headers: { host: this.#url.host, 'x-amz-content-sha256': options.sha256 ?? 'UNSIGNED-PAYLOAD', ...options.headers }
    })
    const headers = { ...signed.headers, ...options.size === undefined ? {} : { 'content-length': String(options.size) } }
    const answer = await this.#pool.request({ method, path, headers, body: options.body ?? null })
    let bytes = 0
    for await (const chunk of answer.body as AsyncIterable<Buffer>) bytes += chunk.length
    return { status: answer.statusCode, bytes }
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }
}
