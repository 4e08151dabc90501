import { createHash, hash, type Hash } from 'node:crypto'
import { S3Error } from '../errors.ts'
import { createChecksum, parseChecksum, type Checksum, type ChecksumAlgorithm } from '../http/checksums.ts'
import type { ByteStage } from '../http/stage.ts'
import { equalSignatures } from '../sigv4/signing.ts'
import { AwsChunkedDecoder, type Trailers } from './aws-chunked-decoder.ts'
import type { PayloadPromise } from './types.ts'

/** Digests of the plaintext, known once the whole body has verified. */
interface BodyDigests {
  /** null unless asked for, promised as Content-MD5 or given as the checksum. */
  readonly md5: Buffer | null
  /** The checksum the client gave, as a header or a trailer; else the one asked for. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: Buffer } | null
  /** null unless the client signed it or gave it as its checksum. */
  readonly sha256: Buffer | null
}

/**
 * Checks the body of a request against everything its headers promised, and removes the aws-chunked framing: raw bytes in,
 * plaintext out.
 *
 * Bytes are passed on before the promises can be judged (digests, trailers and chunk signatures come last), so nothing
 * that follows may be committed before `final` has returned: the consumer holds its last segment back until then.
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
