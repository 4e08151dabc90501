import fc from 'fast-check'
import t from 'tap'
import { FairCache } from '../../src/collections/bounded-cache.ts'

await t.test('one owner of ever new entries drives out its own', async (t) => {
  const cache = new FairCache<number>(10)
  for (let i = 0; i < 3; i += 1) cache.set(`b${i}`, i, 'b')
  for (let i = 0; i < 1000; i += 1) cache.set(`a${i}`, i, 'a')
  t.same([0, 1, 2].map((i) => cache.get(`b${i}`)), [0, 1, 2])
  t.equal(cache.size, 10)
  t.equal(cache.get('a999'), 999, 'the newest stays')
})

await t.test('all of it is one owner\'s until others come, and then shared', async (t) => {
  const cache = new FairCache<number>(10)
  for (let i = 0; i < 10; i += 1) cache.set(`a${i}`, i, 'a')
  t.equal(cache.size, 10)
  for (let i = 0; i < 50; i += 1) cache.set(`b${i}`, i, 'b')
  const held = (owner: string) => Array.from({ length: 50 }, (_, i) => cache.get(`${owner}${i}`)).filter((value) => value !== undefined).length
  t.same([held('a'), held('b')], [5, 5])
})

await t.test('never more than its bound, never another value than the last one set, and an owner below its share loses nothing', async () => {
  const step = fc.record({ owner: fc.constantFrom('a', 'b', 'c'), key: fc.nat(15), does: fc.constantFrom('set', 'get', 'delete', 'sweep') })
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const cache = new FairCache<number>(6)
    const last = new Map<string, { value: number; owner: string }>()
    for (const [i, { owner, key, does }] of steps.entries()) {
      const name = String(key)
      const heldBy = (who: string) => [...last].filter(([each, { owner: of }]) => of === who && cache.get(each) !== undefined).map(([each]) => each)
      const small = ['a', 'b', 'c'].filter((each) => each !== owner).flatMap((each) => heldBy(each).length <= 2 ? heldBy(each) : [])
      if (does === 'set') {
        cache.set(name, i, owner)
        last.set(name, { value: i, owner })
        if (cache.get(name) !== i) return false
        if (small.some((each) => cache.get(each) === undefined)) return false
      } else if (does === 'delete') {
        cache.delete(name)
        if (cache.get(name) !== undefined) return false
      } else if (does === 'sweep') {
        cache.sweep((value) => value % 2 === 0)
        if ([...last].some(([each, { value }]) => value % 2 === 0 && cache.get(each) === value)) return false
      }
      const value = cache.get(name)
      if (value !== undefined && value !== last.get(name)?.value) return false
      if (cache.size > 6) return false
    }
    return true
  }))
})
