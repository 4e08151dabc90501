// `sealgate encrypt`, `verify` and `decrypt` against the embedded store, which also misbehaves.
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import {
  CreateBucketCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectTaggingCommand,
  GetObjectAclCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { requestsOf } from '../../src/cli/estimate.ts'
import { MIN_PART_SIZE, paddedPartSize, streamSize } from '../../src/envelope/sizes.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { lockNames } from '../support/name-locks.ts'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import type { SeenRequest } from '../support/rules.ts'

const rig = await startRewrapRig(t)
const { store, s3, run, config, audit } = rig
const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
t.teardown(() => {
  direct.destroy()
})
const folder = dirname(config)
const bucketFor = async (Bucket: string, more = {}) => {
  await direct.send(new CreateBucketCommand({ Bucket, ...more }))
  return (Key: string, Body: string | Buffer, settings = {}) => direct.send(new PutObjectCommand({ Bucket, Key, Body, ...settings }))
}
const bytesOf = async (client: S3Client, Bucket: string, Key: string) => {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from(await Body!.transformToByteArray())
}
interface Summary {
  readonly rows: number
  readonly states: Record<string, { readonly objects: number }>
  readonly outcomes: Record<string, { readonly objects: number }>
}
const counted = async (...args: string[]) => {
  const { code, out, err } = await run(...args, '--json')
  const { states, outcomes } = JSON.parse(out === '' ? '{"states":{},"outcomes":{}}' : out) as Summary
  const numbers = (counts: Summary['states']) => Object.fromEntries(Object.entries(counts).map(([name, { objects }]) => [name, objects]))
  return { code, err, states: numbers(states), outcomes: numbers(outcomes) }
}

await t.test('encrypts what is plaintext, keeps what belongs to it, and leaves the rest', async (t) => {
  const put = await bucketFor('mixed')
  const big = randomBytes(300_000)
  await put('big', big, {
    Metadata: { colour: 'blue' },
    Tagging: 'a=1&b=2',
    ContentType: 'text/x',
    CacheControl: 'no-store',
    StorageClass: 'STANDARD_IA',
    ChecksumAlgorithm: 'SHA256',
    ACL: 'public-read'
  })
  await put('empty', '')
  await put('a b/ü+%41?', 'hostile name')
  await put('age', 'age-encryption.org/v1\n-> X25519 x')
  await put('v2', 'x', { Metadata: { 'x-amz-key-v2': 'k' } })
  await s3.send(new PutObjectCommand({ Bucket: 'mixed', Key: 'sealed', Body: 'sealed' }))
  const before = await direct.send(new HeadObjectCommand({ Bucket: 'mixed', Key: 'big', ChecksumMode: 'ENABLED' }))
  t.match(await counted('encrypt', '--bucket', 'mixed', '--dry-run'), { code: 0, outcomes: { 'would be encrypted': 3, 'encrypted before': 1 } })
  t.match((await run('encrypt', '--bucket', 'mixed', '--estimate')).out, /To encrypt: 3 objects, 300,012 bytes/)
  t.match(await counted('scan', '--bucket', 'mixed'), { states: { plaintext: 3 } }, 'nothing has been changed so far')
  const done = await counted('encrypt', '--bucket', 'mixed', '--verify')
  t.match(done, { code: 0, outcomes: { 'encrypted': 3, 'encrypted before': 1, 'left: encrypted-by-tool': 1, 'left: s3ec-v2': 1 } }, done.err)
  t.match(await counted('scan', '--bucket', 'mixed'), { code: 0, states: { 'sealed': 4, 'encrypted-by-tool': 1, 's3ec-v2': 1 } })
  t.same(await bytesOf(s3, 'mixed', 'big'), big)
  t.same(String(await bytesOf(s3, 'mixed', 'a b/ü+%41?')), 'hostile name')
  const after = await s3.send(new HeadObjectCommand({ Bucket: 'mixed', Key: 'big', ChecksumMode: 'ENABLED' }))
  for (const name of ['ContentType', 'CacheControl', 'Metadata', 'ChecksumSHA256', 'ContentLength', 'StorageClass'] as const) {
    t.same(after[name], before[name], name)
  }
  const { TagSet } = await direct.send(new GetObjectTaggingCommand({ Bucket: 'mixed', Key: 'big' }))
  t.same(TagSet, [{ Key: 'a', Value: '1' }, { Key: 'b', Value: '2' }])
  const { Grants } = await direct.send(new GetObjectAclCommand({ Bucket: 'mixed', Key: 'big' }))
  t.ok(Grants?.some(({ Grantee }) => Grantee?.URI?.endsWith('AllUsers')))
  t.match(await counted('encrypt', '--bucket', 'mixed'), { code: 0, outcomes: { 'encrypted before': 4 } }, 'a second run has nothing to do')
  const trail = (await readFile(audit, 'utf8')).split('\n').filter((line) => line.includes('"principal":"cli-encrypt"'))
  t.ok(trail.length > 0 && trail.every((line) => line.includes('"bucket":"mixed"') || !line.includes('"bucket"')), 'the audit trail names the command')
})

await t.test('--estimate: as many requests for each object as it says', async (t) => {
  const put = await bucketFor('measured')
  const sizes = [[false, 11], [true, 11], [false, 65_480], [false, 65_481], [true, 1_048_576], [false, 1_048_577], [true, 1_100_000]] as const
  for (const [verify, bytes] of sizes) {
    const Key = `k${String(verify)}${bytes}`
    await put(Key, Buffer.alloc(bytes))
    const { out } = await run('encrypt', '--bucket', 'measured', '--estimate', ...verify ? ['--verify'] : [])
    t.match(out, verify ? /9 reads and 1 write/ : /8 reads and 1 write.*assumed prices/s)
    const { reads, writes, readsToVerify } = requestsOf[bytes > 1_048_576 ? 'large' : bytes > 65_480 ? 'medium' : 'small']
    t.match(out, new RegExp(`Requests: about ${reads + (verify ? readsToVerify : 0) + writes}:`))
    const sent = { reads: 0, writes: 0 }
    const isOf = ({ bucket, key }: SeenRequest): boolean => (bucket === 'measured' && key === Key) || key.startsWith('command-uploads/')
    const counts = (request: SeenRequest): void => {
      const { method } = request
      if (isOf(request) && method !== 'DELETE') sent[method === 'PUT' || method === 'POST' ? 'writes' : 'reads'] += 1
    }
    const rule = store.rules.add({ when: { test: (request) => (counts(request), false) }, fault: { type: 'refuse' } })
    t.match(await counted('encrypt', '--bucket', 'measured', '--prefix', Key, ...verify ? ['--verify'] : []), { code: 0, outcomes: { encrypted: 1 } })
    rule.remove()
    t.strictSame(sent, { reads: reads + (verify ? readsToVerify : 0), writes })
  }
})

await t.test('the policy of the served gateway is not touched, and verify and decrypt take it from there', async (t) => {
  await t.rejects(bytesOf(s3, 'mixed', 'age'), { name: 'SealgatePlaintextRefused' })
  t.match(await counted('verify', '--bucket', 'mixed', '--deep', '--prefix', 'b'), { code: 0, outcomes: { verified: 1 } })
  t.match(await counted('verify', '--bucket', 'mixed', '--deep'), { code: 3, outcomes: { 'verified': 4, 'not-sealed': 2 } })
  t.match(await counted('verify', '--bucket', 'mixed', '--since', '1h', '--sample', '100%'), { code: 3, outcomes: { verified: 4 } })
  t.equal((await run('verify', '--bucket', 'mixed', '--sample', '0%')).code, 2)
  await direct.send(new CreateBucketCommand({ Bucket: 'out' }))
  t.equal((await run('decrypt', '--bucket', 'mixed', '--to', 'out')).code, 2, 'an encrypted bucket gets no plaintext')
})

await t.test('decrypt gives everything back, and goes on where it was stopped', async (t) => {
  await rig.reload({ buckets: { '*': { encryption: 'on', key: 'main' }, 'out': { encryption: 'off' } } })
  t.equal((await run('decrypt', '--bucket', 'mixed', '--to', 'absent')).code, 2)
  const first = await counted('decrypt', '--bucket', 'mixed', '--to', 'out')
  t.match(first, { code: 0, outcomes: { decrypted: 4, copied: 2 } }, first.err)
  const sealed = await s3.send(new HeadObjectCommand({ Bucket: 'mixed', Key: 'big', ChecksumMode: 'ENABLED' }))
  const plain = await direct.send(new HeadObjectCommand({ Bucket: 'out', Key: 'big', ChecksumMode: 'ENABLED' }))
  for (const name of ['ContentType', 'CacheControl', 'Metadata', 'ChecksumSHA256', 'ContentLength', 'StorageClass'] as const) {
    t.same(plain[name], sealed[name], name)
  }
  for (const key of ['big', 'empty', 'sealed', 'a b/ü+%41?']) t.same(await bytesOf(direct, 'out', key), await bytesOf(s3, 'mixed', key), key)
  t.match((await direct.send(new GetObjectTaggingCommand({ Bucket: 'out', Key: 'big' }))).TagSet, [{ Key: 'a' }, { Key: 'b' }])
  t.match(await counted('decrypt', '--bucket', 'mixed', '--to', 'out'), { code: 0, outcomes: { 'done before': 6 } })
  // Bytes and not dates decide: another body of the same size, that seems older than the copy.
  await s3.send(new PutObjectCommand({ Bucket: 'mixed', Key: 'sealed', Body: 'SEALED' }))
  const old = { 'last-modified': 'Fri, 02 Jan 2026 03:04:05 GMT' }
  store.rules.add({ when: { bucket: 'mixed', key: 'sealed', method: 'HEAD' }, times: 99, fault: { type: 'headers', set: old } })
  t.match(await counted('decrypt', '--bucket', 'mixed', '--to', 'out'), { code: 0, outcomes: { 'decrypted': 1, 'done before': 5 } })
  store.rules.clear()
  t.equal(String(await bytesOf(direct, 'out', 'sealed')), 'SEALED')
})

await t.test('verify --deep names what is wrong', async (t) => {
  const put = await bucketFor('faulty')
  for (let i = 0; i < 6; i += 1) await s3.send(new PutObjectCommand({ Bucket: 'faulty', Key: `k${i}`, Body: randomBytes(200_000) }))
  await s3.send(new PutObjectCommand({ Bucket: 'faulty', Key: 'long', Body: randomBytes(600_000) }))
  const raw = async (key: string) => {
    const { Body, Metadata } = await direct.send(new GetObjectCommand({ Bucket: 'faulty', Key: key }))
    return { body: Buffer.from(await Body!.transformToByteArray()), Metadata }
  }
  const [cut, one, two, envelope] = [await raw('k1'), await raw('k2'), await raw('k3'), await raw('k4')]
  for (const key of ['k0', 'long']) {
    const { body, Metadata } = await raw(key)
    body[150_000]! ^= 1
    await put(key, body, { Metadata })
  }
  await put('k1', cut.body.subarray(0, -1000), { Metadata: cut.Metadata })
  await put('k2', two.body, { Metadata: one.Metadata })
  await put('k3', two.body, { Metadata: envelope.Metadata })
  const shallow = await counted('verify', '--bucket', 'faulty')
  t.match(shallow, { code: 4, outcomes: { verified: 5, mismatch: 1, unreadable: 1 } })
  const deep = await counted('verify', '--bucket', 'faulty', '--deep', '--report', 'deep.jsonl')
  t.match(deep, { code: 4, outcomes: { verified: 2, mismatch: 4, unreadable: 1 } }, deep.err)
  const lines = (await readFile(join(folder, 'deep.jsonl'), 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, string>)
  const said = Object.fromEntries(lines.map(({ key, verdict, fault, detail }) => [key, [verdict, fault, detail].join(': ')]))
  t.match(said, {
    k0: /mismatch: bytes-altered: .*GET answers SealgateIntegrityError/,
    long: /mismatch: bytes-altered: .*breaks off after \d+ of 600000 bytes/,
    k1: /mismatch: truncated: .* 1000 bytes less/,
    k2: /mismatch: manifest-altered: /,
    k3: /unreadable: other-name: /,
    k4: 'verified: : '
  })
})

await t.test('every fault has its own name', async (t) => {
  const put = await bucketFor('named')
  await direct.send(new PutBucketVersioningCommand({ Bucket: 'named', VersioningConfiguration: { Status: 'Enabled' } }))
  const stored = async (Key: string) => {
    const { Body, Metadata } = await direct.send(new GetObjectCommand({ Bucket: 'named', Key }))
    return { body: Buffer.from(await Body!.transformToByteArray()), Metadata: Metadata! }
  }
  await s3.send(new PutObjectCommand({ Bucket: 'named', Key: 'donor', Body: randomBytes(1000) }))
  const donor = await stored('donor')
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket: 'named', Key: 'parts' }))
  const Parts = []
  for (const PartNumber of [1, 2]) {
    const { ETag } = await s3.send(
      new UploadPartCommand({ Bucket: 'named', Key: 'parts', UploadId, PartNumber, Body: Buffer.alloc(MIN_PART_SIZE, PartNumber) })
    )
    Parts.push({ ETag, PartNumber })
  }
  await s3.send(new CompleteMultipartUploadCommand({ Bucket: 'named', Key: 'parts', UploadId, MultipartUpload: { Parts } }))
  const many = await stored('parts')
  const part = paddedPartSize(MIN_PART_SIZE)
  const flipped = (body: Buffer, at: number) => {
    const copy = Buffer.from(body)
    copy[at < 0 ? copy.length + at : at]! ^= 1
    return copy
  }
  type Stored = Awaited<ReturnType<typeof stored>>
  const text = (metadata: Stored['Metadata'], at: number) => {
    const envelope = Buffer.from(metadata['sealgate']!, 'base64url')
    return { ...metadata, sealgate: flipped(envelope, at).toString('base64url') }
  }
  const singles: Record<string, (one: Stored) => Partial<Stored>> = {
    'envelope-incomplete': ({ Metadata: { sealgate } }) => ({ Metadata: { sealgate: sealgate! } }),
    'envelope-altered': ({ Metadata }) => ({ Metadata: { ...Metadata, sealgate: Metadata['sealgate']!.slice(0, 40) } }),
    'other-bucket': ({ Metadata }) => ({ Metadata: text(Metadata, 5) }),
    'other-name': () => ({ Metadata: donor.Metadata }),
    'wrapped-key': ({ Metadata }) => ({ Metadata: text(Metadata, 5 + 'named'.length + 20) }),
    'key-version-missing': ({ Metadata }) => ({ Metadata: { ...Metadata, 'sealgate-key': `${Metadata['sealgate-key']!}9` } }),
    'not-sealed': ({ body }) => ({ body, Metadata: {} }),
    'key-unknown': ({ Metadata }) => ({ Metadata: { ...Metadata, 'sealgate-key': 'local:other:1' } }),
    'truncated': ({ body }) => ({ body: body.subarray(0, -1) }),
    'extended': ({ body }) => ({ body: Buffer.concat([body, Buffer.alloc(7)]) }),
    'stream-swapped': () => ({ body: donor.body }),
    'bytes-altered': ({ body }) => ({ body: flipped(body, 500) }),
    'padding-altered': ({ body }) => ({ body: flipped(body, streamSize(1000) + 5) }),
    'end-altered': ({ body }) => ({ body: flipped(body, -5) }),
    'manifest-altered': ({ body }) => ({ body: flipped(body, -20) })
  }
  for (const [key, change] of Object.entries(singles)) {
    await s3.send(new PutObjectCommand({ Bucket: 'named', Key: key, Body: randomBytes(1000) }))
    const one = await stored(key)
    const { body, Metadata } = { ...one, ...change(one) }
    await put(key, body, { Metadata })
  }
  // The parts of one object, as versions of it: the newest first in the report.
  const [head, middle, end] = [many.body.subarray(0, part), many.body.subarray(part, 2 * part), many.body.subarray(2 * part)]
  const changed = [Buffer.concat([head, middle]), Buffer.concat([middle, end]), Buffer.concat([middle, head, end]), many.body.subarray(0, 500)]
  for (const body of changed) await put('parts', body, { Metadata: many.Metadata })
  await direct.send(new PutBucketVersioningCommand({ Bucket: 'named', VersioningConfiguration: { Status: 'Suspended' } }))
  const deep = await counted('verify', '--bucket', 'named', '--deep', '--versions', '--concurrency', '1', '--report', 'named.jsonl')
  t.notMatch(deep.err, /level|Integrity/, 'what the gateway found is told in the report alone')
  const lines = (await readFile(join(folder, 'named.jsonl'), 'utf8')).trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, string>)
  t.strictSame(lines.filter(({ key }) => key === 'parts').map(({ fault }) => fault), ['size-altered', 'stream-swapped', 'parts-altered', 'end-altered', null])
  const verdicts = { 'key-version-missing': 'key-unavailable', 'not-sealed': 'not-sealed' }
  for (const fault of Object.keys(singles)) {
    t.match(lines.find(({ key }) => key === fault), {
      fault,
      detail: /./,
      verdict: Object.entries(verdicts).find(([name]) => name === fault)?.[1] ?? /mismatch|unreadable/
    })
  }
  t.match(lines.find(({ key }) => key === 'key-version-missing')?.['detail'], /key main does not have local:test:\S+9$/, 'the version is named')
  t.match(lines.find(({ key }) => key === 'donor'), { verdict: 'verified', fault: null, detail: '' })
})

