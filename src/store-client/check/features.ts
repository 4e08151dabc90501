import { parseTagging } from '../../s3/documents.ts'
import { upstreamDocument } from '../../s3/xml.ts'
import { BucketClient } from '../bucket-client.ts'
import { contentMd5 } from '../object-properties.ts'
import { probeConditions } from '../probe-conditions.ts'
import type { ProbePlace } from '../probe-place.ts'
import { probeCopyTagMode } from '../probe-tags.ts'
import { tryClientRights } from '../rights.ts'
import { ask, broken, fails, lack, put, rowsOf, present, through, unread, unused, used, type Check, type Questions, type Reading, type Seen } from './check.ts'

const COPY = 'x-amz-copy-source'

/** What stores leave out of S3: each in the kinds of bucket where it may differ. */
export const featureChecks: readonly Check[] = [
  {
    id: 'rights',
    fact: 'rights',
    requests: 8,
    ask: async ({ place, upstream, ownCors }) => {
      const bucket = new BucketClient(upstream, place.name, place.signal)
      const rights = await tryClientRights({ bucket, identity: undefined }, !ownCors)
      return rights.map(({ check, ok, detail }): Reading => {
        const reading: Reading = ok === null ? { verdict: 'unknown', seen: detail } : ok ? used('granted') : broken(detail, 'see docs/PERMISSIONS.md')
        return { ...reading, fact: `right ${check}` }
      })
    }
  },
  { id: 'conditions', fact: 'conditional requests', requests: 39, bytes: 140_000, kinds: ['unversioned', 'versioned', 'suspended'], ask: conditions },
  {
    id: 'copy',
    fact: 'CopyObject with new metadata',
    requests: 9,
    kinds: ['unversioned', 'versioned'],
    ask: async ({ place, second }) => {
      await put(place, 'copy', [['x-amz-meta-kept', 'yes'], ['content-type', 'text/x-probe']], 'copied')
      const source = `/${place.name}/${place.key('copy')}`
      const replaced = await copyTo(place, 'copy-to', [[COPY, source], ['x-amz-metadata-directive', 'REPLACE'], ['x-amz-meta-new', 'yes']])
      const kept = await copyTo(place, 'copy-kept', [[COPY, source]])
      const across = second === null ? null : await copyTo(second, 'copy-across', [[COPY, source]])
      const onto = await ask(place, {
        method: 'PUT',
        key: place.key('copy'),
        headers: [[COPY, source], ['x-amz-metadata-directive', 'REPLACE'], ['x-amz-meta-new', 'yes']]
      })
      return [
        replaced.headers.get('x-amz-meta-new') === 'yes' && !replaced.headers.has('x-amz-meta-kept')
          ? used('taken')
          : unread(replaced, place, 's3:GetObject') ??
            broken(replaced.ok ? 'the metadata is not replaced' : replaced.said, 'copies between sealed objects fail'),
        { ...onto.ok ? used('taken') : fails(onto.said, 'changing metadata in place and rewrap fail'), fact: 'CopyObject onto itself' },
        {
          ...kept.headers.get('x-amz-meta-kept') === 'yes' && kept.headers.get('content-type') === 'text/x-probe'
            ? unused('kept')
            : fails(kept.ok ? 'lost' : kept.said, 'copies in buckets that are not encrypted lose it'),
          fact: 'CopyObject keeps metadata'
        },
        ...across === null ? [] : [{ ...across.ok ? used('taken') : fails(across.said, 'such copies fail'), fact: 'CopyObject into another bucket' }]
      ]
    }
  },
  { id: 'tags', fact: 'tags of objects', requests: 14, kinds: ['unversioned', 'versioned'], ask: tags },
  {
    id: 'acl',
    fact: 'ACLs of objects',
    requests: 3,
    ask: async ({ place, config }) => {
      const written = await put(place, 'acl', [['x-amz-acl', 'private']])
      const read = await ask(place, { method: 'GET', key: place.key('acl'), query: [['acl', null]] })
      if (written.ok && read.ok) return present('taken', config, 'acl')
      return unread(read, place, 's3:GetObjectAcl') ??
        fails(written.ok ? read.said : written.said, 'ACLs of clients are refused', lack(written.ok ? read : written, 'acl'))
    }
  },
  {
    id: 'cors',
    fact: 'CORS rules of buckets',
    requests: 3,
    ask: async ({ place, config, ownCors, ownBucket }) => {
      if (ownCors) return unused('not asked', 'listen.cors answers preflights')
      const rules = Buffer.from(
        '<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>'
      )
      const cors = { query: [['cors', null]] } as const
      // Rules of a bucket that others use are left alone.
      const written = ownBucket
        ? await ask(place, { method: 'PUT', ...cors, headers: [contentMd5(rules), ['content-type', 'application/xml']], body: rules })
        : null
      const seen = await ask(place, { method: 'GET', ...cors })
      if (written === null ? seen.ok || seen.code === 'NoSuchCORSConfiguration' : written.ok && seen.ok) return present(seen.said, config, 'cors')
      const refused = written?.ok === false ? written : seen
      return unread(refused, place, 's3:GetBucketCORS') ?? through(refused.said, 'listen.cors, where browsers need it', lack(refused, 'cors'))
    }
  },
  {
    id: 'storage-class',
    fact: 'x-amz-storage-class STANDARD_IA',
    requests: 2,
    ask: async ({ place }) => {
      const written = await put(place, 'class', [['x-amz-storage-class', 'STANDARD_IA']])
      const head = await ask(place, { method: 'HEAD', key: place.key('class') })
      if (!written.ok) return unread(written, place, 's3:PutObject') ?? fails(written.said, 'clients can choose STANDARD only')
      return unused(head.headers.get('x-amz-storage-class') === 'STANDARD_IA' ? 'kept' : 'taken and not kept')
    }
  },
  { id: 'names', fact: 'names of objects', requests: 40, ask: names }
]

