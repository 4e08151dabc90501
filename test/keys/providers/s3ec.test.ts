import { generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { openKeyRegistry } from '../../../src/keys/registry.ts'
import { KeySelfTest } from '../../../src/keys/self-test.ts'
import type { AuditEvent, KeyUse } from '../../../src/keys/types.ts'
import { describe } from '../../../src/s3ec/description.ts'
import { marksOf } from '../../../src/s3ec/metadata.ts'
import type { KeyConfig } from '../../../src/config/config.ts'
import { codeOf } from '../../support/error-code.ts'
import { FakeKms } from '../../support/fake-kms.ts'
import { headersOf, write, type Recipe, type WriterKeys } from '../../support/s3ec-writer.ts'

const kms = await FakeKms.start(t)
const [arn, former, strange] = [kms.addKey(), kms.addKey(), kms.addKey()]
const secrets = { [arn]: randomBytes(32), [former]: randomBytes(32), [strange]: randomBytes(32) }
for (const [each, secret] of Object.entries(secrets)) kms.addKnownKey(each, secret)
const credentials = { accessKeyId: 'a', secretAccessKey: 'b', sessionToken: null }
const cloud = (arn: string, decryptOnly: string[] = []): KeyConfig => ({
  type: 'aws-kms',
  arn,
  decryptOnly,
  aliases: [],
  region: null,
  regions: [],
  endpoint: kms.endpoint,
  credentials
})
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const [aes, other] = [randomBytes(32), randomBytes(16)]
const keys: Record<string, KeyConfig> = {
  cloud: cloud(arn, [former]),
  away: cloud(strange),
  old: { type: 's3ec-aes', masterKey: aes.toString('base64'), description: {} },
  older: { type: 's3ec-aes', masterKey: other.toString('base64'), description: { name: 'older', at: 'x' } },
  pair: { type: 's3ec-rsa', privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), description: {} }
}
const events: AuditEvent[] = []
const registry = await openKeyRegistry({
  keys,
  cache: { maxAgeSeconds: 60, maxEntries: 100, maxUses: 10 },
  usedAt: () => [],
  audit: (event) => {
    events.push(event)
  }
})
t.teardown(() => registry.close())
const use: KeyUse = {
  requestId: 'r',
  principal: 'p',
  sourceAddress: '',
  operation: 'GetObject',
  bucket: 'b',
  objectKey: 'k',
  versionId: null,
  signal: new AbortController().signal
}

async function sealed(under: string, dataKey: Buffer, context: Readonly<Record<string, string>>): Promise<Buffer> {
  const { CiphertextBlob } = await call('Encrypt', { KeyId: under, Plaintext: dataKey.toString('base64'), EncryptionContext: context })
  return Buffer.from(CiphertextBlob, 'base64')
}

async function call(operation: string, input: object): Promise<{ CiphertextBlob: string }> {
  const { request } = await import('node:http')
  return new Promise((resolve, reject) => {
    const asked = request(kms.endpoint, { method: 'POST', agent: false, headers: { 'x-amz-target': `TrentService.${operation}` } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
        resolve(JSON.parse(Buffer.concat(chunks).toString()) as { CiphertextBlob: string })
      })
    })
    asked.on('error', reject).end(JSON.stringify(input))
  })
}

async function described(recipe: Recipe, writer: WriterKeys) {
  const marks = marksOf(headersOf((await write(Buffer.from('x'), recipe, writer)).metadata))
  if (marks.kind !== 'described') throw new TypeError(marks.kind)
  return describe(marks.entries)
}

await t.test('each kind of key opens the wraps of its kind that have its description, and each use is recorded', async (t) => {
  const dataKey = randomBytes(32)
  const cases: [Recipe, WriterKeys, string][] = [
    [{ version: 3, wrap: 'AES/GCM', dataKey }, { aes }, 's3ec-aes:{}'],
    [{ version: 2, wrap: 'AESWrap', dataKey, material: { at: 'x', name: 'older' } }, { aes: other }, 's3ec-aes:{"name":"older","at":"x"}'],
    [{ version: 3, wrap: 'RSA-OAEP-SHA1', dataKey }, { rsa: pair.publicKey }, 's3ec-rsa:{}'],
    [{ version: 3, wrap: 'kms+context', dataKey, material: { tenant: 'a' } }, { kms: (key, context) => sealed(arn, key, context) }, arn],
    [{ version: 2, wrap: 'kms', dataKey, material: { kms_cmk_id: strange } }, { kms: (key, context) => sealed(former, key, context) }, former],
    [{ version: 2, wrap: 'kms+context', dataKey }, { kms: (key, context) => sealed(strange, key, context) }, strange]
  ]
  for (const [recipe, writer, keyId] of cases) {
    const wrapped = await described(recipe, writer)
    for (const cached of [false, true]) {
      events.length = 0
      const key = await registry.openDataKey(Object.keys(keys), wrapped, use)
      t.ok(key.export().equals(dataKey), recipe.wrap)
      const last = events.at(-1)
      t.match(last, { action: 'unwrap', masterKeyId: keyId, outcome: 'ok', cached, operation: 'GetObject', bucket: 'b', key: 'k' })
      t.strictSame(last?.context, recipe.wrap.startsWith('kms') ? wrapped.material : {})
    }
  }
  const wrapped = await described({ version: 2, wrap: 'kms+context', dataKey }, { kms: (key, context) => sealed(arn, key, context) })
  kms.calls.length = 0
  await registry.openDataKey(['cloud'], wrapped, use)
  t.match(
    kms.calls,
    [{ operation: 'Decrypt', input: { KeyId: arn, EncryptionContext: { 'aws:x-amz-cek-alg': 'AES/GCM/NoPadding' } } }],
    'the context as it is, and the key named'
  )
  t.equal(kms.calls.length, 1)
})

