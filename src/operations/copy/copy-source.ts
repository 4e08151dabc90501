import type { Checksum } from '../../envelope/envelope.ts'
import type { HeaderList } from '../../http/message.ts'
import { type OperationContext, enterStore, header, storeHere, storeOf } from '../context.ts'
import { inspectNamed, withDigests } from '../objects/inspect.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { evaluateConditions } from '../../s3/conditions.ts'
import { parseCopySource, type CopySource } from '../../s3/names.ts'
import { customerKeyOfSource } from '../objects/object-keys.ts'
import { checksumsOf, validatorsOf, type InspectedObject } from '../objects/sealed-object.ts'
import { checksumAlgorithms, parseChecksum, requireChecksumAlgorithm, type ChecksumAlgorithm } from '../../http/checksums.ts'

/** The source of a copy. @throws S3Error InvalidArgument, NoSuchBucket for the state bucket, AccessDenied. */
export function copySourceOf(ctx: OperationContext): CopySource {
  const value = header(ctx, 'x-amz-copy-source')
  if (value === undefined) throw new S3Error('InvalidArgument', { fields: { ArgumentName: 'x-amz-copy-source' } })
  const source = parseCopySource(value)
  authorize(ctx.request.client, {
    bucket: source.bucket,
    own: isOwnBucket(ctx.services.config, source.bucket),
    write: false,
    publicRead: ctx.services.policyFor(source.bucket).publicRead !== false
  })
  if (!isHere(ctx, source)) enterStore(ctx, storeOf(ctx.services, source.bucket))
  return source
}

/** Whether the source is at the store of the destination: only there can the store copy. */
export function isHere(ctx: OperationContext, { bucket }: CopySource): boolean {
  return storeOf(ctx.services, bucket) === storeHere(ctx)
}

/**
 * Inspects the source and evaluates the client's conditions against what clients see of it.
 * @throws S3Error PreconditionFailed; the errors of `inspectNamed`.
 */
export async function inspectSource(ctx: OperationContext, source: CopySource): Promise<InspectedObject> {
  // Sent even where source and destination are in one bucket: `send` adds the header of the destination's owner there.
  const owner = header(ctx, 'x-amz-source-expected-bucket-owner')
  const { encryption, plaintext } = ctx.services.policyFor(source.bucket)
  const headers = [
    ...owner === undefined ? [] : [['x-amz-expected-bucket-owner', owner] as const],
    // The copy of an unencrypted object keeps the checksums that the store has.
    ...encryption === 'off' || plaintext === 'allow' ? [['x-amz-checksum-mode', 'ENABLED'] as const] : []
  ]
  const inspected = await inspectNamed(ctx, { ...source, customerKey: customerKeyOfSource(ctx), headers })
  const verdict = evaluateConditions({
    ifMatch: header(ctx, 'x-amz-copy-source-if-match'),
    ifNoneMatch: header(ctx, 'x-amz-copy-source-if-none-match'),
    ifModifiedSince: header(ctx, 'x-amz-copy-source-if-modified-since'),
    ifUnmodifiedSince: header(ctx, 'x-amz-copy-source-if-unmodified-since')
  }, validatorsOf(ctx, inspected))
  if (verdict !== 'pass') throw new S3Error('PreconditionFailed')
  return inspected
}

/** The checksum a copy is to have. */
export interface CopiedChecksum {
  readonly algorithm: ChecksumAlgorithm
  /** Over the bytes of the whole object, as the source states it; null: to be computed. */
  readonly value: Buffer | null
}

/**
 * The checksum that S3 gives a copy: over the whole of it, of the algorithm that the client names, else of the source's (AWS, "Checking object
 * integrity").
 * @returns null when neither names one.
 * @throws S3Error InvalidRequest for an algorithm that is not computed here; ObjectChanged.
 */
export async function copiedChecksum(ctx: OperationContext, object: InspectedObject): Promise<CopiedChecksum | null> {
  const named = header(ctx, 'x-amz-checksum-algorithm')
  const asked = named === undefined ? null : requireChecksumAlgorithm(named)
  const had = object.kind === 'plain' ? checksumsIn(object.headers) : checksumsOf(await withDigests(ctx, object))
  const algorithm = asked ?? had[0]?.algorithm
  if (algorithm === undefined) return null
  return { algorithm, value: had.find((one) => one.algorithm === algorithm && one.type === 'full')?.value ?? null }
}

/** The checksums that the store returns of an unencrypted object. */
function checksumsIn(headers: HeaderList): Pick<Checksum, 'algorithm' | 'type' | 'value'>[] {
  return Object.keys(checksumAlgorithms).map((name) => name as ChecksumAlgorithm).flatMap((algorithm) => {
    const text = headers.get(`x-amz-checksum-${algorithm}`)
    if (text === undefined) return []
    const value = headers.get('x-amz-checksum-type') === 'COMPOSITE' ? null : parseChecksum(algorithm, text)
    return [{ algorithm, type: value === null ? 'composite' as const : 'full' as const, value: value ?? Buffer.alloc(0) }]
  })
}
