// src/config/pins.ts: which keys a name has.
import fc from 'fast-check'
import t from 'tap'
import { allKeysOf, pinsAt, policyKeys, prefixAt, type KeyPins } from '../../src/config/pins.ts'

const pins = (key: string): KeyPins => ({ key, allowedKeys: [], openKeys: [] })
const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', 'é', '\u{1F600}'), maxLength: 6 })

await t.test('the keys of a name are those of the longest prefix that it begins with', (t) => {
  fc.assert(fc.property(fc.uniqueArray(text.filter((each) => each !== ''), { maxLength: 12 }), text, (prefixes, name) => {
    const policy = { keys: policyKeys(pins('bucket'), Object.fromEntries(prefixes.map((each) => [each, pins(`of ${each}`)]))) }
    const longest = prefixes.filter((each) => name.startsWith(each)).toSorted((a, b) => b.length - a.length)[0]
    return pinsAt(policy, name).key === (longest === undefined ? 'bucket' : `of ${longest}`) && prefixAt(policy, name) === (longest ?? null)
  }))
  t.end()
})

await t.test('what belongs to the bucket has the keys of the bucket, and a name like a property of objects is no prefix', (t) => {
  const policy = { keys: policyKeys(pins('bucket'), { t: { key: 't', allowedKeys: ['u'], openKeys: ['v'] } }) }
  t.equal(pinsAt(policy, null).key, 'bucket')
  for (const name of ['constructor', '__proto__', 'b']) t.equal(pinsAt(policy, name).key, 'bucket')
  t.strictSame(allKeysOf(policy), ['bucket', 't', 'u', 'v'])
  t.end()
})
