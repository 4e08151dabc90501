import type { BucketPolicy, Config } from './config.ts'
import { S3Error } from '../errors.ts'

interface PolicyIndex {
  readonly exact: ReadonlyMap<string, BucketPolicy>
  /** Longest prefix first; "*" is the empty prefix. */
  readonly prefixes: readonly (readonly [prefix: string, policy: BucketPolicy])[]
}

const indexes = new WeakMap<Config, PolicyIndex>()

/**
 * The policy of a bucket: its own name beats the longest matching prefix pattern, which beats "*".
 * @throws S3Error AccessDenied when no pattern covers the bucket: what is not configured is not served.
 */
export function policyFor(config: Config, bucket: string): BucketPolicy {
  let index = indexes.get(config)
  if (index === undefined) {
    index = build(config)
    indexes.set(config, index)
  }
  const policy = index.exact.get(bucket) ?? index.prefixes.find(([prefix]) => bucket.startsWith(prefix))?.[1]
  if (policy === undefined) throw new S3Error('AccessDenied')
  return policy
}

function build(config: Config): PolicyIndex {
  const prefixes = config.buckets.filter(([pattern]) => pattern.endsWith('*')).map(([pattern, policy]) => [pattern.slice(0, -1), policy] as const)
  return {
    exact: new Map(config.buckets.filter(([pattern]) => !pattern.endsWith('*'))),
    prefixes: prefixes.toSorted(([a], [b]) => b.length - a.length)
  }
}
