import t from 'tap'
import fc from 'fast-check'
import {
  MAX_PART_PLAINTEXT,
  MAX_PLAINTEXT,
  MAX_SINGLE_PLAINTEXT,
  MAX_STORED_SINGLE,
  MIN_PART_SIZE,
  paddedPartSize,
  partOffsets,
  plaintextSize,
  segmentRange,
  segmentStart,
  storedPartSize,
  storedSize,
  streamPlaintextSize,
  streamSize,
  tailSize
} from '../../src/envelope/sizes.ts'
import { kindOf, SMALL } from './fixtures.ts'

/** Proof (b): the most that manifest and footer take. */
const tailBound = (parts: number) => 296 + 160 * parts

/** Both sides of every boundary of segments, blocks of 65,536 and powers of two. */
function* boundaries(): Generator<number> {
  for (const step of [65520, 65536, 5 * 1024 * 1024]) {
    for (let k = 0; k < 3000; k += 1) {
      for (let d = -57; d <= 57; d += 19) yield k * step + d
      for (const d of [-41, -40, -39, -1, 1]) yield k * step + d
    }
  }
  for (let e = 10; e < 46; e += 1) for (const d of [-1, 0, 1]) yield 2 ** e + d
}

await t.test('the size law and its inverse', async (t) => {
  let count = 0
  for (const p of boundaries()) {
    if (p < 0 || p > MAX_PLAINTEXT) continue
    count += 1
    const s = storedSize(p)
    if (plaintextSize(s) !== p) t.fail(`inverse of ${s}`)
    if (storedSize(p + 1) <= s) t.fail(`not increasing at ${p}`)
    if (streamPlaintextSize(streamSize(p)) !== p) t.fail(`inverse of the stream size of ${p}`)
    if (s - streamSize(p) < tailBound(0)) t.fail(`no room for the tail of a single of ${p}`)
  }
  t.comment(`${count} sizes at boundaries`)
  t.equal(storedSize(0), 512)
  t.equal(storedSize(1), 533)
  t.equal(storedSize(65536), 66068)
  t.equal(storedSize(65537), 66089)
  t.equal(streamSize(0), 56)
})

await t.test('sizes that no object has are recognised, all of the first 400,000', async (t) => {
  const image = new Map<number, number>()
  for (let p = 0; storedSize(p) < 400_000; p += 1) image.set(storedSize(p), p)
  for (let s = 0; s < 400_000; s += 1) {
    if (plaintextSize(s) !== (image.get(s) ?? null)) t.fail(`size ${s}`)
  }
  const streams = new Map<number, number>()
  for (let p = 0; streamSize(p) < 400_000; p += 1) streams.set(streamSize(p), p)
  for (let s = 0; s < 400_000; s += 1) {
    if (streamPlaintextSize(s) !== (streams.get(s) ?? null)) t.fail(`stream size ${s}`)
  }
  for (const s of [-1, 0, 511, NaN, 512.5, Infinity, 2 ** 60]) t.equal(plaintextSize(s), null)
})

await t.test('limits', async (t) => {
  t.equal(storedSize(MAX_SINGLE_PLAINTEXT), MAX_STORED_SINGLE)
  t.ok(storedSize(MAX_SINGLE_PLAINTEXT + 1) > MAX_STORED_SINGLE)
  t.equal(paddedPartSize(MAX_PART_PLAINTEXT), MAX_STORED_SINGLE)
  t.ok(paddedPartSize(MAX_PART_PLAINTEXT + 1) > MAX_STORED_SINGLE)
  t.ok(Number.isSafeInteger(storedSize(MAX_PLAINTEXT)))
})

await t.test('a padded part has room for its stream and at least 88 zeros', async (t) => {
  let least = Infinity
  for (const p of boundaries()) {
    if (p >= MIN_PART_SIZE && p <= MAX_PART_PLAINTEXT) least = Math.min(least, paddedPartSize(p) - streamSize(p))
  }
  for (let p = MIN_PART_SIZE; p < MIN_PART_SIZE + 3 * 65536; p += 1) least = Math.min(least, paddedPartSize(p) - streamSize(p))
  t.equal(least, 88)
  t.ok(paddedPartSize(3_801_087) < streamSize(3_801_087), 'smaller ones may have none (docs/decisions/0103)')
})

