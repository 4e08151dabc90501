/** What a command may know of the process it runs in. Made in `main.ts`, the only file that touches `process`. */
export interface Platform {
  /** Arguments after the name of the program. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** `isTTY`: a terminal. */
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean }
  readonly stderr: { write(text: string): unknown }
  /** Where log lines go; absent: standard output, through the buffered writer of the log. */
  readonly writeLog?: (line: string) => void
  /** Runs an action every time the process gets the signal. */
  onSignal(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', action: () => void): void
}

/** Exit codes of all commands. */
export const exitCodes = {
  done: 0,
  failed: 1,
  /** The command line, the configuration, or a file that it names is not good. */
  usage: 2,
  /** Stopped, but transfers had to be cut after the grace period. */
  cut: 3
} as const
