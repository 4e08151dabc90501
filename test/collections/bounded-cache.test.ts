import fc from 'fast-check'
import t from 'tap'
import { BoundedCache } from '../../src/collections/bounded-cache.ts'

await t.test('what was not asked for goes first, oldest first', async (t) => {
  const gone: string[] = []
  const cache = new BoundedCache<string>(3, (value) => {
    gone.push(value)
  })
  for (const key of ['a', 'b', 'c']) cache.set(key, key)
  cache.get('a')
  cache.set('d', 'd')
  t.same(gone, ['b'])
  cache.set('e', 'e')
  t.same(gone, ['b', 'c'], 'asked for once is passed over once')
  t.equal(cache.get('a'), 'a')
})

await t.test('a new value stays though all others were asked for', async (t) => {
  const cache = new BoundedCache<number>(2)
  cache.set('a', 1)
  cache.set('b', 2)
  cache.get('a')
  cache.get('b')
  cache.set('c', 3)
  t.equal(cache.get('c'), 3)
  t.equal(cache.size, 2)
})

await t.test('never heavier than its bound, never another value than the last one set', async () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f')
  const step = fc.oneof(
    fc.record({ do: fc.constant('set' as const), key, weight: fc.integer({ min: 1, max: 12 }) }),
    fc.record({ do: fc.constantFrom('get' as const, 'delete' as const), key, weight: fc.constant(0) })
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
    const held = new Map<number, number>()
    const cache = new BoundedCache<number>(10, (value) => {
      held.delete(value)
    })
    const last = new Map<string, number>()
    let count = 0
    for (const step of steps) {
      const before = last.get(step.key)
      if (step.do === 'get') {
        const value = cache.get(step.key)
        if (value !== undefined && value !== before) return false
        continue
      }
      if (before !== undefined) held.delete(before)
      last.delete(step.key)
      if (step.do === 'delete') {
        cache.delete(step.key)
      } else {
        count += 1
        cache.set(step.key, count, step.weight)
        if (step.weight <= 10) {
          held.set(count, step.weight)
          last.set(step.key, count)
        }
      }
      const values = cache.values()
      if (values.length !== held.size || values.some((value) => !held.has(value))) return false
      if ([...held.values()].reduce((sum, weight) => sum + weight, 0) > 10) return false
    }
    return true
  }))
})

await t.test('sweep drops what is stale, and its weight', async (t) => {
  const cache = new BoundedCache<number>(4)
  for (const [key, value] of [['a', 1], ['b', 2], ['c', 3]] as const) cache.set(key, value, value === 3 ? 2 : 1)
  cache.sweep((value) => value > 1)
  t.same(cache.values(), [1])
  cache.set('d', 4, 3)
  t.same(cache.values(), [1, 4])
  cache.clear()
  t.equal(cache.size, 0)
})

await t.test('what is too old is not found, and a new value counts from anew', (t) => {
  let now = 0
  const cache = new BoundedCache<number | null>(2, undefined, { maxAgeMs: 10, now: () => now })
  cache.set('a', null)
  now = 9
  t.equal(cache.get('a'), null)
  now = 10
  t.equal(cache.get('a'), undefined)
  t.equal(cache.peek('a'), undefined)
  cache.set('a', 1)
  now = 19
  t.equal(cache.get('a'), 1)
  t.end()
})
