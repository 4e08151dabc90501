import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import fc from 'fast-check'
import { openEnvelope, parseEnvelope, sealEnvelope, type Attributes, type ObjectShape, type SealEnvelopeInput } from '../../src/envelope/envelope.ts'
import { fields } from '../../src/envelope/encoding.ts'
import { DataKey, wrap } from '../../src/envelope/data-key.ts'
import { MAX_PLAINTEXT } from '../../src/envelope/sizes.ts'
import { attributes, flip, kek, kindOf, place } from './fixtures.ts'

const key = kek()
const dataKey = DataKey.random()
const single = (change: Partial<SealEnvelopeInput> = {}): SealEnvelopeInput => ({
  kek: key,
  blob: randomBytes(80),
  scope: 'bucket',
  dataKey,
  place,
  shape: { kind: 'single', streamHeader: randomBytes(40), plaintextSize: 5 },
  attributes: attributes(),
  ...change
})
const multipart = (change: Partial<SealEnvelopeInput> = {}) =>
  single({ shape: { kind: 'multipart' }, attributes: attributes({ digestsInManifest: true }), ...change })

const empty = (change: Partial<SealEnvelopeInput> = {}) => single({ shape: { kind: 'empty' }, ...change })

const checksum = fc.constantFrom(
  ...([['crc32', 4], ['crc32c', 4], ['crc64nvme', 8], ['sha1', 20], ['sha256', 32]] as const)
    .flatMap(([algorithm, size]) => (['full', 'composite'] as const).map((type) => ({ algorithm, type, value: randomBytes(size) })))
)
const anyAttributes: fc.Arbitrary<Attributes> = fc.record({
  md5: fc.constantFrom(null, randomBytes(16)),
  checksums: fc.array(checksum, { maxLength: 2 }),
  digestsInManifest: fc.boolean(),
  sse: fc.record({ mode: fc.constantFrom('none', 'AES256', 'aws:kms', 'SSE-C'), bucketKeyEnabled: fc.boolean() }),
  metadata: fc.oneof(
    fc.record({ kind: fc.constant('clear'), digest: fc.constant(randomBytes(16)) }),
    fc.record({ kind: fc.constant('sealed'), entries: fc.constantFrom([], [['content-type', 'text/html'], ['x-amz-meta-a', '']] as const) })
  ),
  isPublic: fc.boolean()
})

const anyShape: fc.Arbitrary<ObjectShape> = fc.oneof(
  fc.record({ kind: fc.constant('single'), streamHeader: fc.constant(randomBytes(40)), plaintextSize: fc.constantFrom(0, 1, 65536, MAX_PLAINTEXT) }),
  fc.constant({ kind: 'multipart' } as const),
  fc.constant({ kind: 'empty' } as const)
)

await t.test('round trips', async (t) => {
  fc.assert(
    fc.property(anyAttributes, fc.constantFrom('bucket', 'object'), anyShape, (given, scope, shape) => {
      const attributes = { ...given, digestsInManifest: given.digestsInManifest && shape.kind !== 'empty' }
      const input = single({ attributes, scope, shape })
      const envelope = parseEnvelope(sealEnvelope(input))
      t.match(envelope, { version: 1, suite: 1, scope, bucket: 'photos', blob: input.blob })
      t.same(envelope.shape, shape.kind === 'single' ? { kind: 'single', streamHeader: shape.streamHeader } : shape)
      const opened = openEnvelope(envelope, key, place)
      t.ok(opened.dataKey.secret.equals(dataKey.secret))
      t.same(opened.attributes, attributes)
      t.same(opened.shape, shape)
    }),
    { numRuns: 60 }
  )
})

await t.test('the budget: below 720 bytes with names, counted as MinIO does', async (t) => {
  const value = sealEnvelope(single({
    blob: randomBytes(200),
    place: { ...place, bucket: 'b'.repeat(20) },
    attributes: attributes({ md5: randomBytes(16), checksums: [{ algorithm: 'crc32', type: 'full', value: randomBytes(4) }] })
  }))
  const total = 'x-amz-meta-sealgate'.length + value.length + 'x-amz-meta-sealgate-key'.length + 75
  t.comment(`${total} bytes of metadata`)
  t.ok(total < 720)
})

