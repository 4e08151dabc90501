import { createHash, randomBytes } from 'node:crypto'
import type { ChecksumAlgorithm } from '../../http/checksums.ts'
import { isLoopback } from '../../config/loopback.ts'
import { ProbePlace } from '../probe-place.ts'
import { ask, broken, put, through, unread, unused, used, type Check, type Questions, type Reading, type Seen } from './check.ts'

/** Bytes of a body that goes as a stream: more than one chunk. */
const STREAM_BYTES = 70_000
const METADATA_BYTES = [8192, 4096, 2048, 1024] as const
/** Counted as names are on the wire: some stores count the prefix, too. */
const METADATA_NAME = 'x-amz-meta-sealgate-check'
const SSE = 'x-amz-server-side-encryption'

/** One object: written, read and removed. Asked before everything else. */
export const objectCheck: Check = {
  id: 'object',
  fact: 'PutObject and GetObject',
  requests: 6,
  ask: async ({ place, config }) => {
    const body = 'a small object'
    const written = await put(place, 'object', [], body)
    if (!written.ok) return notWritten(written, place, config.sse !== null)
    const key = place.key('object')
    const read = await ask(place, { method: 'GET', key })
    const head = await ask(place, { method: 'HEAD', key })
    const range = await ask(place, { method: 'GET', key, headers: [['range', 'bytes=2-6']] })
    const gone = await ask(place, { method: 'DELETE', key })
    const isMd5 = written.headers.get('etag')?.replaceAll('"', '') === createHash('md5').update(body).digest('hex')
    return [
      read.text === body ? used('the bytes come back') : unread(read, place, 's3:GetObject') ?? broken(read.said, 'objects cannot be read'),
      { ...gone.ok ? used(gone.said) : unread(gone, place, 's3:DeleteObject') ?? broken(gone.said, 'objects cannot be deleted'), fact: 'DeleteObject' },
      { ...rangeOf(range, place), fact: 'GetObject with a range' },
      { ...lengthOf(head, body.length), fact: 'HeadObject says the length' },
      {
        ...isMd5 ? unused('the MD5 of the stored bytes') : unused('no MD5', 'with etag: opaque, ETags of multipart uploads end in -0'),
        fact: 'ETag of an object'
      }
    ]
  }
}

/** What can be said with an object. */
export const otherObjectChecks: readonly Check[] = [
  {
    id: 'errors',
    fact: 'errors are S3 documents',
    requests: 1,
    ask: async ({ place }) => {
      const seen = await ask(place, { method: 'GET', key: place.key('absent') })
      if (seen.code === 'NoSuchKey') return used(seen.said)
      if (seen.status !== 404 || seen.code !== '') return unread(seen, place, 's3:ListBucket') ?? broken(seen.said, 'an absent object is not recognised')
      return broken(`404 with ${/<html/i.test(seen.text) ? 'HTML' : 'no document'}`, 'it cannot be told whether the store or a proxy answered')
    }
  },
  {
    id: 'body.stream',
    fact: 'bodies as the gateway sends them',
    requests: 2,
    bytes: STREAM_BYTES,
    ask: async (at) => {
      const { verdict, seen, means } = await sendStream(at.place, 'stream', null)
      const framed = isPlainBeyondLoopback(at)
      const way = framed ? 'signed chunks (aws-chunked)' : 'UNSIGNED-PAYLOAD'
      if (verdict !== 'fails') return { verdict, seen: `${way}: ${seen}`, ...means === undefined ? {} : { means } }
      return broken(
        `${way}: ${seen}`,
        framed ? 'no object can be written over plain HTTP: give the store TLS, upstream.endpoint https' : 'no object can be written'
      )
    }
  },
  {
    id: 'body.other',
    fact: 'bodies framed the other way',
    requests: 2,
    bytes: STREAM_BYTES,
    ask: async (at) => {
      const place = new ProbePlace(at.chunked, at.place.name, at.place.signal, `${at.place.prefix}framed/`, at.place.repeats)
      try {
        const { verdict, seen } = await sendStream(place, 'stream', null)
        const way = isPlainBeyondLoopback(at) ? 'UNSIGNED-PAYLOAD' : 'signed chunks (aws-chunked)'
        return verdict === 'unknown'
          ? { verdict, seen: `${way}: ${seen}` }
          : unused(`${way}: ${seen}`, isPlainBeyondLoopback(at) ? '' : 'needed over plain HTTP only')
      } finally {
        await place.cleanUp()
      }
    }
  },
  {
    id: 'checksum.trailer',
    fact: 'crc32 behind a body (x-amz-trailer)',
    requests: 4,
    bytes: 2 * STREAM_BYTES,
    ask: async ({ place, config }) => {
      const found = await sendStream(place, 'trailer', 'crc32')
      if (found.verdict === 'unknown') return found
      const taken = found.verdict === 'used'
      if (config.checksum === null) return unused(found.seen, taken ? 'upstream.checksum: crc32 is possible' : '')
      if (taken) return found
      // Only where the same body is taken without it is the checksum what was refused.
      const without = await sendStream(place, 'trailer', null)
      if (without.verdict !== 'used') return { verdict: 'unknown', seen: `${found.seen}, and ${without.seen} without` }
      return broken(found.seen, 'no object can be written with upstream.checksum', { 'upstream.checksum': 'none' })
    }
  },
  ...(['crc32', 'crc64nvme', 'sha256'] as const).map((algorithm): Check => ({
    id: `checksum.${algorithm}`,
    fact: `x-amz-checksum-${algorithm} before a body`,
    requests: 2,
    ask: async ({ place }) => {
      const key = place.key(algorithm)
      const right = await ask(place, { method: 'PUT', key, body: Buffer.from('sum'), checksum: algorithm })
      if (!right.ok) return unread(right, place, 's3:PutObject') ?? unused(right.said, 'clients do not notice: theirs are of the plaintext')
      const zeros = Buffer.alloc({ crc32: 4, crc64nvme: 8, sha256: 32 }[algorithm]).toString('base64')
      const wrong = await ask(place, { method: 'PUT', key, body: Buffer.from('other'), headers: [[`x-amz-checksum-${algorithm}`, zeros]] })
      return unused(wrong.ok ? 'taken, not verified' : 'taken and verified')
    }
  })),
  { id: 'metadata', fact: 'bytes of user metadata', requests: 2 * METADATA_BYTES.length, bytes: 16_384, ask: metadataRoom },
  {
    id: 'accept-encoding',
    fact: 'Accept-Encoding arrives as it was signed',
    requests: 2,
    ask: async ({ place }) => {
      // Not GET and HEAD, which carry one that is not signed.
      const removal = { method: 'DELETE', key: place.key('absent') } as const
      const without = await ask(place, removal)
      const seen = await ask(place, { ...removal, headers: [['accept-encoding', 'gzip;q=0']] })
      if (seen.status === without.status) return unused('unchanged')
      return seen.status === 403 || seen.status === 400
        ? through('changed on the way', 'not being signed by the gateway')
        : { verdict: 'unknown', seen: seen.said }
    }
  },
  {
    id: 'sse',
    fact: SSE,
    requests: 2,
    ask: async ({ place, config }) => {
      if (config.sse !== null) return used('as configured', 'upstream.sse goes with every object')
      const found: string[] = []
      for (const word of ['AES256', 'aws:kms']) if ((await put(place, 'sse', [[SSE, word]])).ok) found.push(word)
      return found.length === 0 ? unused('refused', 'nothing is asked of the store') : unused(`takes ${found.join(', ')}`, 'upstream.sse is possible')
    }
  }
]

