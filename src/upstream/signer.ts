import { isAscii } from 'node:buffer'
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'
import { getSigningKey, SignatureV4 } from '@aws-sdk/signature-v4'
import type { UpstreamIdentity } from './types.ts'
import type { UpstreamConfig } from '../config/config.ts'
import { BoundedCache } from '../collections/bounded-cache.ts'
import { credentialPlaces, diagnosis, systemCodeOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'

export interface SigningRequest {
  readonly method: string
  readonly host: string
  /** Percent-encoded, exactly as it goes on the request line. */
  readonly path: string
  /** Decoded. */
  readonly query: readonly (readonly [name: string, value: string | null])[]
  /** Lower-case names, each once; latin1 values. All of them are signed except the few that proxies rewrite. */
  readonly headers: Readonly<Record<string, string>>
  /** Value of x-amz-content-sha256. */
  readonly payloadHash: string
}

interface SignedRequest {
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
  /** Keyed by the identity object, so that a rotated credential has another signer and the old one is collected. */
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
        credentials: identity,
        region: this.#region,
        service: 's3',
        sha256: Sha256,
        uriEscapePath: false,
        applyChecksum: false
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

/** Gives the gateway's own identity at the store. @throws S3Error ServiceUnavailable while there is none. */
export type IdentitySource = () => Promise<UpstreamIdentity>

/**
 * The configured keys, or with `aws` the standard AWS chain (environment, profile, web identity, container, instance),
 * which refreshes what expires.
 */
export function identitySource(credentials: UpstreamConfig['credentials']): IdentitySource {
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
        message: 'The gateway has no credentials for the store at the moment.',
        cause,
        diagnosis: diagnosis('store', `credentials: ${credentialPlaces}`, { errorName: 'CredentialsProviderError', system: systemCodeOf(cause) })
      })
    }
  }
}

type Secret = string | ArrayBuffer | ArrayBufferView

/**
 * SHA-256, or HMAC-SHA-256 when made with a secret, as the signing library expects it. It serves one short text per digest, so it needs no state in
 * native memory that the garbage collector would have to track.
 */
export class Sha256 {
  readonly #secret: Secret | undefined
  #text: Uint8Array = new Uint8Array()

  constructor(secret?: Secret) {
    this.#secret = secret
  }

  update(chunk: Uint8Array): void {
    this.#text = this.#text.length === 0 ? chunk : Buffer.concat([this.#text, chunk])
  }

  async digest(): Promise<Uint8Array> {
    if (this.#secret === undefined) return hash('sha256', onTheWire(this.#text), 'buffer')
    if (typeof this.#secret === 'string') return remembered(this.#secret, this.#text)
    return hmac(keyOf(this.#secret), this.#text)
  }

  reset(): void {
    this.#text = new Uint8Array()
  }
}

/**
 * The library encodes the canonical request as UTF-8. Header values here are the bytes on the wire as latin1
 * characters, and the store hashes those bytes.
 */
function onTheWire(text: Uint8Array): Uint8Array {
  return isAscii(text) ? text : Buffer.from(Buffer.from(text).toString('utf8'), 'latin1')
}

function hmac(key: KeyObject, text: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(text).digest()
}

/** The library keeps the signing key of a day and passes the same array each time. */
const keys = new WeakMap<object, KeyObject>()

/** With the bare bytes Node 24's HMAC takes five times as long as with a KeyObject. */
function keyOf(secret: ArrayBuffer | ArrayBufferView): KeyObject {
  let key = keys.get(secret)
  if (key === undefined) {
    key = createSecretKey(
      ArrayBuffer.isView(secret)
        ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
        : new Uint8Array(secret)
    )
    keys.set(secret, key)
  }
  return key
}

interface Remembered {
  readonly text: Uint8Array
  readonly digest: Uint8Array
}

/** To find that key the library takes an HMAC of the access key id with the secret itself for every request. The bound is the library's own. */
const byText = new BoundedCache<Remembered>(50)

function remembered(secret: string, text: Uint8Array): Uint8Array {
  const known = byText.get(secret)
  if (known !== undefined && Buffer.compare(known.text, text) === 0) return known.digest
  const digest = hmac(createSecretKey(secret, 'utf8'), text)
  byText.set(secret, { text, digest })
  return digest
}