await t.test('every bit, truncation and extension of an envelope', async (t) => {
  let tried = 0
  for (const input of [single(), multipart(), empty(), single({ attributes: attributes({ md5: randomBytes(16) }), scope: 'object' })]) {
    const raw = Buffer.from(sealEnvelope(input), 'base64url')
    const blobAt = 4 + 1 + 'photos'.length + 2
    const open = (bytes: Buffer) => kindOf(() => openEnvelope(parseEnvelope(bytes.toString('base64url')), key, place))
    for (let bit = 0; bit < raw.length * 8; bit += 1) {
      const inBlob = bit >> 3 >= blobAt && bit >> 3 < blobAt + input.blob.length
      tried += 1
      // The blob is the provider's to authenticate.
      if ((typeof open(flip(raw, bit)) === 'string') === inBlob) t.fail(`bit ${bit}`)
    }
    for (let size = 0; size < raw.length; size += 1) {
      tried += 1
      if (typeof open(raw.subarray(0, size)) !== 'string') t.fail(`cut to ${size}`)
    }
    for (const extra of [1, 2, 16, 48]) t.type(open(Buffer.concat([raw, Buffer.alloc(extra)])), 'string')
  }
  t.comment(`${tried} faulty envelopes, 0 accepted`)
})

await t.test('place and key are bound', async (t) => {
  for (const input of [single(), multipart(), empty()]) {
    const envelope = parseEnvelope(sealEnvelope(input))
    const open = (change: Partial<typeof place>, other = key) => kindOf(() => openEnvelope(envelope, other, { ...place, ...change }))
    t.equal(open({ realm: 'other' }), 'box')
    t.equal(open({ bucket: 'other' }), 'place')
    t.equal(open({ objectKey: 'other' }), 'box')
    t.equal(open({ realm: 'mainp', bucket: 'photos', objectKey: place.objectKey }), 'box')
    t.equal(open({ objectKey: '\ud800' }), 'place', 'text without an encoding')
    t.equal(open({}, kek()), 'box')
    t.equal(kindOf(() => openEnvelope({ ...envelope, bucket: 'other' }, key, { ...place, bucket: 'other' })), 'box')
    t.equal(kindOf(() => openEnvelope({ ...envelope, scope: 'object' }, key, place)), 'box')
  }
  const [a, b] = [single(), single()].map((input) => parseEnvelope(sealEnvelope(input)))
  t.equal(kindOf(() => openEnvelope({ ...a!, shape: b!.shape }, key, place)), 'box')
  t.equal(kindOf(() => openEnvelope({ ...a!, commitment: randomBytes(32) }, key, place)), 'box')
})

/** A box with any content, in an envelope with any commitment: what only a holder of the bucket key can make. */
function crafted(secret: Buffer, commitment: Buffer, kind: 1 | 2 | 3 = 1): string {
  const header = kind === 1 ? randomBytes(40) : Buffer.alloc(0)
  const clear = Buffer.from([1, 1, kind, 1])
  const box = wrap(key, secret, fields('sealgate/v1/envelope', clear, commitment, header, place.realm, place.bucket, place.objectKey))
  return Buffer.concat(
    [clear, Buffer.from([6]), Buffer.from('photos'), Buffer.from([0, 1, 9]), commitment, header, box]
  ).toString('base64url')
}

await t.test('boxes that open but must not be used', async (t) => {
  const secret = randomBytes(32)
  const { commitment } = DataKey.fromBytes(Buffer.from(secret))
  const good = Buffer.concat([Buffer.from([0, 0, 0]), Buffer.alloc(16), Buffer.alloc(8)])
  const open = (content: Buffer, stored = commitment, kind: 1 | 2 | 3 = 1) =>
    kindOf(
      () => openEnvelope(parseEnvelope(crafted(content, stored, kind)), key, place)
    )
  const withKey = (attributes: Buffer) => open(Buffer.concat([secret, attributes]))
  t.match(withKey(good), { shape: { kind: 'single', plaintextSize: 0 } })
  t.equal(open(Buffer.concat([secret, good]), randomBytes(32)), 'commitment')
  t.equal(open(Buffer.concat([Buffer.alloc(32), good])), 'box', 'an object key of zeros')
  t.equal(open(Buffer.concat([secret, good]), commitment, 2), 'format', 'a length in a multipart object')
  t.equal(open(Buffer.concat([secret, good]), commitment, 3), 'format', 'a length in an empty object')
  t.match(open(Buffer.concat([secret, good.subarray(0, -8)]), commitment, 3), { shape: { kind: 'empty' } })
  t.equal(open(Buffer.concat([secret, Buffer.from([2]), good.subarray(1, -8)]), commitment, 3), 'format', 'a manifest of an empty object')
  t.equal(open(secret), 'format', 'no attributes')
  const bad: [string, Buffer][] = [
    ['unknown flag', Buffer.concat([Buffer.from([32, 0, 0]), good.subarray(3)])],
    ['unknown encryption', Buffer.concat([Buffer.from([0, 4, 0]), good.subarray(3)])],
    [
      'three checksums',
      Buffer.concat(
        [Buffer.from([0, 0, 3]), good.subarray(3), ...Array.from({ length: 3 }, () => Buffer.from([1, 1, 0, 0, 0, 0]))]
      )
    ],
    ['unknown algorithm', Buffer.concat([Buffer.from([0, 0, 1]), good.subarray(3), Buffer.from([6, 1, 0, 0, 0, 0])])],
    ['no algorithm', Buffer.concat([Buffer.from([0, 0, 1]), good.subarray(3), Buffer.from([0, 1])])],
    ['unknown checksum type', Buffer.concat([Buffer.from([0, 0, 1]), good.subarray(3), Buffer.from([1, 3, 0, 0, 0, 0])])],
    ['missing MD5', Buffer.concat([Buffer.from([1, 0, 0]), good.subarray(3)])],
    ['surplus byte', Buffer.concat([good, Buffer.alloc(1)])],
    ['length above the limit', Buffer.concat([good.subarray(0, 19), Buffer.alloc(8, 255)])]
  ]
  for (const [name, attributes] of bad) t.equal(withKey(attributes), 'format', name)
})

