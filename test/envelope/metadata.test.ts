import t from 'tap'
import fc from 'fast-check'
import { ByteReader } from '../../src/envelope/encoding.ts'
import {
  describingEntries,
  encodeEntries,
  entriesSize,
  isDescribing,
  isTrustedType,
  metadataDigest,
  metadataMatches,
  paddedSize,
  readEntries
} from '../../src/envelope/metadata.ts'
import { systemMetadata } from '../../src/s3/names.ts'
import { flip, kindOf } from './fixtures.ts'

type Entry = readonly [string, string]
const digest = (entries: readonly Entry[], type: string | null = 'text/plain') => metadataDigest(type, entries).toString('hex')
const base: readonly Entry[] = [['x-amz-meta-a', 'one'], ['x-amz-meta-b', 'two words']]

await t.test('what stores do to metadata does not change the digest', async (t) => {
  const same: [string, readonly Entry[]][] = [
    ['order', [...base].reverse()],
    ['case of names', [['X-Amz-Meta-A', 'one'], ['x-amz-meta-B', 'two words']]],
    ['spaces, and tabs at the ends', [['x-amz-meta-a', '  one\t'], ['x-amz-meta-b', '\ttwo   words ']]],
    ['empty values', [...base, ['x-amz-meta-c', ''], ['x-amz-meta-d', ' \t']]],
    ['own entries', [...base, ['x-amz-meta-sealgate', 'AQ'], ['X-Amz-Meta-Sealgate-Key', 'k'], ['x-amz-meta-sealgate-context', 'e30=']]],
    ['other headers', [...base, ['x-amz-tagging', 'a=b'], ['etag', '"1"'], ['x-amz-metadata', 'x']]]
  ]
  for (const [name, entries] of same) t.equal(digest(entries), digest(base), name)
  t.equal(digest([['x-amz-meta-a', 'one'], ['x-amz-meta-a', 'two']]), digest([['x-amz-meta-a', 'one,two']]), 'repeated names are joined')
  const looks = ['b\xe4r', 'bär €', '=?UTF-8?B?YsOkcg==?=', '=?UTF-8?Q?b=C3=A4r?=', 'b\x7fr', 'b\x01r']
  for (const look of looks) t.equal(digest([['x-amz-meta-a', look]]), digest([['x-amz-meta-a', looks[0]!]]), `re-encoded: ${look}`)
  for (const type of [null, '', 'binary/octet-stream', 'application/octet-stream']) {
    t.equal(digest(base, type), digest(base, null), `content type ${type ?? 'null'}`)
  }
  t.equal(digest(base, ' text/plain '), digest(base))
})

await t.test('regression: a run of blanks takes no more than its length', (t) => {
  // Minutes where every blank of the run began a search of its own.
  t.equal(digest([['x-amz-meta-a', `a${' '.repeat(600_000)}b`]]), digest([['x-amz-meta-a', 'a b']]))
  t.end()
})

await t.test('everything else does', async (t) => {
  const different: [string, readonly Entry[], string?][] = [
    ['a value', [['x-amz-meta-a', 'onE'], base[1]!]],
    ['a name', [['x-amz-meta-c', 'one'], base[1]!]],
    ['one less', [base[0]!]],
    ['one more', [...base, ['x-amz-meta-c', '3']]],
    ['values swapped', [['x-amz-meta-a', 'two words'], ['x-amz-meta-b', 'one']]],
    ['a value that only binds its name', [['x-amz-meta-a', 'ü'], base[1]!]],
    ['content type', base, 'text/html'],
    ['no content type', base, 'binary/octet-stream']
  ]
  const digests = new Set([digest(base), ...different.map(([, entries, type]) => digest(entries, type ?? 'text/plain'))])
  t.equal(digests.size, different.length + 1)
  t.not(digest([['x-amz-meta-a', 'ü']]), digest([['x-amz-meta-b', 'ü']]), 'the name of a value that is not bound')
  t.not(digest([['x-amz-meta-a', 'ü']]), digest([]))
})

