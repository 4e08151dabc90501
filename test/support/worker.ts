// Runs test files one after the other, as test/run.ts sends them, and reports what each has printed, counted and cost. Files share the
// process because loading and compiling the modules of the gateway takes longer than most files: each file still has a `t` of its own.
import { flushCompileCache, registerHooks } from 'node:module'
import { resolve } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuSeconds } from './cpu.ts'
import type { Test, TestOpts } from 'tap'
import { loadNativeCore } from '../../src/native/core.ts'

export interface Order {
  readonly file: string
  readonly seconds: number
}

export interface Report {
  readonly file: string
  readonly passed: number
  readonly failed: number
  /** What tap printed. */
  readonly output: string
  /** Seconds of CPU, with those of child processes. */
  readonly cpu: number
  /** Resident memory of the process. */
  readonly bytes: number
}

/** Milliseconds after which a process that was let go and still runs says why. */
const patienceMs = 5000

let current: Test | undefined
Object.defineProperty(globalThis, 'testOfFile', { get: () => current })

/** Modules in whose place a test process loads something else, by the name that they are imported by. */
function replaced(specifier: string, parent = ''): string | null {
  // What a test file imports from tap is the test of this file, not that of the process.
  if (specifier === 'tap' && parent.endsWith('.test.ts')) return `export default testOfFile // ${parent}`
  // Tap looks for the test of an asynchronous error by hooks on every promise, which cost more than many tests. Here it is that of the file.
  if (specifier === 'async-hook-domain') return 'export class Domain { destroy() {} }'
  // A list that goes on where its pattern ends would pass `match`. Only objects may have more than their pattern.
  if (specifier === './match.js' && parent.endsWith('/tcompare/dist/esm/index.js')) {
    return `import { Match as Loose } from '${new URL(specifier, parent).href}'
      const longer = (list, pattern) => Array.isArray(list) && Array.isArray(pattern) && list.length > pattern.length
      export class Match extends Loose { test() { return !longer(this.object, this.expect) && super.test() } }`
  }
  return null
}

registerHooks({
  resolve: (specifier, context, next) => {
    const source = replaced(specifier, context.parentURL)
    return source === null ? next(specifier, context) : { url: `data:text/javascript,${encodeURIComponent(source)}`, format: 'module', shortCircuit: true }
  }
})
// After the hooks: tap itself imports what is replaced.
const { Test: FileTest } = await import('tap')

// As the command line does: with a binary beside it, all tests run with it. SEALGATE_NATIVE=off runs them without.
loadNativeCore(process.env['SEALGATE_NATIVE'] !== 'off')

process.on('uncaughtException', (error) => {
  current?.threw(error)
})
process.on('message', ({ file, seconds }: Order) => {
  void run(file, seconds).then((report) => process.send?.(report))
})
process.once('disconnect', () => {
  setTimeout(() => {
    console.error(`still open: ${process.getActiveResourcesInfo().join()}`)
  }, patienceMs).unref()
})

async function run(file: string, seconds: number): Promise<Report> {
  const before = cpuSeconds()
  const options: TestOpts = { name: file, timeout: seconds * 1000 }
  const test: Test = new FileTest(options)
  current = test
  let output = ''
  test.on('data', (part) => output += String(part))
  const over = new Promise<void>((resolve) => {
    test.runMain(resolve)
  })
  // What closes when a test has run out of time may not end either.
  const done = Promise.race([over, sleep(seconds * 1000 + patienceMs, undefined, { ref: false })])
  const loaded = import(pathToFileURL(resolve(file)).href).catch((error: unknown) => {
    test.threw(error)
  })
  // A file that waits for its own tests at its top has not been loaded when it is out of time.
  await Promise.race([loaded, done])
  test.end()
  await done
  // Its timer would go on, and report a test that is long over.
  test.setTimeout(0)
  // So that processes which tests start, and are killed before they would write it, find the compiled modules.
  flushCompileCache()
  const { pass, fail } = test.counts
  return { file, passed: pass, failed: test.results === undefined ? fail + 1 : fail, output, cpu: cpuSeconds() - before, bytes: process.memoryUsage.rss() }
}
