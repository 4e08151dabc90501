import t from 'tap'
import { createHash, randomBytes } from 'node:crypto'
import type { Checksum } from '../../src/envelope/envelope.ts'
import { checksumCodes } from '../../src/envelope/attributes.ts'
import { MAX_MANIFEST_STREAM, md5OfMd5s, openTail, sealTail, type ManifestOf, type ManifestPart } from '../../src/envelope/manifest.ts'
import { DataKey } from '../../src/envelope/data-key.ts'
import { MIN_PART_SIZE, partOffsets, storedSize, streamSize, tailSize } from '../../src/envelope/sizes.ts'
import { SegmentSealer } from '../../src/envelope/stream.ts'
import { faults, kindOf, multipart } from './fixtures.ts'

const dataKey = DataKey.random()
const partsOf = (sizes: readonly number[], change: Partial<ManifestPart> = {}): ManifestPart[] =>
  sizes.map((plaintextSize, i) => (
    { number: i + 1, plaintextSize, header: randomBytes(40), md5: randomBytes(16), checksum: null, ...change }
  ))
const sha256: Checksum = { algorithm: 'sha256', type: 'composite', value: Buffer.alloc(32, 8) }
const sumOf = (parts: readonly ManifestPart[]) => parts.reduce((sum, part) => sum + part.plaintextSize, 0)

function opened<K extends 'single' | 'multipart'>(tail: Buffer, stored: number, kind: K, key = dataKey): ManifestOf<K> {
  const manifest = openTail(tail, stored, key, kind)
  if ('need' in manifest) throw new Error(`need ${manifest.need}`)
  return manifest
}

/** A tail whose manifest holds any plaintext, and whose footer may say any size: what only a holder of the key can make. */
function crafted(plaintext: Buffer, total: number, before: number, size = streamSize(plaintext.length)): Buffer {
  const footer = Buffer.concat([Buffer.from('sealgate'), Buffer.alloc(4)])
  footer.writeUInt32BE(size, 8)
  const part = { kind: 'manifest', number: 0, plaintextSize: plaintext.length } as const
  const sealer = new SegmentSealer({ streamKey: dataKey.stream, part, associatedSuffix: footer })
  const end = Buffer.concat([...sealer.update(plaintext), ...sealer.final(), footer])
  return Buffer.concat([Buffer.alloc(storedSize(total) - before - end.length), end])
}

await t.test('round trips', async (t) => {
  for (const checksum of [null, randomBytes(32)]) {
    for (const sizes of [[0], [5], [MIN_PART_SIZE], [MIN_PART_SIZE, 0], [MIN_PART_SIZE + 1, MIN_PART_SIZE, 77]]) {
      const parts = partsOf(sizes, { checksum })
      const contents = multipart(parts, { partChecksum: checksum === null ? null : 'sha256', checksums: [sha256] })
      const tail = Buffer.concat(sealTail(dataKey, contents))
      t.equal(tail.length, tailSize(sizes))
      const manifest = opened(tail, storedSize(sumOf(parts)), 'multipart')
      t.match(manifest, { ...contents, plaintextSize: sumOf(parts), md5: md5OfMd5s(parts) })
    }
  }
  for (const size of [0, 1, 65536, 1_000_000]) {
    const tail = Buffer.concat(
      sealTail(dataKey, { kind: 'single', plaintextSize: size, md5: null, checksums: [sha256, { ...sha256, type: 'full' }] })
    )
    t.equal(tail.length, storedSize(size) - streamSize(size))
    t.match(
      opened(tail, storedSize(size), 'single'),
      {
        kind: 'single',
        plaintextSize: size,
        md5: null,
        checksums: [sha256, { ...sha256, type: 'full' }]
      }
    )
  }
})

await t.test('10,000 parts: the largest manifest', async (t) => {
  const parts = partsOf(Array.from({ length: 10_000 }, () => MIN_PART_SIZE + 65535), { checksum: randomBytes(64) })
  const longest = Math.max(...Object.values(checksumCodes).map(({ bytes }) => bytes))
  t.equal(longest, 64, 'no checksum is longer')
  const composite: Checksum = { algorithm: 'sha512', type: 'composite', value: Buffer.alloc(64, 8) }
  const tail = Buffer.concat(sealTail(dataKey, multipart(parts, { partChecksum: 'sha512', checksums: [composite, { ...composite, type: 'full' }] })))
  const stored = storedSize(sumOf(parts))
  t.same(openTail(tail.subarray(-65536), stored, dataKey, 'multipart'), { need: MAX_MANIFEST_STREAM + 12 })
  t.equal(opened(tail, stored, 'multipart').parts.length, 10_000)
  t.equal(opened(tail.subarray(-MAX_MANIFEST_STREAM - 12), stored, 'multipart').parts.length, 10_000)
})

