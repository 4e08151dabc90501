import type { BucketEncryption } from '../s3/bucket-encryption.ts'
import { CorsKnowledge } from './buckets/cors-knowledge.ts'


const ENCRYPTION_MS = 5_000
const MAX_ENTRIES = 10_000

/**
 * Settings of buckets that the gateway itself acts on, absence included, for a short while: what another instance changes is
 * seen when that is over, what this one changes at once.
 */
export class SettingsCache {
  readonly cors = new CorsKnowledge()
  readonly #encryption = new Timed<BucketEncryption | null>(ENCRYPTION_MS)

  /** null: the bucket has no default of its own. */
  get encryption(): Timed<BucketEncryption | null> {
    return this.#encryption
  }
}

/** A bounded map whose entries are forgotten after a time. */
class Timed<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly until: number }>()
  readonly #ms: number

  /** @param ms milliseconds an entry is kept. */
  constructor(ms: number) {
    this.#ms = ms
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && entry.until > performance.now() ? entry.value : undefined
  }

  set(key: string, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, { value, until: performance.now() + this.#ms })
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > MAX_ENTRIES && oldest !== undefined) this.#entries.delete(oldest)
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }
}
