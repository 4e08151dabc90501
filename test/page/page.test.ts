import { createHash } from 'node:crypto'
import t from 'tap'
import type { Facts } from '../../src/page/facts.ts'
import { pageOf } from '../../src/page/page.ts'
import { contentSecurityPolicy } from '../../src/page/style.ts'
import { facts, minutes, report, troubled, worker } from '../support/page-facts.ts'

/** The text of elements, without markup. */
const textOf = (page: string): string =>
  page.replace(/<style>.*?<\/style>/s, '').replace(/<[^>]+>/g, ' ').replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code))).replace(
    /\s+/g,
    ' '
  )

await t.test('a healthy gateway: nothing to look at, and everything that is known', async (t) => {
  const text = textOf(pageOf(facts(), true))
  for (
    const said of [
      'On gateway-1, version 1.2.3, up 1 d 1 h',
      'What needs attention Nothing',
      'Sealgate ✓ ready On',
      'Worker 1 ✓ serving',
      'local:main:20260101-0123abcd',
      '1 decrypt-only, 1 enabled',
      'Backup checked 3 d ago',
      '100 % sealed',
      'https://s3.example.org',
      'Certificate 60 d',
      'None since the start'
    ]
  ) t.ok(text.includes(said), said)
})

await t.test('everything wrong: each trouble by its name', async (t) => {
  const text = textOf(pageOf(troubled(), true))
  for (
    const said of [
      'The worker is dead — worker 2',
      'It ended by SIGKILL',
      'The worker does not answer — worker 3',
      'The store cannot be used — store far',
      'Kind: unreachable (ECONNREFUSED)',
      'The key is disabled — key cloud',
      'lacks 1 of the keyring\'s versions — key old',
      'No backup of the keyring was ever checked here — key main',
      'held back — key service eu-central-1',
      'no space left on the disk (ENOSPC)',
      'The certificate expired 2026-11-28 12:00:30 UTC',
      'The clock of this machine is 7 min 11 s behind the store\'s',
      '7,531 objects in plaintext — bucket orders',
      '3 damaged objects — bucket orders',
      '2 reads did not verify in the last hour',
      'no effect on: put, delete',
      'note If-Match and If-None-Match',
      'set: yes',
      'The last reload was refused',
      '93.4 % sealed',
      '✕ not ready, 13 errors, 5 warnings'
    ]
  ) t.ok(text.includes(said), said)
})

await t.test('/status.json has all that the page has: the page is made from its text alone', async (t) => {
  for (const known of [facts(), troubled()]) t.equal(pageOf(JSON.parse(JSON.stringify(known)) as Facts, true), pageOf(known, true))
})

/** Texts of all kinds of value in the facts, each replaced by one that would be markup. */
function poisoned(value: unknown, path = ''): unknown {
  if (typeof value === 'string') return /^(at|since|ended|startedAt|severity)$/.test(path.split('.').at(-1) ?? '') ? value : `"'><script>${path}</script>`
  if (Array.isArray(value)) return value.map((one: unknown) => poisoned(one, path))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, poisoned(one, `${path}.${name}`)]))
}

await t.test('hostile names: no value becomes markup, wherever it stands', async (t) => {
  const known = troubled()
  const hostile = poisoned(known) as Facts
  const page = pageOf({
    ...hostile,
    scans: hostile.scans.map((scan) => ({ ...scan, states: { ...scan.states, '<script>state</script>': { objects: 1, bytes: 1 } } }))
  }, true)
  t.notMatch(page, /<script/i)
  t.match(page, /&#60;script&#62;\.findings\.title/, 'the names are there')
  const tags = (markup: string): string[] => [...new Set(markup.match(/<[a-z0-9!]+/gi))].toSorted()
  t.same(tags(page), tags(pageOf(known, true)), 'no element that is not on a page without them')
  const attributes = (markup: string): string[] => [...new Set([...markup.matchAll(/ ([a-z-]+)="/gi)].map(([, name = '']) => name))].toSorted()
  t.same(attributes(page), attributes(pageOf(known, true)), 'and no attribute')
})

await t.test('nothing runs, nothing is fetched, nothing changes anything', async (t) => {
  const page = pageOf(troubled(), true)
  const style = /<style>(.*?)<\/style>/s.exec(page)?.[1] ?? ''
  t.match(contentSecurityPolicy, `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`)
  t.match(contentSecurityPolicy, /^default-src 'none';/)
  t.notMatch(contentSecurityPolicy, /unsafe|script-src|connect-src|https?:/)
  t.notMatch(page, /<script|<form|<button|<input|<iframe|<img|<object|<embed| style=| on[a-z]+=|javascript:|url\(|@import/i)
  t.same([...page.matchAll(/(?:href|src|action)="([^"]*)"/g)].map(([, to]) => to), ['data:,', '?refresh=off', 'status.json', 'metrics'])
  t.match(pageOf(troubled(), false), /href="\.\/"/, 'a page that does not refresh says how it would')
})

await t.test('bounded: whatever a configuration, a store or traffic contains', async (t) => {
  const long = 'x'.repeat(10_000)
  const many = Array.from({ length: 1000 }, (_, i) => i)
  const versions = many.map((v) => ({ id: `${v}`, state: 'enabled' }))
  const [key] = report().keys
  const [store] = report().stores
  const states = Object.fromEntries(many.map((i) => [`state ${i} ${long}`, { objects: 1, bytes: 1 }]))
  const known = facts({
    keys: many.map((i) => ({ ...key!, name: `key ${i}`, reason: long, ok: false, versions })),
    stores: many.map((i) => ({ ...store!, name: `store ${i}`, endpoint: long })),
    buckets: many.map((i) => ({ ...report().buckets[0]!, pattern: `bucket-${i}` })),
    scans: many.map((i) => ({ ...report().scans[0]!, bucket: `bucket-${i}`, pattern: 'bucket-1', ...i < 3 ? { states } : {} })),
    activity: { minutes: minutes(1000), integrityFailures: many.map(() => ({ at: '2026-11-29T11:00:00.000Z', kind: long })) }
  }, many.slice(0, 300).map((number) => worker(number)))
  const [page, json] = [pageOf(known, true), JSON.stringify(known)]
  t.ok(page.length < 2_000_000, `a page of ${page.length} characters`)
  t.ok(json.length < 2_000_000, `JSON of ${json.length} characters`)
  t.same(known.leftOut, { ...known.leftOut, workers: 100, keys: 800, 'keys.versions': 200 * 960, stores: 800, buckets: 800 })
  t.match(textOf(page), /800 more are left out/, 'and it says so')
})

await t.test('no minutes, no stores, no reports: a page all the same', async (t) => {
  const page = pageOf(facts({ activity: { minutes: [], integrityFailures: [] }, stores: [], scans: [], certificateEnds: null, load: null }), true)
  t.match(textOf(page), /Requests per minute 0 good/)
  t.notMatch(page, /NaN|undefined|Infinity|\[object/)
  t.notMatch(pageOf(troubled(), true), /NaN|undefined|Infinity|\[object/)
})
