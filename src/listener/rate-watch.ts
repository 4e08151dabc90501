import { Roster } from '../collections/roster.ts'

/** What a rate watch asks of a transfer. */
export interface Watched {
  /**
   * Whose turn it is: `upload` when we wait for bytes of the client, `download` when bytes wait for it to read them, null
   * when the client owes nothing (the store or the gateway is working).
   */
  clientOwes(): 'upload' | 'download' | null
  /** Bytes received so far, a count that only grows. */
  received(): number
  /** Bytes the operating system has taken so far, a count that only grows. */
  sent(): number
  /** Called once when the rate was too low over a whole window. */
  cut(direction: 'upload' | 'download'): void
}

/** One transfer, and where it stood when the window began. */
interface Mark {
  readonly transfer: Watched
  owed: 'upload' | 'download' | null
  since: number
  bytes: number
  /** Said once; it takes a moment until the transfer is over. */
  cut: boolean
}

/**
 * Minimum rates in both directions, which Node does not have: its `requestTimeout` limits the whole upload and cuts honest
 * slow ones, its `timeout` of 0 never cuts a reader that has stalled. One timer for all transfers, nothing per chunk.
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
