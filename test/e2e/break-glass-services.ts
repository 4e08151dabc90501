// Objects under simulations of Google Cloud KMS, Azure Key Vault and a KMIP server, opened by docs/break-glass/sealgate_open.py, which shares no code with
// the gateway; the simulation is asked for what the program prints: PYTHON=python3 node test/e2e/break-glass-services.ts (with the package cryptography)
import { execFileSync } from 'node:child_process'
import { createDecipheriv } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import t from 'tap'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { request } from 'undici'
import { FakeGcpKms } from '../support/fake-gcp-kms.ts'
import { FakeKeyVault } from '../support/fake-key-vault.ts'
import { FakeKmip } from '../support/fake-kmip.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'

const python = process.env['PYTHON'] ?? 'python3'
const program = join(import.meta.dirname, '../../docs/break-glass/sealgate_open.py')
const tls = (name: string) => join(import.meta.dirname, '../support/tls', name)
const pem = (name: string) => readFileSync(tls(name), 'utf8')

t.setTimeout(120_000)
const [google, azure] = [await FakeGcpKms.start(t), await FakeKeyVault.start(t)]
const kmip = await FakeKmip.start(t, { cert: pem('localhost-cert.pem'), key: pem('localhost-key.pem'), ca: pem('client-cert.pem') })
azure.addKey('main')
azure.addKey('hsm', true)
const kmipId = kmip.addKey()
const rig = await startRewrapRig(t)
const work = (name: string) => join(rig.config, '..', name)
const [googleToken, azureToken] = [google.addToken(), azure.addToken()]
const auth = (name: string, token: string) => {
  writeFileSync(work(name), token)
  return { method: 'token', tokenFile: work(name) }
}
const atAzure = { type: 'azure-key-vault', vault: azure.vault, endpoint: azure.address, auth: auth('azure-token', azureToken) }
const files = { ca: tls('localhost-cert.pem'), cert: tls('client-cert.pem'), key: tls('client-key.pem') }
const keys = {
  main: { type: 'local', keyring: rig.gateway.keyring },
  google: { type: 'gcp-kms', key: google.addKey('main'), endpoint: google.address, auth: auth('google-token', googleToken) },
  azure: { ...atAzure, key: 'main' },
  hsm: { ...atAzure, key: 'hsm', algorithm: 'A256KW' },
  kmip: { type: 'kmip', address: kmip.address, label: 'k', versions: [{ id: kmipId }], ...files }
}
await rig.reload({ keys, buckets: { '*': { key: 'main', allowedKeys: ['google', 'azure', 'hsm', 'kmip'], bucketKeys: false } } })

async function ask(url: string, token: string, host: string | null, body: string | null): Promise<Record<string, string>> {
  // fetch lets nobody choose the header Host.
  const answer = await request(url, {
    method: body === null ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, ...host === null ? {} : { host } },
    body
  })
  return await answer.body.json() as Record<string, string>
}

const hex = (text: string, encoding: 'base64' | 'base64url') => Buffer.from(text, encoding).toString('hex')
const bucketKeyOf: Readonly<Record<string, (request: string, keyId: string) => Promise<readonly string[]>>> = {
  google: async (request) => {
    const answer = await ask(`${google.address}/v1/${keys.google.key}:decrypt`, googleToken, null, request)
    return ['--bucket-key', hex(answer['plaintext'] ?? '', 'base64')]
  },
  azure: async (request, keyId) => {
    const kid = `${azure.address}/keys/main/${keyId.split(':').at(-1) ?? ''}`
    const host = new URL(azure.vault).host
    writeFileSync(work('key.json'), JSON.stringify(await ask(`${kid}?api-version=7.4`, azureToken, host, null)))
    const answer = await ask(`${kid}/unwrapkey?api-version=7.4`, azureToken, host, request)
    return ['--unwrapped', hex(answer['value'] ?? '', 'base64url'), '--vault-key', work('key.json')]
  },
  hsm: async (request, keyId) => {
    const url = `${azure.address}/keys/hsm/${keyId.split(':').at(-1) ?? ''}/unwrapkey?api-version=7.4`
    const answer = await ask(url, azureToken, new URL(azure.vault).host, request)
    return ['--unwrapped', hex(answer['value'] ?? '', 'base64url')]
  },
  kmip: async (request) => {
    const parts = JSON.parse(request) as Record<string, string>
    const bytes = (name: string) => Buffer.from(parts[name] ?? '', 'hex')
    const { secret } = kmip.keys.get(parts['uniqueIdentifier'] ?? '')!
    const decipher = createDecipheriv('aes-256-gcm', secret, bytes('nonce'), { authTagLength: 16 }).setAAD(bytes('additionalData'))
    decipher.setAuthTag(bytes('authenticationTag'))
    return ['--bucket-key', Buffer.concat([decipher.update(bytes('data')), decipher.final()]).toString('hex')]
  }
}

for (const [name, keyOf] of Object.entries(bucketKeyOf)) {
  await t.test(`break-glass: ${name}`, async (t) => {
    const put = new PutObjectCommand({ Bucket: 'bucket', Key: name, Body: `body ${name}`, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: name })
    await rig.s3.send(put)
    const object = rig.store.object('bucket', name)
    writeFileSync(work('body'), await object.body())
    writeFileSync(work('head.json'), JSON.stringify({ Metadata: object.metadata }))
    const open = (...more: readonly string[]): string =>
      execFileSync(python, [program, '--headers', work('head.json'), '--realm', 'test', '--bucket', 'bucket', '--object', name, ...more], { encoding: 'utf8' })
    const given = await keyOf(open('--print-request'), object.metadata['sealgate-key'] ?? '')
    open('--body', work('body'), ...given, '--out', work('opened'))
    t.equal(readFileSync(work('opened'), 'utf8'), `body ${name}`)
    const elsewhere = () => open('--realm', 'other', '--body', work('body'), ...given, '--out', work('elsewhere'))
    if (name === 'azure' || name === 'hsm') t.throws(elsewhere, 'the bucket key of another realm')
  })
}
