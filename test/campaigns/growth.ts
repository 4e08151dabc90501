// Every parser at its own limit with every construct that does not end, at n, 2n and 4n (docs/decisions/0016-growth-and-fuzzing.md).
// node test/campaigns/growth.ts [most bytes] [name of a parser]
import process from 'node:process'
import { growthOf } from '../support/growth.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { httpGrowth } from '../support/http-growth.ts'
import { parsers } from '../support/parsers.ts'

const [most = 'Infinity', named] = process.argv.slice(2)
let cases = 0
const faults: string[] = []
for (const parser of parsers.filter(({ name }) => named === undefined || name === named)) {
  const report = await growthOf([parser], Number(most))
  cases += report.cases
  faults.push(...report.faults)
  const { what, bytes, microseconds } = report.slowest
  console.log(
    `${parser.name}: ${report.cases} cases of ${bytes.toLocaleString('en')} bytes, at most ${
      (microseconds / 1000).toFixed(1)
    } ms (${what}), ${report.faults.length} faults`
  )
  for (const fault of report.faults) console.log(`  FAULT ${fault}`)
}
const store = await startTestStore({ buckets: ['bucket'] })
const gateway = await startTestGateway(store)
const http = await httpGrowth(Number(new URL(gateway.endpoint).port))
await gateway.close()
await store.close()
cases += http.cases
faults.push(...http.faults)
console.log(
  `unauthenticated requests: ${http.cases} cases, at most ${(http.slowest.microseconds / 1000).toFixed(1)} ms (${http.slowest.what}), largest answer ${
    http.largest.toLocaleString('en')
  } bytes`
)
for (const fault of http.faults) console.log(`  FAULT ${fault}`)
console.log(`${cases.toLocaleString('en')} cases, ${faults.length} grow by more than their length`)
process.exitCode = faults.length === 0 ? 0 : 1
