import { randomBytes } from 'node:crypto'
import { diagnosis, type Diagnosis } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { BucketClient, type Answer, type Sent } from './bucket-client.ts'
import { ensureStateBucket, unusable } from './state-bucket.ts'
import type { Upstream, UpstreamRequest } from '../upstream/types.ts'

/** Milliseconds between two proofs that the state bucket can be written: writes are what stores charge for. */
const PROVE_EVERY_MS = 60_000

export interface StoreChecksOptions {
  readonly stateBucket: string
  readonly region: string
  /** Tests whether the store's address answers in TLS, where upstream.endpoint is http; null: it is https. */
  readonly speaksTls?: ((signal: AbortSignal) => Promise<boolean>) | null
  /** Told when the store refuses everything that is asked of it with the gateway's credentials. */
  readonly refused?: (code: string) => void
  /** Told once when deletes leave markers in the state bucket. */
  readonly markers: () => void
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
}

/** The readiness checks of the store: whether it serves the gateway, and whether the state bucket can be used. */
export class StoreChecks {
  readonly #upstream: Upstream
  readonly #options: StoreChecksOptions
  readonly #now: () => number
  /** One name per process: where deletes leave a marker behind, they leave one. */
  readonly #key = `probe/${randomBytes(12).toString('hex')}/ready`
  /** When the state bucket is to be proved again; it is at every run until it has passed. */
  #due = -Infinity
  #toldOfMarkers = false

  constructor(upstream: Upstream, options: StoreChecksOptions) {
    this.#upstream = upstream
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /**
   * The store answers and accepts the gateway's credentials, with any answer about the state bucket. Not a HEAD, whose answer has no code.
   * @throws S3Error ServiceUnavailable, SealgateBadUpstream, SealgateUpstreamTimeout.
   */
  async store(signal: AbortSignal): Promise<void> {
    const { speaksTls = null } = this.#options
    const { status, diagnosis } = await this.#send({ method: 'GET', query: [['versioning', null]], signal }).catch(async (error: unknown) => {
      if (error instanceof S3Error && speaksTls !== null && await speaksTls(signal)) throw plainToTls(error)
      throw error
    })
    // Not every store knows versions.
    if (status >= 500 && status !== 501) throw new S3Error('ServiceUnavailable', { message: `The store answers ${status}.`, diagnosis })
    if (status === 401 || status === 403) await this.#checkRights(signal, diagnosis)
    else if (status === 400 && diagnosis?.errorName === null && speaksTls !== null && await speaksTls(signal)) throw plainToTls(null)
  }

  /**
   * Some stores say AccessDenied of credentials they do not know or of a signature that does not fit, as of a right that is missing: credentials
   * to which everything is refused do not serve. @throws S3Error SealgateBadUpstream.
   */
  async #checkRights(signal: AbortSignal, diagnosis: Diagnosis | null): Promise<void> {
    const { refused } = this.#options
    for (const bucket of [this.#options.stateBucket, null]) {
      const { status } = await this.#send({ method: bucket === null ? 'GET' : 'HEAD', bucket, signal })
      if (status !== 401 && status !== 403) return
    }
    refused?.(diagnosis?.errorName ?? 'AccessDenied')
    throw new S3Error('SealgateBadUpstream', { message: 'The store refuses everything that is asked of it with the credentials of the gateway.', diagnosis })
  }

  /**
   * The state bucket is there, and once a minute: a small object can be written, read back and removed.
   * @throws S3Error ServiceUnavailable that names the bucket and what fails; SealgateBadUpstream, SealgateUpstreamTimeout.
   */
  async stateBucket(signal: AbortSignal): Promise<void> {
    const { stateBucket, region, markers } = this.#options
    const versioning = await ensureStateBucket(this.#upstream, stateBucket, region, signal)
    if (versioning === 'suspended' && !this.#toldOfMarkers) markers()
    this.#toldOfMarkers = versioning === 'suspended'
    if (this.#now() < this.#due) return
    this.#due = -Infinity
    await this.#prove(signal)
    this.#due = this.#now() + PROVE_EVERY_MS
  }

  async #prove(signal: AbortSignal): Promise<void> {
    const key = this.#key
    const written = randomBytes(16)
    const put = await this.#send({ method: 'PUT', key, body: written, signal })
    if (put.status !== 200) throw this.#unusable(`PUT answers ${put.status}`, put)
    const get = await this.#send({ method: 'GET', key, signal })
    if (get.status !== 200) throw this.#unusable(`GET answers ${get.status}`, get)
    if (!get.body.equals(written)) throw this.#unusable('it returns something else than was written', get)
    const removed = await this.#send({ method: 'DELETE', key, signal })
    if (removed.status !== 204 && removed.status !== 200) throw this.#unusable(`DELETE answers ${removed.status}`, removed)
  }

  /** Repeated where the connection breaks: a check that fails for that would take the gateway out of service. */
  #send({ signal, ...sent }: Sent & Pick<UpstreamRequest, 'signal'>): Promise<Answer> {
    return new BucketClient(this.#upstream, this.#options.stateBucket, signal).answer({ retry: true, ...sent })
  }

  #unusable(reason: string, { diagnosis }: Pick<Answer, 'diagnosis'>): S3Error {
    return unusable(this.#options.stateBucket, reason, diagnosis)
  }
}

function plainToTls(cause: S3Error | null): S3Error {
  return new S3Error('SealgateBadUpstream', {
    message: 'The address of the store speaks TLS: upstream.endpoint must say https.',
    cause: cause ?? undefined,
    diagnosis: diagnosis('store', 'connect', { ...cause?.diagnosis, system: 'ERR_PLAIN_TO_TLS' })
  })
}
