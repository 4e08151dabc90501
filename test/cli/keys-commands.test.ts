import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import { readBackupCheck } from '../../src/keys/backup-check.ts'
import { sealBackup } from '../../src/keys/keyring-backup.ts'
import { readKeyring } from '../../src/keys/keyring-file.ts'
import { runCli, type Ran } from '../support/run-cli.ts'

const directory = await mkdtemp(join(tmpdir(), 'sealgate-cli-'))
t.teardown(async () => {
  await rm(directory, { recursive: true, force: true })
})
const env = { SEALGATE_KEYRING_PASSPHRASE: 'correct horse battery' }

const keys = (args: readonly string[], environment: Readonly<Record<string, string>> = env): Promise<Ran> =>
  runCli(['keys', ...args], directory, { env: environment })

/**
 * Puts the same keyring, sealed at a low cost, in place of a backup that the command has made at the full one: opening tells the cost from the
 * file. For cases that are not about the command's own file.
 */
async function cheapen(ring: string, backup: string, passphrase = env.SEALGATE_KEYRING_PASSPHRASE): Promise<void> {
  await writeFile(backup, await sealBackup(await readKeyring(ring), Buffer.from(passphrase), 14))
}

/** Every way a key could be printed. */
async function assertSilent(test: { notOk(value: boolean, name: string): unknown }, ring: string, ran: Ran): Promise<void> {
  for (const { key } of (await readKeyring(ring)).live) {
    const bytes = key.export()
    for (const text of [bytes.toString('base64'), bytes.toString('hex'), bytes.toString('base64url')]) {
      test.notOk(ran.out.includes(text) || ran.err.includes(text), 'no key bytes are printed')
    }
  }
}

await t.test('create, rotate, list, disable, enable', async (t) => {
  const ring = join(directory, 'main.json')
  const created = await keys(['create', '--keyring', ring])
  t.equal(created.code, 0)
  t.match(created.err, /A LOST KEYRING IS LOST DATA/)
  t.match(created.out, /Created keyring main of realm default .* local:main:\d{8}-[0-9a-f]{8}/)
  t.equal((await stat(ring)).mode & 0o777, 0o600)
  await assertSilent(t, ring, created)
  t.match(await keys(['create', '--keyring', ring]), { code: 1, err: /exists already/ })

  const rotated = await keys(['rotate', '--keyring', ring])
  t.equal(rotated.code, 0)
  await assertSilent(t, ring, rotated)
  const listed = await keys(['list', '--keyring', ring])
  await assertSilent(t, ring, listed)
  t.match(listed.out, /^realm default\nlocal:main:\S+ {2}decrypt-only {2}\S+Z\nlocal:main:\S+ {2}enabled {7}\S+Z {2}current\n$/)
  const json = JSON.parse((await keys(['list', '--keyring', ring, '--json'])).out) as {
    name: string
    realm: string | null
    keys: { keyId: string; state: string; current: boolean }[]
  }
  t.same([json.name, json.realm], ['main', 'default'])
  t.same(json.keys.map(({ state, current }) => [state, current]), [['decrypt-only', false], ['enabled', true]])

  const [old, current] = json.keys.map(({ keyId }) => keyId)
  t.match(await keys(['disable', '--keyring', ring, '--version', old!]), { code: 0, out: /is disabled/, err: /cannot be read/ })
  t.match(await keys(['enable', '--keyring', ring, '--version', old!.split(':')[2]!]), { code: 0, out: /is enabled/ })
  t.match(await keys(['disable', '--keyring', ring, '--version', old!, '--decrypt-only']), { code: 0, out: /is decrypt-only/, err: /^$/ })
  t.match(await keys(['disable', '--keyring', ring, '--version', current!]), { code: 0, err: /writes fail/ })
  t.same((await readKeyring(ring)).versions.map(({ state }) => state), ['decrypt-only', 'disabled'])
  t.match(await keys(['disable', '--keyring', ring, '--version', 'nope']), { code: 1, err: /holds no version nope/ })
})

