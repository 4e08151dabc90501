import type { SeenRequest } from './rules.ts'

/** Readiness checks of the gateway: of no request's making, they come when they come. */
export function isHealthCheck({ method, bucket, key, query }: Pick<SeenRequest, 'method' | 'bucket' | 'key' | 'query'>): boolean {
  if (bucket !== 'sealgate-state') return false
  return key === '' ? method === 'HEAD' || query.has('versioning') : /^probe\/[0-9a-f]{24}\/ready$/.test(key)
}
