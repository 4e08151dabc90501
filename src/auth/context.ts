import type { HttpRequest } from '../http/message.ts'
import type { CredentialLookup } from './credentials.ts'
import type { ContentSha256 } from '../sigv4/content-sha256.ts'
import type { Authenticated, ChunkSigner, Client } from './types.ts'

/** What authentication has to know besides the request. */
export interface AuthContext {
  readonly credential: CredentialLookup
  /** Regions accepted in credential scopes; empty: any. The first is the one that error messages name. */
  readonly regions: readonly string[]
  /** Signature Version 2 in presigned queries and POST forms. */
  readonly v2Query: boolean
  /** Signature Version 2 in the Authorization header. */
  readonly v2Header: boolean
  readonly now: () => Date
  /** The bucket that a Host header names (`bucket.<domain>`), null for path-style requests. V2 signs it. */
  readonly virtualHostBucket: (host: string) => string | null
  /** Whether the bucket of this request answers anonymous reads. */
  readonly isPublicRead: (request: HttpRequest) => boolean
  /** Whether anonymous writes to the bucket of this request are left to the store; absent: never. */
}

/** What a scheme found out: who signed, and what the signature covers. */
export interface Verified {
  readonly client: Client
  readonly scheme: Authenticated['scheme']
  readonly headers: ReadonlyMap<string, string>
  /** null where nothing was said of the body. */
  readonly contentSha256: ContentSha256 | null
  readonly chunkSigner: ChunkSigner | null
}
