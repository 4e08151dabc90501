// Every kind of key that needs no process of its own behind one gateway: objects move between any two, and no body moves.
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { KEY_ID_HEADER } from '../../src/envelope/envelope.ts'
import { FakeGcpKms } from '../support/fake-gcp-kms.ts'
import { FakeKeyVault } from '../support/fake-key-vault.ts'
import { FakeKmip } from '../support/fake-kmip.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { FakeVault } from '../support/fake-vault.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import { ask } from './encryption-rig.ts'

const Bucket = 'bucket'
const pem = (name: string) => join(import.meta.dirname, '../support/tls', name)
const text = (name: string) => readFileSync(pem(name), 'utf8')

await t.test('rewrap --to between every two of them', async (t) => {
  const [kms, vault, google, azure] = [await FakeKms.start(t), await FakeVault.start(t), await FakeGcpKms.start(t), await FakeKeyVault.start(t)]
  const kmip = await FakeKmip.start(t, { cert: text('localhost-cert.pem'), key: text('localhost-key.pem'), ca: text('client-cert.pem') })
  const id = kmip.addKey()
  vault.addKey('main')
  azure.addKey('main')
  azure.addKey('hsm', true)
  const rig = await startRewrapRig(t)
  const { s3, store, run } = rig
  const tokenOf = async (name: string, token: string) => {
    const tokenFile = join(rig.config, '..', name)
    await writeFile(tokenFile, token)
    return { auth: { method: 'token', tokenFile } }
  }
  const atAzure = { type: 'azure-key-vault', vault: azure.vault, endpoint: azure.address, ...await tokenOf('azure-token', azure.addToken()) }
  const keys = {
    main: { type: 'local', keyring: rig.gateway.keyring },
    cloud: { type: 'aws-kms', arn: kms.addKey(), endpoint: kms.endpoint, accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    transit: { type: 'vault-transit', address: vault.address, key: 'main', auth: { method: 'token', token: vault.addToken(0) } },
    google: { type: 'gcp-kms', key: google.addKey('main'), endpoint: google.address, ...await tokenOf('google-token', google.addToken()) },
    azure: { ...atAzure, key: 'main' },
    hsm: { ...atAzure, key: 'hsm', algorithm: 'A256KW' },
    appliance: {
      type: 'kmip',
      address: kmip.address,
      label: 'main',
      versions: [{ id }],
      ca: pem('localhost-cert.pem'),
      cert: pem('client-cert.pem'),
      key: pem('client-key.pem')
    }
  }
  const ids: Record<string, RegExp> = {
    main: /^local:/,
    cloud: /^arn:aws:kms:/,
    transit: /^vault:vault\/transit\/main:v1$/,
    google: /^gcp-kms:projects\/test-project\/locations\/europe-west1\/keyRings\/ring\/cryptoKeys\/main:v1$/,
    azure: /^azure-key-vault:test-vault\.vault\.azure\.net\/main:[0-9a-f]{32}$/,
    hsm: /^azure-key-vault:test-vault\.vault\.azure\.net\/hsm:[0-9a-f]{32}$/,
    appliance: /^kmip:kmip\/main:[0-9a-f]{8}$/
  }
  const names = Object.keys(keys)
  const change = { keys, buckets: { '*': { key: 'main', allowedKeys: names.slice(1) } } }
  await rig.reload(change)
  const idOf = (name: string) => store.object(Bucket, name).metadata[KEY_ID_HEADER.replace('x-amz-meta-', '')]
  for (const to of names) {
    for (const from of names) {
      const put = new PutObjectCommand({ Bucket, Key: `${to}/${from}`, Body: `from ${from}`, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: from })
      await s3.send(put)
      t.match(idOf(`${to}/${from}`), ids[from]!)
    }
  }
  const bodies = new Map<string, Buffer>()
  for (const name of store.keys(Bucket)) bodies.set(name, await store.object(Bucket, name).body())
  for (const to of names) t.match(await run('rewrap', '--bucket', Bucket, '--prefix', `${to}/`, '--to', to), { code: 0 }, to)
  // Nothing in memory: every key is asked for.
  await rig.reload(change)
  for (const [name, stored] of bodies) {
    const [to = '', from = ''] = name.split('/')
    t.match(idOf(name), ids[to]!, `${from} to ${to}`)
    t.ok((await store.object(Bucket, name).body()).equals(stored), 'the stored body is the same')
    t.match(await ask(s3, new GetObjectCommand({ Bucket, Key: name })), { status: 200, body: Buffer.from(`from ${from}`) }, name)
  }
  t.comment(`${bodies.size - names.length} pairs of ${names.join(', ')}`)
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'google/azure' }))).SSEKMSKeyId, 'google', 'clients see the name of the key')

  const list = (await run('keys', 'list')).out
  t.match(list, `google  gcp-kms  gcp-kms:${keys.google.key}:v1\n  v1  enabled  current\n`)
  const [version] = azure.keys.get('main')!.versions
  t.match(list, `azure  azure-key-vault  azure-key-vault:test-vault.vault.azure.net/main:${version!.id}\n  ${version!.id}  enabled  current\n`)
  t.match(list, `appliance  kmip  kmip:kmip/main:${id}\n  ${id}  enabled  current\n`)
  const checked = await run('config', 'check', '--online')
  t.match(checked.out, new RegExp(`appliance +.*KMIP ${kmip.address}, key kmip/main: ${id} enabled`))
  t.match(checked.out, /google +.*Cloud KMS projects\/test-project\/.*; with a token in a file/)
  t.match(checked.out, /azure +.*Key Vault https:\/\/test-vault\.vault\.azure\.net, key main \(RSA-OAEP-256\).*; with a token in a file/)

  google.setState(keys.google.key, 1, 'DISABLED')
  version!.attributes.enabled = false
  await rig.reload(change)
  for (const name of ['google/main', 'azure/main']) t.match(await ask(s3, new GetObjectCommand({ Bucket, Key: name })), { status: 400, body: Buffer.alloc(0) })
  for (const name of ['google', 'azure']) {
    const put = new PutObjectCommand({ Bucket, Key: 'disabled', Body: 'd', ServerSideEncryption: 'aws:kms', SSEKMSKeyId: name })
    t.match(await ask(s3, put), { status: 400 })
  }
  t.notOk(store.keys(Bucket).includes('disabled'))
  t.match((await run('config', 'check', '--online')).out, /google.*disabled/)
  for (const service of [google, azure]) {
    service.misbehave = (_, response) => {
      response.destroy()
      return true
    }
  }
  await rig.reload(change)
  for (const name of ['google/main', 'azure/main']) t.match(await ask(s3, new GetObjectCommand({ Bucket, Key: name })), { status: 503, body: Buffer.alloc(0) })
})

await t.test('metadata that is left for clients beside a wrap of Key Vault', async (t) => {
  const azure = await FakeKeyVault.start(t)
  azure.addKey('main')
  const rig = await startRewrapRig(t)
  const tokenFile = join(rig.config, '..', 'token')
  await writeFile(tokenFile, azure.addToken())
  const main = { type: 'azure-key-vault', vault: azure.vault, key: 'main', endpoint: azure.address, auth: { method: 'token', tokenFile } }
  await rig.reload({ keys: { main } })
  const room = async (size: number) => ask(rig.s3, new PutObjectCommand({ Bucket, Key: 'k', Body: 'b', Metadata: { m: 'x'.repeat(size) } }))
  let [fits, not] = [0, 2048]
  while (not - fits > 1) {
    const middle = Math.floor((fits + not) / 2)
    if ((await room(middle)).status === 200) fits = middle
    else not = middle
  }
  t.ok(fits > 400, `${fits} bytes`)
  t.comment(`${fits} bytes of user metadata fit beside a wrap under an RSA key of 2,048 bits`)
})
