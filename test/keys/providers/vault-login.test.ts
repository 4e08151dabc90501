// The token: how it is obtained, renewed, replaced and given back.
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { VaultAuth, VaultConfig } from '../../../src/config/key-config.ts'
import { VaultTransitProvider } from '../../../src/keys/providers/vault-transit.ts'
import { vaultTransitKind } from '../../../src/keys/providers/vault-kind.ts'
import { codeOf } from '../../support/error-code.ts'
import { FakeVault, refuseVault } from '../../support/fake-vault.ts'
import { keyContext, keyUse, temporaryDirectory } from '../support.ts'

const limits = { callMs: 2000, requestMs: 5000, retryMs: 2, breakerFailures: 1000 }

function configOf(vault: FakeVault, auth: VaultAuth): VaultConfig {
  return {
    type: 'vault-transit',
    addresses: [vault.address],
    service: 'vault',
    namespace: null,
    mount: 'transit',
    key: 'main',
    ca: null,
    serverName: null,
    auth
  }
}

function open(t: Test, vault: FakeVault, auth: VaultAuth): VaultTransitProvider {
  const files = { ca: null, client: null }
  const provider = new VaultTransitProvider({ config: configOf(vault, auth), files, selfTestContext: keyContext(), limits })
  t.teardown(() => provider.close())
  return provider
}

async function started(t: Test): Promise<FakeVault> {
  const vault = await FakeVault.start(t)
  vault.addKey('main')
  vault.credentials.add('good')
  return vault
}

function appRole(secretId = 'good'): VaultAuth {
  return { method: 'approle', mount: 'approle', roleId: 'role', secretId, secretIdFile: null }
}

const made = (provider: VaultTransitProvider) => codeOf(provider.generate(keyContext(), keyUse()))

await t.test('one login serves all who wait, and the token is given back at the end', async (t) => {
  const vault = await started(t)
  const provider = open(t, vault, appRole())
  t.same(await Promise.all(Array.from({ length: 20 }, () => made(provider))), Array.from({ length: 20 }, () => 'ok'))
  t.equal(vault.count(/^auth\/approle\/login$/), 1)
  t.match(vault.calls.find(({ path }) => path.endsWith('login')), { token: null, body: { role_id: 'role', secret_id: 'good' } })
  t.equal(vault.tokens.size, 1)
  await provider.close()
  t.equal(vault.tokens.size, 0)
  // Closed while the first login is under way.
  const hasty = open(t, vault, appRole())
  const leave = new AbortController()
  const waiting = hasty.generate(keyContext(), keyUse({ signal: leave.signal }))
  const login = vault.next(/login$/)
  leave.abort(new Error('the client went away'))
  await t.rejects(waiting, { message: 'the client went away' })
  await hasty.close()
  await login
  t.equal(vault.tokens.size, 0)
})

await t.test('the methods', async (t) => {
  const vault = await started(t)
  const file = await temporaryDirectory(t)
  await writeFile(file('jwt'), 'good\n')
  t.equal(await made(open(t, vault, { method: 'kubernetes', mount: 'kubernetes', role: 'gateway', jwtFile: file('jwt') })), 'ok')
  t.match(vault.calls[0], { path: 'auth/kubernetes/login', body: { role: 'gateway', jwt: 'good' } })
  vault.calls.length = 0
  t.equal(
    await made(open(t, vault, { method: 'jwt', mount: 'oidc/ci', role: 'gateway', jwtFile: file('jwt') })),
    'ok'
  )
  t.match(vault.calls[0], { path: 'auth/oidc/ci/login' })
  t.equal(await made(open(t, vault, { ...appRole(), secretId: null, secretIdFile: file('jwt') } as VaultAuth)), 'ok')
  t.equal(await made(open(t, vault, appRole('wrong'))), 'AccessDenied')
  t.equal(await made(open(t, vault, { method: 'jwt', mount: 'jwt', role: 'r', jwtFile: file('missing') })), 'ServiceUnavailable')
  await writeFile(file('token'), vault.addToken(0))
  t.equal(await made(open(t, vault, { method: 'token', token: null, tokenFile: file('token') })), 'ok')
  vault.calls.length = 0
  await codeOf(open(t, vault, { method: 'agent' }).selfTest())
  t.ok(vault.calls.every(({ token }) => token === null), 'an agent adds the token')
})

