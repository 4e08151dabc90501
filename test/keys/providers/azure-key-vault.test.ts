import { createSecretKey, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { AzureConfig } from '../../../src/config/key-config.ts'
import { bindingOf } from '../../../src/keys/key-material.ts'
import { azureKeyVaultKind } from '../../../src/keys/providers/azure-kind.ts'
import { AzureKeyVaultProvider } from '../../../src/keys/providers/azure-key-vault.ts'
import { encryptFor, joined, makeBox, parted } from '../../../src/keys/providers/azure-wrap.ts'
import { codeOf } from '../../support/error-code.ts'
import { failure, FakeKeyVault } from '../../support/fake-key-vault.ts'
import { answerJson } from '../../support/fake-service.ts'
import { keyContext, keyUse, temporaryDirectory } from '../support.ts'

const limits = { callMs: 2000, requestMs: 5000, retryMs: 2, breakerFailures: 1000 }

interface Rig {
  readonly vault: FakeKeyVault
  readonly config: AzureConfig
  readonly provider: AzureKeyVaultProvider
}

async function started(t: Test, algorithm: AzureConfig['algorithm'] = 'RSA-OAEP-256'): Promise<Rig> {
  const vault = await FakeKeyVault.start(t)
  vault.addKey('main', algorithm === 'A256KW')
  const file = await temporaryDirectory(t)
  await writeFile(file('token'), vault.addToken())
  const config: AzureConfig = {
    type: 'azure-key-vault',
    vault: vault.vault,
    key: 'main',
    algorithm,
    resource: null,
    endpoint: vault.address,
    ca: null,
    serverName: null,
    auth: { method: 'token', tokenFile: file('token') }
  }
  return { vault, config, provider: opened(t, config) }
}

function opened(t: Test, config: AzureConfig): AzureKeyVaultProvider {
  const provider = new AzureKeyVaultProvider({ config, ca: null, selfTestContext: keyContext(), limits })
  t.teardown(() => provider.close())
  return provider
}

await t.test('who has the public key makes no wrap: it needs the signature of the private one', async (t) => {
  const { vault, provider } = await started(t)
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const { pair } = vault.keys.get('main')!.versions[0]!
  const kek = createSecretKey(Buffer.alloc(32, 1))
  const bound = bindingOf(keyContext())
  const forged = { ciphertext: encryptFor(pair!.publicKey, kek.export()), box: makeBox(kek, Buffer.alloc(32, 2), bound) }
  const { signature } = parted(wrapped.blob, false)
  vault.calls.length = 0
  for (const given of [signature!, randomBytes(256), Buffer.alloc(256)]) {
    const blob = joined({ ...forged, signature: given })
    t.equal(await codeOf(provider.unwrap({ ...wrapped, blob }, keyContext(), keyUse())), 'SealgateIntegrityError')
  }
  // Each part of a real wrap with the rest of another.
  const other = parted((await provider.generate(keyContext(), keyUse())).wrapped.blob, false)
  const real = parted(wrapped.blob, false)
  for (const mixed of [{ ...real, ciphertext: other.ciphertext }, { ...real, box: other.box }, { ...real, signature: other.signature }]) {
    t.equal(await codeOf(provider.unwrap({ ...wrapped, blob: joined(mixed) }, keyContext(), keyUse())), 'SealgateIntegrityError')
  }
  // A symmetric wrap has no signature: the blob does not choose.
  const symmetric = Buffer.concat([Buffer.of(2), randomBytes(40), forged.box])
  t.equal(await codeOf(provider.unwrap({ ...wrapped, blob: symmetric }, keyContext(), keyUse())), 'SealgateIntegrityError')
  t.equal(vault.count(/unwrapkey/), 0, 'the service is not asked for any of them')
})

await t.test('wraps of every changed byte are refused', async (t) => {
  for (const algorithm of ['RSA-OAEP-256', 'A256KW'] as const) {
    const { provider } = await started(t, algorithm)
    const { key, wrapped } = await provider.generate(keyContext(), keyUse())
    t.equal(wrapped.blob.length, algorithm === 'A256KW' ? 121 : 593)
    t.ok((await provider.unwrap(wrapped, keyContext(), keyUse())).equals(key))
    const codes = new Map<string, number>()
    for (let at = 0; at < wrapped.blob.length; at += algorithm === 'A256KW' ? 3 : 1) {
      const blob = Buffer.from(wrapped.blob)
      blob.writeUInt8(blob.readUInt8(at) ^ (1 << (at % 8)), at)
      const code = await codeOf(provider.unwrap({ ...wrapped, blob }, keyContext(), keyUse()))
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
    t.same([...codes.keys()], ['SealgateIntegrityError'])
    for (const length of [1, 120, 122, 592, 594, 849, 1105]) {
      t.equal(await codeOf(provider.unwrap({ ...wrapped, blob: Buffer.alloc(length, wrapped.blob[0]) }, keyContext(), keyUse())), 'SealgateIntegrityError')
    }
  }
})

await t.test('a disabled version wraps nothing, though its public key would; an expired one opens and wraps nothing', async (t) => {
  for (const algorithm of ['RSA-OAEP-256', 'A256KW'] as const) {
    const { vault, provider } = await started(t, algorithm)
    const [version] = vault.keys.get('main')!.versions
    const { key, wrapped } = await provider.generate(keyContext(), keyUse())
    version!.attributes.enabled = false
    t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'KMS.DisabledException')
    version!.attributes.enabled = true
    for (const times of [{ exp: 1 }, { nbf: 4_000_000_000 }]) {
      Object.assign(version!.attributes, times)
      t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'KMS.KMSInvalidStateException')
      t.ok((await provider.unwrap(wrapped, keyContext(), keyUse())).equals(key))
      for (const name of Object.keys(times)) Reflect.deleteProperty(version!.attributes, name)
    }
    // May wrap and not unwrap: no object must depend on it.
    version!.operations = version!.operations.filter((each) => each !== 'unwrapKey')
    t.equal(await codeOf(opened(t, { ...(await configOf(t, vault)), algorithm }).generate(keyContext(), keyUse())), 'KMS.KMSInvalidStateException')
  }
})

