import t from 'tap'
import fc from 'fast-check'
import { parseTarget } from '../../src/http/target.ts'
import { formatCopySource, parseCopySource } from '../../src/s3/names.ts'
import { address } from '../../src/s3/route.ts'
import { errorCode } from '../support/error-code.ts'

const raws = [
  '.',
  '..',
  '%2e',
  '%2E%2e',
  '%2e.',
  'a',
  'b%20c',
  '+',
  '%2B',
  '%2F',
  '%2f%2F',
  '%25',
  '%252F',
  '%25%32%46',
  '%3F',
  '%3FversionId=1',
  '%23',
  '%26',
  '=',
  '&',
  '%C3%A4',
  '%F0%9F%98%80',
  '%22',
  '%3C',
  '%0A',
  '%07',
  '~',
  '!',
  '(',
  '%5C',
  '%7F',
  '%EF%BB%BF',
  '%E2%80%AE'
]
const bad = ['%', '%2', '%zz', '%C3', '%ff', '%C0%AF', '%ED%A0%80', '%F8%88%80%80%80', 'a%', '%00']

/** By hand and only for the good ones: the reading everybody must come to. */
function expected(raw: string): string {
  return decodeURIComponent(raw)
}

/** Both readings of one spelling: as a request path and as a copy source. */
function readings(raw: string): [path: string, hosted: string, copy: string] {
  const path = address(parseTarget(`/bucket/${raw}`), 'localhost', [])
  const hosted = address(parseTarget(`/${raw}`), 'bucket.example.com', ['example.com'])
  return [path.key ?? '', hosted.key ?? '', parseCopySource(`bucket/${raw}`).key]
}

await t.test('one spelling, one key: in paths, under hosts and in copy sources', (t) => {
  const spellings = new Set<string>()
  for (const a of raws) {
    for (const b of raws) for (const join of ['', '/', '//']) spellings.add(`${a}${join}${b}`)
    for (const shape of [`${a}/`, `/${a}`, `//${a}`, `${a}//`]) spellings.add(shape)
  }
  for (const raw of spellings) {
    if (raw.startsWith('/')) {
      // A leading slash belongs to the key here; only the bucket's own slash is taken.
      const [path, hosted, copy] = readings(raw)
      if (path !== expected(raw) || hosted !== path || copy !== path) t.fail(`${raw}: ${path} ${hosted} ${copy}`)
      continue
    }
    const key = expected(raw)
    const got = [
      ...readings(raw),
      parseCopySource(`/bucket/${raw}`).key,
      parseCopySource(`bucket/${raw}?versionId=v1`).key,
      parseCopySource(encodeURIComponent(`bucket/${key}`)).key,
      parseCopySource(`${encodeURIComponent(`/bucket/${key}`)}?versionId=v1`).key
    ]
    if (got.some((g) => g !== key)) t.fail(`${raw}: ${JSON.stringify(got)} is not ${key}`)
  }
  t.comment(`${spellings.size.toLocaleString('en')} spellings of keys read alike in five places`)
  t.ok(spellings.size > 500)
  t.end()
})

await t.test('what does not decode is refused in both places', (t) => {
  let count = 0
  for (const b of bad) {
    for (const a of ['', ...raws]) {
      const raw = `${a}${b}`
      if (errorCode(() => address(parseTarget(`/bucket/${raw}`), 'localhost', [])) !== 'InvalidURI') t.fail(`path ${raw}`)
      const code = errorCode(() => parseCopySource(`bucket/${raw}`))
      if (code !== (b === '%00' ? 'InvalidURI' : 'InvalidArgument')) t.fail(`copy source ${raw}: ${code}`)
      count += 1
    }
  }
  t.comment(`${count} undecodable spellings refused twice each`)
  t.equal(count, bad.length * (raws.length + 1))
  t.end()
})

