import t from 'tap'
import { createKeyring, editKeyring } from '../../../src/keys/keyring-file.ts'
import { LocalKeyProvider } from '../../../src/keys/providers/local.ts'
import type { WrappedBucketKey } from '../../../src/keys/types.ts'
import { keyContext, otherContexts, temporaryDirectory } from '../support.ts'
import { codeOf } from '../../support/error-code.ts'

const now = new Date('2026-07-22T10:11:12.000Z')
const context = keyContext({ requestContext: { a: '1' } })

await t.test('what is wrapped unwraps, and only for the very same context', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('ring'), 'main', now)
  const provider = await LocalKeyProvider.open(file('ring'))
  await provider.selfTest()
  const { key, wrapped } = await provider.generate(context)
  t.equal(wrapped.keyId, provider.currentKeyId())
  t.ok(provider.owns(wrapped.keyId))
  t.notOk(provider.owns('local:other:v1'))
  t.equal(wrapped.blob.length, 80)
  t.ok((await provider.unwrap(wrapped, context)).equals(key))
  for (const other of otherContexts) {
    t.equal(await codeOf(provider.unwrap(wrapped, other)), 'SealgateIntegrityError', JSON.stringify(other))
  }
  const second = await provider.generate(context)
  t.notOk(second.key.equals(key))
})

await t.test('every bit of a wrapped key counts, and every byte', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('ring'), 'main', now)
  const provider = await LocalKeyProvider.open(file('ring'))
  const { wrapped } = await provider.generate(context)
  let accepted = 0
  let tried = 0
  const attempt = async (blob: Buffer): Promise<void> => {
    tried += 1
    if (await codeOf(provider.unwrap({ keyId: wrapped.keyId, blob }, context)) !== 'SealgateIntegrityError') accepted += 1
  }
  for (let bit = 0; bit < wrapped.blob.length * 8; bit++) {
    const blob = Buffer.from(wrapped.blob)
    blob.writeUInt8(blob.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    await attempt(blob)
  }
  for (let length = 0; length < wrapped.blob.length; length++) await attempt(wrapped.blob.subarray(0, length))
  await attempt(Buffer.concat([wrapped.blob, Buffer.alloc(1)]))
  t.equal(accepted, 0)
  t.comment(`${tried} tampered wrapped keys, ${accepted} accepted`)
})

await t.test('rotation: new wraps by the new version, old ones open until their version is disabled', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('ring'), 'main', now)
  let provider = await LocalKeyProvider.open(file('ring'))
  const old = await provider.generate(context)
  await editKeyring(file('ring'), (keyring) => keyring.rotate(now))
  t.equal((await provider.generate(context)).wrapped.keyId, old.wrapped.keyId, 'not before it is opened again')
  provider = await LocalKeyProvider.open(file('ring'))
  const fresh = await provider.generate(context)
  t.not(fresh.wrapped.keyId, old.wrapped.keyId)
  t.ok((await provider.unwrap(old.wrapped, context)).equals(old.key))
  const moved = await provider.rewrap(old.wrapped, context, keyContext({ bucket: 'copy' }))
  t.equal(moved.keyId, fresh.wrapped.keyId)
  t.ok((await provider.unwrap(moved, keyContext({ bucket: 'copy' }))).equals(old.key), 'the same key for another place')
  t.equal(await codeOf(provider.unwrap({ ...old.wrapped, keyId: fresh.wrapped.keyId }, context)), 'SealgateIntegrityError')

  const oldVersion = old.wrapped.keyId.split(':')[2]!
  await editKeyring(file('ring'), (keyring) => keyring.withState(oldVersion, 'disabled'))
  provider = await LocalKeyProvider.open(file('ring'))
  t.equal(await codeOf(provider.unwrap(old.wrapped, context)), 'KMS.DisabledException')
  t.equal(await codeOf(provider.rewrap(old.wrapped, context, context)), 'KMS.DisabledException')
  t.ok((await provider.unwrap(fresh.wrapped, context)).equals(fresh.key))
})

await t.test('without an enabled version reads go on and writes fail; without any, the self-test fails', async (t) => {
  const file = await temporaryDirectory(t)
  const { versions: [version] } = await createKeyring(file('ring'), 'main', now)
  let provider = await LocalKeyProvider.open(file('ring'))
  const made = await provider.generate(context)
  await editKeyring(file('ring'), (keyring) => keyring.withState(version!.id, 'decrypt-only'))
  provider = await LocalKeyProvider.open(file('ring'))
  t.equal(provider.currentKeyId(), null)
  t.equal(await codeOf(provider.generate(context)), 'KMS.DisabledException')
  t.ok((await provider.unwrap(made.wrapped, context)).equals(made.key))
  await provider.selfTest()
  await editKeyring(file('ring'), (keyring) => keyring.withState(version!.id, 'disabled'))
  provider = await LocalKeyProvider.open(file('ring'))
  t.equal(await codeOf(provider.selfTest()), 'KMS.DisabledException')
})

await t.test('a missing key is named', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('ring'), 'main', now)
  const provider = await LocalKeyProvider.open(file('ring'))
  for (const keyId of ['local:main:20200101-00000000', 'local:other:v1', 'arn:aws:kms:eu-west-1:111122223333:key/1']) {
    const wrapped: WrappedBucketKey = { keyId, blob: Buffer.alloc(80) }
    await t.rejects(provider.unwrap(wrapped, context), { code: 'SealgateKeyUnavailable', message: new RegExp(keyId) })
  }
})
