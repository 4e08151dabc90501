// npm run bench [-- NAME …] [-- --quick]: what the gateway costs, each row measured side by side with what it is set against.
// Ratios count; absolute figures are of this machine and this minute.
import process from 'node:process'
import { completes } from './complete.ts'
import { growth } from './growth.ts'
import { large } from './large.ts'
import { listings } from './listings.ts'
import { memory } from './memory.ts'
import { ranges } from './ranges.ts'
import { Rig, say } from './rig.ts'
import { small } from './small.ts'
import { workers } from './workers.ts'

const benchmarks = { large, small, listings, ranges, completes, growth, workers, memory } as const
type Name = keyof typeof benchmarks

const args = process.argv.slice(2)
const quick = args.includes('--quick')
const named = args.filter((arg) => arg !== '--quick')
const unknown = named.find((name) => !Object.hasOwn(benchmarks, name))
if (unknown !== undefined) {
  say(`There is no benchmark ${unknown}. There are: ${Object.keys(benchmarks).join(', ')}.`)
  process.exit(2)
}
for (const name of (named.length === 0 ? Object.keys(benchmarks) : named) as Name[]) {
  say(`== ${name}`)
  const rig = new Rig()
  try {
    await benchmarks[name](rig, quick)
  } finally {
    await rig.close()
  }
  say()
}
process.exit(0)
