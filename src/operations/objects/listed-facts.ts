import type { BucketPolicy } from '../../config/config.ts'
import type { RowName } from '../caches.ts'
import { type BucketContext, type ObjectContext, readerOf } from '../context.ts'
import { unquoteEtag } from '../../s3/conditions.ts'
import { showsMd5 } from './visible-etag.ts'

/**
 * Whether size and ETag of every sealed object of this size follow from those that the store lists: nothing else is in the bucket, and such an ETag is
 * the store's. @param size bytes of plaintext
 */
export function isListedByLaw({ etag, plaintext, s3ec }: Pick<BucketPolicy, 'etag' | 'plaintext' | 's3ec'>, size: number): boolean {
  return !showsMd5(etag, { kind: 'single', size }) && plaintext === 'refuse' && s3ec === null
}

/** @param etag the store's, without quotes */
export function rowName(ctx: BucketContext, key: string, versionId: string | null, etag: string): RowName {
  return [readerOf(ctx), ctx.operation.bucket, key, versionId, etag]
}

interface WrittenObject {
  readonly size: number
  /** As the client was told it. */
  readonly etag: string
  readonly upstreamEtag: string
}

/**
 * What was just written need not be looked up when it is listed: the ETag of the store tells it from all other bytes under its name. All empty objects
 * have the same. An identity of a client's own may write and not read, and then sees no ETags.
 */
export function rememberWritten(ctx: ObjectContext, { size, etag, upstreamEtag }: WrittenObject): void {
  const tag = unquoteEtag(upstreamEtag)
  if (isListedByLaw(ctx.policy, size) || readerOf(ctx) !== '' || size === 0 || tag === '') return
  ctx.services.objects.rememberRow({ size, etag: unquoteEtag(etag) }, ...rowName(ctx, ctx.operation.key, null, tag))
}
