// Mutation: one small fault at a time in the rooms where a fault costs most, and whether any test notices (docs/decisions/0061-mutation.md).
//   nice -n 15 node test/campaigns/mutation.ts [--room DIRECTORY]... [--sample N] [--seed N] [--budget SECONDS] [--jobs N] [--tests GLOB]... [--at FILE[:LINE]]... [--again OUTPUT] [--resume OUTPUT]
// --sample: mutants per room, chosen by the seed; 0 for all. --budget: CPU seconds of tests that one mutant may cost, the cheapest tests first; 0 for no
// limit. --tests: only these test files. --at: only the mutants there. --again: only those that survived in an earlier output. --resume: what an interrupted run has judged is taken from its output. --measure: measure anew what tests execute.
// A mutant is a change to the text of one file while it is loaded: nothing is written into the tree. Each meets the test files that execute its
// line, until one fails.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { Change } from '../support/mutant-hook.ts'
import { mutantsOf, type Mutant } from '../support/mutants.ts'

const root = join(import.meta.dirname, '..', '..')
const cache = join(root, 'node_modules/.cache/mutation')
const measurementsFile = join(cache, 'coverage.json')
const hook = pathToFileURL(join(root, 'test/support/mutant-hook.ts')).href
const { values: options } = parseArgs({
  options: {
    room: { type: 'string', multiple: true, default: ['src/envelope', 'src/auth', 'src/sigv4', 'src/operations/multipart'] },
    sample: { type: 'string', default: '150' },
    seed: { type: 'string', default: '1' },
    budget: { type: 'string', default: '20' },
    jobs: { type: 'string', default: '2' },
    tests: { type: 'string', multiple: true, default: ['test/**/*.test.ts'] },
    at: { type: 'string', multiple: true, default: [] },
    again: { type: 'string' },
    resume: { type: 'string' },
    measure: { type: 'boolean', default: false }
  }
})
const jobs = Number(options.jobs)
const budget = Number(options.budget) || Number.POSITIVE_INFINITY

/** What one test file costs and executes. */
interface Measurement {
  /** Of its text. */
  readonly hash: string
  /** CPU time of all its processes. */
  readonly seconds: number
  readonly passed: boolean
  /** By file of src: the hash of its text, and the ranges of it that were executed, from and up to. */
  readonly executed: Readonly<Record<string, { readonly hash: string; readonly ranges: readonly (readonly [from: number, to: number])[] }>>
}

interface Target extends Mutant {
  readonly room: string
  readonly file: string
}

type End = 'passed' | 'failed' | 'timed out'
type Verdict = 'killed' | 'timed out' | 'survived' | 'no coverage'

process.chdir(root)
/** Process groups that run tests. */
const groups = new Set<number>()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const group of groups) kill(group)
    process.exit(1)
  })
}
mkdirSync(cache, { recursive: true })
const sources = new Map(options.room.flatMap((room) => globSync(`${room}/**/*.ts`)).sort().map((file) => [file, readFileSync(file, 'utf8')]))
const measurements = await measure()
const tests = Object.keys(measurements).filter((file) => measurements[file]?.passed === true).sort((a, b) => secondsOf(a) - secondsOf(b))
const worth = new Map(tests.map((file) => [file, { runs: 0, kills: 0 }]))
const verdicts = new Map<Target, Verdict>()
const started = performance.now()
const judged = options.resume === undefined ? new Map<string, Verdict>() : judgedIn(options.resume)
await inTurns(chosen(), async (target) => {
  const known = judged.get(describe(target))
  if (known !== undefined) console.log(`${known} ${describe(target)} # taken over`)
  verdicts.set(target, known ?? await judge(target))
})
report()

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}

function secondsOf(file: string): number {
  return measurements[file]?.seconds ?? 0
}

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  await Promise.all(Array.from({ length: jobs }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }))
}