await t.test('export, check and restore', async (t) => {
  const ring = join(directory, 'kept.json')
  const backup = join(directory, 'kept.backup')
  const passphraseFile = join(directory, 'passphrase')
  await writeFile(passphraseFile, `${env.SEALGATE_KEYRING_PASSPHRASE}\n`)
  await keys(['create', '--keyring', ring, '--name', 'ops'])
  t.match(await keys(['export', '--keyring', ring, '--backup', backup], {}), { code: 1, err: /passphrase is needed/ })
  t.match(await keys(['export', '--keyring', ring, '--backup', backup], { SEALGATE_KEYRING_PASSPHRASE: 'short' }), {
    code: 1,
    err: /12 bytes/
  })
  t.match(await keys(['set-realm', '--keyring', ring, '--realm', 'a:b']), { code: 1, err: /realm is 1 to 63/ })
  t.match(await keys(['set-realm', '--keyring', ring, '--realm', 'eu-1']), { code: 0, out: /ops: realm eu-1\. Make a new backup/ })
  const exported = await keys(['export', '--keyring', ring, '--backup', backup])
  t.match(exported, { code: 0, out: /Wrote a backup of keyring ops \(1 key, realm eu-1\)/ })
  await assertSilent(t, ring, exported)
  t.equal((await stat(backup)).mode & 0o777, 0o600)
  t.match(await keys(['export', '--keyring', ring, '--backup', backup]), { code: 1, err: /exists already/ })

  t.match(await keys(['check-backup', '--backup', backup, '--keyring', ring, '--passphrase-file', passphraseFile], {}), {
    code: 0,
    out: /opens: keyring ops, realm eu-1, 1 key.*\nIt holds every key/
  })
  t.match(await readBackupCheck(ring, (await readKeyring(ring)).versions.map(({ id }) => id)), { missing: [] }, 'it is noted beside the keyring')
  t.equal((await readFile(backup))[16], 17, 'log2 of the cost of scrypt')
  await cheapen(ring, backup)
  t.match(await keys(['check-backup', '--backup', backup], { SEALGATE_KEYRING_PASSPHRASE: 'another passphrase' }), {
    code: 1,
    err: /does not open/
  })
  await keys(['rotate', '--keyring', ring])
  const newest = (await readKeyring(ring)).versions[1]!.id
  t.match(await keys(['check-backup', '--backup', backup, '--keyring', ring]), { code: 1, err: new RegExp(`lacks local:ops:${newest}`) })

  const restored = join(directory, 'restored.json')
  t.match(await keys(['restore', '--backup', backup, '--keyring', restored]), { code: 0, out: /Restored keyring ops \(1 key, realm eu-1\)/ })
  await keys(['set-realm', '--keyring', restored])
  t.match(await keys(['list', '--keyring', restored]), { code: 0, out: /^no realm\n/ })
  t.match(await keys(['check-backup', '--backup', backup, '--keyring', restored]), {
    code: 1,
    err: /The backup is for realm eu-1, and .*restored\.json for no realm/
  })
  t.ok((await readKeyring(restored)).live[0]!.key.equals((await readKeyring(ring)).live[0]!.key))
  t.equal((await stat(restored)).mode & 0o777, 0o600)
  const before = await readFile(ring)
  t.match(await keys(['restore', '--backup', backup, '--keyring', ring]), { code: 1, err: /exists already/ })
  t.same(await readFile(ring), before)
})

