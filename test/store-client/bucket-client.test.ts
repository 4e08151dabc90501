// Listings of a store that is wrong or hostile: every one comes to an end or to an error, and no row is taken that was not asked for.
import { Readable } from 'node:stream'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import { allVersions, countObjects, currentObjects } from '../../src/maintenance/sources.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'
import { renderXml, type XmlNode } from '../../src/s3/xml.ts'
import type { UpstreamRequest } from '../../src/upstream/types.ts'

interface Page {
  readonly rows: readonly string[]
  /** null: the store names no next page; absent: this is the last. */
  readonly next?: string | null
}

const kinds = {
  objects: { element: 'Contents', next: (token: string): XmlNode[] => [['NextContinuationToken', token]] },
  history: { element: 'Version', next: (token: string): XmlNode[] => [['NextKeyMarker', 'p/marker'], ['NextVersionIdMarker', token]] },
  uploads: { element: 'Upload', next: (token: string): XmlNode[] => [['NextKeyMarker', 'p/marker'], ['NextUploadIdMarker', token]] }
} as const

/** A bucket whose n-th page of any listing is made by the test. Objects are all there and have no metadata. */
function bucketOf(kind: keyof typeof kinds, page: (n: number) => Page) {
  const asked: UpstreamRequest[] = []
  let pages = 0
  const { element, next } = kinds[kind]
  const answer = (request: UpstreamRequest): Buffer => {
    asked.push(request)
    if (request.query.some(([name]) => name === 'versioning')) return renderXml(['VersioningConfiguration', [['Status', 'Enabled']]])
    if (request.method === 'HEAD') return Buffer.alloc(0)
    const { rows, next: token } = page(pages++)
    const found = rows.map((key): XmlNode => [element, [['Key', key], ['VersionId', 'v'], ['UploadId', 'u'], ['Size', '1'], ['IsLatest', 'true']]])
    return renderXml(['R', [['IsTruncated', String(token !== undefined)], ...token === undefined || token === null ? [] : next(token), ...found]])
  }
  const request = (sent: UpstreamRequest) =>
    Promise.resolve({ status: 200, headers: new HeaderList([['content-length', '1']]), body: Readable.from([answer(sent)]) })
  const bucket = new BucketClient({ request, close: () => Promise.resolve() }, 'b', new AbortController().signal)
  return { bucket, asked, pages: () => pages }
}

async function keysOf(pages: AsyncIterable<readonly { readonly key: string }[]>): Promise<string[]> {
  const keys: string[] = []
  for await (const page of pages) keys.push(...page.map(({ key }) => key))
  return keys
}

const many = Array.from({ length: 40 }, (_, i) => `p/${String(i).padStart(3, '0')}`)
const hostile: Readonly<Record<string, readonly [page: (n: number) => Page, most: number]>> = {
  'the same page under ever new markers': [(n) => ({ rows: many, next: `t${n}` }), 1002],
  'three pages in turn under ever new markers': [(n) => ({ rows: many.map((key) => `${key}-${n % 3}`), next: `t${n}` }), 16],
  'a few pages, and then two in turn': [(n) => ({ rows: [`p/${n < 9 ? n : 9 + n % 2}`, 'p/x'], next: `t${n}` }), 64],
  'pages without rows under ever new markers': [(n) => ({ rows: [], next: `t${n}` }), 1002],
  'a marker that does not move': [(n) => ({ rows: [`p/${n}`], next: 'same' }), 2],
  'markers in turn': [(n) => ({ rows: [`p/${n}`], next: `t${n % 5}` }), 20],
  'no marker': [() => ({ rows: ['p/a'], next: null }), 1],
  'a name out of the prefix': [() => ({ rows: ['p/a', 'q/b'] }), 1],
  'a name out of the prefix on a later page': [(n) => ({ rows: n < 5 ? [`p/${n}`] : ['P/a'], next: `t${n}` }), 6],
  'the prefix itself, cut': [() => ({ rows: ['p'] }), 1],
  'no name at all': [() => ({ rows: [''] }), 1]
}

for (const kind of Object.keys(kinds) as (keyof typeof kinds)[]) {
  await t.test(`${kind}: what does not end or was not asked for is an error`, async (t) => {
    for (const [what, [page, most]] of Object.entries(hostile)) {
      const { bucket, pages } = bucketOf(kind, page)
      await t.rejects(keysOf(bucket[kind]('p/')), { code: 'SealgateBadUpstream' }, what)
      t.ok(pages() <= most, `${what}: ${pages()} pages`)
    }
  })
  await t.test(`${kind}: what real stores do is followed`, async (t) => {
    const odd = bucketOf(kind, (n) => n < 20 ? { rows: n % 2 === 0 ? [] : [`p/${n}`], next: `t${n}` } : { rows: ['p/19', 'p/20'] })
    t.strictSame(await keysOf(odd.bucket[kind]('p/')), [...Array.from({ length: 10 }, (_, i) => `p/${2 * i + 1}`), 'p/20'], 'empty pages, and a row twice')
    const long = bucketOf(kind, (n) => ({ rows: [`p/${String(n).padStart(5, '0')}`], ...n < 1200 ? { next: `t${n}` } : {} }))
    t.equal((await keysOf(long.bucket[kind]('p/'))).length, 1201, 'many pages')
    const { query } = long.asked.at(-1)!
    t.ok(
      query.some(([name, value]) => name.endsWith('marker') || name === 'continuation-token' ? value === 't1199' : false),
      'each page is asked for by its marker'
    )
  })
}

await t.test('a marker is taken as the store means it: encoded as the keys are, or not', async (t) => {
  for (const key of ['p/ü+ %2F', 'p/a+b', 'p/%41', 'p/%', 'p/plain', 'p/a b']) {
    for (const encodes of [true, false]) {
      const asked: (string | null | undefined)[] = []
      const request = ({ query }: UpstreamRequest) => {
        const marker = query.find(([name]) => name === 'key-marker')?.[1]
        asked.push(marker)
        const rows: XmlNode[] = marker === undefined ? [['Version', [['Key', encodeURIComponent(key)], ['VersionId', 'v'], ['Size', '1']]]] : []
        const next: XmlNode[] = marker === undefined ? [['NextKeyMarker', encodes ? encodeURIComponent(key) : key], ['NextVersionIdMarker', 'v']] : []
        const body = renderXml(['R', [['EncodingType', 'url'], ['IsTruncated', String(marker === undefined)], ...next, ...rows]])
        return Promise.resolve({ status: 200, headers: new HeaderList([]), body: Readable.from([body]) })
      }
      const bucket = new BucketClient({ request, close: () => Promise.resolve() }, 'b', new AbortController().signal)
      t.strictSame(await keysOf(bucket.history('p/')), [key])
      t.strictSame(asked, [undefined, key], `${key}, ${encodes ? 'encoded' : 'as it is'}`)
    }
  }
})

await t.test('commands that count end as well', async (t) => {
  for (const [what, [page, most]] of Object.entries(hostile)) {
    if (most > 1000) continue
    const of = () => bucketOf('history', page).bucket
    await t.rejects(countObjects(of(), 'p/', true), { code: 'SealgateBadUpstream' }, `rewrap: ${what}`)
    await t.rejects(keysOf(allVersions(of(), 'p/')), { code: 'SealgateBadUpstream' }, `scan and keys usage --versions: ${what}`)
    await t.rejects(keysOf(currentObjects(bucketOf('objects', page).bucket, 'p/')), { code: 'SealgateBadUpstream' }, `scan: ${what}`)
  }
})
