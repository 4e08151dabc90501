// The whole fault matrix, in minutes: node test/campaigns/faults.ts [one in how many] [name of a script]
import process from 'node:process'
import { faults, runCases, wholeMatrix } from '../gateway/fault-matrix.ts'
import { scripts } from '../gateway/fault-scripts.ts'

const [every = '1', name] = process.argv.slice(2)
const { cases, points } = await wholeMatrix()
const chosen = cases.filter(({ script }, i) => i % Number(every) === 0 && (name === undefined || script.name === name))
console.log(`${scripts.length} operations, ${points} requests to the store, ${Object.keys(faults).length} faults: ${cases.length.toLocaleString('en')} cases, of which ${chosen.length.toLocaleString('en')} run`)
const { runs, acknowledged, problems } = await runCases(chosen, 8, (done) => { if (done % 500 === 0) console.log(`${done} runs`) })
console.log(problems.join('\n'))
console.log(`${runs.toLocaleString('en')} runs, ${acknowledged.toLocaleString('en')} acknowledged and kept, ${problems.length} violations`)
process.exitCode = problems.length === 0 ? 0 : 1
