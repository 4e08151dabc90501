import t from 'tap'
import { randomBytes } from 'node:crypto'
import { openTail, type ManifestOf } from '../../src/envelope/manifest.ts'
import { DataKey } from '../../src/envelope/data-key.ts'
import { planMultipart, planSingle, RangeOpener, type ReadPlan } from '../../src/envelope/range.ts'
import { SingleSealer } from '../../src/envelope/body.ts'
import { partOffsets, segmentRange, storedSize } from '../../src/envelope/sizes.ts'
import { byTurns } from '../support/by-turns.ts'
import { flip, PAYLOAD, run, SMALL, smallMultipart, splits, type SmallMultipart } from './fixtures.ts'

const { segmentSize } = SMALL

const read = (dataKey: DataKey, body: Buffer, plan: ReadPlan, surplus = 0, split = splits.whole) =>
  run(
    () => new RangeOpener({ dataKey, plan, surplus, geometry: SMALL }),
    body.subarray(plan.storedFirst, plan.storedLast + 1 + surplus),
    split
  )

function manifestOf({ dataKey, body }: SmallMultipart): ManifestOf<'multipart'> {
  const manifest = openTail(body, body.length, dataKey, 'multipart', SMALL)
  if ('need' in manifest) throw new Error('The whole body is never too short.')
  return manifest
}

await t.test('every range of small singles is the slice', async (t) => {
  const dataKey = DataKey.random()
  let count = 0
  for (const size of [1, 2, PAYLOAD - 40, PAYLOAD - 39, 2 * PAYLOAD - 40, 3 * PAYLOAD - 39]) {
    const plaintext = randomBytes(size)
    const sealer = new SingleSealer({ dataKey, plaintextSize: size, geometry: SMALL })
    const body = run(() => sealer, plaintext).released
    for (let a = 0; a < size; a += size > 200 ? 3 : 1) {
      for (let b = a; b < size; b += size > 200 ? 2 : 1) {
        // Neighbours of the ends, and every seventh of the others.
        if (!byTurns((a + b) % 7 === 0 || b - a < 2 || size - b < 3)) continue
        count += 1
        const outcome = read(dataKey, body, planSingle({ header: sealer.header, plaintextSize: size }, a, b, SMALL))
        if (outcome.failure !== null || !outcome.released.equals(plaintext.subarray(a, b + 1))) t.fail(`${a}-${b} of ${size}`)
      }
    }
  }
  t.comment(`${count} ranges of singles`)
})

await t.test('a range asked for before the size was known', async (t) => {
  const dataKey = DataKey.random()
  const size = 500
  const plaintext = randomBytes(size)
  const sealer = new SingleSealer({ dataKey, plaintextSize: size, geometry: SMALL })
  const body = run(() => sealer, plaintext).released
  for (const [a, b] of [[0, 10], [0, 499], [0, 5000], [100, 100], [400, 600], [499, 9999]] as const) {
    const asked = segmentRange(a, b, Infinity, segmentSize)
    const fetchedLast = Math.min(asked.storedLast, body.length - 1)
    const plan = planSingle({ header: sealer.header, plaintextSize: size }, a, Math.min(b, size - 1), SMALL)
    t.equal(plan.storedFirst, asked.storedFirst)
    const surplus = fetchedLast - plan.storedLast
    t.same(read(dataKey, body, plan, surplus, splits.random), { released: plaintext.subarray(a, b + 1), failure: null }, `${a}-${b}`)
    t.equal(
      run(() => new RangeOpener({ dataKey, plan, surplus: surplus + 1, geometry: SMALL }), body.subarray(plan.storedFirst, fetchedLast + 1)).failure,
      'truncated'
    )
  }
})

await t.test('ranges of multipart objects at all their boundaries', async (t) => {
  let count = 0
  for (const sizes of [[18_000, 18_001, 20_000], [18_123, 0], [0], [1], [18_000, 100], [18_000]]) {
    const object = smallMultipart(sizes)
    const { plaintext, body, dataKey } = object
    t.equal(body.length, storedSize(plaintext.length, segmentSize), 'the size law')
    const manifest = manifestOf(object)
    const starts = partOffsets(sizes, SMALL).plaintext
    const points = new Set(
      [...starts, plaintext.length].flatMap((at) => [-PAYLOAD, -41, -40, -2, -1, 0, 1, 103, 104, 105, PAYLOAD].map((d) => at + d))
    )
    const inside = [...points].filter((at) => at >= 0 && at < plaintext.length)
    for (const [i, a] of inside.entries()) {
      for (const [j, b] of inside.entries()) {
        if (b < a || !byTurns((i + j) % 7 === 0 || b - a < 3)) continue
        count += 1
        const outcome = read(dataKey, body, planMultipart(manifest, a, b, SMALL))
        if (outcome.failure !== null || !outcome.released.equals(plaintext.subarray(a, b + 1))) t.fail(`${a}-${b} of ${sizes.join()}`)
      }
    }
    const whole = planMultipart(manifest, 0, plaintext.length - 1, SMALL)
    t.equal(whole.storedFirst, 0)
    t.equal(whole.storedLast, manifest.manifestStart - 1, 'a whole read goes up to the manifest')
    for (const [how, split] of Object.entries(splits)) {
      const { released, failure } = read(dataKey, body, whole, 0, split)
      t.ok(failure === null && released.equals(plaintext), how)
    }
    for (const [a, b] of [[-1, 0], [1, 0], [0, plaintext.length]] as const) t.throws(() => planMultipart(manifest, a, b, SMALL), RangeError)
  }
  t.comment(`${count} ranges of multipart objects`)
})

