import type { Upstream } from '../upstream/types.ts'
import { BucketClient } from './bucket-client.ts'
import { ProbePlace } from './probe-place.ts'
import { tagHeaders, tagsOf } from './object-properties.ts'

/**
 * What happens to tags when an object is copied with new metadata. `kept`: the store copies them itself, as S3 does by default, so that tags which
 * change at that moment are not lost. `sent`: it takes them from the request. `put`: neither (radosgw 16 loses them, and makes those of the request
 * unreadable), so they must be written again after the copy.
 */
export type CopyTagMode = 'kept' | 'sent' | 'put'

/** Needs percent-encoding in a header, and has no character that AWS refuses in tags. */
const TAGS = [['kept', 'yes + no']] as const

/**
 * Finds out in a bucket of the gateway's own, of the same kind as the bucket in question. @param prefix as for ProbePlace
 * @throws S3Error when the store gives no usable answer.
 */
export async function probeCopyTagMode(upstream: Upstream, probeBucket: string, signal: AbortSignal, prefix?: string): Promise<CopyTagMode> {
  const bucket = new BucketClient(upstream, probeBucket, signal)
  const place = new ProbePlace(upstream, probeBucket, signal, prefix)
  const key = place.key('tags')
  const survive = async (directive: 'COPY' | 'REPLACE'): Promise<boolean> => {
    await place.document({
      method: 'PUT',
      key,
      headers: [
        ['x-amz-copy-source', `${probeBucket}/${key}`],
        ['x-amz-metadata-directive', 'REPLACE'],
        ['x-amz-meta-copied', directive],
        ...directive === 'COPY' ? [] : [['x-amz-tagging-directive', 'REPLACE'] as const, ...tagHeaders(TAGS)]
      ]
    })
    return JSON.stringify(await tagsOf(bucket, key, null)) === JSON.stringify(TAGS)
  }
  try {
    await place.document({ method: 'PUT', key, headers: tagHeaders(TAGS), body: Buffer.from('tags') })
    return await survive('COPY') ? 'kept' : await survive('REPLACE') ? 'sent' : 'put'
  } finally {
    await place.cleanUp()
  }
}