/** Object Lock, in a bucket that was made for it. Only legal holds are used: a retention could not be removed again. */
export const lockCheck: Check = {
  id: 'lock',
  fact: 'Object Lock',
  requests: 10,
  ask: async ({ place, config }) => {
    const hold = ['x-amz-object-lock-legal-hold', 'ON'] as const
    place.hold()
    const plain = await put(place, 'lock', [hold])
    const demands = !plain.ok &&
      (await ask(place, { method: 'PUT', key: place.key('lock'), headers: [hold, contentMd5(Buffer.from('probe'))], body: Buffer.from('probe') })).ok
    const crc32 = demands && (await ask(place, { method: 'PUT', key: place.key('lock'), headers: [hold], body: Buffer.from('probe'), checksum: 'crc32' })).ok
    if (plain.ok) return present('taken without a digest', config, 'lock')
    if (!demands) return unread(plain, place, 's3:PutObjectLegalHold') ?? fails(plain.said, 'locks of clients are refused', lack(plain, 'lock'))
    if (config.checksum !== null) return used('taken with a digest', 'by upstream.checksum')
    return crc32
      ? through('only with a digest of the stored bytes', 'upstream.checksum: crc32', { 'upstream.checksum': 'crc32' })
      : fails('only with an MD5', 'bodies above 64 KiB cannot be locked')
  }
}

async function conditions({ place, upstream, config }: Questions): Promise<Reading[]> {
  const found = await probeConditions(upstream, place.name, place.signal, `${place.prefix}probe/`)
  const rows = (['put', 'complete', 'copy', 'delete'] as const).map((name): Reading => {
    const fact = {
      put: 'conditions on PutObject',
      complete: 'conditions on CompleteMultipartUpload',
      copy: 'conditions on CopyObject',
      delete: 'If-Match on DeleteObject'
    }[name]
    if (config.conditions[name] === true && !found[name]) {
      return { ...broken('ignored', `upstream.conditions.${name} claims them: writes overwrite each other`, { [`upstream.conditions.${name}`]: null }), fact }
    }
    if (!found[name]) return { ...fails('ignored or refused', 'such requests are answered 501'), fact }
    return { ...used('enforced', name === 'put' && found.putEtags === 'bare' ? 'with ETags without quotes' : ''), fact }
  })
  const bound = found.copySourceIfMatch
    ? used(`enforced by ${found.copySourceHeader}`)
    : through('ignored or refused', 'copies of objects without a version pass through the gateway')
  return [...rows, { ...bound, fact: 'conditions on the source of a copy' }]
}

async function copyTo(place: ProbePlace, name: string, headers: readonly (readonly [string, string])[]): Promise<Seen> {
  const key = place.key(name)
  const copied = await ask(place, { method: 'PUT', key, headers })
  return copied.ok ? ask(place, { method: 'HEAD', key }) : copied
}

