// What test/run.ts changes of tap: run alone, this file fails.
import t from 'tap'

void t.test('a list matches a pattern of its own length only', (t) => {
  t.match({ rows: [{ a: 1, b: 2 }], more: 1 }, { rows: [{ a: 1 }] })
  t.match([/x/.source], [/x/])
  t.notMatch([1, 2], [1])
  t.notMatch({ rows: [{ a: 1 }, { a: 2 }] }, { rows: [{ a: 1 }] })
  t.notMatch([[1], [2, 3]], [[1], [2]])
  t.end()
})
