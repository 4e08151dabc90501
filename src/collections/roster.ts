/** A member's place on a roster. */
interface Seat<T> {
  readonly member: T
  /** Index among the seats; -1 once left. */
  at: number
}

/**
 * A set of items in progress, whose members come and go thousands of times a second. A Set costs more: a table that V8 discards when it rehashes
 * still points to its successor, so one dead table in the old generation keeps all later ones and their members until the next full collection
 * (docs/decisions/0014).
 */
export class Roster<T> {
  readonly #seats: Seat<T>[] = []

  get size(): number {
    return this.#seats.length
  }

  /** @returns removes the member; further calls do nothing */
  add(member: T): () => void {
    const seat = { member, at: this.#seats.length }
    this.#seats.push(seat)
    return () => {
      this.#giveUp(seat)
    }
  }

  /** The current members, in no order. Later changes do not affect the result. */
  members(): T[] {
    return this.#seats.map(({ member }) => member)
  }

  #giveUp(seat: Seat<T>): void {
    if (seat.at < 0) return
    const last = this.#seats.pop()
    if (last !== undefined && last !== seat) {
      this.#seats[seat.at] = last
      last.at = seat.at
    }
    seat.at = -1
  }
}
