import { readFileSync } from 'node:fs'
import process from 'node:process'

/** Clock ticks of a second in /proc: 100 on every architecture that Node runs on. */
const TICKS = 100

/** Seconds of CPU that this process and the processes it has waited for have used. Without /proc only its own. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6 + childSeconds()
}

/** Fields 16 and 17 of proc_pid_stat(5): user and system time of children that were waited for, and of theirs. */
function childSeconds(): number {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    // The second field, the name of the program, may contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[13]) + Number(fields[14])) / TICKS
  } catch {
    return 0
  }
}
