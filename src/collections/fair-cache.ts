import { BoundedCache } from './bounded-cache.ts'

/**
 * A map bounded in entries that many share: where it is full, whoever holds the most gives one up. So one owner of ever new entries
 * drives out its own, and all of it is anybody's while nobody else needs it.
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

  /** Whoever has set it. */
  get(key: string): V | undefined {
    return this.#shareOf(key)?.get(key)
  }

  /** @param owner one of a bounded number, to whom the entry is counted */
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

  /** Drops every value of which this is true. */
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

  /** Of equals it is the newcomer who gives way. */
  #shed(newcomer: string): void {
    let largest = this.#shares.get(newcomer)
    for (const share of this.#shares.values()) if (largest === undefined || share.size > largest.size) largest = share
    const key = largest?.shed()
    if (key !== undefined) this.delete(key)
  }
}
