import { randomBytes } from 'node:crypto'
import type { ClientLimits, HttpRequest } from '../http/message.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'
import type { ContentSha256 } from '../sigv4/claims.ts'
import { SigningSecret } from '../sigv4/signing.ts'

/** A client of the configuration: its signing identity, what it may use, and its identity upstream. */
export interface Client {
  readonly accessKeyId: string
  /** Bucket names or patterns with "*". */
  readonly buckets: readonly string[]
  readonly readOnly: boolean
  /** Its own identities at stores, by the names of those; where it has none, it acts as the gateway. */
  readonly identities: Readonly<Record<string, { readonly accessKeyId: string; readonly secretAccessKey: string }>>
  readonly limits: ClientLimits
}

/** What the client declared about its body, taken from signed places only. */
export interface PayloadPromise {
  /** `none`: the operation takes no body and none is read. */
  readonly framing: 'none' | 'plain' | 'aws-chunked'
  /** Plaintext length in bytes, known up front (S3 demands it). */
  readonly length: number
  /** Hex SHA-256 of the plaintext that was signed, or null for UNSIGNED-PAYLOAD and STREAMING-*. */
  readonly sha256: string | null
  /** Verifies chunk signatures as the bytes pass; null for unsigned framings. */
  readonly chunkSigner: ChunkSigner | null
  readonly contentMd5: Buffer | null
  /** Checksum given as a header, verified before the last byte is released. */
  readonly checksum: { readonly algorithm: ChecksumAlgorithm; readonly value: Buffer } | null
  /** Algorithm announced in x-amz-trailer: the value follows the body. */
  readonly trailer: ChecksumAlgorithm | null
}

/** Signature chain of STREAMING-AWS4-HMAC-SHA256-PAYLOAD (AWS, "Signature calculations … chunked upload"). */
export interface ChunkSigner {
  /** @returns the expected hex signature of the next chunk. Advances the chain. */
  next(sha256OfChunk: Buffer): string
  /** @returns the expected hex signature of the trailer block. */
  trailer(sha256OfCanonicalTrailers: Buffer): string
}

declare const authenticated: unique symbol

/** A request whose signature has verified (or an allowed anonymous read). Made in `authenticate.ts` only; every later stage accepts nothing else. */
export interface Authenticated {
  readonly [authenticated]: true
  readonly http: HttpRequest
  /** null for anonymous access to a bucket configured as public-read. */
  readonly client: Client | null
  readonly scheme: 'anonymous' | 'v4-header' | 'v4-query' | 'v2-header' | 'v2-query' | 'post-policy'
  /**
   * Request headers as S3 sees them: those received plus `x-amz-*` parameters hoisted into a presigned query, names in
   * lower case, credentials and signature fields removed.
   */
  readonly headers: ReadonlyMap<string, string>
  readonly payload: PayloadPromise
}

/** What authentication needs to know in addition to the request. */
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

/** The result of a scheme: the signer, and what the signature covers. */
export interface Verified {
  readonly client: Client
  readonly scheme: Authenticated['scheme']
  readonly headers: ReadonlyMap<string, string>
  /** null where the request declares nothing about the body. */
  readonly contentSha256: ContentSha256 | null
  readonly chunkSigner: ChunkSigner | null
}

/** A client and the secret it signs with. */
export interface Credential {
  readonly client: Client
  readonly secret: SigningSecret
}

type CredentialLookup = (accessKeyId: string) => Credential | undefined

/**
 * Makes the lookup of clients by access key id. The clients that it returns no longer contain their secret.
 * @param clients as configured; access key ids are unique (the configuration ensures it).
 */
export function credentialLookup(clients: readonly (Client & { readonly secretAccessKey: string })[]): CredentialLookup {
  const byId = new Map<string, Credential>()
  for (const { secretAccessKey, ...client } of clients) {
    byId.set(client.accessKeyId, { client, secret: new SigningSecret(secretAccessKey) })
  }
  return (accessKeyId) => byId.get(accessKeyId)
}

/**
 * Replaces the secret of an unknown access key id, so that such a request takes the same computation as one with a wrong signature. Random: nobody
 * can sign with it.
 */
export const noSecret = new SigningSecret(randomBytes(30).toString('base64'))
