import { createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { Gathered } from '../http/gathered.ts'
import type { ByteStage } from '../http/stage.ts'
import { Finding, S3Error } from '../errors.ts'
import type { ChecksumTrailer } from './checksum-trailer.ts'
import { emptyBodyHash, type ChunkScope } from './signer.ts'

/** The payload hash that announces signed chunks. */
export function signedChunksPayload(trailer: ChecksumTrailer | null): string {
  return `STREAMING-AWS4-HMAC-SHA256-PAYLOAD${trailer === null ? '' : '-TRAILER'}`
}

/** Plaintext bytes per chunk; S3 wants at least 8,192 in all but the last (InvalidChunkSizeError). */
const chunkBytes = 65536
const frameBytes = ';chunk-signature='.length + 64 + '\r\n'.length * 2
const trailerSignature = 'x-amz-trailer-signature:'
const trailerFrameBytes = trailerSignature.length + 64 + '\r\n'.length * 2

/** Bytes on the wire for `length` bytes of body: every chunk with its frame, the empty chunk that ends them, and the trailer. */
export function signedChunksLength(length: number, trailer: ChecksumTrailer | null): number {
  const rest = length % chunkBytes
  const whole = (length - rest) / chunkBytes
  const end = trailer === null ? 0 : trailer.lineLength + trailerFrameBytes
  return whole * framed(chunkBytes) + (rest > 0 ? framed(rest) : 0) + framed(0) + end
}

function framed(length: number): number {
  return length.toString(16).length + frameBytes + length
}

/**
 * Frames a body in signed chunks: each signature covers its chunk and the signature before it, so that nobody between
 * here and the store can change, drop or cut bytes (AWS "Signature calculations … transferring payload in multiple
 * chunks", and "including trailing headers"). Used where the way to the store is plain HTTP. The empty last chunk and the trailer
 * leave only after the source ended well.
 */
export class SignedChunks implements ByteStage {
  readonly #scope: string
  readonly #trailer: ChecksumTrailer | null
  readonly #key: KeyObject
  readonly #waiting = new Gathered()
  #signature: string
  #left: number

  /**
   * @param seed signature of the request's Authorization header, made with `signedChunksPayload` as payload hash
   * @param length bytes the source must give; the stage fails when it gives another number
   */
  constructor(scope: ChunkScope, signingKey: Uint8Array, seed: string, length: number, trailer: ChecksumTrailer | null) {
    this.#scope = `${scope.date}\n${scope.scope}`
    this.#trailer = trailer
    this.#key = createSecretKey(signingKey)
    this.#signature = seed
    this.#left = length
  }

  update(chunk: Buffer): readonly Buffer[] {
    this.#left -= chunk.length
    if (this.#left < 0) throw new S3Error('InternalError', { cause: new Finding('body longer than declared') })
    this.#trailer?.update(chunk)
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
    if (this.#left !== 0) throw new S3Error('InternalError', { cause: new Finding('body shorter than declared') })
    const rest = this.#waiting.take()
    return [...(rest.length > 0 ? this.#frame(rest) : []), this.#head(Buffer.alloc(0)), ...this.#trailerLines(), lineEnd]
  }

  #trailerLines(): Buffer[] {
    if (this.#trailer === null) return []
    const line = this.#trailer.line()
    const signature = this.#sign('TRAILER', sha256(`${line}\n`))
    return [Buffer.from(`${line}\r\n${trailerSignature}${signature}\r\n`, 'latin1')]
  }

  #frame(data: Buffer): Buffer[] {
    return [this.#head(data), data, lineEnd]
  }

  #head(data: Buffer): Buffer {
    this.#signature = this.#sign('PAYLOAD', `${emptyBodyHash}\n${sha256(data)}`)
    return Buffer.from(`${data.length.toString(16)};chunk-signature=${this.#signature}\r\n`, 'latin1')
  }

  #sign(what: 'PAYLOAD' | 'TRAILER', digests: string): string {
    return createHmac('sha256', this.#key).update(`AWS4-HMAC-SHA256-${what}\n${this.#scope}\n${this.#signature}\n${digests}`).digest('hex')
  }
}

const lineEnd = Buffer.from('\r\n', 'latin1')

function sha256(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex')
}
