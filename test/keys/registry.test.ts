import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import type { KeyConfig } from '../../src/config/config.ts'
import type { AuditEvent } from '../../src/keys/types.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { openKeyRegistry, type KeyRegistry } from '../../src/keys/registry.ts'
import { S3Error } from '../../src/errors.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { keyContext, keyUse, temporaryDirectory } from './support.ts'
import { codeOf } from '../support/error-code.ts'

const now = new Date('2026-07-22T10:11:12.000Z')
const credentials = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' }
const cache = { maxAgeSeconds: 300, maxEntries: 1000, maxUses: 1000 }

interface House {
  readonly registry: KeyRegistry
  readonly events: AuditEvent[]
  readonly kms: FakeKms
  readonly arn: string
  readonly file: (name: string) => string
  readonly clock: { ms: number }
}

/** One local keyring, `main`, and one KMS key, `cloud`. */
async function house(test: { teardown(work: () => Promise<void>): void }): Promise<House> {
  const file = await temporaryDirectory(test)
  const kms = await FakeKms.start(test)
  const arn = kms.addKey()
  await createKeyring(file('ring'), 'ring', now)
  const keys: Record<string, KeyConfig> = {
    main: { type: 'local', keyring: file('ring') },
    cloud: { type: 'aws-kms', arn, decryptOnly: [], aliases: ['alias/invoices', 'hr'], region: null, regions: [], endpoint: kms.endpoint, credentials: 'aws' }
  }
  const events: AuditEvent[] = []
  const clock = { ms: 0 }
  const registry = await openKeyRegistry({
    keys,
    cache,
    usedAt: () => [{ realm: 'default', stateBucket: 'state' }],
    audit: (event) => {
      events.push(event)
    },
    kmsCredentials: credentials,
    now: () => clock.ms
  })
  test.teardown(() => registry.close())
  return { registry, events, kms, arn, file, clock }
}

await t.test('a stored key id finds its owner; an unknown one is named in the error', async (t) => {
  const { registry, arn } = await house(t)
  const pins = { key: 'main', allowedKeys: [], openKeys: ['cloud'] }
  t.equal(registry.openerOf(arn, pins, keyUse()).provider, registry.providerFor('cloud'))
  t.equal(registry.openerOf('local:ring:v1', pins, keyUse()).provider, registry.providerFor('main'))
  for (const keyId of ['local:other:v1', `${arn}x`, 'ssec', '']) {
    t.throws(() => registry.openerOf(keyId, pins, keyUse()), {
      code: 'SealgateKeyUnavailable',
      message: `The object is sealed with key ${keyId}, which the gateway does not hold.`
    })
  }
  t.throws(() => registry.providerFor('nope'), { code: 'InternalError' })
  await registry.selfTest()
})

await t.test('what a bucket may open with: its key, what it may be asked for, what it had before; every other key is refused, and told', async (t) => {
  const { registry, events, arn } = await house(t)
  const ids = { main: 'local:ring:v1', cloud: arn }
  const named = ['main', 'cloud'] as const
  for (const key of named) {
    for (const allowed of [[], ...named.map((name) => [name])]) {
      for (const open of [[], ...named.map((name) => [name])]) {
        for (const asked of named) {
          events.length = 0
          const work = (): unknown => registry.openerOf(ids[asked], { key, allowedKeys: allowed, openKeys: open }, keyUse())
          if ([key, ...allowed, ...open].includes(asked)) t.match(work(), { name: asked })
          else {
            t.throws(work, { code: 'SealgateKeyUnavailable', message: /must not open it here/, cause: { name: 'ForeignKey' } })
            t.match(events, [{ action: 'refused', masterKeyId: ids[asked], error: 'SealgateKeyUnavailable' }])
          }
        }
      }
    }
  }
})

await t.test('10,000 writes and reads cost few calls; disabling the key shows at the age of the cache, enabling soon after', async (t) => {
  const { registry, events, kms, arn, clock } = await house(t)
  const provider = registry.providerFor('cloud')
  for (let i = 0; i < 10_000; i++) {
    const { wrapped } = await provider.generate(keyContext(), keyUse())
    await provider.unwrap(wrapped, keyContext(), keyUse())
  }
  t.ok(kms.calls.length < 20)
  t.equal(events.length, 20_000)
  t.comment(`10,000 writes and 10,000 reads, ${kms.calls.length} KMS calls at ${cache.maxUses} uses per bucket key`)

  const { key, wrapped } = await provider.generate(keyContext(), keyUse())
  kms.setState(arn, 'disabled')
  t.equal(await provider.unwrap(wrapped, keyContext(), keyUse()), key, 'still cached')
  clock.ms += cache.maxAgeSeconds * 1000
  t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'KMS.DisabledException')
  t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'KMS.DisabledException')
  kms.setState(arn, 'enabled')
  clock.ms += 5000
  t.ok((await provider.unwrap(wrapped, keyContext(), keyUse())).equals(key))
  t.ok(await provider.generate(keyContext(), keyUse()))
})

