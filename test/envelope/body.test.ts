import t from 'tap'
import { createHash, randomBytes } from 'node:crypto'
import { DataKey } from '../../src/envelope/data-key.ts'
import { SingleOpener, SingleSealer, type LateDigests } from '../../src/envelope/body.ts'
import { byTurns } from '../support/by-turns.ts'
import { storedSize, streamSize, type Geometry } from '../../src/envelope/sizes.ts'
import { faults, PAYLOAD, run, SMALL, splits } from './fixtures.ts'

const dataKey = DataKey.random()

function seal(plaintext: Buffer, digests?: () => LateDigests, geometry: Geometry = SMALL): { header: Buffer; body: Buffer } {
  const sealer = new SingleSealer({ dataKey, plaintextSize: plaintext.length, geometry, ...(digests === undefined ? {} : { digests }) })
  return { header: sealer.header, body: run(() => sealer, plaintext).released }
}

await t.test('round trips obey the size law', async (t) => {
  for (const size of [0, 1, PAYLOAD - 40, PAYLOAD - 39, 159, 160, 161, 320, 2 * PAYLOAD - 40, 1000, 5000]) {
    const plaintext = randomBytes(size)
    const { header, body } = seal(plaintext)
    t.equal(body.length, storedSize(size, SMALL.segmentSize))
    for (const [how, split] of Object.entries(splits)) {
      const outcome = run(() => new SingleOpener({ dataKey, header, plaintextSize: size, geometry: SMALL }), body, split)
      t.same(outcome, { released: plaintext, failure: null }, `${size} bytes, ${how}`)
    }
  }
})

await t.test('round trips at the stored segment size', async (t) => {
  for (const size of [0, 1, 65480, 65481, 65536, 65537, 1_000_000]) {
    const plaintext = randomBytes(size)
    const sealer = new SingleSealer({ dataKey, plaintextSize: size })
    const body = run(() => sealer, plaintext, (left) => Math.min(left, 40_000)).released
    t.equal(body.length, storedSize(size))
    t.equal(body.length, sealer.storedSize)
    const outcome = run(
      () => new SingleOpener({ dataKey, header: sealer.header, plaintextSize: size }),
      body,
      (left) => Math.min(left, 65_536)
    )
    t.ok(outcome.failure === null && outcome.released.equals(plaintext), `${size} bytes`)
  }
})

await t.test('late digests come back from the manifest, and are taken at the end', async (t) => {
  const plaintext = randomBytes(400)
  const md5 = createHash('md5').update(plaintext).digest()
  const checksums = [{ algorithm: 'sha256', type: 'full', value: createHash('sha256').update(plaintext).digest() }] as const
  let asked = 0
  const sealer = new SingleSealer(
    { dataKey, plaintextSize: 400, geometry: SMALL, digests: () => ({ md5, checksums, asked: asked += 1 }) }
  )
  const first = sealer.update(plaintext)
  t.equal(asked, 0)
  const body = Buffer.concat([...first, ...sealer.final()])
  t.equal(asked, 1)
  const opener = new SingleOpener({ dataKey, header: sealer.header, plaintextSize: 400, geometry: SMALL })
  t.equal(opener.manifest, null)
  run(() => opener, body)
  t.match(opener.manifest, { kind: 'single', md5, checksums, plaintextSize: 400 })
})

await t.test('a faulty body never ends well, and releases nothing wrong', async (t) => {
  let tried = 0
  const kinds = new Map<string, number>()
  for (const size of [0, 1, PAYLOAD - 40, 2 * PAYLOAD]) {
    const plaintext = randomBytes(size)
    const { header, body } = seal(plaintext)
    for (const [i, [name, faulty]] of [...faults(body)].entries()) {
      // Every seventh: over seven bytes each bit of a byte is flipped.
      if (!byTurns(i % 7 === 0)) continue
      tried += 1
      const { released, failure } = run(() => new SingleOpener({ dataKey, header, plaintextSize: size, geometry: SMALL }), faulty)
      if (failure === null) t.fail(`${size}, ${name}: accepted`)
      if (!released.equals(plaintext.subarray(0, released.length))) t.fail(`${size}, ${name}: wrong bytes released`)
      if (size > 0 && released.length === size) t.fail(`${size}, ${name}: last segment released`)
      kinds.set(failure ?? '', (kinds.get(failure ?? '') ?? 0) + 1)
    }
  }
  t.same([...kinds.keys()].sort(), ['footer', 'header', 'manifest', 'segment', 'trailing', 'truncated', 'zeros'])
  t.comment(`${tried} faulty bodies, 0 accepted`)
})

await t.test('a tail of another object, or in another place, does not verify', async (t) => {
  const plaintext = randomBytes(300)
  const one = seal(plaintext)
  const two = seal(plaintext)
  const end = streamSize(300, SMALL.segmentSize)
  const open = (body: Buffer, header = one.header) =>
    run(
      () => new SingleOpener({ dataKey, header, plaintextSize: 300, geometry: SMALL }),
      body
    ).failure
  t.equal(open(two.body), 'header')
  const strange = run(() => new SingleSealer({ dataKey: DataKey.random(), plaintextSize: 300, geometry: SMALL }), plaintext).released
  t.equal(open(Buffer.concat([one.body.subarray(0, end), strange.subarray(end)])), 'manifest')
  t.equal(open(Buffer.concat([one.body.subarray(0, end), one.body.subarray(end + 1), Buffer.alloc(1)])), 'footer')
})

await t.test('a changed byte is found anywhere in long zeros', async (t) => {
  const size = 3_000_000
  const { header, body } = seal(randomBytes(size))
  const from = streamSize(size, SMALL.segmentSize)
  t.ok(body.length - from > 30_000)
  for (const at of [from, from + 1, from + 16_384, body.length - 400]) {
    const faulty = Buffer.from(body)
    faulty[at] = 1
    t.equal(
      run(
        () => new SingleOpener({ dataKey, header, plaintextSize: size, geometry: SMALL }),
        faulty,
        (left) => Math.min(left, 65_536)
      ).failure,
      'zeros'
    )
  }
})
