import { createHash } from 'node:crypto'
import { S3Error } from '../errors.ts'
import { algorithmOfHeader, combineCrc, compositeChecksum, isCombinable, parseChecksum, requireChecksumAlgorithm } from '../http/checksums.ts'
import { textElement } from './xml.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'
import type { HeaderList } from '../http/message.ts'
import type { ResponseHeaders } from './request.ts'
import type { FinishedPart, StoredChecksum } from './records.ts'

/** A checksum the client sent, or (value null) announced to send after the body. */
export interface DeclaredChecksum {
  readonly algorithm: ChecksumAlgorithm
  readonly value: string | null
}

/**
 * Which checksum comes with the body: one header, or one trailer (AWS, "Checking object integrity").
 * @throws S3Error InvalidRequest
 */
export function declaredChecksum(headers: HeaderList): DeclaredChecksum | null {
  const given = [...headers.names()].filter((name) => algorithmOfHeader(name) !== null)
  const trailer = headers.get('x-amz-trailer')?.trim().toLowerCase()
  if (given.length + (trailer === undefined ? 0 : 1) > 1) {
    throw new S3Error('InvalidRequest', { message: 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.' })
  }
  const name = given[0] ?? trailer
  if (name === undefined) {
    if (!headers.has('x-amz-sdk-checksum-algorithm')) return null
    throw new S3Error('InvalidRequest', {
      message: 'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.'
    })
  }
  const named = algorithmOfHeader(name)
  if (named === null) {
    throw new S3Error('InvalidRequest', { message: 'The value specified in the x-amz-trailer header is not supported' })
  }
  const algorithm = requireChecksumAlgorithm(named)
  const value = given[0] === undefined ? null : headers.get(name) ?? ''
  if (value !== null && parseChecksum(algorithm, value) === null) {
    throw new S3Error('InvalidRequest', { message: `Value for ${name} header is invalid.` })
  }
  return { algorithm, value }
}

export function checksumMismatch(algorithm: ChecksumAlgorithm): S3Error {
  return new S3Error('BadDigest', { message: `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.` })
}

/** MD5 of the MD5s of the parts, and their number (AWS, CompleteMultipartUpload). @param etags hex */
export function multipartEtag(etags: readonly string[]): string {
  const hash = createHash('md5')
  for (const etag of etags) hash.update(Buffer.from(etag, 'hex'))
  return `${hash.digest('hex')}-${etags.length}`
}

/** The checksum of an object uploaded in parts, from the checksums of all its parts. */
export function multipartChecksum(algorithm: ChecksumAlgorithm, type: StoredChecksum['type'], parts: readonly FinishedPart[]): StoredChecksum {
  const digests = parts.map(({ checksum }) => Buffer.from(checksum?.value ?? '', 'base64'))
  if (type === 'COMPOSITE') return { algorithm, type, value: `${compositeChecksum(algorithm, digests).toString('base64')}-${parts.length}` }
  if (!isCombinable(algorithm)) throw new Error(`${algorithm} has no FULL_OBJECT checksum of parts`)
  const [first = Buffer.alloc(0), ...rest] = digests
  const value = rest.reduce<Buffer>((sum, digest, i) => combineCrc(algorithm, sum, digest, parts[i + 1]?.size ?? 0), first)
  return { algorithm, type, value: value.toString('base64') }
}

export function checksumHeaders(checksum: StoredChecksum | null): ResponseHeaders {
  return checksum === null ? [] : [[`x-amz-checksum-${checksum.algorithm}`, checksum.value], ['x-amz-checksum-type', checksum.type]]
}

/** The element of the algorithm, for documents that list parts. */
export function checksumElement(checksum: StoredChecksum | null): string {
  return checksum === null ? '' : textElement(`Checksum${checksum.algorithm.toUpperCase()}`, checksum.value)
}
