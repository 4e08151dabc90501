import t from 'tap'
import { randomBytes } from 'node:crypto'
import { DataKey } from '../../src/envelope/data-key.ts'
import { PartSealer } from '../../src/envelope/body.ts'
import { MIN_PART_SIZE, paddedPartSize, streamSize } from '../../src/envelope/sizes.ts'
import { SegmentOpener } from '../../src/envelope/stream.ts'
import { run } from './fixtures.ts'

await t.test('a part is its stream, and zeros from 5 MiB on', async (t) => {
  const dataKey = DataKey.random()
  for (const size of [0, 1, MIN_PART_SIZE - 1, MIN_PART_SIZE, MIN_PART_SIZE + 65_535, MIN_PART_SIZE + 65_536]) {
    const plaintext = randomBytes(size)
    const sealer = new PartSealer({ dataKey, number: 3, plaintextSize: size })
    const stored = run(() => sealer, plaintext, (left) => Math.min(left, 65_536)).released
    t.equal(stored.length, size < MIN_PART_SIZE ? streamSize(size) : paddedPartSize(size))
    t.equal(stored.length, sealer.storedSize)
    const part = { kind: 'part', number: 3, plaintextSize: size } as const
    const end = streamSize(size)
    const outcome = run(() => new SegmentOpener({ streamKey: dataKey.stream, part, header: sealer.header }), stored.subarray(0, end))
    t.ok(outcome.failure === null && outcome.released.equals(plaintext))
    t.ok(stored.subarray(end).equals(Buffer.alloc(stored.length - end)))
  }
})

await t.test('two attempts share nothing, and a wrong length is refused', async (t) => {
  const dataKey = DataKey.random()
  const [a, b] = [1, 2].map(() => new PartSealer({ dataKey, number: 1, plaintextSize: 10 }))
  t.notSame(a!.header, b!.header)
  t.equal(run(() => a!, randomBytes(9)).failure, 'length')
  t.equal(run(() => b!, randomBytes(11)).failure, 'length')
})
