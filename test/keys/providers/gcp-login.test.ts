// Google's own library against a metadata server and a token service on loopback.
import { writeFile } from 'node:fs/promises'
import process from 'node:process'
import t, { type Test } from 'tap'
import type { GcpConfig } from '../../../src/config/key-config.ts'
import { GOOGLE_PACKAGE } from '../../../src/keys/providers/gcp-key.ts'
import { GcpKmsProvider } from '../../../src/keys/providers/gcp-kms.ts'
import { optionalPackage } from '../../../src/keys/service/access-token.ts'
import { packageFaults } from '../../../src/keys/service/files.ts'
import { codeOf } from '../../support/error-code.ts'
import { FakeGcpKms } from '../../support/fake-gcp-kms.ts'
import { keyContext, temporaryDirectory } from '../support.ts'

const skip = packageFaults('auth.method', GOOGLE_PACKAGE).length > 0 ? `${GOOGLE_PACKAGE} is not installed` : false
const environment = { ...process.env }
t.afterEach(() => {
  for (const name of ['GCE_METADATA_HOST', 'GOOGLE_APPLICATION_CREDENTIALS', 'CLOUDSDK_CONFIG']) {
    if (environment[name] === undefined) Reflect.deleteProperty(process.env, name)
    else process.env[name] = environment[name]
  }
})

function open(t: Test, kms: FakeGcpKms, auth: GcpConfig['auth']): GcpKmsProvider {
  const key = kms.addKey('main')
  const provider = new GcpKmsProvider({
    config: { type: 'gcp-kms', key, endpoint: kms.address, ca: null, serverName: null, auth },
    ca: null,
    selfTestContext: keyContext(),
    limits: { callMs: 10_000, requestMs: 20_000, retryMs: 2, attempts: 1 }
  })
  t.teardown(() => provider.close())
  return provider
}

await t.test('the metadata server of a machine', { skip }, async (t) => {
  const kms = await FakeGcpKms.start(t)
  const file = await temporaryDirectory(t)
  Object.assign(process.env, { GCE_METADATA_HOST: new URL(kms.address).host, CLOUDSDK_CONFIG: file('none') })
  Reflect.deleteProperty(process.env, 'GOOGLE_APPLICATION_CREDENTIALS')
  const provider = open(t, kms, { method: 'default' })
  await provider.selfTest()
  await provider.selfTest()
  t.equal(kms.count(/\/token$/), 1, 'one token serves many requests')
  t.match(kms.calls.find(({ path }) => path.endsWith('/token')), { headers: { 'metadata-flavor': 'Google' } })
  // It was revoked: nothing says so but a refusal.
  kms.tokens.clear()
  await provider.selfTest()
  t.equal(kms.count(/\/token$/), 2)
  kms.tokens.clear()
  t.equal(await codeOf(provider.selfTest()), 'AccessDenied', 'a refusal that follows soon makes no further token')
  kms.tokenSeconds = 1
  const hasty = open(t, kms, { method: 'default' })
  await hasty.selfTest()
  await hasty.selfTest()
  t.ok(kms.count(/\/token$/) > 3, 'a token that has ended is replaced before it is refused')
})

await t.test('workload identity federation', { skip }, async (t) => {
  const kms = await FakeGcpKms.start(t)
  const file = await temporaryDirectory(t)
  kms.subjects.add('subject-of-the-pod')
  await writeFile(file('subject'), 'subject-of-the-pod')
  const described = {
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: `${kms.address}/sts/v1/token`,
    credential_source: { file: file('subject') }
  }
  await writeFile(file('federation.json'), JSON.stringify(described))
  const provider = open(t, kms, { method: 'file', file: file('federation.json') })
  await provider.selfTest()
  const exchange = new URLSearchParams(kms.calls.find(({ path }) => path === '/sts/v1/token')?.text)
  t.match(Object.fromEntries(exchange), { audience: described.audience, scope: 'https://www.googleapis.com/auth/cloudkms' })
  process.env['GOOGLE_APPLICATION_CREDENTIALS'] = file('federation.json')
  await open(t, kms, { method: 'default' }).selfTest()
  await writeFile(file('subject'), 'subject-of-another')
  t.equal(await codeOf(open(t, kms, { method: 'file', file: file('federation.json') }).selfTest()), 'AccessDenied')
})

await t.test('files that are no credentials', { skip }, async (t) => {
  const kms = await FakeGcpKms.start(t)
  const file = await temporaryDirectory(t)
  const executable = { type: 'external_account', credential_source: { executable: { command: '/bin/true' } } }
  const unusable = { type: 'service_account', client_email: 'gateway@example.iam.gserviceaccount.com', private_key: 'canary' }
  const files = ['', '{', '[]', JSON.stringify({ type: 'authorized_user' }), JSON.stringify(executable), JSON.stringify(unusable)]
  for (const [i, text] of files.entries()) {
    await writeFile(file(`${i}`), text)
    const error = await open(t, kms, { method: 'file', file: file(`${i}`) }).selfTest().then(
      () => null,
      (reason: unknown) => reason as Error & { cause: Error }
    )
    t.match(error, { code: 'ServiceUnavailable', cause: { name: 'LoginFailure' } }, text)
    t.notMatch(String(error?.cause.message), /canary/)
  }
  t.equal(kms.calls.length, 0)
})

await t.test('without the package', async (t) => {
  await t.rejects(optionalPackage('@sealgate/missing'), { name: 'LoginFailure', errorName: 'PackageMissing', denied: false })
  t.match(packageFaults('auth.method', '@sealgate/missing'), [{ option: 'auth.method', message: /needs the optional package @sealgate\/missing/ }])
})
