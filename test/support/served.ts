import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { createInterface } from 'node:readline'

/** The program, as a test starts it. */
export const main = new URL('../../src/main.ts', import.meta.url).pathname

type Line = Record<string, unknown>

/** `sealgate serve` as a process of its own, with its log. */
export class Served {
  readonly child: ChildProcess
  readonly exit: Promise<number | null>
  readonly lines: Line[] = []
  err = ''
  #wake: () => void = () => undefined

  constructor(file: string) {
    this.child = spawn(process.execPath, [main, 'serve', '--config', file], {
      stdio: ['ignore', 'pipe', 'pipe']
    })
    this.exit = once(this.child, 'exit').then(([code]) => code as number | null)
    createInterface({ input: this.child.stdout! }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line)
      this.#wake()
    })
    this.child.stderr!.on('data', (text: Buffer) => {
      this.err += text.toString()
    })
  }

  /** Process ids of its workers. */
  get workers(): number[] {
    const pid = this.child.pid!
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((text) => text !== '').map(Number)
  }

  async line(message: string, nth = 1): Promise<Line> {
    for (;;) {
      const found = this.lines.filter(({ msg }) => msg === message)[nth - 1]
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
