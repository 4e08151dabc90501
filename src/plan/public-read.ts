import type { BucketPolicy } from '../config/config.ts'
import { operations } from '../s3/operations.ts'
import type { Operation } from '../s3/route.ts'

/** Operations on one object, and on the listing of current objects, that a public prefix opens. */
const ofPrefixes: ReadonlySet<string> = new Set(['GetObject', 'HeadObject', 'GetObjectAttributes', 'ListObjects', 'ListObjectsV2'])

/**
 * Whether everybody may read what this operation reads. `store`: the gateway does not decide, and asks the store unsigned. With prefixes:
 * current objects under one of them, and listings that ask for no more than one (docs/decisions/0007).
 */
export function isPublic(publicRead: BucketPolicy['publicRead'], { name, key, query }: Operation): boolean {
  if (publicRead === 'store') return true
  if (typeof publicRead === 'boolean') return publicRead && operations[name].public
  // A version that was replaced may have been replaced because everybody could read it.
  return ofPrefixes.has(name) && !query.has('versionId') && isUnder(publicRead.prefixes, key ?? query.get('prefix') ?? '')
}

/** A store that keeps objects as files might take `public/../secret` for `secret`. */
function isUnder(prefixes: readonly string[], name: string): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix)) && !name.split(/[/\\]/).some((part) => part === '.' || part === '..')
}
