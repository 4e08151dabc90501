import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import type { Leaving, ToWorker } from './worker.ts'

/** How long workers wait for one that does not answer. */
const PATIENCE_MS = 1000

interface Listening {
  readonly listening: boolean
}

interface Departure extends PromiseWithResolvers<undefined> {
  asked: boolean
}

/**
 * The order in which workers leave the port that the primary holds for them. What a worker has not taken goes back to the primary, which hands it to
 * another one. The last one closes the port, with all that the primary has not handed out: so it looks once more when the others have left.
 */
export class Departures<Seat extends Listening> {
  readonly #seats: readonly Seat[]
  readonly #send: (seat: Seat, message: ToWorker) => void
  readonly #patienceMs: number
  readonly #departures = new Map<Seat, Departure>()
  #stopping = false

  constructor(seats: readonly Seat[], send: (seat: Seat, message: ToWorker) => void, patienceMs = PATIENCE_MS) {
    this.#seats = seats
    this.#send = send
    this.#patienceMs = patienceMs
  }

  /** From now on all of them leave, and the first to leave waits for the last. */
  stop(): void {
    this.#stopping = true
  }

  heard(seat: Seat, type: Leaving): void {
    void this.#answer(seat, type)
  }

  /** Its process has ended: another one may take its place. */
  ended(seat: Seat): void {
    this.#of(seat).resolve(undefined)
    this.#departures.delete(seat)
  }

  async #answer(seat: Seat, type: Leaving): Promise<void> {
    if (type === 'look') await handOut()
    else this.#of(seat).asked = true
    if (type === 'left') this.#of(seat).resolve(undefined)
    const others = this.#seats.filter((other) => other !== seat && other.listening).map((other) => this.#of(other))
    const last = others.every(({ asked }) => asked)
    if ((type === 'leave' && last) || (type === 'left' && this.#stopping)) await this.#untilLeft(others)
    this.#send(seat, { type: 'answer', last: type === 'leave' && last })
  }

  /** A worker that hangs holds up no stop. */
  async #untilLeft(others: readonly Departure[]): Promise<void> {
    const patience = new AbortController()
    const late = delay(this.#patienceMs, undefined, { signal: patience.signal }).catch(() => undefined)
    for (const { promise } of others) await Promise.race([promise, late])
    patience.abort()
  }

  #of(seat: Seat): Departure {
    const known = this.#departures.get(seat)
    if (known !== undefined) return known
    const departure = { ...Promise.withResolvers<undefined>(), asked: false }
    this.#departures.set(seat, departure)
    return departure
  }
}

/** Node takes what has come to the port, and hands it out before the answer. The first turn may have begun. */
async function handOut(): Promise<void> {
  await turn()
  await turn()
}
