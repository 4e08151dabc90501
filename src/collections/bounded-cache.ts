// Containers with a bound, for what every request touches: a cache with weights and expiry (here), a roster of what is open (roster.ts), and a
// rate limit (token-bucket.ts). No input can make them grow beyond their bound.
interface Entry<V> {
  readonly value: V
  readonly weight: number
  /** Time of expiry, by the clock of the cache. */
  readonly until: number
  /** Read since it was last skipped by an eviction. */
  used: boolean
}

interface Expiry {
  /** Milliseconds that an entry is valid after it was set; it uses its room until it is replaced or evicted. */
  readonly maxAgeMs: number
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
}

const never: Expiry = { maxAgeMs: Infinity }

/**
 * A map bounded in total weight, for data that every request uses. Entries that have not been read are evicted first, oldest first (second chance). A
 * read sets a flag and does not change the order: an order kept by removing and inserting entries makes V8 rehash the map all the time, and a dead
 * table keeps its successors alive (docs/decisions/0014).
 */
export class BoundedCache<V> {
  readonly #entries = new Map<string, Entry<V>>()
  readonly #maxWeight: number
  readonly #evicted: (value: V) => void
  readonly #maxAgeMs: number
  readonly #now: () => number
  #weight = 0

  /**
   * @param maxWeight in the unit of `set`'s weight (bytes, or 1 per entry).
   * @param evicted is called with each value that is evicted; not with those deleted, replaced or swept
   */
  constructor(maxWeight: number, evicted: (value: V) => void = () => undefined, { maxAgeMs, now = () => performance.now() }: Expiry = never) {
    this.#maxWeight = maxWeight
    this.#evicted = evicted
    this.#maxAgeMs = maxAgeMs
    this.#now = now
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    const entry = this.#found(key)
    if (entry === undefined) return undefined
    entry.used = true
    return entry.value
  }

  /** Does not count as a read. */
  peek(key: string): V | undefined {
    return this.#found(key)?.value
  }

  /** A value heavier than the whole cache is not kept. */
  set(key: string, value: V, weight = 1): void {
    this.delete(key)
    if (weight > this.#maxWeight) return
    this.#makeRoom(weight)
    const until = this.#maxAgeMs === Infinity ? Infinity : this.#now() + this.#maxAgeMs
    this.#entries.set(key, { value, weight, until, used: false })
    this.#weight += weight
  }

  delete(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#weight -= entry.weight
  }

  /** Evicts the next entry. @returns its key; undefined when there is none */
  shed(): string | undefined {
    // Terminates: an entry that is moved behind the others has lost its flag, and is evicted when it comes up again.
    for (const [key, entry] of this.#entries) {
      this.#entries.delete(key)
      if (!entry.used) {
        this.#drop(entry)
        return key
      }
      entry.used = false
      this.#entries.set(key, entry)
    }
    return undefined
  }

  values(): V[] {
    return [...this.#entries.values()].map(({ value }) => value)
  }

  /** Drops every stale value. */
  sweep(stale: (value: V) => boolean): void {
    for (const [key, { value }] of this.#entries) if (stale(value)) this.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.#weight = 0
  }

  #found(key: string): Entry<V> | undefined {
    const entry = this.#entries.get(key)
    return entry === undefined || entry.until === Infinity || entry.until > this.#now() ? entry : undefined
  }

  #makeRoom(weight: number): void {
    while (this.#weight + weight > this.#maxWeight && this.shed() !== undefined) continue
  }

  #drop({ value, weight }: Entry<V>): void {
    this.#weight -= weight
    this.#evicted(value)
  }
}

/**
 * A map with a bounded number of entries that many owners share: when it is full, the owner of the most entries loses one. So an owner that adds more
 * and more evicts its own entries, and a single owner can use all of it while no other needs it.
 */
export class FairCache<V> {
  readonly #maxEntries: number
  readonly #shares = new Map<string, BoundedCache<V>>()
  readonly #owners = new Map<string, string>()

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries
  }

  get size(): number {
    return this.#owners.size
  }

  /** The value, of any owner. */
  get(key: string): V | undefined {
    return this.#shareOf(key)?.get(key)
  }

  /** @param owner one of a bounded number, for whom the entry counts */
  set(key: string, value: V, owner: string): void {
    this.delete(key)
    while (this.#owners.size >= this.#maxEntries) this.#shed(owner)
    const share = this.#shares.get(owner) ?? new BoundedCache<V>(this.#maxEntries)
    this.#shares.set(owner, share)
    share.set(key, value)
    this.#owners.set(key, owner)
  }

  delete(key: string): void {
    const owner = this.#owners.get(key)
    if (owner === undefined) return
    this.#shareOf(key)?.delete(key)
    this.#owners.delete(key)
    if (this.#shares.get(owner)?.size === 0) this.#shares.delete(owner)
  }

  /** Drops every stale value. */
  sweep(stale: (value: V) => boolean): void {
    for (const key of [...this.#owners.keys()]) {
      const value = this.#shareOf(key)?.peek(key)
      if (value === undefined || stale(value)) this.delete(key)
    }
  }

  clear(): void {
    this.#shares.clear()
    this.#owners.clear()
  }

  #shareOf(key: string): BoundedCache<V> | undefined {
    const owner = this.#owners.get(key)
    return owner === undefined ? undefined : this.#shares.get(owner)
  }

  /** Among equals the newcomer loses an entry. */
  #shed(newcomer: string): void {
    let largest = this.#shares.get(newcomer)
    for (const share of this.#shares.values()) if (largest === undefined || share.size > largest.size) largest = share
    const key = largest?.shed()
    if (key !== undefined) this.delete(key)
  }
}
