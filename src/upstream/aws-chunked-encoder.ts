import { createHash, type KeyObject } from 'node:crypto'
import { ByteQueue, type ByteStage } from '../http/stage.ts'
import { Finding, S3Error } from '../errors.ts'
import type { ChunkScope } from './signer.ts'
import { hmacSha256 } from '../native/hmac.ts'
import { createChecksum, checksumAlgorithms, emptySha256, type Checksum, type ChecksumAlgorithm } from '../http/checksums.ts'

/** The payload hash that announces signed chunks. */
export function signedChunksPayload(trailer: ChecksumTrailer | null): string {
  return `STREAMING-AWS4-HMAC-SHA256-PAYLOAD${trailer === null ? '' : '-TRAILER'}`
}

/** Plaintext bytes per chunk; S3 demands at least 8,192 in all but the last (InvalidChunkSizeError). */
const SIGNED_CHUNK_BYTES = 65536
const frameBytes = ';chunk-signature='.length + 64 + '\r\n'.length * 2
const trailerSignature = 'x-amz-trailer-signature:'
const trailerFrameBytes = trailerSignature.length + 64 + '\r\n'.length * 2

/** Bytes on the wire for `length` bytes of body: every chunk with its frame, the empty chunk that ends them, and the trailer. */
export function signedChunksLength(length: number, trailer: ChecksumTrailer | null): number {
  const rest = length % SIGNED_CHUNK_BYTES
  const whole = (length - rest) / SIGNED_CHUNK_BYTES
  const end = trailer === null ? 0 : trailer.lineLength + trailerFrameBytes
  return whole * signedFrameLength(SIGNED_CHUNK_BYTES) + (rest > 0 ? signedFrameLength(rest) : 0) + signedFrameLength(0) + end
}

function signedFrameLength(length: number): number {
  return length.toString(16).length + frameBytes + length
}

/**
 * Frames a body in signed chunks. Each signature covers its chunk and the signature before it, so nobody on the way to the store can change, drop or
 * cut bytes (AWS "Signature calculations … transferring payload in multiple chunks", and "including trailing headers"). Used where the way to the
 * store is plain HTTP. The empty last chunk and the trailer are sent only after the source ended well.
 */
export class SignedChunks implements ByteStage {
  readonly #scope: string
  readonly #trailer: ChecksumTrailer | null
  readonly #key: KeyObject
  readonly #waiting = new ByteQueue()
  #signature: string
  #left: number

  /**
   * @param seed signature of the request's Authorization header, made with `signedChunksPayload` as payload hash
   * @param length bytes the source must give; the stage fails when it gives another number
   */
  constructor(scope: ChunkScope, seed: string, length: number, trailer: ChecksumTrailer | null) {
    this.#scope = `${scope.date}\n${scope.scope}`
    this.#trailer = trailer
    this.#key = scope.key
    this.#signature = seed
    this.#left = length
  }

