import { TokenBucket } from '../collections/token-bucket.ts'
import { S3Error } from '../errors.ts'
import type { Admittance, ClientLimits } from '../http/message.ts'

export interface AdmissionLimits {
  /** Requests of authenticated clients at once. */
  readonly requestsInFlight: number
  /** Requests at once of each unsigned kind: forms before their file, preflights. */
  readonly unauthenticatedRequests: number
  /** Anonymous reads at once. */
  readonly anonymousRequests: number
  /** Milliseconds that a form may take up to its file. */
  readonly formFieldsMs: number
}

/** The limit that refuses or ends a request: the label of the metric. */
export type Limit =
  | 'requests in flight'
  | 'forms'
  | 'form time'
  | 'preflights'
  | 'anonymous requests'
  | 'client requests'
  | 'store requests'
  | 'client requests per second'
  | 'client bytes per second'
  | 'connections'
  | 'PROXY headers'

/** A request that asks for admission. */
export interface Guest {
  /** Bytes of bodies that have passed, both ways; only grows. */
  transferred(): number
  /** Ends the request with this error. */
  fail(error: S3Error): void
}

/** Releases what one request holds. */
type Leave = () => void

/** A request holds one place of its kind, and one among those that wait for the same store. */
interface Held {
  readonly kind?: Leave
  readonly store?: Leave
}

/** SDKs wait as long as Retry-After demands, but some not longer than this. Seconds. */
const longestWait = 20

/**
 * Which requests may be served at once. Signed and unsigned requests are counted separately, so that unsigned ones never use what clients need
 * (docs/decisions/0021-allowances.md). When there are too many forms the oldest is ended: an honest one needs its place only briefly.
 */
export class Admission {
  readonly #limits: AdmissionLimits
  readonly #limited: (limit: Limit) => void
  readonly #now: () => number
  readonly #held = new Map<Guest, Held>()
  readonly #forms = new Set<Guest>()
  readonly #accounts = new Map<string, Account>()
  /** Requests by the id of what they wait for. */
  readonly #waiting = new Map<string, number>()
  #clients = 0
  #preflights = 0
  #anonymous = 0
  #mostAnonymous: number

  /** @param limited called for every request that a limit refuses or ends */
  constructor(limits: AdmissionLimits, limited: (limit: Limit) => void, now: () => number = () => performance.now()) {
    this.#limits = limits
    this.#mostAnonymous = limits.anonymousRequests
    this.#limited = limited
    this.#now = now
  }

  /** At most so many anonymous reads from now on. */
  limitAnonymousTo(requests: number): void {
    this.#mostAnonymous = requests
  }

  /** Requests that hold a place without a signature. */
  get unauthenticated(): number {
    return this.#forms.size + this.#preflights + this.#anonymous
  }

  /**
   * Gives the request a place in exchange for the one it may already have of that sort: of its kind, or at a store. A new place of its kind gives up
   * both.
   * @throws S3Error SlowDown with Retry-After when there is none. What the request would have given in exchange is given up all the same.
   */
  admit(guest: Guest, as: Admittance): void {
    if (as.kind !== 'store') {
      this.leave(guest)
      this.#held.set(guest, { kind: this.#enter(guest, as) })
      return
    }
    const { kind, store } = this.#held.get(guest) ?? {}
    const before: Held = kind === undefined ? {} : { kind }
    this.#held.set(guest, before)
    store?.()
    this.#held.set(guest, { ...before, store: this.#wait(as.id, as.most) })
  }

  /** Whether the request has a place. */
  holds(guest: Guest): boolean {
    return this.#held.has(guest)
  }

  /** The request has ended. Does nothing when it has no place. */
  leave(guest: Guest): void {
    const held = this.#held.get(guest)
    this.#held.delete(guest)
    held?.store?.()
    held?.kind?.()
  }

