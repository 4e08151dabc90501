import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { createInterface } from 'node:readline'

const TICKS_PER_SECOND = 100

/** A server of the benchmark in a process of its own, so that its CPU and memory can be told apart. */
export class Measured {
  readonly endpoint: string
  readonly #child: ChildProcess

  constructor(child: ChildProcess, endpoint: string) {
    this.#child = child
    this.endpoint = endpoint
  }

  /** User and system time of the process so far, in seconds, with its children. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.#child.pid ?? 0)
  }

  /** Resident set in MiB. */
  rssMiB(): number {
    const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.#child.pid ?? 0}/status`, 'utf8'))
    return Number(line?.[1] ?? 0) / 1024
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

export function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Starts a script that prints its endpoint as the first line. */
export async function startMeasured(script: string, args: readonly string[], endpoint?: string): Promise<Measured> {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })
  const [first] = await once(lines, 'line') as [string]
  lines.on('line', () => undefined)
  return new Measured(child, endpoint ?? first)
}
