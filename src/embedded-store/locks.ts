import { randomBytes } from 'node:crypto'

/** One after the other for the same name; names do not wait for each other. */
export class Locks {
  readonly #tails = new Map<string, Promise<unknown>>()

  async hold<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name)
    const run = before === undefined ? work() : before.then(work, work)
    this.#tails.set(name, run)
    try {
      return await run
    } finally {
      if (this.#tails.get(name) === run) this.#tails.delete(name)
    }
  }
}

let counter = 0

/** 32 characters that sort by the time they were made: version ids and upload ids. */
export function orderedId(): string {
  counter = (counter + 1) % 0x100000
  const time = Date.now().toString(16).padStart(12, '0') + counter.toString(16).padStart(5, '0')
  return time + randomBytes(8).toString('hex').slice(1)
}

/** As S3 shows them: 16 characters, upper case. */
export function requestId(): string {
  return randomBytes(8).toString('hex').toUpperCase()
}
