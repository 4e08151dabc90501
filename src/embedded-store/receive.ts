import { createHash, type Hash } from 'node:crypto'
import type { BlobWriter } from './backend.ts'
import type { Blob, StoredChecksum } from './records.ts'
import type { StoreContext, StoreRequest } from './request.ts'
import { S3Error } from '../errors.ts'
import { createChecksum, decodeBase64, parseChecksum, type Checksum, type ChecksumAlgorithm } from '../http/checksums.ts'
import { checksumMismatch, declaredChecksum, type DeclaredChecksum } from './checksums.ts'
import { equalSignatures, type ChunkSignatureChain } from '../sigv4/signing.ts'

/** Bytes in one PUT, part or copy (AWS, "Amazon S3 multipart upload limits"). */
export const UPLOAD_LIMIT = 5 * 1024 ** 3
const DOCUMENT_LIMIT = 1024 * 1024

export interface Received {
  readonly blob: Blob
  /** Hex MD5: the ETag. */
  readonly md5: string
  readonly checksum: StoredChecksum | null
}

/**
 * Reads the body of PutObject or UploadPart into a blob. Nothing is left behind when the body does not match its declarations, or when the client
 * disconnects.
 * @param algorithm checksum to compute where the client sends none
 */
export async function receiveBlob(request: StoreRequest, context: StoreContext, algorithm: ChecksumAlgorithm | null): Promise<Received> {
  if (request.payload.framing === 'plain' && !request.headers.has('content-length')) throw new S3Error('MissingContentLength')
  const check = new BodyCheck(request, algorithm)
  const writer: BlobWriter = await context.catalog.backend.createBlob()
  try {
    await check.read(UPLOAD_LIMIT, (chunk) => writer.write(chunk))
    return { blob: await writer.commit(), ...check.finish() }
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/**
 * Reads an XML or JSON body.
 * @param digest whether S3 insists on Content-MD5 or a checksum for this document
 * @throws S3Error InvalidRequest, MaxMessageLengthExceeded
 */
export async function receiveDocument(request: StoreRequest, digest: 'demanded' | 'optional' = 'optional'): Promise<Buffer> {
  if (digest === 'demanded' && !request.headers.has('content-md5') && declaredChecksum(request.headers) === null) {
    throw new S3Error('InvalidRequest', { message: 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*' })
  }
  const chunks: Buffer[] = []
  const check = new BodyCheck(request, null)
  await check.read(DOCUMENT_LIMIT, (chunk) => {
    chunks.push(chunk)
    return undefined
  })
  check.finish()
  return Buffer.concat(chunks)
}

/** Everything that a client can declare of a body, checked while it passes. */
class BodyCheck {
  readonly #request: StoreRequest
  readonly #declared: DeclaredChecksum | null
  readonly #contentMd5: string | undefined
  readonly #checksum: { readonly algorithm: ChecksumAlgorithm; readonly state: Checksum } | null
  readonly #md5 = createHash('md5')
  readonly #sha256
  readonly #decoder: AwsChunkedDecoder | null

  constructor(request: StoreRequest, algorithm: ChecksumAlgorithm | null) {
    const { payload, headers } = request
    this.#request = request
    this.#declared = declaredChecksum(headers)
    const wanted = this.#declared?.algorithm ?? algorithm
    this.#checksum = wanted === null ? null : { algorithm: wanted, state: createChecksum(wanted) }
    this.#contentMd5 = headers.get('content-md5')
    if (this.#contentMd5 !== undefined && decodeBase64(this.#contentMd5, 16) === null) throw new S3Error('InvalidDigest')
    this.#sha256 = payload.framing === 'plain' && payload.sha256 !== null ? createHash('sha256') : null
    this.#decoder = payload.framing === 'aws-chunked' ? new AwsChunkedDecoder(payload.chain) : null
  }

  /** @param limit bytes of payload */
  async read(limit: number, write: (chunk: Buffer) => Promise<void> | undefined): Promise<void> {
    const { http } = this.#request
    const declared = this.#declaredLength()
    if (declared !== null && declared > limit) throw tooLarge(declared, limit)
    http.sendContinue()
    let length = 0
    // The socket must outlive a body that is refused halfway, because it carries the answer.
    for await (const chunk of http.body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      for (const data of this.#decoder === null ? [chunk] : this.#decoder.update(chunk)) {
        length += data.length
        if (length > (declared ?? limit)) throw declared === null ? tooLarge(length, limit) : new S3Error('IncompleteBody')
        this.#md5.update(data)
        this.#sha256?.update(data)
        this.#checksum?.state.update(data)
        await write(data)
      }
    }
    if (declared !== null && length !== declared) throw new S3Error('IncompleteBody')
  }

  /** Call after the last byte. @throws S3Error BadDigest, XAmzContentSHA256Mismatch, MalformedTrailerError, … */
  finish(): { readonly md5: string; readonly checksum: StoredChecksum | null } {
    const { payload } = this.#request
    const trailers = this.#decoder?.finish() ?? []
    const sha256 = this.#sha256?.digest('hex')
    if (payload.framing === 'plain' && payload.sha256 !== null && sha256 !== payload.sha256) {
      throw new S3Error('XAmzContentSHA256Mismatch', { fields: { ClientComputedContentSHA256: payload.sha256, S3ComputedContentSHA256: sha256 ?? '' } })
    }
    const md5 = this.#md5.digest()
    if (this.#contentMd5 !== undefined && md5.toString('base64') !== this.#contentMd5) {
      throw new S3Error('BadDigest', { fields: { ExpectedDigest: this.#contentMd5, CalculatedDigest: md5.toString('base64') } })
    }
    return { md5: md5.toString('hex'), checksum: this.#finishChecksum(trailers) }
  }

  #finishChecksum(trailers: readonly (readonly [name: string, value: string])[]): StoredChecksum | null {
    const declared = this.#declared === null ? null : this.#declared.value ?? trailerValue(trailers, this.#declared.algorithm)
    if (this.#declared === null && trailers.length > 0) throw new S3Error('MalformedTrailerError')
    if (this.#checksum === null) return null
    const { algorithm, state } = this.#checksum
    const value = state.digest().toString('base64')
    if (declared !== null && declared !== value) throw checksumMismatch(algorithm)
    return { algorithm, value, type: 'FULL_OBJECT' }
  }

  /** Bytes of payload the client announced; null when it did not. */
  #declaredLength(): number | null {
    if (this.#decoder === null) return this.#request.http.contentLength
    const decoded = this.#request.headers.get('x-amz-decoded-content-length')
    if (decoded === undefined || !/^\d{1,15}$/.test(decoded)) throw new S3Error('MissingContentLength')
    return Number(decoded)
  }
}

function trailerValue(trailers: readonly (readonly [name: string, value: string])[], algorithm: ChecksumAlgorithm): string {
  const [trailer, second] = trailers
  const name = `x-amz-checksum-${algorithm}`
  if (trailer?.[0] !== name || second !== undefined) throw new S3Error('MalformedTrailerError')
  if (parseChecksum(algorithm, trailer[1]) === null) {
    throw new S3Error('InvalidRequest', { message: `Value for ${name} trailing header is invalid.` })
  }
  return trailer[1]
}

function tooLarge(size: number, limit: number): S3Error {
  return limit === DOCUMENT_LIMIT
    ? new S3Error('MaxMessageLengthExceeded')
    : new S3Error('EntityTooLarge', { fields: { ProposedSize: String(size), MaxSizeAllowed: String(limit) } })
}

/** A chunk header is a size and one signature; a trailer is a checksum and one signature. */
const LINE_LIMIT = 1024
const TRAILER_LINES = 8

type State = 'header' | 'data' | 'data-end' | 'trailer' | 'end'

/**
 * Takes the aws-chunked framing off a body (AWS, "Signature calculations for the Authorization header: transferring payload
 * in multiple chunks") and verifies chunk signatures as the bytes pass. Data is returned before the signature of its chunk
 * has been read: it must not be published before `finish` has returned.
 */
class AwsChunkedDecoder {
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
