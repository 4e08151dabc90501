import { createPrivateKey, createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import t from 'tap'
import { boundOf, contextOf, newObject, storedSizeOf, wrapByAes, wrapByRsa, writable, type NewDataKey, type Writable } from '../../src/s3ec/seal.ts'
import { readS3ec, s3ecKeys } from '../support/s3ec-reader.ts'
import { vectorKeys } from '../support/s3ec-vectors.ts'
import { open, type ReaderKeys } from './open.ts'

const kek = createSecretKey(vectorKeys.aes)
const rsa = createPrivateKey(s3ecKeys.rsa)
const keys: ReaderKeys = { aes: kek, rsa, kms: (blob) => blob }

function dataKeys(version: Writable): NewDataKey[] {
  const [key, bound] = [createSecretKey(randomBytes(32)), boundOf(version)]
  return [
    { key, wrap: 'AES/GCM', blob: wrapByAes(kek, key, bound), material: {}, bound },
    { key, wrap: 'RSA-OAEP-SHA1', blob: wrapByRsa(rsa, key, bound), material: { name: 'größe "1"', other: '' }, bound },
    { key, wrap: 'kms+context', blob: key.export(), material: { ...contextOf(version), tenant: 'a' }, bound }
  ]
}

function write(version: Writable, dataKey: NewDataKey, plaintext: Buffer, chunk: number): { metadata: Record<string, string>; body: Buffer } {
  const { headers, stage } = newObject(version, dataKey, plaintext.length)
  const pieces: Buffer[] = []
  for (let at = 0; at < plaintext.length; at += chunk) pieces.push(...stage.update(Buffer.from(plaintext.subarray(at, at + chunk))))
  pieces.push(...stage.final() as readonly Buffer[])
  const body = Buffer.concat(pieces)
  t.equal(body.length, storedSizeOf(plaintext.length))
  return { metadata: Object.fromEntries(headers.map(([name, value]) => [name.replace('x-amz-meta-', ''), value])), body }
}

for (const version of writable) {
  await t.test(`what is written in ${version} opens, here and in the independent reader`, (t) => {
    for (const dataKey of dataKeys(version)) {
      for (const size of [0, 1, 15, 16, 17, 1000, 70_000]) {
        const plaintext = randomBytes(size)
        const stored = write(version, dataKey, plaintext, 1 + size % 997)
        t.strictSame(open(stored, keys), plaintext, `${dataKey.wrap} ${size}`)
        t.ok(Object.values(stored.metadata).every((value) => /^[\x20-\x7e]*$/.test(value)), 'ASCII: S3 encodes anything else')
        if (dataKey.wrap !== 'kms+context') t.strictSame(readS3ec({ ...stored, instruction: null }), plaintext)
      }
    }
    t.end()
  })
}

await t.test('no two objects have the same key and nonce', (t) => {
  const [dataKey] = dataKeys('v3')
  const metadata = (version: Writable) => write(version, dataKey!, Buffer.alloc(20), 20)
  for (const version of writable) t.notOk(metadata(version).body.equals(metadata(version).body))
  t.end()
})

await t.test('a body of another length than was announced fails', (t) => {
  const [dataKey] = dataKeys('v3')
  const { stage } = newObject('v3', dataKey!, 10)
  t.throws(() => stage.update(Buffer.alloc(11)), RangeError)
  const short = newObject('v3', dataKey!, 10)
  short.stage.update(Buffer.alloc(9))
  t.throws(() => short.stage.final(), RangeError)
  t.end()
})

await t.test('a wrap for one version does not open in the other', (t) => {
  const [key]: KeyObject[] = [createSecretKey(randomBytes(32))]
  for (const [blob, wrap] of [[wrapByAes(kek, key!, boundOf('v2')), 'AES/GCM'], [wrapByRsa(rsa, key!, boundOf('v2')), 'RSA-OAEP-SHA1']] as const) {
    const stored = write('v3', { key: key!, wrap, blob, material: {}, bound: boundOf('v3') }, Buffer.alloc(5), 5)
    t.throws(() => open(stored, keys))
  }
  t.end()
})
