import { once, EventEmitter } from 'node:events'
import t from 'tap'
import { Progress } from '../../src/cli/progress.ts'

await t.test('a line of JSON for a log, one line that is written again for a terminal, none after the end', async (t) => {
  for (const isTTY of [false, true]) {
    const written = new EventEmitter()
    const lines: string[] = []
    let done = 0
    const progress = new Progress(() => done, {
      isTTY,
      write: (text: string) => {
        lines.push(text)
        written.emit('line')
      }
    }, 1)
    done = 1200
    // The timer alone does not keep a process alive.
    const alive = setInterval(() => undefined, 1000)
    await once(written, 'line')
    progress.total = 2400
    lines.length = 0
    await once(written, 'line')
    clearInterval(alive)
    const [line = ''] = lines
    if (isTTY) t.match(line, /^\r\x1b\[K1,200 of 2,400 objects, \d+ per second, \d+ (s|min) left$/)
    else {
      t.match(JSON.parse(line), { objects: 1200, total: 2400, perSecond: Number, secondsLeft: Number })
      t.ok(line.endsWith('\n'))
    }
    progress.stop()
    t.equal(lines.at(-1), isTTY ? '\r\x1b[K' : line)
  }
})
