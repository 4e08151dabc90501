// The whole fault matrix, in a quarter of an hour: node test/campaigns/faults.ts [part, such as 1/3] [name of a script]
// The cases of npm test, chosen anew after a change of the operations: node test/campaigns/faults.ts sample
import { writeFileSync } from 'node:fs'
import process from 'node:process'
import { chooseSample, faults, runCases, wholeMatrix } from '../gateway/fault-matrix.ts'
import { scripts } from '../gateway/fault-scripts.ts'

const [part = '1/1', name] = process.argv.slice(2)
if (part === 'sample') {
  const rows = (await chooseSample()).map((one) => `  ${JSON.stringify(one)}`)
  writeFileSync(new URL('../gateway/fault-sample.json', import.meta.url), `[\n${rows.join(',\n')}\n]\n`)
  console.log(`${rows.length} cases chosen`)
  process.exit()
}
const [turn = 1, parts = 1] = part.split('/').map(Number)
const { cases, points } = await wholeMatrix()
const chosen = cases.filter(({ script }, i) => i % parts === turn - 1 && (name === undefined || script.name === name))
console.log(
  `${scripts.length} operations, ${points} requests to the store, ${Object.keys(faults).length} faults: ${cases.length.toLocaleString('en')} cases, of which ${
    chosen.length.toLocaleString('en')
  } run`
)
const told = { runs: 0, problems: 0, missed: 0 }
const { runs, acknowledged, problems, missed } = await runCases(chosen, 8, (summary) => {
  for (const problem of summary.problems.slice(told.problems)) console.log(problem)
  for (const one of summary.missed.slice(told.missed)) console.log(`never came: ${one}`)
  if (summary.runs >= told.runs + 500) console.log(`${summary.runs} runs`)
  Object.assign(told, { runs: summary.runs - summary.runs % 500, problems: summary.problems.length, missed: summary.missed.length })
})
console.log(
  `${runs.toLocaleString('en')} runs, ${
    acknowledged.toLocaleString('en')
  } acknowledged and kept, ${problems.length} violations, ${missed.length} requests that never came`
)
process.exitCode = problems.length === 0 ? 0 : 1
