import type { Checksum } from '../../envelope/envelope.ts'
import type { Execution } from '../context.ts'
import type { Attempt } from './part-records.ts'
import type { Upload } from './upload.ts'
import { S3Error } from '../../errors.ts'
import { combineCrc, compositeChecksum, isCombinable } from '../../http/checksums.ts'
import { header } from '../context.ts'
import { declaredChecksum } from './select-parts.ts'

/**
 * The checksum of the finished object, made of those of its parts: a digest of digests, or the CRCs combined as if over the
 * whole (AWS, "Checking object integrity"). Held against what the request declares.
 * @returns null when the upload was created without one.
 * @throws S3Error InvalidRequest for another type or algorithm than the upload's, BadDigest for another value.
 */
export function objectChecksum(x: Execution, { settings }: Upload, parts: readonly Attempt[]): Checksum | null {
  const { checksumAlgorithm: algorithm, checksumType: type } = settings
  const named = header(x, 'x-amz-checksum-type')?.toUpperCase()
  if (named !== undefined && named !== typeName(type)) {
    throw new S3Error('InvalidRequest', {
      message: `The upload was created using the ${typeName(type)} checksum mode. The complete request must use the same checksum mode.`
    })
  }
  const declared = declaredChecksum(x)
  if (algorithm === null || type === null) {
    if (declared === null) return null
    throw new S3Error('InvalidRequest', {
      message: 'The upload was created without a checksum algorithm. The complete request must not give a checksum.'
    })
  }
  const values = parts.map(({ checksum }) => checksum?.algorithm === algorithm ? checksum.value : null).filter((value) => value !== null)
  // Parts are only stored with the checksum of their upload.
  if (values.length !== parts.length) throw new S3Error('InternalError')
  const value = type === 'composite' ? compositeChecksum(algorithm, values) : combined(algorithm, parts, values)
  const text = value.toString('base64')
  const right = declared === null || (declared.algorithm === algorithm
    && (declared.value === text || (type === 'composite' && declared.value === `${text}-${parts.length}`)))
  if (!right) {
    throw new S3Error('BadDigest', { message: `The ${algorithm} you specified did not match the calculated checksum.` })
  }
  return { algorithm, type, value }
}

function typeName(type: Checksum['type'] | null): string {
  return type === null ? 'null' : type === 'full' ? 'FULL_OBJECT' : 'COMPOSITE'
}

function combined(algorithm: Checksum['algorithm'], parts: readonly Attempt[], values: readonly Buffer[]): Buffer {
  if (!isCombinable(algorithm)) throw new S3Error('InternalError')
  const [first = Buffer.alloc(0), ...rest] = values
  return rest.reduce((crc, next, i) => combineCrc(algorithm, crc, next, parts[i + 1]?.plaintextSize ?? 0), first)
}
