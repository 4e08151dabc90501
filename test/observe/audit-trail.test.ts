import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, truncateSync } from 'node:fs'
import { fork, spawn } from 'node:child_process'
import { join } from 'node:path'
import process from 'node:process'
import t from 'tap'
import { openAuditTrail, type AuditTrailOptions } from '../../src/observe/audit-trail.ts'
import { auditEntry as entry, chained, newAuditKey, verifyFiles } from '../support/audit-rig.ts'
import type { AuditEvent } from '../../src/keys/types.ts'

const fileAuditTrail = (file: string) => openAuditTrail({ file })
const key = newAuditKey()

await t.test('one JSON line per use, appended, private', async (t) => {
  const path = join(t.testdir({}), 'audit.log')
  const first = fileAuditTrail(path)
  first.record(entry)
  await first.close()
  const second = openAuditTrail({ file: path, sync: true })
  second.record({ ...entry, action: 'refused', outcome: 'failed', error: 'AccessDenied' })
  await second.close()
  await second.close()
  t.equal(statSync(path).mode & 0o777, 0o600)
  const lines = readFileSync(path, 'utf8').split('\n')
  t.equal(lines.length, 3)
  t.same(JSON.parse(lines[0]!), entry)
  t.match(JSON.parse(lines[1]!), { action: 'refused', error: 'AccessDenied' })
})

await t.test('what else an entry carries stays out, chained or not', async (t) => {
  const folder = t.testdir({})
  const trails = [fileAuditTrail(join(folder, 'plain')), chained(join(folder, 'chained'), key)]
  for (const trail of trails) {
    trail.record({ ...entry, dataKey: 'CANARY' } as AuditEvent)
    await trail.close()
  }
  for (const name of ['plain', 'chained']) t.notMatch(readFileSync(join(folder, name), 'utf8'), /CANARY/)
  const [, line] = readFileSync(join(folder, 'chained'), 'utf8').split('\n')
  const { run, seq, mac, ...fields } = JSON.parse(line!) as AuditEvent & { run: string; seq: number; mac: string }
  t.same(fields, entry)
  t.match({ run, seq, mac }, { run: /^[\w-]{22}$/, seq: 2, mac: /^[\w-]{43}$/ })
})

await t.test('rotation: lines go to the new file after reopen, none is lost', async (t) => {
  const dir = t.testdir({})
  const path = join(dir, 'audit.log')
  const trail = fileAuditTrail(path)
  trail.record({ ...entry, requestId: '1' })
  renameSync(path, join(dir, 'audit.log.1'))
  trail.record({ ...entry, requestId: '2' })
  trail.reopen()
  trail.record({ ...entry, requestId: '3' })
  await trail.close()
  const ids = (name: string) => readFileSync(join(dir, name), 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as AuditEvent).requestId)
  t.same([ids('audit.log.1'), ids('audit.log')], [['1', '2'], ['3']])
})

await t.test('a failed reopen keeps the old file, and its chain', async (t) => {
  const dir = t.testdir({})
  const path = join(dir, 'audit.log')
  const trail = chained(path, key)
  renameSync(path, join(dir, 'audit.log.1'))
  mkdirSync(path)
  chmodSync(path, 0o700)
  t.throws(() => {
    trail.reopen()
  }, { code: 'EISDIR' })
  trail.record(entry)
  await trail.close()
  const bytes = readFileSync(join(dir, 'audit.log.1'))
  t.match(bytes.toString(), /"R1"/)
  t.match(await verifyFiles([bytes], [key], trail.witnesses), { fault: null, lines: 3 })
})

await t.test('a reload without a rotation adds nothing', async (t) => {
  const path = join(t.testdir({}), 'audit.log')
  const trail = chained(path, key)
  const before = statSync(path).size
  trail.reopen()
  t.equal(statSync(path).size, before)
  await trail.close()
})

await t.test('a use that cannot be recorded is not made', async (t) => {
  const trail = fileAuditTrail('/dev/full')
  t.throws(() => {
    trail.record(entry)
  }, { code: 'ServiceUnavailable', status: 503 })
  await trail.close()
  t.throws(() => fileAuditTrail('/nowhere/audit.log'), { code: 'ENOENT' })
  t.throws(() => chained('/dev/full', key), { code: 'ENOSPC' }, 'a start that nothing can be said of is none')
})

