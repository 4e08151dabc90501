import { createCipheriv, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import t from 'tap'
import { encodeAttributes } from '../../src/envelope/attributes.ts'
import { openEnvelope, parseEnvelope } from '../../src/envelope/envelope.ts'
import { fields } from '../../src/envelope/encoding.ts'
import { DataKey, unwrap } from '../../src/envelope/data-key.ts'
import { deriveKey } from '../../src/envelope/primitives.ts'
import { attributes, kek, kindOf, place } from './fixtures.ts'

// AES-GCM does not commit to its key: whoever knows two keys can make one ciphertext that opens under both. This makes such
// boxes (Dodis, Grubbs, Ristenpart, Woodage: "Fast Message Franking", 2018) and shows that the commitment refuses them.

const R = 0xe1n << 120n

/** Multiplication in GF(2^128) as GHASH has it (NIST SP 800-38D, 6.3). */
function multiply(x: bigint, y: bigint): bigint {
  let product = 0n
  let v = y
  for (let bit = 127n; bit >= 0n; bit -= 1n) {
    if ((x >> bit) & 1n) product ^= v
    v = v & 1n ? (v >> 1n) ^ R : v >> 1n
  }
  return product
}

function power(x: bigint, exponent: bigint): bigint {
  let result = 1n << 127n
  for (let e = exponent, square = x; e > 0n; e >>= 1n, square = multiply(square, square)) if (e & 1n) result = multiply(result, square)
  return result
}

const number = (block: Buffer) => BigInt(`0x${block.toString('hex')}`)
const bytes = (value: bigint) => Buffer.from(value.toString(16).padStart(32, '0'), 'hex')
const encryptBlock = (key: KeyObject, block: Buffer) => createCipheriv('aes-256-ecb', key, null, {}).setAutoPadding(false).update(block)

function blocksOf(data: Buffer): bigint[] {
  const padded = Buffer.concat([data, Buffer.alloc(-data.length & 15)])
  return Array.from({ length: padded.length / 16 }, (_, i) => number(padded.subarray(i * 16, i * 16 + 16)))
}

function keystream(key: KeyObject, size: number): Buffer {
  return createCipheriv('aes-256-ctr', key, Buffer.concat([Buffer.alloc(15), Buffer.from([2])]), {}).update(Buffer.alloc(size))
}

/** ciphertext ‖ tag, valid under both keys: one 16-byte block of the ciphertext, at `free`, is spent on that. */
function collide(keys: readonly [KeyObject, KeyObject], ciphertext: Buffer, aad: Buffer, free: number): Buffer {
  const lengths = Buffer.alloc(16)
  lengths.writeUInt32BE(aad.length * 8, 4)
  lengths.writeUInt32BE(ciphertext.length * 8, 12)
  const crafted = Buffer.from(ciphertext)
  crafted.fill(0, free, free + 16)
  const blocks = () => [...blocksOf(aad), ...blocksOf(crafted), number(lengths)]
  const exponent = BigInt(blocks().length - (blocksOf(aad).length + free / 16))
  const h = keys.map((key) => number(encryptBlock(key, Buffer.alloc(16))))
  const mask = keys.map((key) => number(encryptBlock(key, Buffer.concat([Buffer.alloc(15), Buffer.from([1])]))))
  const tag = (i: 0 | 1) => blocks().reduce((sum, block) => multiply(sum ^ block, h[i]!), 0n) ^ mask[i]!
  const factor = power(h[0]!, exponent) ^ power(h[1]!, exponent)
  bytes(multiply(tag(0) ^ tag(1), power(factor, (1n << 128n) - 2n))).copy(crafted, free)
  return Buffer.concat([crafted, bytes(tag(0))])
}

await t.test('boxes that open under two bucket keys', async (t) => {
  const checksum = { algorithm: 'sha256', type: 'full', value: Buffer.alloc(32) } as const
  const encoded = encodeAttributes(attributes({ checksums: [checksum] }), { kind: 'single', streamHeader: Buffer.alloc(40), plaintextSize: 5 })
  // The free block lies inside of the SHA-256, which any bytes may be: under the first key all of the box is well-formed.
  const free = 64
  let crafted = 0
  for (let round = 0; round < 32; round += 1) {
    const keys = [kek(), kek()] as const
    const salt = randomBytes(32)
    const derived = keys.map((key) => deriveKey({ from: key, salt, info: Buffer.from('sealgate/v1/wrap') })) as [KeyObject, KeyObject]
    const secret = randomBytes(32)
    const [honest, wrong] = [Buffer.concat([secret, encoded]), randomBytes(32)]
    const stream = keystream(derived[0], honest.length)
    const ciphertext = Buffer.from(honest.map((byte, i) => byte ^ stream[i]!))
    // What the second key finds in place of the object key is known to the crafter too, who may commit to either.
    const other = keystream(derived[1], 32).map((byte, i) => byte ^ ciphertext[i]!)
    const candidates = [secret, other].map((key) => DataKey.fromBytes(Buffer.from(key)).commitment)
    for (const [chosen, commitment] of [...candidates, wrong].entries()) {
      const header = randomBytes(40)
      const clear = Buffer.from([1, 1, 1, 1])
      const aad = fields('sealgate/v1/envelope', clear, commitment, header, place.realm, place.bucket, place.objectKey)
      const box = Buffer.concat([salt, collide(derived, ciphertext, aad, free)])
      const value = Buffer.concat(
        [clear, Buffer.from([6]), Buffer.from('photos'), Buffer.from([0, 1, 9]), commitment, header, box]
      ).toString('base64url')
      for (const key of keys) t.equal(unwrap(key, box, aad).length, honest.length, 'AES-GCM takes it under both keys')
      const outcomes = keys.map((key) => kindOf(() => openEnvelope(parseEnvelope(value), key, place)))
      if (chosen === 0) t.match(outcomes, [{ shape: { plaintextSize: 5 } }, 'commitment'])
      if (chosen === 1) t.match(outcomes, ['commitment', 'format'], 'the second key passes the commitment, but its attributes are noise')
      if (chosen === 2) t.same(outcomes, ['commitment', 'commitment'])
      crafted += 1
    }
  }
  t.comment(`${crafted} boxes that open under two keys, never two objects`)
})

await t.test('streams are bound to one object key by its commitment', async (t) => {
  const seen = new Set(Array.from({ length: 1000 }, () => DataKey.random().commitment.toString('hex')))
  t.equal(seen.size, 1000)
  const secret = randomBytes(32)
  for (let bit = 0; bit < 256; bit += 1) {
    const other = Buffer.from(secret)
    other[bit >> 3]! ^= 1 << (bit & 7)
    const [a, b] = [DataKey.fromBytes(Buffer.from(secret)), DataKey.fromBytes(other)]
    if (a.commitment.equals(b.commitment) || a.stream.equals(b.stream)) t.fail(`bit ${bit}`)
  }
  t.notOk(createSecretKey(secret).equals(DataKey.fromBytes(Buffer.from(secret)).stream))
})
