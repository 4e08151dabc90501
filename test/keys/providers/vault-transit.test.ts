import { hash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { VaultConfig } from '../../../src/config/key-config.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { fieldsOf } from '../../../src/diagnosis.ts'
import { bucketKeyContext } from '../../../src/envelope/data-key.ts'
import { S3Error } from '../../../src/errors.ts'
import { KeySelfTest } from '../../../src/keys/self-test.ts'
import { openKeyRegistry } from '../../../src/keys/registry.ts'
import { VaultTransitProvider, type VaultProviderOptions } from '../../../src/keys/providers/vault-transit.ts'
import { codeOf } from '../../support/error-code.ts'
import { FakeVault, refuseVault } from '../../support/fake-vault.ts'
import { keyContext, keyUse } from '../support.ts'

const context = keyContext({ bucket: 'photos', requestContext: { a: '1' } })
/** No circuit breaker in the way of tests that are not about it. */
const limits = { callMs: 2000, requestMs: 5000, retryMs: 2, breakerFailures: 1000 }

function open(t: Test, vault: FakeVault, change: Partial<VaultConfig> = {}, options: Partial<VaultProviderOptions> = {}): VaultTransitProvider {
  const token = vault.addToken(0)
  const provider = new VaultTransitProvider({
    config: {
      type: 'vault-transit',
      addresses: [vault.address],
      service: 'vault',
      namespace: null,
      mount: 'transit',
      key: 'main',
      ca: null,
      serverName: null,
      auth: { method: 'token', token, tokenFile: null },
      ...change
    },
    files: { ca: null, client: null },
    selfTestContext: keyContext(),
    limits,
    ...options
  })
  t.teardown(() => provider.close())
  return provider
}

async function started(t: Test): Promise<FakeVault> {
  const vault = await FakeVault.start(t)
  vault.addKey('main')
  return vault
}

/** Paths of the calls to the engine since the last time. */
function asked(vault: FakeVault): string[] {
  return vault.calls.splice(0).map(({ path }) => path).filter((path) => path.startsWith('transit/') && !path.startsWith('transit/keys/'))
}

await t.test('what is sent: a hash of the place, and no name of it', async (t) => {
  const vault = await started(t)
  const provider = open(t, vault, { namespace: 'storage' })
  t.equal(provider.currentKeyId(), 'vault:vault/storage/transit/main', 'before the server has said the version')
  const { wrapped } = await provider.generate(context, keyUse())
  t.equal(wrapped.keyId, 'vault:vault/storage/transit/main:v1')
  t.equal(provider.currentKeyId(), wrapped.keyId)
  const call = vault.calls.at(-1)
  t.match(call, { method: 'POST', path: 'transit/datakey/plaintext/main', namespace: 'storage', body: { bits: 256 } })
  t.equal(call?.body['context'], hash('sha256', bucketKeyContext('default', 'photos', null, { a: '1' }), 'base64'))
  t.notMatch(JSON.stringify(vault.calls), /photos|default/)
  for (const name of ['aws:s3:arn', 'sealgate:realm']) {
    t.equal(await codeOf(provider.generate(keyContext({ requestContext: { [name]: 'x' } }), keyUse())), 'InvalidArgument', name)
  }
})

await t.test('a key that would not bind is refused before its first use', async (t) => {
  const vault = await FakeVault.start(t)
  vault.addKey('main', { derived: false })
  const wrapped = { keyId: 'vault:vault/transit/main:v1', blob: Buffer.alloc(60, 1) }
  for (
    const work of [
      (provider: VaultTransitProvider): Promise<unknown> => provider.generate(context, keyUse()),
      (provider: VaultTransitProvider) => provider.unwrap(wrapped, context, keyUse()),
      (provider: VaultTransitProvider) => provider.rewrap(wrapped, context, context, keyUse()),
      (provider: VaultTransitProvider) => provider.selfTest()
    ]
  ) {
    await t.rejects(async () => {
      await work(open(t, vault))
    }, { code: 'KMS.KMSInvalidStateException', message: /not derived.*transit\/keys\/main type=aes256-gcm96 derived=true/ })
  }
  t.same(asked(vault), [])
  vault.addKey('main', { type: 'rsa-2048' })
  await t.rejects(open(t, vault).selfTest(), { code: 'KMS.KMSInvalidStateException', message: /aes256-gcm96/ })
  vault.addKey('main', { exportable: true, deletion_allowed: true })
  const provider = open(t, vault)
  await provider.selfTest()
  t.match(provider.warnings, [/exportable/, /deletion_allowed/])
  vault.keys.delete('main')
  t.equal(await codeOf(provider.generate(context, keyUse())), 'KMS.NotFoundException', 'datakey makes no key that is missing')
  t.notOk(vault.keys.has('main'))
})

await t.test('a re-wrap within one context never shows the bucket key; a copy to another context must', async (t) => {
  const vault = await started(t)
  const provider = open(t, vault)
  const { key, wrapped } = await provider.generate(context, keyUse())
  vault.rotate('main')
  asked(vault)
  const renewed = await provider.rewrap(wrapped, context, context, keyUse())
  t.same(asked(vault), ['transit/rewrap/main'])
  t.equal(renewed.keyId, 'vault:vault/transit/main:v2')
  t.equal(provider.currentKeyId(), renewed.keyId, 'the rotation is known from the answer')
  t.same(provider.versions.map(({ id }) => id), ['v1'], 'until the key is described again')
  await provider.learn(new AbortController().signal)
  t.same(provider.versions, [{ id: 'v1', state: 'decrypt-only' }, { id: 'v2', state: 'enabled' }])
  const other = keyContext({ bucket: 'copies' })
  asked(vault)
  const copied = await provider.rewrap(renewed, context, other, keyUse())
  t.same(asked(vault), ['transit/decrypt/main', 'transit/encrypt/main'])
  t.ok((await provider.unwrap(copied, other, keyUse())).equals(key))
})

await t.test('versions that the server does not have', async (t) => {
  const vault = await started(t)
  const provider = open(t, vault)
  const { wrapped } = await provider.generate(context, keyUse())
  t.equal(await codeOf(provider.unwrap({ ...wrapped, keyId: 'vault:vault/transit/main:v9' }, context, keyUse())), 'KMS.NotFoundException')
  for (const version of ['0', '01', '-1', '1.0', '1234567890', ' 1', '']) {
    t.equal(await codeOf(provider.unwrap({ ...wrapped, keyId: `vault:vault/transit/main:v${version}` }, context, keyUse())), 'SealgateKeyUnavailable', version)
  }
})

await t.test('the next server is asked when one does not answer or sends the client away, and a token goes to no other', async (t) => {
  const vault = await started(t)
  const seen: unknown[] = []
  const stranger = createServer((request, response) => {
    seen.push(request.headers)
    response.end()
  })
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    stranger.close()
  })
  const standby = createServer((_request, response) => {
    response.writeHead(307, { location: `http://127.0.0.1:${(stranger.address() as AddressInfo).port}/v1/` }).end()
  })
  await new Promise<void>((resolve) => standby.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    standby.closeAllConnections()
    standby.close()
  })
  // Port 9 of loopback: nobody listens.
  const addresses = ['http://127.0.0.1:9', `http://127.0.0.1:${(standby.address() as AddressInfo).port}`, vault.address]
  const provider = open(t, vault, { addresses })
  const { key, wrapped } = await provider.generate(context, keyUse())
  t.ok((await provider.unwrap(wrapped, context, keyUse())).equals(key))
  t.same(seen, [])
  t.match(provider.heldBack(), [['127.0.0.1:9', false]])
})