await t.test('checkpoints come by time and by bytes; a file that was moved or cut is told', async (t) => {
  const dir = t.testdir({})
  const path = join(dir, 'audit.log')
  const notices: Parameters<NonNullable<AuditTrailOptions['notice']>>[0][] = []
  let heard: () => void = () => undefined
  const trail = openAuditTrail({
    file: path,
    chain: { key, intervalMs: 5 },
    notice: (notice) => {
      notices.push(notice)
      heard()
    }
  })
  const until = async (wanted: Record<string, unknown>) => {
    while (!notices.some((notice) => Object.entries(wanted).every(([name, value]) => Reflect.get(notice, name) === value))) {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      heard = () => {
        resolve(undefined)
      }
      // The timer of the trail alone keeps no process running.
      const busy = setInterval(() => undefined, 1000)
      await promise
      clearInterval(busy)
    }
  }
  trail.record(entry)
  await until({ reason: 'interval', uses: 1 })
  renameSync(path, `${path}.1`)
  await until({ kind: 'moved' })
  trail.reopen()
  await until({ reason: 'rotated' })
  trail.record(entry)
  truncateSync(path, 3)
  await until({ kind: 'cut' })
  await trail.close()
  t.match(await verifyFiles([readFileSync(`${path}.1`)], [key]), { fault: null })
  t.match(await verifyFiles([readFileSync(`${path}.1`), readFileSync(path)], [key]), { fault: { kind: 'missing' } })

  const large = chained(join(dir, 'large'), key)
  for (let i = 0; i < 130; i += 1) large.record({ ...entry, context: { c: 'c'.repeat(8192) } })
  t.equal(large.witnesses.length, 2, 'the start, and one for a mebibyte')
  await large.close()
})

await t.test('processes that share a file do not tear lines, and each has its chain', async (t) => {
  const dir = t.testdir({
    'writer.mjs': `
      import { chained, newAuditKey, auditEntry } from ${JSON.stringify(new URL('../support/audit-rig.ts', import.meta.url).href)}
      import { createSecretKey } from 'node:crypto'
      const [path, id, hex] = process.argv.slice(2)
      const trail = chained(path, { id: 'local:main:1', key: createSecretKey(Buffer.from(hex, 'hex')) })
      for (let i = 0; i < 500; i += 1) trail.record({ ...auditEntry, requestId: id, key: id.repeat(900) })
      await trail.close()`
  })
  const path = join(dir, 'audit.log')
  const hex = key.key.export().toString('hex')
  await Promise.all(['x', 'y'].map(async (id) => once(fork(join(dir, 'writer.mjs'), [path, id, hex]), 'exit')))
  const lines = readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as AuditEvent)
  t.same(['x', 'y'].map((id) => lines.filter(({ requestId, key }) => requestId === id && key === id.repeat(900)).length), [500, 500])
  const { fault, runs } = await verifyFiles([readFileSync(path)], [key])
  t.match([fault, runs.map(({ end }) => end)], [null, ['stop', 'stop']])
})

await t.test('a disk that was full leaves a torn line, which the chain tells', { skip: process.platform === 'linux' ? false : 'needs prlimit' }, async (t) => {
  const dir = t.testdir({
    'writer.mjs': `
      import { spawnSync } from 'node:child_process'
      import { chained, auditEntry } from ${JSON.stringify(new URL('../support/audit-rig.ts', import.meta.url).href)}
      import { createSecretKey } from 'node:crypto'
      const [path, hex] = process.argv.slice(2)
      const trail = chained(path, { id: 'local:main:1', key: createSecretKey(Buffer.from(hex, 'hex')) })
      let refused = 0
      for (let i = 0; i < 200 && refused < 3; i += 1) try { trail.record(auditEntry) } catch (error) { if (error.code === 'ServiceUnavailable') refused += 1 }
      if (spawnSync('prlimit', ['--pid', String(process.pid), '--fsize=unlimited:unlimited']).status !== 0) process.exit(77)
      for (let i = 0; i < 3; i += 1) trail.record(auditEntry)
      await trail.close()
      process.exit(refused === 3 ? 0 : 1)`
  })
  const path = join(dir, 'audit.log')
  // A limit of the size of a file acts as a full disk does: a write is done in part, and the next one fails.
  const limited = spawn('bash', [
    '-c',
    `trap '' XFSZ; ulimit -S -f 16; exec "$@"`,
    'bash',
    process.execPath,
    join(dir, 'writer.mjs'),
    path,
    key.key.export().toString('hex')
  ])
  const [code] = await once(limited, 'exit') as [number]
  if (code === 77) {
    t.comment('prlimit is not there')
    return
  }
  t.equal(code, 0)
  const verdict = await verifyFiles([readFileSync(path)], [key])
  t.match(verdict, { fault: null, torn: 1, runs: [{ end: 'stop' }] })
  t.match(readFileSync(path, 'utf8'), /"reason":"torn",.*"torn":1/)
})