await t.test('copy sources', (t) => {
  t.strictSame(parseCopySource('/bucket/key'), { bucket: 'bucket', key: 'key', versionId: null })
  t.strictSame(parseCopySource('bucket/a/b?versionId=null'), { bucket: 'bucket', key: 'a/b', versionId: 'null' })
  t.strictSame(parseCopySource('bucket/a%3Fb?versionId=a%2Bb%3D'), { bucket: 'bucket', key: 'a?b', versionId: 'a+b=' })
  t.strictSame(parseCopySource('%62ucket/k'), { bucket: 'bucket', key: 'k', versionId: null })
  for (
    const [source, key, versionId] of [
      ['bucket%2Fkey', 'key', null],
      ['%2Fbucket%2Fa%2Fb', 'a/b', null],
      ['/bucket%2Fkey?versionId=v1', 'key', 'v1'],
      ['bucket%2f%2fkey', '/key', null],
      ['bucket%2Fa%3FversionId%3D1', 'a?versionId=1', null],
      ['bucket%2Fa%3FversionId%3D1?versionId=v1', 'a?versionId=1', 'v1'],
      ['bucket%2Fa%252Fb', 'a%2Fb', null],
      ['bucket/a%252Fb', 'a%2Fb', null],
      ['bucket%2Fa+b', 'a+b', null],
      ['bucket/%2Fkey', '/key', null]
    ] as const
  ) t.strictSame(parseCopySource(source), { bucket: 'bucket', key, versionId }, source)
  const raw = Buffer.from('bucket/ä😀', 'utf8').toString('latin1')
  t.strictSame(parseCopySource(raw), { bucket: 'bucket', key: 'ä😀', versionId: null }, 'bytes of UTF-8 as they are')
  const refused: [source: string, code: string][] = [
    ['', 'InvalidArgument'],
    ['/', 'InvalidArgument'],
    ['bucket', 'InvalidArgument'],
    ['/bucket', 'InvalidArgument'],
    ['bucket/', 'InvalidArgument'],
    ['//key', 'InvalidArgument'],
    ['bucket/key?versionId=', 'InvalidArgument'],
    ['bucket/key?', 'InvalidArgument'],
    ['bucket/key?foo=1', 'InvalidArgument'],
    ['bucket/key?versionId=1&x=2', 'InvalidArgument'],
    ['bucket/key?versionId=%zz', 'InvalidArgument'],
    ['bucket%2F', 'InvalidArgument'],
    ['%2Fbucket', 'InvalidArgument'],
    ['b%2Fu/key', 'InvalidArgument'],
    ['%2F%2Fkey', 'InvalidArgument'],
    ['arn%3Aaws%3As3%3A%3A%3Ab%2Fk', 'NotImplemented'],
    ['bucket%2Fkey%3FversionId%3D1?foo=1', 'InvalidArgument'],
    ['arn:aws:s3:eu-west-1:1:accesspoint/a/object/k', 'NotImplemented'],
    ['/arn:aws:s3:::b/k', 'NotImplemented'],
    ['admin/user', 'InvalidArgument'],
    [`bucket/${'a'.repeat(1025)}`, 'KeyTooLongError'],
    ['bucket/\xe4', 'InvalidArgument']
  ]
  for (const [source, code] of refused) t.equal(errorCode(() => parseCopySource(source)), code, source.slice(0, 40))
  t.end()
})

await t.test('a copy source said again means the same', (t) => {
  const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }).filter((k) => !k.includes('\0') && k.isWellFormed())
  const versionId = fc.option(fc.string({ unit: 'binary', minLength: 1 }).filter((v) => v.isWellFormed()))
  fc.assert(
    fc.property(key, versionId, (key, versionId) => {
      const source = { bucket: 'my-bucket', key, versionId }
      const text = formatCopySource(source)
      if (!/^[\x21-\x7e]+$/.test(text) || JSON.stringify(parseCopySource(text)) !== JSON.stringify(source)) throw new Error(text)
    }),
    { numRuns: 300 }
  )
  t.end()
})