await t.test('the MD5 of MD5s is what S3 shows, and null unless every part has one', async (t) => {
  const parts = partsOf([MIN_PART_SIZE, 4])
  const expected = createHash('md5').update(Buffer.concat(parts.map((part) => part.md5!))).digest()
  t.same(md5OfMd5s(parts), expected)
  t.equal(md5OfMd5s([...parts, { md5: null }]), null)
})

await t.test('a short suffix says what it needs', async (t) => {
  const parts = partsOf([MIN_PART_SIZE, 100])
  const stored = storedSize(sumOf(parts))
  const tail = Buffer.concat(sealTail(dataKey, multipart(parts)))
  t.same(openTail(Buffer.alloc(0), stored, dataKey, 'multipart'), { need: 12 })
  t.same(openTail(tail.subarray(-11), stored, dataKey, 'multipart'), { need: 12 })
  const answer = openTail(tail.subarray(-12), stored, dataKey, 'multipart')
  t.ok('need' in answer)
  const need = 'need' in answer ? answer.need : 0
  t.same(openTail(tail.subarray(1 - need), stored, dataKey, 'multipart'), { need })
  t.equal(opened(tail.subarray(-need), stored, 'multipart').parts.length, 2)
})

/** As a reader does: reads more when openTail needs it, and gets bytes that a store may invent. */
function readTail(suffix: Buffer, stored: number): ManifestOf<'multipart'> {
  const answer = openTail(suffix, stored, dataKey, 'multipart')
  return 'need' in answer ? readTail(Buffer.concat([randomBytes(answer.need - suffix.length), suffix]), stored) : answer
}

await t.test('faulty tails never open', async (t) => {
  const parts = partsOf([MIN_PART_SIZE, 100])
  const stored = storedSize(sumOf(parts))
  const tail = Buffer.concat(sealTail(dataKey, multipart(parts)))
  let tried = 0
  for (const [name, faulty] of faults(tail)) {
    tried += 1
    const outcome = kindOf(() => readTail(faulty, stored))
    if (typeof outcome !== 'string') t.fail(`${name}: accepted`)
  }
  t.comment(`${tried} faulty tails, 0 accepted`)
  t.equal(kindOf(() => openTail(tail, stored, DataKey.random(), 'multipart')), 'manifest')
  t.equal(kindOf(() => openTail(tail, stored, dataKey, 'single')), 'manifest')
  t.equal(kindOf(() => openTail(tail, stored + 1, dataKey, 'multipart')), 'length')
  t.equal(kindOf(() => openTail(tail, 511, dataKey, 'multipart')), 'length')
  t.equal(kindOf(() => openTail(tail, storedSize(0), dataKey, 'multipart')), 'length')
})

await t.test('segments of long manifests cannot move', async (t) => {
  const parts = partsOf(Array.from({ length: 2200 }, () => MIN_PART_SIZE))
  const stored = storedSize(sumOf(parts))
  const tail = Buffer.concat(sealTail(dataKey, multipart(parts)))
  const { manifestStart } = opened(tail, stored, 'multipart')
  const stream = tail.subarray(manifestStart - stored, -12)
  const segments = [0, 1, 2].map((i) => stream.subarray(i * 65536, (i + 1) * 65536))
  for (const order of [[1, 0, 2], [0, 0, 2], [1, 1, 2]]) {
    const faulty = Buffer.concat([...order.map((i) => segments[i]!), tail.subarray(-12)])
    t.equal(kindOf(() => openTail(faulty, stored, dataKey, 'multipart')), 'manifest', order.join())
  }
})

await t.test('footers lie about sizes', async (t) => {
  for (const size of [0, 11, 39, 55, 65537, MAX_MANIFEST_STREAM + 1, 2 ** 32 - 1]) {
    const tail = crafted(Buffer.from([1, 0, 0, 0]), 100, streamSize(100), size)
    t.equal(kindOf(() => openTail(tail, storedSize(100), dataKey, 'single')), 'footer', String(size))
  }
})

