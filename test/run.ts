// Runs every test file under tap and prints one last line that machines read: "N passed, N failed".
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import process from 'node:process'

const tap = spawn('tap', ['--reporter=tap', ...process.argv.slice(2)], { stdio: ['ignore', 'pipe', 'inherit'] })
const total = { pass: 0, fail: 0 }
let inDiagnostic = false

for await (const line of createInterface({ input: tap.stdout })) {
  const point = /^(\s*)(not ok|ok) \d+\b/.exec(line)
  if (point !== null) inDiagnostic = point[2] === 'not ok'
  const sum = /^# \{ total: \d+(?:, pass: (\d+))?(?:, fail: (\d+))?/.exec(line)
  if (sum !== null) Object.assign(total, { pass: Number(sum[1] ?? 0), fail: Number(sum[2] ?? 0) })
  // Counts that long loops print as comments ("# 220,000 tampered objects, 0 accepted") belong in the output.
  const comment = /^\s*# (?!Subtest|time=|No coverage|\{ total)(.+)$/.exec(line)
  if (inDiagnostic) console.log(line)
  else if (comment !== null) console.log(comment[1])
  else if (point?.[1] === '') console.log(line)
}
const code = await new Promise<number>((resolve) => tap.on('close', (status) => resolve(status ?? 1)))
if (code !== 0 && total.fail === 0) total.fail = 1
console.log(`${total.pass} passed, ${total.fail} failed`)
process.exitCode = total.fail === 0 ? 0 : 1
