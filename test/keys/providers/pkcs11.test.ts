import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { runCli } from '../../support/run-cli.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { fieldsOf } from '../../../src/diagnosis.ts'
import { S3Error } from '../../../src/errors.ts'
import { Pkcs11KeyProvider, pkcs11Kind, type Pkcs11Options } from '../../../src/keys/providers/pkcs11.ts'
import { openKeyRegistry } from '../../../src/keys/registry.ts'
import { codeOf } from '../../support/error-code.ts'
import { FAKE_BINDING, FakeToken, newKey, PIN } from '../../support/fake-pkcs11.ts'
import { keyContext, keyUse, temporaryDirectory } from '../support.ts'
import { writeFile } from 'node:fs/promises'

const context = keyContext({ requestContext: { a: '1' } })
/** Of a process that works, no call takes this long. */
const limits = { callMs: 60_000, requestMs: 60_000, attempts: 1, retryMs: 1, breakerFailures: 3 }

function providerOf(t: Test, token: FakeToken, more: Partial<Pkcs11Options> = {}): Pkcs11KeyProvider {
  const provider = new Pkcs11KeyProvider({
    service: 'hsm',
    binding: FAKE_BINDING,
    module: token.path,
    token: { label: 'vault 7' },
    pin: PIN,
    label: 'master',
    mechanism: 'aes-gcm',
    extractable: false,
    versions: [{ id: '01', state: 'decrypt-only' }, { id: '02', state: 'enabled' }, { id: '03', state: 'disabled' }],
    selfTestContext: keyContext(),
    limits,
    ...more
  })
  t.teardown(() => provider.close())
  return provider
}

/** How a failed use reaches the operator. */
async function told(work: Promise<unknown>): Promise<readonly unknown[]> {
  const error = await work.then(() => null, (reason: unknown) => reason)
  if (!(error instanceof S3Error)) return [error]
  if (inspect(error, { depth: 10, showHidden: true }).includes(PIN)) return ['the PIN shows']
  const { operation, errorName, trouble } = fieldsOf(error.diagnosis)
  return [error.code, operation, errorName, trouble]
}

await t.test('destroyed: every version that is configured, in whatever state, and on every instance', async (t) => {
  const token = new FakeToken(t)
  const instance = providerOf(t, token)
  const { wrapped } = await instance.generate(context, keyUse())
  const versions = [{ id: '01', state: 'decrypt-only' }, { id: '02', state: 'enabled' }] as const
  const signal = new AbortController().signal
  const destroyed = await providerOf(t, token, { versions }).destroy(signal)
  t.same(destroyed, { keyIds: ['pkcs11:hsm/master:01', 'pkcs11:hsm/master:02'], left: 1, failure: null }, 'what the configuration does not name is told')
  t.equal(await codeOf(instance.unwrap(wrapped, context, keyUse())), 'KMS.NotFoundException')
  const last = await providerOf(t, token).destroy(signal)
  t.match(last, { keyIds: ['pkcs11:hsm/master:03'], left: 0, failure: { code: 'KMS.NotFoundException' } })
  t.equal(await codeOf(providerOf(t, token).destroy(signal)), 'KMS.NotFoundException', 'a wrong label is not called destroyed')
  t.equal(token.module.tokens[0]?.keys.length, 6)

  const other = new FakeToken(t)
  other.change({ fails: { C_DestroyObject: 0x1b } })
  t.equal(await codeOf(providerOf(t, other).destroy(signal)), 'AccessDenied')
  other.change({ fails: {} })
  t.match(await providerOf(t, other, { label: 'mac', mechanism: 'hmac-sha256' }).destroy(signal), { left: 0, failure: null })
})

await t.test('key ids, states and the self-test', async (t) => {
  const token = new FakeToken(t)
  const provider = providerOf(t, token)
  await provider.selfTest()
  const { wrapped, key } = await provider.generate(context, keyUse())
  t.equal(wrapped.keyId, 'pkcs11:hsm/master:02')
  t.equal(provider.currentKeyId(), wrapped.keyId)
  t.ok(provider.owns(wrapped.keyId) && provider.rewraps(wrapped.keyId) && !provider.owns('pkcs11:hsm2/master:02') && !provider.owns('pkcs11:hsm/master2:02'))
  t.ok((await provider.unwrap(wrapped, context, keyUse())).equals(key))
  t.same(provider.heldBack(), [['pkcs11:hsm', false]])
  const before = token.calls.length
  const unwrap = (keyId: string): Promise<string> => codeOf(provider.unwrap({ ...wrapped, keyId }, context, keyUse()))
  t.equal(await unwrap('pkcs11:hsm/master:03'), 'KMS.DisabledException')
  t.equal(await unwrap('pkcs11:hsm/master:04'), 'SealgateKeyUnavailable')
  for (const id of ['2', '102', '02 ', '', '0202']) t.equal(await unwrap(`pkcs11:hsm/master:${id}`), 'SealgateKeyUnavailable', id)
  t.equal(await unwrap('pkcs11:other/master:02'), 'SealgateKeyUnavailable')
  t.equal(token.calls.length, before, 'the configuration decides, and the token is not asked')
  t.equal(await unwrap('pkcs11:hsm/master:01'), 'SealgateIntegrityError')

  token.module.tokens[0]!.keys = token.module.tokens[0]!.keys.filter(({ id }) => id !== '01')
  token.change({})
  t.equal(await codeOf(providerOf(t, token).selfTest()), 'KMS.NotFoundException', 'a version that may open is missing')
  const old = providerOf(t, token, { versions: [{ id: '02', state: 'decrypt-only' }] })
  await old.selfTest()
  t.equal(old.currentKeyId(), null)
  t.equal(await codeOf(old.generate(context, keyUse())), 'KMS.DisabledException')
  t.ok((await old.unwrap(wrapped, context, keyUse())).equals(key))
  t.equal(await codeOf(providerOf(t, token, { versions: [{ id: '02', state: 'disabled' }] }).selfTest()), 'KMS.DisabledException')
})

