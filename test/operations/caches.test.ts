import t from 'tap'
import fc from 'fast-check'
import { ObjectCache } from '../../src/operations/caches.ts'

const facts = { size: 1, etag: 'visible' }

void t.test('a row is found by exactly what it was remembered by', (t) => {
  const cache = new ObjectCache()
  cache.rememberRow(facts, '', 'b', 'a\nE1', null, 'E2')
  t.same(cache.row('', 'b', 'a\nE1', null, 'E2'), facts)
  t.equal(cache.row(null, 'b', 'a\nE1', null, 'E2'), undefined, 'as another')
  for (const [key, version, etag] of [['a', null, 'E1\nE2'], ['a\nE1', '', 'E2'], ['a\nE1', null, 'E3'], ['E1', 'a', 'E2']] as const) {
    t.equal(cache.row('', 'b', key, version, etag), undefined)
  }
  t.end()
})

void t.test('no two rows have one name', (t) => {
  const text = fc.string({ unit: fc.constantFrom('1', ' ', '-', '\\n', 'a'), maxLength: 3 })
  const name = fc.tuple(fc.option(text), text, text, fc.option(text), text)
  fc.assert(
    fc.property(name, name, (one, other) => {
      const cache = new ObjectCache()
      cache.rememberRow(facts, ...one)
      const same = JSON.stringify(one) === JSON.stringify(other)
      return (cache.row(...other) !== undefined) === same && cache.row(...one) !== undefined
    }),
    { numRuns: 20_000 }
  )
  t.end()
})

void t.test('rows with long names are not kept by their number', (t) => {
  const cache = new ObjectCache()
  const name = (i: number): string => `${i}`.padEnd(1024, 'x')
  for (let i = 0; i < 60_000; i += 1) cache.rememberRow(facts, '', 'b', name(i), null, 'e')
  t.equal(cache.row('', 'b', name(0), null, 'e'), undefined)
  t.same(cache.row('', 'b', name(59_999), null, 'e'), facts)
  t.end()
})
