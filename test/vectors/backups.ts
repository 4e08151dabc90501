// Writes the test vectors of keyring backups (docs/FORMAT.md, Keyring and backup): node test/vectors/backups.ts
// Salts and keys are hashes of names, so that files differ only when they should. Made with Node's primitives and not with src/keys.
import { createCipheriv, createHash, scryptSync } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const directory = join(import.meta.dirname, 'backups')
const passphrase = 'correct horse battery'
const seed = (text: string): Buffer => createHash('sha256').update(`sealgate backup vectors: ${text}`).digest()

const version = (id: string, state: string): object => ({ id, state, key: seed(id).toString('base64'), created: '2026-01-01T00:00:00.000Z' })
const keyring = { name: 'vectors', realm: 'main', keys: [version('v1-test', 'decrypt-only'), version('v2-test', 'enabled')] }
const { realm: _, ...withoutRealm } = keyring
const textOf = (value: object): string => `${JSON.stringify(value, null, 2)}\n`

function seal(name: string, text: string, cost = 14): Buffer {
  const header = Buffer.concat([Buffer.from('sealgate-keys-1\n'), Buffer.from([cost]), seed(name)])
  const key = scryptSync(passphrase, seed(name), 32, { N: 2 ** cost, r: 8, p: 1, maxmem: 2 ** (cost + 10) + (1 << 20) })
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12), { authTagLength: 16 }).setAAD(header)
  return Buffer.concat([header, cipher.update(text), cipher.final(), cipher.getAuthTag()])
}

function write(name: string, description: string, backup: Buffer, more: object): void {
  writeFileSync(join(directory, `${name}.json`), textOf({ description, passphrase, backup: backup.toString('base64'), ...more }))
}

function change(source: Buffer, at: number, byte: number): Buffer {
  const copy = Buffer.from(source)
  copy.writeUInt8(byte, at)
  return copy
}

mkdirSync(directory, { recursive: true })
for (
  const [name, description, value] of [['good', 'a keyring of two versions', keyring], ['no-realm', 'a keyring that names no realm', withoutRealm]] as const
) {
  write(name, description, seal(name, textOf(value)), { expect: 'success', keyring: value })
}
const good = seal('good', textOf(keyring))
write('lower-cost', 'a scrypt cost of 13', change(good, 16, 13), { expect: 'cost' })
write('greater-cost', 'a scrypt cost of 21', change(good, 16, 21), { expect: 'cost' })
write('other-cost', 'another scrypt cost than it was made with', change(good, 16, 15), { expect: 'wrong' })
write('version', 'version 2', change(good, 14, 0x32), { expect: 'version' })
write('passphrase', 'the passphrase of another backup', good, { expect: 'wrong', passphrase: 'incorrect horse battery' })
write('short', 'cut in its salt', good.subarray(0, 40), { expect: 'cut' })
write('no-tag', 'cut before its tag', good.subarray(0, 64), { expect: 'cut' })
write('cut', 'the last byte is missing', good.subarray(0, -1), { expect: 'damaged' })
write('longer', 'one byte more', Buffer.concat([good, Buffer.alloc(1)]), { expect: 'damaged' })
write('bit', 'one bit of the last key', change(good, good.length - 80, good.readUInt8(good.length - 80) ^ 1), { expect: 'damaged' })
write('not-a-keyring', 'another text', seal('other', '{"a": 1}\n'), { expect: 'content' })
