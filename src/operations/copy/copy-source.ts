import type { Execution } from '../context.ts'
import type { Looked } from '../objects/inspect.ts'
import { authorize } from '../../auth/authorize.ts'
import { isOwnBucket } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { evaluateConditions } from '../../s3/conditions.ts'
import { parseCopySource, type CopySource } from '../../s3/copy-source.ts'
import { header } from '../context.ts'
import { lookAt } from '../objects/inspect.ts'
import { customerKeyOfSource } from '../objects/object-keys.ts'
import { clientEtag } from '../objects/sealed-object.ts'

/** The source a copy names. @throws S3Error InvalidArgument, NoSuchBucket for the state bucket, AccessDenied. */
export function copySourceOf(x: Execution): CopySource {
  const value = header(x, 'x-amz-copy-source')
  if (value === undefined) throw new S3Error('InvalidArgument', { fields: { ArgumentName: 'x-amz-copy-source' } })
  const source = parseCopySource(value)
  authorize(x.request.client, { bucket: source.bucket, write: false, publicRead: x.parts.policyFor(source.bucket).publicRead !== false })
  if (isOwnBucket(x.parts.config.upstream, source.bucket)) throw new S3Error('NoSuchBucket')
  return source
}

/**
 * Looks at the source and evaluates the client's conditions on it, against what the client sees of it.
 * @throws S3Error PreconditionFailed; the errors of `lookAt`.
 */
export async function lookAtSource(x: Execution, source: CopySource): Promise<Looked> {
  // Also where source and destination are in one bucket, of which `send` tells the destination's owner.
  const owner = header(x, 'x-amz-source-expected-bucket-owner')
  const { encryption, plaintext } = x.parts.policyFor(source.bucket)
  const headers = [
    ...owner === undefined ? [] : [['x-amz-expected-bucket-owner', owner] as const],
    // What the store keeps of an object in clear goes along with its copy.
    ...encryption === 'off' || plaintext === 'allow' ? [['x-amz-checksum-mode', 'ENABLED'] as const] : []
  ]
  const looked = await lookAt(x, { ...source, customerKey: customerKeyOfSource(x), headers })
  const verdict = evaluateConditions({
    ifMatch: header(x, 'x-amz-copy-source-if-match'),
    ifNoneMatch: header(x, 'x-amz-copy-source-if-none-match'),
    ifModifiedSince: header(x, 'x-amz-copy-source-if-modified-since'),
    ifUnmodifiedSince: header(x, 'x-amz-copy-source-if-unmodified-since')
  }, { etag: clientEtag(x, looked.object, looked.manifest), lastModified: looked.object.headers.get('last-modified') })
  if (verdict !== 'pass') throw new S3Error('PreconditionFailed')
  return looked
}
