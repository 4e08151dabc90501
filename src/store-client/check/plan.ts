import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Upstream } from '../../upstream/types.ts'
import { bucketKinds, checkBucket, type BucketKind, type UpstreamConfig } from '../../config/config.ts'
import { S3Error } from '../../errors.ts'
import { readListing } from '../../s3/listing-rows.ts'
import type { TlsFacts } from '../../upstream/tls-facts.ts'
import { BucketClient } from '../bucket-client.ts'
import { ProbePlace } from '../probe-place.ts'
import { MIN_PART_SIZE } from '../../envelope/sizes.ts'
import { askBucketKind, ensureKindBucket } from '../state-bucket.ts'
import { ask, broken, fails, used, type Check, type Fact, type Reading, type Settings } from './check.ts'
import { featureChecks, lockCheck } from './features.ts'
import { listingChecks, manyParts, multipartChecks } from './uploads-and-listings.ts'
import { objectCheck, otherObjectChecks } from './objects.ts'
import { reachStore } from './reach.ts'

const checks: readonly Check[] = [...otherObjectChecks, ...multipartChecks, ...listingChecks, ...featureChecks]
/** Making, asking, listing and removing a bucket, and what cleans up one check. */
const REQUESTS_PER_BUCKET = 12
const REQUESTS_TO_CLEAN = 6
/** What a run asks again where the store was busy. */
const repeats = { requests: 60, bytes: 2 * MIN_PART_SIZE }
/** Milliseconds for cleaning up one bucket, also after a stop. */
const CLEAN_UP_MS = 60_000

interface Store {
  readonly upstream: Upstream
  readonly chunked: Upstream
}

export interface StoreCheckOptions {
  readonly config: UpstreamConfig
  /** Rules of the gateway's own take the place of those of buckets. */
  readonly ownCors: boolean
  /** The store with other settings of `upstream`; the caller closes it. */
  readonly open: (upstream: UpstreamConfig) => Store
  /** What TLS says at the endpoint; null: nothing. */
  readonly tls: (upstream: UpstreamConfig, host: string) => Promise<TlsFacts | null>
  /** An existing bucket to ask in; null: the run makes its own. */
  readonly bucket: string | null
  /** Parts of the upload that counts them; 0: it is not made. */
  readonly parts: number
  /** Only what is cheap, in the state bucket. */
  readonly start?: boolean
  readonly signal: AbortSignal
}

export interface StoreReport {
  readonly facts: readonly Fact[]
  /** Buckets and keys that could not be removed. */
  readonly left: readonly string[]
  /** Ended by the signal before everything was asked. */
  readonly stopped: boolean
}

/** What a run costs at most. */
export function costOf({ bucket, parts }: Pick<StoreCheckOptions, 'bucket' | 'parts'>): { readonly requests: number; readonly bytes: number } {
  const kinds: readonly BucketKind[] = bucket === null ? bucketKinds : ['unversioned']
  const times = ({ kinds: asked }: Check): number => asked === undefined ? 1 : Math.max(1, asked.filter((kind) => kinds.includes(kind)).length)
  const all = [objectCheck, ...checks, ...bucket === null ? [lockCheck] : []]
  return {
    requests: all.reduce(
      (sum, check) => sum + times(check) * (check.requests + REQUESTS_TO_CLEAN),
      (kinds.length + 1) * REQUESTS_PER_BUCKET + 2 * parts + repeats.requests
    ),
    bytes: all.reduce((sum, check) => sum + times(check) * (check.bytes ?? 0), parts * MIN_PART_SIZE + repeats.bytes)
  }
}

/** Asks the store everything, one question after the other, and removes what it made. */
export async function checkStore(options: StoreCheckOptions): Promise<StoreReport> {
  const run = new Run(options)
  let stopped = false
  try {
    await run.all()
  } catch (error) {
    if (!options.signal.aborted) throw error
    stopped = true
  } finally {
    await run.cleanUp()
  }
  return { facts: run.facts, left: run.left, stopped }
}

/** What `serve` asks after its start, in the state bucket: some 20 small requests. */
const startChecks: ReadonlySet<string> = new Set(['errors', 'metadata', 'parts.number', 'delete.many'])

type Place = readonly [kind: BucketKind, place: ProbePlace]

