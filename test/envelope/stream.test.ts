import t from 'tap'
import { randomBytes } from 'node:crypto'
import { DataKey } from '../../src/envelope/data-key.ts'
import type { StreamPart } from '../../src/envelope/segments.ts'
import { segmentCount, segmentRange, segmentStart, streamSize } from '../../src/envelope/sizes.ts'
import { SegmentOpener, SegmentSealer } from '../../src/envelope/stream.ts'
import { faults, kindOf, PAYLOAD, run, SMALL, splits } from './fixtures.ts'

const { segmentSize } = SMALL
const dataKey = DataKey.random()
const streamKey = dataKey.stream
const sizes = [0, 1, PAYLOAD - 41, PAYLOAD - 40, PAYLOAD - 39, 2 * PAYLOAD - 41, 2 * PAYLOAD - 40, 2 * PAYLOAD - 39, 5 * PAYLOAD, 1000]
const partOf = (plaintextSize: number): StreamPart => ({ kind: 'part', number: 7, plaintextSize })

function seal(plaintext: Buffer, split = splits.whole): { header: Buffer; stored: Buffer } {
  const sealer = new SegmentSealer({ streamKey, part: partOf(plaintext.length), segmentSize })
  return { header: sealer.header, stored: run(() => sealer, plaintext, split).released }
}

await t.test('round trips, whole, byte by byte and in random pieces', async (t) => {
  for (const size of sizes) {
    const plaintext = randomBytes(size)
    for (const [how, split] of Object.entries(splits)) {
      const { header, stored } = seal(plaintext, split)
      t.equal(stored.length, streamSize(size, segmentSize), `stored size of ${size}, ${how}`)
      const outcome = run(() => new SegmentOpener({ streamKey, header, part: partOf(size), segmentSize }), stored, split)
      t.same(outcome, { released: plaintext, failure: null }, `${size} bytes, ${how}`)
    }
  }
})

await t.test('round trips at the stored segment size', async (t) => {
  for (const size of [0, 1, 65479, 65480, 65481, 65536, 131_000, 131_001, 300_000]) {
    const plaintext = randomBytes(size)
    const sealer = new SegmentSealer({ streamKey, part: partOf(size) })
    const buffers = [...sealer.update(plaintext), ...sealer.final()]
    t.ok(buffers.slice(0, -1).every((buffer) => buffer.length === 65536), 'one stored segment a buffer')
    const stored = Buffer.concat(buffers)
    t.equal(stored.length, streamSize(size))
    const outcome = run(
      () => new SegmentOpener({ streamKey, header: sealer.header, part: partOf(size) }),
      stored,
      (left) => Math.min(left, 50_000)
    )
    t.same(outcome, { released: plaintext, failure: null }, `${size} bytes`)
  }
})

await t.test('every range of segments', async (t) => {
  const plaintext = randomBytes(5 * PAYLOAD)
  const { header, stored } = seal(plaintext)
  const count = segmentCount(plaintext.length, segmentSize)
  for (let firstSegment = 0; firstSegment < count; firstSegment += 1) {
    for (let lastSegment = firstSegment; lastSegment < count; lastSegment += 1) {
      const first = segmentStart(firstSegment, segmentSize)
      const last = Math.min(segmentStart(lastSegment + 1, segmentSize), plaintext.length) - 1
      const range = segmentRange(first, last, plaintext.length, segmentSize)
      const input = stored.subarray(range.storedFirst, range.storedLast + 1)
      const opener = () => new SegmentOpener({ streamKey, header, part: partOf(plaintext.length), segmentSize, firstSegment, lastSegment })
      t.equal(opener().storedSize, input.length)
      t.same(run(opener, input), { released: plaintext.subarray(first, last + 1), failure: null }, `${firstSegment}-${lastSegment}`)
      t.equal(run(opener, input.subarray(0, -1)).failure, 'truncated')
      t.equal(run(opener, Buffer.concat([input, Buffer.alloc(1)])).failure, 'trailing')
    }
  }
  const bad = (firstSegment: number, lastSegment: number) => () =>
    new SegmentOpener({ streamKey, header, part: partOf(plaintext.length), segmentSize, firstSegment, lastSegment })
  for (const [a, b] of [[-1, 0], [2, 1], [0, count]] as const) t.throws(bad(a, b), RangeError)
})

