import t from 'tap'
import { createLog } from '../../src/observe/log.ts'

await t.test('only a log that writes to standard output has a timer', async (t) => {
  const timers = t.capture(globalThis, 'setInterval', setInterval)
  createLog({ level: 'silent' })
  createLog({ level: 'info', write: () => undefined })
  t.equal(timers().length, 0)
  createLog({ level: 'info' })
  t.equal(timers().length, 1)
})

await t.test('a log is flushed also where it has no destination', async (t) => {
  const lines: string[] = []
  const log = createLog({
    level: 'info',
    write: (line) => {
      lines.push(line)
    }
  })
  log.event('info', 'something', { count: 1 })
  await log.flush()
  t.match(JSON.parse(lines.join('')), { level: 'info', msg: 'something', count: 1 })
  const silent = createLog({ level: 'silent' })
  silent.event('error', 'nothing')
  await silent.flush()
})
