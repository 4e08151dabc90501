import { Line } from '../collections/line.ts'
import { Roster } from '../collections/roster.ts'
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
  /**
   * Its places; null: none. Only Admission sets it. Kept here and not in a Map, whose old tables would keep requests that have ended
   * (docs/decisions/0014).
   */
  places: Places | null
  /** Bytes of bodies that have passed, both ways; only grows. */
  transferred(): number
  /** Ends the request with this error. */
  fail(error: S3Error): void
}

/** Releases what one request holds. */
type Leave = () => void

/** A request holds one place of its kind, and one among those that wait for the same store. */
export interface Places {
  readonly kind?: Leave
  readonly store?: Leave
}

const nothing: Leave = () => undefined

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
  readonly #forms = new Line<Guest>()
  readonly #accounts = new Map<string, Account>()
  /** Requests by the id of what they wait for. The ids are those of the configuration, and stay. */
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
      guest.places = { kind: this.#enter(guest, as) }
      return
    }
    const { kind, store } = guest.places ?? {}
    const before: Places = kind === undefined ? {} : { kind }
    guest.places = before
    store?.()
    guest.places = { ...before, store: this.#wait(as.id, as.most) }
  }

  /** Whether the request has a place. */
  holds(guest: Guest): boolean {
    return guest.places !== null
  }

  /** The request has ended. Does nothing when it has no place. */
  leave(guest: Guest): void {
    const held = guest.places
    guest.places = null
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
      this.#waiting.set(id, (this.#waiting.get(id) ?? 1) - 1)
    }
  }

  #form(guest: Guest): Leave {
    const oldest = this.#forms.first
    if (oldest !== undefined && this.#forms.size >= this.#limits.unauthenticatedRequests) this.#end(oldest, 'forms', new S3Error('SlowDown'))
    const leave = this.#forms.add(guest)
    const late = setTimeout(() => {
      this.#end(guest, 'form time', new S3Error('RequestTimeout'))
    }, this.#limits.formFieldsMs).unref()
    return () => {
      clearTimeout(late)
      leave()
    }
  }

  #client(guest: Guest, id: string, limits: ClientLimits): Leave {
    if (this.#clients >= this.#limits.requestsInFlight) this.#refuse('requests in flight')
    const account = this.#account(id, limits)
    const entered = account.enter(guest)
    if (typeof entered !== 'function') this.#refuse(entered.limit, entered.seconds)
    this.#clients += 1
    return () => {
      this.#clients -= 1
      entered()
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

interface Refusal {
  readonly limit: Limit
  /** After which it would not be one, all else being equal. */
  readonly seconds: number
}

/** A request in progress of one client. */
interface Running {
  readonly guest: Guest
  /** Its bytes that are counted already. */
  counted: number
}

/** The limited resources that one client uses. */
class Account {
  readonly #limits: ClientLimits
  readonly #requests: TokenBucket | null
  readonly #bytes: TokenBucket | null
  readonly #running = new Roster<Running>()

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

  enter(guest: Guest): Leave | Refusal {
    for (const running of this.#running.members()) this.#count(running)
    if (this.#running.size >= (this.#limits.requests ?? Infinity)) return { limit: 'client requests', seconds: 1 }
    const debt = this.#bytes?.secondsUntil(0) ?? 0
    if (debt > 0) return { limit: 'client bytes per second', seconds: debt }
    const wait = this.#requests?.secondsUntil(1) ?? 0
    if (wait > 0) return { limit: 'client requests per second', seconds: wait }
    this.#requests?.spend(1)
    if (this.#bytes === null && this.#limits.requests === null) return nothing
    const running = { guest, counted: guest.transferred() }
    const leave = this.#running.add(running)
    return () => {
      this.#count(running)
      leave()
    }
  }

  #count(running: Running): void {
    if (this.#bytes === null) return
    const transferred = running.guest.transferred()
    this.#bytes.spend(transferred - running.counted)
    running.counted = transferred
  }
}
