import t from 'tap'
import { openBackup, sealBackup } from '../../src/keys/keyring-backup.ts'
import { Keyring, KeyringError } from '../../src/keys/keyring.ts'

const passphrase = Buffer.from('correct horse battery')
const keyring = Keyring.create('main', new Date('2026-07-22T10:11:12.000Z')).rotate(new Date('2026-07-23T10:11:12.000Z'))

await t.test('a backup opens with its passphrase and no other', async (t) => {
  const backup = await sealBackup(keyring, passphrase, 14)
  const opened = await openBackup(backup, passphrase)
  t.equal(opened.name, 'main')
  t.same(opened.versions.map(({ id, state, created }) => ({ id, state, created })), keyring.versions.map(({ id, state, created }) => ({ id, state, created })))
  t.ok(opened.versions.every((version, i) => version.key.equals(keyring.versions[i]!.key)))
  await t.rejects(openBackup(backup, Buffer.from('correct horse batterz')), { name: 'KeyringError', message: /passphrase is wrong or/ })
  for (const { key } of keyring.versions) {
    t.notOk(backup.includes(key.export()) || backup.includes(key.export().toString('base64')), 'no key in clear')
  }
  const again = await sealBackup(keyring, passphrase, 14)
  t.notOk(again.subarray(17, 49).equals(backup.subarray(17, 49)), 'a fresh salt each time')
})

await t.test('a damaged backup never opens', async (t) => {
  const backup = await sealBackup(keyring, passphrase, 14)
  // scrypt makes each try slow: one bit of every part, and the ends of the ciphertext.
  const places = [0, 15, 16, 17, 48, 49, 60, backup.length - 17, backup.length - 16, backup.length - 1]
  for (const place of places) {
    const damaged = Buffer.from(backup)
    damaged.writeUInt8(damaged.readUInt8(place) ^ 1, place)
    await t.rejects(openBackup(damaged, passphrase), KeyringError, `byte ${place}`)
  }
  for (const length of [0, 16, 64, backup.length - 1]) {
    await t.rejects(openBackup(backup.subarray(0, length), passphrase), KeyringError, `${length} bytes`)
  }
  await t.rejects(openBackup(Buffer.concat([backup, Buffer.alloc(1)]), passphrase), KeyringError, 'a byte more')
  for (const cost of [0, 13, 21, 255]) {
    const greedy = Buffer.from(backup)
    greedy.writeUInt8(cost, 16)
    await t.rejects(openBackup(greedy, passphrase), { message: /14 to 20/ }, `cost ${cost}`)
  }
})

await t.test('a short passphrase is refused', async (t) => {
  await t.rejects(sealBackup(keyring, Buffer.from('12345678901'), 14), { name: 'KeyringError', message: /12 bytes/ })
})
