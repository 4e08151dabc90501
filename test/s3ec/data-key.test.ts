import { constants, createSecretKey, generateKeyPairSync, privateDecrypt, publicEncrypt, randomBytes } from 'node:crypto'
import t from 'tap'
import { bodyKey, unwrapByAes, unwrapByRsa } from '../../src/s3ec/data-key.ts'
import type { WrappedDataKey } from '../../src/s3ec/description.ts'
import { oaepMessage } from '../../src/s3ec/oaep.ts'
import { faultOf } from './open.ts'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const base = { material: {}, bound: 'AES/GCM/NoPadding' }

await t.test('vectors of the derivation, as the Go client has them', (t) => {
  const cases = [
    [
      '80d90dc4cc7e77d8a6332efa44eba56230a7fe7b89af37d1e501ab2e07c0a163',
      'b8ea76bed24c7b85382a148cb9dcd1cfdfb765f55ded4dfa6e0c4c79',
      '6dd14f546cc006e639126e83f5d4d1b118576bb5df97f38c6fb3a1db87bbc338',
      'f89818bc0a346d3a3426b68e9509b6b2ae5fe1f904aa329fb73625db'
    ],
    [
      '501afb8227d22e75e68010414b8abdaf3064c081e8e922dafef4992036394d60',
      '61a00b4981a5aacfd136c55cb726e32d2a547dc7600a7d4675c69127',
      'e14786a714748d1d2c3a4a6816dec56ddf1881bbeabb4f39420ffb9f63700b2f',
      '5c1e73e47f6fe3a70d6d094283aceaa76d2975feb829212d88f0afc1'
    ]
  ] as const
  for (const [dataKey, messageId, key, commitment] of cases) {
    const value = Buffer.from(commitment, 'hex')
    const derived = bodyKey(createSecretKey(dataKey, 'hex'), { commitment: { messageId: Buffer.from(messageId, 'hex'), value } })
    t.equal(derived.export().toString('hex'), key)
    for (let i = 0; i < value.length; i += 1) {
      const changed = Buffer.from(value)
      changed[i] = (changed[i] ?? 0) ^ 1
      t.equal(
        faultOf(() => bodyKey(createSecretKey(dataKey, 'hex'), { commitment: { messageId: Buffer.from(messageId, 'hex'), value: changed } })),
        's3ec-commitment'
      )
    }
  }
  t.equal(faultOf(() => bodyKey(createSecretKey(Buffer.alloc(16)), { commitment: null })), 's3ec-wrap')
  t.end()
})

await t.test('one wrap under each size of AES key, and the wraps of the reference', (t) => {
  const kek = createSecretKey(Buffer.alloc(32, 0x11))
  const dataKey = '80d90dc4cc7e77d8a6332efa44eba56230a7fe7b89af37d1e501ab2e07c0a163'
  const cases: [WrappedDataKey['wrap'], string, string][] = [
    ['AES/GCM', 'AES/GCM/NoPadding', 'IiIiIiIiIiIiIiIily4KjQyx6IdDDPDGDE1Mty80M5njLpuat06hxg4hxGCvB+2XNRa/65QK4pjzgyLf'],
    ['AES/GCM', '115', 'IiIiIiIiIiIiIiIily4KjQyx6IdDDPDGDE1Mty80M5njLpuat06hxg4hxGD5K7G9L5pBsC5g2ZBJ5tkU'],
    ['AESWrap', '', 'QPA4TaT/Ngphrgw2P4247Kp+mLzIvyV4hvShoPgfFsBH1Yc3HLKxGg=='],
    ['AES', '', 'btB5Gh3h4ETVhXSw+AJ1DcAKkuTvNRdXcGC/cme1+0qNg7wNYpwgZTyfzdgXZ68N']
  ]
  for (const [wrap, bound, blob] of cases) {
    const wrapped = { wrap, bound, material: {}, blob: Buffer.from(blob, 'base64') }
    t.equal(unwrapByAes(kek, wrapped).export().toString('hex'), dataKey, wrap)
    if (bound !== '') {
      t.equal(faultOf(() => unwrapByAes(kek, { ...wrapped, bound: bound === '115' ? 'AES/GCM/NoPadding' : '115' })), 's3ec-wrap')
    }
    t.equal(faultOf(() => unwrapByAes(createSecretKey(Buffer.alloc(32, 0x12)), wrapped)), 's3ec-wrap')
    t.equal(faultOf(() => unwrapByAes(kek, { ...wrapped, blob: wrapped.blob.subarray(1) })), 's3ec-wrap')
  }
  for (const wrap of ['kms', 'RSA', 'RSA-OAEP-SHA1'] as const) {
    t.equal(faultOf(() => unwrapByAes(kek, { ...base, wrap, blob: Buffer.alloc(60) })), 's3ec-wrap')
  }
  for (const wrap of ['kms', 'AES', 'AES/GCM'] as const) {
    t.equal(faultOf(() => unwrapByRsa(privateKey, { ...base, wrap, blob: Buffer.alloc(256) })), 's3ec-wrap')
  }
  t.end()
})

