import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { auditEntry, chained, newAuditKey, tamperings, verifyFiles, writeTrail } from '../support/audit-rig.ts'
import { openAuditTrail } from '../../src/observe/audit-trail.ts'

const key = newAuditKey()
// Not that of tap: it is one for all files that run in a process.
const folder = mkdtempSync(join(tmpdir(), 'sealgate-audit-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})
const trail = await writeTrail(folder, key)

await t.test('a trail of several processes in three files is whole', async (t) => {
  const verdict = await verifyFiles(trail.files, [newAuditKey('local:other:1'), key], trail.witnesses)
  t.match(verdict, { fault: null, plain: 0, torn: 0, earlier: 0 })
  t.equal(verdict.lines, trail.files.join('').split('\n').length - 1)
  t.same(verdict.runs.map(({ end }) => end), ['stop', 'stop', 'stop', 'stop', 'stop', 'stop'])
  t.match(await verifyFiles(trail.files.slice(1), [key]), { fault: null, earlier: 2 }, 'without the oldest')
  t.match(await verifyFiles(trail.files.slice(2), [key]), { fault: null, earlier: 3 })
  t.match(await verifyFiles([Buffer.concat(trail.files)], [key], trail.witnesses), { fault: null }, 'in one file')
  t.match(await verifyFiles(trail.files, [newAuditKey('local:other:1')]), { fault: { kind: 'key', line: 1 } })
  t.match(await verifyFiles(trail.files, [newAuditKey()]), { fault: { kind: 'altered', line: 1 } }, 'the same id, another key')
})

for (const [name, tamper] of Object.entries(tamperings)) {
  await t.test(`found: ${name}`, async (t) => {
    for (let i = 0; i < 6; i += 1) {
      const { files, witnessed } = await tamper(trail, t.testdir({}))
      const { fault } = await verifyFiles(files, [key], witnessed === true ? trail.witnesses : [])
      if (fault === null) t.fail('not found', { file: files.map(String).join('\n---\n') })
      t.ok(fault === null || witnessed === true || fault.line > 0, 'the line is named')
    }
  })
}

await t.test('the line and the kind are those of what was done', async (t) => {
  const lines = trail.files[0]!.toString('latin1').split('\n')
  const found = async (changed: readonly string[]) => (await verifyFiles([Buffer.from(changed.join('\n'), 'latin1')], [key])).fault
  const at = lines.findIndex((line, i) => i > 4 && line.startsWith('{"time"'))
  t.match(await found(lines.with(at, lines[at]!.replace('AKID', 'EVE'))), { kind: 'altered', line: at + 1, file: 'file 1' })
  t.match(await found(lines.toSpliced(at, 0, lines[at]!)), { kind: 'repeated', line: at + 2 })
  t.match(await found(lines.toSpliced(at, 0, '{"time":"now"}')), { kind: 'foreign', line: at + 1 })
  const run = /"run":"[\w-]+"/.exec(lines[at]!)![0]
  const next = lines.findIndex((line, i) => i > at && line.includes(`,${run},`))
  t.match(await found(lines.toSpliced(at, 1)), { kind: 'missing', line: next })
  t.match(await found(lines.slice(1)), { kind: 'missing', line: 1, reason: /bytes were before it/ })
})

await t.test('a crash is told as a crash: at every byte of the last line, alone and before another run', async (t) => {
  const path = join(t.testdir({}), 'audit')
  const first = chained(path, key)
  for (let i = 0; i < 3; i += 1) first.record(auditEntry)
  const whole = readFileSync(path)
  const last = whole.lastIndexOf(0x0a, whole.length - 2) + 1
  // Another process goes on directly behind what was left, or a start makes a new line first.
  const besides = join(t.testdir({}), 'besides')
  const other = chained(besides, key)
  const start = readFileSync(besides)
  const behind = (at: number) => start.toString().replace('"at":0', `"at":${at}`)
  for (let cut = last; cut <= whole.length; cut += 1) {
    const torn = whole.subarray(0, cut)
    const verdict = await verifyFiles([torn], [key])
    t.match(verdict, { fault: null, torn: cut === last || cut >= whole.length - 1 ? 0 : 1, runs: [{ end: 'open' }] }, `cut at ${cut - last}`)
    if (cut % 7 !== 0 && cut < whole.length - 3) continue
    writeFileSync(path, torn)
    const second = chained(path, key)
    second.record(auditEntry)
    await second.close()
    t.match(await verifyFiles([readFileSync(path)], [key]), { fault: null, runs: [{ end: 'open' }, { end: 'stop' }] }, `started behind a cut at ${cut - last}`)
    t.match(await verifyFiles([Buffer.concat([torn, start])], [key]), { fault: null, runs: [{ end: 'open' }, { end: 'open' }] }, `glued at ${cut - last}`)
  }
  t.match(await verifyFiles([Buffer.from(behind(999_999))], [key]), { fault: { kind: 'altered' } })
  t.match(await verifyFiles([Buffer.concat([whole, Buffer.alloc(4096)])], [key]), { fault: null, torn: 1 }, 'zeros after a loss of power')
  await other.close()
  await first.close()
})

await t.test('what a crash leaves is told from what looks like it', async (t) => {
  const folder = t.testdir({})
  const [one, two] = [chained(join(folder, 'one'), key), chained(join(folder, 'two'), key)]
  for (const run of [one, two]) run.record(auditEntry)
  const [first, second] = ['one', 'two'].map((name) => readFileSync(join(folder, name))) as [Buffer, Buffer]
  await one.close()
  await two.close()
  const open = (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)
  const startOfSecond = second.subarray(0, second.indexOf(0x0a) + 1)
  const useOfSecond = second.subarray(startOfSecond.length)
  const found = (...parts: (Buffer | string)[]) => verifyFiles([Buffer.concat(parts.map((part) => Buffer.from(part)))], [key])
  t.match(await found(first, startOfSecond), { fault: null, torn: 0 })
  t.match(await found(first, startOfSecond.subarray(0, 90)), { fault: null, torn: 1 }, 'a run that was killed in its first line')
  t.match(await found(open(first), startOfSecond, useOfSecond), { fault: null, torn: 0, lines: 4 }, 'a line that lacks its end alone')
  t.match(await found(startOfSecond, open(first), useOfSecond.subarray(0, 90)), { fault: null, torn: 1, lines: 3 }, 'the same, and half a line behind it')
  t.match(await found(first, 'garbage', startOfSecond), { fault: { kind: 'missing', line: 3 } }, 'garbage before a line')
  t.match(await found(startOfSecond, first, 'garbage', useOfSecond), { fault: { kind: 'altered', line: 4 } })
  t.match(await found(open(first), 'garbage\n', startOfSecond), { fault: { kind: 'foreign', line: 2 } }, 'and behind one')
  t.match(
    await found(open(first), startOfSecond.toString().replace('"at":0', '"at":9')),
    { fault: { kind: 'altered', line: 2 } },
    'another line behind one that lacks its end'
  )
  t.match(await found(open(first), Buffer.alloc(500)), { fault: null, torn: 1, lines: 2 }, 'zeros behind a line that lacks its end')
  t.match(await found(first, 'x'.repeat(600_000)), { fault: { kind: 'foreign', line: 3 } }, 'bytes without an end')
  t.match(await found(useOfSecond, first), { fault: { kind: 'missing', line: 1, reason: /whose lines before it are missing/ } })
  // As many half lines as there are runs without an end, and no more.
  const half = '{"time":"2026'
  t.match(await found(first, startOfSecond, `${half}\n${half}\n`), { fault: null, torn: 2 })
  t.match(await found(first, startOfSecond, `${half}\n${half}\n${half}\n`), { fault: { kind: 'foreign', line: 4 }, torn: 3 })
  // What was witnessed is another line, as only the holder of the key can make it.
  const { run, head } = one.witnesses[0]!
  t.match(await verifyFiles([first], [key], [{ run, head }]), { fault: null })
  t.match(await verifyFiles([first], [key], [{ run, head: { ...head, mac: Buffer.alloc(32) } }]), { fault: { kind: 'altered', line: 1 } })
  t.match(await verifyFiles([first], [key], [{ run: 'x'.repeat(22), head }]), { fault: { kind: 'missing', line: 0 } }, 'a run that is not there')
})

await t.test('regression: every bit of the last line, whether it is a stop or a use, and whether a run was killed', async (t) => {
  const folder = t.testdir({})
  const path = join(folder, 'short')
  const run = chained(path, key)
  run.record({ ...auditEntry, context: { 'a': 'b', 'mac': 'x'.repeat(43), 'run': 'y'.repeat(22), 'seq': '1' } })
  const killed = readFileSync(path)
  await run.close()
  let tried = 0
  for (const bytes of [killed, readFileSync(path)]) {
    const from = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1
    for (let at = from; at < bytes.length - 1; at += 1) {
      for (let bit = 1; bit < 256; bit *= 2) {
        const changed = Buffer.from(bytes)
        changed[at]! ^= bit
        tried += 1
        if ((await verifyFiles([changed], [key])).fault === null) t.fail(`byte ${at - from}, bit ${bit}: ${changed.subarray(from).toString('latin1')}`)
      }
    }
    for (let length = from + 1; length < bytes.length - 1; length += 1) {
      const { fault, torn } = await verifyFiles([bytes.subarray(0, length)], [key])
      if (fault !== null || torn !== 1) t.fail(`a crash is called tampering: ${bytes.subarray(from, length).toString('latin1')}`)
    }
  }
  t.comment(`${tried} changed bits, each found`)
})

await t.test('lines from the time before the key stand at the beginning, are counted, and nowhere else', async (t) => {
  const path = join(t.testdir({}), 'audit')
  const plain = openAuditTrail({ file: path })
  for (let i = 0; i < 3; i += 1) plain.record(auditEntry)
  const run = chained(path, key)
  run.record(auditEntry)
  await run.close()
  t.match(await verifyFiles([readFileSync(path)], [key]), { fault: null, plain: 3, lines: 3 })
  plain.record(auditEntry)
  await plain.close()
  t.match(await verifyFiles([readFileSync(path)], [key]), { fault: { kind: 'foreign', line: 7 } })
  t.match(await verifyFiles([readFileSync(path).subarray(0, 300)], [key]), { fault: { kind: 'foreign', line: 0 } }, 'nothing is protected')
  t.match(await verifyFiles([], [key]), { fault: { line: 0 } })
})

await t.test('a stop, a rotation and a start: the new file names the end of the old one', async (t) => {
  const path = join(t.testdir({}), 'audit.jsonl')
  for (let i = 0; i < 3; i += 1) {
    const run = chained(path, key)
    run.record(auditEntry)
    await run.close()
    renameSync(path, `${path}.${3 - i}`)
  }
  const [one, two, three] = [3, 2, 1].map((i) => readFileSync(`${path}.${i}`)) as [Buffer, Buffer, Buffer]
  t.match(await verifyFiles([one, two, three], [key]), { fault: null, earlier: 0 })
  t.match(await verifyFiles([one, three], [key]), { fault: { kind: 'missing', line: 1 } })
  t.match(await verifyFiles([two, three], [key]), { fault: null, earlier: 1 })
})

await t.test('no line costs more than its length', async (t) => {
  const start = '{"time":"'
  for (const line of [start.repeat(25_000), `${trail.files[0]!.subarray(0, 200).toString('latin1')}${start.repeat(20_000)}`, 'x'.repeat(300_000)]) {
    const bytes = Buffer.concat([trail.files[0]!.subarray(0, trail.files[0]!.indexOf(0x0a) + 1), Buffer.from(`${line}\n`)])
    const { fault } = await verifyFiles([bytes], [key])
    t.ok(fault === null || fault.kind === 'foreign' || fault.kind === 'missing' || fault.kind === 'altered')
  }
  const path = join(t.testdir({}), 'audit')
  const run = chained(path, key)
  // A client's context with the beginnings of lines.
  run.record({ ...auditEntry, context: { 'a': start, '{"time":"': '}{"time":"' } })
  run.record({ ...auditEntry, key: '\u0000'.repeat(1024), context: { a: '\u0001'.repeat(8192) } })
  await run.close()
  t.match(await verifyFiles([readFileSync(path)], [key]), { fault: null, lines: 4 })
})