await t.test('a backup for age in place of a passphrase', async (t) => {
  const [ring, backup, identity] = [join(directory, 'aged.json'), join(directory, 'aged.age'), join(directory, 'identity')]
  const secret = await generateIdentity()
  await writeFile(identity, `${secret}\n`, { mode: 0o600 })
  await keys(['create', '--keyring', ring])
  const args = ['export', '--keyring', ring, '--backup', backup, '--age', await identityToRecipient(secret)]
  t.match(await keys([...args, '--make-passphrase'], {}), { code: 2, err: /has no passphrase/ })
  const exported = await keys(args, {})
  t.match(exported, { code: 0, err: /Without the identity/ })
  await assertSilent(t, ring, exported)
  t.match(await keys(['list', '--keyring', backup], {}), { code: 1, err: /an encrypted backup/ })
  t.match(await keys(['check-backup', '--backup', backup, '--keyring', ring, '--age-identity', identity], {}), { code: 0, out: /holds every key/, err: '' })
  t.match(await keys(['check-backup', '--backup', backup]), { code: 1, err: /--age-identity FILE/ })
  t.match(await keys(['restore', '--backup', backup, '--keyring', `${ring}.2`, '--age-identity', identity], {}), { code: 0, out: /realm default/ })
  t.same(await readFile(`${ring}.2`), await readFile(ring))
  t.match(await keys(['restore', '--backup', backup, '--keyring', `${ring}.3`, '--age-identity', ring], {}), { code: 1, err: /not a secret key of age/ })
})

await t.test('faults of the file are reported in words', async (t) => {
  const ring = join(directory, 'open.json')
  await keys(['create', '--keyring', ring])
  await chmod(ring, 0o644)
  for (const command of ['list', 'rotate']) t.match(await keys([command, '--keyring', ring]), { code: 1, err: /mode 0644.*chmod 600/ })
  t.match(await keys(['list', '--keyring', join(directory, 'absent')]), { code: 1, err: /does not exist/ })
  t.match(await keys(['create', '--keyring', join(directory, 'name with blanks.json')]), { code: 1, err: /keyring name/ })
})

await t.test('a passphrase is made on request, once, and files open to others are reported', async (t) => {
  const [ring, secret] = [join(directory, 'made.json'), join(directory, 'made.txt')]
  await keys(['create', '--keyring', ring])
  const args = ['export', '--keyring', ring, '--passphrase-file', secret]
  t.match(await keys([...args, '--backup', `${ring}.1`], {}), { code: 1, err: /made\.txt could not be read: no such file or directory \(ENOENT\)/ })
  t.match(await keys([...args, '--backup', `${ring}.1`, '--make-passphrase'], {}), { code: 0, out: /Made a passphrase in .*made\.txt\.\nWrote a backup/ })
  t.equal((await stat(secret)).mode & 0o777, 0o600)
  t.match(await readFile(secret, 'utf8'), /^[A-Za-z0-9_-]{43}\n$/)
  t.match(await keys(['check-backup', '--backup', `${ring}.1`, '--keyring', ring, '--passphrase-file', secret], {}), { code: 0, err: '' })
  t.match(await keys([...args, '--backup', `${ring}.2`, '--make-passphrase'], {}), { code: 1, err: /made\.txt exists already/ })
  t.match(await keys(['export', '--keyring', ring, '--backup', `${ring}.2`, '--make-passphrase'], {}), { code: 2, err: /needs --passphrase-file FILE/ })
  await cheapen(ring, `${ring}.1`, (await readFile(secret, 'utf8')).trim())
  await chmod(secret, 0o644)
  t.match(await keys(['check-backup', '--backup', `${ring}.1`, '--passphrase-file', secret], {}), {
    code: 0,
    err: /Every user of this machine can read .*made\.txt/
  })
})

await t.test('a command line that is not understood does nothing', async (t) => {
  for (
    const [args, message] of [
      [[], /No command is given/],
      [['nope'], /no command "keys nope"/],
      [['__proto__'], /no command/],
      [['list'], /give --config FILE/],
      [['list', '--keyring', ''], /--keyring needs a value/],
      [['list', '--keyring', 'x', '--name', 'y'], /no option --name/],
      [['list', '--keyring', 'x', '--unknown'], /no option --unknown/],
      [['rotate', '--keyring', 'x', 'y'], /"y" is no option/],
      [['disable', '--keyring', 'x'], /--version ID must be given/],
      [['export', '--keyring', 'x'], /--backup FILE must be given/]
    ] as const
  ) t.match(await keys(args), { code: 2, out: '', err: message }, args.join(' '))
})
