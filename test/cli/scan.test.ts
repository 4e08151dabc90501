// `sealgate scan` over a bucket with every state that the embedded store can hold.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { CopyObjectCommand, CreateBucketCommand, DeleteObjectCommand, PutBucketVersioningCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { startRewrapRig } from '../support/rewrap-rig.ts'

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
  await put('pgp', Buffer.from([0x85, 0x01, 0x0c, 0x03, ...Array.from({ length: 40 }, () => 7)]))
  await put(`repo/data/ab/${'a'.repeat(64)}`, 'restic')
  await put('logs/2026-01-02-03-04-05-0123456789ABCDEF', `${'a'.repeat(64)} bucket [02/Jan/2026`)
  await put('logs/2026-01-02-03-04-05-0123456789ABCDE0', 'not a log')
  await put('v1', 'x', { Metadata: { 'x-amz-key': 'k', 'x-amz-iv': 'i' } })
  await put('v2', 'x', { Metadata: { 'x-amz-key-v2': 'k', 'x-amz-unencrypted-content-length': '7' } })
  await put('v3', 'x', { Metadata: { 'x-amz-3': 'k', 'x-amz-c': '115' } })
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
    'v1': ['s3ec-v1', null, ''],
    'v2': ['s3ec-v2', 7, ''],
    'v3': ['s3ec-v3', null, ''],
    'both': ['damaged', null, /several versions/],
    'half': ['damaged', null, /missing/],
    'garbage': ['damaged', null, /format/],
    'moved': ['sealed-elsewhere', null, /box/]
  })
  t.equal(lines.length, 19)
  const summary = JSON.parse(out) as { states: Record<string, { objects: number; examples: string[] }>; complete: boolean; rows: number }
  t.match(summary, { complete: true, rows: 19, states: { 'sealed': { objects: 2 }, 'plaintext': { objects: 4 }, 'damaged': { objects: 3 } } })
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
  t.equal(shards.reduce((sum, rows) => sum + rows), 19)
  t.ok(shards.every((rows) => rows > 0))
  for (const wrong of [['--shard', '4/3'], ['--filter', 'size=1'], ['--bandwidth', '0'], ['--report', 'x.pdf'], ['--rate', 'x']]) {
    t.equal((await run('scan', '--bucket', 'bucket', ...wrong)).code, 2, wrong.join(' '))
  }
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
