import type { ByteStage } from '../http/stage.ts'
import { Finding, S3Error } from '../errors.ts'
import type { ChecksumTrailer } from './checksum-trailer.ts'

export const unsignedChunksPayload = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'

/**
 * Body bytes per chunk, as botocore frames them. S3 wants at least 8,192 in all but the last (InvalidChunkSizeError), MinIO takes
 * 16 MiB at most.
 */
const chunkBytes = 1024 * 1024
const lineEnd = '\r\n'

/** Bytes on the wire for `length` bytes of body: chunks with their sizes, the empty chunk that ends them, and the trailer. */
export function unsignedChunksLength(length: number, trailer: ChecksumTrailer): number {
  const rest = length % chunkBytes
  const whole = (length - rest) / chunkBytes
  return whole * framed(chunkBytes) + (rest > 0 ? framed(rest) : 0) + `0${lineEnd}`.length + trailer.lineLength + 2 * lineEnd.length
}

function framed(length: number): number {
  return length.toString(16).length + 2 * lineEnd.length + length
}

/**
 * Frames a body in chunks that nobody signs, with a checksum behind them (AWS, "Signature calculations: including trailing
 * headers"). Bytes pass as they come, uncopied; the empty last chunk and the trailer leave only after the source ended well.
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
    return [Buffer.from(`${this.#between}0${lineEnd}${this.#trailer.line()}${lineEnd}${lineEnd}`, 'latin1')]
  }

  #nextHead(): Buffer {
    this.#leftInChunk = Math.min(chunkBytes, this.#left)
    const head = `${this.#between}${this.#leftInChunk.toString(16)}${lineEnd}`
    this.#between = lineEnd
    return Buffer.from(head, 'latin1')
  }
}
