/** Milliseconds between two reports: where a person watches, and in a log. */
const WATCHED_MS = 1000
const LOGGED_MS = 10_000

interface Stderr {
  write(text: string): unknown
  readonly isTTY?: boolean
}

/** Counts work, and reports progress, speed and remaining time: on a terminal in one line that is written again, else in a line of JSON every 10 s. */
export class Progress {
  /** Objects to be examined, as last counted; null: not known. */
  total: number | null = null
  readonly #stderr: Stderr
  readonly #started = performance.now()
  readonly #timer: NodeJS.Timeout
  readonly #done: () => number

  /** @param done objects examined so far. */
  constructor(done: () => number, stderr: Stderr, everyMs?: number) {
    this.#done = done
    this.#stderr = stderr
    this.#timer = setInterval(() => {
      this.#report()
    }, everyMs ?? (stderr.isTTY === true ? WATCHED_MS : LOGGED_MS)).unref()
  }

  /** For people. */
  line(): string {
    const { rate, secondsLeft } = this.#speed()
    const of = this.total === null ? '' : ` of ${this.total.toLocaleString('en')}`
    return `${this.#done().toLocaleString('en')}${of} objects, ${rate.toFixed(0)} per second${secondsLeft === null ? '' : `, ${duration(secondsLeft)} left`}`
  }

  stop(): void {
    clearInterval(this.#timer)
    if (this.#stderr.isTTY === true) this.#stderr.write('\r\x1b[K')
  }

  #report(): void {
    if (this.#stderr.isTTY === true) {
      this.#stderr.write(`\r\x1b[K${this.line()}`)
      return
    }
    const { rate, secondsLeft } = this.#speed()
    this.#stderr.write(
      `${
        JSON.stringify({
          objects: this.#done(),
          total: this.total,
          perSecond: Math.round(rate),
          secondsLeft: secondsLeft === null ? null : Math.ceil(secondsLeft)
        })
      }\n`
    )
  }

  #speed(): { readonly rate: number; readonly secondsLeft: number | null } {
    const seconds = (performance.now() - this.#started) / 1000
    const rate = seconds > 0 ? this.#done() / seconds : 0
    return { rate, secondsLeft: this.total === null || rate === 0 ? null : Math.max(0, this.total - this.#done()) / rate }
  }
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`
  return `${Math.floor(seconds / 3600)} h ${Math.ceil(seconds % 3600 / 60)} min`
}
