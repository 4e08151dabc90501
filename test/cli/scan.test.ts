// `sealgate scan` over a bucket with every state that the embedded store can hold.
import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import {
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { bucketRecordHash } from '../../src/envelope/bucket-record.ts'
import { uploadHash } from '../../src/envelope/upload-records.ts'
import { uploadRecordName } from '../../src/store-client/state-names.ts'
import { noteName } from '../../src/store-client/upload-notes.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import { runCli } from '../support/run-cli.ts'
import { write } from '../support/s3ec-writer.ts'

const rig = await startRewrapRig(t)
const { store, s3, run, config } = rig
const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
t.teardown(() => {
  direct.destroy()
})
const put = (Key: string, Body: string | Buffer, more = {}) => direct.send(new PutObjectCommand({ Bucket: 'bucket', Key, Body, ...more }))
const through = (Key: string, Body: string, more = {}) => s3.send(new PutObjectCommand({ Bucket: 'bucket', Key, Body, ...more }))
const folder = dirname(config)

await t.test('every state is told from the others, and reported', async (t) => {
  await through('sealed', 'x'.repeat(100_000))
  await through('sealed-empty/', '')
  const customer = createHash('sha256').update('k').digest()
  await through('customer', 'x', {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: customer.toString('base64'),
    SSECustomerKeyMD5: createHash('md5').update(customer).digest('base64')
  })
  await put('plain', 'plain text')
  await put('plain-empty', '')
  await put('=cmd|"', 'formula')
  await put('age', 'age-encryption.org/v1\n-> X25519 x')
  await put('rclone', 'RCLONE\0\0'.padEnd(100, 'x'))
  await put('pgp', Buffer.from(`8c0d04090302${'07'.repeat(9)}d21b01${'07'.repeat(26)}`, 'hex'))
  await put(`repo/data/ab/${'a'.repeat(64)}`, 'restic')
  await put('logs/2026-01-02-03-04-05-0123456789ABCDEF', `${'a'.repeat(64)} bucket [02/Jan/2026`)
  await put('logs/2026-01-02-03-04-05-0123456789ABCDE0', 'not a log')
  const [plaintext, aes] = [Buffer.from('seven b'), randomBytes(32)]
  const v1 = await write(plaintext, { version: 1, wrap: 'AES' }, { aes })
  const unnoted = await write(plaintext, { version: 1, wrap: 'AES', noted: false }, { aes })
  const v2 = await write(plaintext, { version: 2, wrap: 'kms+context' }, {})
  const v3 = await write(plaintext, { version: 3, wrap: 'AES/GCM' }, { aes })
  for (const [key, { body, metadata }] of Object.entries({ v1, v2, v3, 'v1-unnoted': unnoted })) await put(key, body, { Metadata: metadata })
  await put('v3-incomplete', 'x', { Metadata: { 'x-amz-3': 'k', 'x-amz-c': '115' } })
  await put('v2-altered', v2.body.subarray(1), { Metadata: v2.metadata })
  await put('both', 'x', { Metadata: { 'x-amz-3': 'k', 'x-amz-key-v2': 'k' } })
  await put('half', 'x', { Metadata: { 'sealgate-key': 'local:main:1' } })
  await put('garbage', 'x', { Metadata: { 'sealgate-key': 'local:main:1', 'sealgate': 'AAAA' } })
  await direct.send(new CopyObjectCommand({ Bucket: 'bucket', Key: 'moved', CopySource: 'bucket/sealed' }))
  const { code, out, err } = await run('scan', '--bucket', 'bucket', '--report', 'scan.jsonl', '--json')
  t.equal(code, 4, err)
  const lines = (await readFile(join(folder, 'scan.jsonl'), 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
  const stateOf = Object.fromEntries(lines.map(({ key, state, detail, size }) => [key, [state, size, detail]]))
  t.match(stateOf, {
    'sealed': ['sealed', 100_000, ''],
    'sealed-empty/': ['sealed', 0, ''],
    'customer': ['sse-c', 1, /client/],
    'plain': ['plaintext', 10, ''],
    'plain-empty': ['plaintext', 0, ''],
    'age': ['encrypted-by-tool', 33, 'age'],
    'rclone': ['encrypted-by-tool', 100, 'rclone crypt'],
    'pgp': ['encrypted-by-tool', 44, 'OpenPGP'],
    'logs/2026-01-02-03-04-05-0123456789ABCDEF': ['store-file', 84, 'an access log'],
    'logs/2026-01-02-03-04-05-0123456789ABCDE0': ['plaintext', 9, ''],
    'v1': ['s3ec-v1', 7, ''],
    'v1-unnoted': ['s3ec-v1', null, ''],
    'v2': ['s3ec-v2', 7, ''],
    'v3': ['s3ec-v3', 7, ''],
    'v3-incomplete': ['s3ec-v3', null, /an algorithm that the format does not have/],
    'v2-altered': ['s3ec-v2', null, /not the one noted/],
    'both': ['damaged', null, /two versions/],
    'half': ['damaged', null, /missing/],
    'garbage': ['damaged', null, /does not parse/],
    'moved': ['sealed-elsewhere', null, /moved or swapped/]
  })
  t.equal(lines.length, 22)
  const summary = JSON.parse(out) as { states: Record<string, { objects: number; examples: string[] }>; complete: boolean; rows: number }
  t.match(summary, { complete: true, rows: 22, states: { 'sealed': { objects: 2 }, 'plaintext': { objects: 4 }, 'damaged': { objects: 3 } } })
})

await t.test('an object of the S3 Encryption Client whose key is in a file beside it', async (t) => {
  const file = JSON.stringify({ 'x-amz-key-v2': 'k', 'x-amz-iv': 'i', 'x-amz-matdesc': '{}' })
  for (
    const [key, body] of [['beside/secret', randomBytes(600)], ['beside/small', randomBytes(40)], [
      'beside/text',
      'not encrypted at all, whatever lies beside it'
    ]] as const
  ) {
    await put(key, body)
    await put(`${key}.instruction`, file, { Metadata: { 'x-amz-crypto-instr-file': '' } })
  }
  await put('beside/alone', randomBytes(600))
  await run('scan', '--bucket', 'bucket', '--prefix', 'beside/', '--report', 'beside.jsonl')
  const lines = (await readFile(join(folder, 'beside.jsonl'), 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, string>)
  const stateOf = Object.fromEntries(lines.map(({ key, state }) => [key?.slice('beside/'.length), state]))
  t.strictSame(stateOf, {
    'alone': 'plaintext',
    'secret': 's3ec-v2',
    'secret.instruction': 's3ec-v2',
    'small': 's3ec-v2',
    'small.instruction': 's3ec-v2',
    'text': 'plaintext',
    'text.instruction': 's3ec-v2'
  })
  for (const { key } of lines) await direct.send(new DeleteObjectCommand({ Bucket: 'bucket', Key: key }))
})

await t.test('uploads that are not completed are told: their parts are in no listing', async (t) => {
  const begun = ['u/1', 'u/2', 'v/1'].map((Key) => direct.send(new CreateMultipartUploadCommand({ Bucket: 'bucket', Key })))
  await Promise.all(begun)
  const scan = async () => JSON.parse((await run('scan', '--bucket', 'bucket', '--prefix', 'u/', '--json')).out) as { unfinishedUploads: object }
  t.strictSame((await scan()).unfinishedUploads, { uploads: 2, more: false, sealed: 0, noted: 0, empty: 2, plaintext: 0, unknown: 0 })
  const part = (client: S3Client, Key: string, UploadId: string | undefined) =>
    client.send(new UploadPartCommand({ Bucket: 'bucket', Key, UploadId, PartNumber: 1, Body: 'x' }))
  const sealed = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'bucket', Key: 'u/sealed ü' }))
  await part(s3, 'u/sealed ü', sealed.UploadId)
  const of = async (Key: string) => (await direct.send(new CreateMultipartUploadCommand({ Bucket: 'bucket', Key }))).UploadId ?? ''
  await part(direct, 'u/past', await of('u/past'))
  const noted = { bucket: 'bucket', key: 'u/noted', uploadId: await of('u/noted') }
  await direct.send(new PutObjectCommand({ Bucket: 'sealgate-state', Key: noteName(noted), Body: '{}' }))
  // The store can put the record of one upload under another, or make one up: then nothing is known.
  const forged = { bucket: 'bucket', key: 'u/forged', uploadId: await of('u/forged') }
  const nameOf = ({ bucket, key, uploadId }: typeof forged) => uploadRecordName(uploadHash({ realm: 'test', bucket, objectKey: key }, uploadId))
  const CopySource = `sealgate-state/${nameOf({ bucket: 'bucket', key: 'u/sealed ü', uploadId: sealed.UploadId ?? '' })}`
  await direct.send(new CopyObjectCommand({ Bucket: 'sealgate-state', Key: nameOf(forged), CopySource }))
  t.strictSame((await scan()).unfinishedUploads, { uploads: 6, more: false, sealed: 1, noted: 1, empty: 2, plaintext: 1, unknown: 1 })
  const { out, code } = await run('scan', '--bucket', 'bucket', '--prefix', 'u/')
  t.match(out, /not completed: 6: 1 sealed, 1 of the gateway or a command itself, 2 without parts, 1 begun past the gateway, so plaintext, 1 of which/)
  t.equal(code, 3, 'there is plaintext, although no object is')
  const denied = store.rules.add({ when: { bucket: 'sealgate-state' }, times: 99, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  t.match((await scan()).unfinishedUploads, { uploads: 6, unknown: 6, plaintext: 0 })
  denied.remove()
  const rule = store.rules.add({ when: { bucket: 'bucket', query: { uploads: true } }, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  t.equal((await scan()).unfinishedUploads, null, 'not known is not none')
  rule.remove()
})

await t.test('reports of the other kinds: nothing in a name runs', async (t) => {
  t.equal((await run('scan', '--bucket', 'bucket', '--report', 'scan.csv')).code, 4)
  const csv = await readFile(join(folder, 'scan.csv'), 'utf8')
  t.match(csv, /^key,versionId,state,/)
  t.match(csv, `\r\n"'=cmd|""",`)
  t.equal((await run('scan', '--bucket', 'bucket', '--report', 'scan.html')).code, 4)
  const html = await readFile(join(folder, 'scan.html'), 'utf8')
  t.match(html, '=cmd|&#34;')
  t.notMatch(html, /<script/)
})

await t.test('exit codes, filters, shards and lists of names', async (t) => {
  const states = async (...args: string[]) => {
    const { code, out } = await run('scan', '--bucket', 'bucket', '--json', ...args)
    const { rows } = JSON.parse(out) as { rows: number }
    return [code, rows] as const
  }
  t.same(await states('--prefix', 'sealed'), [0, 2])
  t.same(await states('--prefix', 'plain'), [3, 2])
  t.same(await states('--filter', 'size>50000'), [4, 2])
  t.same(await states('--filter', 'name=pl*,size<1'), [3, 1])
  t.same(await states('--filter', 'age>1h'), [0, 0])
  const shards = await Promise.all([1, 2, 3].map(async (i) => (await states('--shard', `${i}/3`))[1]))
  t.equal(shards.reduce((sum, rows) => sum + rows), 22)
  t.ok(shards.every((rows) => rows > 0))
  for (const wrong of [['--shard', '4/3'], ['--filter', 'size=1'], ['--bandwidth', '0'], ['--report', 'x.pdf'], ['--rate', 'x']]) {
    t.equal((await run('scan', '--bucket', 'bucket', ...wrong)).code, 2, wrong.join(' '))
  }
})

await t.test('a HEAD that is answered with 400 is SSE-C of the store only if a GET says so', async (t) => {
  await direct.send(new CreateBucketCommand({ Bucket: 'closed' }))
  await direct.send(new PutObjectCommand({ Bucket: 'closed', Key: 'k', Body: 'x' }))
  const scan = async (code: string, message: string) => {
    store.rules.add({ when: { bucket: 'closed', key: 'k', method: 'HEAD' }, times: 9, fault: { type: 'error', status: 400, code } })
    store.rules.add({ when: { bucket: 'closed', key: 'k', method: 'GET' }, times: 9, fault: { type: 'error', status: 400, code, message } })
    const ran = await run('scan', '--bucket', 'closed', '--prefix', 'k', '--report', 'closed.jsonl', '--json')
    store.rules.clear()
    return [ran.code, await readFile(join(folder, 'closed.jsonl'), 'utf8')] as const
  }
  const ofS3 = 'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.'
  const ofRadosgw = 'Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.'
  t.match(await scan('InvalidRequest', ofS3), [0, /"sse-c"/])
  t.match(await scan('InvalidArgument', ofRadosgw), [0, /"sse-c"/])
  t.match(await scan('KeyTooLongError', 'The key is too long.'), [1, /"failed".*KeyTooLongError: The store answers KeyTooLongError: The key/])
  t.match(await scan('InvalidRequest', 'Anything else.'), [1, /"failed".*InvalidRequest/])
})

await t.test('versions and delete markers', async (t) => {
  await direct.send(new CreateBucketCommand({ Bucket: 'kept' }))
  await direct.send(new PutBucketVersioningCommand({ Bucket: 'kept', VersioningConfiguration: { Status: 'Enabled' } }))
  await direct.send(new PutObjectCommand({ Bucket: 'kept', Key: 'k', Body: 'old plaintext' }))
  await s3.send(new PutObjectCommand({ Bucket: 'kept', Key: 'k', Body: 'new' }))
  await s3.send(new PutObjectCommand({ Bucket: 'kept', Key: 'gone', Body: 'new' }))
  await s3.send(new DeleteObjectCommand({ Bucket: 'kept', Key: 'gone' }))
  t.equal((await run('scan', '--bucket', 'kept')).code, 0)
  const { code, out } = await run('scan', '--bucket', 'kept', '--versions', '--json')
  t.equal(code, 3)
  t.match(JSON.parse(out), { states: { 'sealed': { objects: 2 }, 'plaintext': { objects: 1, examples: ['k'] }, 'delete-marker': { objects: 1 } } })
})

await t.test('an inventory stands for a listing, and must be of this bucket', async (t) => {
  await direct.send(new CreateBucketCommand({ Bucket: 'reports' }))
  const file = gzipSync('"bucket","sealed"\n"bucket","plain"\n"bucket","deleted-since"\n')
  const manifest = (sourceBucket: string): string =>
    JSON.stringify({
      sourceBucket,
      fileFormat: 'CSV',
      fileSchema: 'Bucket, Key',
      files: [{ key: 'data/1.csv.gz', MD5checksum: createHash('md5').update(file).digest('hex') }]
    })
  const keep = (Key: string, Body: string | Buffer) => direct.send(new PutObjectCommand({ Bucket: 'reports', Key, Body }))
  await keep('data/1.csv.gz', file)
  await keep('manifest.json', manifest('bucket'))
  await keep('other.json', manifest('other'))
  const { code, out } = await run('scan', '--bucket', 'bucket', '--json', '--inventory', 's3://reports/manifest.json')
  t.equal(code, 3)
  t.match(JSON.parse(out), { rows: 3, gone: 1, states: { sealed: { objects: 1 }, plaintext: { objects: 1 } } })
  t.equal((await run('scan', '--bucket', 'bucket', '--inventory', 's3://reports/other.json')).code, 2)
  t.equal((await run('scan', '--bucket', 'bucket', '--inventory', 's3://reports/missing.json')).code, 1)
  t.equal((await run('scan', '--bucket', 'bucket', '--inventory', 'manifest.json')).code, 2)
})

await t.test('a run that is stopped goes on by its ledger, and finds what needs attention again', async (t) => {
  const seen = new Set<string>()
  let [stop, stopAt] = [(): void => undefined, 17]
  const heads = store.rules.add({
    when: {
      method: 'HEAD',
      bucket: 'bucket',
      test: ({ key }) => {
        // Also the bucket itself is asked.
        if (key !== '') seen.add(key)
        // Among those before are some of each kind.
        if (seen.size === stopAt) stop()
        return false
      }
    },
    fault: { type: 'refuse' }
  })
  const scan = async (...args: string[]) => {
    seen.clear()
    const { code, out, err } = await runCli(['scan', '--config', config, '--bucket', 'bucket', '--json', '--concurrency', '2', ...args], folder, {
      onSignal: (signal, action) => {
        if (signal === 'SIGTERM') stop = action
      }
    })
    return {
      code,
      err,
      ...JSON.parse(out === '' ? '{}' : out) as { rows: number; skipped: number; complete: boolean; states: Record<string, { objects: number }> }
    }
  }
  const first = await scan('--ledger', 'ledger', '--report', 'stopped.csv')
  t.match(first, { code: 5, complete: false, err: /Stopped after 1\d rows/ })
  const report = await readFile(join(folder, 'stopped.csv'), 'utf8')
  const names = report.trimEnd().split('\r\n').slice(1).map((line) => line.split(',')[0] ?? '')
  t.equal(names.length, Object.values(first.states).reduce((sum, { objects }) => sum + objects, 0), 'the report has every object that was examined')
  t.ok(report.endsWith('\r\n'))
  const plain = names.filter((name) => /^[a-z]/.test(name))
  t.strictSame(plain, plain.toSorted(), 'in the order of the listing')
  t.match(JSON.parse(await readFile(join(folder, 'stopped.csv.evidence.json'), 'utf8')), { evidence: { complete: false } }, 'and is marked as interrupted')
  t.equal((await run('report', 'check', '--report', 'stopped.csv')).code, 0)
  const evidence = first.states
  t.equal((await run('scan', '--bucket', 'bucket', '--ledger', 'ledger')).code, 2, 'a new run is no continuation')
  t.match(await run('scan', '--bucket', 'kept', '--ledger', 'ledger', '--resume'), { code: 2, err: /another bucket/ })
  t.match(await run('verify', '--bucket', 'bucket', '--ledger', 'ledger', '--resume'), { code: 2, err: /another command/ })
  t.match(await run('encrypt', '--bucket', 'bucket', '--dry-run', '--ledger', 'new'), { code: 2, err: /nothing to note/ })
  t.match(await run('scan', '--bucket', 'bucket', '--resume'), { code: 2, err: /--resume needs --ledger/ })
  stopAt = Number.POSITIVE_INFINITY
  const sealed = evidence['sealed']?.objects ?? 0
  t.ok(sealed > 0)
  const rest = await scan('--ledger', 'ledger', '--resume')
  t.match(rest, { code: 4, complete: true, rows: 22, skipped: sealed, states: { plaintext: { objects: 4 }, damaged: { objects: 3 } } })
  t.equal(seen.size, 22 - sealed, 'nothing is asked about what is done')
  t.notOk(existsSync(join(folder, 'ledger')))
  heads.remove()
})

await t.test('a report is checked by its evidence: any change of either is found', async (t) => {
  const report = join(folder, 'scan.csv')
  const evidence = `${report}.evidence.json`
  const check = async () => (await run('report', 'check', '--report', report)).code
  const [text, signed] = [await readFile(report, 'utf8'), await readFile(evidence, 'utf8')]
  t.equal(await check(), 0)
  await writeFile(report, text.replace('plaintext', 'sealed'))
  t.equal(await check(), 4)
  await writeFile(report, text)
  // Other spellings of the same bytes: in the other alphabet, without padding, and with bits behind the last byte.
  const respelt = ['mac', 'wrappedKey'].flatMap((name) => {
    const value = new RegExp(`"${name}": "([^"]+)"`).exec(signed)?.[1] ?? ''
    const last = /[A-Za-z0-9+/](?==)/.exec(value)?.[0] ?? ''
    const url = value.replaceAll('/', '_').replaceAll('+', '-')
    const bits = last === '' ? value : value.replace(/.(?==)/, String.fromCharCode(last.charCodeAt(0) + 1))
    return [url, value.replaceAll('=', ''), ` ${value}`, bits].filter((other) => other !== value).map((other) => signed.replace(value, other))
  })
  t.ok(respelt.length >= 3)
  const flipped = signed.replace(/("mac": ")(.)/, (_, head: string, first: string) => head + (first === 'A' ? 'B' : 'A'))
  const changes = [signed.replace('"complete": true', '"complete": false'), signed.replace(/("objects": )(\d)/, '$19'), flipped, ...respelt]
  for (const changed of changes) {
    t.not(changed, signed)
    await writeFile(evidence, changed)
    t.equal(await check(), 4, changed)
  }
  // Made by somebody with a key of his own.
  const other = signed.replace(/("wrappedKey": ")(.{4})/, (_, head: string, first: string) => head + (first === 'AAAA' ? 'BBBB' : 'AAAA'))
  await writeFile(evidence, other)
  t.equal(await check(), 4)
  await writeFile(evidence, '{}')
  t.equal(await check(), 1)
  await writeFile(evidence, signed)
  t.equal(await check(), 0)
  t.equal((await run('report', 'check', '--report', join(folder, 'none.csv'))).code, 2)
  // A list without evidence in its place; so begins a run that is killed.
  t.equal((await run('keys', 'usage', '--bucket', 'bucket', '--report', report)).code, 0)
  t.notOk(existsSync(evidence), 'evidence of other bytes is not left beside it')
  t.match(await run('report', 'check', '--report', report), { code: 2, err: /there is no .*scan\.csv\.evidence\.json/ })
})

await t.test('the gateway shows the last scan of a whole bucket, and nothing that a store makes up', async (t) => {
  const shownWith = async (bucket: string): Promise<string[]> => {
    await rig.reload()
    for (let tries = 0; tries < 200; tries += 1) {
      await setTimeout(20)
      const lines = rig.gateway.gateway.metrics().split('\n').filter((line) => /^sealgate_(objects|scan_age_seconds)\{/.test(line))
      if (lines.some((line) => line.includes(`"${bucket}"`))) return lines
    }
    return []
  }
  await run('scan', '--bucket', 'bucket', '--prefix', 'plain')
  t.equal((await run('scan', '--bucket', 'bucket')).code, 4)
  const lines = await shownWith('bucket')
  t.ok(lines.includes('sealgate_objects{bucket="bucket",state="plaintext"} 4'), lines.join('\n'))
  t.ok(lines.some((line) => line.startsWith('sealgate_scan_age_seconds{bucket="bucket"}')))
  // Records under the names of others, and bytes that are none.
  const { Contents: records = [] } = await direct.send(new ListObjectsV2Command({ Bucket: 'sealgate-state', Prefix: 'scans/' }))
  const mine = records.map(({ Key }) => Key ?? '').find((key) => key.endsWith('/bucket')) ?? ''
  const { Body } = await direct.send(new GetObjectCommand({ Bucket: 'sealgate-state', Key: mine }))
  const bytes = await Body!.transformToByteArray()
  const place = (bucket: string) => `scans/${bucketRecordHash({ realm: 'test', bucket }).toString('hex')}/${bucket}`
  for (const [key, body] of [[place('moved'), bytes], [place('junk'), Buffer.from('junk')], ['scans/x/bucket', bytes]] as const) {
    await direct.send(new PutObjectCommand({ Bucket: 'sealgate-state', Key: key, Body: body }))
  }
  t.equal((await run('scan', '--bucket', 'reports')).code, 3)
  const after = await shownWith('reports')
  t.strictSame(new Set(after.map((line) => /bucket="([^"]*)"/.exec(line)?.[1])), new Set(['bucket', 'kept', 'reports']))
})
