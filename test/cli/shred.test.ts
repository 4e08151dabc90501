// src/cli/shred.ts
import { readFileSync, writeFileSync } from 'node:fs'
import { copyFile, link, readFile } from 'node:fs/promises'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { createKeyring, readKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'

/** Two tenants of one bucket, one under a keyring and one under KMS, and objects of the bucket itself. */
async function rig(t: Test) {
  const folder = t.testdir({})
  for (const name of ['main', 't7']) await createKeyring(`${folder}/${name}.json`, name, new Date())
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const keys = {
    main: { type: 'local', keyring: `${folder}/main.json` },
    t7: { type: 'local', keyring: `${folder}/t7.json` },
    t8: { type: 'aws-kms', arn, endpoint: kms.endpoint, accessKeyId: 'id', secretAccessKey: 'secret' }
  }
  // Without a cache the next use shows what an instance with one shows when its entry has aged.
  const sections = { keys, keyCache: { maxAgeSeconds: 0 }, buckets: { '*': { key: 'main', prefixes: { 't7/': { key: 't7' }, 't8/': { key: 't8' } } } } }
  const made = await startRewrapRig(t, sections)
  for (const Key of ['a', 't7/a', 't8/a']) await made.s3.send(new PutObjectCommand({ Bucket: 'bucket', Key, Body: Key }))
  const read = (Key: string): Promise<string> =>
    made.s3.send(new GetObjectCommand({ Bucket: 'bucket', Key })).then(({ Body }) => Body!.transformToString(), (error: unknown) => (error as Error).name)
  const shred = (key: string, ...more: string[]) =>
    made.run('keys', 'shred', '--bucket', 'bucket', '--key', key, '--record', `${folder}/${key}.record`, ...more)
  return { ...made, folder, kms, arn, read, shred }
}

await t.test('a keyring is destroyed: what is sealed under it opens no more, without a signal, and everything else does', async (t) => {
  const { folder, read, shred, run } = await rig(t)
  const path = `${folder}/t7.json`
  await copyFile(path, `${folder}/backup.json`)
  await link(path, `${folder}/inode`)
  const ids = (await readKeyring(path)).versions.map(({ id }) => `local:t7:${id}`)

  const plan = await shred('t7')
  t.match(plan, { code: 0, out: /key +buckets\.\*, names under "t7\/"[\s\S]*Nothing was destroyed/ })
  t.equal(await read('t7/a'), 't7/a')
  t.match(await shred('t7', '--confirm', 'main'), { code: 2 })
  t.equal(await read('t7/a'), 't7/a')

  const ran = await shred('t7', '--confirm', 't7')
  t.match(ran, { code: 0, out: /Destroyed local:t7:[\s\S]*BACKUPS/ })
  t.equal(await read('t7/a'), 'KMS.KMSInvalidStateException')
  t.equal(await read('a'), 'a')
  t.equal(await read('t8/a'), 't8/a')
  const keyring = await readKeyring(path)
  t.strictSame(keyring.versions.map(({ state }) => state), ['destroyed'])
  t.ok((await readFile(`${folder}/inode`)).every((byte) => byte === 0), 'the bytes that the file had are overwritten')

  t.match(JSON.parse(readFileSync(`${folder}/t7.record`, 'utf8')), {
    key: 't7',
    type: 'local',
    uses: [{ bucket: '*', prefix: 't7/', as: 'key' }],
    destroyed: { keyIds: ids }
  })
  t.match(await run('report', 'check', '--report', `${folder}/t7.record`), { code: 0, out: /genuine/ })
  const record = readFileSync(`${folder}/t7.record`, 'utf8')
  writeFileSync(`${folder}/t7.record`, record.replace('"t7"', '"t9"'))
  t.match(await run('report', 'check', '--report', `${folder}/t7.record`), { code: 4, out: /NOT THE REPORT/ })

  t.match(await shred('t7', '--confirm', 't7'), { code: 2, err: /could not be written/ }, 'a record is never overwritten')
  t.match(await run('keys', 'list', '--keyring', path), { code: 2 }, 'keys list takes no configuration')

  // What is said loudly: a copy brings it back, as any copy of a key does.
  await copyFile(`${folder}/backup.json`, path)
  t.equal(await read('t7/a'), 'KMS.KMSInvalidStateException', 'an instance that has seen it takes nothing back without a reload')
})

await t.test('a key of KMS is scheduled for deletion', async (t) => {
  const { kms, arn, read, shred } = await rig(t)
  t.match(await shred('t8', '--days', '6', '--confirm', 't8'), { code: 2, err: /from 7 to 30/ })
  t.match(await shred('t8', '--days', '7', '--confirm', 't8'), { code: 0, out: arn })
  t.match(kms.calls.findLast(({ operation }) => operation === 'ScheduleKeyDeletion')?.input, { KeyId: arn, PendingWindowInDays: 7 })
  t.equal(await read('t8/a'), 'KMS.KMSInvalidStateException')
  t.equal(await read('t7/a'), 't7/a')
})

await t.test('a destruction that fails leaves a record that says it began, and the key', async (t) => {
  const { kms, folder, read, shred } = await rig(t)
  kms.misbehave = ({ operation }, response) => {
    if (operation !== 'ScheduleKeyDeletion') return false
    response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1' }).end('{"__type":"AccessDeniedException"}')
    return true
  }
  t.match(await shred('t8', '--confirm', 't8'), { code: 1 })
  t.match(JSON.parse(readFileSync(`${folder}/t8.record`, 'utf8')), { key: 't8', destroyed: null })
  t.equal(await read('t8/a'), 't8/a')
})

await t.test('a key is kept that the audit trail or a secret of the configuration needs', async (t) => {
  const made = await rig(t)
  const { shred, read, run, config, folder, audit } = made
  writeFileSync(`${folder}/secret`, 'a secret')
  const sealed = await run('keys', 'encrypt', '--key', 't7', '--in', `${folder}/secret`)
  t.equal(sealed.code, 0, sealed.err)
  const written = readFileSync(config, 'utf8')
  const document = JSON.parse(written) as { clients: object[] }
  document.clients.push({ accessKeyId: 'another', secretAccessKey: { sealed: sealed.out.trim() } })
  writeFileSync(config, JSON.stringify(document))
  t.match(await shred('t7', '--confirm', 't7'), { code: 2, err: /1 sealed secrets of the configuration are under it/ })
  writeFileSync(config, written)
  await made.reload({ audit: { file: audit, key: 't7' } })
  t.match(await shred('t7', '--confirm', 't7'), { code: 2, err: /audit\.key names it/ })
  t.equal(await read('t7/a'), 't7/a')
})

await t.test('the bucket needs another key to sign the record, and an unknown key is refused', async (t) => {
  const { shred, read } = await rig(t)
  t.match(await shred('main', '--confirm', 'main'), { code: 2, err: /no other key to sign/ })
  t.match(await shred('nobody'), { code: 2, err: /no key named nobody/ })
  t.equal(await read('a'), 'a')
})
