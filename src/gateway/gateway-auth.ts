import type { AuthContext } from '../auth/context.ts'
import type { BucketPolicy, Config } from '../config/config.ts'
import { credentialLookup } from '../auth/credentials.ts'
import { parseTarget } from '../http/target.ts'
import { address } from '../s3/route.ts'

const rootTarget = parseTarget('/')

/** What the authentication needs to know of the configuration. */
export function authContext(config: Config, policies: (bucket: string) => BucketPolicy): AuthContext {
  const { domains, regions } = config.listen
  return {
    credential: credentialLookup(config.clients),
    regions,
    v2Query: config.auth.v2Query,
    v2Header: config.auth.v2Header,
    now: () => new Date(),
    virtualHostBucket: (host) => address(rootTarget, host, domains).bucket,
    isPublicRead: (request) => {
      const { bucket } = address(request.target, request.host, domains)
      return policies(bucket ?? '').publicRead !== false
    }
  }
}
