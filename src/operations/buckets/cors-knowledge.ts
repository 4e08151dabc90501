import type { Header } from '../../http/message.ts'
import { hash } from 'node:crypto'
import { BoundedCache } from '../../collections/bounded-cache.ts'
import { TokenBucket } from '../../collections/token-bucket.ts'
import { S3Error } from '../../errors.ts'
import { SingleFlightCache } from '../../keys/single-flight-cache.ts'
import type { CorsQuestion, CorsRule } from '../../s3/cors.ts'

/**
 * What is known of a bucket. `ask`: there are no rules that the gateway can read, be it that the bucket has none, that there is no
 * such bucket, that the gateway may not read them or that the store keeps none: only the store can tell what it would answer.
 */
export type KnownCors = { readonly kind: 'rules'; readonly rules: readonly CorsRule[] } | { readonly kind: 'ask' }

/** For whom the store is asked: `unsigned` for a preflight, of whose sender nothing is known. */
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
 * Names of buckets that preflights alone have brought up, and that the store may be asked about for them: at once, and each second.
 * A gateway needs one such question per bucket and minute.
 */
const strangeNames = { burst: 20, perSecond: 5 }
/** Questions that preflights may bring to a store that keeps no rules. Browsers repeat theirs, and repeated ones are remembered. */
const unsignedQuestions = { burst: 100, perSecond: 50 }

/**
 * CORS rules of buckets, for 60 s. What unsigned requests bring up is kept apart from what signed ones do, and has one request to
 * the store per bucket at a time: it can neither push out what others need nor make them wait.
 */
export class CorsKnowledge {
  readonly #rules = { signed: rulesCache(10_000), unsigned: rulesCache(1000) }
  readonly #answers = { signed: answersCache(), unsigned: answersCache() }
  /** Buckets that signed requests have found to be there. */
  readonly #used = new BoundedCache<true>(10_000)
  readonly #names = new TokenBucket(strangeNames.perSecond, strangeNames.burst)
  readonly #questions = new TokenBucket(unsignedQuestions.perSecond, unsignedQuestions.burst)

  /** What is known without asking. */
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

  /** What the store itself would tell a browser. @throws as `rulesOf` */
  async answerOf(bucket: string, question: CorsQuestion, { asker, signal }: Asking, load: Load<readonly Header[]>): Promise<readonly Header[]> {
    return this.#answers[asker].get(questionKey(bucket, question), asker, signal, async (shared) => {
      if (asker === 'unsigned') afford(this.#questions)
      return load(shared)
    }).value
  }

  /** A signed request has found the bucket. */
  used(bucket: string): void {
    if (this.#used.get(bucket) === undefined) this.#used.set(bucket, true)
  }

  /** Rules have changed, or their bucket is gone. */
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
