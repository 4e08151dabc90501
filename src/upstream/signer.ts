import { createSecretKey, hash, type KeyObject } from 'node:crypto'
import { ALGORITHM_IDENTIFIER, createScope, getCanonicalHeaders, getCanonicalQuery, getSigningKey } from '@aws-sdk/signature-v4'
import type { UpstreamIdentity } from './types.ts'
import type { UpstreamConfig } from '../config/config.ts'
import { credentialPlaces, diagnosis, systemCodeOf } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { hmacSha256 } from '../native/hmac.ts'

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
  readonly key: KeyObject
}

/** The signing key of an identity on one day. */
interface DayKey {
  /** YYYYMMDD */
  readonly day: string
  readonly key: KeyObject
}

/**
 * AWS Signature Version 4 for S3: the path is encoded once and not normalised (AWS "Create a signed request"). Canonical headers, query and keys are the
 * library's. Its own `sign` puts them together in the same way with a dozen promises and a key that is looked up by an HMAC of the secret.
 */
export class Signer {
  readonly #region: string
  readonly #now: () => Date
  /** By the identity object, so that a rotated credential has another key and the old one is collected. */
  readonly #keys = new WeakMap<UpstreamIdentity, DayKey>()
  #second = Number.NaN
  /** ISO 8601 basic, of that second. */
  #date = ''

  constructor(region: string, now: () => Date) {
    this.#region = region
    this.#now = now
  }

  async sign(request: SigningRequest, identity: UpstreamIdentity): Promise<SignedRequest> {
    const date = this.#timestamp()
    const day = date.slice(0, 8)
    const key = this.#known(identity, day) ?? await this.#derive(identity, day)
    const scope = createScope(day, this.#region, 's3')
    // Environments may have an empty one, which is none.
    const token = identity.sessionToken ?? ''
    const headers: Record<string, string> = {
      ...request.headers,
      'host': request.host,
      'x-amz-content-sha256': request.payloadHash,
      'x-amz-date': date,
      ...token === '' ? {} : { 'x-amz-security-token': token }
    }
    const { lines, names } = canonicalHeaders(request, headers)
    const query = request.query.length === 0 ? '' : getCanonicalQuery({ ...wireless(request), query: queryBag(request.query) })
    const canonical = `${request.method}\n${request.path}\n${query}\n${lines}\n${names}\n${request.payloadHash}`
    // A header value has the bytes on the wire as latin1 characters, and the store hashes those bytes.
    const signature = hmacSha256(key, `${ALGORITHM_IDENTIFIER}\n${date}\n${scope}\n${hash('sha256', Buffer.from(canonical, 'latin1'), 'hex')}`).toString('hex')
    headers['authorization'] = `${ALGORITHM_IDENTIFIER} Credential=${identity.accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
    return { headers, signature, chunkScope: { date, scope, key } }
  }

  #timestamp(): string {
    const now = this.#now()
    const second = Math.floor(now.getTime() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#date = now.toISOString().replace(/[-:]|\.\d+/g, '')
    }
    return this.#date
  }

  #known(identity: UpstreamIdentity, day: string): KeyObject | null {
    const known = this.#keys.get(identity)
    return known?.day === day ? known.key : null
  }

  async #derive(identity: UpstreamIdentity, day: string): Promise<KeyObject> {
    const key = createSecretKey(await getSigningKey(Sha256, identity, day, this.#region, 's3'))
    this.#keys.set(identity, { day, key })
    return key
  }
}

/** The parts that the library's functions want of a request and do not read. */
function wireless(
  { method, host, path }: SigningRequest
): { method: string; protocol: string; hostname: string; path: string; headers: Record<string, string> } {
  return { method, protocol: 'https:', hostname: host, path, headers: {} }
}

function canonicalHeaders(request: SigningRequest, headers: Record<string, string>): { readonly lines: string; readonly names: string } {
  const canonical = getCanonicalHeaders({ ...wireless(request), headers })
  let lines = ''
  let names = ''
  // They come sorted by name.
  for (const [name, value] of Object.entries(canonical)) {
    lines += `${name}:${value}\n`
    names += names === '' ? name : `;${name}`
  }
  return { lines, names }
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

/** SHA-256, or HMAC-SHA-256 when made with a secret, as the library expects it for its keys: it serves one short text for each digest. */
class Sha256 {
  readonly #secret: Secret | undefined
  #text: Uint8Array = new Uint8Array()

  constructor(secret?: Secret) {
    this.#secret = secret
  }

  update(chunk: Uint8Array): void {
    this.#text = this.#text.length === 0 ? chunk : Buffer.concat([this.#text, chunk])
  }

  async digest(): Promise<Uint8Array> {
    return this.#secret === undefined ? hash('sha256', this.#text, 'buffer') : hmacSha256(keyOf(this.#secret), this.#text)
  }

  reset(): void {
    this.#text = new Uint8Array()
  }
}

function keyOf(secret: Secret): KeyObject {
  if (typeof secret === 'string') return createSecretKey(secret, 'utf8')
  return createSecretKey(ArrayBuffer.isView(secret) ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength) : new Uint8Array(secret))
}