await t.test('all bindable values are bound', async () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'X', '0', '9', ',', ';', ':', '=', '"'), minLength: 1, maxLength: 6 })
  const entries = fc.uniqueArray(
    fc.tuple(word.map((name) => `x-amz-meta-m${name.toLowerCase()}`), word),
    { selector: ([name]) => name, maxLength: 4 }
  )
  const canonical = (list: readonly Entry[]) => JSON.stringify([...list].sort())
  fc.assert(fc.property(entries, entries, (a, b) => (digest(a) === digest(b)) === (canonical(a) === canonical(b))), { numRuns: 2000 })
})

await t.test('what radosgw makes of names and values binds alike', (t) => {
  const sent = metadataDigest('text/plain', [['x-amz-meta-a_b', 'one'], ['x-amz-meta-tab', 'a\tb']])
  t.ok(metadataMatches(sent, 'text/plain', [['x-amz-meta-a-b', 'one'], ['x-amz-meta-tab', '=?UTF-8?Q?a=09b?=']]))
  t.ok(metadataMatches(sent, 'text/plain', [['x-amz-meta-a_b', 'one'], ['x-amz-meta-tab', 'a\tb']]), 'as AWS and MinIO keep it')
  t.notOk(metadataMatches(sent, 'text/plain', [['x-amz-meta-a-b', 'two'], ['x-amz-meta-tab', 'a\tb']]))
  t.end()
})

await t.test('a name is not another name: what had no "_" gets none', (t) => {
  const names = ['a-b', 'a_b', 'a-b-c', 'a_b-c', 'a-b_c', 'a_b_c', 'ab']
  let passed = 0
  for (const written of names) {
    for (const returned of names) {
      const digest = metadataDigest('text/plain', [[`x-amz-meta-${written}`, 'v']])
      const matches = metadataMatches(digest, 'text/plain', [[`x-amz-meta-${returned}`, 'v']])
      // Of an object that has a name with "_" the two are one: radosgw exchanges them by itself.
      const alike = written.includes('_') && written.replaceAll('_', '-') === returned.replaceAll('_', '-')
      t.equal(matches, written === returned || alike, `${written} as ${returned}`)
      passed += Number(matches)
    }
  }
  t.comment(`${passed} of ${names.length ** 2} pairs match`)
  t.end()
})

await t.test('the content encoding is bound, and its absence as well', (t) => {
  const written = (value: string): Buffer => metadataDigest('text/plain', [['content-encoding', value], ...base])
  const returned = (digest: Buffer, value: string | null): boolean =>
    metadataMatches(digest, 'text/plain', [...value === null ? [] : [['Content-Encoding', value] as const], ...base])
  for (const same of ['gzip', 'GZIP', ' gzip ', 'gzip,', 'aws-chunked,gzip', 'gzip, aws-chunked']) t.ok(returned(written('gzip'), same), same)
  for (const other of [null, '', 'br', 'gzip,gzip', 'identity', 'gzip;q=1', 'g zip']) t.notOk(returned(written('gzip'), other), String(other))
  for (const none of ['', 'aws-chunked', ' , ']) t.ok(returned(metadataDigest('text/plain', base), none), JSON.stringify(none))
  t.notOk(returned(metadataDigest('text/plain', base), 'gzip'), 'an encoding that nobody wrote')
  t.ok(returned(written('deflate, gzip'), 'deflate,gzip'))
  t.notOk(returned(written('deflate,gzip'), 'gzip,deflate'), 'in their order')
  t.same(metadataDigest('text/plain', base), metadataDigest('text/plain', [...base, ['content-encoding', '']]), 'objects without one have the digest they had')
  // No user metadata can stand for it.
  t.notSame(metadataDigest('text/plain', [['content-encoding', 'gzip']]), metadataDigest('text/plain', [['x-amz-meta-content-encoding', 'gzip']]))
  t.end()
})

await t.test('content types that are shown as the store says them', (t) => {
  for (const type of ['text/html', 'text/plain; charset=utf-8', 'binary/octet-stream', ' application/octet-stream', '', 'x']) t.ok(isTrustedType(type), type)
  for (const type of ['text/html; x==?', 'text/html; x="\xe4"', 'text/html\t', 'text/html; =?utf-8?q?x?=', 'a\x7f']) {
    t.equal(isTrustedType(type), type === 'text/html\t', type)
  }
  t.end()
})

