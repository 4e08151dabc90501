import type { GcpConfig } from '../../config/key-config.ts'
import { checkedToken, LoginFailure, optionalPackage, tokenInFile, type AccessToken, type TokenSource } from '../service/access-token.ts'
import { readCredential } from '../service/files.ts'
import { isRecord, objectIn, type Data } from '../service/http.ts'
import { GOOGLE_PACKAGE } from './gcp-key.ts'

/** The scope that lets a token do nothing but Cloud KMS (Cloud KMS REST reference, "Authorization scopes"). */
const SCOPES = ['https://www.googleapis.com/auth/cloudkms']
/** Milliseconds for one request of the library. */
const REQUEST_MS = 5000
/** Milliseconds of a token whose end the library does not say. */
const UNKNOWN_MS = 300_000

interface GoogleClient {
  getAccessToken(): Promise<{ readonly token?: string | null }>
  readonly credentials: { readonly expiry_date?: number | null }
}
type ClientOf = new(options: Data) => GoogleClient

/** What of the package is used, so that neither types nor tests need it. */
interface GoogleLibrary {
  readonly GoogleAuth: new(options: Data) => { getClient(): Promise<GoogleClient> }
  readonly JWT: ClientOf
  readonly IdentityPoolClient: ClientOf
  readonly AwsClient: ClientOf
}

/**
 * Every login makes a client of its own: those of the library keep a token until it ends, also one that was refused. They are told the project,
 * which they would ask a service for, and do not need.
 */
export function gcpTokens({ auth, key }: Pick<GcpConfig, 'auth' | 'key'>): TokenSource {
  if (auth.method === 'token') return tokenInFile(auth.tokenFile)
  return async () => {
    const library = await optionalPackage<GoogleLibrary>(GOOGLE_PACKAGE)
    const transporterOptions = { timeout: REQUEST_MS }
    try {
      return await tokenOf(
        auth.method === 'default'
          ? await new library.GoogleAuth({ scopes: SCOPES, projectId: key.split('/')[1], clientOptions: { transporterOptions } }).getClient()
          : clientFor(library, await describedIn(auth.file), transporterOptions)
      )
    } catch (error) {
      throw error instanceof LoginFailure ? error : new LoginFailure(`No token of Google (${words[auth.method]})`, { cause: error })
    }
  }
}

const words = { default: 'application default credentials', file: 'auth.file' } as const

async function tokenOf(client: GoogleClient): Promise<AccessToken> {
  const { token } = await client.getAccessToken()
  const { expiry_date: expires } = client.credentials
  return { text: checkedToken(token), lifetimeMs: typeof expires === 'number' ? expires - Date.now() : UNKNOWN_MS }
}

async function describedIn(file: string): Promise<Data> {
  const text = await readCredential(file).catch((error: unknown) => {
    throw new LoginFailure((error as Error).message, { cause: error })
  })
  const data = objectIn(text)
  if (data === null) throw new LoginFailure(`${file} has no JSON object.`)
  return data
}

/**
 * The client for a file, by its type. Written out, because the one function of the library that does it takes every type, and some name a program that
 * it would start.
 */
function clientFor({ JWT, IdentityPoolClient, AwsClient }: GoogleLibrary, data: Data, transporterOptions: Data): GoogleClient {
  const common = { scopes: SCOPES, transporterOptions }
  if (data['type'] === 'service_account') {
    return new JWT({ ...common, email: data['client_email'], key: data['private_key'], keyId: data['private_key_id'] })
  }
  const source = data['credential_source']
  if (data['type'] === 'external_account' && isRecord(source) && source['executable'] === undefined) {
    return new (source['environment_id'] === undefined ? IdentityPoolClient : AwsClient)({ ...data, ...common })
  }
  throw new LoginFailure('auth.file is neither of a service account nor of a workload identity federation (file, URL, certificate or AWS).')
}
