import { setTimeout as delay } from 'node:timers/promises'
import { diagnosisOf, type Diagnosis } from '../diagnosis.ts'
import { S3Error } from '../errors.ts'

interface Check {
  readonly name: string
  /** Resolves when the check passes. */
  readonly run: (signal: AbortSignal) => Promise<void>
}

export interface CheckResult {
  readonly name: string
  readonly ok: boolean
  /** When it last ended, ISO 8601; null: not yet. */
  readonly at: string | null
  /** Since when it passes, or does not, ISO 8601; null: it has not run yet. */
  readonly since: string | null
  /** Error code, safe to publish; null when ok. */
  readonly error: string | null
  /** For the operator: why it failed, in messages of the gateway, and the diagnosis of the cause; null when ok. */
  readonly failure: { readonly reason: string; readonly diagnosis: Diagnosis | null } | null
}

interface HealthOptions {
  /** Seconds after which a check counts as failed. */
  readonly timeoutSeconds: number
  /** Milliseconds after which a check that passed the last time and now fails runs once more before the failure counts. Default 1,000. */
  readonly againMs?: number
  readonly now?: () => Date
  /** Called when a check fails in a different way than before, and when it passes after a failure: `error` is null then. */
  readonly changed?: (check: string, error: Error | null) => void
}

export interface HealthReport {
  readonly ready: boolean
  readonly draining: boolean
  readonly checks: readonly CheckResult[]
}

/**
 * Readiness: true once every check has passed, while each check's last run passed, and not while the gateway is stopping. Probes read the last
 * results, so that a flood of probes never becomes a flood at the store.
 */
export class Health {
  readonly #checks: readonly Check[]
  readonly #options: HealthOptions
  /** Of the checks that are running. */
  readonly #cuts = new Set<AbortController>()
  /** What identifies each check's last failure. */
  readonly #lastFailures = new Map<string, string | null>()
  readonly #results = new Map<string, CheckResult>()
  #draining = false
  #running: Promise<HealthReport> | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(checks: readonly Check[], options: HealthOptions) {
    this.#checks = checks
    this.#options = options
    for (const { name } of checks) this.#results.set(name, { name, ok: false, at: null, since: null, error: 'NotYetRun', failure: null })
  }

  /** Last results; runs nothing. */
  report(): HealthReport {
    const checks = [...this.#results.values()]
    return { ready: !this.#draining && checks.every(({ ok }) => ok), draining: this.#draining, checks }
  }

  /** Runs every check now; joins a run in progress. */
  async run(): Promise<HealthReport> {
    this.#running ??= this.#runAll().finally(() => {
      this.#running = null
    })
    return this.#running
  }

  start(everySeconds: number): void {
    this.#timer ??= setInterval(() => {
      void this.run()
    }, everySeconds * 1000).unref()
  }

  /** Also ends the checks that are running, so that a stop does not wait for a store that does not answer. */
  stop(): void {
    for (const cut of this.#cuts) cut.abort()
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  /** Readiness stays false from now on: a graceful stop has started. */
  drain(): void {
    this.#draining = true
  }

  async #runAll(): Promise<HealthReport> {
    await Promise.all(this.#checks.map(async (check) => {
      const failure = await this.#outcome(check)
      const error = failure === null ? null : failure instanceof S3Error ? failure.code : 'InternalError'
      const at = (this.#options.now?.() ?? new Date()).toISOString()
      const earlier = this.#results.get(check.name)
      const since = earlier?.ok === (error === null) ? earlier.since ?? at : at
      this.#results.set(check.name, { name: check.name, ok: error === null, at, since, error, failure: failure === null ? null : reasonOf(failure) })
      const now = failure === null ? null : identityOf(failure)
      const before = this.#lastFailures.get(check.name) ?? null
      this.#lastFailures.set(check.name, now)
      if (now !== before) this.#options.changed?.(check.name, failure)
    }))
    return this.report()
  }

  /** @returns why the check failed; null when it passed */
  async #outcome(check: Check): Promise<Error | null> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const cut = new AbortController()
    cut.signal.addEventListener('abort', () => {
      reject(new S3Error('SealgateUpstreamTimeout'))
    }, { once: true })
    this.#cuts.add(cut)
    const timer = setTimeout(() => {
      cut.abort()
    }, this.#options.timeoutSeconds * 1000)
    const attempt = async (): Promise<Error | null> => {
      try {
        // The race also ends where a check ignores its signal.
        await Promise.race([check.run(cut.signal), late])
        return null
      } catch (error) {
        return error instanceof Error ? error : new S3Error('InternalError', { cause: error })
      }
    }
    try {
      const failure = await attempt()
      if (failure === null || cut.signal.aborted || this.#results.get(check.name)?.ok !== true) return failure
      // One refusal among many successes must not send all clients away until the next run.
      const waited = await delay(this.#options.againMs ?? 1000, true, { signal: cut.signal }).catch(() => false)
      return waited ? await attempt() : failure
    } finally {
      clearTimeout(timer)
      this.#cuts.delete(cut)
    }
  }
}

/** Equal for failures of the same kind; without ids and clocks, which differ every time. */
function identityOf(failure: Error): string {
  const { status = null, errorName = null, system = null } = diagnosisOf(failure) ?? {}
  return [failure.message, status, errorName, system].join('\n')
}

/** The message of an S3Error of a check is a message of the gateway; that of any other error may contain anything. */
function reasonOf(failure: Error): CheckResult['failure'] {
  return { reason: failure instanceof S3Error ? failure.message : failure.name, diagnosis: diagnosisOf(failure) }
}
