import { setTimeout as delay } from 'node:timers/promises'
import type { Report, ToWorker } from './worker.ts'

/** How long a report is waited for. */
const PATIENCE_MS = 2000
/** Rounds in a row without an answer after which a process counts as hanging: nothing that works keeps its event loop for so long. */
const SILENT_ROUNDS = 6

interface Asked {
  readonly listening: boolean
}

/** Asks workers how they are, and knows which have stopped answering. */
export class WorkerReports<Seat extends Asked> {
  readonly #send: (seat: Seat, message: ToWorker) => void
  readonly #patienceMs: number
  readonly #waiting = new Map<number, (report: Report) => void>()
  /** Rounds of `silent` without an answer. */
  readonly #misses = new Map<Seat, number>()
  #count = 0

  constructor(send: (seat: Seat, message: ToWorker) => void, patienceMs = PATIENCE_MS) {
    this.#send = send
    this.#patienceMs = patienceMs
  }

  heard(id: number, report: Report): void {
    this.#waiting.get(id)?.(report)
  }

  /** @returns the reports of those that listen and answer in time. */
  async ask(seats: readonly Seat[], metrics: boolean): Promise<Report[]> {
    const reports = await Promise.all(seats.filter(({ listening }) => listening).map((seat) => this.#askOne(seat, metrics)))
    return reports.filter((report) => report !== null)
  }

  /**
   * One round of looking after those that listen; in rounds and not in seconds, so that a machine that was suspended accuses nobody.
   * @returns those that have not answered for so many rounds that they hang.
   */
  async silent(seats: readonly Seat[]): Promise<Seat[]> {
    await Promise.all(seats.map(async (seat) => {
      const answered = !seat.listening || await this.#askOne(seat, false) !== null
      this.#misses.set(seat, answered ? 0 : (this.#misses.get(seat) ?? 0) + 1)
    }))
    return seats.filter((seat) => (this.#misses.get(seat) ?? 0) >= SILENT_ROUNDS)
  }

  async #askOne(seat: Seat, metrics: boolean): Promise<Report | null> {
    this.#count += 1
    const id = this.#count
    const { promise, resolve } = Promise.withResolvers<Report>()
    this.#waiting.set(id, resolve)
    const patience = new AbortController()
    this.#send(seat, { type: 'report', id, metrics })
    const late = delay(this.#patienceMs, null, { signal: patience.signal }).catch(() => null)
    const report = await Promise.race([promise, late])
    patience.abort()
    this.#waiting.delete(id)
    return report
  }
}
