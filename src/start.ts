#!/usr/bin/env node
// Entry of the installed package. It parses on every Node since 14, so that an older one gets one clear line, and it starts the process
// again, in its place, with the flags that Node takes only at start.
import process from 'node:process'
import { oldestNode } from './version.ts'

/**
 * Short collections of 8 MiB, because what they interrupt is somebody's request (docs/PERFORMANCE.md); no debugger by SIGUSR1 and no `__proto__`
 * (docs/decisions/0010).
 */
const FLAGS = ['--max-semi-space-size=8', '--disable-sigusr1', '--disable-proto=throw']

if (isOlder(process.versions.node, oldestNode())) {
  process.stderr.write(`sealgate needs Node ${oldestNode()} or newer; this is Node ${process.versions.node}\n`)
  process.exit(2)
}

const missing = FLAGS.filter((flag) => !process.execArgv.includes(flag))
// There is no such call on Windows: it runs without the flags there.
if (missing.length > 0 && process.platform !== 'win32' && process.execve !== undefined) {
  // Node warns of every use of this call, once and on standard error: the new process is there before that.
  process.execve(process.execPath, [process.execPath, ...missing, ...process.execArgv, ...process.argv.slice(1)], process.env)
}
await import('./main.ts')

function isOlder(version: string, oldest: string): boolean {
  const [a, b] = [version, oldest].map((text) => text.split('.').map(Number))
  const index = (b ?? []).findIndex((part, place) => part !== (a ?? [])[place])
  return index >= 0 && ((a ?? [])[index] ?? 0) < ((b ?? [])[index] ?? 0)
}