await t.test('what fails has its function and code in the log, and the PIN nowhere', async (t) => {
  const token = new FakeToken(t)
  const [vault] = token.module.tokens
  const use = async (more: Partial<Pkcs11Options> = {}): Promise<readonly unknown[]> => told(providerOf(t, token, more).selfTest())
  token.change({ tokens: [{ ...vault!, present: false }] })
  t.same(await use(), ['ServiceUnavailable', 'C_GetSlotList', 'CKR_TOKEN_NOT_PRESENT', 'unreachable'])
  token.change({ tokens: [vault!] })
  t.same(await use({ pin: `${PIN}5` }), ['AccessDenied', 'C_Login', 'CKR_PIN_INCORRECT', 'credentials'])
  token.change({ tokens: [{ ...vault!, keys: [{ ...newKey(), id: '02', extractable: true }] }] })
  t.same(await use(), ['KMS.KMSInvalidStateException', 'C_GetAttributeValue', 'KeyExtractable', 'other'])
  token.change({ tokens: [vault!], fails: { C_EncryptInit: 0x70 } })
  t.same(await use(), ['InternalError', 'C_EncryptInit', 'CKR_MECHANISM_INVALID', 'other'])
  token.change({ fails: { C_Login: -1 } })
  t.same(await use(), ['ServiceUnavailable', 'C_Login', 'ModuleUnloadable', 'other'])
  t.same(await use({ binding: 'pkcs11js-that-is-not-there' }), ['ServiceUnavailable', 'load a binding', 'PackageMissing', 'other'])
})

await t.test('wraps that were changed do not open the breaker; a token that is gone does', async (t) => {
  const token = new FakeToken(t)
  const provider = providerOf(t, token)
  const { wrapped } = await provider.generate(context, keyUse())
  for (let i = 0; i < 10; i++) t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'SealgateIntegrityError')
  t.same(provider.heldBack(), [['pkcs11:hsm', false]])
  token.change({ fails: { C_DecryptInit: 0x30 } })
  for (let i = 0; i < 3; i++) t.equal(await codeOf(provider.unwrap(wrapped, context, keyUse())), 'ServiceUnavailable')
  t.same(provider.heldBack(), [['pkcs11:hsm', true]])
})

await t.test('as a key of the configuration: names, answers to clients, what is printed', async (t) => {
  const token = new FakeToken(t)
  const file = await temporaryDirectory(t)
  await writeFile(file('pin'), `${PIN}\n`)
  const document = {
    upstream: { endpoint: 'http://127.0.0.1:9', accessKeyId: 'store', secretAccessKey: 'store-secret-of-16' },
    clients: [{ accessKeyId: 'c', secretAccessKey: 'client-secret-of-16' }],
    keys: {
      safe: { type: 'pkcs11', module: token.path, token: { serial: '0042' }, pin: { file: file('pin') }, label: 'master', versions: [{ id: '01' }] }
    }
  }
  await writeFile(file('sealgate.yaml'), JSON.stringify(document))
  const config = parseConfig(JSON.stringify(document), { file: file('sealgate.yaml'), env: {} })
  for (const text of [inspect(config, { depth: 10 }), JSON.stringify(config)]) t.notMatch(text, PIN)
  const registry = await openKeyRegistry({ keys: config.keys, cache: config.keyCache, usedAt: () => [], audit: () => undefined })
  t.teardown(() => registry.close())
  t.ok(registry.names('safe', 'pkcs11:hsm/master:01') && registry.names('alias/safe', 'pkcs11:hsm/master:09'))
  t.ok(registry.names('pkcs11:hsm/master:09', 'pkcs11:hsm/master:01'), 'any version names the key')
  t.equal(registry.shownId('pkcs11:hsm/master:01'), 'safe')
  const twice = { ...config.keys, again: { ...config.keys['safe']! } }
  await t.rejects(openKeyRegistry({ keys: twice, cache: config.keyCache, usedAt: () => [], audit: () => undefined }), { message: /same key ids/ })

  const checked = await runCli(['config', 'check', '--config', file('sealgate.yaml')], file(''))
  // Where the package is compiled the configuration is valid; elsewhere the fault says what to do.
  if (checked.code === 0) t.match(checked.out, /PKCS#11 .*, token with serial number 0042, key master \(aes-gcm\): 01 enabled; seals with 01/)
  else {t.match(
      checked.err,
      /keys\.safe\.type: pkcs11 needs the optional package pkcs11js, whose native code is not there: in a checkout build it with "npm run build-pkcs11"/
    )}
  t.notMatch(checked.out + checked.err, PIN)
  const missing = await pkcs11Kind.check({ ...config.keys['safe'] as Parameters<typeof pkcs11Kind.check>[0], module: '/nowhere.so' }, [])
  t.match(missing.faults[0], { option: 'module', message: 'cannot be read: no such file or directory (ENOENT)' })
})
