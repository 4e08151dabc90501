import { credentialPlaces, diagnosis, systemCodeOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import type { Config } from '../config/config.ts'
import type { UpstreamIdentity } from './types.ts'

/** Gives the gateway's own identity at the store. @throws S3Error ServiceUnavailable while there is none. */
export type IdentitySource = () => Promise<UpstreamIdentity>

/**
 * The configured keys, or with `aws` the standard AWS chain (environment, profile, web identity, container, instance),
 * which refreshes what expires.
 */
export function identitySource(credentials: Config['upstream']['credentials']): IdentitySource {
  if (credentials === 'aws') return awsChain()
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const identity = sessionToken === null ? { accessKeyId, secretAccessKey } : { accessKeyId, secretAccessKey, sessionToken }
  return async () => identity
}

function awsChain(): IdentitySource {
  let chain: Promise<IdentitySource> | undefined
  return async () => {
    // Loaded on first use: the chain pulls in SSO, STS and IMDS clients that a gateway with plain keys never needs.
    chain ??= import('@aws-sdk/credential-provider-node').then(({ defaultProvider }) => defaultProvider())
    try {
      return await (await chain)()
    } catch (cause) {
      throw new S3Error('ServiceUnavailable', {
        message: 'The gateway has no credentials for the store at the moment.', cause,
        diagnosis: diagnosis('store', `credentials: ${credentialPlaces}`, { errorName: 'CredentialsProviderError', system: systemCodeOf(cause) })
      })
    }
  }
}
