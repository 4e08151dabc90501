import { readFileSync } from 'node:fs'

/** The parts of the process that a command may use. Made in `main.ts`, the only file that uses `process`. */
export interface Platform {
  /** Arguments after the name of the program. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** `isTTY`: a terminal. */
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean }
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean }
  /** Where log lines go; absent: standard output, through the buffered writer of the log. */
  readonly writeLog?: (line: string) => void
  /** Runs an action each time the process gets the signal. */
  onSignal(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP', action: () => void): void
}

/** Exit codes of all commands. */
export const exitCodes = {
  done: 0,
  failed: 1,
  /** The command line, the configuration, or a file that it names is not valid. */
  usage: 2,
  /** Stopped, but transfers had to be cut after the grace period. */
  cut: 3,
  /** `store check`: settings should change. */
  change: 3,
  /** `store check`: something that the gateway needs will not work. */
  unfit: 4,
  /** `scan`: objects that are not encrypted. */
  plaintext: 3,
  /** `scan`, `verify`: objects that do not open. */
  damaged: 4,
  /** `audit verify`: the trail is not as it was written. */
  tampered: 4,
  /** Commands on existing objects: stopped by a signal. */
  stopped: 5
} as const

/** Files, log, audit, admin port, and those that Node itself holds open. */
const OWN = 64

/**
 * The number of client connections that leaves enough descriptors for those to the store: without any for the store, no request can be served. Node
 * raises its soft limit to the hard one at start.
 * @param wanted the configured number of client connections. @param toStore connections to the store, all pools.
 * @param available granted by the operating system; null: not known.
 */
export function connectionsWithin(wanted: number, toStore: number, available: number | null): number {
  if (available === null) return wanted
  // Where there are too few for all, each side gets half: a request holds one connection on each side.
  return Math.min(wanted, Math.max(available - toStore - OWN, Math.floor((available - OWN) / 2), 1))
}

/** File descriptors that this process may open; null where the system does not say (not Linux). */
export function availableDescriptors(path = '/proc/self/limits'): number | null {
  try {
    const limit = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync(path, 'utf8'))?.[1]
    return limit === undefined ? null : Number(limit)
  } catch {
    return null
  }
}
