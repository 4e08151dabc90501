import t from 'tap'
import * as fc from 'fast-check'
import { InOrder } from '../../src/concurrency/in-order.ts'

await t.test('results come in the order of their beginnings, whatever the order of their ends', async (t) => {
  const ends = fc.integer({ min: 0, max: 60 }).chain((count) => {
    const places = Array.from({ length: count }, (_, i) => i)
    return fc.tuple(fc.shuffledSubarray(places, { minLength: count }), fc.subarray(places), fc.subarray(places))
  })
  await fc.assert(fc.asyncProperty(ends, async ([order, empty, never]) => {
    const taken: number[] = []
    const results = new InOrder<number>(1000, async (place) => {
      await Promise.resolve()
      taken.push(place)
    })
    for (const i of order.keys()) if (results.begin() !== i) throw new Error('places are counted')
    await Promise.all(order.filter((place) => !never.includes(place)).map((place) => results.end(place, empty.includes(place) ? null : place)))
    await results.flush()
    const wanted = [...order.keys()].filter((place) => !never.includes(place) && !empty.includes(place))
    if (JSON.stringify(taken) !== JSON.stringify(wanted)) throw new Error(`${taken.join()} is not ${wanted.join()}`)
  }))
  t.pass()
})

await t.test('work waits once too many results do, until the first ends or stops', async (t) => {
  for (const how of ['ends', 'stops'] as const) {
    const taken: number[] = []
    const results = new InOrder<number>(2, (place) => {
      taken.push(place)
    })
    for (let i = 0; i < 4; i += 1) results.begin()
    await results.end(1, 1)
    await results.end(2, 2)
    let over = false
    const third = results.end(3, 3).then(() => {
      over = true
    })
    await new Promise(setImmediate)
    t.strictSame([taken, over], [[], false])
    if (how === 'ends') await results.end(0, 0)
    else results.stop()
    await third
    await results.flush()
    t.strictSame(taken, how === 'ends' ? [0, 1, 2, 3] : [1, 2, 3])
  }
})

await t.test('a failure to take one is told, and ends it', async (t) => {
  const results = new InOrder<number>(10, () => Promise.reject(new Error('full')))
  for (let i = 0; i < 2; i += 1) results.begin()
  await results.end(1, 1)
  await t.rejects(results.end(0, 0), { message: 'full' })
  await t.rejects(results.flush(), { message: 'full' })
})
