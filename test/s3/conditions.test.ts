import t from 'tap'
import fc from 'fast-check'
import { evaluateConditions, ifRangeHolds, parseEtagList, unquoteEtag, formatHttpDate, parseHttpDate } from '../../src/s3/conditions.ts'

const modified = Date.UTC(2026, 0, 15, 12, 0, 0)
const now = Date.UTC(2026, 5, 1)
const object = { etag: '"abc"', lastModified: formatHttpDate(modified) }
const before = formatHttpDate(modified - 1000)
const same = formatHttpDate(modified)
const after = formatHttpDate(modified + 1000)
const future = formatHttpDate(now + 1000)

/** Values of each header and whether S3 counts the condition as holding; null: as if it were absent. */
const ifMatch: [string | undefined, boolean | null][] = [
  [undefined, null],
  ['"abc"', true],
  ['abc', true],
  ['*', true],
  ['"*"', true],
  ['"xyz"', false],
  ['"xyz", "abc"', true],
  ['xyz,abc', true],
  ['W/"abc"', false],
  ['', false]
]
const ifNoneMatch: [string | undefined, boolean | null][] = [
  [undefined, null],
  ['"abc"', false],
  ['abc', false],
  ['*', false],
  ['"xyz"', true],
  ['"xyz","abc"', false],
  ['W/"abc"', false],
  ['', true]
]
const ifModifiedSince: [string | undefined, boolean | null][] = [
  [undefined, null],
  [before, true],
  [same, false],
  [after, false],
  [future, null],
  ['yesterday', null]
]
const ifUnmodifiedSince: [string | undefined, boolean | null][] = [
  [undefined, null],
  [before, false],
  [same, true],
  [after, true],
  [future, true],
  ['yesterday', null]
]

await t.test('the whole truth table of RFC 9110 13.2.2', (t) => {
  let count = 0
  for (const [m, matches] of ifMatch) {
    for (const [n, noneMatch] of ifNoneMatch) {
      for (const [ms, isModified] of ifModifiedSince) {
        for (const [us, isUnmodified] of ifUnmodifiedSince) {
          const first = matches ?? isUnmodified ?? true
          const second = noneMatch ?? isModified ?? true
          const expected = !first ? 'failed' : second ? 'pass' : 'not-modified'
          const given = { ifMatch: m, ifNoneMatch: n, ifModifiedSince: ms, ifUnmodifiedSince: us }
          const verdict = evaluateConditions(given, object, now)
          if (verdict !== expected) t.fail(`${JSON.stringify(given)}: ${verdict}, not ${expected}`)
          count += 1
        }
      }
    }
  }
  t.comment(`${count.toLocaleString('en')} combinations of four conditional headers`)
  t.equal(count, 10 * 8 * 6 * 6)
  t.end()
})

await t.test('where there is no object, If-Match fails and the rest passes', (t) => {
  for (const [m] of ifMatch) {
    for (const [n] of ifNoneMatch) {
      const verdict = evaluateConditions({ ifMatch: m, ifNoneMatch: n, ifModifiedSince: same, ifUnmodifiedSince: before }, null, now)
      t.equal(verdict, m === undefined ? 'pass' : 'failed')
    }
  }
  t.equal(evaluateConditions({ ifModifiedSince: same, ifUnmodifiedSince: before }, { etag: 'a', lastModified: undefined }, now), 'pass')
  t.end()
})

await t.test('entity tags', (t) => {
  t.equal(unquoteEtag(' "a-1" '), 'a-1')
  t.equal(unquoteEtag('a'), 'a')
  t.equal(unquoteEtag('""a""'), 'a')
  t.strictSame(parseEtagList('"a,b" , W/"c",d'), [{ tag: 'a,b', weak: false }, { tag: 'c', weak: true }, { tag: 'd', weak: false }])
  t.equal(parseEtagList(' * '), '*')
  t.strictSame(parseEtagList('""'), [{ tag: '', weak: false }])
  t.end()
})

await t.test('If-Range', (t) => {
  const rows: [string | undefined, boolean][] = [
    [undefined, true],
    ['"abc"', true],
    ['abc', true],
    ['"xyz"', false],
    ['W/"abc"', false],
    ['*', false],
    ['"abc", "xyz"', false],
    ['', false],
    [same, true],
    [before, false],
    [after, false],
    ['yesterday', false]
  ]
  for (const [value, expected] of rows) t.equal(ifRangeHolds(value, object), expected, value ?? 'absent')
  t.notOk(ifRangeHolds(same, { etag: '"abc"', lastModified: undefined }))
  t.end()
})

await t.test('regression: an ETag as long as a document may be takes no more than its length', (t) => {
  // Minutes where every quote of the run began a search of its own.
  const quotes = `a${'"'.repeat(600_000)}b`
  t.equal(unquoteEtag(`"${quotes}"`), quotes)
  t.end()
})

await t.test('HTTP dates in three forms', (t) => {
  const expected = Date.UTC(1994, 10, 6, 8, 49, 37)
  t.equal(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT'), expected)
  t.equal(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT'), expected)
  t.equal(parseHttpDate('Sun Nov  6 08:49:37 1994'), expected)
  t.equal(parseHttpDate(' Sun, 06 Nov 1994 08:49:37 GMT '), expected)
  const none = [
    '',
    'now',
    '0',
    '784111777',
    '1994-11-06T08:49:37Z',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun, 06 Nov 1994 08:49:37 CET',
    'Sun, 31 Feb 1994 08:49:37 GMT',
    'Sun, 00 Nov 1994 08:49:37 GMT',
    'Sun, 06 Foo 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:49:37 GMT',
    'Sun, 06 Nov 1994 08:60:37 GMT',
    'Son, 06 Nov 1994 08:49:37 GMT',
    'Sun, 6 Nov 1994 08:49:37 GMT'
  ]
  for (const text of none) t.equal(parseHttpDate(text), null, text)
  fc.assert(fc.property(fc.integer({ min: 0, max: 4102444800 }), (second) => parseHttpDate(formatHttpDate(second * 1000)) === second * 1000))
  t.end()
})
