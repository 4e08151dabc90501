import { randomBytes } from 'node:crypto'
import t from 'tap'
import { Pkcs11Failure } from '../../../src/keys/providers/pkcs11-binding.ts'
import { Pkcs11Token, type TokenSettings } from '../../../src/keys/providers/pkcs11-token.ts'
import { FAKE_BINDING, FakeToken, newKey, PIN } from '../../support/fake-pkcs11.ts'

const aad = Buffer.from('here')
const elsewhere = Buffer.from('elsewhere')

function tokenOf(fake: FakeToken, more: Partial<TokenSettings> = {}): Pkcs11Token {
  return new Pkcs11Token({
    binding: FAKE_BINDING,
    module: fake.path,
    token: { label: 'vault 7' },
    pin: PIN,
    label: 'master',
    mechanism: 'aes-gcm',
    extractable: false,
    ...more
  })
}

/** The code that work fails with; `none` when it does not. What the failure shows must not contain the PIN. */
function failure(work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (error) {
    if (!(error instanceof Pkcs11Failure)) throw error
    if (`${error.stack ?? ''} ${JSON.stringify(error)}`.includes(PIN)) throw new Error('the PIN shows')
    return error.code
  }
}

for (const mechanism of ['aes-gcm', 'hmac-sha256'] as const) {
  await t.test(`${mechanism}: opens with its key and context alone`, async (t) => {
    const fake = new FakeToken(t)
    const token = tokenOf(fake, { mechanism, label: mechanism === 'aes-gcm' ? 'master' : 'mac' })
    const key = randomBytes(32)
    const blob = token.wrap('01', key, aad)
    t.equal(blob.length, mechanism === 'aes-gcm' ? 62 : 113)
    t.same(token.unwrap('01', blob, aad), key)
    t.not(token.wrap('01', key, aad).toString('hex'), blob.toString('hex'), 'no two wraps are alike')
    t.equal(failure(() => token.unwrap('01', blob, elsewhere)), 'WrongContext')
    t.equal(failure(() => token.unwrap('02', blob, aad)), 'WrongContext')
    t.equal(failure(() => token.unwrap('0f', blob, aad)), 'KeyNotFound')
    for (let at = 0; at < blob.length; at++) {
      const changed = Buffer.from(blob)
      changed.writeUInt8(changed.readUInt8(at) ^ 0x80, at)
      t.equal(failure(() => token.unwrap('01', changed, aad)), 'WrongContext', `byte ${at}`)
    }
    for (const length of [0, 1, 2, 13, 61, 63, 112, 114, 6144]) t.equal(failure(() => token.unwrap('01', Buffer.alloc(length, 1), aad)), 'WrongContext')
    t.equal(fake.count('C_Login'), 1, 'none of them costs the session')
  })
}

await t.test('an IV is taken from whoever makes it, and every wrap is opened before it is given out', async (t) => {
  const fake = new FakeToken(t)
  const key = randomBytes(32)
  for (const [iv, bytes] of [['caller', 12], ['module', 12], ['zeros', 12], ['appended', 16]] as const) {
    fake.change({ iv })
    const token = tokenOf(fake)
    for (let i = 0; i < 2; i++) {
      const blob = token.wrap('01', key, aad)
      t.equal(blob[1], bytes, iv)
      t.ok(blob.subarray(2, 2 + bytes).some((byte) => byte !== 0))
      t.same(token.unwrap('01', blob, aad), key, iv)
    }
  }
  fake.change({ iv: 'only-zeros' })
  t.equal(failure(() => tokenOf(fake).wrap('01', key, aad)), 'WrongAnswer', 'an IV that would be used again')
  fake.change({ iv: 'caller' })
  for (const lies of ['other-iv', 'short', 'long', 'nothing', 'zeros', 'plaintext'] as const) {
    fake.change({ lies })
    t.match(failure(() => tokenOf(fake).wrap('01', key, aad)), /^(WrongAnswer|CKR_GENERAL_ERROR)$/, lies)
  }
})

await t.test('the code of a wrong tag differs between modules, and is that of many troubles', async (t) => {
  const fake = new FakeToken(t)
  const token = tokenOf(fake)
  const blob = token.wrap('01', randomBytes(32), aad)
  for (const wrongTag of [0x5, 0x6, 0x7, 0x20, 0x21, 0x30, 0x40, 0x41, 0x42, 0x71]) {
    fake.change({ wrongTag })
    t.equal(failure(() => token.unwrap('01', blob, elsewhere)), 'WrongContext', wrongTag.toString(16))
  }
  fake.change({ fails: { C_Decrypt: 0x5 } })
  t.equal(failure(() => token.unwrap('01', blob, aad)), 'CKR_GENERAL_ERROR', 'a module that can decrypt nothing says nothing about the input')
  t.equal(failure(() => token.unwrap('01', blob, elsewhere)), 'CKR_GENERAL_ERROR')
  fake.change({ fails: {}, wrongTag: 0x5 })
  fake.module.tokens[0]!.keys[0]!.uses = ['decrypt']
  fake.change({})
  t.equal(failure(() => token.unwrap('01', blob, elsewhere)), 'WrongContext', 'also for a key that only decrypts')
  t.equal(failure(() => token.wrap('01', randomBytes(32), aad)), 'CKR_KEY_FUNCTION_NOT_PERMITTED')
})