  update(chunk: Buffer): readonly Buffer[] {
    this.#left -= chunk.length
    if (this.#left < 0) throw new S3Error('InternalError', { cause: new Finding('body longer than declared') })
    this.#trailer?.update(chunk)
    this.#waiting.add(chunk)
    if (this.#waiting.length < SIGNED_CHUNK_BYTES) return []
    const bytes = this.#waiting.take()
    const out: Buffer[] = []
    let at = 0
    for (; bytes.length - at >= SIGNED_CHUNK_BYTES; at += SIGNED_CHUNK_BYTES) out.push(...this.#frame(bytes.subarray(at, at + SIGNED_CHUNK_BYTES)))
    if (at < bytes.length) this.#waiting.add(bytes.subarray(at))
    return out
  }

  final(): readonly Buffer[] {
    if (this.#left !== 0) throw new S3Error('InternalError', { cause: new Finding('body shorter than declared') })
    const rest = this.#waiting.take()
    return [...(rest.length > 0 ? this.#frame(rest) : []), this.#head(Buffer.alloc(0)), ...this.#trailerLines(), crlf]
  }

  #trailerLines(): Buffer[] {
    if (this.#trailer === null) return []
    const line = this.#trailer.line()
    const signature = this.#sign('TRAILER', sha256(`${line}\n`))
    return [Buffer.from(`${line}\r\n${trailerSignature}${signature}\r\n`, 'latin1')]
  }

  #frame(data: Buffer): Buffer[] {
    return [this.#head(data), data, crlf]
  }

  #head(data: Buffer): Buffer {
    this.#signature = this.#sign('PAYLOAD', `${emptySha256}\n${sha256(data)}`)
    return Buffer.from(`${data.length.toString(16)};chunk-signature=${this.#signature}\r\n`, 'latin1')
  }

  #sign(what: 'PAYLOAD' | 'TRAILER', digests: string): string {
    return hmacSha256(this.#key, `AWS4-HMAC-SHA256-${what}\n${this.#scope}\n${this.#signature}\n${digests}`).toString('hex')
  }
}

const crlf = Buffer.from('\r\n', 'latin1')

function sha256(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex')
}

export const unsignedChunksPayload = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'

/**
 * Body bytes per chunk, as botocore frames them. S3 demands at least 8,192 in all but the last (InvalidChunkSizeError), MinIO accepts at most 16 MiB.
 */
const UNSIGNED_CHUNK_BYTES = 1024 * 1024
const CRLF = '\r\n'

/** Bytes on the wire for `length` bytes of body: chunks with their sizes, the empty chunk that ends them, and the trailer. */
export function unsignedChunksLength(length: number, trailer: ChecksumTrailer): number {
  const rest = length % UNSIGNED_CHUNK_BYTES
  const whole = (length - rest) / UNSIGNED_CHUNK_BYTES
  return whole * unsignedFrameLength(UNSIGNED_CHUNK_BYTES) + (rest > 0 ? unsignedFrameLength(rest) : 0) + `0${CRLF}`.length + trailer.lineLength +
    2 * CRLF.length
}

function unsignedFrameLength(length: number): number {
  return length.toString(16).length + 2 * CRLF.length + length
}

/**
 * Frames a body in unsigned chunks, followed by a checksum (AWS, "Signature calculations: including trailing headers"). Bytes pass without a copy;
 * the empty last chunk and the trailer are sent only after the source ended well.
 */
export class UnsignedChunks implements ByteStage {
  readonly #trailer: ChecksumTrailer
  /** Bytes of the body, and of the chunk that has been announced, still to come. */
  #left: number
  #leftInChunk = 0
  #between = ''

  /** @param length bytes the source must give; the stage fails when it gives another number */
  constructor(trailer: ChecksumTrailer, length: number) {
    this.#trailer = trailer
    this.#left = length
  }

  update(chunk: Buffer): readonly Buffer[] {
    if (chunk.length > this.#left) throw new S3Error('InternalError', { cause: new Finding('body longer than declared') })
    this.#trailer.update(chunk)
    const out: Buffer[] = []
    for (let at = 0; at < chunk.length;) {
      if (this.#leftInChunk === 0) out.push(this.#nextHead())
      const piece = chunk.subarray(at, at + this.#leftInChunk)
      at += piece.length
      this.#left -= piece.length
      this.#leftInChunk -= piece.length
      out.push(piece)
    }
    return out
  }

  final(): readonly Buffer[] {
    if (this.#left !== 0) throw new S3Error('InternalError', { cause: new Finding('body shorter than declared') })
    return [Buffer.from(`${this.#between}0${CRLF}${this.#trailer.line()}${CRLF}${CRLF}`, 'latin1')]
  }

  #nextHead(): Buffer {
    this.#leftInChunk = Math.min(UNSIGNED_CHUNK_BYTES, this.#left)
    const head = `${this.#between}${this.#leftInChunk.toString(16)}${CRLF}`
    this.#between = CRLF
    return Buffer.from(head, 'latin1')
  }
}

/** `x-amz-checksum-*` and the checksum in base64. */
export type ChecksumField = readonly [name: string, value: string]

/** The checksum of a body that follows it (AWS, "Signature calculations: including trailing headers (chunked uploads)"). */
export class ChecksumTrailer {
  /** Bytes of `line`. */
  readonly lineLength: number
  readonly #name: string
  readonly #checksum: Checksum
  #field: ChecksumField | null = null

  constructor(algorithm: ChecksumAlgorithm) {
    this.#name = `x-amz-checksum-${algorithm}`
    this.lineLength = `${this.#name}:`.length + Math.ceil(checksumAlgorithms[algorithm].bytes / 3) * 4
    this.#checksum = createChecksum(algorithm)
  }

  update(chunk: Buffer): void {
    this.#checksum.update(chunk)
  }

  /** Name and value, without a line end. Call once, after the last byte. */
  line(): string {
    this.#field = [this.#name, this.#checksum.digest().toString('base64')]
    return this.#field.join(':')
  }

  /** null until `line` has been called. */
  get field(): ChecksumField | null {
    return this.#field
  }
}
