// `sealgate scan` and `encrypt --from s3ec` on objects of the S3 Encryption Client, those of the real clients among them.
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import t from 'tap'
import {
  CreateBucketCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client
} from '@aws-sdk/client-s3'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import { vectorKeys, vectors } from '../support/s3ec-vectors.ts'
import { withInstructionFile, write } from '../support/s3ec-writer.ts'

const kms = await FakeKms.start(t)
kms.addKnownKey(vectorKeys.kms.arn, vectorKeys.kms.secret)
const keys = {
  cloud: { type: 'aws-kms', arn: vectorKeys.kms.arn, endpoint: kms.endpoint, accessKeyId: 'a', secretAccessKey: 'b' },
  aes: { type: 's3ec-aes', masterKey: vectorKeys.aes.toString('base64') },
  second: { type: 's3ec-aes', masterKey: vectorKeys.aesSecond.toString('base64'), description: { name: 'second' } },
  rsa: { type: 's3ec-rsa', privateKey: vectorKeys.rsaPem }
}
const all = { read: ['v1', 'v1-rsa', 'v2', 'v2-legacy', 'v2-cbc', 'v3'], keys: Object.keys(keys), commitment: 'allow' }
const folder = await mkdtemp(join(tmpdir(), 'sealgate-s3ec-'))
t.teardown(() => rm(folder, { recursive: true }))
const keyring = join(folder, 'keyring.json')
await createKeyring(keyring, 'test', new Date())
const rig = await startRewrapRig(t, {
  keys: { main: { type: 'local', keyring }, ...keys },
  buckets: { '*': { key: 'main', s3ec: all }, 'narrow': { key: 'main', s3ec: { read: ['v3'], keys: ['aes'] } }, 'without': { key: 'main' } }
})
const { store, s3, run } = rig
const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
t.teardown(() => {
  direct.destroy()
})

const bucketFor = async (Bucket: string) => {
  await direct.send(new CreateBucketCommand({ Bucket }))
  return async (Key: string, Body: Buffer | string, Metadata: Readonly<Record<string, string>> = {}, more = {}): Promise<void> => {
    await direct.send(new PutObjectCommand({ Bucket, Key, Body, Metadata, ...more }))
  }
}
const namesIn = async (Bucket: string) => ((await direct.send(new ListObjectsV2Command({ Bucket }))).Contents ?? []).map(({ Key }) => Key)
const bytesOf = async (Bucket: string, Key: string): Promise<Buffer> => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from(await Body!.transformToByteArray())
}
const counted = async (...args: string[]) => {
  const { code, out, err } = await run(...args, '--json')
  const numbers = (counts: Record<string, { readonly objects: number }> = {}) =>
    Object.fromEntries(Object.entries(counts).map(([name, { objects }]) => [name, objects]))
  const { states, outcomes } = JSON.parse(out === '' ? '{}' : out) as Record<'states' | 'outcomes', Record<string, { readonly objects: number }>>
  return { code, err, states: numbers(states), outcomes: numbers(outcomes) }
}

await t.test('objects of every client become sealed ones, with what belongs to them', async (t) => {
  const put = await bucketFor('clients')
  // One size of each mode, by turns: all with instruction files, and some of the others.
  const chosen = vectors.filter(({ mode, plaintext }, i) =>
    /\+file$|^v3-kms$|^v1-cbc-kms|^v2-rsa$|\+described/.test(mode) && plaintext.length === [0, 17, 1000][Math.floor(i / 6) % 3]
  )
  for (const { key, body, metadata, files } of chosen) {
    await put(key, body, metadata, { Tagging: 'a=1', CacheControl: 'no-store' })
    for (const [suffix, file] of Object.entries(files)) await put(key + suffix, file, { 'x-amz-crypto-instr-file': '' })
  }
  t.match(await counted('encrypt', '--bucket', 'clients', '--from', 's3ec', '--dry-run'), { code: 0, outcomes: { 'would be encrypted': chosen.length } })
  const done = await counted('encrypt', '--bucket', 'clients', '--from', 's3ec', '--verify')
  t.equal(done.outcomes['encrypted'], chosen.length, JSON.stringify(done))
  t.strictSame((await namesIn('clients')).toSorted(), chosen.map(({ key }) => key).toSorted(), 'no instruction file is left')
  for (const { key, plaintext, metadata: { of = null } } of chosen) {
    t.ok((await bytesOf('clients', key)).equals(plaintext), key)
    const { Metadata, CacheControl, ETag } = await s3.send(new HeadObjectCommand({ Bucket: 'clients', Key: key }))
    t.strictSame([Metadata, CacheControl], [of === null ? {} : { of }, 'no-store'])
    t.notMatch(ETag, /-0/, 'the MD5 of what the client had')
    const { TagSet } = await s3.send(new GetObjectTaggingCommand({ Bucket: 'clients', Key: key }))
    t.strictSame(TagSet, [{ Key: 'a', Value: '1' }])
  }
  t.match(await counted('scan', '--bucket', 'clients'), { code: 0, states: { sealed: chosen.length } })
  t.match(await counted('encrypt', '--bucket', 'clients', '--from', 's3ec'), { code: 0, outcomes: { 'encrypted before': chosen.length } })
  const trail = (await readFile(rig.audit, 'utf8')).split('\n').filter((line) =>
    line.includes('"principal":"cli-encrypt"') && line.includes(vectorKeys.kms.arn)
  )
  t.ok(trail.length > 5, 'each use of the client\'s key is recorded')
})

