// Objects that `encrypt` and `decrypt` write in parts, with the sizes lowered from 5 GiB.
import { createHash, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client
} from '@aws-sdk/client-s3'
import { runDecrypt, runEncrypt } from '../../src/cli/existing-actions.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { existingValues, partsOf, putParts } from '../support/existing-data.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'

const MIB = 1024 * 1024
const sizes = { above: 6 * MIB, part: 5 * MIB }
const rig = await startRewrapRig(t, {
  buckets: { '*': { encryption: 'on', key: 'main' }, 'opaque': { encryption: 'on', key: 'main', etag: 'opaque' }, 'out': { encryption: 'off' } }
})
const { store, s3, config } = rig
const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
t.teardown(() => {
  direct.destroy()
})

interface Summary {
  readonly states: Record<string, { readonly objects: number }>
  readonly outcomes: Record<string, { readonly objects: number; readonly examples: readonly string[] }>
}
type Run = (platform: Parameters<typeof runEncrypt>[1]) => Promise<number>
/** The exit code, the counts by outcome, and what went to standard error. */
const counted = async (run: Run) => {
  let [out, err] = ['', '']
  const stdout = { write: (text: string) => (out += text) }
  const code = await run({ args: [], env: {}, cwd: dirname(config), onSignal: () => undefined, stdout, stderr: { write: (text: string) => (err += text) } })
  const { states, outcomes } = JSON.parse(out.split('\n')[0]!) as Summary
  return { code, err, states, outcomes: Object.fromEntries(Object.entries(outcomes).map(([name, { objects }]) => [name, objects])) }
}
const encrypt = (bucket: string, more = {}) => counted((platform) => runEncrypt({ ...existingValues(config, bucket), ...more }, platform, sizes))
const decrypt = (bucket: string) => counted((platform) => runDecrypt({ ...existingValues(config, bucket), to: 'out' }, platform, sizes))
const bytesOf = async (client: S3Client, Bucket: string, Key: string, VersionId?: string) =>
  Buffer.from(await (await client.send(new GetObjectCommand({ Bucket, Key, VersionId }))).Body!.transformToByteArray())