await t.test('the tail fits behind parts of any sizes', async (t) => {
  const size = fc.oneof(
    fc.integer({ min: MIN_PART_SIZE, max: MAX_PART_PLAINTEXT }),
    fc.tuple(fc.integer({ min: 81, max: 81_000 }), fc.integer({ min: -57, max: 57 })).map(([k, d]) => k * 65536 + d),
    fc.constantFrom(MIN_PART_SIZE, MIN_PART_SIZE + 1, MAX_PART_PLAINTEXT)
  )
  const last = fc.oneof(
    size,
    fc.integer({ min: 0, max: MIN_PART_SIZE - 1 }),
    fc.constantFrom(0, 1, 65480, 65481, 65536, 65537, MIN_PART_SIZE - 1)
  )
  fc.assert(
    fc.property(fc.array(size, { maxLength: 60 }), last, (sizes, end) => {
      const all = [...sizes, end]
      const tail = tailSize(all)
      return tail >= tailBound(all.length) && tail <= 852 + 180 * all.length
    }),
    { numRuns: 3000 }
  )
  for (const part of [MIN_PART_SIZE, MIN_PART_SIZE + 65535, MAX_PART_PLAINTEXT]) {
    for (const end of [0, 1, 65481, MIN_PART_SIZE - 1, MIN_PART_SIZE, part]) {
      const all = [...Array.from({ length: 9999 }, () => part), end]
      const tail = tailSize(all)
      t.ok(tail >= tailBound(10_000) && tail < 2_000_000, `10,000 parts of ${part}, the last of ${end}: tail of ${tail}`)
    }
  }
})

await t.test('offsets of parts', async (t) => {
  const sizes = [MIN_PART_SIZE, MIN_PART_SIZE + 7, 100]
  const { stored, plaintext, storedEnd, plaintextEnd } = partOffsets(sizes)
  t.same(stored, [0, paddedPartSize(sizes[0]!), paddedPartSize(sizes[0]!) + paddedPartSize(sizes[1]!)])
  t.same(plaintext, [0, MIN_PART_SIZE, 2 * MIN_PART_SIZE + 7])
  t.equal(storedEnd, stored[2]! + streamSize(100))
  t.equal(plaintextEnd, 2 * MIN_PART_SIZE + 107)
  t.equal(storedPartSize(MIN_PART_SIZE), paddedPartSize(MIN_PART_SIZE))
  t.equal(storedPartSize(MIN_PART_SIZE - 1), streamSize(MIN_PART_SIZE - 1))
  const bad = [
    [],
    [1, 1],
    [MIN_PART_SIZE - 1, MIN_PART_SIZE],
    [MAX_PART_PLAINTEXT + 1],
    Array.from({ length: 10_001 }, () => MIN_PART_SIZE)
  ]
  for (const list of bad) t.equal(kindOf(() => partOffsets(list)), 'length')
})

await t.test('segment ranges, every range of small parts against counting', async (t) => {
  const payload = SMALL.segmentSize - 16
  const segmentOf: number[] = []
  for (let i = 0; segmentOf.length < 500; i += 1) for (let n = 0; n < (i === 0 ? payload - 40 : payload); n += 1) segmentOf.push(i)
  for (const size of [1, payload - 41, payload - 40, payload - 39, 2 * payload - 40, 2 * payload - 39, 450]) {
    const end = streamSize(size, SMALL.segmentSize)
    for (let a = 0; a < size; a += 1) {
      for (let b = a; b < size; b += 1) {
        const range = segmentRange(a, b, size, SMALL.segmentSize)
        const start = segmentOf.indexOf(range.firstSegment)
        const right = range.firstSegment === segmentOf[a] && range.lastSegment === segmentOf[b] &&
          range.skip === a - start && start === segmentStart(range.firstSegment, SMALL.segmentSize) &&
          range.storedFirst === range.firstSegment * 160 && range.storedLast === Math.min(range.lastSegment * 160 + 160, end) - 1
        if (!right) t.fail(`${a}-${b} of ${size}`)
      }
    }
    for (const [a, b] of [[-1, 0], [0, size], [1, 0]] as const) t.throws(() => segmentRange(a, b, size, SMALL.segmentSize), RangeError)
  }
  t.match(segmentRange(0, 65480, Infinity), { storedFirst: 0, storedLast: 131_071 }, 'a part of unknown size')
})
