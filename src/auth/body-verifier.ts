import { createHash, hash, type Hash } from 'node:crypto'
import type { ByteStage } from '../http/stage.ts'
import type { PayloadPromise, ChunkSigner } from './types.ts'
import { S3Error } from '../errors.ts'
import { createChecksum, emptySha256, parseChecksum, type Checksum, type ChecksumAlgorithm } from '../http/checksums.ts'
import { equalSignatures } from '../sigv4/signing.ts'

/** Digests of the plaintext, known once the whole body has verified. */
interface BodyDigests {
  /** null unless asked for, declared as Content-MD5 or given as the checksum. */
  readonly md5: Buffer | null
  /** The checksum the client gave, as a header or a trailer; else the one asked for. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: Buffer } | null
  /** null unless the client signed it or gave it as its checksum. */
  readonly sha256: Buffer | null
}

/**
 * Checks the body of a request against everything its headers declare, and removes the aws-chunked framing: raw bytes in, plaintext out.
 * Bytes are passed on before the declarations can be checked (digests, trailers and chunk signatures come last), so no stage behind may commit
 * anything before `final` has returned: the consumer holds its last segment back until then.
 */
export class BodyVerifier implements ByteStage {
  readonly #promise: PayloadPromise
  readonly #decoder: AwsChunkedDecoder | null
  readonly #md5: Hash | null
  readonly #sha256: Hash | null
  readonly #algorithm: ChecksumAlgorithm | null
  readonly #checksum: Checksum | null
  #received = 0
  #digests: BodyDigests | null = null

  /**
   * @param options.computeMd5 compute the MD5 even if the client gave none (it becomes the ETag).
   * @param options.computeChecksum of this algorithm, if the client gave none.
   */
  constructor(promise: PayloadPromise, options: { readonly computeMd5: boolean; readonly computeChecksum?: ChecksumAlgorithm | null }) {
    this.#promise = promise
    this.#decoder = promise.framing === 'aws-chunked'
      ? new AwsChunkedDecoder(promise.length, promise.chunkSigner, promise.trailer !== null || promise.chunkSigner === null)
      : null
    const algorithm = promise.checksum?.algorithm ?? promise.trailer ?? options.computeChecksum ?? null
    this.#algorithm = algorithm
    this.#sha256 = promise.sha256 !== null || algorithm === 'sha256' ? createHash('sha256') : null
    this.#md5 = options.computeMd5 || promise.contentMd5 !== null || algorithm === 'md5' ? createHash('md5') : null
    this.#checksum = algorithm === null || algorithm === 'sha256' || algorithm === 'md5' ? null : createChecksum(algorithm)
  }