const uploadsIn = async (Bucket: string) => (await direct.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.length ?? 0

const settings = {
  Metadata: { colour: 'blue' },
  ContentType: 'text/x',
  CacheControl: 'no-store',
  Tagging: 'a=1&b=%C3%BC',
  StorageClass: 'STANDARD_IA',
  ACL: 'public-read'
} as const satisfies Partial<PutObjectCommandInput>
await direct.send(new CreateBucketCommand({ Bucket: 'large' }))
await direct.send(new CreateBucketCommand({ Bucket: 'out' }))
const body = randomBytes(11 * MIB + 5)

await t.test('a large object is sealed in parts, with everything that belongs to it', async (t) => {
  await direct.send(new PutObjectCommand({ Bucket: 'large', Key: 'a b/ü+%41?', Body: body, ChecksumAlgorithm: 'CRC64NVME', ...settings }))
  await putParts(direct, { Bucket: 'large', Key: 'parts', ...settings, ChecksumAlgorithm: 'SHA256' }, partsOf(body, 8 * MIB))
  const heads = (client: S3Client) =>
    Promise.all(['a b/ü+%41?', 'parts'].map((Key) => client.send(new HeadObjectCommand({ Bucket: 'large', Key, ChecksumMode: 'ENABLED' }))))
  const before = await heads(direct)
  const done = await encrypt('large', { verify: true })
  t.match(done, { code: 0, outcomes: { encrypted: 2 } }, done.err)
  for (const Key of ['a b/ü+%41?', 'parts']) {
    t.ok((await bytesOf(s3, 'large', Key)).equals(body), `${Key}: every byte`)
    const after = await s3.send(new HeadObjectCommand({ Bucket: 'large', Key, ChecksumMode: 'ENABLED' }))
    for (const name of ['ContentType', 'CacheControl', 'Metadata', 'ContentLength', 'StorageClass'] as const) {
      t.same(after[name], before[0]![name], `${Key}: ${name}`)
    }
    const { TagSet } = await direct.send(new GetObjectTaggingCommand({ Bucket: 'large', Key }))
    t.same(TagSet, [{ Key: 'a', Value: '1' }, { Key: 'b', Value: 'ü' }], `${Key}: tags`)
    const { Grants } = await direct.send(new GetObjectAclCommand({ Bucket: 'large', Key }))
    t.ok(Grants?.some(({ Grantee }) => Grantee?.URI?.endsWith('AllUsers')), `${Key}: grants`)
  }
  const after = await heads(s3)
  t.match([after[0]?.ETag, after[1]?.ETag], [/-3"$/, before[1]?.ETag], 'written in parts: those that it had')
  t.equal(after[0]?.ChecksumCRC64NVME, before[0]?.ChecksumCRC64NVME, 'the checksum of the whole')
  t.equal(after[1]?.ChecksumSHA256, before[1]?.ChecksumSHA256, 'the checksum of the checksums of its parts')
  t.ok(after[0]?.ChecksumCRC64NVME)
  t.match(after[1]?.ChecksumSHA256, /-2$/)
  t.match(await encrypt('large'), { code: 0, outcomes: { 'encrypted before': 2 } }, 'a second run has nothing to do')
  t.equal(await uploadsIn('large'), 0)
})

await t.test('decrypt gives it back in parts', async (t) => {
  const first = await decrypt('large')
  t.match(first, { code: 0, outcomes: { decrypted: 2 } }, first.err)
  for (const Key of ['a b/ü+%41?', 'parts']) {
    t.ok((await bytesOf(direct, 'out', Key)).equals(body), `${Key}: every byte`)
    const { Metadata, ContentType, CacheControl, StorageClass, ETag } = await direct.send(new HeadObjectCommand({ Bucket: 'out', Key }))
    const { Metadata: asked, ACL: _, Tagging: __, ...described } = settings
    t.match({ ContentType, CacheControl, StorageClass, ETag }, { ...described, ETag: /-3"$/ })
    t.same(Metadata, asked)
    t.same((await direct.send(new GetObjectTaggingCommand({ Bucket: 'out', Key }))).TagSet, [{ Key: 'a', Value: '1' }, { Key: 'b', Value: 'ü' }])
  }
  // Of one both sides state a CRC64NVME. Of the other neither MD5s nor checksums can be compared: the dates decide, in whole seconds.
  const date = (bucket: string, at: string) =>
    store.rules.add({ when: { bucket, method: 'HEAD' }, times: 99, fault: { type: 'headers', set: { 'last-modified': at } } })
  date('large', 'Fri, 02 Jan 2026 03:04:05 GMT')
  const target = date('out', 'Fri, 02 Jan 2026 03:04:06 GMT')
  t.match(await decrypt('large'), { code: 0, outcomes: { 'done before': 2 } })
  target.remove()
  date('out', 'Fri, 02 Jan 2026 03:04:05 GMT')
  t.match(await decrypt('large'), { code: 0, outcomes: { 'decrypted': 1, 'done before': 1 } }, 'a source of the same second may be newer')
  store.rules.clear()
})

await t.test('decrypt makes no more parts than the store of the target accepts', async (t) => {
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const upstream = { endpoint, region, accessKeyId, secretAccessKey, stateBucket: 'sealgate-state', realm: 'test' }
  const Key = 'parts'
  // 5 MiB are three parts. Of two parts, the first has whole MiB.
  for (const [maxParts, parts, first] of [[3, 3, 5 * MIB], [2, 2, 6 * MIB]] as const) {
    await direct.send(new DeleteObjectCommand({ Bucket: 'out', Key }))
    await rig.reload({ upstream: { ...upstream, maxParts } })
    const sent: string[] = []
    const rule = store.rules.add({
      when: {
        bucket: 'out',
        key: Key,
        method: 'PUT',
        test: (
          { query, headers }
        ) => (sent.push(`${query.get('partNumber') ?? ''}: ${headers.get('x-amz-decoded-content-length') ?? headers.get('content-length') ?? ''}`), false)
      },
      fault: { type: 'refuse' }
    })
    const done = await decrypt('large')
    rule.remove()
    t.match(done, { code: 0, outcomes: { decrypted: 1 } }, done.err)
    const sizes = Array.from({ length: parts }, (_, i) => `${i + 1}: ${Math.min(first, body.length - i * first)}`)
    t.strictSame(sent, sizes)
    t.match(await direct.send(new HeadObjectCommand({ Bucket: 'out', Key })), { ETag: new RegExp(`-${parts}"$`), ContentLength: body.length })
    t.ok(body.equals(await bytesOf(direct, 'out', Key)))
    t.equal(await uploadsIn('out'), 0)
  }
  await rig.reload()
})

await t.test('versions: the new one is in parts, the old one stays until it is purged', async (t) => {
  await direct.send(new CreateBucketCommand({ Bucket: 'kept' }))
  await direct.send(new PutBucketVersioningCommand({ Bucket: 'kept', VersioningConfiguration: { Status: 'Enabled' } }))
  const { VersionId } = await direct.send(new PutObjectCommand({ Bucket: 'kept', Key: 'k', Body: body }))
  t.match(await encrypt('kept', { verify: true }), { code: 0, outcomes: { encrypted: 1 } })
  t.ok((await bytesOf(direct, 'kept', 'k', VersionId)).equals(body))
  t.match(await encrypt('kept', { 'purge-plaintext-versions': true }), { code: 0, outcomes: { 'encrypted before': 1 } })
  const { Versions = [] } = await direct.send(new ListObjectVersionsCommand({ Bucket: 'kept' }))
  t.equal(Versions.length, 1)
  t.ok((await bytesOf(s3, 'kept', 'k')).equals(body))
})

await t.test('a client that writes while its parts are copied', async (t) => {
  const cases = {
    'before a part': { method: 'PUT', query: { partNumber: '2' } },
    'right before it is completed': { method: 'POST', query: { uploadId: true } }
  } as const
  for (const [label, when] of Object.entries(cases)) {
    const [Key, written] = [`raced ${label}`, randomBytes(7 * MIB)]
    await direct.send(new PutObjectCommand({ Bucket: 'large', Key, Body: body }))
    store.rules.add({
      when: { bucket: 'large', key: Key, ...when },
      fault: { type: 'late', until: () => direct.send(new PutObjectCommand({ Bucket: 'large', Key, Body: written })) }
    })
    const done = await encrypt('large', { prefix: Key })
    store.rules.clear()
    t.match(done, { code: 0, outcomes: { encrypted: 1 } }, `${label}: ${done.err}`)
    t.ok((await bytesOf(s3, 'large', Key)).equals(written), `${label}: what the client wrote`)
  }
  t.equal(await uploadsIn('large'), 0, 'nothing is left of the first attempts')
})

await t.test('bytes that the store alters on the way do not become an object', async (t) => {
  await direct.send(new CreateBucketCommand({ Bucket: 'opaque' }))
  await direct.send(new PutObjectCommand({ Bucket: 'large', Key: 'flipped whole', Body: body, ChecksumAlgorithm: 'CRC32C' }))
  await putParts(direct, { Bucket: 'opaque', Key: 'flipped sums', ChecksumAlgorithm: 'SHA256' }, partsOf(body, 5 * MIB))
  await putParts(direct, { Bucket: 'large', Key: 'flipped MD5s' }, partsOf(body, 5 * MIB))
  for (const Key of ['flipped whole', 'flipped sums', 'flipped MD5s']) {
    // Where the gateway shows no MD5s, the checksum is what proves it.
    const bucket = Key === 'flipped sums' ? 'opaque' : 'large'
    store.rules.add({
      when: { bucket, key: Key, method: 'GET', test: ({ headers }) => headers.get('range')?.startsWith('bytes=5242880-') === true },
      times: 99,
      fault: { type: 'flip', offset: 5 }
    })
    const done = await encrypt(bucket, { prefix: Key, report: 'flipped.jsonl' })
    store.rules.clear()
    t.match(done, { code: 1, states: { failed: { objects: 1 } } }, Key)
    t.match(await readFile(join(dirname(config), 'flipped.jsonl'), 'utf8'), Key === 'flipped MD5s' ? /not those of its ETag/ : /BadDigest/)
    const { Metadata } = await direct.send(new HeadObjectCommand({ Bucket: bucket, Key }))
    t.same(Metadata, {}, 'it is still the old one')
  }
  t.equal(await uploadsIn('large'), 0)
})

await t.test('a large object comes under another key with the metadata that is sealed in it', async (t) => {
  await direct.send(new CreateBucketCommand({ Bucket: 'moved' }))
  const { Metadata, ContentType, Tagging } = settings
  await s3.send(new PutObjectCommand({ Bucket: 'moved', Key: 'k', Body: body, ChecksumAlgorithm: 'CRC32', Metadata, ContentType, Tagging }))
  const { keys, buckets } = JSON.parse(await readFile(config, 'utf8')) as { keys: Record<string, unknown>; buckets: object }
  const second = { type: 'local', keyring: join(dirname(config), 'second.json') }
  await createKeyring(second.keyring, 'second', new Date())
  await rig.reload({ keys: { ...keys, second }, buckets: { ...buckets, moved: { encryption: 'on', key: 'second', openKeys: ['main'] } } })
  const before = await s3.send(new HeadObjectCommand({ Bucket: 'moved', Key: 'k', ChecksumMode: 'ENABLED' }))
  const done = await encrypt('moved', { from: 'other-key', verify: true })
  t.match(done, { code: 0, outcomes: { 're-encrypted': 1 } }, done.err)
  const after = await s3.send(new HeadObjectCommand({ Bucket: 'moved', Key: 'k', ChecksumMode: 'ENABLED' }))
  for (const name of ['ContentType', 'Metadata', 'ContentLength', 'ChecksumCRC32'] as const) t.same(after[name], before[name], name)
  t.same(after.Metadata, Metadata)
  t.match((await direct.send(new HeadObjectCommand({ Bucket: 'moved', Key: 'k' }))).Metadata?.['sealgate-key'], /second/)
  t.same((await direct.send(new GetObjectTaggingCommand({ Bucket: 'moved', Key: 'k' }))).TagSet, [{ Key: 'a', Value: '1' }, { Key: 'b', Value: 'ü' }])
  t.ok((await bytesOf(s3, 'moved', 'k')).equals(body))
  await rig.reload()
})

await t.test('a store that guards no completion: large objects are refused, and nothing is left of them', async (t) => {
  await direct.send(new PutObjectCommand({ Bucket: 'large', Key: 'unguarded', Body: body }))
  store.rules.add({
    when: { key: /^probe\//, method: 'POST', query: { uploadId: true }, test: ({ headers }) => headers.has('if-match') || headers.has('if-none-match') },
    times: 99,
    fault: { type: 'answer', status: 200, headers: [['ETag', '"00"']] }
  })
  t.match(await encrypt('large', { prefix: 'unguarded' }), { code: 1, states: { failed: { objects: 1 } } })
  t.match(await encrypt('large', { 'prefix': 'unguarded', 'assume-no-writers': true }), { code: 0, outcomes: { encrypted: 1 } })
  store.rules.clear()
  t.ok((await bytesOf(s3, 'large', 'unguarded')).equals(body))
  t.equal(createHash('sha256').update(await bytesOf(s3, 'large', 'parts')).digest('hex'), createHash('sha256').update(body).digest('hex'))
  t.equal(await uploadsIn('large'), 0)
})
