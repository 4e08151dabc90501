import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import {
  CreateBucketCommand,
  GetBucketEncryptionCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutBucketEncryptionCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import type { AuditEvent } from '../../src/keys/types.ts'
import { createKeyring, editKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import { runCli } from '../support/run-cli.ts'

const Bucket = 'bucket'
const customer = randomBytes(32)
const ssec = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customer.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(customer).digest('base64')
}

async function bodyOf(s3: S3Client, Key: string, options: object = {}): Promise<Buffer> {
  const got = await s3.send(new GetObjectCommand({ Bucket, Key, ...options }))
  return Buffer.from(await got.Body!.transformToByteArray())
}

await t.test('after a rotation every object comes under the new version, with all it has', async (t) => {
  const rig = await startRewrapRig(t)
  const { s3, store, run } = rig
  const bodies = new Map([...Array(12).keys()].map((i) => [`o/${i} ü+%&?`, randomBytes(i * 15_000)]))
  for (const [Key, Body] of bodies) await s3.send(new PutObjectCommand({ Bucket, Key, Body }))
  await s3.send(
    new PutObjectCommand({
      Bucket,
      Key: 'rich',
      Body: 'rich',
      ContentType: 'text/x-rich',
      CacheControl: 'max-age=1',
      ContentDisposition: 'inline',
      ContentEncoding: 'x-a',
      ContentLanguage: 'de',
      Expires: new Date('2030-01-01T00:00:00Z'),
      Metadata: { colour: 'blue', empty: '' },
      Tagging: 'a=1&b=2%203',
      ACL: 'public-read',
      StorageClass: 'STANDARD_IA',
      WebsiteRedirectLocation: '/elsewhere',
      ChecksumAlgorithm: 'SHA256',
      ServerSideEncryption: 'AES256'
    })
  )
  await s3.send(new PutObjectCommand({ Bucket, Key: 'customer', Body: 'mine', ...ssec }))
  await store.object(Bucket, 'plain').set({ body: Buffer.from('plain') })
  await store.object(Bucket, 'archived').set({ body: Buffer.from('x') })
  const before = await rig.currentKeyId()
  const rich = await s3.send(new HeadObjectCommand({ Bucket, Key: 'rich', ChecksumMode: 'ENABLED' }))
  await rig.rotate()
  const current = await rig.currentKeyId()
  t.not(before, current)

  const dry = await run('rewrap', '--bucket', Bucket, '--dry-run')
  t.match(dry, { code: 0, out: /would re-wrap 13 objects/ })
  t.ok(store.keys(Bucket).filter((key) => store.object(Bucket, key).metadata['sealgate-key'] === current).length === 0, 'a dry run changes nothing')

  store.requests.length = 0
  const ran = await run('rewrap', '--bucket', Bucket)
  t.match(ran, { code: 0, out: /re-wrapped 13 objects/ })
  t.match(ran.out, `13 objects to ${current}`)
  t.match(ran.out, /1 objects left: under a customer's key/)
  t.match(ran.out, /2 objects left: not encrypted/)
  const moved = store.requests.filter(({ bucket }) => bucket === Bucket).reduce(
    (sum, { method, bodyLength, responseLength }) => sum + bodyLength + (method === 'HEAD' ? 0 : responseLength ?? 0),
    0
  )
  t.comment(
    `13 objects of ${[...bodies.values()].reduce((sum, { length }) => sum + length, 0).toLocaleString('en')} bytes re-wrapped, ${
      moved.toLocaleString('en')
    } bytes of documents moved`
  )
  t.ok(store.requests.every(({ method, bodyLength, query }) => method !== 'PUT' || bodyLength < 1000 || query.has('delete')), 'no body is sent')
  t.notOk(
    store.requests.some(({ method, bucket, key, query }) => method === 'GET' && bucket === Bucket && key !== '' && !query.has('acl') && !query.has('tagging')),
    'no body is read'
  )
  for (const request of store.requests.filter(({ method, bucket }) => method === 'PUT' && bucket === Bucket)) {
    t.ok(request.headers.has('if-match') && request.headers.has('x-amz-copy-source-if-match') && request.headers.has('x-amz-copy-source-if-unmodified-since'))
  }

  for (const [Key, Body] of bodies) {
    t.equal(store.object(Bucket, Key).metadata['sealgate-key'], current)
    t.ok(Body.equals(await bodyOf(s3, Key)))
  }
  t.same({ ...await s3.send(new HeadObjectCommand({ Bucket, Key: 'rich', ChecksumMode: 'ENABLED' })), LastModified: null, $metadata: null }, {
    ...rich,
    LastModified: null,
    $metadata: null
  })
  t.equal(rich.StorageClass, 'STANDARD_IA')
  t.same((await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'rich' }))).TagSet, [{ Key: 'a', Value: '1' }, { Key: 'b', Value: '2 3' }])
  t.match((await s3.send(new GetObjectAclCommand({ Bucket, Key: 'rich' }))).Grants, [{}, { Permission: 'READ' }])
  t.equal((await bodyOf(s3, 'customer', ssec)).toString(), 'mine')

  const again = await run('rewrap', '--bucket', Bucket)
  t.match(again, { code: 0, out: /re-wrapped 0 objects/ }, 'idempotent')
  const events = (await readFile(rig.audit, 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as AuditEvent)
  const rewraps = events.filter(({ action }) => action === 'rewrap')
  t.equal(rewraps.length, 13)
  t.match(rewraps[0], { principal: 'cli', operation: 'rewrap', bucket: Bucket, masterKeyId: current, outcome: 'ok', error: null })

  const usage = await run('keys', 'usage', '--bucket', Bucket)
  t.match(usage, { code: 0, out: new RegExp(`\\(not encrypted\\)  2 objects  6 bytes\n${current}  13 objects .*\nssec  1 objects`) })
  t.same(JSON.parse((await run('keys', 'usage', '--bucket', Bucket, '--prefix', 'rich', '--json')).out), [
    { prefix: null, keyId: current, objects: 1, bytes: 536, example: 'rich', key: 'main', opens: true }
  ])
  await s3.send(new PutObjectCommand({ Bucket, Key: 'later', Body: 'x' }))
  t.equal(store.object(Bucket, 'later').metadata['sealgate-key'], current)
})

