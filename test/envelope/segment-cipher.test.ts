// The native core against the reference in TypeScript: streams that one has sealed are opened by the other, at every edge of a segment.
import { randomBytes, randomInt } from 'node:crypto'
import t from 'tap'
import { SingleOpener } from '../../src/envelope/body.ts'
import { DataKey } from '../../src/envelope/data-key.ts'
import { sealingCipher } from '../../src/envelope/segment-cipher.ts'
import type { StreamPart } from '../../src/envelope/segments.ts'
import { segmentStart } from '../../src/envelope/sizes.ts'
import { SegmentOpener, SegmentSealer } from '../../src/envelope/stream.ts'
import { loadNativeCore, nativeCore, replaceNativeCore, type NativeCore } from '../../src/native/core.ts'
import { kek, run, SMALL, splits } from './fixtures.ts'

const before = nativeCore()
loadNativeCore(true)
const native = nativeCore()
t.teardown(() => {
  replaceNativeCore(before)
})
const cores: readonly (NativeCore | null)[] = native === null ? [null] : [null, native]
const { segmentSize } = SMALL
const dataKey = DataKey.random()
const nameOf = (core: NativeCore | null): string => core === null ? 'TypeScript' : 'native'

await t.test('what one has sealed, the other opens, at every edge and in any pieces', async (t) => {
  let streams = 0
  const edges = [0, 1, 2, 3].flatMap((index) => [-17, -16, -1, 0, 1, 16, 17].map((off) => segmentStart(index, segmentSize) + off)).filter((size) => size >= 0)
  for (const size of new Set([...edges, 2 * 65_480 + 3])) {
    const plaintext = randomBytes(size)
    const part: StreamPart = { kind: 'part', number: 3, plaintextSize: size }
    const geometry = size > 100_000 ? {} : { segmentSize }
    for (const [sealer, opener, owned] of cores.flatMap((a) => cores.flatMap((b) => [[a, b, false], [a, b, true]] as const))) {
      for (const split of Object.values(size > 100_000 ? { part: () => randomInt(1, 70_000) } : splits)) {
        streams += 1
        replaceNativeCore(sealer)
        const sealing = new SegmentSealer({ streamKey: dataKey.stream, part, ...geometry })
        const { released: stored } = run(() => sealing, plaintext, split)
        replaceNativeCore(opener)
        const open = (bytes: Buffer) =>
          run(() => new SegmentOpener({ streamKey: dataKey.stream, part, header: sealing.header, owned, ...geometry }), bytes, split)
        const name = `${size} bytes, sealed by ${nameOf(sealer)}, opened by ${nameOf(opener)}`
        const opened = open(stored)
        if (opened.failure !== null || !opened.released.equals(plaintext)) t.fail(name)
        const bit = randomInt(40 * 8, stored.length * 8)
        const wrong = Buffer.from(stored)
        wrong.writeUInt8(wrong.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
        const { failure, released } = open(wrong)
        if (failure !== 'segment' || !released.equals(plaintext.subarray(0, released.length))) t.fail(`${name}: bit ${bit}`)
      }
    }
  }
  t.ok(streams > 100)
  t.comment(`${streams} streams, and one fault in each`)
})

for (const core of cores) {
  await t.test(`${nameOf(core)}: a chunk is changed only where the stage owns it`, async (t) => {
    replaceNativeCore(core)
    const plaintext = randomBytes(500)
    const part: StreamPart = { kind: 'part', number: 1, plaintextSize: 500 }
    const sealer = new SegmentSealer({ streamKey: dataKey.stream, part, segmentSize })
    const kept = Buffer.from(plaintext)
    const stored = Buffer.concat([...sealer.update(plaintext), ...sealer.final()])
    t.ok(plaintext.equals(kept), 'sealing')
    const given = Buffer.from(stored)
    const opener = new SegmentOpener({ streamKey: dataKey.stream, part, header: sealer.header, segmentSize })
    t.ok(Buffer.concat([...opener.update(given), ...opener.final()]).equals(plaintext))
    t.ok(given.equals(stored), 'opening')
  })

  await t.test(`${nameOf(core)}: bytes that come one by one take the memory of a segment, not of 65,536 Buffers`, async (t) => {
    replaceNativeCore(core)
    const plaintext = randomBytes(65_480)
    const part: StreamPart = { kind: 'part', number: 1, plaintextSize: plaintext.length }
    const sealer = new SegmentSealer({ streamKey: dataKey.stream, part })
    const stored = Buffer.concat([...sealer.update(plaintext), ...sealer.final()])
    const opener = new SegmentOpener({ streamKey: dataKey.stream, part, header: sealer.header, owned: true })
    for (let i = 0; i < stored.length; i += 1) t.equal(opener.update(stored.subarray(i, i + 1)).length, 0)
    const pieces = opener.final()
    t.ok(pieces.length <= 17, `${pieces.length} buffers`)
    t.ok(Buffer.concat(pieces).equals(plaintext))
  })

  for (const only of [null, 16]) {
    await t.test(`${nameOf(core)}: a cipher demands that a segment has begun, ${only === null ? 'of several' : 'of one'}`, async (t) => {
      replaceNativeCore(core)
      const cipher = sealingCipher({ from: kek(), salt: Buffer.alloc(32), info: Buffer.from('test') }, only)
      const out = Buffer.alloc(32)
      const calls = [() => cipher.seal(out, 0, 16, out, 0), () => cipher.tag(out, 0)]
      for (const call of calls) t.throws(call)
      cipher.begin(Buffer.alloc(12))
      cipher.tag(out, 0)
      for (const call of calls) t.throws(call)
    })
  }

  await t.test(`${nameOf(core)}: a body whose last segment does not verify releases nothing of it`, async (t) => {
    replaceNativeCore(core)
    const header = new SegmentSealer({ streamKey: dataKey.stream, part: { kind: 'single', number: 1, plaintextSize: 100 } }).header
    const stored = Buffer.concat([header, randomBytes(628)])
    t.match(run(() => new SingleOpener({ dataKey, header, plaintextSize: 100 }), stored), { released: Buffer.alloc(0), failure: 'segment' })
  })
}