await t.test('a session that was lost is opened again, with the token wherever it is by then', async (t) => {
  const fake = new FakeToken(t)
  const token = tokenOf(fake)
  const key = randomBytes(32)
  const blob = token.wrap('01', key, aad)
  for (const lostCode of [0xb3, 0xb0, 0x32, 0x30, 0xe0, 0xe1, 0x101, 0x3, 0x60, 0x82, 0x90, 0x5]) {
    fake.change({ lostCode, generation: fake.module.generation + 1 })
    const logins = fake.count('C_Login')
    t.same(token.unwrap('01', blob, aad), key, lostCode.toString(16))
    t.equal(fake.count('C_Login'), logins + 1)
  }
  const [vault] = fake.module.tokens
  for (const seenAtStart of [false, true]) {
    fake.change({ seenAtStart, tokens: [{ ...vault!, present: false }] })
    for (let i = 0; i < 3; i++) t.equal(failure(() => token.unwrap('01', blob, aad)), 'CKR_TOKEN_NOT_PRESENT')
    const late = tokenOf(fake)
    t.equal(failure(() => late.unwrap('01', blob, aad)), 'CKR_TOKEN_NOT_PRESENT')
    fake.change({ tokens: [{ ...vault!, label: 'another', serial: '1' }, vault!] })
    t.same(token.unwrap('01', blob, aad), key, 'in another slot')
    t.same(late.unwrap('01', blob, aad), key, 'where it was missing at the start')
  }
})

await t.test('a token is chosen by label or serial number, and never by chance', async (t) => {
  const fake = new FakeToken(t)
  const [vault] = fake.module.tokens
  fake.change({ tokens: [{ ...vault!, serial: '9' }, { ...vault!, keys: [] }] })
  t.equal(
    failure(() => {
      tokenOf(fake).find('01')
    }),
    'TokenNotUnique'
  )
  const found = (token: TokenSettings['token']): string =>
    failure(() => {
      tokenOf(fake, { token }).find('01')
    })
  t.equal(found({ serial: '9' }), 'none')
  t.equal(found({ serial: '0042' }), 'KeyNotFound')
  t.equal(found({ serial: '42' }), 'CKR_TOKEN_NOT_PRESENT')
  t.equal(found({ label: 'vault' }), 'CKR_TOKEN_NOT_PRESENT')
  fake.change({ readWriteOnly: true })
  t.equal(found({ serial: '9' }), 'none', 'a module that has no sessions that only read')
})

await t.test('keys that protect less than the configuration says are refused', async (t) => {
  const fake = new FakeToken(t)
  const [vault] = fake.module.tokens
  const found = (more: Partial<TokenSettings> = {}): string =>
    failure(() => {
      tokenOf(fake, more).find('01')
    })
  const rows: readonly [string, Partial<ReturnType<typeof newKey>>, Partial<TokenSettings>][] = [
    ['KeyReadable', { sensitive: false }, {}],
    ['KeyExtractable', { extractable: true }, {}],
    ['none', { extractable: true }, { extractable: true }],
    ['KeyReadable', { extractable: true, sensitive: false }, { extractable: true }],
    ['KeyNotOfThisKind', { value: '00'.repeat(16) }, {}],
    ['KeyNotOfThisKind', { kind: 'generic' }, {}],
    ['KeyNotOfThisKind', {}, { mechanism: 'hmac-sha256' }]
  ]
  for (const [code, key, more] of rows) {
    fake.change({ tokens: [{ ...vault!, keys: [{ ...newKey(), ...key }] }] })
    t.equal(found(more), code, JSON.stringify([key, more]))
  }
  fake.change({ tokens: [{ ...vault!, keys: [newKey(), newKey()] }] })
  t.equal(found(), 'KeyNotUnique')
})

await t.test('a PIN is tried once, and not at all where the next wrong one would lock the token', async (t) => {
  const fake = new FakeToken(t)
  const found = (pin: string): string =>
    failure(() => {
      tokenOf(fake, { pin }).find('01')
    })
  t.equal(found('wrong'), 'CKR_PIN_INCORRECT')
  t.equal(fake.count('C_Login'), 1)
  fake.module.tokens[0]!.flags = 0x20000
  fake.change({})
  t.equal(found(PIN), 'PinFinalTry')
  fake.module.tokens[0]!.flags = 0x40000
  fake.change({})
  t.equal(found(PIN), 'CKR_PIN_LOCKED')
  t.equal(fake.count('C_Login'), 1)
})

await t.test('every function may fail with any code, or with an exception that quotes the PIN', async (t) => {
  const fake = new FakeToken(t)
  const calls = [
    'C_Initialize',
    'C_GetSlotList',
    'C_GetTokenInfo',
    'C_OpenSession',
    'C_Login',
    'C_FindObjectsInit',
    'C_FindObjects',
    'C_FindObjectsFinal',
    'C_GetAttributeValue',
    'C_EncryptInit',
    'C_Encrypt',
    'C_DecryptInit',
    'C_Decrypt'
  ]
  for (const call of calls) {
    for (const code of [-1, 0x5, 0x31, 0x80000001]) {
      fake.change({ fails: { [call]: code } })
      t.not(failure(() => tokenOf(fake).wrap('01', randomBytes(32), aad)), 'none', call)
    }
  }
  fake.change({ fails: { load: -1 } })
  t.equal(failure(() => tokenOf(fake).wrap('01', randomBytes(32), aad)), 'ModuleUnloadable')
  t.equal(failure(() => tokenOf(fake, { binding: 'pkcs11js-that-is-not-there' }).wrap('01', randomBytes(32), aad)), 'PackageMissing')
})
