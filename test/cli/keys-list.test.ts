import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createKeyring, editKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { FakeVault } from '../support/fake-vault.ts'
import { runCli } from '../support/run-cli.ts'

const directory = await mkdtemp(join(tmpdir(), 'sealgate-keys-list-'))
t.teardown(async () => {
  await rm(directory, { recursive: true, force: true })
})

await t.test('keys of every kind with their versions; a service that does not answer hides none of the others', async (t) => {
  const vault = await FakeVault.start(t)
  const kms = await FakeKms.start(t)
  vault.addKey('main')
  vault.rotate('main')
  vault.rotate('main')
  vault.keys.get('main')!.minDecryption = 2
  await createKeyring(join(directory, 'ring'), 'ring', new Date())
  await editKeyring(join(directory, 'ring'), (keyring) => keyring.rotate(new Date()))
  const arn = kms.addKey()
  const keys = {
    ring: { type: 'local', keyring: './ring' },
    transit: { type: 'vault-transit', address: vault.address, key: 'main', auth: { method: 'token', token: vault.addToken(0) } },
    cloud: { type: 'aws-kms', arn, endpoint: kms.endpoint, accessKeyId: 'a', secretAccessKey: 'b' }
  }
  const file = join(directory, 'sealgate.yaml')
  const write = (all: object) =>
    writeFile(
      file,
      JSON.stringify({
        upstream: { endpoint: 'http://127.0.0.1:9', credentials: 'aws' },
        clients: [{ accessKeyId: 'a', secretAccessKey: 'b' }],
        keys: all,
        buckets: { '*': { key: 'ring', openKeys: Object.keys(all) } }
      })
    )
  await write(keys)
  const listed = await runCli(['keys', 'list', '--config', file], directory)
  t.match(listed, { code: 0, err: '' })
  t.match(
    listed.out,
    new RegExp(
      `^ring  local  local:ring:\\S+\n  \\S+  decrypt-only\n  \\S+  enabled  current\n`
        + `transit  vault-transit  vault:vault/transit/main:v3\n  v2  decrypt-only\n  v3  enabled  current\ncloud  aws-kms  ${arn}\n$`
    )
  )
  t.same(kms.calls, [], 'KMS has no versions to ask for')
  await write({ ...keys, transit: { ...keys.transit, address: 'http://127.0.0.1:9' } })
  const partly = await runCli(['keys', 'list', '--config', file, '--json'], directory)
  t.match(JSON.parse(partly.out), { keys: [{ name: 'ring' }, { name: 'transit', keyId: 'vault:vault/transit/main', versions: [] }, { name: 'cloud' }] })
  t.match(await runCli(['keys', 'list', '--config', file, '--keyring', 'ring'], directory), { code: 2, err: /either --keyring or --config/ })
  t.match(await runCli(['keys', 'list'], directory), { code: 2, err: /--config FILE/ })
})
