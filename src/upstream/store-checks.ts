import { randomBytes } from 'node:crypto'
import { S3Error } from '../errors.ts'
import { readAll } from '../http/stage.ts'
import { ensureStateBucket, unusable } from './state-bucket.ts'
import type { Upstream, UpstreamRequest } from './types.ts'

/** Milliseconds between two proofs that the state bucket can be written: writes are what stores charge for. */
const PROVE_EVERY_MS = 60_000

export interface StoreChecksOptions {
  readonly stateBucket: string
  readonly region: string
  /** Told once when deletes leave markers in the state bucket. */
  readonly markers: () => void
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
}

/** The readiness checks of the store: whether it serves us at all, and whether the state bucket does its work. */
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
   * The store answers and takes the gateway's credentials, whatever it says of the state bucket: not a HEAD, whose answer has no code.
   * @throws S3Error ServiceUnavailable, SealgateBadUpstream, SealgateUpstreamTimeout.
   */
  async store(signal: AbortSignal): Promise<void> {
    const { status } = await this.#send({ method: 'GET', query: [['versioning', null]], signal })
    // Not every store knows versions.
    if (status >= 500 && status !== 501) throw new S3Error('ServiceUnavailable', { message: `The store answers ${status}.` })
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
    const put = await this.#send({ method: 'PUT', key, body: written, contentLength: written.length, signal })
    if (put.status !== 200) throw this.#unusable(`PUT answers ${put.status}`)
    const get = await this.#send({ method: 'GET', key, signal })
    if (get.status !== 200) throw this.#unusable(`GET answers ${get.status}`)
    if (!get.body.equals(written)) throw this.#unusable('it gives back something else than was written')
    const removed = await this.#send({ method: 'DELETE', key, signal })
    if (removed.status !== 204 && removed.status !== 200) throw this.#unusable(`DELETE answers ${removed.status}`)
  }

  async #send(sent: Pick<UpstreamRequest, 'method' | 'signal'> & Partial<UpstreamRequest>): Promise<{ status: number; body: Buffer }> {
    const { status, body } = await this.#upstream.request({
      bucket: this.#options.stateBucket, key: null, query: [], headers: [], body: null, contentLength: 0, retry: true, pool: 'control', ...sent
    })
    return { status, body: await readAll(body, 65536, () => new S3Error('SealgateBadUpstream')) }
  }

  #unusable(reason: string): S3Error {
    return unusable(this.#options.stateBucket, reason)
  }
}
