import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { copySourceRange, parsePartNumber, parseRange, resolveRange } from '../../src/s3/range.ts'
import { errorCode } from '../support/error-code.ts'

/** The bytes of a range, found without arithmetic: each offset is tested. */
function meant(size: number, isMeant: (offset: number) => boolean): number[] {
  return Array.from({ length: size }, (_, i) => i).filter(isMeant)
}

function bytesOf(text: string, size: number): number[] | string {
  const spec = parseRange(text)
  if (spec === null) return 'ignored'
  try {
    const { first, last } = resolveRange(spec, size)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  } catch (error) {
    return error instanceof S3Error ? error.code : 'other'
  }
}

await t.test('every form against every small size', (t) => {
  let count = 0
  const check = (text: string, size: number, bytes: number[] | 'ignored'): void => {
    const expected = bytes === 'ignored' ? bytes : bytes.length === 0 ? 'InvalidRange' : bytes
    const got = bytesOf(text, size)
    if (JSON.stringify(got) !== JSON.stringify(expected)) t.fail(`${text} of ${size}: ${JSON.stringify(got)}`)
    count += 1
  }
  for (let size = 0; size <= 12; size += 1) {
    for (let a = 0; a <= 14; a += 1) {
      check(`bytes=${a}-`, size, meant(size, (i) => i >= a))
      check(`bytes=-${a}`, size, meant(size, (i) => i >= size - a))
      for (let b = 0; b <= 14; b += 1) check(`bytes=${a}-${b}`, size, b < a ? 'ignored' : meant(size, (i) => i >= a && i <= b))
    }
  }
  t.comment(`${count.toLocaleString('en')} ranges against sizes 0 to 12`)
  t.equal(count, 13 * 15 * 17)
  t.end()
})

await t.test('what S3 ignores', (t) => {
  const ignored = [
    '',
    'bytes',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=1',
    'bytes=0-1,3-4',
    'bytes=0-1,',
    'bytes 0-1',
    'bytes=0 -1',
    'bytes=+0-1',
    'bytes=--1',
    'bytes=0--1',
    'bytes=0-1-2',
    'bytes=0x0-0x1',
    'bytes=1.0-2',
    'items=0-1',
    'bytes=0-1;',
    'bytes=٠-١',
    '0-1',
    'bytes==0-1'
  ]
  for (const text of ignored) t.equal(parseRange(text), null, text)
  t.strictSame(bytesOf('Bytes=0-1', 9), [0, 1], 'units compare without case')
  t.strictSame(bytesOf(' bytes=0-1 ', 9), [0, 1], 'white space around a field value is none of it')
  t.strictSame(bytesOf(`bytes=7-${'9'.repeat(400)}`, 9), [7, 8])
  t.equal(bytesOf(`bytes=${'9'.repeat(400)}-`, 9), 'InvalidRange')
  t.strictSame(bytesOf(`bytes=-${'9'.repeat(400)}`, 2), [0, 1])
  t.end()
})

await t.test('a 416 has the requested range and the size', (t) => {
  const spec = parseRange('bytes=9-')
  t.throws(() => spec !== null && resolveRange(spec, 9), {
    status: 416,
    code: 'InvalidRange',
    fields: { RangeRequested: 'bytes=9-', ActualObjectSize: '9' }
  })
  t.end()
})

await t.test('copy source ranges take one form and stay inside', (t) => {
  t.strictSame(copySourceRange('bytes=0-8', 9), { first: 0, last: 8 })
  t.strictSame(copySourceRange('bytes=8-8', 9), { first: 8, last: 8 })
  // Beyond the source AWS answers 400, not 416.
  for (const text of ['bytes=0-9', 'bytes=9-9', `bytes=0-${'9'.repeat(99)}`]) t.equal(errorCode(() => copySourceRange(text, 9)), 'InvalidArgument', text)
  for (const text of ['', 'bytes=0-', 'bytes=-1', '0-1', 'bytes=2-1', 'bytes=0-1,2-3', 'bytes=a-b', 'bytes=0+0-1', 'BYTES=0-1']) {
    t.equal(errorCode(() => copySourceRange(text, 9)), 'InvalidArgument', text)
  }
  t.end()
})

await t.test('part numbers are whole numbers from 1 to the highest one', (t) => {
  for (const number of [1, 2, 9_999, 10_000]) t.equal(parsePartNumber(String(number)), number)
  t.equal(parsePartNumber('0007'), 7)
  for (const text of ['', '0', '10001', '100000', '-1', '1.0', '1e3', ' 1', '0x1', 'one']) {
    t.equal(errorCode(() => parsePartNumber(text)), 'InvalidArgument', text)
  }
  t.equal(parsePartNumber('900', 900), 900)
  t.throws(() => parsePartNumber('901', 900), { message: /between 1 and 900,/, fields: { ArgumentValue: '901' } })
  t.end()
})