const read = (bytes: Buffer) => {
  const reader = new ByteReader(bytes, 'format')
  const entries = readEntries(reader)
  reader.end()
  return entries
}

await t.test('sealed metadata: what describes an object, and nothing else, comes back byte for byte', (t) => {
  const given: Entry[] = [
    ['X-Amz-Meta-Zeta', 'z'],
    ['x-amz-meta-a_b', 'under'],
    ['x-amz-meta-a-b', 'dash'],
    ['x-amz-meta-empty', ''],
    ['x-amz-meta-', 'no name'],
    ['x-amz-meta-spaces', '  two  spaces\tand a tab \t'],
    ['x-amz-meta-utf8', Buffer.from('größe €', 'utf8').toString('latin1')],
    ['x-amz-meta-latin1', 'gr\xf6\xdfe'],
    ['x-amz-meta-word', '=?UTF-8?B?w7Y=?='],
    ['x-amz-meta-twice', 'one'],
    ['x-amz-meta-twice', ' two '],
    ['Expires', 'never'],
    ['Cache-Control', 'no-store'],
    ['Content-Disposition', 'attachment; filename="gr\xc3\xb6\xc3\x9fe"'],
    ['Content-Language', 'de'],
    ['Content-Encoding', 'gzip'],
    ['Content-Type', 'text/html; charset=utf-8'],
    ['x-amz-meta-sealgate', 'AQ'],
    ['x-amz-meta-sealgate-key', 'k'],
    ['x-amz-tagging', 'a=b'],
    ['x-amz-acl', 'private'],
    ['content-length', '5']
  ]
  const entries = describingEntries(given)
  t.same(entries.map(([name]) => name.replace('x-amz-meta-', '-')), [
    'content-type',
    'content-encoding',
    'content-language',
    'content-disposition',
    'cache-control',
    'expires',
    '-',
    '-a-b',
    '-a_b',
    '-empty',
    '-latin1',
    '-spaces',
    '-twice',
    '-utf8',
    '-word',
    '-zeta'
  ])
  const values = new Map(entries)
  t.match(Object.fromEntries(values), {
    'x-amz-meta-spaces': 'two  spaces\tand a tab',
    'x-amz-meta-twice': 'one,two',
    'x-amz-meta-word': '=?UTF-8?B?w7Y=?=',
    'x-amz-meta-latin1': 'gr\xf6\xdfe',
    'x-amz-meta-empty': ''
  })
  t.equal(Buffer.from(values.get('x-amz-meta-utf8') ?? '', 'latin1').toString('utf8'), 'größe €')
  t.same(read(encodeEntries(entries)), entries)
  t.same(describingEntries([['content-type', ''], ['expires', ' '], ['content-type', 'binary/octet-stream']]).length, 1, 'two of one name are one value')
  t.same(describingEntries([['content-type', 'binary/octet-stream'], ['expires', ' \t']]), [], 'nothing is what S3 shows without it')
  t.same([...systemMetadata].filter((name) => !isDescribing(name)), [], 'all that S3 lets a writer choose')
  t.end()
})

const headerByte = fc.constantFrom(...Array.from({ length: 256 }, (_, i) => i).filter((i) => i === 9 || (i >= 32 && i !== 127))).map((i) =>
  String.fromCharCode(i)
)
const anyHeaders = fc.array(
  fc.tuple(
    fc.oneof(
      fc.constantFrom(...systemMetadata),
      fc.string({ unit: fc.constantFrom('a', 'b', 'A', '0', '-', '_', '.', '!', '~', '\'', '`', '|'), minLength: 1, maxLength: 12 }).map((name) =>
        `x-amz-meta-${name}`
      )
    ),
    fc.string({ unit: headerByte, maxLength: 70 })
  ),
  { maxLength: 8 }
)