await t.test('what does not verify stays, and so does what the bucket does not read', async (t) => {
  const put = await bucketFor('narrow')
  const writer = { aes: vectorKeys.aes }
  const right = await write(randomBytes(100), { version: 3, wrap: 'AES/GCM' }, writer)
  const older = await write(randomBytes(100), { version: 1, wrap: 'AES' }, writer)
  const wrong = Buffer.from(right.body)
  wrong[5] = (wrong[5] ?? 0) ^ 1
  await put('right', right.body, right.metadata)
  await put('wrong', wrong, right.metadata)
  await put('older', older.body, older.metadata)
  await put('plain', 'plaintext')
  await put('x.instruction', 'x', { 'x-amz-crypto-instr-file': '' })
  const done = await counted('encrypt', '--bucket', 'narrow', '--from', 's3ec')
  t.match(done, { code: 1, outcomes: { 'encrypted': 1, 'left: plaintext': 1, 'left: instruction file': 1 }, states: { failed: 2 } })
  t.match(await counted('scan', '--bucket', 'narrow'), { states: { 'sealed': 1, 's3ec-v3': 1, 's3ec-v1': 1, 's3ec-v2': 1, 'plaintext': 1 } })
  t.match(await counted('encrypt', '--bucket', 'narrow'), { outcomes: { 'encrypted': 1, 'left: s3ec-v3': 1, 'left: s3ec-v1': 1 } })
  // A file whose object was sealed by a run that was killed.
  await put('right.instruction', '{}', { 'x-amz-crypto-instr-file': '' })
  t.match(await counted('encrypt', '--bucket', 'narrow', '--from', 's3ec', '--assume-no-writers'), {
    outcomes: { 'removed: instruction file': 1, 'left: instruction file': 1 }
  })
  t.notOk((await namesIn('narrow')).includes('right.instruction'))
  await bucketFor('without')
  t.match(await run('encrypt', '--bucket', 'without', '--from', 's3ec'), { code: 2, err: /buckets\.without\.s3ec/ })
})

await t.test('an instruction file that is left over goes, one that an object may follow stays', async (t) => {
  const put = await bucketFor('over')
  const { file, object } = withInstructionFile(await write(Buffer.from('over'), { version: 2, wrap: 'AESWrap' }, { aes: vectorKeys.aes }))
  const marked = { 'x-amz-crypto-instr-file': '' }
  await put('k.instruction', file, marked)
  await s3.send(new PutObjectCommand({ Bucket: 'over', Key: 'k', Body: 'written through the gateway' }))
  await put('alone.instruction', file, marked)
  t.match(
    await counted('encrypt', '--bucket', 'over', '--from', 's3ec'),
    { outcomes: { 'left: instruction file': 2, 'encrypted before': 1 } },
    'they are young: an object may follow'
  )
  t.match(await counted('encrypt', '--bucket', 'over', '--from', 's3ec', '--assume-no-writers', '--dry-run'), { outcomes: { 'left: instruction file': 2 } })
  t.match(await counted('encrypt', '--bucket', 'over', '--from', 's3ec', '--assume-no-writers'), {
    outcomes: { 'removed: instruction file': 1, 'left: instruction file': 1 }
  })
  t.strictSame(await namesIn('over'), ['alone.instruction', 'k'])
  // A client that goes round the gateway writes the file first.
  await put('l', object.body, object.metadata)
  await put('l.instruction', file, marked)
  const next = Buffer.from(JSON.stringify({ ...JSON.parse(file.toString()) as object, 'x-amz-matdesc': '{ }' }))
  rig.store.rules.add({
    when: { method: 'PUT', bucket: 'over', key: 'l' },
    fault: { type: 'late', until: () => put('l.instruction', next, marked) }
  })
  t.match(await counted('encrypt', '--bucket', 'over', '--from', 's3ec'), { outcomes: { encrypted: 1 } })
  t.ok((await rig.store.object('over', 'l.instruction').body()).equals(next), 'that of the object that is being written')
})

await t.test('in a bucket that keeps versions instruction files stay: older versions need them', async (t) => {
  const put = await bucketFor('kept')
  await direct.send(new PutBucketVersioningCommand({ Bucket: 'kept', VersioningConfiguration: { Status: 'Enabled' } }))
  const { file, object } = withInstructionFile(await write(Buffer.from('kept'), { version: 2, wrap: 'AESWrap' }, { aes: vectorKeys.aes }))
  await put('k', object.body, object.metadata)
  await put('k.instruction', file, { 'x-amz-crypto-instr-file': '' })
  t.match(await counted('encrypt', '--bucket', 'kept', '--from', 's3ec', '--verify'), { code: 0, outcomes: { 'encrypted': 1, 'left: instruction file': 1 } })
  t.equal(String(await bytesOf('kept', 'k')), 'kept')
  t.strictSame(await namesIn('kept'), ['k', 'k.instruction'])
})