function kill(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

/**
 * One test file in a process group of its own, which ends at the first failure.
 * @param seconds CPU time that each process may take. A process that waits for ever ends after ten times as long.
 */
function run(file: string, seconds: number, variables: Readonly<Record<string, string>>): Promise<End> {
  const scratch = mkdtempSync(join(tmpdir(), 'mutant-'))
  const child = spawn('/bin/sh', ['-c', 'ulimit -t "$0"; exec "$@"', String(Math.ceil(seconds)), process.execPath, file], {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, TMPDIR: scratch, TAP_TIMEOUT: '600', NODE_COMPILE_CACHE: join(cache, 'compiled'), NODE_OPTIONS: `--import ${hook}`, ...variables }
  })
  const group = child.pid ?? 0
  groups.add(group)
  let output = ''
  let end: End | undefined
  const finish = (how: End): void => {
    end ??= how
    kill(group)
  }
  const timer = setTimeout(finish, 10 * seconds * 1000, 'timed out')
  child.stdout.on('data', (part: Buffer) => {
    output += part.toString()
    if (/^\s*not ok (?!.*# (?:TODO|SKIP))/m.test(output)) finish('failed')
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      groups.delete(group)
      if (signal === null) finish(code === 0 && output.includes('# { total: ') ? 'passed' : 'failed')
      else finish('timed out')
      rmSync(scratch, { recursive: true, force: true, maxRetries: 3 })
      resolve(end ?? 'failed')
    })
  })
}

/** What V8 counts while every test file runs once. What has been measured and has the same text is taken from the cache. */
async function measure(): Promise<Record<string, Measurement>> {
  const known = options.measure || !existsSync(measurementsFile) ? {} : JSON.parse(readFileSync(measurementsFile, 'utf8')) as Record<string, Measurement>
  const found: Record<string, Measurement> = {}
  const files = options.tests.flatMap((pattern) => globSync(pattern).sort())
  await inTurns([...new Set(files)], async (file) => {
    const hash = hashOf(readFileSync(file, 'utf8'))
    const before = known[file]
    if (before?.hash === hash) {
      found[file] = before
      return
    }
    const folder = mkdtempSync(join(tmpdir(), 'coverage-'))
    const cpuLog = join(folder, 'cpu')
    const end = await run(file, 300, { NODE_V8_COVERAGE: folder, CPU_LOG: cpuLog })
    const seconds = existsSync(cpuLog) ? readFileSync(cpuLog, 'utf8').split('\n').reduce((sum, line) => sum + Number(line) / 1e6, 0) : 0
    const executed = Object.fromEntries(
      [...executedIn(folder)].map(([source, marks]) => [source, { hash: hashOf(sources.get(source) ?? ''), ranges: rangesOf(marks) }])
    )
    found[file] = { hash, seconds, passed: end === 'passed', executed }
    rmSync(folder, { recursive: true, force: true })
    console.log(`measured ${file} # ${seconds.toFixed(1)} s, ${end}, executes ${Object.keys(executed).length} files`)
    writeFileSync(measurementsFile, JSON.stringify({ ...known, ...found }))
  })
  return found
}

interface ScriptCoverage {
  readonly url: string
  readonly functions: readonly { readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[] }[]
}

/** By file: a mark for every character that any process of the test file executed. */
function executedIn(folder: string): Map<string, Uint8Array> {
  const files = new Map([...sources.keys()].map((file) => [pathToFileURL(join(root, file)).href, file]))
  const marks = new Map<string, Uint8Array>()
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as { readonly result: readonly ScriptCoverage[] }
    for (const { url, functions } of result) {
      const file = files.get(url)
      if (file === undefined) continue
      const length = sources.get(file)?.length ?? 0
      const here = new Uint8Array(length)
      // An inner range counts for itself: the long ones first.
      const ranges = functions.flatMap((f) => f.ranges).sort((a, b) => (b.endOffset - b.startOffset) - (a.endOffset - a.startOffset))
      for (const { startOffset, endOffset, count } of ranges) here.fill(Number(count > 0), startOffset, endOffset)
      const all = marks.get(file) ?? new Uint8Array(length)
      here.forEach((mark, i) => {
        if (mark === 1) all[i] = 1
      })
      marks.set(file, all)
    }
  }
  return marks
}

function rangesOf(marks: Uint8Array): [number, number][] {
  const ranges: [number, number][] = []
  let from = -1
  for (let i = 0; i <= marks.length; i += 1) {
    if (marks[i] === 1 && from < 0) from = i
    if (marks[i] !== 1 && from >= 0) {
      ranges.push([from, i])
      from = -1
    }
  }
  return ranges
}

