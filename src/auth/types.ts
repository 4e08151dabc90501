import type { ClientLimits, HttpRequest } from '../http/message.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'

/** A client as configured: who may sign, what it may touch, and as whom it acts upstream. */
export interface Client {
  readonly accessKeyId: string
  /** Bucket names or patterns with "*". */
  readonly buckets: readonly string[]
  readonly readOnly: boolean
  /** Upstream identity of this client; null: the gateway's own. */
  readonly upstream: { readonly accessKeyId: string; readonly secretAccessKey: string } | null
  readonly limits: ClientLimits
}

/** What the client promised about its body, taken from signed places only. */
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

/**
 * A request whose signature has verified (or which is an allowed anonymous read). Made in `authenticate.ts` only; every
 * later stage accepts nothing else.
 */
export interface Authenticated {
  readonly [authenticated]: true
  readonly request: HttpRequest
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
