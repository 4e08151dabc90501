import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { noteBackupCheck, readBackupCheck } from '../../src/keys/backup-check.ts'
import { createKeyring, editKeyring, readKeyring } from '../../src/keys/keyring-file.ts'

const folder = await mkdtemp(join(tmpdir(), 'sealgate-backup-check-'))
t.teardown(() => rm(folder, { recursive: true }))
const path = join(folder, 'keyring.json')
const note = `${path}.backup-checked`
const idsOf = async () => (await readKeyring(path)).versions.map(({ id }) => id)

await t.test('a note says when, and which versions the backup had', async (t) => {
  await createKeyring(path, 'main', new Date())
  t.equal(await readBackupCheck(path, await idsOf()), null, 'none yet')
  t.equal(await noteBackupCheck(path, await readKeyring(path), new Date('2026-01-02T03:04:05Z')), null)
  t.same(await readBackupCheck(path, await idsOf()), { at: '2026-01-02T03:04:05.000Z', missing: [] })
  t.equal((await stat(note)).mode & 0o777, 0o644, 'a gateway that runs as another user reads it')
  await editKeyring(path, (keyring) => keyring.rotate(new Date('2026-02-01T00:00:00Z')))
  t.same(await readBackupCheck(path, await idsOf()), { at: '2026-01-02T03:04:05.000Z', missing: (await idsOf()).slice(1) })
})

await t.test('what is no such note counts as none', async (t) => {
  for (
    const text of [
      '',
      'null',
      '[]',
      '{}',
      '{"checked":"yesterday","versions":[]}',
      '{"checked":1,"versions":[]}',
      '{"checked":"2026-01-01"}',
      `"${'x'.repeat(2 << 20)}"`
    ]
  ) {
    await writeFile(note, text)
    t.equal(await readBackupCheck(path, ['a']), null, text.slice(0, 50))
  }
  await rm(note)
})

await t.test('a folder that cannot be written to: the reason, and no error', async (t) => {
  const keyring = await readKeyring(path)
  t.match(await noteBackupCheck(join(folder, 'none', 'keyring.json'), keyring, new Date()), /ENOENT/)
  await chmod(folder, 0o500)
  const reason = await noteBackupCheck(path, keyring, new Date())
  await chmod(folder, 0o700)
  t.ok(reason === null || reason.includes('EACCES'), 'root writes everywhere')
})
