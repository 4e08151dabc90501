// Every kind of tampering with an audit trail, as often as the argument says (default 1,000; a second one is a part of the names of kinds), for `audit verify` and for the verifier in Python.
// Then writers that are killed: a crash must be told as one, never as tampering, and no line that a key use has waited for may be missing.
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { Witness } from '../../src/observe/audit-verify.ts'
import { auditEntry, chained, newAuditKey, tamperings, verifyFiles, writeTrail } from '../support/audit-rig.ts'

const times = Number(process.argv[2] ?? 1000)
const folder = mkdtempSync(join(tmpdir(), 'sealgate-audit-'))
const key = newAuditKey()
const hex = key.key.export().toString('hex')
let faults = 0

const driver = `
import sys, json
sys.path.insert(0, ${JSON.stringify(join(import.meta.dirname, '../../docs/break-glass'))})
sys.dont_write_bytecode = True
import sealgate_audit
for line in sys.stdin:
    case = json.loads(line)
    print(sealgate_audit.verify(case["files"], {"local:main:1": bytes.fromhex("${hex}")}, case["witnesses"])[0], flush=True)
`
const python = spawn('python3', ['-c', driver], { stdio: ['pipe', 'pipe', 'inherit'] })
const answers = createInterface({ input: python.stdout })[Symbol.asyncIterator]()

/** The exit status of the verifier in Python. */
async function secondOpinion(files: readonly Buffer[], witnesses: readonly Witness[]): Promise<number> {
  const names = files.map((bytes, i) => {
    const name = join(folder, `case-${i}`)
    writeFileSync(name, bytes)
    return name
  })
  const last: Record<string, number> = {}
  for (const { run, head: { seq } } of witnesses) last[run] = Math.max(last[run] ?? 0, seq)
  python.stdin.write(`${JSON.stringify({ files: names, witnesses: last })}\n`)
  const { value } = await answers.next()
  return Number(value)
}

function fault(what: string, files: readonly Buffer[]): void {
  faults += 1
  const kept = join(tmpdir(), `sealgate-audit-fault-${process.pid}-${faults}`)
  if (faults <= 10) writeFileSync(kept, Buffer.concat(files))
  console.log(`FAULT ${what}: ${kept}`)
}

let trail = await writeTrail(folder, key)
let found = 0
let tried = 0
const wanted = Object.entries(tamperings).filter(([name]) => name.includes(process.argv[3] ?? ''))
for (const [name, tamper] of wanted) {
  let here = 0
  const kinds = new Map<string, number>()
  for (let i = 0; i < times; i += 1) {
    if (i % 50 === 0) {
      const place = mkdtempSync(join(folder, 'trail-'))
      trail = await writeTrail(place, key)
      const verdict = await verifyFiles(trail.files, [key], trail.witnesses)
      if (verdict.fault !== null || verdict.runs.some(({ end }) => end === 'open')) fault('an untouched trail', trail.files)
      if (await secondOpinion(trail.files, trail.witnesses) !== 0) fault('an untouched trail, Python', trail.files)
      rmSync(place, { recursive: true })
    }
    const place = mkdtempSync(join(folder, 'tampered-'))
    const { files, witnessed } = await tamper(trail, place)
    rmSync(place, { recursive: true })
    const witnesses = witnessed === true ? trail.witnesses : []
    const verdict = await verifyFiles(files, [key], witnesses)
    tried += 1
    if (verdict.fault === null) fault(`${name}: not found`, files)
    else here += 1
    if (await secondOpinion(files, witnesses) !== 4) fault(`${name}: not found by Python`, files)
    const kind = verdict.fault?.kind ?? 'none'
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  found += here
  console.log(`${here}/${times} ${name}  (${[...kinds].map(([kind, count]) => `${kind} ${count}`).join(', ')})`)
}

const kills = Math.max(5, Math.ceil(times / 20))
const writer = join(folder, 'writer.mjs')
writeFileSync(
  writer,
  `import { auditEntry, chained } from ${JSON.stringify(join(import.meta.dirname, '../support/audit-rig.ts'))}
import { createSecretKey } from 'node:crypto'
const trail = chained(process.argv[2], { id: 'local:main:1', key: createSecretKey(Buffer.from('${hex}', 'hex')) })
for (let i = 1;; i += 1) {
  trail.record({ ...auditEntry, key: 'k'.repeat(900 * (i % 5)) })
  if (i % 100 === 0) { process.send(i); await new Promise(setImmediate) }
}
`
)
let torn = 0
let lines = 0
for (let kill = 0; kill < kills; kill += 1) {
  const path = join(folder, 'killed')
  rmSync(path, { force: true })
  const told: number[] = []
  const children = [0, 1, 2].map((i) => {
    const child = fork(writer, [path])
    child.on('message', (count: number) => {
      told[i] = count
    })
    return child
  })
  await Promise.all(children.map((child) => once(child, 'message')))
  for (const child of children) {
    await delay(Math.random() * 30)
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const verdict = await verifyFiles([readFileSync(path)], [key])
  const opened = verdict.runs.filter(({ end }) => end === 'open').length
  if (verdict.fault !== null || opened !== 3) fault(`a crash: ${JSON.stringify(verdict.fault)}`, [readFileSync(path)])
  if (verdict.lines < told.reduce((sum, count) => sum + count, 0)) fault('lines are missing after a crash', [readFileSync(path)])
  if (await secondOpinion([readFileSync(path)], []) !== 0) fault('a crash, Python', [readFileSync(path)])
  const after = chained(path, key)
  after.record(auditEntry)
  await after.close()
  const again = await verifyFiles([readFileSync(path)], [key])
  if (again.fault !== null) fault(`a start after a crash: ${JSON.stringify(again.fault)}`, [readFileSync(path)])
  torn += again.torn
  lines += again.lines
}
console.log(`${kills} times three writers killed: ${lines} lines, ${torn} torn, told as a crash each time`)

python.stdin.end()
rmSync(folder, { recursive: true })
console.log(`${found} of ${tried} tamperings of ${wanted.length} kinds found, ${faults} faults`)
process.exitCode = faults === 0 ? 0 : 1
