import type { HttpResponse } from '../../http/message.ts'
import type { Execution } from '../context.ts'
import { SEGMENT_SIZE, storedSize } from '../../envelope/sizes.ts'
import { S3Error } from '../../errors.ts'
import { removeBucketDefault } from './bucket-encryption.ts'
import { bucketOf } from '../context.ts'
import { forward } from '../forward.ts'
import { withShownRegion } from '../shown-region.ts'

/** What a small object takes beyond its plaintext, and plaintext per stored byte of a large one (docs/FORMAT.md, Size law). */
const OBJECT_OVERHEAD = storedSize(1) - 1
const PLAINTEXT_SHARE = SEGMENT_SIZE / (storedSize(2 * SEGMENT_SIZE) - storedSize(SEGMENT_SIZE))
const BYTES_USED = 'x-rgw-bytes-used'
const OBJECT_COUNT = 'x-rgw-object-count'

/**
 * DeleteBucket: what the gateway itself keeps of the bucket goes with it, also where the bucket is gone already: a request before
 * this one may have got no further, and the next bucket of the name must not inherit.
 */
export async function deleteBucket(x: Execution): Promise<HttpResponse> {
  const outcome = await forward(x).catch((error: unknown) => {
    if (error instanceof S3Error && error.code === 'NoSuchBucket') return error
    throw error
  })
  x.parts.settings.cors.forget(bucketOf(x))
  await removeBucketDefault(x, bucketOf(x))
  if (outcome instanceof S3Error) throw outcome
  return outcome
}

/** PutBucketCors, DeleteBucketCors: a preflight that follows must not be answered from what was before. */
export async function changeCors(x: Execution): Promise<HttpResponse> {
  const response = await forward(x)
  x.parts.settings.cors.forget(bucketOf(x))
  return response
}

/**
 * HeadBucket. Ceph tells how many bytes a bucket holds; of sealed ones that follows from the size law but for the number of
 * segments, so that what is told is at most 20 bytes per object from the truth.
 */
export async function headBucket(x: Execution): Promise<HttpResponse> {
  const answered = await forward(x)
  const response = { ...answered, headers: withShownRegion(x, answered.headers) }
  const told = (name: string): number => Number(response.headers.find(([header]) => header === name)?.[1] ?? Number.NaN)
  const stored = told(BYTES_USED) - told(OBJECT_COUNT) * OBJECT_OVERHEAD
  const headers = response.headers.filter(([name]) => name !== BYTES_USED)
  if (x.policy.encryption === 'off') return response
  if (!Number.isSafeInteger(stored)) return { ...response, headers }
  const plaintext = Math.max(0, Math.ceil(stored * PLAINTEXT_SHARE))
  return { ...response, headers: [...headers, [BYTES_USED, String(plaintext)]] }
}
