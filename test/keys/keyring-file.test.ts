import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile, lstat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createKeyring, editKeyring, readKeyring, writeNewKeyring, isClosed } from '../../src/keys/keyring-file.ts'
import { Keyring, KeyringError } from '../../src/keys/keyring.ts'
import { temporaryDirectory } from './support.ts'

const now = new Date('2026-07-22T10:11:12.000Z')

await t.test('a keyring is created with mode 0600, read back, and never overwritten', async (t) => {
  const file = await temporaryDirectory(t)
  const path = file('ring.json')
  const made = await createKeyring(path, 'main', now)
  t.equal((await stat(path)).mode & 0o777, 0o600)
  const read = await readKeyring(path)
  t.ok(read.live[0]!.key.equals(made.live[0]!.key))
  const before = await readFile(path)
  await t.rejects(createKeyring(path, 'main', now), { name: 'KeyringError', message: /exists already/ })
  await t.rejects(writeNewKeyring(path, Keyring.create('other', now)), KeyringError)
  t.same(await readFile(path), before)
  t.same(await readdir(file('.')), ['ring.json'], 'no lock and no temporary file stays')
})

await t.test('every mode that lets group or others in is refused', async (t) => {
  const file = await temporaryDirectory(t)
  const path = file('ring.json')
  await createKeyring(path, 'main', now)
  let refused = 0
  for (let mode = 0; mode < 0o1000; mode++) {
    // Owner-unreadable files open anyway for root, and not at all for others: neither tells of the check.
    if ((mode & 0o400) === 0) continue
    await chmod(path, mode)
    if ((mode & 0o077) === 0) {
      await readKeyring(path)
    } else {
      await t.rejects(readKeyring(path), { name: 'KeyringError', message: /chmod 600/ }, mode.toString(8))
      refused += 1
    }
  }
  t.equal(refused, 252)
})

await t.test('what is not a readable regular file is refused', async (t) => {
  const file = await temporaryDirectory(t)
  await mkdir(file('directory'), { mode: 0o700 })
  await t.rejects(readKeyring(file('directory')), { name: 'KeyringError', message: /regular file/ })
  await t.rejects(readKeyring(file('absent')), { name: 'KeyringError', message: /does not exist.*keys create/ })
  await t.rejects(editKeyring(file('absent'), (keyring) => keyring), { name: 'KeyringError', message: /does not exist/ })
  await writeFile(file('large'), Buffer.alloc((1 << 20) + 1), { mode: 0o600 })
  await t.rejects(readKeyring(file('large')), { name: 'KeyringError', message: /larger/ })
  await t.rejects(createKeyring(file('absent/ring.json'), 'main', now), { name: 'KeyringError', message: /ENOENT/ })
})

await t.test('edits at once all count', async (t) => {
  const file = await temporaryDirectory(t)
  const path = file('ring.json')
  await createKeyring(path, 'main', now)
  await Promise.all(Array.from({ length: 8 }, () => editKeyring(path, (keyring) => keyring.rotate(now))))
  const keyring = await readKeyring(path)
  t.equal(keyring.versions.length, 9)
  t.equal(keyring.versions.filter((version) => version.state === 'enabled').length, 1)
  t.equal((await stat(path)).mode & 0o777, 0o600)
  t.same(await readdir(file('.')), ['ring.json'])
})

await t.test('a failed edit leaves the file and no lock', async (t) => {
  const file = await temporaryDirectory(t)
  const path = file('ring.json')
  await createKeyring(path, 'main', now)
  const before = await readFile(path)
  await t.rejects(editKeyring(path, (keyring) => keyring.withState('nope', 'disabled')), KeyringError)
  t.same(await readFile(path), before)
  t.same(await readdir(file('.')), ['ring.json'])
})

await t.test('a lock left behind is named, not broken', async (t) => {
  const file = await temporaryDirectory(t)
  const path = file('ring.json')
  await createKeyring(path, 'main', now)
  await writeFile(`${path}.lock`, 'process 4711 on elsewhere')
  await t.rejects(editKeyring(path, (keyring) => keyring.rotate(now), 100), {
    name: 'KeyringError',
    message: /process 4711 on elsewhere.*remove .*ring\.json\.lock/
  })
  t.equal((await readKeyring(path)).versions.length, 1)
})

await t.test('a link is followed, and stays a link', async (t) => {
  const file = await temporaryDirectory(t)
  await mkdir(file('real'))
  const real = join(file('real'), 'ring.json')
  await createKeyring(real, 'main', now)
  await symlink(real, file('link.json'))
  await editKeyring(file('link.json'), (keyring) => keyring.rotate(now))
  t.ok((await lstat(file('link.json'))).isSymbolicLink())
  t.equal((await readKeyring(real)).versions.length, 2)
})

await t.test('who may read a keyring file', async (t) => {
  const closed = (mode: number, uid: number, processUid: number) => isClosed({ mode: 0o100_000 | mode, uid }, processUid)
  for (const mode of [0o600, 0o400]) for (const uid of [0, 1000]) for (const own of [0, 1000]) t.ok(closed(mode, uid, own), `${mode.toString(8)} ${uid} ${own}`)
  t.ok(closed(0o440, 0, 65_532), 'a mounted secret of root, for the group of a process that is not root')
  for (
    const [mode, uid, own] of [[0o440, 0, 0], [0o440, 65_532, 65_532], [0o440, 1000, 65_532], [0o460, 0, 65_532], [0o444, 0, 65_532], [
      0o441,
      0,
      65_532
    ]] as const
  ) {
    t.notOk(closed(mode, uid, own), `${mode.toString(8)} of ${uid}, read by ${own}`)
  }
})
