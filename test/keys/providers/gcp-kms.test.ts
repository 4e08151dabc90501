import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { GcpConfig } from '../../../src/config/key-config.ts'
import { gcpKmsKind } from '../../../src/keys/providers/gcp-kind.ts'
import { GcpKmsProvider } from '../../../src/keys/providers/gcp-kms.ts'
import { codeOf } from '../../support/error-code.ts'
import { FakeGcpKms, refusal } from '../../support/fake-gcp-kms.ts'
import { answerJson } from '../../support/fake-service.ts'
import { keyContext, keyUse, temporaryDirectory } from '../support.ts'

const limits = { callMs: 2000, requestMs: 5000, retryMs: 2, breakerFailures: 1000 }

interface Rig {
  readonly kms: FakeGcpKms
  readonly key: string
  readonly config: GcpConfig
  readonly provider: GcpKmsProvider
}

async function started(t: Test): Promise<Rig> {
  const kms = await FakeGcpKms.start(t)
  const key = kms.addKey('main')
  const file = await temporaryDirectory(t)
  await writeFile(file('token'), kms.addToken())
  const auth = { method: 'token', tokenFile: file('token') } as const
  const config: GcpConfig = { type: 'gcp-kms', key, endpoint: kms.address, ca: null, serverName: null, auth }
  return { kms, key, config, provider: opened(t, config) }
}

function opened(t: Test, config: GcpConfig): GcpKmsProvider {
  const provider = new GcpKmsProvider({ config, ca: null, selfTestContext: keyContext(), limits })
  t.teardown(() => provider.close())
  return provider
}

const flipped = (text: unknown) => {
  const bytes = Buffer.from(String(text), 'base64')
  bytes.writeUInt8(bytes.readUInt8(3) ^ 1, 3)
  return bytes.toString('base64')
}

await t.test('what is damaged on the way is asked for again; what stays damaged is never used', async (t) => {
  const { kms, provider } = await started(t)
  const { key, wrapped } = await provider.generate(keyContext(), keyUse())
  const wrap = () => provider.generate(keyContext(), keyUse())
  const open = () => provider.unwrap(wrapped, keyContext(), keyUse())
  const damages: readonly (readonly [name: string, work: () => Promise<unknown>, alter: (answer: Record<string, unknown>) => unknown])[] = [
    ['ciphertext', wrap, (answer) => ({ ...answer, ciphertext: flipped(answer['ciphertext']) })],
    ['its checksum', wrap, (answer) => ({ ...answer, ciphertextCrc32c: '1' })],
    ['no checksum', wrap, ({ ciphertextCrc32c: _, ...answer }) => answer],
    ['plaintext not verified', wrap, (answer) => ({ ...answer, verifiedPlaintextCrc32c: false })],
    ['additional data not verified', wrap, ({ verifiedAdditionalAuthenticatedDataCrc32c: _, ...answer }) => answer],
    ['plaintext', open, (answer) => ({ ...answer, plaintext: flipped(answer['plaintext']) })],
    ['its checksum', open, (answer) => ({ ...answer, plaintextCrc32c: '4294967296' })],
    ['no checksum', open, ({ plaintextCrc32c: _, ...answer }) => answer]
  ]
  for (const [name, work, alter] of damages) {
    kms.calls.length = 0
    kms.alter = alter
    await work()
    t.equal(kms.calls.length, 2, name)
  }
  t.ok((await open()).equals(key))
  const { body } = refusal(400, 'INVALID_ARGUMENT', 'The checksum in field ciphertext_crc32c did not match the data in field ciphertext.')
  kms.misbehave = (_, response) => {
    answerJson(response, 400, body)
    return true
  }
  t.equal(await codeOf(open()), 'ServiceUnavailable')
  kms.misbehave = null
  for (const call of kms.calls.filter(({ path }) => /:(en|de)crypt$/.test(path))) {
    t.match(call.body, { additionalAuthenticatedData: /./, additionalAuthenticatedDataCrc32c: /^\d+$/ }, 'both fields of a request have checksums')
    t.ok(call.body['plaintextCrc32c'] !== undefined || call.body['ciphertextCrc32c'] !== undefined)
  }
})

