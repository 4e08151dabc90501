// Runs every test file under tap and prints one last line that machines read: "N passed, N failed".
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import process from 'node:process'

const tap = spawn('tap', ['--reporter=tap', ...process.argv.slice(2)], { stdio: ['ignore', 'pipe', 'inherit'] })
let passed = 0
let failed = 0
let inDiagnostic = false

for await (const line of createInterface({ input: tap.stdout })) {
  const point = /^(\s*)(not ok|ok) \d+ ?(- .*)?$/.exec(line)
  // A subtest is counted by its own points, so the line that sums it up is not counted again.
  const leaf = point !== null && !/ # time=/.test(line) && !/\{$/.test(line)
  if (point !== null) {
    inDiagnostic = point[2] === 'not ok'
    if (leaf && point[2] === 'ok') passed += 1
    if (point[2] === 'not ok' && (leaf || point[1] === '')) failed += 1
  }
  // Counts that long loops print as comments ("# 220,000 tampered objects, 0 accepted") belong in the output.
  const comment = /^\s*# (?!Subtest|time=|No coverage|\{ total)(.+)$/.exec(line)
  if (inDiagnostic) console.log(line)
  else if (comment !== null) console.log(comment[1])
  else if (point?.[1] === '') console.log(line)
}
const code = await new Promise<number>((resolve) => tap.on('close', (status) => resolve(status ?? 1)))
if (code !== 0 && failed === 0) failed = 1
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = code === 0 && failed === 0 ? 0 : 1
