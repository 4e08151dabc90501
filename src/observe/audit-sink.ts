// What takes the lines of the audit trail beside its file: a queue of bounded bytes, and one attempt at a time to send what waits.
import { setTimeout as delay } from 'node:timers/promises'
import { diagnosis, systemCodeOf, type Diagnosis } from '../diagnosis.ts'
import type { CheckResult } from './health.ts'

/** Sends lines to one place. */
export interface SinkTransport {
  /** Kind and address, without credentials. */
  readonly name: string
  /** Most lines and bytes of one call of `send`. */
  readonly batch: { readonly lines: number; readonly bytes: number }
  /**
   * Resolves when the lines have left this process, as surely as the protocol can tell; they are given again when it rejects.
   * @throws Error with a `code`. Error of the class LineRefused for a line that can never be sent.
   */
  send(lines: readonly Buffer[], signal: AbortSignal): Promise<void>
  /** Whether lines would be taken, as far as can be told without one. @throws Error with a `code` where nothing answers. */
  reach(signal: AbortSignal): Promise<SinkReach>
  close(): void
}

/** `ok` null: it cannot be told. */
export interface SinkReach {
  readonly ok: boolean | null
  readonly detail: string
}

/** The first line of a call can never be sent: it is counted as lost. */
export class LineRefused extends Error {}

interface SinkOptions {
  /** `refuse`: no key is used while it is down or its queue is full. `buffer`: lines wait; those that do not fit are lost to it. */
  readonly whenDown: 'refuse' | 'buffer'
  /** Most bytes that wait. */
  readonly bufferBytes: number
  /** Called when it goes down, with the reason, and when it takes lines again, with null. */
  readonly changed?: (name: string, reason: string | null, waitingBytes: number) => void
  /** Milliseconds until the second attempt; doubles with each. */
  readonly firstPauseMs?: number
}

const ATTEMPT_MS = 10_000
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000
/** How long an orderly stop waits for a sink. */
const CLOSE_MS = 5000

/** Why an attempt has failed: a code of the system, or one that the transport gives. */
export function sinkErrorCode(error: unknown): string {
  if (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')) return 'ETIMEDOUT'
  return systemCodeOf(error) ?? 'UNKNOWN'
}

export class AuditSinkQueue {
  readonly name: string
  readonly #transport: SinkTransport
  readonly #options: SinkOptions
  #waiting: Buffer[] = []
  /** Those of `#waiting` that were sent. */
  #gone = 0
  #bytes = 0
  readonly #counts = { sent: 0, lost: 0 }
  #up = true
  #reason: string | null = null
  #at: string | null = null
  #since: string | null = null
  #sending: Promise<void> | null = null
  /** Ends attempts. */
  readonly #stop = new AbortController()
  /** Ends a pause. */
  readonly #hurry = new AbortController()
  #closing = false

  constructor(transport: SinkTransport, options: SinkOptions) {
    this.name = transport.name
    this.#transport = transport
    this.#options = options
  }

  /** Lines since the start. */
  get counts(): Readonly<Record<'sent' | 'lost', number>> {
    return this.#counts
  }

  get waitingBytes(): number {
    return this.#bytes
  }

  /** Keys are not used while it is down. */
  get required(): boolean {
    return this.#options.whenDown === 'refuse'
  }

  /** The diagnosis of a refused key use; null: keys may be used. */
  refusal(): Diagnosis | null {
    if (!this.required || (this.#up && this.#bytes < this.#options.bufferBytes)) return null
    return this.#diagnosis()
  }

  /** Takes a line with its line end. Never throws, never waits. */
  offer(line: Buffer): void {
    if (this.#closing || this.#bytes + line.length > this.#options.bufferBytes) {
      this.#counts.lost += 1
      return
    }
    this.#waiting.push(line)
    this.#bytes += line.length
    this.#sending ??= this.#send().finally(() => {
      this.#sending = null
    })
  }

  check(): CheckResult {
    const reason = `The audit sink ${this.name} takes no lines; ${this.#bytes} bytes wait.`
    const failure = this.#up ? null : { reason, diagnosis: this.#diagnosis() }
    return { name: `audit sink ${this.name}`, ok: this.#up, at: this.#at, since: this.#since, error: this.#up ? null : 'ServiceUnavailable', failure }
  }

  /** Sends what waits, for 5 s at the most and until an attempt fails. What then is left is lost to it. */
  async close(): Promise<void> {
    this.#closing = true
    this.#hurry.abort()
    const sending = this.#sending
    if (sending !== null) {
      const patience = setTimeout(() => {
        this.#stop.abort()
      }, CLOSE_MS)
      await sending
      clearTimeout(patience)
    }
    this.#stop.abort()
    this.#transport.close()
    this.#counts.lost += this.#waiting.length - this.#gone
  }

  #diagnosis(): Diagnosis {
    return diagnosis('audit', `send to ${this.name}`, { system: this.#reason })
  }

  async #send(): Promise<void> {
    // Lines of one turn of the event loop go together.
    await Promise.resolve()
    let pause = this.#options.firstPauseMs ?? FIRST_PAUSE_MS
    while (this.#waiting.length > this.#gone && !this.#stop.signal.aborted) {
      const lines = this.#batch()
      try {
        await this.#transport.send(lines, AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ATTEMPT_MS)]))
        this.#drop(lines.length, 'sent')
        this.#set(true, null)
        pause = this.#options.firstPauseMs ?? FIRST_PAUSE_MS
      } catch (error) {
        if (error instanceof LineRefused) {
          this.#drop(1, 'lost')
          continue
        }
        this.#set(false, sinkErrorCode(error))
        // At the end one attempt more is made, and none after it.
        if (this.#closing) return
        await delay(pause, undefined, { signal: this.#hurry.signal, ref: false }).catch(() => undefined)
        pause = Math.min(LONGEST_PAUSE_MS, pause * 2)
      }
    }
  }

  #batch(): Buffer[] {
    const { lines, bytes } = this.#transport.batch
    let [count, size] = [0, 0]
    for (let at = this.#gone; at < this.#waiting.length; at += 1) {
      const length = this.#waiting[at]?.length ?? 0
      if (count === lines || (count > 0 && size + length > bytes)) break
      count += 1
      size += length
    }
    return this.#waiting.slice(this.#gone, this.#gone + count)
  }

  #drop(count: number, outcome: 'sent' | 'lost'): void {
    for (const { length } of this.#waiting.slice(this.#gone, this.#gone + count)) this.#bytes -= length
    this.#gone += count
    // Seldom, so that one line costs no copy of the whole queue.
    if (this.#gone * 2 >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#gone)
      this.#gone = 0
    }
    this.#counts[outcome] += count
  }

  #set(up: boolean, reason: string | null): void {
    const now = new Date().toISOString()
    this.#at = now
    this.#reason = reason
    if (up === this.#up && this.#since !== null) return
    const changed = up !== this.#up
    this.#up = up
    this.#since = now
    if (changed) this.#options.changed?.(this.name, reason, this.#bytes)
  }
}
