import type { ProbePlace } from '../probe-place.ts'
import {
  ask,
  begin,
  broken,
  fails,
  isUnknown,
  lack,
  present,
  rowsOf,
  unread,
  unused,
  used,
  type Check,
  type Reading,
  type Seen,
  put,
  through,
  upload,
  sendParts,
  sendPart,
  complete
} from './check.ts'
import type { StoreFeature } from '../../config/store-profiles.ts'
import { MAX_PARTS, MIN_PART_SIZE } from '../../envelope/sizes.ts'
import { listingField, type ListingRow } from '../../s3/listing-rows.ts'
import { escapeXml } from '../../s3/xml.ts'
import { contentMd5 } from '../object-properties.ts'

/** By how much the second part of the upload with unequal parts is longer. */
const LONGER = 65_536
/** The limit of Scaleway. */
const FEWER_PARTS = 1000

/** Uploads in parts. All in one bucket: kinds of bucket differ in conditions, which are asked apart. */
export const multipartChecks: readonly Check[] = [
  {
    id: 'multipart',
    fact: 'CreateMultipartUpload, UploadPart, CompleteMultipartUpload',
    requests: 8,
    ask: async ({ place }) => {
      const key = place.key('upload')
      const { seen, id } = await begin(place, key)
      if (id === null) return unread(seen, place, 's3:PutObject') ?? broken(seen.said, 'no multipart uploads')
      const { parts, refused } = await sendParts(place, key, id, [1, 1])
      const listed = await ask(place, { method: 'GET', key, query: [['uploadId', id]] })
      const uploads = await ask(place, { method: 'GET', query: [['uploads', null], ['prefix', key]] })
      const small = refused ?? await complete(place, key, id, parts)
      const second = await begin(place, place.key('aborted'))
      const aborted = await ask(place, { method: 'DELETE', key: place.key('aborted'), query: [['uploadId', second.id ?? id]] })
      if (aborted.ok && second.id !== null) place.ended(second.id)
      return [
        refused === null ? used('taken') : unread(refused, place, 's3:PutObject') ?? broken(refused.said, 'parts are refused'),
        { ...listReading(listed, place, 's3:ListMultipartUploadParts', 'upstream.checksum, parts that are sent again, and gc'), fact: 'ListParts' },
        { ...uploadsReading(uploads, place), fact: 'ListMultipartUploads' },
        {
          ...aborted.ok ? used(aborted.said) : unread(aborted, place, 's3:AbortMultipartUpload') ?? broken(aborted.said, 'uploads remain'),
          fact: 'AbortMultipartUpload'
        },
        {
          ...small.ok ? unused('none', 'the gateway gathers small parts as S3 demands') : unused(small.said, 'small parts are gathered by the gateway'),
          fact: 'smallest part'
        }
      ]
    }
  },
  {
    id: 'parts.sizes',
    fact: 'parts of different sizes',
    requests: 12,
    bytes: 4 * MIN_PART_SIZE + LONGER,
    ask: async ({ place, config }) => {
      const unequal = await upload(place, 'sizes', [MIN_PART_SIZE, MIN_PART_SIZE + LONGER, 1024])
      if (unequal.ok) return used('taken', config.equalParts ? 'upstream.equalParts: true is not needed' : '')
      const equal = await upload(place, 'sizes', [MIN_PART_SIZE, MIN_PART_SIZE, 1024])
      if (!equal.ok) return unread(equal, place, 's3:PutObject') ?? broken(equal.said, 'multipart uploads fail')
      if (config.equalParts) return used(`refused (${unequal.said}); equal ones are taken`, 'by upstream.equalParts')
      return broken(`refused (${unequal.said}); equal ones are taken`, 'multipart uploads fail', { 'upstream.equalParts': true })
    }
  },
  {
    id: 'parts.number',
    fact: 'highest part number',
    requests: 3,
    ask: async ({ place, config }) => {
      const key = place.key('number')
      const { seen, id } = await begin(place, key)
      if (id === null) return { verdict: 'unknown', seen: seen.said }
      const highest = await sendPart(place, key, id, MAX_PARTS, 1)
      if (highest.ok) return used(String(MAX_PARTS), config.maxParts < MAX_PARTS ? 'upstream.maxParts is lower: --parts counts what Complete takes' : '')
      const fewer = await sendPart(place, key, id, FEWER_PARTS, 1)
      if (!fewer.ok) return unread(fewer, place, 's3:PutObject') ?? broken(fewer.said, 'multipart uploads fail')
      return partLimit(FEWER_PARTS, highest.said, config.maxParts)
    }
  },
  {
    id: 'parts.copy',
    fact: 'UploadPartCopy with a range',
    requests: 4,
    ask: async ({ place, config }) => {
      // A range of a source below 5 MiB is refused by some: the object of `parts.sizes` has more.
      const source = place.key('sizes')
      const there = await ask(place, { method: 'HEAD', key: source })
      const key = place.key('part-copy')
      const { id } = await begin(place, key)
      if (!there.ok || id === null) return { verdict: 'unknown', seen: 'no object to copy from' }
      const copied = await ask(place, {
        method: 'PUT',
        key,
        query: [['partNumber', '1'], ['uploadId', id]],
        headers: [['x-amz-copy-source', `/${place.name}/${source}`], ['x-amz-copy-source-range', `bytes=0-${MIN_PART_SIZE - 1}`]]
      })
      if (!copied.ok) {
        return unread(copied, place, 's3:GetObject')
          ?? { ...unused(copied.said, 'rewrap of objects above 5 GiB fails; copies by clients pass through the gateway'), settings: lack(copied, 'partCopy') }
      }
      const parts = await ask(place, { method: 'GET', key, query: [['uploadId', id]] })
      const size = rowsOf(parts)[0]?.size
      return size === undefined || size === MIN_PART_SIZE
        ? present('taken', config, 'partCopy')
        : fails(`${size ?? 0} bytes instead of ${MIN_PART_SIZE}`, 'rewrap of objects above 5 GiB fails')
    }
  }
]

