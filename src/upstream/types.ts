import type { Readable } from 'node:stream'
import type { Diagnosis } from '../diagnosis.ts'
import type { ChecksumAlgorithm } from '../http/checksums.ts'
import type { HeaderList } from '../http/message.ts'

export interface UpstreamIdentity {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** A request to the store in S3 terms. The upstream room encodes, signs and sends it. */
export interface UpstreamRequest {
  readonly method: string
  readonly bucket: string | null
  /** Decoded object key; null for bucket and service operations. */
  readonly key: string | null
  /** Decoded; null value: a bare name (`?acl`). */
  readonly query: readonly (readonly [name: string, value: string | null])[]
  /** Lower-case names, latin1 values; without host, content-length, date, authorization, x-amz-content-sha256. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** A stream must give exactly `contentLength` bytes or fail. */
  readonly body: Buffer | Readable | null
  readonly contentLength: number
  /** Object data only: the checksum of `body` that is sent with it, after a stream and before a Buffer. Default: none. */
  readonly checksum?: ChecksumAlgorithm | null
  /** null: unsigned (anonymous reads of public-read buckets); undefined: the gateway's own credentials. */
  readonly identity?: UpstreamIdentity | null
  readonly signal: AbortSignal
  /** Seconds the store may be silent before it answers. Default: `limits.upstreamFirstByteSeconds`. */
  readonly answerSeconds?: number
  /**
   * One retry on a new connection, if no answer came back and the body can be sent again (Buffer or null). Never for conditional writes and copies of objects.
   */
  readonly retry: boolean
  /**
   * The pool. `data`: bodies. `control`: all other requests, which transfers must not delay. `source`: bodies on their way into another request to
   * the store; a request that holds one of `source` may wait for one of `data`, never the other way round. `preflight`: requests caused by unsigned
   * requests, which must not delay any other.
   */
  readonly pool: 'data' | 'source' | 'control' | 'preflight'
}

export interface UpstreamResponse {
  readonly status: number
  readonly headers: HeaderList
  /** Must be consumed or destroyed. Fails when the store ends it early; length equals Content-Length. */
  readonly body: Readable
  /** Of an error status: what may be logged. */
  readonly diagnosis?: Diagnosis
}

/** The interface to the store for the rest of the gateway. */
export interface Upstream {
  /**
   * Never follows redirects. @throws S3Error SealgateBadUpstream (3xx, broken framing, missing Content-Length,
   * repeated headers, auth errors of our own identity), SealgateUpstreamTimeout, ServiceUnavailable.
   * Other error statuses of the store are returned, not thrown.
   */
  request(request: UpstreamRequest): Promise<UpstreamResponse>
  close(): Promise<void>
}
