import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { lastUses } from '../../src/observe/audit-search.ts'

const folder = await mkdtemp(join(tmpdir(), 'sealgate-audit-'))
t.teardown(() => rm(folder, { recursive: true }))
const at = { bucket: 'b', key: 'k"ü' }
const line = (time: string, more: object = {}) =>
  JSON.stringify({ time, principal: 'p', operation: 'GetObject', ...at, action: 'unwrap', outcome: 'ok', ...more })
const found = async (text: string, most = 3) => {
  await writeFile(join(folder, 'audit'), text)
  const { uses, whole } = await lastUses(join(folder, 'audit'), at, most)
  return [uses.map(({ time }) => time), whole]
}

await t.test('the latest first, of exactly this object, over the borders of what is read at once', async (t) => {
  t.strictSame(await found(''), [[], true])
  t.strictSame(await found(`${line('1')}\n${line('2', { key: 'k' })}\n${line('3', { bucket: 'c' })}\n${line('4')}\n`), [['4', '1'], true])
  t.strictSame(await found(`torn ${line('1')}\n${line('2')}\n{"key":"k\\"ü"`), [['2'], true])
  const filler = `${line('x', { key: 'other' })}\n`
  for (const before of [0, 1, 7, filler.length - 1]) {
    // About 2.3 MiB behind each: every use lies in another read.
    const rest = filler.repeat(Math.ceil(2.3 * 1024 * 1024 / filler.length))
    const text = `${' '.repeat(before)}${line('1')}\n${rest}${line('2')}\n${rest}${line('3')}\n${line('4')}\n`
    t.strictSame(await found(text, 10), [['4', '3', '2', '1'], true])
    t.strictSame(await found(text, 2), [['4', '3'], false])
  }
})

await t.test('a line that is longer than any is passed over, and costs no more than its bytes', async (t) => {
  const long = JSON.stringify({ ...at, time: 'long', context: { c: 'c'.repeat(3 * 1024 * 1024) } })
  t.strictSame(await found(`${line('1')}\n${long}\n${line('2')}\n`), [['2', '1'], true])
})

await t.rejects(lastUses(join(folder, 'none'), at, 1), { code: 'ENOENT' })