async function tags({ place, upstream, config }: Questions): Promise<Reading[]> {
  const key = place.key('tags')
  const empty = await put(place, 'tags', [['x-amz-tagging', '']])
  const written = await put(place, 'tags', [['x-amz-tagging', 'a=b%20c']])
  const read = await ask(place, { method: 'GET', key, query: [['tagging', null]] })
  const none = { ...empty.ok ? used('taken') : through(empty.said, 'leaving it out'), fact: 'an empty x-amz-tagging' }
  if (!written.ok || !read.ok || tagIn(read) !== 'b c') {
    const seen = written.ok ? read : written
    return [
      unread(seen, place, 's3:PutObjectTagging, s3:GetObjectTagging') ??
        fails(seen.ok ? 'lost' : seen.said, 'tags of clients are refused', lack(seen, 'tagging')),
      none
    ]
  }
  const mode = await probeCopyTagMode(upstream, place.name, place.signal, `${place.prefix}probe/`).catch(() => null)
  place.signal.throwIfAborted()
  const copied: Reading = mode === null ?
    { verdict: 'unknown', seen: 'no usable answer' }
    : mode === 'kept' ?
    used('kept')
    : through(mode === 'sent' ? 'lost unless sent' : 'lost', 'sending them again')
  return [present('taken', config, 'tagging'), none, { ...copied, fact: 'copies keep tags' }]
}

function tagIn({ body }: Seen): string | null {
  try {
    return parseTagging(body, upstreamDocument).find(([name]) => name === 'a')?.[1] ?? null
  } catch {
    return null
  }
}

const segment = 'n'.repeat(200)
/** Names by what is special about them. */
const special: readonly (readonly [what: string, name: (room: number) => string])[] = [
  ['"+", spaces, "%41", quotes', () => 'names/a+b c%41"&<'],
  ['letters beyond ASCII', () => 'names/üñ日本😀'],
  ['"//"', () => 'names//double//'.concat('x')],
  ['"." and ".." between slashes', () => 'names/./one/../two'],
  ['1,024 bytes', (room) => `names/${segment}/${segment}/${segment}/${segment}/${segment}`.slice(0, room)],
  ['255 bytes and more between slashes', (room) => `names/${'w'.repeat(room)}`.slice(0, Math.min(room, 500))]
]

async function names({ place }: Questions): Promise<Reading[]> {
  const found: Reading[] = []
  for (const [what, make] of special) {
    const name = make(1024 - place.prefix.length)
    const written = await put(place, name, [], what)
    const read = written.ok ? await ask(place, { method: 'GET', key: place.key(name) }) : written
    // A store that fails with a 500 or hangs up here has taken other names.
    const missing = written.code === 'AccessDenied' ? unread(written, place, 's3:PutObject') : null
    const reading = read.ok && read.text === what ?
      used('taken')
      : missing ?? fails(written.ok ? 'taken and not found again' : written.said, 'objects with such names fail')
    found.push({ ...reading, fact: `names with ${what}` })
  }
  const listed = rowsOf(await ask(place, { method: 'GET', query: [['prefix', `${place.prefix}names/`], ['encoding-type', 'url']] })).map(({ key }) => key)
  const wrong = listed.filter((key) => !special.some(([, make]) => key === place.prefix + make(1024 - place.prefix.length)))
  return [
    ...found,
    {
      ...wrong.length === 0 ? used('as they were written') : fails(`${wrong.length} under another name`, 'listings show wrong names'),
      fact: 'names in listings'
    },
    ...await directories(place)
  ]
}

/** Names that end in a slash: folders, for many clients. */
async function directories(place: ProbePlace): Promise<Reading[]> {
  const tried = async (name: string, body: string): Promise<Seen> => {
    const written = await put(place, name, [['x-amz-meta-kept', 'yes']], body)
    return written.ok ? ask(place, { method: 'HEAD', key: place.key(name) }) : written
  }
  const empty = await tried('folder/', '')
  const full = await tried('full/', 'a body')
  return [
    {
      ...empty.ok && empty.headers.has('x-amz-meta-kept')
        ? used('taken')
        : unread(empty, place, 's3:PutObject') ?? fails(empty.ok ? 'their metadata is lost' : empty.said, 's3fs, Hadoop and "create folder" fail'),
      fact: 'empty objects whose names end in "/"'
    },
    {
      ...full.ok && full.headers.get('content-length') === '6' ?
        used('taken')
        : unread(full, place, 's3:PutObject') ?? fails(full.ok ? 'the body is lost' : full.said, 'only empty objects can have such names'),
      fact: 'objects with a body whose names end in "/"'
    }
  ]
}