await t.test('versions: older plaintext is counted, and removed only when asked, never a locked one', async (t) => {
  const put = await bucketFor('kept', { ObjectLockEnabledForBucket: true })
  await put('k', 'first plaintext')
  await put('k', 'second plaintext')
  await put('k-longer', 'another name')
  const { VersionId } = await put('held', 'held plaintext')
  await direct.send(new PutObjectLegalHoldCommand({ Bucket: 'kept', Key: 'held', VersionId, LegalHold: { Status: 'ON' } }))
  const { out, code } = await run('encrypt', '--bucket', 'kept')
  t.match(out, /at least 2 older versions are still readable as plaintext/)
  t.equal(code, 3, 'the locked one is left')
  t.match(await counted('scan', '--bucket', 'kept', '--versions'), { states: { sealed: 2, plaintext: 4 } })
  t.match((await run('encrypt', '--bucket', 'kept', '--purge-plaintext-versions')).out, /Plaintext versions removed: 3/)
  const { Versions } = await direct.send(new ListObjectVersionsCommand({ Bucket: 'kept' }))
  t.same(Versions?.map(({ Key }) => Key), ['held', 'k', 'k-longer'])
  t.equal(String(await bytesOf(s3, 'kept', 'k')), 'second plaintext')
})

await t.test('a store that shows no lock in a HEAD refuses to remove a version: it is counted as locked', async (t) => {
  const put = await bucketFor('silent', { ObjectLockEnabledForBucket: true })
  const { VersionId } = await put('k', 'first plaintext')
  await direct.send(new PutObjectLegalHoldCommand({ Bucket: 'silent', Key: 'k', VersionId, LegalHold: { Status: 'ON' } }))
  const until = new Date(Date.now() + 3_600_000)
  await put('k', 'second plaintext', { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: until })
  await put('k', 'third plaintext')
  const hidden = { 'x-amz-object-lock-legal-hold': null, 'x-amz-object-lock-mode': null, 'x-amz-object-lock-retain-until-date': null }
  store.rules.add({ when: { bucket: 'silent', method: 'HEAD' }, times: Number.POSITIVE_INFINITY, fault: { type: 'headers', set: hidden } })
  const { code, outcomes } = await counted('encrypt', '--bucket', 'silent', '--purge-plaintext-versions', '--report', 'silent.jsonl')
  store.rules.clear()
  t.match({ code, outcomes }, { code: 0, outcomes: { encrypted: 1 } })
  t.match(await readFile(join(folder, 'silent.jsonl'), 'utf8'), /plaintext versions removed: 1; locked plaintext versions left: 2/)
  t.equal((await direct.send(new ListObjectVersionsCommand({ Bucket: 'silent' }))).Versions?.length, 3)
  store.rules.add({ when: { bucket: 'silent', method: 'DELETE' }, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  await put('k', 'fourth plaintext')
  t.equal((await counted('encrypt', '--bucket', 'silent', '--purge-plaintext-versions')).code, 1, 'a right that is missing is a failure')
  store.rules.clear()
})

await t.test('versions suspended: the version null is replaced, and older ones are purged', async (t) => {
  const put = await bucketFor('suspended')
  const keep = (Status: 'Enabled' | 'Suspended') => direct.send(new PutBucketVersioningCommand({ Bucket: 'suspended', VersioningConfiguration: { Status } }))
  await put('before', 'plaintext of before')
  await keep('Enabled')
  await put('k', 'first plaintext')
  await put('k', 'second plaintext')
  await keep('Suspended')
  await put('k', 'third plaintext')
  await put('only', 'plaintext without versions')
  t.match(await counted('encrypt', '--bucket', 'suspended'), { code: 0, outcomes: { encrypted: 3 } })
  t.match(await counted('scan', '--bucket', 'suspended', '--versions'), { code: 3, states: { sealed: 3, plaintext: 2 } })
  t.match(await run('encrypt', '--bucket', 'suspended', '--purge-plaintext-versions'), { code: 0, out: /Plaintext versions removed: 2/ })
  t.match(await counted('scan', '--bucket', 'suspended', '--versions'), { code: 0, states: { sealed: 3 } })
  for (const [key, body] of [['k', 'third plaintext'], ['before', 'plaintext of before'], ['only', 'plaintext without versions']] as const) {
    t.equal(String(await bytesOf(s3, 'suspended', key)), body)
  }
})

await t.test('objects under another key come under the bucket\'s', async (t) => {
  await bucketFor('moved')
  await s3.send(new PutObjectCommand({ Bucket: 'moved', Key: 'k', Body: 'x', Metadata: { m: '1' } }))
  const { keys, buckets } = JSON.parse(await readFile(config, 'utf8')) as { keys: Record<string, unknown>; buckets: object }
  const second = { type: 'local', keyring: join(folder, 'second.json') }
  await createKeyring(second.keyring, 'second', new Date())
  await rig.reload({ keys: { ...keys, second }, buckets: { ...buckets, moved: { encryption: 'on', key: 'second', openKeys: ['main'] } } })
  t.match(await counted('encrypt', '--bucket', 'moved'), { code: 0, outcomes: { 'encrypted before': 1 } })
  const done = await counted('encrypt', '--bucket', 'moved', '--from', 'other-key', '--verify')
  t.match(done, { code: 0, outcomes: { 're-encrypted': 1 } }, done.err)
  const { Metadata } = await direct.send(new HeadObjectCommand({ Bucket: 'moved', Key: 'k' }))
  t.match(Metadata?.['sealgate-key'], /second/)
  t.match(await s3.send(new HeadObjectCommand({ Bucket: 'moved', Key: 'k' })), { Metadata: { m: '1' } })
  t.equal((await run('encrypt', '--bucket', 'moved', '--from', 's3ec')).code, 2)
})

await t.test('a store that lies, forgets, or is written to at the same time', async (t) => {
  const put = await bucketFor('hostile')
  const at = (key: string, method: string) => ({ bucket: 'hostile', key, method })
  const encrypt = async (key: string) => {
    const done = await counted('encrypt', '--bucket', 'hostile', '--prefix', key, '--verify', '--report', `${key}.jsonl`)
    store.rules.clear()
    return { ...done, report: await readFile(join(folder, `${key}.jsonl`), 'utf8') }
  }
  await t.test('acknowledged, and not done', async (t) => {
    await put('undone', 'plain')
    store.rules.add({ when: at('undone', 'PUT'), times: 99, fault: { type: 'answer', status: 200, headers: [['ETag', '"00"']] } })
    const { code, states, report } = await encrypt('undone')
    t.match({ code, states }, { code: 1, states: { failed: 1 } })
    t.match(report, /acknowledged the encrypted object and still shows the old one/)
    t.equal(String(await bytesOf(direct, 'hostile', 'undone')), 'plain')
  })
  await t.test('regression: a store that locks the name of a conditional write, and of an object that is read', async (t) => {
    const body = randomBytes(1_100_000)
    await put('locked-name', body)
    const locks = lockNames(store, 'hostile', { 'locked-name': body.length })
    t.match(await encrypt('locked-name'), { code: 0, outcomes: { encrypted: 1 } })
    t.strictSame([locks.refused, locks.reads], [[], ['locked-name']])
    t.ok(body.equals(await bytesOf(s3, 'hostile', 'locked-name')))
  })
  await t.test('done, and the answer lost', async (t) => {
    await put('lost', 'plain')
    store.rules.add({ when: at('lost', 'PUT'), fault: { type: 'lost-answer', status: 503, code: 'SlowDown' } })
    t.match(await encrypt('lost'), { code: 0, outcomes: { encrypted: 1 } })
    t.equal(String(await bytesOf(s3, 'hostile', 'lost')), 'plain')
  })
  await t.test('HEADs that are answered late: the old object for some time, and for ever', async (t) => {
    for (const [key, times, code] of [['late', 2, 0], ['stale', 99, 1]] as const) {
      await put(key, 'plain')
      const head = await direct.send(new HeadObjectCommand({ Bucket: 'hostile', Key: key }))
      let written = false
      store.rules.add({ when: { ...at(key, 'PUT'), test: () => (written = true, false) }, fault: { type: 'refuse' } })
      store.rules.add({
        when: { ...at(key, 'HEAD'), test: () => written },
        times,
        fault: {
          type: 'headers',
          set: {
            'etag': head.ETag!,
            'last-modified': head.LastModified!.toUTCString(),
            'content-length': '5',
            'x-amz-meta-sealgate': null,
            'x-amz-meta-sealgate-key': null
          }
        }
      })
      const done = await encrypt(key)
      t.equal(done.code, code, `${key}: ${done.report}`)
      t.match(done.states, code === 0 ? { sealed: 1 } : { failed: 1 }, 'nothing counts that the store does not show')
      t.equal(String(await bytesOf(s3, 'hostile', key)), 'plain')
    }
  })
  await t.test('an object that breaks off when it is read back, and one that breaks off on its way out', async (t) => {
    await put('broken', Buffer.alloc(200_000, 1))
    let written = false
    store.rules.add({ when: { ...at('broken', 'PUT'), test: () => (written = true, false) }, fault: { type: 'refuse' } })
    store.rules.add({
      when: { ...at('broken', 'GET'), test: ({ headers, query }) => written && !headers.has('range') && !query.has('acl') && !query.has('tagging') },
      times: 99,
      fault: { type: 'flip', offset: 150_000 }
    })
    const done = await encrypt('broken')
    t.match(done, { code: 1, states: { failed: 1 }, report: /bytes-altered: an authentication tag is wrong/ }, 'it does not count')
    const stored = await direct.send(new GetObjectCommand({ Bucket: 'hostile', Key: 'broken' }))
    const body = Buffer.from(await stored.Body!.transformToByteArray())
    body[150_000]! ^= 1
    await put('broken', body, { Metadata: stored.Metadata })
    await put('whole', 'plain')
    const { err, outcomes } = await counted('decrypt', '--bucket', 'hostile', '--to', 'out', '--filter', 'name=*ole')
    t.match(outcomes, { copied: 1 }, err)
    t.match(await counted('decrypt', '--bucket', 'hostile', '--to', 'out', '--prefix', 'broken'), {
      code: 1,
      err: /"broken": SealgateIntegrityError: bytes-altered/
    })
  })
  await t.test('written by a client between reading and writing: the new object is encrypted', async (t) => {
    await put('raced', 'old')
    store.rules.add({ when: at('raced', 'PUT'), fault: { type: 'late', until: () => put('raced', 'new') } })
    t.match(await encrypt('raced'), { code: 0, outcomes: { encrypted: 1 } })
    t.equal(String(await bytesOf(s3, 'hostile', 'raced')), 'new')
  })
  await t.test('tags lost by the store are written again', async (t) => {
    await put('tagged', 'plain', { Tagging: 'a=1' })
    let written = false
    const afterWrite = (): boolean => written
    store.rules.add({
      when: { bucket: 'hostile', key: 'tagged', test: ({ method }) => method === 'PUT' && !(written = true) },
      fault: { type: 'refuse' }
    })
    store.rules.add({
      when: { ...at('tagged', 'HEAD'), test: afterWrite },
      fault: { type: 'late', until: () => direct.send(new DeleteObjectTaggingCommand({ Bucket: 'hostile', Key: 'tagged' })) }
    })
    t.match(await encrypt('tagged'), { code: 0, outcomes: { encrypted: 1 } })
    t.match((await direct.send(new GetObjectTaggingCommand({ Bucket: 'hostile', Key: 'tagged' }))).TagSet, [{ Key: 'a', Value: '1' }])
  })
  await t.test('bytes altered by the store on the way do not become an object', async (t) => {
    await put('flipped', Buffer.alloc(100_000, 7))
    store.rules.add({
      when: { ...at('flipped', 'GET'), test: ({ headers }) => headers.get('range') === 'bytes=0-99999' },
      times: 99,
      fault: { type: 'flip', offset: 5 }
    })
    t.match(await encrypt('flipped'), { code: 1, states: { failed: 1 } })
    t.match(await counted('scan', '--bucket', 'hostile', '--prefix', 'flipped'), { states: { plaintext: 1 } })
  })
})
