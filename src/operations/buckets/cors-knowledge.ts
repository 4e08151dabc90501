import type { Header } from '../../http/message.ts'
import { hash } from 'node:crypto'
import { BoundedCache } from '../../collections/bounded-cache.ts'
import { TokenBucket } from '../../collections/token-bucket.ts'
import { S3Error } from '../../errors.ts'
import { SingleFlightCache } from '../../keys/single-flight-cache.ts'
import type { CorsQuestion, CorsRule } from '../../s3/cors.ts'

/**
 * What is known of a bucket. `ask`: the gateway cannot read any rules, because the bucket has none, does not exist, may not be read, or the store
 * keeps none. Only the store can answer.
 */
export type KnownCors = { readonly kind: 'rules'; readonly rules: readonly CorsRule[] } | { readonly kind: 'ask' }

/** On whose behalf the store is asked: `unsigned` for a preflight, whose sender is unknown. */
export type Asker = 'signed' | 'unsigned'

export interface Asking {
  readonly asker: Asker
  readonly signal: AbortSignal
}

type Load<T> = (signal: AbortSignal) => Promise<T>

/** Seconds that rules, their absence, and the store's own answers are kept. */
const maxAgeSeconds = 60
const now = (): number => performance.now()
/**
 * Bucket names that only preflights have named, and about which the store may be asked: at once, and per second. A gateway needs one such request per
 * bucket and minute.
 */
const strangeNames = { burst: 20, perSecond: 5 }
/** Questions that preflights may cause to a store that keeps no rules. Browsers repeat theirs, and answers are cached. */
const unsignedQuestions = { burst: 100, perSecond: 50 }

/**
 * CORS rules of buckets, for 60 s. Entries from unsigned requests are kept apart from those of signed ones, with one request to the store per bucket
 * at a time. So they can neither evict what others need nor make them wait.
 */
export class CorsKnowledge {
  readonly #rules = { signed: rulesCache(10_000), unsigned: rulesCache(1000) }
  readonly #answers = { signed: answersCache(), unsigned: answersCache() }
  /** Buckets whose existence a signed request has shown. */
  readonly #used = new BoundedCache<true>(10_000)
  readonly #names = new TokenBucket(strangeNames.perSecond, strangeNames.burst)
  readonly #questions = new TokenBucket(unsignedQuestions.perSecond, unsignedQuestions.burst)

  /** The cached rules, without asking the store. */
  known(bucket: string): KnownCors | undefined {
    return this.#rules.signed.peek(bucket) ?? this.#rules.unsigned.peek(bucket)
  }

  /**
   * @param configured true for a bucket that the configuration names
   * @throws S3Error SlowDown when unsigned requests have asked too much; what `load` throws; the reason of the signal
   */
  async rulesOf(bucket: string, { asker, configured, signal }: Asking & { readonly configured: boolean }, load: Load<KnownCors>): Promise<KnownCors> {
    return this.known(bucket) ?? this.#rules[asker].get(bucket, asker, signal, async (shared) => {
      if (asker === 'unsigned' && !configured && this.#used.get(bucket) === undefined) afford(this.#names)
      return load(shared)
    }).value
  }

  /** The headers that the store itself would send to a browser. @throws as `rulesOf` */
  async answerOf(bucket: string, question: CorsQuestion, { asker, signal }: Asking, load: Load<readonly Header[]>): Promise<readonly Header[]> {
    return this.#answers[asker].get(questionKey(bucket, question), asker, signal, async (shared) => {
      if (asker === 'unsigned') afford(this.#questions)
      return load(shared)
    }).value
  }

  /** A signed request has shown that the bucket exists. */
  used(bucket: string): void {
    if (this.#used.get(bucket) === undefined) this.#used.set(bucket, true)
  }

  /** The rules have changed, or the bucket was deleted. */
  forget(bucket: string): void {
    for (const cache of Object.values(this.#rules)) cache.forget(bucket)
    for (const cache of Object.values(this.#answers)) cache.clear()
    this.#used.delete(bucket)
  }
}

function afford(budget: TokenBucket): void {
  if (!budget.take(1)) throw new S3Error('SlowDown')
}

function rulesCache(maxEntries: number): SingleFlightCache<KnownCors> {
  return new SingleFlightCache({ maxAgeSeconds, maxEntries, now })
}

function answersCache(): SingleFlightCache<readonly Header[]> {
  return new SingleFlightCache({ maxAgeSeconds, maxEntries: 1000, now })
}

/** A hash, so that a key is small whatever a browser sends. */
function questionKey(bucket: string, { origin, method, headers }: CorsQuestion): string {
  return hash('sha256', JSON.stringify([bucket, origin, method, headers]), 'base64')
}