async function configOf(t: Test, vault: FakeKeyVault): Promise<AzureConfig> {
  const file = await temporaryDirectory(t)
  await writeFile(file('token'), vault.addToken())
  return {
    type: 'azure-key-vault',
    vault: vault.vault,
    key: 'main',
    algorithm: 'RSA-OAEP-256',
    resource: null,
    endpoint: vault.address,
    ca: null,
    serverName: null,
    auth: { method: 'token', tokenFile: file('token') }
  }
}

await t.test('keys that cannot do it are refused; an old version need not sign any more', async (t) => {
  const { vault, config, provider } = await started(t)
  vault.addKey('oct', true)
  t.equal(await codeOf(opened(t, { ...config, key: 'oct' }).selfTest()), 'KMS.KMSInvalidStateException')
  t.equal(await codeOf(opened(t, { ...config, algorithm: 'A256KW' }).selfTest()), 'KMS.KMSInvalidStateException')
  const { key, wrapped } = await provider.generate(keyContext(), keyUse())
  const [old] = vault.keys.get('main')!.versions
  old!.operations = ['unwrapKey']
  t.equal(await codeOf(opened(t, config).selfTest()), 'KMS.KMSInvalidStateException')
  vault.rotate('main')
  const after = opened(t, config)
  await after.selfTest()
  t.ok((await after.unwrap(wrapped, keyContext(), keyUse())).equals(key))
})

await t.test('versions and their states, of several pages; the newest is known without them', async (t) => {
  const { vault, config, provider } = await started(t)
  t.equal(provider.currentKeyId(), 'azure-key-vault:test-vault.vault.azure.net/main')
  const { versions } = vault.keys.get('main')!
  for (let i = 0; i < 3; i++) vault.rotate('main')
  versions[0]!.attributes.enabled = false
  versions[1]!.attributes.exp = 1
  await provider.learn(new AbortController().signal)
  t.equal(provider.currentKeyId(), `azure-key-vault:test-vault.vault.azure.net/main:${versions[3]!.id}`)
  const states = ['disabled', 'decrypt-only', 'decrypt-only', 'enabled']
  t.same(provider.versions, versions.map(({ id }, i) => ({ id, state: states[i] })))
  vault.mayList = false
  vault.rotate('main')
  const other = opened(t, config)
  await other.selfTest()
  t.same(other.versions, [])
  t.equal(other.currentKeyId(), `azure-key-vault:test-vault.vault.azure.net/main:${versions[4]!.id}`)
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  t.equal(wrapped.keyId, `azure-key-vault:test-vault.vault.azure.net/main:${versions[3]!.id}`, 'the newest is asked for every five minutes')
  const leave = new AbortController()
  leave.abort(new Error('left'))
  await t.rejects(provider.learn(leave.signal), { message: 'left' })
})