await t.test('only canonical base64url of bounded size', async (t) => {
  const value = sealEnvelope(multipart())
  const parse = (text: string) => kindOf(() => parseEnvelope(text))
  t.match(parse(value), { shape: { kind: 'multipart' } })
  for (
    const text of [
      '',
      ' ',
      `${value}=`,
      `${value} `,
      ` ${value}`,
      `${value}\n`,
      value.replace(/.$/, '+'),
      value.replace(/.$/, '/'),
      'A'.repeat(9217)
    ]
  ) {
    t.equal(parse(text), 'format', JSON.stringify(text.slice(-12)))
  }
  const unpadded = [
    multipart(),
    multipart({ blob: randomBytes(81) }),
    multipart({ blob: randomBytes(82) })
  ].map(sealEnvelope).find((text) => text.length % 4 === 2)!
  const last = unpadded.at(-1)!
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  t.equal(parse(unpadded.slice(0, -1) + alphabet[alphabet.indexOf(last) + 1]!), 'format', 'unused bits that are not zero')
  const largest = sealEnvelope(single({ blob: randomBytes(6144), place: { ...place, bucket: 'b'.repeat(255) } }))
  t.match(parse(largest), { shape: { kind: 'single' } })
  const notUtf8 = Buffer.from(value, 'base64url')
  notUtf8[5] = 0xff
  t.equal(parse(notUtf8.toString('base64url')), 'format', 'a bucket name that is not UTF-8')
})

await t.test('input that has no encoding', async (t) => {
  const bad: Partial<SealEnvelopeInput>[] = [
    { blob: Buffer.alloc(0) },
    { blob: Buffer.alloc(6145) },
    { shape: { kind: 'single', streamHeader: Buffer.alloc(39), plaintextSize: 5 } },
    { shape: { kind: 'single', streamHeader: Buffer.alloc(40), plaintextSize: -1 } },
    { shape: { kind: 'empty' }, attributes: attributes({ digestsInManifest: true }) },
    { place: { ...place, bucket: '' } },
    { place: { ...place, bucket: 'b'.repeat(256) } },
    { attributes: attributes({ md5: Buffer.alloc(15) }) },
    { attributes: attributes({ metadata: { kind: 'clear', digest: Buffer.alloc(32) } }) }
  ]
  for (const change of bad) t.throws(() => sealEnvelope(single(change)), RangeError)
  t.equal(kindOf(() => sealEnvelope(single({ place: { ...place, realm: '\udc00' } }))), 'place')
})

await t.test('nothing of the key shows', async (t) => {
  const secret = randomBytes(32)
  const shown = DataKey.fromBytes(Buffer.from(secret))
  const { inspect } = await import('node:util')
  for (const text of [inspect(shown, { depth: 9, showHidden: true }), JSON.stringify(shown), JSON.stringify({ shown })]) {
    t.notOk(text.includes(secret.toString('hex')))
    t.ok(text.includes('******'))
  }
  const bytes = Buffer.from(secret)
  t.ok(DataKey.fromBytes(bytes).secret.equals(createSecretKey(secret)))
  t.ok(bytes.every((byte) => byte === 0), 'the bytes are zeroed')
  for (const bad of [Buffer.alloc(32), randomBytes(31), randomBytes(33)]) t.equal(kindOf(() => DataKey.fromBytes(bad)), 'box')
})
