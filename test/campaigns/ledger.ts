// A ledger of many rows: time for each, and memory, which must stay the same. Takes half a minute:
//   node test/campaigns/ledger.ts [ROWS]   1,000,000
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Ledger } from '../../src/maintenance/ledger.ts'
import { unexamined, type Row } from '../../src/maintenance/engine.ts'

const rows = Number(process.argv[2] ?? 1_000_000)
const folder = mkdtempSync(join(tmpdir(), 'sealgate-ledger-'))
const subject = { command: 'campaign' }
const row = (i: number, etag = `e${i}`): Row => ({
  key: `objects/${i}/name`,
  versionId: null,
  isLatest: true,
  deleteMarker: false,
  size: i,
  etag,
  lastModified: null,
  storageClass: null
})
const MIB = 1024 * 1024
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
function memory(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / MIB
}
const before = memory()
let began = performance.now()
function told(what: string): void {
  const microseconds = (performance.now() - began) * 1000 / rows
  console.log(`${what}: ${microseconds.toFixed(1)} µs for each row; ${memory().toFixed(0)} MiB`)
  began = performance.now()
}
const first = new Ledger(join(folder, 'ledger'), subject, false)
for (let i = 0; i < rows; i += 1) first.note(row(i), unexamined(row(i)))
first.close(false)
told('noted')
const second = new Ledger(join(folder, 'ledger'), subject, true)
told('opened again')
let faults = 0
for (let i = 0; i < rows; i += 1) if (!second.has(row(i))) faults += 1
told('asked for what is in it')
for (let i = 0; i < rows; i += 10) if (second.has(row(i, 'other'))) faults += 1
const grown = memory() - before
second.close(true)
rmSync(folder, { recursive: true })
console.log(`${rows.toLocaleString('en')} rows, ${faults} wrong answers, ${grown.toFixed(0)} MiB more than before`)
process.exitCode = faults === 0 && grown < 16 ? 0 : 1
