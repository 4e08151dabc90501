import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { armor, Encrypter, generateIdentity, identityToRecipient } from 'age-encryption'
import { openBackup, openFromAge, sealBackup, sealForAge } from '../../src/keys/keyring-backup.ts'
import { Keyring, KeyringError } from '../../src/keys/keyring.ts'

const passphrase = Buffer.from('correct horse battery')
const keyring = Keyring.create('main', new Date('2026-07-22T10:11:12.000Z'), 'eu-1').rotate(new Date('2026-07-23T10:11:12.000Z'))

await t.test('a backup opens with its passphrase and no other', async (t) => {
  const backup = await sealBackup(keyring, passphrase, 14)
  const opened = await openBackup(backup, passphrase)
  t.equal(opened.name, 'main')
  t.equal(opened.realm, 'eu-1')
  t.same(opened.versions.map(({ id, state, created }) => ({ id, state, created })), keyring.versions.map(({ id, state, created }) => ({ id, state, created })))
  t.ok(opened.live.every((version, i) => version.key.equals(keyring.live[i]!.key)))
  await t.rejects(openBackup(backup, Buffer.from('correct horse batterz')), { name: 'KeyringError', message: /passphrase is wrong, or/ })
  for (const { key } of keyring.live) {
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
  for (
    const [length, message] of [[0, /not a keyring backup/], [16, /is cut/], [64, /is cut/], [
      backup.length - 1,
      /passphrase is right, but the backup is damaged or cut/
    ]] as const
  ) {
    await t.rejects(openBackup(backup.subarray(0, length), passphrase), { name: 'KeyringError', message }, `${length} bytes`)
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

await t.test('a backup for age opens with each recipient\'s identity, and no other', async (t) => {
  const [one, two, other] = await Promise.all([generateIdentity(), generateIdentity(), generateIdentity()])
  const backup = await sealForAge(keyring, [await identityToRecipient(one), await identityToRecipient(two)])
  t.match(backup.toString(), /^-----BEGIN AGE ENCRYPTED FILE-----\n/)
  const binary = Buffer.from(armor.decode(backup.toString()))
  for (const [file, identity] of [[backup, one], [backup, two], [binary, one]] as const) {
    const opened = await openFromAge(file, `# a remark\r\n\n${identity}\n`)
    t.equal(opened.realm, 'eu-1')
    t.ok(opened.live.every((version, i) => version.key.equals(keyring.live[i]!.key)))
  }
  await t.rejects(openFromAge(backup, other), { name: 'KeyringError', message: /not for this identity, or damaged/ })
  await t.rejects(openFromAge(binary.subarray(0, -1), one), { name: 'KeyringError', message: /damaged/ })
  await t.rejects(openFromAge(Buffer.from(backup.toString().replace('-----END', '')), one), { name: 'KeyringError', message: /damaged/ })
  await t.rejects(openFromAge(backup, '# nothing'), { name: 'KeyringError', message: /holds no secret key/ })
  const secret = 'AGE-SECRET-KEY-1WRONG'
  const refused = await openFromAge(backup, secret).catch((error: unknown) => String(error))
  t.match(refused, /KeyringError: .*not a secret key/)
  t.notMatch(refused, secret)
  await t.rejects(openFromAge(await sealBackup(keyring, passphrase, 14), one), { name: 'KeyringError', message: /not encrypted with age/ })
  await t.rejects(openBackup(backup, passphrase), { name: 'KeyringError', message: /--age-identity/ })
  await t.rejects(sealForAge(keyring, ['ssh-ed25519 AAAA']), { name: 'KeyringError', message: /ssh-ed25519 AAAA is not a recipient/ })
  const encrypter = new Encrypter()
  encrypter.addRecipient(await identityToRecipient(one))
  await t.rejects(openFromAge(Buffer.from(await encrypter.encrypt('{"key": "c2VjcmV0"')), one), { message: 'The keyring is not JSON.' })
})

const words: Readonly<Record<string, RegExp>> = {
  version: /not a keyring backup of a known version/,
  cut: /is cut/,
  cost: /scrypt cost outside 14 to 20/,
  wrong: /passphrase is wrong/,
  damaged: /passphrase is right, but the backup is damaged or cut/,
  content: /^The keyring has an unknown field/
}

await t.test('the vectors of backups open or say what is wrong', async (t) => {
  const folder = join(import.meta.dirname, '../vectors/backups')
  for (const name of readdirSync(folder)) {
    const vector = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Readonly<Record<'expect' | 'backup' | 'passphrase', string>> & { keyring?: object }
    const opened = openBackup(Buffer.from(vector.backup, 'base64'), Buffer.from(vector.passphrase))
    if (vector.expect === 'success') t.same(JSON.parse((await opened).serialize().toString()), vector.keyring, name)
    else await t.rejects(opened, { name: 'KeyringError', message: words[vector.expect]! }, name)
  }
})
