// A guided fuzzer over every parser (docs/decisions/0016-growth-and-fuzzing.md): inputs that reach a block of src for the first time
// are kept and changed further. Prints what was executed and found. node test/campaigns/fuzz.ts [seconds] [executions]
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { coverage } from '../support/coverage-hooks.ts'
import { units } from '../support/endless.ts'
import type { Parser } from '../support/parsers.ts'

const { isRefusal, parsers } = await import('../support/parsers.ts')

/** Milliseconds that one input may take, the best of several runs: inputs are short. */
const inputMs = 50
const longest = 4096
/** Milliseconds of one parser before the next has its turn. */
const turnMs = 100
const folder = join(import.meta.dirname, '..', 'corpus')

const seconds = Number(process.argv[2] ?? 60)
const executions = Number(process.argv[3] ?? Number.POSITIVE_INFINITY)

interface Target {
  readonly parser: Parser
  readonly file: string
  corpus: Buffer[]
  count: number
  slowest: number
}

const targets = parsers.map((parser): Target => {
  const file = join(folder, `${parser.name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.json`)
  const kept = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) as string[] : []
  const corpus = [...parser.seeds.map((seed) => Buffer.from(seed.replaceAll('§', ''), 'latin1')), ...kept.map((text) => Buffer.from(text, 'base64'))]
  return { parser, file, corpus, count: 0, slowest: 0 }
})

// Refusals are errors: their stacks would cost more than what is tried.
Error.stackTraceLimit = 0
const findings = new Map<string, string>()
let state = 0x9e3779b9

/** xorshift32: one run is like another. */
function random(below: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % below
}

function pick<T>(list: readonly T[]): T {
  return list[random(list.length)] as T
}

function changed(corpus: readonly Buffer[]): Buffer {
  let input = Buffer.from(pick(corpus))
  for (let changes = 1 + random(4); changes > 0; changes -= 1) {
    const at = random(input.length + 1)
    const length = random(1 + Math.min(input.length - at, 16))
    switch (random(8)) {
      case 0:
        if (at < input.length) input[at] = (input[at] ?? 0) ^ (1 << random(8))
        break
      case 1:
        if (at < input.length) input[at] = random(256)
        break
      case 2:
        input = Buffer.concat([input.subarray(0, at), Buffer.from(pick(units), 'latin1'), input.subarray(at)])
        break
      case 3:
        input = Buffer.concat([input.subarray(0, at), input.subarray(at + length)])
        break
      case 4:
        input = Buffer.concat([input.subarray(0, at + length), input.subarray(at)])
        break
      case 5:
        input = Buffer.concat([input.subarray(0, at), pick(corpus).subarray(random(64))])
        break
      case 6:
        input = Buffer.concat([input.subarray(0, at), Buffer.from(pick(units).repeat(1 + random(random(20) === 0 ? 500 : 8)), 'latin1'), input.subarray(at)])
        break
      default:
        if (at < input.length) input[at] = pick([0, 9, 10, 13, 32, 34, 38, 39, 47, 48, 57, 60, 62, 127, 128, 255])
    }
  }
  return input.length > longest ? input.subarray(0, longest) : input
}

async function run(target: Target, input: Buffer): Promise<void> {
  const started = performance.now()
  await attempt(target, input)
  const took = performance.now() - started
  target.count += 1
  if (took <= inputMs) return
  // Another process may have had the processor: the best of several is the input's own.
  let best = took
  for (let again = 0; again < 4; again += 1) {
    const from = performance.now()
    await attempt(target, input)
    best = Math.min(best, performance.now() - from)
  }
  target.slowest = Math.max(target.slowest, best)
  if (best > inputMs) found(target, `takes ${best.toFixed(0)} ms`, input)
}

async function attempt(target: Target, input: Buffer): Promise<void> {
  try {
    const running = target.parser.run(input)
    if (running instanceof Promise) await running
  } catch (error) {
    if (isRefusal(error)) return
    Error.stackTraceLimit = 10
    const again = await Promise.resolve().then(() => target.parser.run(input)).then(() => error, (second: unknown) => second)
    Error.stackTraceLimit = 0
    found(target, String((again as Error).stack).split('\n').slice(0, 3).join(' '), input)
  }
}

function found({ parser }: Target, what: string, input: Buffer): void {
  const key = `${parser.name}: ${what.replaceAll(/\d+ ms/g, 'long')}`
  if (findings.has(key)) return
  findings.set(key, input.toString('base64'))
  console.log(`FOUND ${parser.name}: ${what}\n  ${input.toString('base64').slice(0, 2000)}`)
}

/** The shortest inputs that together reach what all reach. */
async function minimised(target: Target): Promise<Buffer[]> {
  coverage.reached.fill(0)
  const kept: Buffer[] = []
  for (const input of target.corpus.toSorted((a, b) => a.length - b.length)) {
    const before = coverage.news
    await attempt(target, input)
    if (coverage.news > before) kept.push(input)
  }
  return kept
}

const stop = new AbortController()
process.on('SIGTERM', () => {
  stop.abort()
})
process.on('SIGINT', () => {
  stop.abort()
})
const started = performance.now()
const total = (): number => targets.reduce((sum, { count }) => sum + count, 0)
let told = started

for (const target of targets) for (const input of target.corpus) await run(target, input)
while (!stop.signal.aborted && performance.now() - started < seconds * 1000 && total() < executions) {
  for (const target of targets) {
    for (const end = performance.now() + turnMs; performance.now() < end;) {
      const before = coverage.news
      const input = changed(target.corpus)
      await run(target, input)
      if (coverage.news > before) target.corpus.push(input)
    }
    // A tick for signals.
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
  if (performance.now() - told < 60_000) continue
  told = performance.now()
  console.log(
    `${((told - started) / 1000).toFixed(0)} s: ${
      total().toLocaleString('en')
    } executions, ${coverage.news} of ${coverage.places} places, ${findings.size} findings`
  )
}

const reached = coverage.news
mkdirSync(folder, { recursive: true })
for (const target of targets) {
  const before = target.corpus.length
  const corpus = await minimised(target)
  writeFileSync(target.file, `${JSON.stringify(corpus.map((input) => input.toString('base64')), null, 0)}\n`)
  console.log(`${target.parser.name}: ${target.count.toLocaleString('en')} executions, corpus ${before} minimised to ${corpus.length}`)
}
console.log(
  `${total().toLocaleString('en')} executions of ${targets.length} parsers in ${
    ((performance.now() - started) / 1000).toFixed(0)
  } s, ${reached} of ${coverage.places} places of src reached, ${findings.size} findings`
)
process.exitCode = findings.size === 0 ? 0 : 1
