import { S3Error } from '../errors.ts'
import {
  algorithmOfHeader,
  checksumAlgorithmNamed,
  decodeBase64,
  emptySha256,
  invalidChecksumHeader,
  parseChecksum,
  requireChecksumAlgorithm,
  singleChecksumHeader,
  type ChecksumAlgorithm
} from '../http/checksums.ts'
import type { HttpRequest } from '../http/message.ts'
import type { ContentSha256 } from '../sigv4/claims.ts'
import { contentSha256Refused } from './errors.ts'
import type { Authenticated, ChunkSigner, PayloadPromise } from './types.ts'

/**
 * The declarations of a verified request about its body. They depend at most on the method; what only some operations allow is checked by
 * `admitPayload`, once the operation is known.
 * @param headers as S3 sees them, names in lower case.
 * @param word null where the scheme does not cover the body (Signature Version 2, anonymous).
 * @param chunkSigner for signed streaming words.
 * @throws S3Error MissingContentLength, InvalidDigest, InvalidRequest, XAmzContentSHA256Mismatch
 */
export function payloadPromise(
  request: Pick<HttpRequest, 'method' | 'contentLength' | 'target'>,
  headers: ReadonlyMap<string, string>,
  word: ContentSha256 | null,
  chunkSigner: ChunkSigner | null
): PayloadPromise {
  const sha256 = word?.kind === 'hash' ? word.text : null
  if (word?.kind === 'streaming') {
    // PutObject and UploadPart are the only operations AWS allows it on: refuse the other methods before anything is read.
    if (request.method !== 'PUT') throw contentSha256Refused()
    const length = decodedLength(headers)
    const trailer = trailerAlgorithm(headers, word.trailer)
    return { framing: 'aws-chunked', length, sha256: null, chunkSigner, ...declaredDigests(headers, trailer), trailer }
  }
  if (headers.has('x-amz-trailer')) throw new S3Error('InvalidRequest', { message: 'x-amz-trailer needs a streaming value of x-amz-content-sha256.' })
  if (request.contentLength === null) throw new S3Error('MissingContentLength')
  if (request.contentLength === 0 && request.method !== 'PUT' && request.method !== 'POST') {
    if (sha256 !== null && sha256 !== emptySha256) {
      throw new S3Error('XAmzContentSHA256Mismatch', { fields: { ClientComputedContentSHA256: sha256, S3ComputedContentSHA256: emptySha256 } })
    }
    return { framing: 'none', length: 0, sha256: null, chunkSigner: null, contentMd5: null, checksum: null, trailer: null }
  }
  // On CompleteMultipartUpload the checksum headers are those of the finished object, not of the XML in the body.
  const ofObject = request.method === 'POST' && request.target.query.has('uploadId')
  const digests = ofObject ? { contentMd5: contentMd5(headers), checksum: null } : declaredDigests(headers, null)
  return { framing: 'plain', length: request.contentLength, sha256, chunkSigner: null, ...digests, trailer: null }
}

/** Strict decimal: no sign, no space, no leading zero, exact as a JavaScript number. */
function decodedLength(headers: ReadonlyMap<string, string>): number {
  const text = headers.get('x-amz-decoded-content-length') ?? ''
  const length = /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : NaN
  if (!Number.isSafeInteger(length)) throw new S3Error('MissingContentLength')
  return length
}

/** Content-MD5 and the flexible checksum given as headers or form fields (not in a trailer). */
export function declaredDigests(
  headers: ReadonlyMap<string, string>,
  trailer: ChecksumAlgorithm | null
): Pick<PayloadPromise, 'contentMd5' | 'checksum'> {
  return { contentMd5: contentMd5(headers), checksum: declaredChecksum(headers, trailer) }
}

function contentMd5(headers: ReadonlyMap<string, string>): Buffer | null {
  const text = headers.get('content-md5')
  if (text === undefined) return null
  const md5 = decodeBase64(text, 16)
  if (md5 === null) throw new S3Error('InvalidDigest', { message: 'The Content-MD5 you specified was invalid.', fields: { 'Content-MD5': text } })
  return md5
}

function declaredChecksum(headers: ReadonlyMap<string, string>, trailer: ChecksumAlgorithm | null): PayloadPromise['checksum'] {
  const declared = singleChecksumHeader(headers, trailer === null ? 1 : 0)
  if (declared === null) return null
  const { algorithm, name, text } = declared
  const value = parseChecksum(algorithm, text)
  if (value === null) throw invalidChecksumHeader(name)
  return { algorithm, value }
}

function trailerAlgorithm(headers: ReadonlyMap<string, string>, allowed: boolean): ChecksumAlgorithm | null {
  const name = headers.get('x-amz-trailer')?.trim().toLowerCase()
  if (name === undefined) return null
  const named = algorithmOfHeader(name)
  if (!allowed || named === null) {
    throw new S3Error('InvalidRequest', { message: 'The value specified in the x-amz-trailer header is not supported' })
  }
  return requireChecksumAlgorithm(named)
}

/**
 * The rules for bodies that depend on the operation; to be called for every operation before its body is read.
 * @param carries `object-data` for PutObject and UploadPart, `other` for everything else.
 * @throws S3Error InvalidRequest for aws-chunked framing elsewhere and for `x-amz-sdk-checksum-algorithm` without such a
 * checksum; MissingContentLength for object data of no stated length.
 */
export function admitPayload(authenticated: Pick<Authenticated, 'http' | 'headers' | 'payload' | 'scheme'>, carries: 'object-data' | 'other'): void {
  const { http: request, headers, payload } = authenticated
  if (carries === 'other') {
    if (payload.framing === 'aws-chunked') throw contentSha256Refused()
    return
  }
  // In HTTP a request without a length has an empty body, but AWS demands a length (curl -X PUT gets a 411).
  if (payload.framing !== 'aws-chunked' && authenticated.scheme !== 'post-policy' && !request.headers.has('content-length')) {
    throw new S3Error('MissingContentLength')
  }
  const hint = headers.get('x-amz-sdk-checksum-algorithm')
  if (hint === undefined) return
  const declared = payload.checksum?.algorithm ?? payload.trailer
  if (declared === null) {
    throw new S3Error('InvalidRequest', {
      message: 'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.'
    })
  }
  if (checksumAlgorithmNamed(hint) !== declared) {
    throw new S3Error('InvalidRequest', { message: 'Value for x-amz-sdk-checksum-algorithm header is invalid.' })
  }
}
