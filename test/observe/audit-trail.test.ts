import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { fileAuditTrail, memoryAuditTrail, streamAuditTrail } from '../../src/observe/audit-trail.ts'
import type { AuditEvent } from '../../src/keys/types.ts'

const entry: AuditEvent = {
  time: '2026-01-02T03:04:05.678Z',
  requestId: 'R1',
  principal: 'AKID',
  sourceAddress: '10.0.0.1',
  operation: 'PutObject',
  bucket: 'b',
  key: 'line\nbreak "ü"',
  versionId: null,
  masterKeyId: 'local:main:1',
  context: { realm: 'default' },
  action: 'generate',
  cached: false,
  outcome: 'ok',
  error: null
}

await t.test('one JSON line per use, appended, private', async (t) => {
  const path = join(t.testdir({}), 'audit.log')
  const first = fileAuditTrail(path)
  first.record(entry)
  first.close()
  const second = fileAuditTrail(path)
  second.record({ ...entry, action: 'refused', outcome: 'failed', error: 'AccessDenied' })
  second.close()
  t.equal(statSync(path).mode & 0o777, 0o600)
  const lines = readFileSync(path, 'utf8').split('\n')
  t.equal(lines.length, 3)
  t.same(JSON.parse(lines[0]!), entry)
  t.match(JSON.parse(lines[1]!), { action: 'refused', error: 'AccessDenied' })
})

await t.test('what else an entry carries stays out', async (t) => {
  const path = join(t.testdir({}), 'audit.log')
  const trail = fileAuditTrail(path)
  trail.record({ ...entry, dataKey: 'CANARY' } as AuditEvent)
  trail.close()
  t.notMatch(readFileSync(path, 'utf8'), /CANARY/)
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
  trail.close()
  const ids = (name: string) => readFileSync(join(dir, name), 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as AuditEvent).requestId)
  t.same([ids('audit.log.1'), ids('audit.log')], [['1', '2'], ['3']])
})

await t.test('a failed reopen keeps the old file', async (t) => {
  const dir = t.testdir({})
  const path = join(dir, 'audit.log')
  const trail = fileAuditTrail(path)
  renameSync(path, join(dir, 'audit.log.1'))
  mkdirSync(path)
  chmodSync(path, 0o700)
  t.throws(() => {
    trail.reopen()
  }, { code: 'EISDIR' })
  trail.record(entry)
  trail.close()
  t.match(readFileSync(join(dir, 'audit.log.1'), 'utf8'), /"R1"/)
})

await t.test('a use that cannot be recorded is not made', async (t) => {
  const trail = fileAuditTrail('/dev/full')
  t.throws(() => {
    trail.record(entry)
  }, { code: 'ServiceUnavailable', status: 503 })
  trail.close()
  t.throws(() => fileAuditTrail('/nowhere/audit.log'), { code: 'ENOENT' })
  const stream = new PassThrough()
  stream.end()
  t.throws(() => {
    streamAuditTrail(stream).record(entry)
  }, { code: 'ServiceUnavailable' })
})

await t.test('processes that share a file do not tear lines', async (t) => {
  const dir = t.testdir({
    'writer.mjs': `
      import { fileAuditTrail } from ${JSON.stringify(new URL('../../src/observe/audit-trail.ts', import.meta.url).href)}
      const [path, id] = process.argv.slice(2)
      const trail = fileAuditTrail(path)
      const entry = { ...${JSON.stringify(entry)}, requestId: id, key: id.repeat(900) }
      for (let i = 0; i < 500; i += 1) trail.record(entry)`
  })
  const path = join(dir, 'audit.log')
  await Promise.all(['x', 'y'].map(async (id) => once(fork(join(dir, 'writer.mjs'), [path, id]), 'exit')))
  const lines = readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as AuditEvent)
  t.same(['x', 'y'].map((id) => lines.filter(({ requestId, key }) => requestId === id && key === id.repeat(900)).length), [500, 500])
})

await t.test('stream and memory twins', async (t) => {
  const stream = new PassThrough()
  const trail = streamAuditTrail(stream)
  trail.record(entry)
  trail.reopen()
  trail.close()
  t.same(JSON.parse((stream.read() as Buffer).toString()), entry)
  const memory = memoryAuditTrail()
  memory.record(entry)
  memory.reopen()
  memory.close()
  t.same(memory.events, [entry])
})
