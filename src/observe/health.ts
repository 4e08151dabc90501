import { S3Error } from '../errors.ts'

export interface Check {
  readonly name: string
  /** Resolves when all is well. */
  readonly run: (signal: AbortSignal) => Promise<void>
}

export interface CheckResult {
  readonly name: string
  readonly ok: boolean
  /** When it last ran to an end, ISO 8601; null: never yet. */
  readonly at: string | null
  /** Error code, fit for anyone's eyes; null when ok. */
  readonly error: string | null
}

export interface HealthReport {
  readonly ready: boolean
  readonly draining: boolean
  readonly checks: readonly CheckResult[]
}

/**
 * Readiness: true once every check has passed, while each one's last run did, and not while the gateway is stopping.
 * Probes read the last results, so that a flood of them never becomes a flood at the store.
 */
export class Health {
  readonly #checks: readonly Check[]
  readonly #timeoutSeconds: number
  readonly #now: () => Date
  readonly #results = new Map<string, CheckResult>()
  #draining = false
  #running: Promise<HealthReport> | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(checks: readonly Check[], timeoutSeconds: number, now: () => Date = () => new Date()) {
    this.#checks = checks
    this.#timeoutSeconds = timeoutSeconds
    this.#now = now
    for (const { name } of checks) this.#results.set(name, { name, ok: false, at: null, error: 'NotYetRun' })
  }

  /** Last results; runs nothing. */
  report(): HealthReport {
    const checks = [...this.#results.values()]
    return { ready: !this.#draining && checks.every(({ ok }) => ok), draining: this.#draining, checks }
  }

  /** Runs every check now; joins a run that is under way. */
  async run(): Promise<HealthReport> {
    this.#running ??= this.#runAll().finally(() => { this.#running = null })
    return this.#running
  }

  start(everySeconds: number): void {
    this.#timer ??= setInterval(() => { void this.run() }, everySeconds * 1000).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  /** Readiness goes down for good: a graceful stop has begun. */
  drain(): void {
    this.#draining = true
  }

  async #runAll(): Promise<HealthReport> {
    await Promise.all(this.#checks.map(async (check) => {
      const error = await this.#outcome(check)
      this.#results.set(check.name, { name: check.name, ok: error === null, at: this.#now().toISOString(), error })
    }))
    return this.report()
  }

  /** @returns the error's code; null when the check passed */
  async #outcome(check: Check): Promise<string | null> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const stop = new AbortController()
    const timer = setTimeout(() => {
      stop.abort()
      reject(new S3Error('SealgateUpstreamTimeout'))
    }, this.#timeoutSeconds * 1000)
    try {
      // The race holds even where a check does not listen to its signal.
      await Promise.race([check.run(stop.signal), late])
      return null
    } catch (error) {
      return error instanceof S3Error ? error.code : 'InternalError'
    } finally {
      clearTimeout(timer)
    }
  }
}
