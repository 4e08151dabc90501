import { diagnosisOf, type Diagnosis } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'
import type { AuditEvent } from './types.ts'
import type { KeyRegistry } from './registry.ts'

/** State of one key of the configuration. */
export interface KeyState {
  /** Its name in the configuration. */
  readonly key: string
  /** null: not yet tried. */
  readonly ok: boolean | null
  /** Since when it works, or does not, ISO 8601; null: not yet tried. */
  readonly since: string | null
  /** The error code of requests with this key; null when it works. */
  readonly code: string | null
  /** For the operator, naming the key; null when it works. */
  readonly reason: string | null
  readonly diagnosis: Diagnosis | null
}

/** Uses of one key by requests, answers from memory included. */
interface KeyUses {
  readonly uses: number
  readonly lastError: { readonly code: string; readonly at: string } | null
}

const unused: KeyUses = { uses: 0, lastError: null }

/**
 * The self-test of every configured key, until it has passed once, and the results of later uses. A failing key affects only the requests that need
 * it. Readiness depends on whether at least one key can be used (docs/decisions/0040-readiness-is-of-what-all-need.md).
 */
export class KeySelfTest {
  readonly #keys: KeyRegistry
  readonly #changed: (state: KeyState) => void
  readonly #warned: (key: string, warning: string) => void
  readonly #states = new Map<string, KeyState>()
  readonly #uses = new Map<string, KeyUses>()

  /**
   * @param changed called when a key stops working, fails in a different way than before, or works again.
   * @param warned called after a passed test with each thing that the service says of the key and an operator should change.
   */
  constructor(
    keys: KeyRegistry,
    changed: (state: KeyState) => void = () => undefined,
    warned: (key: string, warning: string) => void = () => undefined
  ) {
    this.#keys = keys
    this.#changed = changed
    this.#warned = warned
    for (const key of keys.keyNames) this.#states.set(key, { key, ok: null, since: null, code: null, reason: null, diagnosis: null })
  }

  get states(): readonly KeyState[] {
    return [...this.#states.values()]
  }

  /** Since the configuration was loaded. @param key its name in the configuration */
  usesOf(key: string): KeyUses {
    return this.#uses.get(key) ?? unused
  }

  /**
   * Tests the keys that are not known to work.
   * @throws S3Error with the code of the first key, when none of them can be used, and a message for the operator that names each with its reason.
   */
  async run(): Promise<void> {
    const untested = this.states.filter(({ ok }) => ok !== true)
    await Promise.all(untested.map(async ({ key }) => {
      try {
        await this.#keys.selfTestOf(key)
        for (const warning of this.#keys.warningsOf(key)) this.#warned(key, warning)
        this.#set({ key, ok: true, code: null, reason: null, diagnosis: null })
      } catch (error) {
        const code = error instanceof S3Error ? error.code : 'InternalError'
        const reason = `Key ${key}: self-test failed: ${error instanceof S3Error ? error.message : 'internal error'}`
        this.#set({ key, ok: false, code, reason, diagnosis: diagnosisOf(error) })
      }
    }))
    const [first, ...others] = this.states
    // What seals nothing is no key that a write could use.
    if (first === undefined || this.states.some(({ key, ok }) => ok === true && !this.#keys.opensOnly(key))) return
    throw new S3Error('SealgateKeyUnavailable', {
      ...first.code === null ? {} : { code: first.code },
      diagnosis: first.diagnosis,
      message: [first, ...others].map(({ reason }) => reason).join(' ')
    })
  }

  /** The result of a use of a key. Answers from memory show nothing, nor do keys that only open older objects. */
  used({ time, masterKeyId, cached, action, error, operation }: AuditEvent): void {
    if (action === 'refused' || masterKeyId === null || operation === 'self-test') return
    const key = this.#keys.owner(masterKeyId)
    if (key === null) return
    const { uses, lastError } = this.usesOf(key.name)
    this.#uses.set(key.name, { uses: uses + 1, lastError: error === null || error === 'Aborted' ? lastError : { code: error, at: time } })
    if (cached || key.currentKeyId() !== masterKeyId) return
    const before = this.#states.get(key.name)
    if (error === null) {
      if (before?.ok === false) this.#set({ key: key.name, ok: true, code: null, reason: null, diagnosis: null })
    } else if (isTroubleOfKey(error) && before?.ok !== false) {
      // The next self-test finds the details, and when the failure has ended.
      this.#set({ key: key.name, ok: false, code: error, reason: `Key ${key.name}: its last use failed.`, diagnosis: null })
    }
  }

  #set(found: Omit<KeyState, 'since'>): void {
    const before = this.#states.get(found.key)
    const since = before?.ok === found.ok ? before.since : new Date().toISOString()
    const state = { ...found, since }
    this.#states.set(state.key, state)
    if (before?.ok === state.ok && before.code === state.code) return
    if (state.ok === false || before?.ok === false) this.#changed(state)
  }
}

/** As opposed to damaged blobs, other contexts, and clients that disconnected. */
function isTroubleOfKey(code: string): boolean {
  return code.startsWith('KMS.') || code === 'AccessDenied' || code === 'ServiceUnavailable'
}
