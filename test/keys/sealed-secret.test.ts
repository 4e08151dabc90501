import t from 'tap'
import { createKeyring, editKeyring } from '../../src/keys/keyring-file.ts'
import { openKeyRegistry } from '../../src/keys/registry.ts'
import { openSecret, sealSecret } from '../../src/keys/sealed-secret.ts'
import { codeOf } from '../support/error-code.ts'
import { keyContext, keyUse, temporaryDirectory } from './support.ts'

const now = new Date('2026-11-29T00:00:00Z')
const cache = { maxAgeSeconds: 300, maxEntries: 100, maxUses: 100 }

await t.test('a secret opens as it was, and nothing else opens', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('ring'), 'main', now)
  const open = async () => {
    const registry = await openKeyRegistry({ keys: { main: { type: 'local', keyring: file('ring') } }, cache, usedAt: () => [], audit: () => undefined })
    t.teardown(() => registry.close())
    return registry
  }
  const keys = await open()
  const realms = ['default', 'other']
  for (const length of [1, 32, 4096]) {
    const secret = Buffer.alloc(length, 0xe9)
    const text = await sealSecret(keys, 'main', 'default', secret, keyUse())
    t.match(text, /^sealgate-secret-1:[A-Za-z0-9_-]+$/)
    t.same(await openSecret(keys, text, realms, keyUse()), secret)
  }
  for (const length of [0, 4097]) t.equal(await codeOf(sealSecret(keys, 'main', 'default', Buffer.alloc(length), keyUse())), 'InvalidArgument')

  const text = await sealSecret(keys, 'main', 'default', Buffer.from('secret'), keyUse())
  t.not(await sealSecret(keys, 'main', 'default', Buffer.from('secret'), keyUse()), text)
  t.equal(await codeOf(openSecret(keys, text, ['other'], keyUse())), 'SealgateKeyUnavailable')
  const bytes = Buffer.from(text.slice('sealgate-secret-1:'.length), 'base64url')
  const again = (changed: Buffer): Promise<string> => codeOf(openSecret(keys, `sealgate-secret-1:${changed.toString('base64url')}`, realms, keyUse()))
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at)
    t.match(await again(changed), /^Sealgate(IntegrityError|KeyUnavailable)$/, `byte ${at}`)
    if (at % 8 === 0) t.match(await again(bytes.subarray(0, at)), /^Sealgate(IntegrityError|KeyUnavailable)$/, `cut at ${at}`)
  }
  t.equal(await again(Buffer.concat([bytes, Buffer.of(0)])), 'SealgateIntegrityError')
  for (const wrong of ['', 'secret', `${text}=`, `x${text}`, text.replace('-1:', '-2:')]) {
    t.equal(await codeOf(openSecret(keys, wrong, realms, keyUse())), 'SealgateIntegrityError')
  }

  await editKeyring(file('ring'), (ring) => ring.rotate(now))
  const rotated = await open()
  t.same(await openSecret(rotated, text, realms, keyUse()), Buffer.from('secret'), 'a version that is decrypt-only opens')
  await editKeyring(file('ring'), (ring) => ring.withState(ring.versions[0]!.id, 'disabled'))
  t.equal(await codeOf(openSecret(await open(), text, realms, keyUse())), 'KMS.DisabledException')
})

await t.test('what was wrapped for a bucket is no secret, whatever its name', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('ring'), 'main', now)
  const keys = await openKeyRegistry({ keys: { main: { type: 'local', keyring: file('ring') } }, cache, usedAt: () => [], audit: () => undefined })
  t.teardown(() => keys.close())
  const text = await sealSecret(keys, 'main', 'default', Buffer.from('secret'), keyUse())
  const [, keyId = '', blob = ''] = fieldsOf(Buffer.from(text.slice('sealgate-secret-1:'.length), 'base64url'))
  for (const bucket of ['sealgate:secret2', 'sealgate-secret', 'secret', '']) {
    const wrapped = { keyId: keyId.toString(), blob: Buffer.from(blob) }
    t.equal(await codeOf(keys.providerFor('main').unwrap(wrapped, keyContext({ bucket }), keyUse())), 'SealgateIntegrityError')
  }
})

/** By the text of docs/FORMAT.md. */
function fieldsOf(bytes: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at)
    found.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return found
}
