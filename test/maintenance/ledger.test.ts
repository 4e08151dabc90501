import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Finding, Row } from '../../src/maintenance/engine.ts'
import { Ledger, type LedgerSubject } from '../../src/maintenance/ledger.ts'

const folder = await mkdtemp(join(tmpdir(), 'sealgate-ledger-'))
t.teardown(() => rm(folder, { recursive: true }))
const subject: LedgerSubject = { command: 'verify', bucket: 'b', configuration: 'c', deep: true }
const row = (key: string, more: Partial<Row> = {}): Row => ({
  key,
  versionId: null,
  isLatest: true,
  deleteMarker: false,
  size: 1,
  etag: 'e',
  lastModified: null,
  storageClass: null,
  ...more
})
const done = ({ key, versionId, etag, size }: Row, more: Partial<Finding> = {}): Finding => ({
  key,
  versionId,
  state: 'sealed',
  size,
  storedBytes: size,
  etag,
  keyId: null,
  detail: '',
  outcome: null,
  verdict: null,
  fault: null,
  lastModified: null,
  ...more
})
const path = (name: string) => join(folder, name)
const noted = (name: string, rows: readonly Row[], resume = false) => {
  const ledger = new Ledger(path(name), subject, resume)
  for (const each of rows) ledger.note(each, done(each))
  ledger.close(false)
}
const known = (name: string, ...rows: readonly Row[]) => {
  const ledger = new Ledger(path(name), subject, true)
  const answers = rows.map((each) => ledger.has(each))
  ledger.close(false)
  return answers
}

await t.test('knows exactly what was noted, while the source shows the same object', async (t) => {
  noted('same', [row('a'), row('b', { versionId: 'v' }), row('', { size: 0, etag: '' }), row('c', { etag: null, size: null })])
  t.strictSame(known('same', row('a'), row('b', { versionId: 'v' }), row('', { size: 0, etag: '' }), row('c', { etag: null, size: null })), [
    true,
    true,
    true,
    true
  ])
  const others = [row('a', { etag: 'f' }), row('a', { size: 2 }), row('a', { versionId: 'v' }), row('b'), row('A'), row('a","e'), row('c'), row('d')]
  t.strictSame(known('same', ...others), others.map(() => false))
  t.equal((await stat(path('same'))).mode & 0o777, 0o600)
  t.strictSame((await readdir(folder)).filter((name) => name.includes('table')), [], 'its table has no name')
  t.notMatch(readFileSync(path('same'), 'latin1').split('\n').slice(1).join('\n'), /"b"|etag/, 'no name is in it')
})

await t.test('what the action has made of the object is what the next listing shows', (t) => {
  const ledger = new Ledger(path('after'), subject, false)
  ledger.note(row('a'), done(row('a'), { etag: 'new', storedBytes: 500 }))
  ledger.note(row('b', { etag: null }), done(row('b'), { etag: 'new', storedBytes: 500 }))
  ledger.close(false)
  t.strictSame(known('after', row('a'), row('a', { etag: 'new', size: 500 }), row('b', { etag: null, size: 500 })), [false, true, true])
  t.end()
})

await t.test('a kill at any byte costs at most what was not written', (t) => {
  const rows = ['a', 'b', 'c'].map((key) => row(key))
  noted('whole', rows)
  const bytes = readFileSync(path('whole'))
  const records = bytes.indexOf('\n') + 1
  for (let length = 0; length <= bytes.length; length += 1) {
    writeFileSync(path('torn'), bytes)
    truncateSync(path('torn'), length)
    const left = Math.max(0, Math.floor((length - records) / 16))
    t.strictSame(known('torn', ...rows), rows.map((_, i) => i < left), `${length} bytes`)
    noted('torn', [row('later')], true)
    t.strictSame(known('torn', row('later')), [true])
  }
  t.end()
})

await t.test('of another run, or of none', (t) => {
  noted('mine', [row('a')])
  for (const [name, value] of [['command', 'scan'], ['bucket', 'c'], ['configuration', 'd'], ['deep', false], ['more', 'x']] as const) {
    t.throws(() => new Ledger(path('mine'), { ...subject, [name]: value }, true), new RegExp(`another ${name}`))
  }
  t.throws(() => new Ledger(path('mine'), { command: 'verify', bucket: 'b', configuration: 'c' }, true), /another deep/)
  t.throws(() => new Ledger(path('mine'), subject, false), { code: 'EEXIST' })
  for (const [i, text] of ['key,versionId\r\n', '{}\n', 'null\n', '{"sealgate":"ledger"}\n', '[]', 'x'.repeat(100_000)].entries()) {
    writeFileSync(path(`other${i}`), text)
    t.throws(() => new Ledger(path(`other${i}`), subject, true), /not a ledger/, text.slice(0, 30))
    t.equal(readFileSync(path(`other${i}`), 'utf8'), text, 'and is left as it is')
  }
  t.throws(() => new Ledger(join(folder, 'none', 'x'), subject, true), { code: 'ENOENT' })
  t.end()
})

await t.test('a run that has seen everything leaves none, and many rows are known in any order', (t) => {
  const rows = Array.from({ length: 5000 }, (_, i) => row(`k${i}`))
  noted('many', rows)
  const ledger = new Ledger(path('many'), subject, true)
  t.ok(rows.toReversed().every((each) => ledger.has(each)))
  t.notOk(rows.some((each) => ledger.has({ ...each, etag: 'other' })))
  t.ok(ledger.begun <= Date.now())
  ledger.close(true)
  t.notOk(existsSync(path('many')))
  t.end()
})