await t.test('which key a client may ask for', async (t) => {
  const { registry, events, arn } = await house(t)
  const account = 'arn:aws:kms:eu-west-1:111122223333:'
  const both = { key: 'main', allowedKeys: ['cloud'], openKeys: [] }
  for (
    const requested of [
      arn,
      arn.slice(`${account}key/`.length),
      'cloud',
      'alias/cloud',
      'alias/invoices',
      'invoices',
      `${account}alias/invoices`,
      'hr',
      'alias/hr',
      `${account}alias/hr`
    ]
  ) t.equal(registry.resolve(requested, both, keyUse()).name, 'cloud', requested)
  for (const requested of [null, 'main', 'alias/main', 'local:ring:any']) t.equal(registry.resolve(requested, both, keyUse()).name, 'main')
  t.equal(events.length, 0)
  for (const requested of ['nope', 'alias/nope', `${account}key/nope`, 'arn:aws:kms:eu-west-1:999922223333:alias/invoices', 'arn', '']) {
    t.equal(await codeOf(() => registry.resolve(requested, both, keyUse())), 'KMS.NotFoundException', requested)
  }
  t.equal(await codeOf(() => registry.resolve(arn, { key: 'main', allowedKeys: [], openKeys: [] }, keyUse())), 'AccessDenied')
  t.match(events.at(-1), {
    action: 'refused',
    masterKeyId: arn,
    outcome: 'failed',
    error: 'AccessDenied',
    principal: 'AKIATEST',
    cached: false
  })
  t.equal(events.length, 7)
})

await t.test('every key use is audited, cached or not, with user, operation and place, and without a secret', async (t) => {
  const { registry, events, kms, arn } = await house(t)
  const provider = registry.providerFor('cloud')
  const context = keyContext({ requestContext: { dept: 'hr' } })
  const use = keyUse({ versionId: 'v9' })
  const made = await provider.generate(context, use)
  await provider.generate(context, use)
  await provider.unwrap(made.wrapped, context, use)
  await provider.rewrap(made.wrapped, context, keyContext({ bucket: 'copy' }), use)
  await codeOf(provider.unwrap(made.wrapped, keyContext({ bucket: 'elsewhere' }), use))
  t.same(events.map(({ action, cached, outcome, error }) => [action, cached, outcome, error]), [
    ['generate', false, 'ok', null],
    ['wrap', true, 'ok', null],
    ['unwrap', true, 'ok', null],
    ['rewrap', false, 'ok', null],
    ['unwrap', false, 'failed', 'SealgateIntegrityError']
  ])
  t.equal(events.filter((event) => !event.cached).length, kms.calls.length, 'uncached lines and calls of the service are as many')
  t.match(events[0], {
    time: /^\d{4}-\d\d-\d\dT.*Z$/,
    requestId: 'REQ1',
    principal: 'AKIATEST',
    sourceAddress: '192.0.2.1',
    operation: 'PutObject',
    bucket: 'bucket',
    key: 'a/b',
    versionId: 'v9',
    masterKeyId: arn,
    context: { 'aws:s3:arn': 'arn:aws:s3:::bucket', 'sealgate:realm': 'default', 'dept': 'hr' }
  })
  const told = JSON.stringify(events)
  for (const secret of [made.key.export().toString('base64'), made.key.export().toString('hex'), credentials.secretAccessKey]) {
    t.notMatch(told, secret)
  }
  kms.setState(arn, 'disabled')
  await codeOf(provider.generate(keyContext({ bucket: 'new' }), use))
  t.match(events.at(-1), { action: 'generate', masterKeyId: arn, outcome: 'failed', error: 'KMS.DisabledException' })
  const gone = AbortSignal.abort(new Error('gone'))
  await t.rejects(provider.generate(context, { ...use, signal: gone }), { message: 'gone' })
  t.match(events.at(-1), { outcome: 'failed', error: 'Aborted' })
})

await t.test('a key use that cannot be told fails', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('ring'), 'ring', now)
  const registry = await openKeyRegistry({
    keys: { main: { type: 'local', keyring: file('ring') } },
    cache,
    usedAt: () => [{ realm: 'default', stateBucket: 'state' }],
    audit: () => {
      throw new S3Error('ServiceUnavailable')
    }
  })
  t.equal(await codeOf(registry.providerFor('main').generate(keyContext(), keyUse())), 'ServiceUnavailable')
})

await t.test('a customer\'s key is used, told, and kept nowhere', async (t) => {
  const { registry, events } = await house(t)
  const [mine, other] = [0, 1].map(() => ({ key: createSecretKey(randomBytes(32)), md5: 'md5' }))
  const sealed = registry.sealForCustomer(mine!, keyContext(), keyUse())
  t.ok(registry.openForCustomer(mine!, sealed.wrapped, keyContext(), keyUse()).equals(sealed.key))
  t.equal(await codeOf(() => registry.openForCustomer(other!, sealed.wrapped, keyContext(), keyUse())), 'InvalidRequest')
  t.same(events.map(({ action, masterKeyId, cached, error }) => [action, masterKeyId, cached, error]), [
    ['wrap', 'ssec', false, null],
    ['unwrap', 'ssec', false, null],
    ['unwrap', 'ssec', false, 'InvalidRequest']
  ])
})

await t.test('the self-test names each key that fails', async (t) => {
  const { registry, kms, arn } = await house(t)
  await registry.selfTest()
  t.match(kms.calls[0]?.input, { EncryptionContext: { 'aws:s3:arn': 'arn:aws:s3:::state', 'sealgate:realm': 'default' } })
  kms.setState(arn, 'disabled')
  await t.rejects(registry.selfTest(), { name: 'AggregateError', message: /^Key cloud: self-test failed: .* is disabled\.$/ })
})

await t.test('two keyrings of one name are refused, and so is a missing one', async (t) => {
  const file = await temporaryDirectory(t)
  await createKeyring(file('a'), 'same', now)
  await createKeyring(file('b'), 'same', now)
  const options = { cache, usedAt: () => [{ realm: 'default', stateBucket: 'state' }], audit: () => undefined }
  await t.rejects(
    openKeyRegistry({
      ...options,
      keys: { a: { type: 'local', keyring: file('a') }, b: { type: 'local', keyring: file('b') } }
    }),
    { name: 'KeyringError', message: /same key ids: local:same:/ }
  )
  await t.rejects(openKeyRegistry({ ...options, keys: { a: { type: 'local', keyring: file('absent') } } }), { name: 'KeyringError' })
})
