import t from 'tap'
import fc from 'fast-check'
import { PatternIndex, PrefixMap } from '../../src/config/patterns.ts'

const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 4 })
const pattern = fc.tuple(text, fc.boolean()).map(([start, isPrefix]) => isPrefix ? `${start}*` : start)
const label = fc.constantFrom('x', 'y', 'z', '')

/** Of two patterns, by what they mean. */
function share(a: string, b: string): boolean {
  const [x, y] = [a.replace(/\*$/, ''), b.replace(/\*$/, '')]
  if (!a.endsWith('*')) return b.endsWith('*') ? x.startsWith(y) : x === y
  return b.endsWith('*') ? x.startsWith(y) || y.startsWith(x) : y.startsWith(x)
}

await t.test('an index finds what a comparison with each pattern finds', async (t) => {
  let found = 0
  let asked = 0
  fc.assert(
    fc.property(fc.array(fc.tuple(pattern, label), { maxLength: 12 }), pattern, fc.option(label), (patterns, one, except) => {
      const wanted = patterns.some(([other, owner]) => owner !== except && share(one, other))
      asked += 1
      found += Number(wanted)
      return new PatternIndex(patterns).overlaps(one, except) === wanted
    }),
    { numRuns: 5000 }
  )
  t.ok(found > asked / 5 && found < asked * 4 / 5, `${found} of ${asked} overlap`)
})

await t.test('the longest prefix wins', async (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(text, { maxLength: 8 }), text, (prefixes, name) => {
      const wanted = prefixes.filter((prefix) => name.startsWith(prefix)).toSorted((a, b) => b.length - a.length)[0]
      return new PrefixMap(prefixes.map((prefix) => [prefix, prefix])).longest(name) === wanted
    }),
    { numRuns: 2000 }
  )
  t.equal(new PrefixMap<string>([]).longest('a'), undefined)
})
