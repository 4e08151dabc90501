import t from 'tap'
import { RateWatch } from '../../src/upstream/exchange.ts'

await t.test('slow for a whole window is too slow', async (t) => {
  const watch = new RateWatch(100, 10)
  const verdicts = Array.from({ length: 20 }, () => watch.tooSlow(1, 99, true))
  t.equal(verdicts.indexOf(true), 9)
  t.equal(verdicts.lastIndexOf(true), 19)
})

await t.test('an average: a burst carries the pause after it', async (t) => {
  const watch = new RateWatch(100, 10)
  t.notOk(watch.tooSlow(1, 1000, true))
  for (let i = 0; i < 9; i += 1) t.notOk(watch.tooSlow(1, 0, true))
  for (let i = 0; i < 9; i += 1) t.notOk(watch.tooSlow(1, 0, true))
  t.ok(watch.tooSlow(1, 0, true))
})

await t.test('time in which our side is the slow one does not count', async (t) => {
  const watch = new RateWatch(100, 10)
  for (let i = 0; i < 100; i += 1) t.notOk(watch.tooSlow(1, 0, i % 9 !== 0))
})

await t.test('0 switches it off', async (t) => {
  const watch = new RateWatch(0, 1)
  for (let i = 0; i < 100; i += 1) t.notOk(watch.tooSlow(1, 0, true))
})
