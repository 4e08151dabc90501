// What providers are known to refuse or to do otherwise than AWS, as switches of narrow-store.ts. Each switch names where that is said; a provider
// may have changed since. Dates are those of the source.
import type { Limits } from './narrow-store.ts'
import { notImplemented } from './narrow-store.ts'

export const profiles = {
  /** Cloudflare R2. */
  r2: {
    // developers.cloudflare.com/r2/api/s3/api: "the region for an R2 bucket is auto".
    region: 'auto',
    // apache/opendal#2904; a larger last part: cloudflare/cloudflare-docs#9549.
    equalParts: true,
    // velero-io/velero-plugin-for-aws#303 (an empty one), jhaals/yopass#3657 (any; GetObjectTagging).
    lacks: ['tagging'],
    lacking: notImplemented
  }
} as const satisfies Record<string, Limits>
