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

await t.test('every section of a page on which everything is wrong, word by word', async (t) => {
  const text = textOf(pageOf(troubled(), true))
  for (
    const said of [
      'Requests 30K Server errors 160 0.5 % 99 % within 420 ms In flight now 14 Certificate expired Audit file not written',
      '28.9K good, 960 with an error of the client, 160 with one of the server. 777 1 h ago now 2xx, 3xx up to 745 4xx up to 32 5xx up to 40',
      '2.4 GiB from clients, 1.3 GiB to them. 67.4 MiB 1 h ago now from clients up to 63.9 MiB to clients up to 67.4 MiB',
      'Half within 18 ms, 99 % within 420 ms, bodies included. 790 ms 1 h ago now median up to 38 ms 99 % up to 790 ms',
      'Store: 57.7K calls, 12 ms on average. Key service: 360 calls, 23 ms on average. 31 ms 1 h ago now store up to 16 ms key service (KMS) up to 31 ms',
      'Error codes NoSuchKey 960 NoSuchKey 85.7 % others 14.3 % SlowDown 120 SlowDown 10.7 % others 89.3 %',
      'keys Passes since 1 d 1 h ago ✓ ok store of store far The store cannot be reached. SealgateBadUpstream service=store operation=GET bucket ?versioning',
      'system=ECONNREFUSED trouble=unreachable Fails since 12 min 34 s ago ✕ failing stateBucket of store near NotYetRun Fails since the start ✕ failing',
      'Worker 1 ✓ serving Started 1 d 1 h ago Load 7 requests, 41 connections Restarts 0',
      'Worker 2 ✕ dead Was started 1 d 1 h ago Restarts 3 Last end SIGKILL, 1 s ago Worker 3 ✕ silent',
      'Restarts 1 Last end exit code 134, 20 min ago',
      'main ✓ ok Id local:main:20260101-0123abcd Kind keyring, 1 decrypt-only, 1 enabled State since 1 d 1 h ago Uses 1,234 since the last reload '
      + 'Last error none Backup never checked here',
      'cloud ✕ failing Id arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab Kind aws-kms Reason Key cloud: its last use failed. '
      + 'KMS.DisabledException service=kms operation=Decrypt errorName=DisabledException status=400 trouble=denied State since 6 min 40 s ago',
      'Last error KMS.DisabledException , 3 s ago Backup kept by the key service',
      'old not tried Id none that seals',
      'State since not known',
      'Backup checked 40 d ago , lacks 20260101-0123abcd',
      '* ✓ sealed Store near Key main Metadata sealed Public none orders 93.4 % sealed',
      '120.4K sealed (838 GiB), 7,531 plaintext (23.3 GiB), 913 s3ec-v2 (3.7 GiB), 3 damaged (2.9 KiB); all versions, scanned 2 h ago',
      'invoices 100 % sealed sealed 100 % 88 sealed (977 KiB); scanned 1 d ago',
      'archive-* ✓ sealed, plaintext read Store far Key cloud Metadata clear Public under site/, img/ No scan of a bucket here is known',
      'public-site not sealed Store near Public all',
      'near ✓ ready Endpoint https://s3.example.org Region eu-central-1 Clock 7 min 11 s ahead of this one Does near enforce',
      'In buckets unversioned versioned suspended Put ✓ yes ✕ no – Complete ✓ yes ✓ yes – Copy ✓ yes ✓ yes – Delete ✓ yes ✕ no – Copy source ✓ yes ✓ yes –',
      'Found out 10 min ago 30 s ago failed far ✕ not ready',
      'Clock not known',
      'Put set: yes set: yes set: yes Complete ✓ yes',
      'Delete set: no set: no set: no',
      '2026-11-29 11:58:50 UTC 1 min 40 s ago box 2026-11-29 11:28:50 UTC 31 min 40 s ago segment'
    ]
  ) t.ok(text.includes(said), said)
})

await t.test('more kinds of error than fit', async (t) => {
  const [minute] = minutes(1)
  const codes = Object.fromEntries(Array.from({ length: 23 }, (_, i) => [`Code${i}`, i + 1]))
  const text = textOf(pageOf(facts({ activity: { minutes: [{ ...minute!, codes }], integrityFailures: [] } }), true))
  t.match(text, /Error codes Code22 23 /, 'the most frequent first')
  t.match(text, /Code3 4 Code3 [\d.]+ % others [\d.]+ % 6 with 3 other codes/)
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

await t.test('each section says what it leaves out', async (t) => {
  const many = Array.from({ length: 203 }, (_, i) => i)
  const [bucket] = report().buckets
  for (
    const [title, change] of [
      ['Readiness', { checks: many.map((i) => ({ ...report().checks[0]!, name: `check ${i}` })) }],
      ['Keys', { keys: many.map((i) => ({ ...report().keys[0]!, name: `key ${i}` })) }],
      ['Buckets', { buckets: many.map((i) => ({ ...bucket!, pattern: `b${i}` })) }],
      ['Stores', { stores: many.map((i) => ({ ...report().stores[0]!, name: `store ${i}` })) }]
    ] as const
  ) {
    const section = pageOf(facts(change), true).split('<section ').find((one) => one.startsWith(`aria-label="${title}"`)) ?? ''
    t.match(textOf(section), /3 more are left out/, title)
  }
  const all = facts({}, many.map((number) => worker(number)))
  t.match(textOf(pageOf(all, true)), /Worker 199 .*3 more are left out/)
})

await t.test('no minutes, no stores, no reports: a page all the same', async (t) => {
  const page = pageOf(facts({ activity: { minutes: [], integrityFailures: [] }, stores: [], scans: [], certificateEnds: null, load: null }), true)
  t.match(textOf(page), /Requests per minute 0 good/)
  t.notMatch(page, /NaN|undefined|Infinity|\[object/)
  t.notMatch(pageOf(troubled(), true), /NaN|undefined|Infinity|\[object/)
})
