import type { Platform } from './platform.ts'

/** Terminals, npm and process managers may send one signal twice at once; a later one counts as a second request. */
const AGAIN_MS = 1000

/**
 * Requests of the operator to a serving process, by signals or through the primary. Handled from the first moment: a signal that comes while the
 * process starts neither kills it nor gets lost (the kernel drops what process 1 of a container does not handle).
 */
export class ProcessSignals {
  /** Resolves when the process should stop. */
  readonly stopped: Promise<undefined>
  /** Resolves when it should stop at once. */
  readonly forced: Promise<undefined>
  readonly #stop = Promise.withResolvers<undefined>()
  readonly #force = Promise.withResolvers<undefined>()
  readonly #now: () => number
  #stoppedAt: number | null = null
  #reload: (() => void) | null = null
  #reloadWaits = false

  /** @param now milliseconds; only differences count. */
  constructor(platform: Pick<Platform, 'onSignal'>, now: () => number = () => performance.now()) {
    this.#now = now
    this.stopped = this.#stop.promise
    this.forced = this.#force.promise
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      platform.onSignal(signal, () => {
        if (this.#stoppedAt !== null && this.#now() - this.#stoppedAt >= AGAIN_MS) this.forceStop()
        this.stop()
      })
    }
    platform.onSignal('SIGHUP', () => {
      this.reload()
    })
  }

  stop(): void {
    this.#stoppedAt ??= this.#now()
    this.#stop.resolve(undefined)
  }

  forceStop(): void {
    this.#force.resolve(undefined)
  }

  reload(): void {
    if (this.#reload === null) this.#reloadWaits = true
    else this.#reload()
  }

  /** Sets the action of a reload; runs it at once when a reload was requested before. */
  onReload(action: () => void): void {
    this.#reload = action
    if (this.#reloadWaits) action()
    this.#reloadWaits = false
  }
}
