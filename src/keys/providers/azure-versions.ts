import type { KeyObject } from 'node:crypto'
import { BoundedCache } from '../../collections/bounded-cache.ts'
import type { AzureConfig } from '../../config/key-config.ts'
import { S3Error } from '../../errors.ts'
import { WrongServiceAnswer } from '../service/errors.ts'
import { isRecord, type Data } from '../service/http.ts'
import { bytesOfModulus, publicKeyOf } from './azure-wrap.ts'

export const API = 'api-version=7.4'
/** Milliseconds after which it is asked anew which version is the newest. */
const NEWEST_MS = 300_000
/** Versions whose public keys are kept. */
const MOST_KEPT = 64
const MOST_PAGES = 20

interface Version {
  readonly id: string
  /** null: the key is symmetric. */
  readonly publicKey: KeyObject | null
}

/** The versions of a key of Key Vault: the newest, which wraps; the public key of each; and for the operator all with their states. */
export class AzureVersions {
  readonly #config: AzureConfig
  readonly #get: (path: string, signal: AbortSignal) => Promise<Data>
  readonly #known = new BoundedCache<Version>(MOST_KEPT)
  #newest: { readonly version: Version; readonly askedAt: number } | null = null
  #listed: readonly { readonly id: string; readonly state: string }[] = []

  /** @param get sends a request. @throws S3Error */
  constructor(config: AzureConfig, get: (path: string, signal: AbortSignal) => Promise<Data>) {
    this.#config = config
    this.#get = get
  }

  static isVersion(text: string): boolean {
    return /^[0-9a-f]{32}$/.test(text)
  }

  get newestId(): string | null {
    return this.#newest?.version.id ?? null
  }

  /** Empty where the gateway may not list them. */
  get listed(): readonly { readonly id: string; readonly state: string }[] {
    return this.#listed.map(({ id, state }) => ({ id, state: state === 'enabled' && id !== this.newestId ? 'decrypt-only' : state }))
  }

  /** Known after `learn`. */
  get warnings(): readonly string[] {
    const publicKey = this.#newest?.version.publicKey ?? null
    if (publicKey === null || bytesOfModulus(publicKey) < 512) return []
    return [
      `The key ${this.#config.key} of Key Vault has 4,096 bits: its wraps take 1.5 KiB of the metadata of every object, of which most stores take 2 KiB. `
      + 'Make a version of 2,048 or 3,072 bits.'
    ]
  }

  /** Asks which version is the newest, and for all. @throws S3Error of the first question. */
  async learn(signal: AbortSignal): Promise<void> {
    this.#newest = { version: await this.version('', signal), askedAt: performance.now() }
    await this.#list(signal)
  }

  /** The version that wraps. Once known, a service that does not say it again is no reason to fail: the call itself will be. */
  async current(signal: AbortSignal): Promise<Version> {
    const known = this.#newest
    if (known !== null && performance.now() - known.askedAt < NEWEST_MS) return known.version
    if (known !== null) this.#newest = { ...known, askedAt: performance.now() }
    try {
      this.#newest = { version: await this.version('', signal), askedAt: performance.now() }
    } catch (error) {
      if (signal.aborted || known === null || !(error instanceof S3Error && error.code === 'ServiceUnavailable')) throw error
      return known.version
    }
    return this.#newest.version
  }