await t.test('sealed metadata: one content has one encoding, in blocks of 64 bytes', (t) => {
  const sizes = new Set<number>()
  fc.assert(
    fc.property(anyHeaders, (headers) => {
      const entries = describingEntries(headers)
      const bytes = encodeEntries(entries)
      t.same(read(bytes), entries)
      t.same(describingEntries(entries), entries)
      t.ok(bytes.length % 64 === 0 && bytes.length === paddedSize(entriesSize(entries)))
      sizes.add(bytes.length)
      // What can be read is what is written: no other bytes stand for any content.
      for (let bit = 0; bit < bytes.length * 8; bit += 37) {
        const other = flip(bytes, bit)
        const got = kindOf(() => read(other))
        if (got !== 'format') t.ok(encodeEntries(got as Entry[]).equals(other))
      }
    }),
    { numRuns: 300 }
  )
  t.comment(`${sizes.size} sizes`)
  t.end()
})

await t.test('sealed metadata: every other encoding is refused', (t) => {
  const entry = (code: number, value: string, name?: string) =>
    Buffer.concat([
      Buffer.from([code]),
      ...name === undefined ? [] : [Buffer.from([name.length]), Buffer.from(name, 'latin1')],
      Buffer.from([value.length >> 8, value.length & 255]),
      Buffer.from(value, 'latin1')
    ])
  const block = (...entries: Buffer[]) => {
    const bytes = Buffer.concat(entries)
    return Buffer.concat([bytes, Buffer.alloc(paddedSize(bytes.length) - bytes.length)])
  }
  t.same(read(block(entry(1, 'a/b'), entry(7, '', 'n'))), [['content-type', 'a/b'], ['x-amz-meta-n', '']])
  t.equal(read(entry(7, 'v'.repeat(59), 'n')).length, 1, 'no padding where none is due')
  const bad: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['a short block', Buffer.alloc(63)],
    ['two blocks of padding', Buffer.alloc(128)],
    ['a block more', Buffer.concat([block(entry(1, 'a/b')), Buffer.alloc(64)])],
    ['padding that is not zero', Buffer.concat([block(entry(1, 'a/b')).subarray(0, 63), Buffer.from([1])])],
    ['an entry behind the padding', Buffer.concat([Buffer.alloc(1), block(entry(1, 'a/b')).subarray(0, 63)])],
    ['an unknown code', block(entry(8, 'x'))],
    ['codes out of order', block(entry(2, 'gzip'), entry(1, 'a/b'))],
    ['a code twice', block(entry(1, 'a/b'), entry(1, 'a/b'))],
    ['a describing header behind user metadata', block(entry(7, 'v', 'n'), entry(1, 'a/b'))],
    ['names out of order', block(entry(7, 'v', 'b'), entry(7, 'v', 'a'))],
    ['a name twice', block(entry(7, 'v', 'a'), entry(7, 'v', 'a'))],
    ['a name in upper case', block(entry(7, 'v', 'A'))],
    ['a name of ours', block(entry(7, 'v', 'sealgate-key'))],
    ['a name that is no token', block(entry(7, 'v', 'a b'))],
    ['a name with a line break', block(entry(7, 'v', 'a\nb'))],
    ['no value', block(entry(1, ''))],
    ['the default type', block(entry(1, 'binary/octet-stream'))],
    ['a space in front', block(entry(7, ' v', 'a'))],
    ['a tab at the end', block(entry(7, 'v\t', 'a'))],
    ['a blank', block(entry(7, ' ', 'a'))],
    ['a line break', block(entry(7, 'v\r\nx: y', 'a'))],
    ['a NUL', block(entry(7, 'v\0', 'a'))],
    ['a DEL', block(entry(7, 'v\x7f', 'a'))],
    ['a value that is cut', block(entry(7, 'v', 'a')).fill(0xff, 3, 5)]
  ]
  for (const [name, bytes] of bad) t.equal(kindOf(() => read(bytes)), 'format', name)
  for (const entries of [[['x-amz-meta-b', ''], ['x-amz-meta-a', '']], [['x-amz-meta-A', '']], [['x-amz-meta-a', ' ']]] as Entry[][]) {
    t.throws(() => encodeEntries(entries), RangeError)
  }
  t.end()
})