await t.test('the operator is told what was refused, in names and numbers', async (t) => {
  const vault = await started(t)
  const provider = open(t, vault, {}, { limits: { ...limits, attempts: 1 } })
  const { wrapped } = await provider.generate(context, keyUse())
  const told = async (status: number, message: string) => {
    vault.misbehave = (_call, response) => {
      refuseVault(response, status, message)
      return true
    }
    const error = await provider.unwrap(wrapped, context, keyUse()).catch((reason: unknown) => reason)
    return error instanceof S3Error ? { code: error.code, cause: (error.cause as Error).message, ...fieldsOf(error.diagnosis) } : error
  }
  t.match(await told(503, 'Vault is sealed'), { code: 'ServiceUnavailable', service: 'kms', operation: 'Decrypt', status: 503, errorName: 'Sealed' })
  t.match(await told(429, 'rate limit quota exceeded'), { code: 'SlowDown', status: 429, errorName: 'RateLimited', trouble: 'throttled' })
  t.match(await told(403, '1 error occurred:\n\t* permission denied\n\n'), {
    code: 'AccessDenied',
    status: 403,
    errorName: 'PermissionDenied',
    trouble: 'denied'
  })
  t.match(await told(473, ''), { code: 'ServiceUnavailable', errorName: 'PerformanceStandby' })
  t.match(await told(472, ''), { code: 'ServiceUnavailable', errorName: 'DisasterRecoverySecondary' })
  t.match(await told(412, ''), { code: 'ServiceUnavailable', errorName: 'NotYetReplicated' })
  t.match(await told(404, ''), { code: 'KMS.NotFoundException', errorName: 'NotFound' })
  t.match(await told(400, 'something new'), { code: 'InternalError', cause: /status 400; Other; something new$/ })
  const canary = Buffer.alloc(32, 7).toString('base64')
  t.notMatch(JSON.stringify(await told(500, `failed on ${canary} with s.SihXVmJ79s6k23WEyuvCdA0F`)), /BwcH|SihX/)
})