  /** @param id empty: the newest. @throws S3Error; KMS.KMSInvalidStateException for a key that cannot do what is needed. */
  async version(id: string, signal: AbortSignal): Promise<Version> {
    const known = this.#known.get(id)
    if (known !== undefined) return known
    const { key } = this.#config
    const { key: jwk } = await this.#get(`/keys/${key}${id === '' ? '' : `/${id}`}?${API}`, signal)
    const found = isRecord(jwk) ? this.versionIn(jwk['kid']) : null
    if (!isRecord(jwk) || found === null || (id !== '' && found !== id)) throw otherKey()
    const version = { id: found, publicKey: this.#publicKeyIn(jwk, id === '') }
    this.#known.set(version.id, version)
    return version
  }

  /** @param wraps it is to wrap, not only to open what it has wrapped. */
  #publicKeyIn({ kty, n, e, key_ops: operations }: Data, wraps: boolean): KeyObject | null {
    const { key, algorithm } = this.#config
    const symmetric = algorithm === 'A256KW'
    const needed = ['unwrapKey', ...wraps ? [symmetric ? 'wrapKey' : 'sign'] : []]
    const able = Array.isArray(operations) && needed.every((each) => operations.includes(each))
    const kind = typeof kty === 'string' ? kty.replace(/-HSM$/, '') : ''
    if (able && symmetric && kind === 'oct') return null
    if (able && !symmetric && kind === 'RSA' && typeof n === 'string' && typeof e === 'string') {
      const publicKey = publicKeyFrom(n, e)
      if (publicKey !== null) return publicKey
    }
    throw new S3Error('KMS.KMSInvalidStateException', {
      message: `The key ${key} of Key Vault must be ${symmetric ? 'symmetric (oct-HSM)' : 'an RSA key of 2048, 3072 or 4096 bits'} for ${algorithm}, `
        + `and allow ${needed.join(' and ')}.`
    })
  }

  /** For the operator alone: an access policy may not allow it, and nothing depends on it. */
  async #list(signal: AbortSignal): Promise<void> {
    const found: { id: string; state: string; created: number }[] = []
    let path: string | null = `/keys/${this.#config.key}/versions?${API}`
    for (let page = 0; page < MOST_PAGES && path !== null; page += 1) {
      const answer: Data | null = await this.#get(path, signal).catch((error: unknown) => {
        if (signal.aborted || !(error instanceof S3Error)) throw error
        return null
      })
      if (answer === null) return
      for (const row of Array.isArray(answer['value']) ? answer['value'].filter(isRecord) : []) {
        const [id, attributes] = [this.versionIn(row['kid']), row['attributes']]
        if (id !== null && isRecord(attributes)) found.push({ id, state: stateOf(attributes), created: Number(attributes['created'] ?? 0) })
      }
      path = this.#pathOf(answer['nextLink'])
    }
    this.#listed = found.toSorted((a, b) => a.created - b.created)
  }

  /** The version in a `kid`; null: it is the name of another key. */
  versionIn(kid: unknown): string | null {
    const { vault, key } = this.#config
    if (typeof kid !== 'string' || !URL.canParse(kid)) return null
    const { protocol, hostname, pathname } = new URL(kid)
    const [, keys, name, version = '', ...more] = pathname.split('/')
    const same = protocol === 'https:' && hostname === new URL(vault).hostname && keys === 'keys' && name?.toLowerCase() === key.toLowerCase()
    return same && more.length === 0 && AzureVersions.isVersion(version) ? version : null
  }

  /** Of a link to the next page, which is followed at the configured address only. */
  #pathOf(link: unknown): string | null {
    if (typeof link !== 'string' || !URL.canParse(link)) return null
    const { hostname, pathname, search } = new URL(link)
    const { vault, key } = this.#config
    return hostname === new URL(vault).hostname && pathname.toLowerCase() === `/keys/${key}/versions`.toLowerCase() ? pathname + search : null
  }
}

function otherKey(): S3Error {
  return new S3Error('InternalError', { endedBy: 'keys', cause: new WrongServiceAnswer('Key Vault described another key than it was asked for.') })
}

function stateOf({ enabled, exp }: Data): string {
  if (enabled === false) return 'disabled'
  return typeof exp === 'number' && exp * 1000 <= Date.now() ? 'decrypt-only' : 'enabled'
}

function publicKeyFrom(n: string, e: string): KeyObject | null {
  try {
    const publicKey = publicKeyOf(n, e)
    return bytesOfModulus(publicKey) === 0 ? null : publicKey
  } catch {
    return null
  }
}