  /** @throws Error before `final` has returned. */
  get digests(): BodyDigests {
    if (this.#digests === null) throw new Error('The digests of a body exist only after it has verified.')
    return this.#digests
  }

  /** @throws S3Error IncompleteBody, SignatureDoesNotMatch, MalformedTrailerError */
  update(chunk: Buffer): readonly Buffer[] {
    const out: Buffer[] = []
    if (this.#decoder === null) out.push(chunk)
    else this.#decoder.decode(chunk, out)
    for (const data of out) {
      this.#received += data.length
      this.#md5?.update(data)
      this.#sha256?.update(data)
      this.#checksum?.update(data)
    }
    if (this.#received > this.#promise.length) throw new S3Error('IncompleteBody')
    return out
  }

  /**
   * @throws S3Error IncompleteBody (length), MalformedTrailerError, SignatureDoesNotMatch (trailer), XAmzContentSHA256Mismatch,
   * BadDigest (Content-MD5 or checksum), InvalidRequest (trailer value).
   */
  final(): readonly Buffer[] {
    const trailed = this.#decoder === null ? null : this.#readTrailers(this.#decoder.end())
    if (this.#received !== this.#promise.length) throw new S3Error('IncompleteBody')
    const sha256 = this.#sha256?.digest() ?? null
    this.#checkSha256(sha256)
    const md5 = this.#md5?.digest() ?? null
    this.#checkMd5(md5)
    const declared = this.#promise.checksum ?? trailed
    const computed = this.#checksum?.digest() ?? (this.#algorithm === 'md5' ? md5 : sha256)
    const wanted = this.#algorithm === null || computed === null ? null : { algorithm: this.#algorithm, value: computed }
    if (declared !== null && (computed === null || !computed.equals(declared.value))) {
      throw new S3Error('BadDigest', { message: `The ${declared.algorithm.toUpperCase()} you specified did not match the calculated checksum.` })
    }
    this.#digests = { md5, checksum: declared ?? wanted, sha256 }
    return []
  }

  #readTrailers(trailers: Trailers): BodyDigests['checksum'] {
    const { trailer, chunkSigner } = this.#promise
    const [field, ...more] = trailers.fields
    if (more.length > 0 || field?.[0] !== (trailer === null ? undefined : `x-amz-checksum-${trailer}`)) throw new S3Error('MalformedTrailerError')
    if ((trailers.signature !== null) !== (chunkSigner !== null && field !== undefined)) throw new S3Error('MalformedTrailerError')
    if (trailer === null || field === undefined) return null
    const expected = chunkSigner?.trailer(hash('sha256', `${field[0]}:${field[1]}\n`, 'buffer'))
    if (expected !== undefined && !equalSignatures(expected, trailers.signature ?? '')) throw new S3Error('SignatureDoesNotMatch')
    const value = parseChecksum(trailer, field[1])
    if (value === null) throw new S3Error('InvalidRequest', { message: `Value for ${field[0]} trailing header is invalid.` })
    return { algorithm: trailer, value }
  }

  #checkSha256(computed: Buffer | null): void {
    const { sha256 } = this.#promise
    if (sha256 === null || computed?.toString('hex') === sha256) return
    throw new S3Error('XAmzContentSHA256Mismatch', {
      fields: { ClientComputedContentSHA256: sha256, S3ComputedContentSHA256: computed?.toString('hex') ?? '' }
    })
  }

  #checkMd5(computed: Buffer | null): void {
    const { contentMd5 } = this.#promise
    if (contentMd5 === null || computed?.equals(contentMd5) === true) return
    throw new S3Error('BadDigest', {
      message: 'The Content-MD5 you specified did not match what we received.',
      fields: { ExpectedDigest: contentMd5.toString('base64'), CalculatedDigest: computed?.toString('base64') ?? '' }
    })
  }
}

/** Bytes of a chunk header or trailer line, including its end. MinIO limits the line in the same way. */
const maxLine = 4096
/** Trailer lines that are read. S3 has one and the signature; more are read so that the error can name the fault. */
const maxTrailerLines = 8
const emptyDigest = Buffer.from(emptySha256, 'hex')

export interface Trailers {
  /** Lower-case names, in the order received, without the signature. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly signature: string | null
}

/**
 * Decoder of the `aws-chunked` framing (AWS, "Signature calculations … multiple chunks (chunked upload)"), a state machine over input split anywhere.
 * It never holds a chunk, which may be the whole object: its data passes as it comes.
 * Data of a signed chunk is passed on before the signature of the chunk is known. That is safe only because the consumer commits nothing before `end`
 * has returned: the sealing stage keeps its last segment, and the upstream request stays short of its Content-Length. If chunks were held back, the
 * client would choose the gateway's memory use.
 * Tolerated because of real clients: trailer lines that end in `\n\r\n` (minio-go), no final CRLF (smithy-typescript), any chunk size at any place
 * (AWS demands 8 KiB, SDK streams send less), no trailer although the request announced the mode.
 */
export class AwsChunkedDecoder {
  readonly #signer: ChunkSigner | null
  readonly #trailersAllowed: boolean
  #state: 'header' | 'data' | 'data-end' | 'trailer' | 'done' = 'header'
  /** Data bytes of the whole body still to come by its declared length. */
  #remaining: number
  /** Data bytes of the current chunk still to come. */
  #inChunk = 0
  /** Start of a line whose end has not arrived yet. */
  #line = ''
  #claimed = ''
  #hash: Hash | null = null
  readonly #fields: (readonly [string, string])[] = []
  #trailerSignature: string | null = null

