import { isDeepStrictEqual } from 'node:util'
import { bucketKinds, kindBucket, type BucketKind, type UpstreamConfig } from '../config/config.ts'
import { diagnosisOf, type Diagnosis } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import { probeConditions, unprobed, type ConditionProbe, type Conditions } from './probe-conditions.ts'
import { probeTrailers } from './probe-trailers.ts'
import { askBucketKind, ensureKindBucket } from './state-bucket.ts'
import type { Upstream, UpstreamRequest } from '../upstream/types.ts'

/** Age after which a bucket kind is probed again: stores are upgraded and downgraded under a running gateway. */
const EXPIRES_MS = 3_600_000
/** A kind of bucket whose probe has failed is not probed again for this long. */
const RETRY_MS = 60_000
/** Milliseconds for a probe of one kind that a request waits for. */
const PROBE_MS = 20_000

type CapabilitiesOptions = Pick<UpstreamConfig, 'stateBucket' | 'region' | 'checksum'> & {
  /** Conditions that the configuration states for every kind of bucket: they have precedence over probes. */
  readonly conditions?: UpstreamConfig['conditions']
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
  /** Called when a kind of bucket has been probed, or the probe failed. */
  readonly learned?: (report: CapabilityReport) => void
}

/** Knowledge about one kind of bucket in the store. */
export interface CapabilityReport {
  readonly kind: BucketKind
  /** The bucket that was probed. */
  readonly bucket: string
  /** null: not known, and so refused. */
  readonly conditions: Conditions | null
  /** Seconds since it was probed; null: never. */
  readonly ageSeconds: number | null
  /** Why the probe failed; null: it succeeded, or has not run yet. */
  readonly failure: string | null
  readonly diagnosis: Diagnosis | null
}

interface Finding {
  readonly bucket: string
  readonly conditions: Conditions | null
  readonly failure: string | null
  readonly diagnosis: Diagnosis | null
  readonly at: number
}

/** A request that needs to know which conditions the store enforces in one bucket. */
interface AskedBucket {
  readonly bucket: string
  /** The client's; the gateway's own is used where this one may not read the bucket's versioning. */
  readonly identity?: UpstreamRequest['identity']
  /** The client's expected bucket owner and request payer: no request is made for a client whose own request would be refused. */
  readonly headers?: UpstreamRequest['headers']
  readonly signal: AbortSignal
}

/**
 * Behaviour of the store by kind of bucket: radosgw 16 enforces `If-None-Match: *` in buckets without versions and ignores it in buckets with them.
 * Each kind is probed in a bucket of the gateway's own of that kind; a client's bucket is never written to. What is not known is refused
 * (docs/decisions/0025).
 */
export class Capabilities {
  readonly #upstream: Upstream
  readonly #options: CapabilitiesOptions
  readonly #probeConditions: ConditionProbe
  readonly #now: () => number
  readonly #findings = new Map<BucketKind, Finding>()
  readonly #probing = new Map<BucketKind, Promise<Finding>>()
  #takesChecksums: boolean
  #stateKind: BucketKind | null = null

  /** @param probe only tests give another: production must see what a store does. Not an option, because configuration becomes options. */
  constructor(upstream: Upstream, options: CapabilitiesOptions, probe: ConditionProbe = probeConditions) {
    this.#upstream = upstream
    this.#options = options
    this.#probeConditions = probe
    this.#now = options.now ?? (() => performance.now())
    this.#takesChecksums = options.checksum === null
  }

  /** Whether the store has been probed. */
  get known(): boolean {
    return this.#stateKind !== null
  }

  /** The findings for the state bucket itself. */
  get ofStateBucket(): Conditions {
    return this.#believed(this.#stateKind === null ? undefined : this.#findings.get(this.#stateKind))
  }

