import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { createInterface } from 'node:readline'

const TICKS_PER_SECOND = 100

/** A process and its children, looked at from outside. */
export class Watched {
  readonly #pid: number

  constructor(pid: number) {
    this.#pid = pid
  }

  /** User and system time so far, in seconds, of the process and of its workers. */
  cpuSeconds(): number {
    return this.#pids().reduce((sum, pid) => sum + cpuSecondsOf(pid), 0)
  }

  /** Resident set in MiB, workers included. */
  rssMiB(): number {
    return this.#pids().reduce((sum, pid) => sum + Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0), 0) / 1024
  }

  #pids(): number[] {
    const pid = this.#pid
    return [pid, ...readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((text) => text.trim() !== '').map(Number)]
  }
}

/** A server of the benchmark in a process of its own, so that its CPU and memory can be told apart. */
export class Measured extends Watched {
  readonly endpoint: string
  readonly #child: ChildProcess

  constructor(child: ChildProcess, endpoint: string) {
    super(child.pid ?? 0)
    this.#child = child
    this.endpoint = endpoint
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/**
 * Starts a script and waits until it listens.
 * @param flags for Node
 * @param message of the gateway's log line that has the port; without it the script's first line is its endpoint.
 */
export async function startMeasured(script: string, args: readonly string[], flags: readonly string[], message?: string): Promise<Measured> {
  const child = spawn(process.execPath, [...flags, script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface({ input: child.stdout })) {
    const endpoint = endpointIn(line, message)
    if (endpoint === null) continue
    child.stdout.resume()
    return new Measured(child, endpoint)
  }
  throw new Error(`${script} ended before it listened`)
}

function endpointIn(line: string, message: string | undefined): string | null {
  if (message === undefined) return line
  const event = JSON.parse(line) as { msg: string; port: number }
  return event.msg === message ? `http://127.0.0.1:${event.port}` : null
}