await t.test('to another key, between kinds of keys, without KMS letting a bucket key out where both ends are KMS', async (t) => {
  const kms = await FakeKms.start(t)
  const [first, second, far] = [kms.addKey(), kms.addKey(), kms.addKey('us-east-2')]
  const folder = t.testdir({})
  await createKeyring(`${folder}/other.json`, 'other', new Date())
  process.env['AWS_ACCESS_KEY_ID'] = 'x'
  process.env['AWS_SECRET_ACCESS_KEY'] = 'y'
  const aws = (arn: string) => ({ type: 'aws-kms', arn, endpoint: kms.endpoint })
  const keys = { first: aws(first), second: aws(second), far: aws(far), other: { type: 'local', keyring: `${folder}/other.json` } }
  const rig = await startRewrapRig(t, { keys, buckets: { '*': { encryption: 'on', key: 'first', allowedKeys: ['second', 'far', 'other'] } } })
  const { s3, run, store } = rig
  // With and without a bucket key, with and without a context.
  for (let i = 0; i < 6; i += 1) {
    await s3.send(
      new PutObjectCommand({
        Bucket,
        Key: `k${i}`,
        Body: `body ${i}`,
        ServerSideEncryption: 'aws:kms',
        BucketKeyEnabled: i % 3 !== 0,
        ...i % 2 === 0 ? { SSEKMSEncryptionContext: Buffer.from('{"team":"blue"}').toString('base64') } : {}
      })
    )
  }
  const step = async (to: string, expected: string | RegExp, forbidden: readonly string[]): Promise<void> => {
    kms.calls.length = 0
    t.match(await run('rewrap', '--bucket', Bucket, '--to', to), { code: 0, out: /re-wrapped 6 objects/ }, to)
    for (const operation of forbidden) t.equal(kms.count(operation), 0, `${to}: no ${operation}`)
    t.match(store.object(Bucket, 'k0').metadata['sealgate-key'], expected)
    await rig.reload()
    for (let i = 0; i < 6; i += 1) t.equal((await bodyOf(s3, `k${i}`)).toString(), `body ${i}`)
    t.comment(`6 objects to ${to}: ${kms.calls.length} KMS calls`)
  }
  await step('second', second, ['GenerateDataKey', 'Encrypt'])
  await step('far', far, ['ReEncrypt'])
  await step('other', /^local:other:/, ['ReEncrypt', 'GenerateDataKey', 'Encrypt'])
  await step('first', first, ['ReEncrypt', 'Encrypt'])
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'k1' })), { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: first, BucketKeyEnabled: true })
  t.match(await run('rewrap', '--bucket', Bucket, '--to', 'nope'), { code: 2, err: /no key named nope/ })
  t.match(await run('rewrap', '--bucket', Bucket), { code: 0, out: /re-wrapped 0 objects/ }, 'without --to each stays with its key')
})

