/** A member's place in a line. */
interface Place<T> {
  readonly member: T
  before: Place<T> | null
  after: Place<T> | null
}

/**
 * Items in progress in the order in which they came, whose members come and go thousands of times a second. For the reason of `Roster` it is no Set: a
 * place that has been left leads nowhere (docs/decisions/0014).
 */
export class Line<T> {
  #first: Place<T> | null = null
  #last: Place<T> | null = null
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The one that has been there longest. */
  get first(): T | undefined {
    return this.#first?.member
  }

  /** @returns removes the member; further calls do nothing */
  add(member: T): () => void {
    const place: Place<T> = { member, before: this.#last, after: null }
    if (this.#last === null) this.#first = place
    else this.#last.after = place
    this.#last = place
    this.#size += 1
    let there = true
    return () => {
      if (there) this.#remove(place)
      there = false
    }
  }

  /** The first of those that are wanted. @param wanted changes nothing in this line. */
  find(wanted: (member: T) => boolean): T | undefined {
    for (let place = this.#first; place !== null; place = place.after) if (wanted(place.member)) return place.member
    return undefined
  }

  /** All, in their order. Later changes do not affect the result. */
  members(): T[] {
    const all: T[] = []
    for (let place = this.#first; place !== null; place = place.after) all.push(place.member)
    return all
  }

  #remove(place: Place<T>): void {
    const { before, after } = place
    if (before === null) this.#first = after
    else before.after = after
    if (after === null) this.#last = before
    else after.before = before
    place.before = null
    place.after = null
    this.#size -= 1
  }
}