/** What an earlier output says of each mutant. */
function judgedIn(output: string): Map<string, Verdict> {
  const lines = readFileSync(output, 'utf8').matchAll(/^(killed|timed out|survived|no coverage) (.*?)(?: # .*)?$/gm)
  return new Map([...lines].map(([, verdict, mutant = '']) => [mutant, verdict as Verdict]))
}

/** The mutants of each room whose hashes with the seed are the lowest: the choice does not change with the order of the files. */
function chosen(): Target[] {
  const again = options.again === undefined ? null : judgedIn(options.again)
  return options.room.flatMap((room) => {
    const all = [...sources].filter(([file]) => file.startsWith(`${room}/`)).flatMap(([file, source]) =>
      mutantsOf(source).map((mutant): Target => ({ ...mutant, room, file }))
    )
    const wanted = all.filter((target) =>
      (again === null || /^(?:survived|no coverage)$/.test(again.get(describe(target)) ?? ''))
      && (options.at.length === 0 || options.at.some((place) => place === target.file || place === `${target.file}:${target.line}`))
    )
    console.log(`${room}: ${all.length} mutants in ${[...sources.keys()].filter((file) => file.startsWith(`${room}/`)).length} files`)
    const limit = Number(options.sample) === 0 || again !== null || options.at.length > 0 ? wanted.length : Number(options.sample)
    const order = new Map(wanted.map((target) => [target, hashOf(`${options.seed} ${describe(target)}`)]))
    return wanted.sort((a, b) => (order.get(a) ?? '') < (order.get(b) ?? '') ? -1 : 1).slice(0, limit)
  })
}

function describe({ file, line, column, change }: Target): string {
  return `${file}:${line}:${column} ${change}`
}

/** A test file that loads the file in another state than it was measured in may execute any line of it. */
function executes(test: string, target: Target): boolean {
  const executed = measurements[test]?.executed[target.file]
  if (executed === undefined) return false
  return executed.hash !== hashOf(sources.get(target.file) ?? '') || executed.ranges.some(([from, to]) => from <= target.start && target.start < to)
}

async function judge(target: Target): Promise<Verdict> {
  const change: Change = { url: pathToFileURL(join(root, target.file)).href, start: target.start, end: target.end, text: target.text }
  const reaching = tests.filter((file) => executes(file, target))
  let spent = 0
  let tried = 0
  for (const file of reaching) {
    if (tried > 0 && spent + secondsOf(file) > budget) break
    const end = await run(file, 5 + 4 * secondsOf(file), { MUTANT: JSON.stringify(change) })
    spent += secondsOf(file)
    tried += 1
    const counts = worth.get(file)
    if (counts !== undefined) counts.runs += 1
    if (end === 'passed') continue
    if (counts !== undefined) counts.kills += 1
    console.log(`${end === 'failed' ? 'killed' : end} ${describe(target)} # ${file}`)
    return end === 'failed' ? 'killed' : end
  }
  const verdict = reaching.length === 0 ? 'no coverage' : 'survived'
  console.log(`${verdict} ${describe(target)} # ${tried} of ${reaching.length} test files`)
  return verdict
}

function report(): void {
  console.log(`\n${verdicts.size} mutants in ${((performance.now() - started) / 60_000).toFixed(1)} minutes, seed ${options.seed}`)
  for (const room of options.room) {
    const own = [...verdicts].filter(([target]) => target.room === room).map(([, verdict]) => verdict)
    const count = (verdict: Verdict): number => own.filter((other) => other === verdict).length
    const found = count('killed') + count('timed out')
    const score = own.length === 0 ? 'none' : `${(100 * found / own.length).toFixed(1)} %`
    console.log(
      `${room}: ${count('killed')} killed, ${count('timed out')} timed out, ${count('survived')} survived, ${
        count('no coverage')
      } without coverage; score ${score}`
    )
  }
  console.log('\nTest files, by seconds: mutants that they ran, and that no cheaper file killed before them')
  for (const [file, { runs, kills }] of worth) if (runs > 0) console.log(`${secondsOf(file).toFixed(1)} s  ${runs} run, ${kills} killed  ${file}`)
  console.log('\nSurvivors')
  for (const [target, verdict] of [...verdicts].sort(([a], [b]) => a.file.localeCompare(b.file) || a.start - b.start)) {
    if (verdict === 'survived' || verdict === 'no coverage') console.log(`${verdict} ${describe(target)}`)
  }
}
