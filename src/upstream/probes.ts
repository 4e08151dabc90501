import type { ChecksumAlgorithm } from '../http/checksum.ts'
import { probeConditions, type Conditions } from './probe.ts'
import { probeTrailers } from './probe-trailers.ts'
import type { Upstream } from './types.ts'

export interface ProbesOptions {
  readonly stateBucket: string
  /** The checksum the store has to take with what is written; null: none. */
  readonly checksum: ChecksumAlgorithm | null
}

/** What the store does has to be found out once. */
export class Probes {
  readonly #upstream: Upstream
  readonly #options: ProbesOptions
  #takesChecksums: boolean
  #conditions: Conditions | null = null

  constructor(upstream: Upstream, options: ProbesOptions) {
    this.#upstream = upstream
    this.#options = options
    this.#takesChecksums = options.checksum === null
  }

  /** Which conditional requests the store enforces; null until all is known. */
  get conditions(): Conditions | null {
    return this.#conditions
  }

  /**
   * Finds out what is not known yet. Where time is too short for all of it, the next run begins where this one has stopped.
   * @returns true when this run has found out the last of it
   * @throws S3Error of the probes; the reason of `signal`
   */
  async run(signal: AbortSignal): Promise<boolean> {
    if (this.#conditions !== null) return false
    const { stateBucket, checksum } = this.#options
    if (!this.#takesChecksums && checksum !== null) await probeTrailers(this.#upstream, stateBucket, checksum, signal)
    this.#takesChecksums = true
    this.#conditions = await probeConditions(this.#upstream, stateBucket, signal)
    return true
  }
}