await t.test('a client certificate, a CA and a name of the server of their own', async (t) => {
  const pem = (name: string) => join(import.meta.dirname, '../../support/tls', name)
  const text = (name: string) => readFileSync(pem(name), 'utf8')
  const vault = await FakeVault.start(t, { cert: text('localhost-cert.pem'), key: text('localhost-key.pem'), ca: text('client-cert.pem') })
  vault.addKey('main')
  vault.credentials.add('cert')
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const auth = { method: 'cert', mount: 'cert', role: null, cert: pem('client-cert.pem'), key: pem('client-key.pem') } as const
  const trusting = { ...configOf(vault, auth), ca: pem('localhost-cert.pem'), serverName: 'localhost' }
  const provider = await vaultTransitKind.open(trusting, site)
  await provider.selfTest()
  await provider.close()
  for (const wrong of [{ ca: pem('client-cert.pem') }, { ca: null }, { serverName: 'other.example' }]) {
    const refusing = await vaultTransitKind.open({ ...trusting, ...wrong }, site)
    t.equal(await codeOf(refusing.selfTest()), 'ServiceUnavailable', JSON.stringify(wrong))
    await refusing.close()
  }
  const missing = { ...trusting, ca: '/nowhere/ca.pem', auth: { ...auth, key: pem('localhost-cert.pem').replace('.pem', '.none') } }
  t.match(await vaultTransitKind.check(missing, []), { faults: [{ option: 'ca', message: /ENOENT/ }, { option: 'auth.key', message: /ENOENT/ }] })
  await t.rejects(vaultTransitKind.open(missing, site), { message: /ca: .*ENOENT/ })
})

await t.test('a token is renewed before it ends, and replaced where it cannot be renewed', async (t) => {
  const vault = await started(t)
  // A third of it is what a busy machine may be late.
  vault.ttl = 4.5
  const provider = open(t, vault, appRole())
  t.equal(await made(provider), 'ok')
  await vault.next(/renew-self$/)
  t.equal(vault.count(/login$/), 1)
  t.equal(await made(provider), 'ok')
  const login = vault.next(/login$/)
  vault.misbehave = ({ path }, response) => {
    if (!path.endsWith('renew-self')) return false
    refuseVault(response, 403, 'permission denied')
    return true
  }
  await login
  t.equal(await made(provider), 'ok')
  t.equal(vault.count(/login$/), 2)
})

await t.test('a token that has ended is replaced by the request that needs one', async (t) => {
  const vault = await started(t)
  const provider = open(t, vault, appRole())
  t.equal(await made(provider), 'ok')
  // Revoked at the server: nothing says so but a refusal.
  vault.tokens.clear()
  t.equal(await made(provider), 'ok')
  t.equal(vault.count(/login$/), 2)
  vault.tokens.clear()
  t.equal(await made(provider), 'AccessDenied', 'a refusal that follows soon makes no further token')
  t.equal(vault.count(/login$/), 2)
})

await t.test('a policy that refuses costs one login, not one with every request', async (t) => {
  const vault = await started(t)
  const provider = open(t, vault, appRole())
  t.equal(await made(provider), 'ok')
  vault.misbehave = ({ path }, response) => {
    if (!path.startsWith('transit/')) return false
    refuseVault(response, 403, 'permission denied')
    return true
  }
  for (let i = 0; i < 50; i++) t.equal(await made(provider), 'AccessDenied')
  t.equal(vault.count(/login$/), 2)
})

await t.test('a token in a file, which an agent replaces', async (t) => {
  const vault = await started(t)
  const file = await temporaryDirectory(t)
  await writeFile(file('token'), `${vault.addToken(0)}\n`)
  const provider = open(t, vault, { method: 'token', token: null, tokenFile: file('token') })
  t.equal(await made(provider), 'ok')
  vault.tokens.clear()
  await writeFile(file('token'), `${vault.addToken(0)}\n`)
  t.equal(await made(provider), 'ok')
  await provider.close()
  t.equal(vault.tokens.size, 1, 'it is not this gateway\'s to give back')
})