await t.test('a faulty stream never ends well, and releases nothing wrong', async (t) => {
  let tried = 0
  const check = (name: string, plaintext: Buffer, header: Buffer, faulty: Buffer, split = splits.whole) => {
    tried += 1
    const { released, failure } = run(
      () => new SegmentOpener({ streamKey, header, part: partOf(plaintext.length), segmentSize }),
      faulty,
      split
    )
    if (failure === null) t.fail(`${name}: accepted`)
    if (!released.equals(plaintext.subarray(0, released.length))) t.fail(`${name}: wrong bytes released`)
    if (released.length === plaintext.length && plaintext.length > 0) t.fail(`${name}: last segment released`)
  }
  for (const size of [0, 1, PAYLOAD - 40, 3 * PAYLOAD]) {
    const plaintext = randomBytes(size)
    const { header, stored } = seal(plaintext)
    for (const [name, faulty] of faults(stored)) check(`${size}: ${name}`, plaintext, header, faulty)
    for (const [i, [name, faulty]] of [...faults(stored)].entries()) {
      if (i % 53 === 0) check(`${size}: ${name}, bytes`, plaintext, header, faulty, splits.bytes)
    }
  }
  const plaintext = randomBytes(6 * PAYLOAD)
  const { header, stored } = seal(plaintext)
  const other = seal(plaintext)
  const segments = Array.from({ length: 7 }, (_, i) => stored.subarray(i * segmentSize, (i + 1) * segmentSize))
  for (let i = 0; i < segments.length; i += 1) {
    check(`segment ${i} dropped`, plaintext, header, Buffer.concat(segments.filter((_, n) => n !== i)))
    check(`segment ${i} doubled`, plaintext, header, Buffer.concat(segments.flatMap((s, n) => n === i ? [s, s] : [s])))
    const foreign = other.stored.subarray(i * segmentSize, (i + 1) * segmentSize)
    check(`segment ${i} of another attempt`, plaintext, header, Buffer.concat(segments.map((s, n) => n === i ? foreign : s)))
    for (let j = 0; j < i; j += 1) {
      const swapped = segments.map((s, n) => n === i ? segments[j]! : n === j ? segments[i]! : s)
      check(`segments ${i} and ${j} swapped`, plaintext, header, Buffer.concat(swapped))
    }
  }
  check('another attempt', plaintext, header, other.stored)
  t.comment(`${tried} faulty streams, 0 accepted`)
})

await t.test('associated data: kind, number, length and key are bound', async (t) => {
  const plaintext = randomBytes(100)
  const { header, stored } = seal(plaintext)
  const open = (part: StreamPart, key = streamKey) =>
    run(
      () => new SegmentOpener({ streamKey: key, header, part, segmentSize }),
      stored
    ).failure
  t.equal(open(partOf(100)), null)
  t.equal(open({ ...partOf(100), kind: 'single' }), 'segment')
  t.equal(open({ ...partOf(100), kind: 'manifest' }), 'segment')
  t.equal(open({ ...partOf(100), number: 8 }), 'segment')
  t.equal(open(partOf(99)), 'segment')
  t.equal(open(partOf(101)), 'truncated')
  t.equal(open(partOf(100), DataKey.random().stream), 'segment')
  const suffixed = run(
    () => new SegmentOpener({ streamKey, header, part: partOf(100), segmentSize, associatedSuffix: Buffer.from('x') }),
    stored
  )
  t.equal(suffixed.failure, 'segment')
})

await t.test('a lie about the length fails the first of many segments', async (t) => {
  const plaintext = randomBytes(1000)
  const { header, stored } = seal(plaintext)
  for (const size of [999, 1001, 2000]) {
    const outcome = run(() => new SegmentOpener({ streamKey, header, part: partOf(size), segmentSize }), stored)
    t.same(outcome, { released: Buffer.alloc(0), failure: 'segment' })
  }
})

await t.test('a sealer demands exactly the announced size', async (t) => {
  for (const size of sizes) {
    const sealer = () => new SegmentSealer({ streamKey, part: partOf(size), segmentSize })
    if (size > 0) t.equal(run(sealer, randomBytes(size - 1)).failure, 'length', `one less than ${size}`)
    t.equal(run(sealer, randomBytes(size + 1)).failure, 'length', `one more than ${size}`)
    const whole = sealer()
    const before = Buffer.concat([...whole.update(randomBytes(size))])
    t.ok(before.length < streamSize(size, segmentSize) - 16, 'the last segment is not out before final')
  }
})

await t.test('headers of a wrong form are refused', async (t) => {
  const part = partOf(1)
  const header = Buffer.concat([Buffer.from([0x28]), randomBytes(39)])
  for (
    const bad of [
      header.subarray(1),
      Buffer.concat([header, header]),
      Buffer.concat([Buffer.from([0x27]), header.subarray(1)]),
      Buffer.alloc(0)
    ]
  ) {
    t.equal(kindOf(() => new SegmentOpener({ streamKey, part, header: bad })), 'header')
  }
  t.throws(() => new SegmentSealer({ streamKey, part, segmentSize: 56 }), RangeError)
})
