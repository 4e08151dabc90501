import { fork, type ChildProcess } from 'node:child_process'
import { Pkcs11Failure } from './pkcs11-binding.ts'
import type { FromToken, TokenTask } from './pkcs11-process.ts'
import type { TokenSettings } from './pkcs11-token.ts'

interface ClientLimits {
  /** Milliseconds for one task, after which the process counts as hanging and is killed. */
  readonly hangMs: number
  /** The same for the start of a process, which loads the module, connects and logs in. */
  readonly startMs: number
}

const START_MS = 10_000
/** A module that has begun a task within this time counts as busy, not as absent. Milliseconds. */
const BUSY_MS = 1000

interface Waiting {
  readonly task: TokenTask
  readonly resolve: (bytes: Buffer) => void
  readonly reject: (error: Error) => void
}

/** After these the PIN is not tried again until the configuration is loaded anew: a few wrong ones lock a token. */
const pinRefusals = new Set([
  'CKR_PIN_INCORRECT',
  'CKR_PIN_INVALID',
  'CKR_PIN_LEN_RANGE',
  'CKR_PIN_EXPIRED',
  'CKR_PIN_LOCKED',
  'CKR_USER_PIN_NOT_INITIALIZED',
  'PinFinalTry'
])

/** True for a failure that is of the PIN. */
export function isPinRefusal({ code }: Pkcs11Failure): boolean {
  return pinRefusals.has(code)
}

/**
 * The process with the module of one key. It is started with the first task, has one task at a time, and is replaced after it hung or ended. A process
 * and not a thread: a thread inside of native code cannot be stopped, and the whole gateway could not end either.
 */
export class Pkcs11Client {
  readonly #settings: TokenSettings
  readonly #limits: ClientLimits
  readonly #queue: Waiting[] = []
  #child: ChildProcess | null = null
  /** The child has tried to open the token. */
  #open = false
  #current: Waiting | null = null
  #startedAt = 0
  #timer: NodeJS.Timeout | null = null
  /** They wait until the token has been opened, or could not be. */
  #openers: (() => void)[] = []
  #refused: Pkcs11Failure | null = null
  #closed = false

  constructor(settings: TokenSettings, limits: Pick<ClientLimits, 'hangMs'> & Partial<ClientLimits>) {
    this.#settings = settings
    this.#limits = { startMs: START_MS, ...limits }
  }

  /**
   * @param signal ends the wait. A task that has not begun by then is never done.
   * @throws Pkcs11Failure of the module; TimeoutError when it hung, ProcessEnded when it crashed, Busy when the signal aborts behind other tasks.
   * signal.reason when it aborts otherwise.
   */
  run(task: TokenTask, signal: AbortSignal): Promise<Buffer> {
    if (this.#refused !== null) return Promise.reject(this.#refused)
    if (this.#closed) return Promise.reject(new Pkcs11Failure('Closed', task.do))
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason as Error)
        return
      }
      const leave = (): void => {
        const place = this.#queue.indexOf(waiting)
        if (place >= 0) this.#queue.splice(place, 1)
        const busy = place >= 0 && this.#open && performance.now() - this.#startedAt < BUSY_MS
        reject(busy ? new Pkcs11Failure('Busy', task.do) : signal.reason as Error)
      }
      const done = <T>(end: (value: T) => void) => (value: T): void => {
        signal.removeEventListener('abort', leave)
        end(value)
      }
      const waiting: Waiting = { task, resolve: done(resolve), reject: done(reject) }
      signal.addEventListener('abort', leave, { once: true })
      this.#queue.push(waiting)
      this.#next()
    })
  }

  /** Starts the process where there is none. Resolves when it has tried to open the token, which a task reports on, or has ended. */
  opened(): Promise<void> {
    if (this.#open || this.#closed || this.#refused !== null) return Promise.resolve()
    if (this.#child === null) this.#start()
    return new Promise((resolve) => {
      this.#openers.push(resolve)
    })
  }

  /** Ends the process, whatever it does. */
  close(): void {
    this.#closed = true
    this.#end('Closed')
  }

  #next(): void {
    if (this.#current !== null || this.#queue.length === 0) return
    const child = this.#child ?? this.#start()
    if (!this.#open) return
    this.#current = this.#queue.shift() ?? null
    if (this.#current !== null) this.#send(child, this.#current.task, this.#limits.hangMs)
  }

  /** The first message to it opens the token. */
  #start(): ChildProcess {
    const child = fork(new URL('./pkcs11-process.ts', import.meta.url), {
      // Its flags, and not those that the gateway happens to have been started with.
      execArgv: ['--disable-sigusr1', '--max-semi-space-size=1'],
      serialization: 'advanced',
      // A module may print anything.
      stdio: ['ignore', 'ignore', 'ignore', 'ipc']
    })
    child.on('message', (answer: FromToken) => {
      if (child === this.#child) this.#answered(answer)
    })
    const ended = (): void => {
      if (child === this.#child) this.#end('ProcessEnded')
    }
    child.on('exit', ended)
    child.on('error', ended)
    // The timer of a task keeps the gateway alive; an idle module does not.
    child.unref()
    child.channel?.unref()
    this.#child = child
    this.#open = false
    this.#send(child, this.#settings, this.#limits.startMs)
    return child
  }

  #send(child: ChildProcess, message: TokenTask | TokenSettings, patienceMs: number): void {
    this.#startedAt = performance.now()
    this.#timer = setTimeout(() => {
      this.#end('TimeoutError')
    }, patienceMs)
    // A process that has ended also emits `exit`.
    child.send(message, () => undefined)
  }

  #answered(answer: FromToken): void {
    const current = this.#take()
    const failure = 'bytes' in answer ? null : new Pkcs11Failure(answer.code, answer.call)
    if (failure !== null && isPinRefusal(failure)) this.#refuse(failure)
    // A token that could not be opened is tried again by the first task, which reports why.
    this.#open = this.#child !== null
    if (failure !== null) current?.reject(failure)
    else if ('bytes' in answer) current?.resolve(Buffer.from(answer.bytes.buffer, answer.bytes.byteOffset, answer.bytes.byteLength))
    this.#next()
  }

  #refuse(failure: Pkcs11Failure): void {
    this.#refused = failure
    for (const { reject } of this.#queue.splice(0)) reject(failure)
    this.#kill()
  }

  /**
   * The process is of no more use; the next task gets another one. Without a task in it the token could not be opened: then all that waits has the
   * same reason.
   */
  #end(code: string): void {
    const opening = !this.#open
    const current = this.#take()
    this.#kill()
    current?.reject(new Pkcs11Failure(code, current.task.do))
    if (opening || this.#closed) { for (const { reject } of this.#queue.splice(0)) reject(new Pkcs11Failure(code, 'open')) }
    this.#next()
  }

  #kill(): void {
    this.#child?.kill('SIGKILL')
    this.#child = null
    this.#open = false
  }

  /** The task that ends now; null: it was the opening of the token. */
  #take(): Waiting | null {
    const current = this.#current
    this.#current = null
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const resolve of this.#openers.splice(0)) resolve()
    return current
  }
}