class Run {
  readonly facts: Fact[] = []
  readonly left: string[] = []
  readonly #options: StoreCheckOptions
  readonly #id = randomBytes(4).toString('hex')
  readonly #made: string[] = []
  readonly #places: ProbePlace[] = []
  readonly #repeats = { ...repeats }
  #config: UpstreamConfig
  #store: Store

  constructor(options: StoreCheckOptions) {
    this.#options = options
    this.#config = options.config
    this.#store = options.open(this.#config)
  }

  /** @throws S3Error when the store cannot be reached or does not know the credentials; the reason of the signal. */
  async all(): Promise<void> {
    const { bucket, parts } = this.#options
    await this.#reach()
    if (this.#options.start === true) {
      const place = this.#place(this.#config.stateBucket)
      for (const check of checks.filter(({ id }) => startChecks.has(id))) await this.#run(check, 'unversioned', place, [])
      return
    }
    let places = bucket === null ? await this.#ownBuckets() : await this.#givenBucket(bucket)
    const [first] = places
    if (first === undefined) return
    await this.#run(objectCheck, ...first, places)
    if (changesOf(this.facts, this.#config)['upstream.sse'] !== undefined) {
      // What would be found without says only that again.
      this.#use({ ...this.#config, sse: 'AES256' })
      places = places.map(([kind, { name, prefix }]) => [kind, this.#place(name, prefix)])
      const known = new Set(this.facts.map(({ fact }) => fact))
      await this.#run(objectCheck, first[0], places[0]?.[1] ?? first[1], places, known)
    }
    for (const check of checks) {
      for (const [kind, place] of places) {
        if (check.kinds === undefined ? kind === first[0] : check.kinds.includes(kind)) await this.#run(check, kind, place, places)
      }
    }
    if (parts > 0) await this.#run(manyParts, ...first, places)
    if (bucket === null && places.some(([kind]) => kind === 'versioned')) await this.#lock()
    else if (bucket === null) this.#keep('lock', lockCheck.fact, 'versioned', fails('no versions', 'locks of clients are refused'))
  }

  async cleanUp(): Promise<void> {
    for (const place of this.#places) {
      const failed = await place.cleanUp(CLEAN_UP_MS)
      if (failed.length === 0) continue
      const bucket = new BucketClient(this.#store.upstream, place.name, AbortSignal.timeout(CLEAN_UP_MS))
      // Names that the store refused cannot be removed, and need not be.
      const there = await bucket.document({ method: 'GET', query: [['prefix', place.prefix]] }).then(
        (page) => readListing(page).map(({ key }) => key),
        () => failed
      )
      this.left.push(...failed.filter((key) => key.includes('?') || there.includes(key)).map((key) => `${place.name}/${key}`))
    }
    for (const name of this.#made) {
      const bucket = new BucketClient(this.#store.upstream, name, AbortSignal.timeout(CLEAN_UP_MS))
      const gone = await bucket.answer({ method: 'DELETE' }).then(({ status }) => status < 300 || status === 404, () => false)
      if (!gone) this.left.push(name)
    }
  }

  #use(config: UpstreamConfig): void {
    this.#config = config
    this.#store = this.#options.open(config)
  }

  async #reach(): Promise<void> {
    const { open, tls, signal } = this.#options
    const { facts, config } = await reachStore({
      config: this.#config,
      open: (asked) => asked === this.#config ? this.#store.upstream : open(asked).upstream,
      tls: (host) => tls(this.#config, host),
      signal
    })
    for (const { id, fact, ...reading } of facts) this.#keep(id, fact, 'unversioned', reading)
    if (config !== this.#config) this.#use(config)
  }

  async #givenBucket(name: string): Promise<Place[]> {
    const kind = await askBucketKind(this.#store.upstream, name, undefined, this.#options.signal)
    const place = this.#place(name, `sealgate-check-${this.#id}/`)
    const head = await ask(place, { method: 'HEAD' })
    if (!head.ok) {
      this.#keep('bucket', 'the bucket', 'unversioned', broken(head.said, `${name} cannot be used: allow s3:ListBucket`))
      return []
    }
    this.#keep(
      'bucket',
      'the bucket',
      kind ?? 'unversioned',
      kind === null ? fails('does not say whether it keeps versions', 'conditional requests are refused') : used(kind)
    )
    return [[kind ?? 'unversioned', place]]
  }

  /** One bucket of each kind that the store has. */
  async #ownBuckets(): Promise<Place[]> {
    const { signal } = this.#options
    const { stateBucket, region } = this.#config
    const places: Place[] = []
    for (const kind of bucketKinds) {
      const name = checkBucket(stateBucket, this.#id, kind)
      try {
        this.#made.push(name)
        await ensureKindBucket(this.#store.upstream, name, kind, region, signal)
      } catch (error) {
        if (signal.aborted || !(error instanceof S3Error)) throw error
        const made = (await ask(new ProbePlace(this.#store.upstream, name, signal), { method: 'HEAD' })).ok
        if (!made) this.#made.pop()
        if (kind !== 'unversioned') {
          this.#keep('bucket', bucketFact(kind), kind, fails(error.message, 'clients have no such buckets'))
          continue
        }
        if (!made) {
          this.#keep('bucket', bucketFact(kind), kind, broken(error.message, 'allow s3:CreateBucket, or name a bucket with --bucket'))
          return []
        }
        this.#keep('bucket', 'GetBucketVersioning', kind, fails('it cannot be read whether versions are kept', 'conditional requests are answered 501'))
      }
      this.#keep('bucket', bucketFact(kind), kind, used('made'))
      places.push([kind, this.#place(name)])
    }
    return places
  }

  async #lock(): Promise<void> {
    const name = checkBucket(this.#config.stateBucket, this.#id, 'lock')
    const place = this.#place(name)
    this.#made.push(name)
    const made = await ask(place, { method: 'PUT', headers: [['x-amz-bucket-object-lock-enabled', 'true']] })
    if (made.ok) await this.#run(lockCheck, 'versioned', place, [])
    else this.#keep('lock', lockCheck.fact, 'versioned', fails(made.said, 'locks of clients are refused'))
  }

  #place(name: string, prefix?: string): ProbePlace {
    const place = new ProbePlace(this.#store.upstream, name, this.#options.signal, prefix, this.#repeats)
    this.#places.push(place)
    return place
  }

  /** @param known facts that are not found out again. */
  async #run(check: Check, kind: BucketKind, place: ProbePlace, places: readonly Place[], known: ReadonlySet<string> = new Set()): Promise<void> {
    const { signal, ownCors, parts, bucket } = this.#options
    const second = places.find(([other]) => other !== kind)?.[1] ?? null
    const at = { ...this.#store, place, kind, config: this.#config, ownCors, ownBucket: bucket === null, parts, second }
    let readings: readonly Reading[]
    try {
      readings = [await check.ask(at)].flat()
    } catch (error) {
      if (signal.aborted || !(error instanceof S3Error)) throw error
      readings = [{ verdict: 'unknown', seen: error.message }]
    }
    for (const reading of readings) {
      const fact = reading.fact ?? check.fact
      if (!known.has(fact)) this.#keep(check.id, fact, kind, reading)
    }
  }

  #keep(id: string, fact: string, bucket: BucketKind, reading: Reading): void {
    this.facts.push({ means: '', settings: {}, ...reading, id, fact, bucket })
  }
}

function bucketFact(kind: BucketKind): string {
  return kind === 'unversioned' ? 'CreateBucket' : `buckets with versioning ${kind === 'versioned' ? 'enabled' : 'suspended'}`
}

/** What the configuration should have and has not, from all facts. */
export function changesOf(facts: readonly Fact[], upstream: UpstreamConfig): Settings {
  const wanted = new Map<string, Settings[string]>()
  for (const [path, value] of facts.flatMap(({ settings }) => Object.entries(settings))) {
    const before = wanted.get(path) ?? valueAt(upstream, path)
    wanted.set(path, isList(value) && isList(before) ? [...new Set([...before, ...value])].toSorted() : value)
  }
  return Object.fromEntries([...wanted].filter(([path, value]) => !isDeepStrictEqual(valueAt(upstream, path), value)))
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value)
}

/** The value of `upstream.a.b` as the file would have it. */
function valueAt(upstream: UpstreamConfig, path: string): unknown {
  const found = path.split('.').slice(1).reduce<unknown>((at, name) => (at as Readonly<Record<string, unknown>> | null | undefined)?.[name], upstream)
  if (Array.isArray(found)) return found.toSorted()
  return found === null && path === 'upstream.checksum' ? 'none' : found
}