await t.test('an answer of another key is refused', async (t) => {
  const { kms, key, provider } = await started(t)
  for (const name of [`${key}2/cryptoKeyVersions/1`, `${key}/cryptoKeyVersions/0`, `${key}/cryptoKeyVersions/1/x`, key, 7, undefined]) {
    kms.alter = (answer) => ({ ...answer, name })
    t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'InternalError', String(name))
  }
})

await t.test('versions and their states, of several pages; the one that wraps is known without them', async (t) => {
  const { kms, key, provider } = await started(t)
  t.equal(provider.currentKeyId(), `gcp-kms:${key}`)
  for (let i = 0; i < 4; i++) kms.rotate(key)
  kms.setState(key, 1, 'DESTROYED')
  kms.setState(key, 2, 'DESTROY_SCHEDULED')
  kms.setState(key, 3, 'DISABLED')
  await provider.learn(new AbortController().signal)
  t.equal(provider.currentKeyId(), `gcp-kms:${key}:v5`)
  t.same(provider.versions, [
    { id: 'v1', state: 'destroyed' },
    { id: 'v2', state: 'pending-deletion' },
    { id: 'v3', state: 'disabled' },
    { id: 'v4', state: 'decrypt-only' },
    { id: 'v5', state: 'enabled' }
  ])
  kms.setState(key, 4, 'PENDING_GENERATION')
  await provider.learn(new AbortController().signal)
  t.match(provider.versions[3], { state: 'pending-generation' }, 'a state that is not told apart')
  kms.mayList = false
  kms.rotate(key)
  await provider.learn(new AbortController().signal)
  t.equal(provider.currentKeyId(), `gcp-kms:${key}:v6`)
  await provider.selfTest()
  t.same(provider.heldBack(), [[new URL(kms.address).host, false]])
  const leave = new AbortController()
  leave.abort(new Error('left'))
  await t.rejects(provider.learn(leave.signal), { message: 'left' })
})

await t.test('refusals by status, name and message', async (t) => {
  const { kms, provider } = await started(t)
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const violation = (type: string) => [{ violations: [{ type }] }]
  const rows: readonly (readonly [status: number, name: string, message: string, details: unknown[], code: string, errorName: string])[] = [
    [403, 'PERMISSION_DENIED', 'Permission denied', [], 'AccessDenied', 'PERMISSION_DENIED'],
    [404, 'NOT_FOUND', 'CryptoKey not found.', [], 'KMS.NotFoundException', 'NOT_FOUND'],
    [400, 'FAILED_PRECONDITION', 'x is not enabled, current state is: DISABLED.', [], 'KMS.DisabledException', 'KEY_DISABLED'],
    [400, 'FAILED_PRECONDITION', 'not enabled', violation('KEY_DISABLED'), 'KMS.DisabledException', 'KEY_DISABLED'],
    [400, 'FAILED_PRECONDITION', 'no primary version', violation('OTHER'), 'KMS.KMSInvalidStateException', 'FAILED_PRECONDITION'],
    [400, 'INVALID_ARGUMENT', 'Decryption failed: verify that \'name\' refers to the correct CryptoKey.', [], 'SealgateIntegrityError', 'INVALID_ARGUMENT'],
    [400, 'INVALID_ARGUMENT', 'Invalid resource name', [], 'InternalError', 'INVALID_ARGUMENT'],
    [429, 'RESOURCE_EXHAUSTED', 'Quota exceeded', [], 'SlowDown', 'RESOURCE_EXHAUSTED'],
    [409, 'ABORTED', 'concurrency', [], 'ServiceUnavailable', 'ABORTED'],
    [503, 'UNAVAILABLE', 'The service is currently unavailable.', [], 'ServiceUnavailable', 'UNAVAILABLE'],
    [418, 'no name', 'tea', [], 'InternalError', '']
  ]
  for (const [status, name, message, details, code, errorName] of rows) {
    const { body } = refusal(status, name, `${message} ${'k'.repeat(40)}`, details)
    kms.misbehave = (_, response) => {
      answerJson(response, status, body)
      return true
    }
    const error = await provider.unwrap(wrapped, keyContext(), keyUse()).then(() => null, (reason: unknown) => reason as Error & { cause: Error })
    t.match(error, { code, diagnosis: { service: 'kms', operation: 'Decrypt', status, errorName: errorName === '' ? null : errorName } }, message)
    t.notMatch(String(error?.cause.message), /k{20}/, 'no long text of the service is kept')
  }
})

