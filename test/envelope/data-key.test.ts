import { createHmac, createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import fc from 'fast-check'
import { openWithCustomerKey, sealWithCustomerKey, DataKey, bucketKeyContext, unwrap, wrap } from '../../src/envelope/data-key.ts'
import { fields, EnvelopeError } from '../../src/envelope/encoding.ts'
import { faults, flip, kek, kindOf } from './fixtures.ts'

await t.test('wrap and unwrap, every fault', async (t) => {
  const key = kek()
  const aad = Buffer.from('aad')
  let tried = 0
  for (const size of [0, 1, 16, 32, 100]) {
    const plaintext = randomBytes(size)
    const wrapped = wrap(key, plaintext, aad)
    t.equal(wrapped.length, size + 48)
    t.same(unwrap(key, wrapped, aad), plaintext)
    t.equal(kindOf(() => unwrap(kek(), wrapped, aad)), 'box')
    t.equal(kindOf(() => unwrap(key, wrapped, Buffer.from('aae'))), 'box')
    for (const [name, faulty] of faults(wrapped)) {
      tried += 1
      if (kindOf(() => unwrap(key, faulty, aad)) !== 'box') t.fail(name)
    }
    t.notSame(wrap(key, plaintext, aad), wrapped, 'two wraps of one plaintext share nothing')
  }
  t.comment(`${tried} faulty wraps, 0 accepted`)
})

/** RFC 5869 by its own text, so that node:crypto's HKDF is not compared with itself. */
function hkdf(ikm: Buffer, salt: Buffer, info: string, size: number): Buffer {
  const prk = createHmac('sha256', salt).update(ikm).digest()
  return createHmac('sha256', prk).update(Buffer.concat([Buffer.from(info), Buffer.from([1])])).digest().subarray(0, size)
}

await t.test('derived keys are those of the format', async (t) => {
  const secret = randomBytes(32)
  const salt = Buffer.from('sealgate/v1/object-key-hkdf-salt')
  t.equal(salt.length, 32)
  const dataKey = DataKey.fromBytes(Buffer.from(secret))
  t.same(dataKey.stream.export(), hkdf(secret, salt, 'sealgate/v1/stream', 32))
  t.same(dataKey.partRecord.export(), hkdf(secret, salt, 'sealgate/v1/part-record', 32))
  t.same(dataKey.commitment, hkdf(secret, salt, 'sealgate/v1/commitment', 32))
})

await t.test('customer keys', async (t) => {
  const bytes = randomBytes(32)
  const customer = createSecretKey(bytes)
  const { kek, blob } = sealWithCustomerKey(customer)
  t.equal(blob.length, 48)
  t.same(kek.export(), hkdf(bytes, blob.subarray(0, 32), 'sealgate/v1/ssec-wrap', 32))
  t.same(blob.subarray(32), hkdf(bytes, blob.subarray(0, 32), 'sealgate/v1/ssec-check', 16))
  t.ok(openWithCustomerKey(customer, { blob, scope: 'bucket' }).equals(kek))
  t.equal(kindOf(() => openWithCustomerKey(createSecretKey(randomBytes(32)), { blob, scope: 'bucket' })), 'key')
  for (let bit = 0; bit < blob.length * 8; bit += 1) {
    if (kindOf(() => openWithCustomerKey(customer, { blob: flip(blob, bit), scope: 'bucket' })) !== 'key') t.fail(`bit ${bit}`)
  }
  for (const size of [0, 47]) t.equal(kindOf(() => openWithCustomerKey(customer, { blob: blob.subarray(0, size), scope: 'bucket' })), 'format')
  t.equal(kindOf(() => openWithCustomerKey(customer, { blob: Buffer.concat([blob, Buffer.alloc(1)]), scope: 'bucket' })), 'format')
  t.equal(kindOf(() => openWithCustomerKey(customer, { blob, scope: 'object' })), 'format')
  t.notSame(sealWithCustomerKey(customer).blob, blob)
})

await t.test('contexts: different ones never have one encoding, the order of pairs does not matter', async (t) => {
  const text = fc.string({ unit: 'binary', maxLength: 4 })
  const context = fc.tuple(text, text, fc.option(fc.string({ minLength: 1, maxLength: 4 })), fc.dictionary(text, text, { maxKeys: 3 }))
  const encode = (
    [realm, bucket, object, pairs]: [string, string, string | null, Record<string, string>]
  ) => bucketKeyContext(realm, bucket, object, pairs)
  const canonical = ([realm, bucket, object, pairs]: [string, string, string | null, Record<string, string>]) =>
    JSON.stringify([realm, bucket, object, Object.entries(pairs).sort()])
  fc.assert(fc.property(context, context, (a, b) => encode(a).equals(encode(b)) === (canonical(a) === canonical(b))), { numRuns: 2000 })
  t.same(bucketKeyContext('r', 'b', null, { a: '1', b: '2' }), bucketKeyContext('r', 'b', null, { b: '2', a: '1' }))
  t.notSame(bucketKeyContext('ab', 'c', null, {}), bucketKeyContext('a', 'bc', null, {}))
  t.same(
    bucketKeyContext('r', 'b', 'k', { n: 'v' }).toString('latin1'),
    '\0\0\0\x16sealgate/v1/bucket-key\0\0\0\x01r\0\0\0\x01b\0\0\0\x01k\0\0\0\x01n\0\0\0\x01v'
  )
  // U+FF61 sorts before U+1F600 in UTF-8, and after it in UTF-16.
  t.same(
    bucketKeyContext('r', 'b', null, { '\u{1f600}': '', '\uff61': '' }),
    fields('sealgate/v1/bucket-key', 'r', 'b', '', '\uff61', '', '\u{1f600}', '')
  )
  t.equal(kindOf(() => bucketKeyContext('r', '\ud83d', null, {})), 'place')
})

await t.test('one flat message for every kind', async (t) => {
  t.equal(new EnvelopeError('segment').message, new EnvelopeError('place').message)
})
