import { getSigningKey, SignatureV4 } from '@aws-sdk/signature-v4'
import type { UpstreamIdentity } from './types.ts'
import { Sha256 } from './sha256.ts'

export const emptyBodyHash = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

export interface SigningRequest {
  readonly method: string
  readonly host: string
  /** Percent-encoded, exactly as it goes on the request line. */
  readonly path: string
  /** Decoded. */
  readonly query: readonly (readonly [name: string, value: string | null])[]
  /** Lower-case names, each once; latin1 values. All of them are signed but the few that proxies rewrite. */
  readonly headers: Readonly<Record<string, string>>
  /** Value of x-amz-content-sha256. */
  readonly payloadHash: string
}

export interface SignedRequest {
  /** Headers to add: host, x-amz-date, x-amz-content-sha256, x-amz-security-token, authorization. */
  readonly headers: Readonly<Record<string, string>>
  /** 64 hex digits: the seed of signed chunks. */
  readonly signature: string
  /** What signs the chunks of a body. */
  readonly chunkScope: ChunkScope
}

export interface ChunkScope {
  /** ISO 8601 basic, as in x-amz-date. */
  readonly date: string
  /** `<yyyymmdd>/<region>/s3/aws4_request` */
  readonly scope: string
  /** Derives the signing key; cached by the library. */
  readonly signingKey: () => Promise<Uint8Array>
}

/** AWS Signature Version 4 for S3: the path is encoded once and not normalised (AWS "Create a signed request"). */
export class Signer {
  readonly #region: string
  readonly #now: () => Date
  /** Keyed by the identity object, so that a rotated credential is another signer and an old one is collected. */
  readonly #signers = new WeakMap<UpstreamIdentity, SignatureV4>()

  constructor(region: string, now: () => Date) {
    this.#region = region
    this.#now = now
  }

  async sign(request: SigningRequest, identity: UpstreamIdentity): Promise<SignedRequest> {
    const signingDate = this.#now()
    const { headers } = await this.#signerOf(identity).sign({
      method: request.method,
      protocol: 'https:',
      hostname: request.host,
      path: request.path,
      query: queryBag(request.query),
      headers: { ...request.headers, host: request.host, 'x-amz-content-sha256': request.payloadHash }
    }, { signingDate })
    const authorization = headers['authorization'] ?? ''
    const date = headers['x-amz-date'] ?? ''
    const day = date.slice(0, 8)
    return {
      headers,
      signature: authorization.slice(-64),
      chunkScope: {
        date,
        scope: `${day}/${this.#region}/s3/aws4_request`,
        signingKey: () => getSigningKey(Sha256, identity, day, this.#region, 's3')
      }
    }
  }

  #signerOf(identity: UpstreamIdentity): SignatureV4 {
    let signer = this.#signers.get(identity)
    if (signer === undefined) {
      signer = new SignatureV4({
        credentials: identity, region: this.#region, service: 's3', sha256: Sha256, uriEscapePath: false, applyChecksum: false
      })
      this.#signers.set(identity, signer)
    }
    return signer
  }
}

/** A bare name signs as `name=` (AWS "Create a signed request"); repeated names keep all their values. */
function queryBag(query: SigningRequest['query']): Record<string, string | string[]> {
  // Without a prototype: a parameter may be named like one of its methods.
  const bag = Object.create(null) as Record<string, string | string[]>
  for (const [name, value] of query) {
    const before = bag[name]
    bag[name] = before === undefined ? value ?? '' : [before, value ?? ''].flat()
  }
  return bag
}
