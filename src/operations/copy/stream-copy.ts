import type { Readable } from 'node:stream'
import type { Checksum } from '../../envelope/envelope.ts'
import type { CopySource } from '../../s3/names.ts'
import type { BodySource } from '../request-body.ts'
import type { ObjectContext, OperationContext } from '../context.ts'
import type { CopiedChecksum } from './copy-source.ts'
import type { InspectedObject } from '../objects/sealed-object.ts'
import type { AddHeaders } from '../responses.ts'
import { S3Error } from '../../errors.ts'
import { algorithmOfHeader, checksumAlgorithmNamed } from '../../http/checksums.ts'
import { copiedHeaders, copiedTags, copyResult } from './copied-properties.ts'
import { fetchSlice } from '../objects/read-body.ts'
import { sealObject, type StoredAnswer, storePlain } from '../objects/put-object.ts'

interface Through {
  readonly checksum: CopiedChecksum | null
  readonly addHeaders: AddHeaders
}

/**
 * A copy whose bytes change on the way: from an object that Sealgate did not write into a sealed bucket, or from a sealed bucket into one that is not
 * encrypted. It is also used where the store cannot tie the copy to the inspected object, and where the copy needs a checksum that is not known. Only
 * these copies of whole objects move data through the gateway.
 */
export async function streamCopy(
  ctx: ObjectContext,
  source: CopySource,
  object: InspectedObject,
  { checksum, addHeaders }: Through
): Promise<Buffer> {
  const described = copiedHeaders(ctx, object, await copiedTags(ctx, source, object, 'gateway'))
  const stream = await fetchSlice(ctx, object, { first: 0, last: object.size - 1, status: 200, partsCount: null }, 'source')
  try {
    const body = plaintextSource(stream, object.size, checksum)
    const stored = ctx.policy.encryption === 'off'
      ? await storePlain(ctx, body, [...described, ...headersForTheStore(ctx), ...checksumHeader(checksum)])
      : await sealObject(ctx, body, new Map([...described, ...encryptionHeaders(ctx)]))
    addHeaders([
      ...stored.headers.filter(([name]) => name !== 'etag' && !name.startsWith('x-amz-checksum-')),
      ...object.versionId === null ? [] : [['x-amz-copy-source-version-id', object.versionId] as const]
    ])
    return copyResult(stored.etag, null, storedChecksums(stored))
  } catch (error) {
    throw error instanceof S3Error && error.code === 'BadDigest' ? corruptedSource(ctx, error) : error
  } finally {
    stream.destroy()
  }
}

/** The source does not match its checksum, which only the store has stated. */
function corruptedSource(ctx: OperationContext, error: S3Error): S3Error {
  ctx.services.integrityFailure('checksum')
  return new S3Error('SealgateIntegrityError', { cause: error })
}

/** The store accepts a checksum only where it is known before the body. */
function checksumHeader(checksum: CopiedChecksum | null): (readonly [string, string])[] {
  const { value = null } = checksum ?? {}
  return checksum === null || value === null ? [] : [[`x-amz-checksum-${checksum.algorithm}`, value.toString('base64')]]
}

function storedChecksums({ headers }: StoredAnswer): Checksum[] {
  return headers.flatMap(([name, value]): Checksum[] => {
    const algorithm = checksumAlgorithmNamed(algorithmOfHeader(name) ?? '')
    return algorithm === undefined ? [] : [{ algorithm, type: 'full', value: Buffer.from(value, 'base64') }]
  })
}

/** Plaintext that is verified already. Only its length in bytes and, where it is known, a checksum are declared for it. */
export function plaintextSource(stream: Readable, length: number, checksum: CopiedChecksum | null = null): BodySource {
  const { algorithm = null, value = null } = checksum ?? {}
  const known = algorithm === null || value === null ? null : { algorithm, value }
  return {
    stream,
    payload: { framing: 'plain', length, sha256: null, chunkSigner: null, contentMd5: null, checksum: known, trailer: null },
    computeChecksum: known === null ? algorithm : null
  }
}

/** Conditions and encryption headers that the store itself handles in a bucket that is not encrypted. */
function headersForTheStore(ctx: OperationContext): (readonly [string, string])[] {
  const conditions = [...ctx.request.headers].filter(([name]) => name === 'if-match' || name === 'if-none-match')
  return [...conditions, ...encryptionHeaders(ctx)]
}

function encryptionHeaders(ctx: OperationContext): (readonly [string, string])[] {
  return [...ctx.request.headers].filter(([name]) => name.startsWith('x-amz-server-side-encryption'))
}
