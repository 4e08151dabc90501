import type { Platform } from './platform.ts'

/** Terminals, npm and process managers may send one wish twice at once; what comes later is a second wish. */
const AGAIN_MS = 1000

/**
 * What the operator asks of a process that serves, by signals or through the primary. Heard from the first moment on: a signal that
 * comes while the process starts neither kills it nor gets lost (the kernel drops what process 1 of a container does not handle).
 */
export class ProcessSignals {
  /** Resolves when the process is to stop. */
  readonly stopped: Promise<undefined>
  /** Resolves when it is to stop at once. */
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

  /** What a reload does, from now on; runs at once when one has been asked for before. */
  onReload(action: () => void): void {
    this.#reload = action
    if (this.#reloadWaits) action()
    this.#reloadWaits = false
  }
}