  #enter(guest: Guest, as: Exclude<Admittance, { readonly kind: 'store' }>): Leave {
    switch (as.kind) {
      case 'form':
        return this.#form(guest)
      case 'preflight':
        if (this.#preflights >= this.#limits.unauthenticatedRequests) this.#refuse('preflights')
        this.#preflights += 1
        return () => {
          this.#preflights -= 1
        }
      case 'anonymous':
        if (this.#anonymous >= this.#mostAnonymous) this.#refuse('anonymous requests')
        this.#anonymous += 1
        return () => {
          this.#anonymous -= 1
        }
      case 'client':
        return this.#client(guest, as.id, as.limits)
    }
  }

  #wait(id: string, most: number): Leave {
    const inside = this.#waiting.get(id) ?? 0
    if (inside >= most) this.#refuse('store requests')
    this.#waiting.set(id, inside + 1)
    return () => {
      const left = (this.#waiting.get(id) ?? 1) - 1
      if (left === 0) this.#waiting.delete(id)
      else this.#waiting.set(id, left)
    }
  }

  #form(guest: Guest): Leave {
    const [oldest] = this.#forms
    if (oldest !== undefined && this.#forms.size >= this.#limits.unauthenticatedRequests) this.#end(oldest, 'forms', new S3Error('SlowDown'))
    this.#forms.add(guest)
    const late = setTimeout(() => {
      this.#end(guest, 'form time', new S3Error('RequestTimeout'))
    }, this.#limits.formFieldsMs).unref()
    return () => {
      clearTimeout(late)
      this.#forms.delete(guest)
    }
  }

  #client(guest: Guest, id: string, limits: ClientLimits): Leave {
    if (this.#clients >= this.#limits.requestsInFlight) this.#refuse('requests in flight')
    const account = this.#account(id, limits)
    const refused = account.enter(guest)
    if (refused !== null) this.#refuse(refused.limit, refused.seconds)
    this.#clients += 1
    return () => {
      this.#clients -= 1
      account.leave(guest)
    }
  }

  #account(id: string, limits: ClientLimits): Account {
    const known = this.#accounts.get(id)
    if (known?.has(limits) === true) return known
    const account = new Account(limits, this.#now)
    this.#accounts.set(id, account)
    return account
  }

  #end(guest: Guest, limit: Limit, error: S3Error): void {
    this.leave(guest)
    this.#limited(limit)
    guest.fail(error)
  }

  #refuse(limit: Limit, seconds = 1): never {
    this.#limited(limit)
    throw new S3Error('SlowDown', { headers: [['Retry-After', String(Math.min(longestWait, Math.max(1, Math.ceil(seconds))))]] })
  }
}

/** The limited resources that one client uses. */
class Account {
  readonly #limits: ClientLimits
  readonly #requests: TokenBucket | null
  readonly #bytes: TokenBucket | null
  /** Bytes already counted of each request in progress. */
  readonly #running = new Map<Guest, number>()

  constructor(limits: ClientLimits, now: () => number) {
    const { requestsPerSecond, bytesPerSecond } = limits
    this.#limits = limits
    this.#requests = requestsPerSecond === null ? null : new TokenBucket(requestsPerSecond, Math.max(1, requestsPerSecond), now)
    this.#bytes = bytesPerSecond === null ? null : new TokenBucket(bytesPerSecond, bytesPerSecond, now)
  }

  /** False after a reload that has changed them. */
  has({ requests, requestsPerSecond, bytesPerSecond }: ClientLimits): boolean {
    const mine = this.#limits
    return mine.requests === requests && mine.requestsPerSecond === requestsPerSecond && mine.bytesPerSecond === bytesPerSecond
  }

  /** @returns null when the request may proceed; else the limit that it meets, and for how long */
  enter(guest: Guest): { readonly limit: Limit; readonly seconds: number } | null {
    for (const running of this.#running.keys()) this.#count(running)
    if (this.#running.size >= (this.#limits.requests ?? Infinity)) return { limit: 'client requests', seconds: 1 }
    const debt = this.#bytes?.secondsUntil(0) ?? 0
    if (debt > 0) return { limit: 'client bytes per second', seconds: debt }
    const wait = this.#requests?.secondsUntil(1) ?? 0
    if (wait > 0) return { limit: 'client requests per second', seconds: wait }
    this.#requests?.spend(1)
    if (this.#bytes !== null || this.#limits.requests !== null) this.#running.set(guest, guest.transferred())
    return null
  }

  leave(guest: Guest): void {
    this.#count(guest)
    this.#running.delete(guest)
  }

  #count(guest: Guest): void {
    const counted = this.#running.get(guest)
    if (counted === undefined || this.#bytes === null) return
    const transferred = guest.transferred()
    this.#running.set(guest, transferred)
    this.#bytes.spend(transferred - counted)
  }
}