await t.test('an object chooses no key', async (t) => {
  const codes = async (names: string[], recipe: Recipe, writer: WriterKeys) => {
    const wrapped = await described(recipe, writer)
    events.length = 0
    return codeOf(registry.openDataKey(names, wrapped, use))
  }
  t.equal(await codes(['cloud', 'pair', 'older'], { version: 3, wrap: 'AES/GCM' }, { aes }), 'SealgateKeyUnavailable', 'a key that the bucket does not name')
  t.match(events, [{ action: 'refused', masterKeyId: null, outcome: 'failed', error: 'SealgateKeyUnavailable' }])
  t.equal(await codes(['old'], { version: 3, wrap: 'AES/GCM', material: { name: 'x' } }, { aes }), 'SealgateKeyUnavailable', 'a description that no key has')
  t.equal(await codes(['old'], { version: 3, wrap: 'AES/GCM' }, { aes: randomBytes(32) }), 'SealgateIntegrityError', 'wrapped with another key')
  t.match(events, [{ action: 'unwrap', masterKeyId: 's3ec-aes:{}', outcome: 'failed', error: 'SealgateIntegrityError' }])
  const under = (each: string): WriterKeys => ({ kms: (key, context) => sealed(each, key, context) })
  t.equal(
    await codes(['cloud'], { version: 2, wrap: 'kms', material: { kms_cmk_id: strange } }, under(strange)),
    'SealgateIntegrityError',
    'a key of KMS that another bucket has'
  )
  kms.calls.length = 0
  const wrapped = await described({ version: 2, wrap: 'kms+context' }, { kms: (key) => sealed(arn, key, { other: 'context' }) })
  t.equal(await codeOf(registry.openDataKey(['cloud', 'away'], wrapped, use)), 'SealgateIntegrityError', 'another context')
  t.equal(kms.count('Decrypt'), 1, 'no other key is tried then')
  kms.setState(arn, 'disabled')
  t.equal(await codes(['cloud'], { version: 3, wrap: 'kms+context' }, { kms: (key, context) => sealed(former, key, context) }), 'KMS.DisabledException')
  kms.setState(arn, 'enabled')
})

await t.test('a key that seals nothing is named by no envelope, seals nothing, and makes nothing ready', async (t) => {
  t.match(await registry.describe(), [{ name: 'cloud' }, { name: 'away' }, { name: 'old', keyId: null }, { name: 'older' }, { name: 'pair' }])
  const provider = registry.providerFor('old')
  const context = { realm: 'r', bucket: 'b', objectKey: null, requestContext: {} }
  t.equal(await codeOf(provider.generate(context, use)), 'InternalError')
  t.equal(await codeOf(provider.unwrap({ keyId: 's3ec-aes:{}', blob: Buffer.alloc(48) }, context, use)), 'InternalError')
  t.equal(await codeOf(provider.rewrap({ keyId: 's3ec-aes:{}', blob: Buffer.alloc(48) }, context, context, use)), 'InternalError')
  t.equal(await codeOf(() => registry.openerOf('s3ec-aes:{}', { key: 'cloud', allowedKeys: [], openKeys: [] }, use)), 'SealgateKeyUnavailable')
  for (const each of [arn, strange]) kms.setState(each, 'disabled')
  const test = new KeySelfTest(registry)
  t.equal(await codeOf(test.run()), 'KMS.DisabledException')
  t.match(test.states.find(({ key }) => key === 'old'), { ok: true })
  kms.setState(arn, 'enabled')
  await test.run()
})

await t.test('RSA keys that are none, or too small or large', async (t) => {
  const opening = (privateKey: string) =>
    openKeyRegistry({
      keys: { pair: { type: 's3ec-rsa', privateKey, description: {} } },
      cache: { maxAgeSeconds: 60, maxEntries: 100, maxUses: 10 },
      usedAt: () => [],
      audit: () => undefined
    })
  const pem = (key: typeof pair.privateKey): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
  const curve = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  for (const wrong of ['pem-canary', pem(small), pem(curve), pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()]) {
    await t.rejects(opening(wrong), { name: 'KeyringError', message: /^privateKey must be an RSA key/ })
  }
  await (await opening(pair.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString())).close()
})