await t.test('faults in multipart bodies', async (t) => {
  const object = smallMultipart([18_000, 18_000, 18_000])
  const { plaintext, body, dataKey, parts } = object
  const manifest = manifestOf(object)
  const whole = planMultipart(manifest, 0, plaintext.length - 1, SMALL)
  let tried = 0
  const check = (name: string, faulty: Buffer, plan = whole, from = 0) => {
    tried += 1
    const { released, failure } = read(dataKey, faulty, plan)
    if (failure === null) t.fail(`${name}: accepted`)
    if (!released.equals(plaintext.subarray(from, from + released.length))) t.fail(`${name}: wrong bytes released`)
    if (released.length === plan.plaintextSize) t.fail(`${name}: last segment released`)
    return failure
  }
  const step = byTurns(false) ? 1 : 4
  for (let bit = 0; bit < manifest.manifestStart * 8; bit += 997 * step) check(`bit ${bit}`, flip(body, bit))
  for (let size = 0; size < manifest.manifestStart; size += 1009 * step) check(`cut to ${size}`, body.subarray(0, size))
  const { stored } = partOffsets([18_000, 18_000, 18_000], SMALL)
  const slots = [body.subarray(0, stored[1]), body.subarray(stored[1], stored[2]), body.subarray(stored[2], 2 * stored[1]! + stored[1]!)]
  const rest = body.subarray(3 * stored[1]!)
  for (const order of [[1, 0, 2], [0, 2, 1], [0, 0, 1], [2, 1, 0], [0, 1, 1]]) {
    t.equal(check(`parts ${order.join()}`, Buffer.concat([...order.map((i) => slots[i]!), rest])), 'header')
  }
  const lastZero = (stored[1] ?? 0) - 1
  t.equal(check('a zero between parts', flip(body, lastZero * 8)), 'zeros')
  t.equal(check('a zero before the manifest', flip(body, (manifest.manifestStart - 1) * 8)), 'zeros')
  const across = planMultipart(manifest, 17_999, 18_000, SMALL)
  t.equal(check('a zero passed over', flip(body, lastZero * 8), across, 17_999), 'zeros')
  const inSecond = planMultipart(manifest, 18_000, 18_010, SMALL)
  t.equal(read(dataKey, flip(body, lastZero * 8), inSecond).failure, null, 'a range that does not pass the zeros')
  const olderAttempt = { ...manifest, parts: manifest.parts.map((part, i) => i === 1 ? { ...part, header: parts[0]!.header } : part) }
  t.equal(read(dataKey, body, planMultipart(olderAttempt, 18_000, 18_010, SMALL)).failure, 'header', 'another attempt at a part')
  const middle = planMultipart(manifest, 18_500, 18_600, SMALL)
  for (let bit = middle.storedFirst * 8; bit <= middle.storedLast * 8; bit += step === 1 ? 1 : 3) {
    check(`bit ${bit} in a range`, flip(body, bit), middle, 18_500)
  }
  const ending = smallMultipart([18_000, 0])
  const toTheEnd = planMultipart(manifestOf(ending), 0, 17_999, SMALL)
  for (let at = partOffsets([18_000], SMALL).storedEnd; at <= toTheEnd.storedLast; at += 1) {
    tried += 1
    const { released, failure } = read(ending.dataKey, flip(ending.body, at * 8), toTheEnd, 0, splits.random)
    if (failure === null || released.length === 18_000) t.fail(`byte ${at} behind a last part of 0 bytes: all released`)
  }
  t.comment(`${tried} faulty reads of multipart bodies, 0 accepted`)
})

await t.test('a range of an object in 10,000 parts looks at those it needs', async (t) => {
  const size = 5 << 20
  const offsets = partOffsets(Array.from({ length: 10_000 }, () => size))
  let looked = 0
  const parts = new Proxy(
    Array.from({ length: 10_000 }, (_, i) => ({ number: i + 1, plaintextSize: size, header: Buffer.alloc(40, 40), md5: null, checksum: null })),
    {
      get: (all, name) => {
        looked += 1
        return Reflect.get(all, name) as unknown
      }
    }
  )
  const manifest = { kind: 'multipart', parts, offsets, plaintextSize: offsets.plaintextEnd, manifestStart: offsets.storedEnd } as unknown as ManifestOf<
    'multipart'
  >
  for (const [first, length] of [[0, 1], [size - 1, 2], [5000 * size + 17, 65_536], [9999 * size, size], [9998 * size, 2 * size]] as const) {
    looked = 0
    const { pieces, plaintextSize } = planMultipart(manifest, first, first + length - 1)
    t.equal(plaintextSize, length)
    t.equal(pieces[0]?.part.number, 1 + Math.floor(first / size))
    t.equal(pieces.reduce((sum, { take }) => sum + take, 0), length)
    t.ok(looked < 12, `${looked} looks`)
  }
})
