// Uploads in every framing S3 knows, as bytes, so that a test can stop or spoil them anywhere.
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { framed, headerSigned, headOf, sha256 } from './wire.ts'
import type { Headers } from './signing.ts'
import type { TestGateway } from './gateway.ts'

export const framings = ['hash', 'unsigned', 'signed chunks', 'signed chunks and trailer', 'unsigned chunks and trailer'] as const
export type Framing = typeof framings[number]

export interface Upload {
  readonly head: Buffer
  readonly body: Buffer
}

const words: Readonly<Record<Framing, string>> = {
  'hash': '',
  'unsigned': 'UNSIGNED-PAYLOAD',
  'signed chunks': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'signed chunks and trailer': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  'unsigned chunks and trailer': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
}

export interface UploadOptions {
  readonly headers?: Headers
  /** In place of the right one. */
  readonly trailer?: string
  readonly hash?: string
  readonly decodedLength?: number
  readonly chunkSize?: number
}

/** A whole upload of `data` to a target. */
export function upload(gateway: TestGateway, target: string, framing: Framing, data: Buffer, options: UploadOptions = {}): Upload {
  const headers = options.headers ?? []
  if (framing === 'hash' || framing === 'unsigned') {
    const payloadHash = framing === 'hash' ? options.hash ?? sha256(data) : words[framing]
    return { head: headOf(headerSigned(gateway, { method: 'PUT', target, headers }, data, { payloadHash })), body: data }
  }
  const trailer = framing === 'signed chunks' ? undefined : options.trailer ?? `x-amz-checksum-crc32:${crc32Of(data)}`
  const chunks = inChunks(data, options.chunkSize ?? 65536)
  const signed = framing !== 'unsigned chunks and trailer'
  const shape = trailer === undefined ? { signed } : { signed, trailer }
  const announced: Headers = [
    ...headers,
    ['x-amz-decoded-content-length', String(options.decodedLength ?? data.length)],
    ['content-encoding', 'aws-chunked'],
    ...trailer === undefined ? [] : [['x-amz-trailer', trailer.slice(0, trailer.indexOf(':'))] as const]
  ]
  // The length of the framing does not depend on what the signatures are.
  const draft = headerSigned(gateway, { method: 'PUT', target, headers: announced }, '', { payloadHash: words[framing] })
  const { length } = framed(gateway, draft, chunks, shape)
  const sized = headerSigned(gateway, { method: 'PUT', target, headers: [...announced, ['Content-Length', String(length)]] }, '', {
    payloadHash: words[framing]
  })
  return { head: headOf(sized), body: framed(gateway, sized, chunks, shape) }
}

export function crc32Of(data: Buffer): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc32(data))
  return bytes.toString('base64')
}

export function md5Of(data: Buffer): string {
  return createHash('md5').update(data).digest('base64')
}

function inChunks(data: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(data.length / size) }, (_, i) => data.subarray(i * size, (i + 1) * size))
}