await t.test('versions, locks and archives', async (t) => {
  const rig = await startRewrapRig(t)
  const { s3, run, store } = rig
  await s3.send(new CreateBucketCommand({ Bucket: 'locks', ObjectLockEnabledForBucket: true }))
  for (let i = 0; i < 3; i += 1) await s3.send(new PutObjectCommand({ Bucket: 'locks', Key: 'v', Body: `version ${i}` }))
  await s3.send(new PutObjectCommand({ Bucket: 'locks', Key: 'held', Body: 'held' }))
  await s3.send(new PutObjectLegalHoldCommand({ Bucket: 'locks', Key: 'held', LegalHold: { Status: 'ON' } }))
  await s3.send(
    new PutObjectCommand({
      Bucket: 'locks',
      Key: 'retained',
      Body: 'held',
      ObjectLockMode: 'GOVERNANCE',
      ObjectLockRetainUntilDate: new Date(Date.now() + 3_600_000)
    })
  )
  await s3.send(new PutObjectCommand({ Bucket: 'locks', Key: 'cold', Body: 'cold' }))
  store.rules.add({ when: { method: 'HEAD', key: 'cold' }, times: Infinity, fault: { type: 'headers', set: { 'x-amz-storage-class': 'DEEP_ARCHIVE' } } })
  await rig.rotate()
  const ran = await run('rewrap', '--bucket', 'locks')
  t.match(ran, { code: 0, err: /locks keeps versions: every re-wrap adds one/ })
  for (const line of [/re-wrapped 1 objects/, /2 objects left: locked/, /1 objects left: archived/, /2 noncurrent versions keep their keys/]) {
    t.match(ran.out, line)
  }
  const versions = await s3.send(new ListObjectVersionsCommand({ Bucket: 'locks', Prefix: 'v' }))
  t.equal(versions.Versions?.length, 4)
  for (const { VersionId } of versions.Versions ?? []) {
    const got = await s3.send(new GetObjectCommand({ Bucket: 'locks', Key: 'v', VersionId }))
    t.match(await got.Body!.transformToString(), /^version [012]$/)
  }
  const usage = JSON.parse((await run('keys', 'usage', '--bucket', 'locks', '--versions', '--json')).out) as { objects: number }[]
  t.same(usage.map(({ objects }) => objects).sort(), [1, 6])
  t.equal(store.object('locks', 'v').metadata['sealgate-key'], await rig.currentKeyId())
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Suspended' } }))
  t.match(await run('keys', 'usage', '--bucket', 'missing'), { code: 1, err: /NoSuchBucket/ })
})

await t.test('the default encryption of a bucket, sealed in the state bucket, comes along', async (t) => {
  const rig = await startRewrapRig(t)
  const { s3 } = rig
  const byDefault = { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } }] }
  await s3.send(new PutBucketEncryptionCommand({ Bucket, ServerSideEncryptionConfiguration: byDefault }))
  const old = await rig.currentKeyId()
  await rig.rotate()
  t.match(await rig.run('rewrap', '--bucket', Bucket), { code: 0, err: /default encryption of the bucket has been re-wrapped/ })
  t.notMatch((await rig.run('rewrap', '--bucket', Bucket)).err, /default encryption/)
  await editKeyring(rig.gateway.keyring, (keyring) => keyring.withState(old.split(':')[2]!, 'disabled'))
  await rig.reload()
  t.match(await s3.send(new GetBucketEncryptionCommand({ Bucket })), { ServerSideEncryptionConfiguration: byDefault })
  t.match(await s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' })), { ServerSideEncryption: 'AES256' })
})