await t.test('a token in a file is read again when it is refused', async (t) => {
  const { kms, config, provider } = await started(t)
  await provider.selfTest()
  kms.tokens.clear()
  const { tokenFile } = config.auth as { tokenFile: string }
  await writeFile(tokenFile, `${kms.addToken()}\n`)
  await provider.selfTest()
  kms.tokens.clear()
  t.equal(await codeOf(provider.selfTest()), 'AccessDenied', 'not at every request')
  await writeFile(tokenFile, 'two words')
  t.equal(await codeOf(opened(t, config).selfTest()), 'ServiceUnavailable')
  t.equal(await codeOf(opened(t, { ...config, auth: { method: 'token', tokenFile: `${tokenFile}.none` } }).selfTest()), 'ServiceUnavailable')
})

await t.test('its kind: a CA of its own, what a check finds, what people see', async (t) => {
  const pem = (name: string) => join(import.meta.dirname, '../../support/tls', name)
  const kms = await FakeGcpKms.start(t, { cert: readFileSync(pem('localhost-cert.pem'), 'utf8'), key: readFileSync(pem('localhost-key.pem'), 'utf8') })
  const file = await temporaryDirectory(t)
  await writeFile(file('token'), kms.addToken())
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const config: GcpConfig = {
    type: 'gcp-kms',
    key: kms.addKey('main'),
    endpoint: kms.address,
    ca: pem('localhost-cert.pem'),
    serverName: 'localhost',
    auth: { method: 'token', tokenFile: file('token') }
  }
  const provider = await gcpKmsKind.open(config, site)
  await provider.selfTest()
  await provider.close()
  for (const wrong of [{ ca: pem('client-cert.pem') }, { ca: null }, { serverName: 'other.example' }]) {
    const refusing = await gcpKmsKind.open({ ...config, ...wrong }, site)
    t.equal(await codeOf(refusing.selfTest()), 'ServiceUnavailable', JSON.stringify(wrong))
    await refusing.close()
  }
  t.same(await gcpKmsKind.check(config, []), { faults: [], keyIds: { option: 'key', prefix: `gcp-kms:${config.key}:v` } })
  const missing: GcpConfig = { ...config, ca: '/nowhere/ca.pem', auth: { method: 'token', tokenFile: '/nowhere/token' } }
  t.match(await gcpKmsKind.check(missing, []), { faults: [{ option: 'ca', message: /ENOENT/ }, { option: 'auth.tokenFile', message: /ENOENT/ }] })
  await t.rejects(gcpKmsKind.open(missing, site), { message: /ca: .*ENOENT/ })
  t.equal(await gcpKmsKind.describe(config), `Cloud KMS ${config.key} at ${kms.address}; with a token in a file`)
})