await t.test('manifests that open but contradict the envelope or the stored size', async (t) => {
  const total = MIN_PART_SIZE + 100
  const stored = storedSize(total)
  const before = partOffsets([MIN_PART_SIZE, 100]).storedEnd
  const header = Buffer.alloc(40, 0x28)
  const u16 = (value: number) => Buffer.from([value >> 8, value & 255])
  const part = (number: number, size: number, flags = 0, extra = Buffer.alloc(0)) => {
    const length = Buffer.alloc(8)
    length.writeBigUInt64BE(BigInt(size))
    return Buffer.concat([u16(number), Buffer.from([flags]), length, header, extra])
  }
  const hashes = Buffer.alloc(64)
  const manifest = (fixed: readonly number[], ...rest: Buffer[]) => Buffer.concat([Buffer.from(fixed), hashes, ...rest])
  const good = [u16(2), part(1, MIN_PART_SIZE), part(2, 100)]
  const open = (plaintext: Buffer) => kindOf(() => openTail(crafted(plaintext, total, before), stored, dataKey, 'multipart'))
  t.match(open(manifest([2, 0, 0, 0], ...good)), { plaintextSize: total })
  const bad: [string, Buffer, string?][] = [
    ['kind single', manifest([1, 0, 0, 0], ...good)],
    ['unknown kind', manifest([3, 0, 0, 0], ...good)],
    ['MD5 of the whole', manifest([2, 1, 0, 0], Buffer.alloc(16), ...good)],
    ['unknown flag', manifest([2, 2, 0, 0], ...good)],
    ['unknown algorithm', manifest([2, 0, 11, 0], ...good)],
    ['three checksums', manifest([2, 0, 0, 3], ...good)],
    ['no parts', manifest([2, 0, 0, 0], u16(0))],
    ['fewer parts than said', manifest([2, 0, 0, 0], u16(3), part(1, MIN_PART_SIZE), part(2, 100))],
    ['more parts than said', manifest([2, 0, 0, 0], u16(1), part(1, MIN_PART_SIZE), part(2, 100))],
    ['surplus byte', manifest([2, 0, 0, 0], ...good, Buffer.alloc(1))],
    ['numbers not ascending', manifest([2, 0, 0, 0], u16(2), part(2, MIN_PART_SIZE), part(2, 100))],
    ['number 0', manifest([2, 0, 0, 0], u16(2), part(0, MIN_PART_SIZE), part(2, 100))],
    ['number 10,001', manifest([2, 0, 0, 0], u16(2), part(1, MIN_PART_SIZE), part(10_001, 100))],
    ['part above the limit', manifest([2, 0, 0, 0], u16(2), part(1, 5_367_071_381), part(2, 100))],
    [
      'length of 2^64-1',
      manifest(
        [2, 0, 0, 0],
        u16(2),
        Buffer.concat([u16(1), Buffer.from([0]), Buffer.alloc(8, 255), header]),
        part(2, 100)
      )
    ],
    ['unknown part flag', manifest([2, 0, 0, 0], u16(2), part(1, MIN_PART_SIZE, 4), part(2, 100))],
    ['checksum without algorithm', manifest([2, 0, 0, 0], u16(2), part(1, MIN_PART_SIZE, 2, Buffer.alloc(4)), part(2, 100))],
    ['sum too small', manifest([2, 0, 0, 0], u16(2), part(1, MIN_PART_SIZE), part(2, 99)), 'length'],
    ['sum too large', manifest([2, 0, 0, 0], u16(2), part(1, MIN_PART_SIZE), part(2, 101)), 'length'],
    ['small part not the last', manifest([2, 0, 0, 0], u16(2), part(1, 100), part(2, MIN_PART_SIZE))]
  ]
  for (const [name, plaintext, kind = 'manifest'] of bad) t.equal(open(plaintext), kind, name)
})

await t.test('contents that have no encoding', async (t) => {
  const parts = partsOf([MIN_PART_SIZE, 100])
  const seal = (change: Parameters<typeof multipart>[1]) => () => sealTail(dataKey, multipart(parts, change))
  t.throws(seal({ uploadHash: Buffer.alloc(31) }), RangeError)
  t.throws(seal({ listHash: Buffer.alloc(33) }), RangeError)
  t.throws(seal({ checksums: [sha256, sha256, sha256] }), RangeError)
  t.throws(seal({ checksums: [{ ...sha256, value: Buffer.alloc(4) }] }), RangeError)
  t.throws(seal({ parts: [...parts].reverse() }), RangeError)
  t.throws(seal({ parts: partsOf([5], { number: 10_001 }) }), RangeError)
  t.throws(seal({ parts: partsOf([5], { header: Buffer.alloc(39) }) }), RangeError)
  t.throws(seal({ parts: partsOf([5], { md5: Buffer.alloc(15) }) }), RangeError)
  t.throws(seal({ parts: partsOf([5], { checksum: Buffer.alloc(4) }) }), RangeError, 'a checksum without an algorithm')
  t.equal(kindOf(seal({ parts: [] })), 'length')
  t.equal(kindOf(seal({ parts: partsOf([5, 5]) })), 'length')
})
