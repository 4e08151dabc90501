import t from 'tap'
import { mutantsOf } from './mutants.ts'

function changesOf(source: string): string[] {
  return mutantsOf(source).map(({ change }) => change)
}

await t.test('each slip at its place, in the text with its types', (t) => {
  const source = 'export function f(a: string, b: number): boolean {\n  return b >= 10n as never && a.trim() !== \'x\'\n}\n'
  const mutants = mutantsOf(source)
  for (const { start, end, line, column, change } of mutants) {
    t.ok(change.startsWith(`${source.slice(start, end)} -> `))
    t.equal(source.split('\n')[line - 1]?.slice(column - 1, column + end - start - 1), source.slice(start, end))
  }
  t.same(mutants.map(({ change }) => change), [
    '>= -> >',
    '>= -> <',
    '10n -> 11n',
    '10n -> 9n',
    '&& -> ||',
    'a.trim() -> a',
    '!== -> ===',
    '\'x\' -> \'\''
  ])
  t.end()
})

await t.test('statements, conditions, lists and defaults', (t) => {
  t.same(changesOf('if (a === b) throw c'), ['a === b -> true', 'a === b -> false', 'throw c -> ;'])
  t.same(changesOf('f = () => { if (!a) return 1; return d }'), [
    'f = () => { if (!a) return 1; return d } -> ;',
    '!a -> true',
    '!a -> false',
    'return 1; -> ;',
    '1 -> 2',
    '1 -> 0'
  ])
  t.same(changesOf('await f()'), ['await -> void', 'await f() -> ;'])
  t.same(changesOf('const c = [a, ...b]'), ['[a, ...b] -> [...b]', '[a, ...b] -> [a]'])
  t.same(changesOf('const c = { a, ...b }'), ['{ a, ...b } -> { a }'])
  t.same(changesOf('const c = a ?? b'), ['a ?? b -> a'])
  t.same(changesOf('const c = a?.b?.[0]'), ['?. -> .', '?. -> (nothing)', '0 -> 1', '0 -> -1'])
  t.same(changesOf('const c = /^a$/.test(b)'), ['^ -> (nothing)', '$ -> (nothing)'])
  t.same(changesOf('const c = Math.max(a, b)'), ['max -> min'])
  t.end()
})

await t.test('texts for people and names of modules are left alone', (t) => {
  t.same(changesOf('import a from \'b\'\nexport const c = { d: \'A text of words.\', \'e\': `for ${a} people` }'), [])
  t.same(changesOf('const c = `${a}\\n${b}`'), ['\\n -> (nothing)'])
  t.same(changesOf('const c = `${a}` + 1'), ['1 -> 2', '1 -> 0'])
  t.end()
})
