import { randomBytes } from 'node:crypto'
import type { Upstream } from '../upstream/types.ts'
import { StoredBucket } from './stored-bucket.ts'
import { tagHeaders, tagsOf } from './copied-properties.ts'

/**
 * What becomes of tags when an object is copied with new metadata. `kept`: the store copies them itself, as S3 does by default,
 * so that tags which change at that moment are not lost. `sent`: it takes them from the request. `put`: it does neither (radosgw
 * 16 loses them, and makes those of the request unreadable), so that they must be put again after the copy.
 */
export type TagHabit = 'kept' | 'sent' | 'put'

/** Needs percent-encoding in a header, and has no character that AWS refuses in tags. */
const TAGS = [['kept', 'yes + no']] as const

/** Finds out in the state bucket. @throws S3Error when the store gives no usable answer. */
export async function probeTagHabit(upstream: Upstream, stateBucket: string, signal: AbortSignal): Promise<TagHabit> {
  const bucket = new StoredBucket(upstream, stateBucket, signal)
  const key = `probe/${randomBytes(12).toString('hex')}/tags`
  const survive = async (directive: 'COPY' | 'REPLACE'): Promise<boolean> => {
    await bucket.document({
      method: 'PUT', key,
      headers: [
        ['x-amz-copy-source', `/${stateBucket}/${key}`], ['x-amz-metadata-directive', 'REPLACE'], ['x-amz-meta-copied', directive],
        ...directive === 'COPY' ? [] : [['x-amz-tagging-directive', 'REPLACE'] as const, ...tagHeaders(TAGS)]
      ]
    })
    return JSON.stringify(await tagsOf(bucket, key, null)) === JSON.stringify(TAGS)
  }
  try {
    await bucket.document({ method: 'PUT', key, headers: tagHeaders(TAGS), body: Buffer.from('tags') })
    return await survive('COPY') ? 'kept' : await survive('REPLACE') ? 'sent' : 'put'
  } finally {
    await bucket.send({ method: 'DELETE', key }).then((response) => { response.body.resume() }, () => undefined)
  }
}
