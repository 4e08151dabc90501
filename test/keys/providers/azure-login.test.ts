// Microsoft's own library against endpoints on loopback that give tokens.
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import t, { type Test } from 'tap'
import type { AzureConfig } from '../../../src/config/key-config.ts'
import { AZURE_PACKAGE } from '../../../src/keys/providers/azure-key.ts'
import { claimsIn } from '../../../src/keys/providers/azure-errors.ts'
import { AzureKeyVaultProvider } from '../../../src/keys/providers/azure-key-vault.ts'
import { packageFaults } from '../../../src/keys/service/files.ts'
import { codeOf } from '../../support/error-code.ts'
import { FakeKeyVault } from '../../support/fake-key-vault.ts'
import { keyContext, temporaryDirectory } from '../support.ts'

const skip = packageFaults('auth.method', AZURE_PACKAGE).length > 0 ? `${AZURE_PACKAGE} is not installed` : false
const names = ['IDENTITY_ENDPOINT', 'IDENTITY_HEADER', 'AZURE_TOKEN_CREDENTIALS']
const environment = { ...process.env }
const authorities = getCACertificates()
t.afterEach(() => {
  for (const name of names) {
    if (environment[name] === undefined) Reflect.deleteProperty(process.env, name)
    else process.env[name] = environment[name]
  }
  setDefaultCACertificates(authorities)
})

function open(t: Test, vault: FakeKeyVault, auth: AzureConfig['auth'], tokens = vault): AzureKeyVaultProvider {
  const provider = new AzureKeyVaultProvider({
    config: {
      type: 'azure-key-vault',
      vault: vault.vault,
      key: 'main',
      algorithm: 'RSA-OAEP-256',
      resource: null,
      endpoint: vault.address,
      ca: null,
      serverName: null,
      auth
    },
    ca: null,
    selfTestContext: keyContext(),
    limits: { callMs: 10_000, requestMs: 20_000, retryMs: 2, attempts: 1 }
  })
  // The tokens of one server are taken by the other.
  if (tokens !== vault) Object.assign(vault, { tokens: tokens.tokens })
  t.teardown(() => provider.close())
  return provider
}

await t.test('a managed identity, as App Service gives it', { skip }, async (t) => {
  const vault = await FakeKeyVault.start(t)
  vault.addKey('main')
  Object.assign(process.env, { IDENTITY_ENDPOINT: `${vault.address}/msi/token`, IDENTITY_HEADER: 'identity-header' })
  const provider = open(t, vault, { method: 'managed-identity', clientId: null })
  await provider.selfTest()
  await provider.selfTest()
  t.equal(vault.count(/^\/msi\/token$/), 1, 'one token serves many requests')
  t.equal(vault.calls.find(({ path }) => path === '/msi/token')?.query.get('resource'), 'https://vault.azure.net')
  Object.assign(process.env, { AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential' })
  await open(t, vault, { method: 'default' }).selfTest()
})

await t.test('an application with a secret, and a workload identity', { skip }, async (t) => {
  const pem = (name: string) => readFileSync(join(import.meta.dirname, '../../support/tls', name), 'utf8')
  const entra = await FakeKeyVault.start(t, { cert: pem('localhost-cert.pem'), key: pem('localhost-key.pem') })
  setDefaultCACertificates([...authorities, pem('localhost-cert.pem')])
  const vault = await FakeKeyVault.start(t)
  vault.addKey('main')
  const file = await temporaryDirectory(t)
  await writeFile(file('jwt'), 'assertion-of-the-pod')
  for (const credential of ['secret-canary', 'assertion-of-the-pod']) entra.credentials.add(credential)
  const common = { tenantId: '11111111-2222-3333-4444-555555555555', clientId: 'app', authority: entra.address.replace('127.0.0.1', 'localhost') }
  const workload = { method: 'workload-identity', ...common, tokenFile: file('jwt') } as const
  const secret = { method: 'client-secret', ...common, clientSecret: 'secret-canary' } as const
  for (const auth of [secret, workload]) {
    await open(t, vault, auth, entra).selfTest()
    const asked = new URLSearchParams(entra.calls.findLast(({ path }) => path.endsWith('/oauth2/v2.0/token'))?.text)
    t.equal(asked.get('scope')?.split(' ')[0], 'https://vault.azure.net/.default', auth.method)
  }
  entra.credentials.clear()
  const error = await open(t, vault, secret, entra).selfTest().then(() => null, (reason: unknown) => reason as Error & { cause: Error })
  t.match(error, { code: 'AccessDenied', cause: { name: 'LoginFailure' }, diagnosis: { operation: 'login for DescribeKey' } })
  t.notMatch(String(error?.cause.message), /canary|AADSTS/)
  t.equal(await codeOf(open(t, vault, { ...workload, tokenFile: file('none') }, entra).selfTest()), 'ServiceUnavailable')
})

await t.test('what a challenge asks for', async (t) => {
  const resource = 'https://vault.azure.net'
  t.equal(claimsIn('', resource), null)
  t.equal(claimsIn('Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"', resource), null)
  t.equal(claimsIn('Bearer authorization="x", scope="https://vault.azure.net/.default"', resource), null)
  t.equal(claimsIn(`Bearer resource="${resource}/", claims="${Buffer.from('{"access_token":{}}').toString('base64')}"`, resource), '{"access_token":{}}')
  for (
    const other of ['resource="https://vault.azure.net.example"', 'resource="https://management.azure.com/"', 'scope="https://graph.microsoft.com/.default"']
  ) {
    t.throws(() => claimsIn(`Bearer ${other}`, resource), { name: 'WrongServiceAnswer' }, other)
  }
})
