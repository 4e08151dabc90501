// The whole fault matrix, in minutes: node test/campaigns/faults.ts [one in how many] [name of a script]
import process from 'node:process'
import { cases, runCases } from '../gateway/fault-matrix.ts'

const [every = '1', name] = process.argv.slice(2)
const chosen = (await cases(Number(every))).filter(({ script }) => name === undefined || script.name === name)
console.log(`${chosen.length.toLocaleString('en')} cases`)
const { runs, acknowledged, problems, leaked } = await runCases(chosen, 8, (done) => { if (done % 500 === 0) console.log(`${done} runs`) })
console.log(problems.join('\n'))
console.log(`${runs.toLocaleString('en')} runs, ${acknowledged.toLocaleString('en')} acknowledged and kept, ${problems.length} violations, ${leaked} connections left`)
process.exitCode = problems.length + leaked === 0 ? 0 : 1