await t.test('answers of another key are refused', async (t) => {
  const { vault, provider } = await started(t)
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const { id } = vault.keys.get('main')!.versions[0]!
  const strange = [
    `${vault.vault}/keys/main/${'0'.repeat(32)}`,
    `https://other.vault.azure.net/keys/main/${id}`,
    `${vault.vault}/keys/other/${id}`,
    `${vault.vault}/keys/main`,
    'x',
    7
  ]
  for (const kid of strange) {
    vault.alter = (answer) => ({ ...answer, kid })
    t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'InternalError', String(kid))
    // Any version may be the newest.
    if (kid === strange[0]) continue
    vault.alter = (answer) => ({ ...answer, key: { ...answer['key'] as object, kid } })
    t.equal(await codeOf(provider.learn(new AbortController().signal)), 'InternalError', String(kid))
  }
  // A signature that another key made.
  vault.alter = (answer) => ({ ...answer, value: randomBytes(256).toString('base64url') })
  t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'InternalError')
  t.equal(await codeOf(provider.unwrap({ ...wrapped, keyId: wrapped.keyId.replace(id, '0'.repeat(32)) }, keyContext(), keyUse())), 'KMS.NotFoundException')
})

await t.test('refusals by status and code', async (t) => {
  const { vault, provider } = await started(t)
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  await provider.unwrap(wrapped, keyContext(), keyUse())
  const rows: readonly (readonly [...Parameters<typeof failure>, code: string, errorName: string])[] = [
    [403, 'Forbidden', 'Operation unwrapKey is not allowed on a disabled key.', undefined, {}, 'KMS.DisabledException', 'KeyDisabled'],
    [403, 'Forbidden', 'text', 'KeyDisabled', {}, 'KMS.DisabledException', 'KeyDisabled'],
    [403, 'Forbidden', 'on an expired key', undefined, {}, 'KMS.KMSInvalidStateException', 'KeyExpired'],
    [403, 'Forbidden', 'Client address is not authorized.', 'ForbiddenByFirewall', {}, 'AccessDenied', 'ForbiddenByFirewall'],
    [403, 'Forbidden', 'text', undefined, {}, 'AccessDenied', 'Forbidden'],
    [404, 'KeyNotFound', 'not found', undefined, {}, 'KMS.NotFoundException', 'KeyNotFound'],
    [409, 'Conflict', 'text', 'ObjectIsBeingDeleted', {}, 'KMS.KMSInvalidStateException', 'ObjectIsBeingDeleted'],
    [400, 'BadParameter', 'The parameter is incorrect.', undefined, {}, 'SealgateIntegrityError', 'BadParameter'],
    [415, 'BadParameter', 'text', undefined, {}, 'InternalError', 'BadParameter'],
    [429, 'Throttled', 'text', undefined, {}, 'SlowDown', 'Throttled'],
    [500, 'InternalServerError', 'text', undefined, {}, 'ServiceUnavailable', 'InternalServerError'],
    [503, 'ServiceUnavailable', 'text', undefined, {}, 'ServiceUnavailable', 'ServiceUnavailable']
  ]
  for (const [status, name, message, inner, headers, code, errorName] of rows) {
    const answer = failure(status, name, `${message} ${'k'.repeat(40)}`, inner, headers)
    vault.misbehave = (_, response) => {
      answerJson(response, status, answer.body, answer.headers)
      return true
    }
    const error = await provider.unwrap(wrapped, keyContext(), keyUse()).then(() => null, (reason: unknown) => reason as Error & { cause: Error })
    t.match(error, { code, diagnosis: { service: 'kms', operation: 'Decrypt', status, errorName, remoteRequestId: /^b0c3a9f2-/ } }, message)
    t.notMatch(String(error?.cause.message), /k{20}/)
  }
})

await t.test('the challenge of a 401: another resource is no vault of ours, claims are passed on', async (t) => {
  const { vault, config, provider } = await started(t)
  vault.tokens.clear()
  t.equal(await codeOf(provider.selfTest()), 'AccessDenied')
  vault.resource = 'https://management.azure.com'
  t.equal(await codeOf(opened(t, config).selfTest()), 'InternalError')
  vault.resource = 'https://managedhsm.azure.net'
  t.equal(await codeOf(opened(t, { ...config, resource: 'https://managedhsm.azure.net' }).selfTest()), 'AccessDenied')
})

