import { setImmediate as tick } from 'node:timers/promises'
import t from 'tap'
import { Turns } from '../../src/concurrency/turns.ts'

void t.test('one at a time for each name, in order, even after a failure', async (t) => {
  const turns = new Turns()
  const log: string[] = []
  const work = (name: string, fails = false) =>
    turns.take(name[0]!, async () => {
      log.push(`${name} begins`)
      await tick()
      log.push(`${name} ends`)
      if (fails) throw new Error(name)
      return name
    })
  const all = await Promise.allSettled([work('a1'), work('a2', true), work('b1'), work('a3')])
  t.strictSame(all.map((one) => one.status === 'fulfilled' ? one.value : String(one.reason)), ['a1', 'Error: a2', 'b1', 'a3'])
  t.strictSame(log.filter((line) => line.startsWith('a')), ['a1 begins', 'a1 ends', 'a2 begins', 'a2 ends', 'a3 begins', 'a3 ends'])
  t.ok(log.indexOf('b1 begins') < log.indexOf('a1 ends'), 'other names do not wait')
  t.equal(await work('a4'), 'a4')
})
