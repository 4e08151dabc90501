import type { AzureConfig } from '../../config/key-config.ts'
import { checkedToken, LoginFailure, optionalPackage, tokenInFile, type TokenSource } from '../service/access-token.ts'
import type { Data } from '../service/http.ts'
import { AZURE_PACKAGE, resourceOf } from './azure-key.ts'

interface Credential {
  getToken(
    scope: string,
    options: { readonly abortSignal: AbortSignal; readonly claims?: string }
  ): Promise<{ readonly token: string; readonly expiresOnTimestamp: number } | null>
}

/** What of the package is used, so that neither types nor tests need it. */
interface AzureLibrary {
  readonly DefaultAzureCredential: new(options: Data) => Credential
  readonly ManagedIdentityCredential: new(options: Data) => Credential
  readonly WorkloadIdentityCredential: new(options: Data) => Credential
  readonly ClientSecretCredential: new(tenant: string, client: string, secret: string, options: Data) => Credential
}

/** Every login makes a credential of its own: those of the library keep a token until it ends, also one that was refused. */
export function azureTokens(config: Pick<AzureConfig, 'auth' | 'vault' | 'resource'>): TokenSource {
  const { auth } = config
  if (auth.method === 'token') return tokenInFile(auth.tokenFile)
  const scope = `${resourceOf(config)}/.default`
  return async ({ claims, signal }) => {
    const library = await optionalPackage<AzureLibrary>(AZURE_PACKAGE)
    // The library would say of a file that is missing that the application is refused.
    if (auth.method === 'workload-identity' && auth.tokenFile !== null) await tokenInFile(auth.tokenFile)({ claims, signal })
    try {
      const token = await credentialFor(library, auth).getToken(scope, { abortSignal: signal, ...claims === null ? {} : { claims } })
      return { text: checkedToken(token?.token), lifetimeMs: (token?.expiresOnTimestamp ?? 0) - Date.now() }
    } catch (error) {
      throw error instanceof LoginFailure ? error : new LoginFailure(`No token of Azure (${auth.method})`, { cause: error })
    }
  }
}

function credentialFor(library: AzureLibrary, auth: Exclude<AzureConfig['auth'], { readonly method: 'token' }>): Credential {
  switch (auth.method) {
    case 'default':
      return new library.DefaultAzureCredential({})
    case 'managed-identity':
      return new library.ManagedIdentityCredential(auth.clientId === null ? {} : { clientId: auth.clientId })
    case 'workload-identity': {
      const { tenantId, clientId, tokenFile } = auth
      // What is left out, the library takes from the environment that Kubernetes gives to a pod.
      const given = Object.entries({ tenantId, clientId, tokenFilePath: tokenFile }).filter(([, value]) => value !== null)
      return new library.WorkloadIdentityCredential({ ...Object.fromEntries(given), ...authority(auth) })
    }
    case 'client-secret':
      return new library.ClientSecretCredential(auth.tenantId, auth.clientId, auth.clientSecret, authority(auth))
  }
}

/** With an authority of its own the library would otherwise ask Microsoft's public one whether it is one. */
function authority({ authority }: { readonly authority: string | null }): Data {
  return authority === null ? {} : { authorityHost: authority, disableInstanceDiscovery: true }
}
