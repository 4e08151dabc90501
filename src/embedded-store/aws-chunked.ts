import { createHash } from 'node:crypto'
import { S3Error } from '../errors.ts'
import { equalSignatures } from '../sigv4/signing.ts'
import type { Hash } from 'node:crypto'
import type { ChunkSignatureChain } from '../sigv4/signing.ts'

/** A chunk header is a size and one signature; a trailer is a checksum and one signature. */
const LINE_LIMIT = 1024
const TRAILER_LINES = 8

type State = 'header' | 'data' | 'data-end' | 'trailer' | 'end'

/**
 * Takes the aws-chunked framing off a body (AWS, "Signature calculations for the Authorization header: transferring payload
 * in multiple chunks") and verifies chunk signatures as the bytes pass. Data is returned before the signature of its chunk
 * has been read: it must not be published before `finish` has returned.
 */
export class AwsChunkedDecoder {
  readonly #chain: ChunkSignatureChain | null
  readonly #trailers: [name: string, value: string][] = []
  #state: State = 'header'
  #line = ''
  #left = 0
  #signature = ''
  #hash: Hash = createHash('sha256')

  constructor(chain: ChunkSignatureChain | null) {
    this.#chain = chain
  }

  /** @returns the data in these bytes @throws S3Error IncompleteBody, SignatureDoesNotMatch, MalformedTrailerError */
  update(bytes: Buffer): readonly Buffer[] {
    const data: Buffer[] = []
    let at = 0
    while (at < bytes.length) {
      if (this.#state === 'data') {
        const piece = bytes.subarray(at, at + this.#left)
        at += piece.length
        this.#left -= piece.length
        if (this.#chain !== null) this.#hash.update(piece)
        data.push(piece)
        if (this.#left === 0) this.#endOfData()
      } else {
        const newline = bytes.indexOf(10, at)
        const end = newline < 0 ? bytes.length : newline + 1
        this.#line += bytes.toString('latin1', at, end)
        at = end
        if (this.#line.length > LINE_LIMIT) throw new S3Error('IncompleteBody')
        if (newline >= 0) this.#takeLine()
      }
    }
    return data
  }

  /**
   * Call after the last byte.
   * @returns the trailers in the order they came, names in lower case
   * @throws S3Error IncompleteBody, SignatureDoesNotMatch
   */
  finish(): readonly (readonly [name: string, value: string])[] {
    // Some clients leave out the last empty line, and with it a trailer they do not have.
    if (this.#state !== 'trailer' && this.#state !== 'end') throw new S3Error('IncompleteBody')
    if (this.#line !== '') throw new S3Error('IncompleteBody')
    if (this.#chain === null || this.#trailers.length === 0) return this.#trailers
    const [last, ...before] = this.#trailers.toReversed()
    if (last?.[0] !== 'x-amz-trailer-signature') throw new S3Error('SignatureDoesNotMatch')
    const canonical = before.map(([name, value]) => `${name}:${value}\n`).sort().join('')
    expectSignature(this.#chain.trailer(createHash('sha256').update(canonical, 'latin1').digest()), last[1])
    return before.toReversed()
  }

  #takeLine(): void {
    const line = this.#line.replace(/\r?\n$/, '')
    this.#line = ''
    if (this.#state === 'header') this.#takeHeader(line)
    else if (this.#state === 'data-end') {
      if (line !== '') throw new S3Error('IncompleteBody')
      this.#state = 'header'
    } else if (this.#state === 'trailer') this.#takeTrailer(line)
    else if (line !== '') throw new S3Error('IncompleteBody')
  }

  #takeHeader(line: string): void {
    const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line)
    if (match === null || (this.#chain !== null) !== (match[2] !== undefined)) throw new S3Error('IncompleteBody')
    this.#left = parseInt(match[1] ?? '', 16)
    this.#signature = match[2] ?? ''
    if (this.#left > 0) this.#state = 'data'
    else {
      this.#verifyChunk()
      this.#state = 'trailer'
    }
  }

  #endOfData(): void {
    this.#verifyChunk()
    this.#state = 'data-end'
  }

  #takeTrailer(line: string): void {
    if (line === '') {
      // minio-go ends a trailer line with \n\r\n, so an empty line may stand between the trailers and their signature.
      if (
        this.#chain === null || this.#trailers.at(-1)?.[0] === 'x-amz-trailer-signature' ||
        this.#trailers.length === 0
      ) this.#state = 'end'
      return
    }
    const colon = line.indexOf(':')
    if (colon <= 0 || this.#trailers.length === TRAILER_LINES) throw new S3Error('MalformedTrailerError')
    this.#trailers.push([line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()])
  }

  #verifyChunk(): void {
    if (this.#chain === null) return
    expectSignature(this.#chain.next(this.#hash.digest()), this.#signature)
    this.#hash = createHash('sha256')
  }
}

function expectSignature(expected: string, received: string): void {
  if (!equalSignatures(expected, received)) throw new S3Error('SignatureDoesNotMatch')
}
