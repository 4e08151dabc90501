import { registerHooks } from 'node:module'
import t from 'tap'
import { createKeyring } from '../../../src/keys/keyring-file.ts'
import { FakeKms } from '../../support/fake-kms.ts'
import { keyContext, keyUse, temporaryDirectory } from '../support.ts'

const loaded: string[] = []
registerHooks({
  resolve(specifier, context, next) {
    if (specifier.startsWith('@aws-sdk/')) loaded.push(specifier)
    return next(specifier, context)
  }
})

await t.test('a gateway on local keyrings never loads the AWS SDK; the first KMS call does', async (t) => {
  const { openKeyRegistry } = await import('../../../src/keys/registry.ts')
  const file = await temporaryDirectory(t)
  const kms = await FakeKms.start(t)
  await createKeyring(file('ring'), 'ring', new Date())
  const registry = await openKeyRegistry({
    keys: {
      main: { type: 'local', keyring: file('ring') },
      cloud: { type: 'aws-kms', arn: kms.addKey(), decryptOnly: [], aliases: [], region: null, regions: [], endpoint: kms.endpoint, credentials: 'aws' }
    },
    cache: { maxAgeSeconds: 60, maxEntries: 10, maxUses: 10 },
    usedAt: () => [{ realm: 'default', stateBucket: 'state' }],
    audit: () => undefined,
    kmsCredentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
  })
  t.teardown(() => registry.close())
  await registry.providerFor('main').generate(keyContext(), keyUse())
  t.same(loaded, [])
  await registry.providerFor('cloud').generate(keyContext(), keyUse())
  t.ok(loaded.includes('@aws-sdk/client-kms'))
})