await t.test('its kind: a CA of its own, what a check finds, what people see', async (t) => {
  const pem = (name: string) => join(import.meta.dirname, '../../support/tls', name)
  const vault = await FakeKeyVault.start(t, { cert: readFileSync(pem('localhost-cert.pem'), 'utf8'), key: readFileSync(pem('localhost-key.pem'), 'utf8') })
  vault.addKey('main')
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const config: AzureConfig = { ...(await configOf(t, vault)), ca: pem('localhost-cert.pem'), serverName: 'localhost' }
  const provider = await azureKeyVaultKind.open(config, site)
  await provider.selfTest()
  t.same(provider.heldBack(), [[new URL(vault.address).host, false]])
  await provider.close()
  for (const wrong of [{ ca: pem('client-cert.pem') }, { ca: null }, { serverName: 'other.example' }]) {
    const refusing = await azureKeyVaultKind.open({ ...config, ...wrong }, site)
    t.equal(await codeOf(refusing.selfTest()), 'ServiceUnavailable', JSON.stringify(wrong))
    await refusing.close()
  }
  t.same(await azureKeyVaultKind.check(config, []), { faults: [], keyIds: { option: 'key', prefix: 'azure-key-vault:test-vault.vault.azure.net/main:' } })
  const auth = { method: 'workload-identity', tenantId: null, clientId: null, tokenFile: '/nowhere/jwt', authority: null } as const
  const missing: AzureConfig = { ...config, ca: '/nowhere/ca.pem', auth }
  const { faults } = await azureKeyVaultKind.check(missing, [])
  t.match(faults.filter(({ option }) => option !== 'auth.method'), [{ option: 'ca', message: /ENOENT/ }, { option: 'auth.tokenFile', message: /ENOENT/ }])
  await t.rejects(azureKeyVaultKind.open(missing, site), { message: /ca: .*ENOENT/ })
  t.equal(await azureKeyVaultKind.describe(config), `Key Vault ${vault.vault}, key main (RSA-OAEP-256) at ${vault.address}; with a token in a file`)
})

await t.test('destroyed: the key is deleted with its versions, for as long as the vault keeps it', async (t) => {
  const { vault, config, provider } = await started(t)
  vault.rotate('main')
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const wanted = { days: 7, signal: new AbortController().signal }
  const destroy = () => azureKeyVaultKind.destroy(config, site, wanted)
  vault.mayDelete = false
  t.equal(await codeOf(destroy()), 'AccessDenied')
  t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'ok')
  vault.mayDelete = true
  const { keyIds, final, failure } = await destroy()
  const versions = vault.keys.get('main')!.versions.map(({ id }) => id)
  t.same(keyIds.map((id) => id.slice(-32)), versions)
  t.equal(failure, null)
  t.ok(Date.parse(final) > Date.now() + 89 * 86_400_000)
  t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'KMS.KMSInvalidStateException')
  t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'KMS.KMSInvalidStateException')
  t.equal(await codeOf(destroy()), 'KMS.KMSInvalidStateException', 'once')
})

await t.test('names that only the gateway may give are refused, before the service is asked', async (t) => {
  const { vault, provider } = await started(t)
  for (const name of ['aws:s3:arn', 'sealgate:realm', 'Sealgate:x']) {
    t.equal(await codeOf(provider.generate(keyContext({ requestContext: { [name]: '1' } }), keyUse())), 'InvalidArgument', name)
  }
  t.notOk(vault.calls.length > 0)
})

await t.test('what metrics call each call', async (t) => {
  for (const algorithm of ['RSA-OAEP-256', 'A256KW'] as const) {
    const { config } = await started(t, algorithm)
    const calls: string[] = []
    const metrics = {
      call: (operation: string, outcome: string) => {
        calls.push(`${operation} ${outcome}`)
      }
    }
    const provider = new AzureKeyVaultProvider({ config, ca: null, selfTestContext: keyContext(), limits, metrics })
    t.teardown(() => provider.close())
    const opened = algorithm === 'A256KW' ? ['Decrypt ok'] : []
    const { wrapped } = await provider.generate(keyContext(), keyUse())
    t.same(calls.splice(0), ['Authenticate ok', 'DescribeKey ok', 'GenerateDataKey ok', ...opened])
    await provider.unwrap(wrapped, keyContext(), keyUse())
    t.same(calls.splice(0), ['Decrypt ok'])
    await provider.rewrap(wrapped, keyContext(), keyContext(), keyUse())
    t.same(calls.splice(0), ['Decrypt ok', 'Encrypt ok', ...opened])
    await provider.learn(new AbortController().signal)
    t.same(calls.splice(0), ['DescribeKey ok', 'DescribeKey ok'])
  }
})