/** An upload of very many parts, which costs a request for each. */
export const manyParts: Check = {
  id: 'parts.count',
  fact: 'parts of one upload',
  requests: 0,
  ask: async ({ place, config, parts }) => {
    const tiny = await upload(place, 'count', Array.from({ length: parts }, () => 1))
    // A store that refuses for the size has not said what it thinks of the number.
    const seen = /TooSmall/.test(tiny.code) ? await upload(place, 'count', Array.from({ length: parts }, (_, i) => i < parts - 1 ? MIN_PART_SIZE : 1)) : tiny
    if (seen.ok) return used(`${parts} taken`, config.maxParts < parts ? `upstream.maxParts: ${parts} or more is possible` : '')
    return unread(seen, place, 's3:PutObject') ?? partLimit(Math.min(FEWER_PARTS, parts - 1), `${parts}: ${seen.said}`, config.maxParts)
  }
}

function partLimit(limit: number, said: string, configured: number): Reading {
  if (configured <= limit) return used(`${limit} (${said})`, 'by upstream.maxParts')
  return broken(`${limit} (${said})`, 'uploads with more parts fail when everything has been sent', { 'upstream.maxParts': limit })
}

function listReading(seen: Seen, place: ProbePlace, right: string, without: string): Reading {
  if (rowsOf(seen).length === 2) return used('2 of 2 parts')
  return unread(seen, place, right) ?? broken(seen.ok ? `${rowsOf(seen).length} of 2 parts` : seen.said, `missing for ${without}`)
}

function uploadsReading(seen: Seen, place: ProbePlace): Reading {
  if (rowsOf(seen).some(({ key }) => key.startsWith(place.prefix))) return used('the upload is listed')
  const missing = unread(seen, place, 's3:ListBucketMultipartUploads')
  return missing ?? fails(seen.ok ? 'the upload is not listed' : seen.said, 'clients cannot list uploads in progress')
}

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
      if (seen.ok && left.status === 404 && !seen.text.includes('<Error>')) return present('taken', config, 'multiDelete')
      if (config.lacks.includes('multiDelete')) return through(seen.said, 'single requests, by upstream.lacks')
      return unread(seen, place, 's3:DeleteObject') ??
        broken(seen.said, 'deletes of many fail; the state of uploads remains', isUnknown(seen) ? { 'upstream.lacks': ['multiDelete'] } : {})
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

function v2Reading({ problem, last }: Pages, works: boolean, byV1: boolean, place: ProbePlace, lacks: readonly StoreFeature[]): Reading {
  if (works) return present('all pages', { lacks }, 'listV2')
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