await t.test('in a configuration: its name, its ids, its self-test', async (t) => {
  const vault = await FakeVault.start(t)
  vault.addKey('main', { exportable: true })
  const file = '/sealgate.yaml'
  const key = (more: object = {}) => ({
    type: 'vault-transit',
    address: vault.address,
    key: 'main',
    auth: { method: 'token', token: { env: 'TOKEN' } },
    ...more
  })
  const tree = (keys: object) =>
    JSON.stringify({
      upstream: { endpoint: 'http://127.0.0.1:9', credentials: 'aws' },
      clients: [{ accessKeyId: 'a', secretAccessKey: 'b' }],
      keys,
      buckets: { '*': { key: 'own' } }
    })
  const config = parseConfig(tree({ own: key() }), { file, env: { TOKEN: vault.addToken(0) } })
  t.notMatch(JSON.stringify(config), /"s\./, 'the token shows in no dump')
  const options = { cache: config.keyCache, usedAt: () => [{ realm: 'r', stateBucket: 's' }], audit: () => undefined }
  const registry = await openKeyRegistry({ ...options, keys: config.keys })
  t.teardown(() => registry.close())
  const warned: string[][] = []
  await new KeySelfTest(registry, undefined, (...warning) => {
    warned.push(warning)
  }).run()
  t.match(warned, [['own', /exportable/]])
  t.equal(registry.shownId('vault:vault/transit/main:v1'), 'own')
  for (const name of ['own', 'alias/own', 'vault:vault/transit/main:v7']) t.equal(registry.names(name, 'vault:vault/transit/main:v1'), true, name)
  t.notOk(registry.names('vault:vault/transit/other:v1', 'vault:vault/transit/main:v1'))
  const twice = parseConfig(tree({ own: key(), again: key({ address: 'https://elsewhere' }) }), { file, env: { TOKEN: 'x' } })
  await t.rejects(openKeyRegistry({ ...options, keys: twice.keys }), { message: /own and again have the same key ids: vault:vault\/transit\/main:v/ })
})
