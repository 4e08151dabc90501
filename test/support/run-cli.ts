import { runCommand } from '../../src/cli/commands.ts'
import type { Platform } from '../../src/cli/platform.ts'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a command in this process. @returns its exit code and what it wrote. */
export async function runCli(args: readonly string[], cwd: string, change: Partial<Pick<Platform, 'env' | 'onSignal'>> = {}): Promise<Ran> {
  let [out, err] = ['', '']
  const code = await runCommand({
    args,
    cwd,
    env: {},
    onSignal: () => undefined,
    ...change,
    stdout: {
      write: (text) => {
        out += text
      }
    },
    stderr: {
      write: (text) => {
        err += text
      }
    }
  })
  return { code, out, err }
}
