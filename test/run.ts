// Runs every test file, the check among them, and prints what was counted, what it cost and, as the last line that machines read,
// "N passed, N failed". `node test/run.ts FILE-OR-FOLDER…` runs these files alone. Files run in a few processes that each take one after the
// other (test/support/worker.ts): a process for each file would cost more CPU than most files do.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, normalize, resolve } from 'node:path'
import process from 'node:process'
import { cpuSeconds } from './support/cpu.ts'
import type { Order, Report } from './support/worker.ts'

// Files whose result depends on what else the process has loaded or holds: each has a process of its own.
const ALONE = new Set(['test/keys/providers/aws-kms-loading.test.ts'])
// Files and folders that take longest, in the order they start: what starts last decides when everything ends.
const FIRST = ['test/check.test.ts', 'test/gateway/faults.test.ts', ...ALONE]
const SLOW_FOLDERS = ['test/gateway', 'test/cli', 'test/operations', 'test/maintenance', 'test/differential', 'test/upstream']
const FILE_SECONDS = 300
// A file that is past its time has this long to say what it was waiting for.
const KILL_SECONDS = FILE_SECONDS + 15
// Test files keep what they have made at their top: a process that has grown to this many bytes is replaced.
const LARGE = 1.5 * 2 ** 30
/** Milliseconds after which a process that runs nothing more must have ended by itself. */
const END_MS = 10_000
const EXPENSIVE = 10

const queue = process.argv.length > 2 ? process.argv.slice(2).flatMap(filesOf) : testFiles()
const reports: Report[] = []
const total = { passed: 0, failed: 0 }
await Promise.all(Array.from({ length: Math.min(queue.length, availableParallelism() + 1) }, lane))

const expensive = reports.toSorted((a, b) => b.cpu - a.cpu).slice(0, EXPENSIVE)
for (const { file, cpu } of expensive) console.log(`${cpu.toFixed(1).padStart(6)} CPU-s ${file}`)
console.log(`${cpuSeconds().toFixed(1)} CPU-seconds`)
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1

function filesOf(path: string): string[] {
  return path.endsWith('.ts') ? [normalize(path)] : globSync(`${path}/**/*.test.ts`).sort()
}

function testFiles(): string[] {
  const files = globSync('test/**/*.test.ts').sort()
  const slow = SLOW_FOLDERS.flatMap((folder) => files.filter((file) => file.startsWith(`${folder}/`)))
  return [...new Set([...FIRST, ...slow, ...files])]
}

/** Takes files from the queue until it is empty: in one process, unless a file needs its own or the process is none to go on with. */
async function lane(): Promise<void> {
  let shared: ChildProcess | null = null
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const alone = ALONE.has(file)
    const worker: ChildProcess = alone || shared === null ? start() : shared
    const started = performance.now()
    const report = await run(worker, file)
    reports.push(report)
    total.passed += report.passed
    total.failed += report.failed
    for (const line of linesOf(report)) console.log(line)
    const cost = `${((performance.now() - started) / 1000).toFixed(1)} s, ${report.cpu.toFixed(1)} CPU-s`
    console.log(`${report.failed === 0 ? 'ok' : 'not ok'} - ${file} # ${cost}`)
    const spent = alone || report.failed > 0 || report.bytes > LARGE
    if (spent) await end(worker)
    if (!alone) shared = spent ? null : worker
  }
  if (shared !== null) await end(shared)
}

function start(): ChildProcess {
  return fork(join(import.meta.dirname, 'support', 'worker.ts'), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // Every process reads the same modules: the first that does compiles them for the others.
    env: { ...process.env, TAP_TIMEOUT: '0', NODE_COMPILE_CACHE: resolve('node_modules/.cache/node') }
  })
}

/** What a file has come to. One whose process ends with it, or that is not over in time, has failed even where none of its tests did. */
async function run(worker: ChildProcess, file: string): Promise<Report> {
  const { promise, resolve } = Promise.withResolvers<Report>()
  const lost = (why: string): void => {
    resolve({ file, passed: 0, failed: 1, output: `not ok 1 - the process ${why}`, cpu: 0, bytes: 0 })
  }
  const onExit = (code: number | null, signal: NodeJS.Signals | null): void => {
    lost(`ended with ${signal ?? code ?? 'nothing'}`)
  }
  const timer = setTimeout(() => {
    worker.kill('SIGKILL')
  }, KILL_SECONDS * 1000)
  const onMessage = (message: object): void => {
    // tap sends messages of its own.
    if ('output' in message) resolve(message as Report)
  }
  worker.on('message', onMessage)
  worker.once('exit', onExit)
  const order: Order = { file, seconds: FILE_SECONDS }
  worker.send(order)
  const report = await promise
  clearTimeout(timer)
  worker.off('message', onMessage)
  worker.off('exit', onExit)
  // A file without tests has tested nothing.
  return report.passed + report.failed > 0 ? report : { ...report, failed: 1 }
}

/** Nothing keeps a process alive that has run its files: what one of them has not closed does. */
async function end(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return
  const timer = setTimeout(() => {
    worker.kill('SIGKILL')
  }, END_MS)
  worker.disconnect()
  const [, signal] = await once(worker, 'exit') as [number | null, NodeJS.Signals | null]
  clearTimeout(timer)
  if (signal === null) return
  console.log('not ok - a process does not end: one of its files has left something open')
  total.failed += 1
}

/** What is worth reading: failures with their diagnostics, and the counts that long loops print as comments. */
function linesOf({ output }: Report): string[] {
  let inFailure = false
  return output.trimEnd().split('\n').flatMap((line) => {
    const point = /^\s*(not ok|ok) \d+\b/.exec(line)
    if (point !== null) inFailure = point[1] === 'not ok'
    if (inFailure) return [line]
    const comment = /^\s*# (?!Subtest|time=|\{ total)(.+)$/.exec(line)
    return comment?.[1] === undefined ? [] : [comment[1]]
  })
}
