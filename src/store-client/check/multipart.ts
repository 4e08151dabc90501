import type { ProbePlace } from '../probe-place.ts'
import { ask, begin, broken, fails, lack, rowsOf, unread, unused, used, type Check, type Reading, type Seen } from './check.ts'

const MiB = 1024 * 1024
/** S3's smallest part that is not the last. */
const LEAST_PART = 5 * MiB
/** By how much the second part of the upload with unequal parts is longer. */
const LONGER = 65_536
const S3_MAX_PARTS = 10_000
/** The limit of OVH and Scaleway. */
const FEWER_PARTS = 1000

interface Part {
  readonly number: number
  readonly etag: string
}

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
    bytes: 4 * LEAST_PART + LONGER,
    ask: async ({ place, config }) => {
      const unequal = await upload(place, 'sizes', [LEAST_PART, LEAST_PART + LONGER, 1024])
      if (unequal.ok) return used('taken', config.equalParts ? 'upstream.equalParts: true is not needed' : '')
      const equal = await upload(place, 'sizes', [LEAST_PART, LEAST_PART, 1024])
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
      const highest = await sendPart(place, key, id, S3_MAX_PARTS, 1)
      if (highest.ok) return used(String(S3_MAX_PARTS), config.maxParts < S3_MAX_PARTS ? 'upstream.maxParts is lower: --parts counts what Complete takes' : '')
      const fewer = await sendPart(place, key, id, FEWER_PARTS, 1)
      if (!fewer.ok) return unread(fewer, place, 's3:PutObject') ?? broken(fewer.said, 'multipart uploads fail')
      return partLimit(FEWER_PARTS, highest.said, config.maxParts)
    }
  },
  {
    id: 'parts.copy',
    fact: 'UploadPartCopy with a range',
    requests: 4,
    ask: async ({ place }) => {
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
        headers: [['x-amz-copy-source', `/${place.name}/${source}`], ['x-amz-copy-source-range', `bytes=0-${LEAST_PART - 1}`]]
      })
      if (!copied.ok) {
        {
          return unread(copied, place, 's3:GetObject')
            ?? { ...unused(copied.said, 'rewrap of objects above 5 GiB fails; copies by clients pass through the gateway'), settings: lack(copied, 'partCopy') }
        }
      }
      const parts = await ask(place, { method: 'GET', key, query: [['uploadId', id]] })
      const size = rowsOf(parts)[0]?.size
      return size === undefined || size === LEAST_PART
        ? used('taken')
        : fails(`${size ?? 0} bytes instead of ${LEAST_PART}`, 'rewrap of objects above 5 GiB fails')
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
    const seen = /TooSmall/.test(tiny.code) ? await upload(place, 'count', Array.from({ length: parts }, (_, i) => i < parts - 1 ? LEAST_PART : 1)) : tiny
    if (seen.ok) return used(`${parts} taken`, config.maxParts < parts ? `upstream.maxParts: ${parts} or more is possible` : '')
    return unread(seen, place, 's3:PutObject') ?? partLimit(Math.min(FEWER_PARTS, parts - 1), `${parts}: ${seen.said}`, config.maxParts)
  }
}

function partLimit(limit: number, said: string, configured: number): Reading {
  if (configured <= limit) return used(`${limit} (${said})`, 'by upstream.maxParts')
  return broken(`${limit} (${said})`, 'uploads with more parts fail when everything has been sent', { 'upstream.maxParts': limit })
}

async function upload(place: ProbePlace, name: string, sizes: readonly number[]): Promise<Seen> {
  const key = place.key(name)
  const { seen, id } = await begin(place, key)
  if (id === null) return seen
  const { parts, refused } = await sendParts(place, key, id, sizes)
  return refused ?? complete(place, key, id, parts)
}

interface Parts {
  readonly parts: readonly Part[]
  /** The answer to the first that was refused; no more were sent then. */
  readonly refused: Seen | null
}

async function sendParts(place: ProbePlace, key: string, id: string, sizes: readonly number[]): Promise<Parts> {
  const parts: Part[] = []
  for (const [i, size] of sizes.entries()) {
    const seen = await sendPart(place, key, id, i + 1, size)
    if (!seen.ok) return { parts, refused: seen }
    parts.push({ number: i + 1, etag: seen.headers.get('etag') ?? '' })
  }
  return { parts, refused: null }
}

function sendPart(place: ProbePlace, key: string, id: string, number: number, size: number): Promise<Seen> {
  return ask(place, { method: 'PUT', key, query: [['partNumber', String(number)], ['uploadId', id]], body: Buffer.alloc(size, number) })
}

async function complete(place: ProbePlace, key: string, id: string, parts: readonly Part[]): Promise<Seen> {
  const rows = parts.map(({ number, etag }) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag></Part>`).join('')
  const body = Buffer.from(`<CompleteMultipartUpload>${rows}</CompleteMultipartUpload>`)
  const seen = await ask(place, { method: 'POST', key, query: [['uploadId', id]], headers: [['content-type', 'application/xml']], body })
  if (seen.ok) place.ended(id)
  return seen
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