  /** @param length declared bytes of data. @param signer null: unsigned framing. */
  constructor(length: number, signer: ChunkSigner | null, trailersAllowed: boolean) {
    this.#remaining = length
    this.#signer = signer
    this.#trailersAllowed = trailersAllowed
  }

  /**
   * @param out gets the data found in `input`, as views of it.
   * @throws S3Error IncompleteBody for broken framing or more data than declared, SignatureDoesNotMatch for a chunk,
   * MalformedTrailerError for trailers.
   */
  decode(input: Buffer, out: Buffer[]): void {
    let at = 0
    while (at < input.length) {
      if (this.#state === 'data') at = this.#takeData(input, at, out)
      else if (this.#state === 'done') throw broken('There are bytes after the last chunk.')
      else at = this.#takeLine(input, at)
    }
  }

  /** @throws S3Error IncompleteBody when the body ended before its last chunk. */
  end(): Trailers {
    const complete = this.#state === 'done' || (this.#state === 'trailer' && this.#line === '')
    if (!complete) throw broken('The body ended before its last chunk.')
    return { fields: this.#fields, signature: this.#trailerSignature }
  }

  #takeData(input: Buffer, at: number, out: Buffer[]): number {
    const end = Math.min(input.length, at + this.#inChunk)
    const data = input.subarray(at, end)
    this.#inChunk -= data.length
    this.#hash?.update(data)
    out.push(data)
    if (this.#inChunk === 0) {
      if (this.#hash !== null) this.#checkSignature(this.#hash.digest())
      this.#hash = null
      this.#state = 'data-end'
    }
    return end
  }

  /** Lines end in CRLF; a bare LF inside (minio-go's trailers) is part of the line. */
  #takeLine(input: Buffer, from: number): number {
    let at = from
    while (at < input.length) {
      const lf = input.indexOf(0x0a, at)
      const end = lf < 0 ? input.length : lf + 1
      if (this.#line.length + end - at > maxLine) throw broken('A line of the chunk framing is too long.')
      this.#line += input.toString('latin1', at, end)
      at = end
      if (this.#line.endsWith('\r\n')) {
        const line = this.#line.slice(0, -2)
        this.#line = ''
        this.#handleLine(line)
        break
      }
    }
    return at
  }

  #handleLine(line: string): void {
    if (this.#state === 'header') this.#startChunk(line)
    else if (this.#state === 'trailer') this.#takeTrailer(line)
    else if (line === '') this.#state = 'header'
    else throw broken('A chunk is longer than its header declares.')
  }

  #startChunk(line: string): void {
    const match = (this.#signer === null ? /^([0-9a-fA-F]{1,16})$/ : /^([0-9a-fA-F]{1,16});chunk-signature=([0-9a-f]{64})$/).exec(line)
    if (match === null) throw broken('A chunk header is malformed.')
    const size = parseInt(match[1] ?? '', 16)
    if (size > this.#remaining) throw broken(undefined)
    this.#claimed = match[2] ?? ''
    this.#remaining -= size
    this.#inChunk = size
    if (size > 0) {
      this.#state = 'data'
      if (this.#signer !== null) this.#hash = createHash('sha256')
      return
    }
    if (this.#remaining > 0) throw broken(undefined)
    this.#checkSignature(emptyDigest)
    this.#state = 'trailer'
  }

  #checkSignature(sha256: Buffer): void {
    if (this.#signer !== null && !equalSignatures(this.#signer.next(sha256), this.#claimed)) throw new S3Error('SignatureDoesNotMatch')
  }

  #takeTrailer(line: string): void {
    if (line === '') {
      this.#state = 'done'
      return
    }
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e]*)[ \t]*\n?$/.exec(line)
    const name = match?.[1]?.toLowerCase()
    const value = match?.[2] ?? ''
    if (name === undefined || !this.#trailersAllowed || this.#trailerSignature !== null || this.#fields.length === maxTrailerLines) {
      throw new S3Error('MalformedTrailerError')
    }
    if (name === 'x-amz-trailer-signature') this.#trailerSignature = value
    else this.#fields.push([name, value])
  }
}

function broken(message: string | undefined): S3Error {
  return new S3Error('IncompleteBody', message === undefined ? {} : { message })
}
