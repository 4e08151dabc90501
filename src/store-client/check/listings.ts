import { listingField, type ListingRow } from '../../s3/listing.ts'
import { escapeXml } from '../../s3/xml.ts'
import { contentMd5 } from '../object-properties.ts'
import type { ProbePlace } from '../probe-place.ts'
import { ask, broken, fails, put, rowsOf, through, unread, used, type Check, type Reading, type Seen } from './check.ts'

/** In the order of their UTF-8 bytes, which is S3's; by UTF-16 the last two change places. */
const ORDERED = ['list/-', 'list/A', 'list/a', 'list/a b', 'list/ä', 'list/｡', 'list/😀'] as const
const PAGE = 3

type Query = readonly (readonly [name: string, value: string | null])[]

export const listingChecks: readonly Check[] = [
  {
    id: 'list',
    fact: 'ListObjectsV2',
    requests: ORDERED.length + 10,
    ask: async ({ place, config }) => {
      for (const name of ORDERED) await put(place, name)
      const keys = ORDERED.map((name) => place.prefix + name)
      const v2 = await readPages(place, [['list-type', '2']], (page) => nextOf('continuation-token', listingField(page, 'NextContinuationToken')))
      const v1 = await readPages(place, [], (_, rows) => nextOf('marker', rows.at(-1)?.key ?? null))
      const after = await ask(place, { method: 'GET', query: [...listQuery(place), ['list-type', '2'], ['start-after', keys[4] ?? '']] })
      const works = (listed: Pages): boolean => listed.problem === null && sameSet(listed.keys, keys)
      return [
        v2Reading(v2, works(v2), works(v1), place, config.lacks),
        { ...works(v1) ? used('all pages') : fails(v1.problem ?? 'other keys', 'clients that list by the old way fail'), fact: 'ListObjects (V1)' },
        { ...orderReading(works(v2) ? v2.keys : v1.keys, keys), fact: 'order of keys' },
        { ...afterReading(after, keys, place), fact: 'start-after' }
      ]
    }
  },
  {
    id: 'delete.many',
    fact: 'DeleteObjects',
    requests: 4,
    ask: async ({ place, config }) => {
      const names = ['many/1', 'many/2'] as const
      for (const name of names) await put(place, name)
      const rows = names.map((name) => `<Object><Key>${escapeXml(place.prefix + name)}</Key></Object>`).join('')
      const body = Buffer.from(`<Delete>${rows}</Delete>`)
      const seen = await ask(place, { method: 'POST', query: [['delete', null]], headers: [contentMd5(body), ['content-type', 'application/xml']], body })
      const left = await ask(place, { method: 'HEAD', key: place.key(names[1]) })
      if (seen.ok && left.status === 404 && !seen.text.includes('<Error>')) return used('taken')
      if (config.lacks.includes('multiDelete')) return through(seen.said, 'single requests, by upstream.lacks')
      return unread(seen, place, 's3:DeleteObject') ??
        broken(seen.said, 'deletes of many fail; the state of uploads remains', { 'upstream.lacks': ['multiDelete'] })
    }
  },
  {
    id: 'versions',
    fact: 'versions: ids, reading, markers, ListObjectVersions',
    requests: 6,
    kinds: ['versioned'],
    ask: async ({ place }) => {
      const first = (await put(place, 'versions', [], 'first')).headers.get('x-amz-version-id')
      await put(place, 'versions', [], 'second')
      const key = place.key('versions')
      const old = await ask(place, { method: 'GET', key, query: [['versionId', first ?? '']] })
      const gone = await ask(place, { method: 'DELETE', key })
      const now = await ask(place, { method: 'GET', key })
      const listed = await ask(place, { method: 'GET', query: [['versions', null], ['prefix', key]] })
      const rows = rowsOf(listed)
      return [
        first !== undefined && old.text === 'first' ? used('an old version is read by its id') : fails(old.said, 'versions cannot be read'),
        {
          ...gone.headers.get('x-amz-delete-marker') === 'true' && now.status === 404 ? used('made') : fails(gone.said, 'deletes leave no marker'),
          fact: 'delete markers'
        },
        {
          ...rows.length === 2 ? used('2 of 2') : unread(listed, place, 's3:ListBucketVersions') ?? fails(listed.said, 'versions cannot be listed'),
          fact: 'ListObjectVersions'
        }
      ]
    }
  }
]

interface Pages {
  readonly keys: readonly string[]
  /** Why it did not end well; null: it did. */
  readonly problem: string | null
  readonly last: Seen
}

function listQuery(place: ProbePlace): Query {
  return [['prefix', `${place.prefix}list/`], ['encoding-type', 'url'], ['max-keys', String(PAGE)]]
}

/** @param next the query of the page behind this one; null: the store has not said it. */
async function readPages(place: ProbePlace, kind: Query, next: (page: Buffer, rows: readonly ListingRow[]) => Query | null): Promise<Pages> {
  const keys: string[] = []
  let from: Query = []
  for (let pages = 1;; pages += 1) {
    const last = await ask(place, { method: 'GET', query: [...listQuery(place), ...kind, ...from] })
    if (!last.ok) return { keys, problem: last.said, last }
    const rows = rowsOf(last)
    keys.push(...rows.map(({ key }) => key))
    if (fieldIn(last, 'IsTruncated') !== 'true') return { keys, problem: null, last }
    const after = next(last.body, rows)
    if (after === null) return { keys, problem: 'a page that goes on and does not say where', last }
    if (pages > ORDERED.length) return { keys, problem: 'pages without an end', last }
    from = after
  }
}

function nextOf(parameter: string, value: string | null): Query | null {
  return value === null || value === '' ? null : [[parameter, value]]
}

function v2Reading({ problem, last }: Pages, works: boolean, byV1: boolean, place: ProbePlace, lacks: readonly string[]): Reading {
  if (works) return used('all pages')
  const seen = problem ?? 'other keys'
  if (byV1 && lacks.includes('listV2')) return through(seen, 'ListObjects, by upstream.lacks')
  if (byV1) return broken(seen, 'listings break off; by ListObjects they work', { 'upstream.lacks': ['listV2'] })
  return unread(last, place, 's3:ListBucket') ?? broken(seen, 'objects cannot be listed')
}

function orderReading(listed: readonly string[], keys: readonly string[]): Reading {
  if (!sameSet(listed, keys)) return { verdict: 'unknown', seen: 'not all are listed' }
  const ordered = listed.every((key, i) => key === keys[i])
  return ordered
    ? used('UTF-8 bytes, as S3')
    : fails('another than of UTF-8 bytes', 'clients that compare sorted listings (rclone, aws s3 sync) see differences')
}

function afterReading(seen: Seen, keys: readonly string[], place: ProbePlace): Reading {
  const rows = rowsOf(seen)
  if (rows.length === 2 && rows.every(({ key }) => keys.includes(key) && key !== keys[4])) return used('honoured')
  return unread(seen, place, 's3:ListBucket') ?? fails(seen.ok ? 'not honoured' : seen.said, 'pages of ListParts repeat parts')
}

function sameSet(listed: readonly string[], keys: readonly string[]): boolean {
  return listed.length === keys.length && keys.every((key) => listed.includes(key))
}

function fieldIn(seen: Seen, name: string): string | null {
  try {
    return listingField(seen.body, name)
  } catch {
    return null
  }
}