await t.test('RSA-OAEP with SHA-1: length, key and cipher have to be right to the byte', (t) => {
  const dataKey = randomBytes(32)
  const wrap = (message: Buffer): WrappedDataKey => ({
    ...base,
    wrap: 'RSA-OAEP-SHA1',
    blob: publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, message)
  })
  const text = Buffer.from('AES/GCM/NoPadding')
  t.ok(unwrapByRsa(privateKey, wrap(Buffer.concat([Buffer.from([32]), dataKey, text]))).export().equals(dataKey))
  const wrong = [
    Buffer.concat([Buffer.from([16]), dataKey, text]),
    Buffer.concat([Buffer.from([32]), dataKey, text, Buffer.from('x')]),
    Buffer.concat([Buffer.from([32]), dataKey, text.subarray(1)]),
    Buffer.concat([Buffer.from([32]), dataKey]),
    Buffer.concat([Buffer.from([32]), dataKey, Buffer.from('115')]),
    dataKey,
    Buffer.alloc(0)
  ]
  for (const message of wrong) t.equal(faultOf(() => unwrapByRsa(privateKey, wrap(message))), 's3ec-wrap')
  t.end()
})

await t.test('OAEP with another hash in its mask: what OpenSSL makes with one hash is read, every changed byte of the block is not', (t) => {
  for (const hash of ['sha1', 'sha256'] as const) {
    for (const size of [0, 1, 32, 100]) {
      const message = randomBytes(size)
      const blob = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: hash }, message)
      const block = blockOf(blob)
      t.ok(oaepMessage(block, hash, hash)?.equals(message) === true, `${hash} ${size}`)
      t.equal(oaepMessage(block, hash, hash === 'sha1' ? 'sha256' : 'sha1'), null)
      for (let i = 0; i < block.length; i += 1) {
        const changed = Buffer.from(block)
        changed[i] = (changed[i] ?? 0) ^ 0x40
        // Each byte changes the seed, and with it the whole mask.
        t.equal(oaepMessage(changed, hash, hash), null, `byte ${i}`)
      }
    }
  }
  t.equal(oaepMessage(Buffer.alloc(20), 'sha1', 'sha1'), null)
  t.end()
})

function blockOf(blob: Buffer): Buffer {
  return privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, blob)
}

await t.test('PKCS #1 v1.5 tells nothing: a damaged data key is another key, always the same one', (t) => {
  const dataKey = randomBytes(32)
  const blob = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, dataKey)
  const open = (bytes: Buffer): Buffer => unwrapByRsa(privateKey, { ...base, wrap: 'RSA', blob: bytes }).export()
  t.ok(open(blob).equals(dataKey))
  const seen = new Set<string>()
  for (let i = 0; i < 40; i += 1) {
    const changed = Buffer.from(blob)
    changed[i * 6 + 5] = (changed[i * 6 + 5] ?? 0) ^ 1
    const [first, again] = [open(changed), open(changed)]
    t.ok(first.equals(again) && !first.equals(dataKey))
    seen.add(first.toString('hex'))
  }
  t.equal(seen.size, 40)
  for (const length of [0, 16, 31, 33, 48]) {
    const other = publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_PADDING }, randomBytes(length))
    t.equal(open(other).length, 32, `a message of ${length} bytes`)
  }
  t.equal(faultOf(() => open(blob.subarray(1))), 's3ec-wrap')
  t.end()
})