await t.test('destroyed: every version that is not yet, on every page of the list', async (t) => {
  const { kms, key, config, provider } = await started(t)
  for (let i = 0; i < 4; i += 1) kms.rotate(key)
  kms.setState(key, 2, 'DESTROYED')
  kms.setState(key, 3, 'DISABLED')
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const destroy = () => gcpKmsKind.destroy(config, site, { days: 7, signal: new AbortController().signal })
  kms.mayList = false
  t.equal(await codeOf(destroy()), 'AccessDenied', 'what is not known cannot be destroyed')
  kms.mayList = true
  kms.mayDestroy = false
  t.equal(await codeOf(destroy()), 'AccessDenied')
  t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'ok')
  kms.mayDestroy = true
  kms.misbehave = ({ path }, response) => {
    if (!path.endsWith('/cryptoKeyVersions/4:destroy')) return false
    const { status, body } = refusal(403, 'PERMISSION_DENIED', 'no')
    answerJson(response, status, body)
    return true
  }
  const most = await destroy()
  t.match(most, { keyIds: [1, 3, 5].map((number) => `gcp-kms:${key}:v${number}`), failure: { code: 'AccessDenied' } })
  t.ok(Date.parse(most.final) > Date.now() + 29 * 86_400_000)
  t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'KMS.KMSInvalidStateException')
  kms.misbehave = null
  t.match(await destroy(), { keyIds: [`gcp-kms:${key}:v4`], failure: null })
  t.equal(await codeOf(destroy()), 'KMS.KMSInvalidStateException', 'once')
})

await t.test('names that only the gateway may give are refused, before the service is asked', async (t) => {
  const { kms, provider } = await started(t)
  for (const name of ['aws:s3:arn', 'sealgate:realm', 'Sealgate:x']) {
    t.equal(await codeOf(provider.generate(keyContext({ requestContext: { [name]: '1' } }), keyUse())), 'InvalidArgument', name)
  }
  t.notOk(kms.calls.length > 0)
})

await t.test('what metrics call each call, and answers without what was asked for', async (t) => {
  const { kms, key, config } = await started(t)
  const calls: string[] = []
  const metrics = {
    call: (operation: string, outcome: string) => {
      calls.push(`${operation} ${outcome}`)
    }
  }
  const provider = new GcpKmsProvider({ config, ca: null, selfTestContext: keyContext(), limits, metrics })
  t.teardown(() => provider.close())
  const counted = async (work: () => Promise<unknown>) => {
    calls.length = 0
    await codeOf(work())
    return [...calls]
  }
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  t.same(calls, ['Authenticate ok', 'GenerateDataKey ok'])
  t.same(await counted(() => provider.unwrap(wrapped, keyContext(), keyUse())), ['Decrypt ok'])
  t.same(await counted(() => provider.rewrap(wrapped, keyContext(), keyContext(), keyUse())), ['Decrypt ok', 'Encrypt ok'])
  t.same(await counted(() => provider.learn(new AbortController().signal)), ['Encrypt ok', 'DescribeKey ok'])
  t.same(await counted(() => provider.selfTest()), ['GenerateDataKey ok', 'Decrypt ok', 'DescribeKey ok'])
  for (const plaintext of [undefined, 7, 'AAA', 'A===']) {
    kms.alter = (answer) => ({ ...answer, plaintext })
    t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'InternalError', String(plaintext))
  }
  // A list of other things, and one without an end: for people only, so that nothing fails.
  const rows = [7, null, { name: 7, state: 'ENABLED' }, { name: `${key}x/cryptoKeyVersions/9`, state: 'ENABLED' }, {
    name: `${key}/cryptoKeyVersions/8`,
    state: 'x y'
  }]
  let more: string | undefined
  kms.misbehave = ({ method }, response) => {
    if (method !== 'GET') return false
    answerJson(response, 200, { cryptoKeyVersions: [...rows, { name: `${key}/cryptoKeyVersions/2`, state: 'DISABLED' }], nextPageToken: more })
    return true
  }
  await provider.learn(new AbortController().signal)
  t.same(provider.versions, [{ id: 'v2', state: 'disabled' }])
  more = 'again'
  kms.calls.length = 0
  await provider.learn(new AbortController().signal)
  t.equal(kms.calls.length, 11, 'the pages have a limit')
  t.same(provider.versions, [{ id: 'v2', state: 'disabled' }])
})
