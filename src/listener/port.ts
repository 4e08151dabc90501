// The end of a port. What waits there for a process to take it is lost when the port is closed.
import { setImmediate as turn } from 'node:timers/promises'

/** How a process gives up its port. */
export interface Port {
  /** Resolves when what waited at the port has been taken, or need not be. @param taken connections so far. Never rejects. */
  emptied(taken: () => number): Promise<void>
  /** The process takes nothing more. Resolves when no other one does. Never rejects. */
  left(): Promise<void>
}

/** Connections that the system holds for a port, as Node asks it to. */
const BACKLOG = 511
/** Milliseconds of a turn of Node's loop in which hardly a connection can have come behind the look for new ones. */
const SHORT_TURN_MS = 1

/**
 * Looks until looks have brought nothing. The first one does not count: it may begin in the middle of a turn.
 * @param look resolves with whether it was so short that hardly anything can have come behind it.
 * @param inARow so many looks must bring nothing, one after the other.
 * @param most milliseconds after which it ends nevertheless.
 */
export async function lookUntilEmpty(taken: () => number, look: () => Promise<boolean>, inARow = 1, most = Infinity): Promise<void> {
  const end = performance.now() + most
  for (let looks = 0, before = -1, empty = 0; looks < BACKLOG && empty < inARow && performance.now() < end; looks += 1) {
    empty = await look() && before === taken() ? empty + 1 : 0
    before = taken()
  }
}

/** Node takes at most one connection in each turn of its loop. @returns whether the turn was short. */
async function lookForOneTurn(): Promise<boolean> {
  const began = performance.now()
  await turn()
  return performance.now() - began <= SHORT_TURN_MS
}

/** The port of a process that shares it with no other. */
export const ownPort: Port = {
  emptied: async (taken) => lookUntilEmpty(taken, lookForOneTurn),
  left: async () => undefined
}

/** Rounds in which requests begin that have waited. */
const ROUNDS = 256

/** Requests that wait for the end of the port. An answer brings the next connection of a client that waits for it, and turns that serve are long. */
export class HeldRequests {
  #waiting: (() => void)[] = []
  #holds = false

  get some(): boolean {
    return this.#waiting.length > 0
  }

  /** From now on requests wait. */
  hold(): void {
    this.#holds = true
  }

  /** @returns false: nothing waits now, and it may begin. */
  takes(begin: () => void): boolean {
    if (this.#holds) this.#waiting.push(begin)
    return this.#holds
  }

  /** Begins those that wait, few at a time, since all at once would exceed limits that they keep when they come one by one. */
  async release(): Promise<void> {
    this.#holds = false
    const waiting = this.#waiting
    const few = Math.ceil(waiting.length / ROUNDS)
    while (waiting.length > 0) {
      for (const begin of waiting.splice(0, few)) begin()
      await turn()
    }
  }
}
