// A Transit key through the whole gateway and its commands. test/e2e/openbao.ts does the same with a real OpenBao.
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { CopyObjectCommand, GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { KEY_ID_HEADER } from '../../src/envelope/envelope.ts'
import type { AuditEvent } from '../../src/keys/types.ts'
import { FakeVault } from '../support/fake-vault.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import { ask } from './encryption-rig.ts'

const Bucket = 'bucket'

await t.test('objects move between a keyring and a Transit key and through its versions, and no body moves', async (t) => {
  const vault = await FakeVault.start(t)
  vault.addKey('gateway')
  const transit = { type: 'vault-transit', address: vault.address, key: 'gateway', auth: { method: 'token', token: vault.addToken(0) } }
  const rig = await startRewrapRig(t, { keyCache: { maxAgeSeconds: 0 } })
  const { s3, store, run } = rig
  const bodies = new Map(['a', 'b', 'c'].map((name) => [name, `body ${name}`]))
  const main = { type: 'local', keyring: rig.gateway.keyring }
  await rig.reload({ keys: { main, transit }, buckets: { '*': { key: 'main', allowedKeys: ['transit'] } }, keyCache: { maxAgeSeconds: 0 } })
  for (const [Key, Body] of bodies) await s3.send(new PutObjectCommand({ Bucket, Key, Body }))
  const stored = new Map(await Promise.all([...bodies.keys()].map(async (name) => [name, await store.object(Bucket, name).body()] as const)))
  const allAre = async (keyId: RegExp) => {
    for (const [Key, body] of bodies) {
      t.match(store.object(Bucket, Key).metadata[KEY_ID_HEADER.replace('x-amz-meta-', '')], keyId)
      t.ok((await store.object(Bucket, Key).body()).equals(stored.get(Key)!), 'the stored body is the same')
      t.match(await ask(s3, new GetObjectCommand({ Bucket, Key })), { status: 200, body: Buffer.from(body) })
    }
  }
  await allAre(/^local:/)
  t.match(await run('rewrap', '--bucket', Bucket, '--to', 'transit'), { code: 0 })
  await allAre(/^vault:vault\/transit\/gateway:v1$/)
  vault.rotate('gateway')
  vault.calls.length = 0
  t.match(await run('rewrap', '--bucket', Bucket), { code: 0 })
  t.same(vault.calls.filter(({ path }) => /^transit\/(decrypt|encrypt|datakey)/.test(path)), [], 'the bucket key stays in the server')
  await allAre(/^vault:vault\/transit\/gateway:v2$/)
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' }))
  t.equal(head.ContentLength, 6)
  t.match((await run('keys', 'usage', '--bucket', Bucket)).out, /vault:vault\/transit\/gateway:v2 +3 objects/)
  const asked = await s3.send(new PutObjectCommand({ Bucket, Key: 'named', Body: 'n', ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'transit' }))
  t.equal(asked.SSEKMSKeyId, 'transit', 'clients see its name')
  t.match(await ask(s3, new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/named` })), { status: 200 })

  vault.sealed = true
  t.match(await ask(s3, new GetObjectCommand({ Bucket, Key: 'a' })), { status: 503, body: Buffer.alloc(0) })
  const put = new PutObjectCommand({ Bucket, Key: 'during', Body: 'd', ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'transit' })
  t.match(await ask(s3, put), { status: 503 })
  t.notOk(store.keys(Bucket).includes('during'))
  vault.sealed = false
  t.match(await run('rewrap', '--bucket', Bucket, '--to', 'main'), { code: 0 })
  await allAre(/^local:/)
  const lines = (await readFile(rig.audit, 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as Partial<AuditEvent>)
  t.ok(lines.some(({ action, masterKeyId }) => action === 'rewrap' && masterKeyId === 'vault:vault/transit/gateway:v2'))
  t.ok(
    lines.some(({ action, masterKeyId, error }) => action === 'unwrap' && masterKeyId === 'vault:vault/transit/gateway:v2' && error === 'ServiceUnavailable')
  )
})
