import type { UploadSettings } from '../../envelope/upload-records.ts'
import type { PayloadPromise } from '../../auth/types.ts'
import { S3Error } from '../../errors.ts'
import { checksumAlgorithms, invalidChecksumHeader, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../../http/checksums.ts'

type ChecksumSettings = Pick<UploadSettings, 'checksumAlgorithm' | 'checksumType'>

/**
 * Algorithm and type that CreateMultipartUpload settles (AWS, "Checking object integrity": the types that each algorithm allows).
 * @throws S3Error InvalidRequest for an algorithm that is not computed here, a type without algorithm, or the wrong type.
 */
export function checksumSettings(headers: ReadonlyMap<string, string>): ChecksumSettings {
  const named = headers.get('x-amz-checksum-algorithm')
  const type = headers.get('x-amz-checksum-type')?.toUpperCase()
  if (type !== undefined && type !== 'COMPOSITE' && type !== 'FULL_OBJECT') {
    throw invalidChecksumHeader('x-amz-checksum-type')
  }
  if (named === undefined) {
    if (type !== undefined) throw invalid('The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.')
    return { checksumAlgorithm: null, checksumType: null }
  }
  const algorithm = requireChecksumAlgorithm(named)
  const { composite, fullObject } = checksumAlgorithms[algorithm]
  const chosen = type ?? (composite ? 'COMPOSITE' : 'FULL_OBJECT')
  if (chosen === 'COMPOSITE' ? !composite : !fullObject) {
    throw invalid(`The ${chosen} checksum type cannot be used with the ${algorithm} checksum algorithm.`)
  }
  return { checksumAlgorithm: algorithm, checksumType: chosen === 'COMPOSITE' ? 'composite' : 'full' }
}

/**
 * Compares the checksum of a part with the settings of its upload.
 * @param origin a copied part has no checksum from the client: S3 computes the upload's own.
 * @returns the algorithm to compute here, because S3 computes it where the client gives none; else null.
 * @throws S3Error InvalidRequest when the algorithms differ, as S3 words it.
 */
export function partChecksum(
  settings: ChecksumSettings,
  payload: Pick<PayloadPromise, 'checksum' | 'trailer'>,
  origin: 'client' | 'copy'
): ChecksumAlgorithm | null {
  const given = payload.checksum?.algorithm ?? payload.trailer
  const { checksumAlgorithm, checksumType } = settings
  if (checksumAlgorithm === null || given === checksumAlgorithm) return null
  if (given === null && (checksumType === 'full' || origin === 'copy')) return checksumAlgorithm
  throw invalid(`Checksum Type mismatch occurred, expected checksum Type: ${checksumAlgorithm}, actual checksum Type: ${given ?? 'null'}`)
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', { message })
}
