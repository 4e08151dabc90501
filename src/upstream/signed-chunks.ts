import { createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { Gathered } from '../http/gathered.ts'
import type { ByteStage } from '../http/stage.ts'
import { S3Error } from '../errors.ts'
import { emptyBodyHash, type ChunkScope } from './signer.ts'

export const signedChunksPayload = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'

/** Plaintext bytes per chunk; S3 wants at least 8,192 in all but the last (InvalidChunkSizeError). */
const chunkBytes = 65536
const frameBytes = ';chunk-signature='.length + 64 + '\r\n'.length * 2

/** Bytes on the wire for `length` bytes of body: every chunk with its frame, and the empty chunk that ends them. */
export function signedChunksLength(length: number): number {
  const rest = length % chunkBytes
  const whole = (length - rest) / chunkBytes
  return whole * framed(chunkBytes) + (rest > 0 ? framed(rest) : 0) + framed(0)
}

function framed(length: number): number {
  return length.toString(16).length + frameBytes + length
}

/**
 * Frames a body in signed chunks: each signature covers its chunk and the signature before it, so that nobody between
 * here and the store can change, drop or cut bytes (AWS "Signature calculations … transferring payload in multiple
 * chunks"). Used where the way to the store is plain HTTP. The empty last chunk leaves only after the source ended well.
 */
export class SignedChunks implements ByteStage {
  readonly #prefix: string
  readonly #key: KeyObject
  readonly #waiting = new Gathered()
  #signature: string
  #left: number

  /**
   * @param seed signature of the request's Authorization header, made with `signedChunksPayload` as payload hash
   * @param length bytes the source must give; the stage fails when it gives another number
   */
  constructor(scope: ChunkScope, signingKey: Uint8Array, seed: string, length: number) {
    this.#prefix = `AWS4-HMAC-SHA256-PAYLOAD\n${scope.date}\n${scope.scope}\n`
    this.#key = createSecretKey(signingKey)
    this.#signature = seed
    this.#left = length
  }

  update(chunk: Buffer): readonly Buffer[] {
    this.#left -= chunk.length
    if (this.#left < 0) throw new S3Error('InternalError', { cause: new Error('body longer than declared') })
    this.#waiting.add(chunk)
    if (this.#waiting.length < chunkBytes) return []
    const bytes = this.#waiting.take()
    const out: Buffer[] = []
    let at = 0
    for (; bytes.length - at >= chunkBytes; at += chunkBytes) out.push(...this.#frame(bytes.subarray(at, at + chunkBytes)))
    if (at < bytes.length) this.#waiting.add(bytes.subarray(at))
    return out
  }

  final(): readonly Buffer[] {
    if (this.#left !== 0) throw new S3Error('InternalError', { cause: new Error('body shorter than declared') })
    const rest = this.#waiting.take()
    return [...(rest.length > 0 ? this.#frame(rest) : []), ...this.#frame(Buffer.alloc(0))]
  }

  #frame(data: Buffer): Buffer[] {
    const digest = createHash('sha256').update(data).digest('hex')
    this.#signature = createHmac('sha256', this.#key)
      .update(`${this.#prefix}${this.#signature}\n${emptyBodyHash}\n${digest}`).digest('hex')
    return [Buffer.from(`${data.length.toString(16)};chunk-signature=${this.#signature}\r\n`, 'latin1'), data, lineEnd]
  }
}

const lineEnd = Buffer.from('\r\n', 'latin1')