  /**
   * Probes, in the state bucket, what is not known yet or was probed too long ago. Where the time does not suffice for all of it, the next run
   * continues where this one stopped.
   * @returns true when this run has completed the probes
   * @throws S3Error of the probes; the reason of `signal`
   */
  async run(signal: AbortSignal): Promise<boolean> {
    const { stateBucket, checksum } = this.#options
    if (this.#stateKind !== null && this.#isFresh(this.#findings.get(this.#stateKind))) return false
    if (!this.#takesChecksums && checksum !== null) await probeTrailers(this.#upstream, stateBucket, checksum, signal)
    this.#takesChecksums = true
    const kind = await askBucketKind(this.#upstream, stateBucket, undefined, signal)
    if (kind === null) throw new S3Error('ServiceUnavailable', { message: 'The store does not say whether the state bucket keeps versions.' })
    const conditions = await this.#probeConditions(this.#upstream, stateBucket, signal)
    this.#keep(kind, { bucket: stateBucket, conditions, failure: null, diagnosis: null, at: this.#now() })
    this.#stateKind = kind
    return true
  }

  /**
   * Which conditions the store enforces in this bucket now. Where all kinds of bucket behave alike, the kind is not asked for. Otherwise it is asked
   * for with every call, because it may change at any time.
   * @throws S3Error of the upstream.
   */
  async of(asked: AskedBucket): Promise<Conditions> {
    if (!this.known) return this.#believed(undefined)
    const [first, ...others] = bucketKinds.map((kind) => this.#fresh(kind)?.conditions)
    if (first !== undefined && others.every((other) => isDeepStrictEqual(first, other))) return this.#believed(this.#fresh('unversioned'))
    const kind = await this.#kindOf(asked)
    if (kind === null) return this.#believed(undefined)
    return this.#believed(await this.#finding(kind))
  }

  /** Everything known, for logs and status pages. */
  report(): readonly CapabilityReport[] {
    return bucketKinds.map((kind) => this.#reportOf(kind))
  }

  #reportOf(kind: BucketKind): CapabilityReport {
    const found = this.#findings.get(kind)
    return {
      kind,
      bucket: found?.bucket ?? kindBucket(this.#options.stateBucket, kind),
      conditions: found === undefined ? null : found.conditions,
      ageSeconds: found === undefined ? null : (this.#now() - found.at) / 1000,
      failure: found?.failure ?? null,
      diagnosis: found?.diagnosis ?? null
    }
  }

  #keep(kind: BucketKind, finding: Finding): void {
    this.#findings.set(kind, finding)
    this.#options.learned?.(this.#reportOf(kind))
  }

  async #kindOf({ bucket, identity, headers, signal }: AskedBucket): Promise<BucketKind | null> {
    const own = await askBucketKind(this.#upstream, bucket, identity, signal, headers)
    return own === null && identity !== undefined ? askBucketKind(this.#upstream, bucket, undefined, signal, headers) : own
  }

  /** One request probes for all that wait; the probe goes on when the client of that request disconnects. */
  async #finding(kind: BucketKind): Promise<Finding> {
    const known = this.#fresh(kind)
    if (known !== undefined) return known
    const running = this.#probing.get(kind) ?? this.#probe(kind).finally(() => {
      this.#probing.delete(kind)
    })
    this.#probing.set(kind, running)
    return running
  }

  async #probe(kind: BucketKind): Promise<Finding> {
    const { stateBucket, region } = this.#options
    const bucket = kind === this.#stateKind ? stateBucket : kindBucket(stateBucket, kind)
    const finding = await this.#look(kind, bucket, region, AbortSignal.timeout(PROBE_MS)).then(
      (conditions) => ({ bucket, conditions, failure: null, diagnosis: null, at: this.#now() }),
      (error: unknown) => ({
        bucket,
        conditions: null,
        failure: error instanceof S3Error ? error.message : 'The probe took too long.',
        diagnosis: diagnosisOf(error),
        at: this.#now()
      })
    )
    this.#keep(kind, finding)
    return finding
  }

  async #look(kind: BucketKind, bucket: string, region: string, signal: AbortSignal): Promise<Conditions> {
    if (bucket !== this.#options.stateBucket) await ensureKindBucket(this.#upstream, bucket, kind, region, signal)
    const conditions = await this.#probeConditions(this.#upstream, bucket, signal)
    // The bucket was changed during the probe: the result may be of another kind.
    if (await askBucketKind(this.#upstream, bucket, undefined, signal) !== kind) {
      throw new S3Error('ServiceUnavailable', { message: `The bucket ${bucket} does not stay ${kind}.` })
    }
    return conditions
  }

  #fresh(kind: BucketKind): Finding | undefined {
    const found = this.#findings.get(kind)
    return this.#isFresh(found) ? found : undefined
  }

  #isFresh(found: Finding | undefined): boolean {
    return found !== undefined && this.#now() - found.at < (found.failure === null ? EXPIRES_MS : RETRY_MS)
  }

  #believed(found: Finding | undefined): Conditions {
    return { ...found?.conditions ?? unprobed, ...this.#options.conditions }
  }
}
