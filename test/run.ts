// Runs the check and every test file, several at a time, and prints one last line that machines read: "N passed, N failed".
// `node test/run.ts FILE-OR-FOLDER…` runs these files alone. The files are started here and not by the command `tap`, whose loaders
// cost every process more than most files take; a file's own summary and exit code say the same.
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, resolve } from 'node:path'
import process from 'node:process'

const CHECK = '.ci/check.ts'
// Folders whose files take longest, in the order they start: what starts last decides when everything ends.
const SLOW_FOLDERS = [
  'test/gateway',
  'test/cli',
  'test/operations/multipart',
  'test/operations/objects',
  'test/operations/copy',
  'test/maintenance',
  'test/differential',
  'test/upstream'
]
const FILE_SECONDS = 120
// A file that is past its time has this long to say what it was waiting for.
const KILL_SECONDS = FILE_SECONDS + 15

interface Outcome {
  readonly output: string
  /** Exit code, or the signal that ended the process. */
  readonly end: number | NodeJS.Signals
}

interface Count {
  readonly passed: number
  readonly failed: number
}

const queue = process.argv.length > 2 ? process.argv.slice(2).flatMap(filesOf) : [CHECK, ...testFiles()]
const total = { passed: 0, failed: 0 }
await Promise.all(Array.from({ length: availableParallelism() + 1 }, async () => {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const started = performance.now()
    const outcome = await run(file)
    const { passed, failed } = countOf(file, outcome)
    for (const line of linesOf(file, outcome)) console.log(line)
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(failed === 0 ? `ok - ${file} # ${seconds} s` : `not ok - ${file} # ${seconds} s, ended with ${outcome.end}`)
    total.passed += passed
    total.failed += failed
  }
}))
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1

function filesOf(path: string): string[] {
  return path.endsWith('.ts') ? [path] : globSync(`${path}/**/*.test.ts`).sort()
}

function testFiles(): string[] {
  const files = globSync('test/**/*.test.ts').sort()
  const slow = SLOW_FOLDERS.flatMap((folder) => files.filter((file) => dirname(file) === folder))
  return [...new Set([...slow, ...files])]
}

function run(file: string): Promise<Outcome> {
  const child = spawn(process.execPath, [file], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: KILL_SECONDS * 1000,
    killSignal: 'SIGKILL',
    // Every process reads the same modules: the first that does compiles them for the others.
    env: { ...process.env, TAP_TIMEOUT: String(FILE_SECONDS), NODE_COMPILE_CACHE: resolve('node_modules/.cache/node') }
  })
  const output: Buffer[] = []
  child.stdout.on('data', (part: Buffer) => output.push(part))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      resolve({ output: Buffer.concat(output).toString(), end: signal ?? code ?? 1 })
    })
  })
}

/** What tap's summary counts. A file that ends without one, or not with 0, has failed even where none of its tests did. */
function countOf(file: string, { output, end }: Outcome): Count {
  if (file === CHECK) return end === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
  const summary = /^# \{ total: [1-9]\d*(?:, pass: (\d+))?(?:, fail: (\d+))?/m.exec(output)
  const failed = Number(summary?.[2] ?? 0)
  return { passed: Number(summary?.[1] ?? 0), failed: failed === 0 && (end !== 0 || summary === null) ? 1 : failed }
}

/** What is worth reading: failures with their diagnostics, and the counts that long loops print as comments. */
function linesOf(file: string, { output }: Outcome): string[] {
  if (file === CHECK) return output === '' ? [] : [output.trimEnd()]
  let inFailure = false
  return output.trimEnd().split('\n').flatMap((line) => {
    const point = /^\s*(not ok|ok) \d+\b/.exec(line)
    if (point !== null) inFailure = point[1] === 'not ok'
    if (inFailure) return [line]
    const comment = /^\s*# (?!Subtest|time=|\{ total)(.+)$/.exec(line)
    return comment?.[1] === undefined ? [] : [comment[1]]
  })
}