await t.test('as an action of the engine: lists of names, shards, reports with evidence, a ledger, and a signal', async (t) => {
  const rig = await startRewrapRig(t)
  const folder = dirname(rig.config)
  const keys = Array.from({ length: 20 }, (_, i) => `k${String(i).padStart(2, '0')}`)
  for (const Key of keys) await rig.s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
  await rig.rotate()
  const current = await rig.currentKeyId()
  await writeFile(join(folder, 'names'), 'k00\nk01\nabsent\n')
  const named = await rig.run('rewrap', '--bucket', Bucket, '--keys', 'names', '--report', 'r.jsonl', '--json')
  t.match(JSON.parse(named.out), { rows: 3, gone: 1, outcomes: { 're-wrapped': { objects: 2 } }, to: [{ keyId: current, objects: 2 }] }, named.err)
  const lines = (await readFile(join(folder, 'r.jsonl'), 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
  t.match(lines, [{ key: 'k00', keyId: current, outcome: 're-wrapped', state: null }, { key: 'k01' }])
  t.equal((await rig.run('report', 'check', '--report', 'r.jsonl')).code, 0)
  const sums = []
  for (const shard of ['1/3', '2/3', '3/3']) {
    sums.push(JSON.parse((await rig.run('rewrap', '--bucket', Bucket, '--shard', shard, '--dry-run', '--json')).out) as { rows: number })
  }
  t.equal(sums.reduce((sum, { rows }) => sum + rows, 0), 20)
  t.match(await rig.run('keys', 'usage', '--bucket', Bucket, '--filter', 'name=k0*'), { code: 0, out: new RegExp(`^${current}  2 objects`, 'm') })
  t.equal((await rig.run('rewrap', '--bucket', Bucket, '--keys', 'none')).code, 2)

  let stop = (): void => undefined
  let copies = 0
  const rule = rig.store.rules.add({
    when: { bucket: Bucket, method: 'PUT', test: () => ((copies += 1) === 5 && stop(), false) },
    fault: { type: 'refuse' }
  })
  const stopped = await runCli(['rewrap', '--config', rig.config, '--bucket', Bucket, '--concurrency', '1', '--ledger', 'ledger'], folder, {
    onSignal: (signal, action) => {
      if (signal === 'SIGTERM') stop = action
    }
  })
  t.match(stopped, { code: 5, err: /Stopped after \d rows/ })
  rule.remove()
  const rest = await rig.run('rewrap', '--bucket', Bucket, '--ledger', 'ledger', '--resume', '--json')
  t.match(rest, { code: 0 }, rest.err)
  t.match(JSON.parse((await rig.run('keys', 'usage', '--bucket', Bucket, '--json')).out), [{ keyId: current, objects: 20 }])
  const failing = rig.store.rules.add({
    when: { bucket: Bucket, method: 'HEAD', key: 'k03' },
    times: 99,
    fault: { type: 'error', status: 403, code: 'AccessDenied' }
  })
  t.match(await rig.run('keys', 'usage', '--bucket', Bucket), { code: 1, out: /19 objects/, err: /^"k03": Status403/ }, 'one that fails does not end the count')
  failing.remove()
})

await t.test('command lines that are not understood', async (t) => {
  const rig = await startRewrapRig(t)
  t.match(await rig.run('rewrap'), { code: 2, err: /--bucket NAME must be given/ })
  t.match(await rig.run('rewrap', '--bucket', 'sealgate-state'), { code: 2, err: /state bucket/ })
  for (const concurrency of ['0', '-1', 'x', '1001', '1.5']) {
    t.match(await rig.run('rewrap', '--bucket', Bucket, `--concurrency=${concurrency}`), { code: 2, err: /from 1 to 1000/ })
  }
  t.match(await rig.run('keys', 'usage'), { code: 2, err: /--bucket NAME must be given/ })
  t.match(await rig.run('rewrap', '--bucket', 'absent'), { code: 1, err: /NoSuchBucket/ })
})
