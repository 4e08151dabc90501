import { Roster } from '../collections/roster.ts'

/** A transfer as the rate watch sees it. */
export interface Watched {
  /**
   * Which direction is waited for: `upload` while the gateway waits for bytes of the client, `download` while bytes wait for the client to read them,
   * null while the store or the gateway is working.
   */
  clientOwes(): 'upload' | 'download' | null
  /** Bytes received so far, a count that only grows. */
  received(): number
  /** Bytes the operating system has taken so far, a count that only grows. */
  sent(): number
  /** Called once when the rate was too low over a whole window. */
  cut(direction: 'upload' | 'download'): void
}

/** One transfer, and its counts at the beginning of the window. */
interface Mark {
  readonly transfer: Watched
  owed: 'upload' | 'download' | null
  since: number
  bytes: number
  /** Reported once; the transfer ends a moment later. */
  cut: boolean
}

/**
 * Minimum rates in both directions. Node has none: its `requestTimeout` limits the whole upload and cuts honest slow ones, and its `timeout` of 0
 * never cuts a reader that has stalled. One timer serves all transfers, and nothing runs per chunk.
 */
export class RateWatch {
  readonly #bytesPerWindow: number
  readonly #windowMs: number
  readonly #marks = new Roster<Mark>()
  readonly #timer: NodeJS.Timeout

  /** @param minRate bytes per second, averaged over `windowMs` milliseconds. A transfer is cut within two windows. */
  constructor(minRate: number, windowMs: number) {
    this.#windowMs = windowMs
    this.#bytesPerWindow = Math.max(1, (minRate * windowMs) / 1000)
    this.#timer = setInterval(() => {
      this.#tick()
    }, Math.max(5, windowMs / 4))
    this.#timer.unref()
  }

  /** @returns ends the watch */
  watch(transfer: Watched): () => void {
    return this.#marks.add({ transfer, owed: null, since: 0, bytes: 0, cut: false })
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const now = performance.now()
    for (const mark of this.#marks.members()) {
      const { transfer } = mark
      const owed = transfer.clientOwes()
      const bytes = owed === 'upload' ? transfer.received() : transfer.sent()
      if (owed === null || owed !== mark.owed || bytes - mark.bytes >= this.#bytesPerWindow) {
        mark.owed = owed
        mark.since = now
        mark.bytes = bytes
      } else if (now - mark.since >= this.#windowMs && !mark.cut) {
        mark.cut = true
        transfer.cut(owed)
      }
    }
  }
}
