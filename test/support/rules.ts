import type { HeaderList } from '../../src/http/message.ts'
import type { Query } from '../../src/http/target.ts'
import type { Fault } from './faults.ts'

/** What a rule looks at. */
export interface SeenRequest {
  readonly method: string
  readonly bucket: string
  readonly key: string
  readonly query: Query
  readonly headers: HeaderList
}

export interface Match {
  readonly method?: string | readonly string[]
  readonly bucket?: string
  readonly key?: string | RegExp
  /** Parameters that must be there; `true`: with any value. */
  readonly query?: Readonly<Record<string, string | true>>
  /** Parameters that must not be there. */
  readonly without?: readonly string[]
  /** Anything else. */
  readonly test?: (request: SeenRequest) => boolean
}

export interface Rule {
  /** Default: every request. */
  readonly when?: Match
  /** Which matching request is the first that fires, from 1. Default 1. */
  readonly nth?: number
  /** How many matching requests fire from there on. Default 1. */
  readonly times?: number
  readonly fault: Fault
}

export interface AddedRule {
  readonly matched: number
  readonly fired: number
  remove(): void
}

/** The rules of a test store, in the order added: the first that fires decides. All of them count what they match. */
export class Rules {
  readonly #rules: { readonly rule: Rule; matched: number; fired: number }[] = []

  add(rule: Rule): AddedRule {
    const added = { rule, matched: 0, fired: 0 }
    this.#rules.push(added)
    return {
      get matched() {
        return added.matched
      },
      get fired() {
        return added.fired
      },
      remove: () => {
        const at = this.#rules.indexOf(added)
        if (at >= 0) this.#rules.splice(at, 1)
      }
    }
  }

  /** Whether no rule has been added that was not removed: the store answers as it is. */
  get empty(): boolean {
    return this.#rules.length === 0
  }

  clear(): void {
    this.#rules.length = 0
  }

  /** The fault this request meets, or null. */
  take(request: SeenRequest): Fault | null {
    let fault: Fault | null = null
    for (const added of this.#rules) {
      if (!matches(added.rule.when ?? {}, request)) continue
      added.matched += 1
      const { nth = 1, times = 1 } = added.rule
      if (fault !== null || added.matched < nth || added.matched >= nth + times) continue
      added.fired += 1
      fault = added.rule.fault
    }
    return fault
  }
}

function matches(match: Match, request: SeenRequest): boolean {
  const { query } = request
  return (match.method === undefined || [match.method].flat().includes(request.method)) &&
    (match.bucket === undefined || match.bucket === request.bucket) &&
    (match.key === undefined || (typeof match.key === 'string' ? match.key === request.key : match.key.test(request.key))) &&
    Object.entries(match.query ?? {}).every(([name, value]) => query.has(name) && (value === true || query.get(name) === value)) &&
    (match.without ?? []).every((name) => !query.has(name)) &&
    (match.test?.(request) ?? true)
}
