import { randomBytes } from 'node:crypto'
import t from 'tap'
import { AzureVersions } from '../../../src/keys/providers/azure-versions.ts'
import { bytesOfModulus, joined, parted, publicKeyOf } from '../../../src/keys/providers/azure-wrap.ts'

/** A modulus of that many bytes; nobody has its factors. */
function modulus(bytes: number): string {
  const n = randomBytes(bytes)
  n[0]! |= 0x80
  n[bytes - 1]! |= 1
  return n.toString('base64url')
}

await t.test('blobs of each size of RSA key, and no other, are taken apart as they were joined', async (t) => {
  for (const size of [256, 384, 512]) {
    const wrapped = { ciphertext: randomBytes(size), box: randomBytes(80), signature: randomBytes(size) }
    t.same(parted(joined(wrapped), false), wrapped, `${size}`)
    t.throws(() => parted(joined(wrapped), true), { code: 'SealgateIntegrityError' })
  }
  const symmetric = { ciphertext: randomBytes(40), box: randomBytes(80), signature: null }
  t.same(parted(joined(symmetric), true), symmetric)
  t.throws(() => parted(joined(symmetric), false), { code: 'SealgateIntegrityError' })
  for (const size of [0, 1, 128, 255, 257, 320, 511, 513]) {
    t.throws(() => parted(Buffer.alloc(81 + 2 * size, 1), false), { code: 'SealgateIntegrityError' }, `${size}`)
  }
  t.throws(() => parted(Buffer.alloc(0), true), { code: 'SealgateIntegrityError' })
})

await t.test('sizes of public keys; a warning for one whose wraps fill the metadata of most stores', async (t) => {
  t.same([128, 256, 384, 512, 1024].map((bytes) => bytesOfModulus(publicKeyOf(modulus(bytes), 'AQAB'))), [0, 256, 384, 512, 0])
  for (const [bytes, warned] of [[256, 0], [384, 0], [512, 1]] as const) {
    const kid = `https://v.vault.azure.net/keys/k/${'0'.repeat(32)}`
    const versions = new AzureVersions(
      {
        type: 'azure-key-vault',
        vault: 'https://v.vault.azure.net',
        key: 'k',
        algorithm: 'RSA-OAEP-256',
        resource: null,
        endpoint: null,
        ca: null,
        serverName: null,
        auth: { method: 'default' }
      },
      async (path) =>
        path.includes('/versions?') ? { value: [] } : { key: { kid, kty: 'RSA-HSM', n: modulus(bytes), e: 'AQAB', key_ops: ['sign', 'unwrapKey'] } }
    )
    t.same(versions.warnings, [])
    await versions.learn(new AbortController().signal)
    t.equal(versions.warnings.length, warned, `${bytes}`)
  }
})
