const EVERY_MS = 2000

/** Counts work and says every two seconds how far it is, how fast it goes and how long it will take. */
export class Progress {
  readonly #stderr: { write(text: string): unknown }
  readonly #total: number
  readonly #started = performance.now()
  readonly #timer: NodeJS.Timeout
  #done = 0

  /** @param total objects there are to look at, as last counted. */
  constructor(total: number, stderr: { write(text: string): unknown }, everyMs: number = EVERY_MS) {
    this.#total = total
    this.#stderr = stderr
    this.#timer = setInterval(() => { this.#stderr.write(`${this.line()}\n`) }, everyMs).unref()
  }

  step(): void {
    this.#done += 1
  }

  line(): string {
    const seconds = (performance.now() - this.#started) / 1000
    const rate = seconds > 0 ? this.#done / seconds : 0
    const left = Math.max(0, this.#total - this.#done)
    const time = rate > 0 ? `, ${duration(left / rate)} left` : ''
    return `${this.#done.toLocaleString('en')} of ${this.#total.toLocaleString('en')} objects, ${rate.toFixed(0)} per second${time}`
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`
  return `${Math.floor(seconds / 3600)} h ${Math.ceil(seconds % 3600 / 60)} min`
}
