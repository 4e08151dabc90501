// src/cli/shred.ts
import { linkSync, readFileSync, writeFileSync } from 'node:fs'
import { copyFile, link, readFile } from 'node:fs/promises'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import t, { type Test } from 'tap'
import { createKeyring, readKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { FakeVault, refuseVault } from '../support/fake-vault.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'

/** Tenants of one bucket, one under a keyring, one under KMS and one under Transit, and objects of the bucket itself. */
async function rig(t: Test) {
  const folder = t.testdir({})
  for (const name of ['main', 't7']) await createKeyring(`${folder}/${name}.json`, name, new Date())
  const kms = await FakeKms.start(t)
  const [arn, former] = [kms.addKey(), kms.addKey()]
  const vault = await FakeVault.start(t)
  vault.addKey('t9')
  const keys = {
    main: { type: 'local', keyring: `${folder}/main.json` },
    t7: { type: 'local', keyring: `${folder}/t7.json` },
    t8: { type: 'aws-kms', arn, decryptOnly: [former], endpoint: kms.endpoint, accessKeyId: 'id', secretAccessKey: 'secret' },
    t9: { type: 'vault-transit', address: vault.address, key: 't9', auth: { method: 'token', token: vault.addToken(0) } }
  }
  // Without a cache the next use shows what an instance with one shows when its entry has aged.
  const sections = {
    keys,
    keyCache: { maxAgeSeconds: 0 },
    buckets: { '*': { key: 'main', prefixes: { 't7/': { key: 't7' }, 't8/': { key: 't8' }, 't9/': { key: 't9' } } } }
  }
  const made = await startRewrapRig(t, sections)
  for (const Key of ['a', 't7/a', 't8/a', 't9/a']) await made.s3.send(new PutObjectCommand({ Bucket: 'bucket', Key, Body: Key }))
  const read = (Key: string): Promise<string> =>
    made.s3.send(new GetObjectCommand({ Bucket: 'bucket', Key })).then(({ Body }) => Body!.transformToString(), (error: unknown) => (error as Error).name)
  const shredInto = (record: string, key: string, ...more: string[]) =>
    made.run('keys', 'shred', '--bucket', 'bucket', '--key', key, '--record', `${folder}/${record}.record`, ...more)
  const shred = (key: string, ...more: string[]) => shredInto(key, key, ...more)
  const record = (key: string) => (JSON.parse(readFileSync(`${folder}/${key}.record`, 'utf8')) as { evidence: object }).evidence
  const check = (key: string) => made.run('report', 'check', '--report', `${folder}/${key}.record`)
  return { ...made, folder, kms, vault, arn, former, read, shred, shredInto, record, check }
}

await t.test('a keyring is destroyed: what is sealed under it opens no more, without a signal, and everything else does', async (t) => {
  const { folder, read, shred, run, record, check } = await rig(t)
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

  t.match(record('t7'), {
    key: 't7',
    type: 'local',
    uses: [{ bucket: '*', prefix: 't7/', as: 'key' }],
    destroyed: { keyIds: ids },
    failed: null
  })
  t.match(await check('t7'), { code: 0, out: new RegExp(`genuine\nrecord: +key t7, begun at .*: destroyed ${ids.join()}, final at`) })
  const written = readFileSync(`${folder}/t7.record`, 'utf8')
  writeFileSync(`${folder}/t7.record`, written.replace('"t7"', '"t9"'))
  t.match(await check('t7'), { code: 4, out: /^evidence: NOT GENUINE[^\n]*\n$/ })

  t.match(await shred('t7', '--confirm', 't7'), { code: 2, err: /could not be written/ }, 'a record is never overwritten')
  t.match(await run('keys', 'list', '--keyring', path), { code: 2 }, 'keys list takes no configuration')

  // What is said loudly: a copy brings it back, as any copy of a key does.
  await copyFile(`${folder}/backup.json`, path)
  t.equal(await read('t7/a'), 'KMS.KMSInvalidStateException', 'an instance that has seen it takes nothing back without a reload')
})

await t.test('a key of KMS is scheduled for deletion', async (t) => {
  const { kms, arn, former, read, shred, record, config } = await rig(t)
  const written = readFileSync(config, 'utf8')
  const document = JSON.parse(written) as { buckets: { '*': object } }
  document.buckets['*'] = { ...document.buckets['*'], s3ec: { read: ['v3'], keys: ['t8'] } }
  writeFileSync(config, JSON.stringify(document))
  t.match(
    await shred('t8'),
    { code: 0, out: /^ {2}key +buckets\.\*, names under "t8\/"\n {2}s3ec\.keys +buckets\.\*\n/m },
    'what clients encrypt under it is lost too'
  )
  writeFileSync(config, written)
  t.match(await shred('t8', '--days', '6', '--confirm', 't8'), { code: 2, err: /from 7 to 30/ })
  t.match(await shred('t8', '--days', '7', '--confirm', 't8'), { code: 0, out: arn })
  t.match(kms.calls.filter(({ operation }) => operation === 'ScheduleKeyDeletion').map(({ input }) => input), [
    { KeyId: arn, PendingWindowInDays: 7 },
    { KeyId: former, PendingWindowInDays: 7 }
  ])
  t.match(record('t8'), { destroyed: { keyIds: [arn, former] } })
  t.equal(await read('t8/a'), 'KMS.KMSInvalidStateException')
  t.equal(await read('t7/a'), 't7/a')
})

await t.test('a key of Transit is deleted with all its versions', async (t) => {
  const { vault, read, shred, record, check } = await rig(t)
  vault.rotate('t9')
  t.equal(await read('t9/a'), 't9/a')
  t.match(await shred('t9', '--confirm', 't9'), {
    code: 0,
    out: /Destroyed vault:vault\/transit\/t9:v1, vault:vault\/transit\/t9:v2;[\s\S]*SNAPSHOTS AND BACKUPS/
  })
  t.notOk(vault.keys.has('t9'))
  t.match(record('t9'), { type: 'vault-transit', destroyed: { keyIds: ['vault:vault/transit/t9:v1', 'vault:vault/transit/t9:v2'] } })
  t.match(await check('t9'), { code: 0, out: /destroyed vault:/ })
  t.equal(await read('t9/a'), 'KMS.NotFoundException')
  t.equal(await read('t7/a'), 't7/a')
})

await t.test('a Transit key that may not be deleted stays as it was, and one that does not go is not called destroyed', async (t) => {
  const { vault, read, shred, shredInto, record, check } = await rig(t)
  vault.misbehave = ({ method }, response) => {
    if (method === 'DELETE') refuseVault(response, 403, 'permission denied')
    return method === 'DELETE'
  }
  t.match(await shred('t9', '--confirm', 't9'), { code: 1, err: /Access Denied/ })
  t.equal(vault.keys.get('t9')?.flags['deletion_allowed'], false, 'put back')
  t.match(record('t9'), { destroyed: null, failed: { code: 'AccessDenied' } })
  t.match(await check('t9'), { code: 0, out: /ended at .*: NOT destroyed: .*\(AccessDenied\)/ })
  t.equal(await read('t9/a'), 't9/a')
  vault.misbehave = ({ method }, response) => {
    if (method === 'DELETE') response.writeHead(204).end()
    return method === 'DELETE'
  }
  t.match(await shredInto('again', 't9', '--confirm', 't9'), { code: 1, err: /but still has it/ })
  t.match(record('again'), { destroyed: null, failed: { code: 'InternalError' } })
  t.match(await check('again'), { code: 0, out: /: not known to be destroyed: .*still has it/ })
  vault.misbehave = ({ method }, response) => {
    if (method === 'DELETE') {
      vault.keys.delete('t9')
      response.destroy()
    }
    return method === 'DELETE'
  }
  t.equal((await shredInto('lost', 't9', '--confirm', 't9')).code, 1)
  t.match(await check('lost'), { code: 0, out: /: not known to be destroyed: / }, 'it was carried out, and the answer was lost')
})

await t.test('what was destroyed before a failure is in the record, and the rest is tried', async (t) => {
  const { kms, arn, former, read, shred, shredInto, record, check } = await rig(t)
  const refuse = (refused: (keyId: unknown) => boolean): void => {
    kms.misbehave = ({ operation, input }, response) => {
      if (operation !== 'ScheduleKeyDeletion' || !refused(input['KeyId'])) return false
      response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1' }).end('{"__type":"AccessDeniedException"}')
      return true
    }
  }
  refuse(() => true)
  t.match(await shred('t8', '--confirm', 't8'), { code: 1 })
  t.match(record('t8'), { key: 't8', destroyed: null, failed: { code: 'AccessDenied' } })
  t.equal(await read('t8/a'), 't8/a')
  refuse((keyId) => keyId === arn)
  t.match(await shredInto('again', 't8', '--confirm', 't8'), {
    code: 1,
    out: new RegExp(`Destroyed ${former}`),
    err: /the rest of the key/
  })
  t.match(record('again'), { destroyed: { keyIds: [former] }, failed: { code: 'AccessDenied' } })
  t.match(await check('again'), { code: 0, out: /destroyed IN PART arn:.*; the rest is not: .*\(AccessDenied\)/ })
  t.equal(await read('t8/a'), 't8/a')
})

await t.test('regression: a crash at any moment leaves a whole record, that says how far the command had come', async (t) => {
  const { kms, folder, run, shred, check } = await rig(t)
  kms.misbehave = ({ operation }) => {
    // The bytes that a crash now would leave. A second write in place would change them.
    if (operation === 'ScheduleKeyDeletion') linkSync(`${folder}/t8.record`, `${folder}/crash.record`)
    kms.misbehave = operation === 'ScheduleKeyDeletion' ? null : kms.misbehave
    return false
  }
  t.equal((await shred('t8', '--confirm', 't8')).code, 0)
  t.match(await check('crash'), { code: 0, out: /genuine\nrecord: .*without an end/ })
  t.match(await check('t8'), { code: 0, out: /: destroyed arn:/ })
  writeFileSync(`${folder}/t7.record`, 'something')
  t.match(await check('t7'), { code: 2, err: /there is no .*t7\.record\.evidence\.json/ })
  t.equal((await run('scan', '--bucket', 'bucket', '--report', `${folder}/scan.csv`)).code, 0)
  writeFileSync(`${folder}/t9.record`, readFileSync(`${folder}/scan.csv.evidence.json`))
  t.match(await check('t9'), { code: 4, out: /genuine\nreport: +NOT THE REPORT/ }, 'evidence of a report is no record by itself')
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