/** A plain PUT was refused: what would help? */
async function notWritten(seen: Seen, place: ProbePlace, asked: boolean): Promise<Reading> {
  if (asked) return unread(seen, place, 's3:PutObject') ?? broken(seen.said, 'no object can be written: the store refuses upstream.sse')
  const encrypted = await put(place, 'object', [[SSE, 'AES256']])
  if (encrypted.ok) return broken(`${seen.said} without ${SSE}`, 'the store demands its own encryption', { 'upstream.sse': 'AES256' })
  return unread(seen, place, 's3:PutObject') ?? broken(seen.said, 'no object can be written')
}

function rangeOf(seen: Seen, place: ProbePlace): Reading {
  if (seen.status === 206 && seen.text === 'small' && seen.headers.has('content-range')) return used('206 with Content-Range')
  return unread(seen, place, 's3:GetObject') ?? broken(seen.said, 'ranges of objects cannot be read')
}

function lengthOf(seen: Seen, length: number): Reading {
  const said = seen.headers.get('content-length')
  if (said === String(length)) return used('Content-Length')
  return said === undefined
    ? through('no Content-Length', 'the sealed envelope, which has the length')
    : broken(`Content-Length ${said}`, 'lengths are not those of the objects')
}

async function metadataRoom({ place, config }: Questions): Promise<Reading> {
  let said = ''
  for (const size of METADATA_BYTES) {
    const value = 'm'.repeat(size - METADATA_NAME.length)
    const seen = await put(place, 'metadata', [[METADATA_NAME, value]])
    const head = seen.ok ? await ask(place, { method: 'HEAD', key: place.key('metadata') }) : seen
    // A header of that size may be answered with a 500 or a broken connection: a smaller one may pass.
    if (head.code === 'AccessDenied') return unread(seen, place, 's3:PutObject') ?? { verdict: 'unknown', seen: head.said }
    said ||= head.said
    if (head.headers.get(METADATA_NAME) !== value) continue
    if (size < config.metadataBytes) return broken(`${size}`, 'objects with more are refused by the store', { 'upstream.metadataBytes': size })
    return used(size === METADATA_BYTES[0] ? `${size} or more` : `${size}`, size > config.metadataBytes ? `upstream.metadataBytes: ${size} is possible` : '')
  }
  return broken(`fewer than ${METADATA_BYTES.at(-1) ?? 0}: ${said}`, 'no sealed object can be written')
}

async function sendStream(place: ProbePlace, name: string, checksum: ChecksumAlgorithm | null): Promise<Reading> {
  const data = randomBytes(STREAM_BYTES)
  const key = place.key(name)
  const written = await ask(place, { method: 'PUT', key, stream: data, checksum })
  // Some take the announcement for a hash, and so the signature for a wrong one: a 403, too, is an answer here.
  if (!written.ok) return unread({ ...written, code: '' }, place, 's3:PutObject') ?? broken(written.said, '')
  const read = await ask(place, { method: 'GET', key })
  return read.body.equals(data) ? used('taken') : broken('other bytes come back', '')
}

function isPlainBeyondLoopback({ config: { endpoint } }: Questions): boolean {
  const { protocol, hostname } = new URL(endpoint)
  return protocol === 'http:' && !isLoopback(hostname.replace(/^\[|\]$/g, ''))
}
