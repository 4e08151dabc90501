import { randomBytes } from 'node:crypto'
import type { Upstream } from '../upstream/types.ts'
import { StoredBucket } from './stored-bucket.ts'
import { tagsOf } from './copied-properties.ts'

/**
 * Finds out in the state bucket whether a copy with new metadata keeps the tags of its source, as S3 does by default. Where
 * the store copies them itself, tags that change at that moment are not lost; elsewhere (radosgw 16) they must be read and
 * sent.
 * @throws S3Error when the store gives no usable answer.
 */
export async function copiesKeepTags(upstream: Upstream, stateBucket: string, signal: AbortSignal): Promise<boolean> {
  const bucket = new StoredBucket(upstream, stateBucket, signal)
  const key = `probe/${randomBytes(12).toString('hex')}/tags`
  try {
    const body = Buffer.from('tags')
    await bucket.document({ method: 'PUT', key, headers: [['x-amz-tagging', 'kept=yes']], body })
    await bucket.document({
      method: 'PUT', key,
      headers: [['x-amz-copy-source', `/${stateBucket}/${key}`], ['x-amz-metadata-directive', 'REPLACE'], ['x-amz-meta-copied', 'yes']]
    })
    return await tagsOf(bucket, key, null) === 'kept=yes'
  } finally {
    await bucket.send({ method: 'DELETE', key }).then((response) => { response.body.resume() }, () => undefined)
  }
}
