import { createHash, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutBucketAclCommand,
  PutObjectCommand,
  S3Client
} from '@aws-sdk/client-s3'
import { plaintextSize, storedSize } from '../../../src/envelope/sizes.ts'
import { byTurns } from '../../support/by-turns.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import { rawRequest } from '../../support/raw-client.ts'

const Bucket = 'objects'
const sizes = [0, 1, 100, 65479, 65480, 65481, 65535, 65536, 65537, 131040, 1_000_000]

/** Of the answer, whatever it is. */
async function statusOf(sent: Promise<{ $metadata: { httpStatusCode?: number | undefined } }>): Promise<number | undefined> {
  const { $metadata } = await sent.catch((error: unknown) => error as Awaited<typeof sent>)
  return $metadata.httpStatusCode
}

async function rig(t: Test, sections: Record<string, unknown> = {}) {
  const store = await startTestStore({ buckets: [Bucket, 'other'] })
  const gateway = await startTestGateway(store, { sections })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  return { store, gateway, s3: gateway.client() }
}

for (const etag of ['md5', 'opaque'] as const) {
  void t.test(`objects of every shape come back as they were written (${etag})`, async (t) => {
    const { store, s3 } = await rig(t, { buckets: { '*': { encryption: 'on', key: 'main', etag } } })
    const etags = new Map<string, string>()
    // What an ETag is depends on whether there is a body: opaque ones by turns.
    for (const size of sizes.filter((_, i) => byTurns(etag === 'md5' || i % 4 === 0))) {
      const Key = `size/${size}`
      const Body = randomBytes(size)
      const put = await s3.send(new PutObjectCommand({ Bucket, Key, Body, ContentType: 'text/x-test', Metadata: { colour: 'blue' } }))
      if (etag === 'md5') t.equal(put.ETag, `"${createHash('md5').update(Body).digest('hex')}"`)
      else t.match(put.ETag, /^"[0-9a-f]{32}-0"$/)
      etags.set(Key, put.ETag ?? '')
      const stored = await store.object(Bucket, Key).body()
      t.equal(stored.length, size === 0 ? 0 : storedSize(size), 'the size law')
      if (size >= 16) t.notOk(stored.includes(Body.subarray(0, 16)), 'no plaintext in the store')
      const got = await s3.send(new GetObjectCommand({ Bucket, Key }))
      t.ok(Body.equals(Buffer.from(await got.Body!.transformToByteArray())), `${size} bytes come back`)
      t.match(got, { ETag: put.ETag, ContentLength: size, ContentType: 'text/x-test', Metadata: { colour: 'blue' } })
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key }))
      t.match(head, { ETag: put.ETag, ContentLength: size, Metadata: { colour: 'blue' } })
      t.notOk(Object.keys(head.Metadata ?? {}).some((name) => name.startsWith('sealgate')), 'no metadata of ours')
    }
    const list = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'size/' }))
    t.same(new Map(list.Contents?.map((row) => [row.Key, row.ETag])), etags)
    for (const row of list.Contents ?? []) t.equal(row.Size, Number(row.Key?.slice(5)))
  })
}

void t.test('every kind of range is the slice of the original', async (t) => {
  const { s3 } = await rig(t)
  // The last bytes of the first two segments.
  const ends = [65_479, 130_999]
  let ranges = 0
  for (const size of [1, 65480, 65481, 200_000]) {
    const Body = randomBytes(size)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'ranges', Body }))
    const edges = [0, 1, 65479, 65480, 65481, 130_999, 131_000, 131_001, size - 1].filter((at) => at >= 0 && at < size)
    for (const [i, first] of edges.entries()) {
      for (const [j, last] of [...edges.filter((at) => at >= first), size + 10].entries()) {
        // A third of each row and each column, and every range that ends where a segment or the object does.
        if (!byTurns((2 * i + j) % 3 === 0 || ends.includes(last) || last === size - 1)) continue
        const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'ranges', Range: `bytes=${first}-${last}` }))
        const end = Math.min(last, size - 1)
        if (!Body.subarray(first, end + 1).equals(Buffer.from(await got.Body!.transformToByteArray()))) t.fail(`bytes=${first}-${last} of ${size}`)
        if (got.ContentRange !== `bytes ${first}-${end}/${size}`) t.fail(`bytes=${first}-${last} of ${size}: wrong Content-Range`)
        ranges += 1
      }
      const open = await s3.send(new GetObjectCommand({ Bucket, Key: 'ranges', Range: `bytes=${first}-` }))
      t.ok(Body.subarray(first).equals(Buffer.from(await open.Body!.transformToByteArray())))
      const suffix = await s3.send(new GetObjectCommand({ Bucket, Key: 'ranges', Range: `bytes=-${first + 1}` }))
      t.ok(Body.subarray(size - first - 1).equals(Buffer.from(await suffix.Body!.transformToByteArray())))
    }
    const unsatisfiable = await s3.send(new GetObjectCommand({ Bucket, Key: 'ranges', Range: `bytes=${size}-` })).catch((error: unknown) => error)
    t.match(unsatisfiable, { name: 'InvalidRange', ActualObjectSize: String(size), $metadata: { httpStatusCode: 416 } })
  }
  t.ok(ranges >= 59)
  t.comment(`${ranges} ranges equal the slice of the original`)
})

void t.test('copies keep the bytes, open only under their own name, and are bound to what was read', async (t) => {
  const { store, s3 } = await rig(t)
  const Body = randomBytes(300_000)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body, ContentType: 'text/x-a', Metadata: { colour: 'red' }, Tagging: 'k=v' }))
  store.requests.length = 0
  await s3.send(new CopyObjectCommand({ Bucket: 'other', Key: 'b ü+%', CopySource: `${Bucket}/a` }))
  t.ok(store.requests.every((request) => (request.body?.length ?? 0) < 1000), 'no body moves through the gateway')
  const copy = await s3.send(new GetObjectCommand({ Bucket: 'other', Key: 'b ü+%' }))
  t.ok(Body.equals(Buffer.from(await copy.Body!.transformToByteArray())))
  t.match(copy, { ContentType: 'text/x-a', Metadata: { colour: 'red' }, TagCount: 1 })
  await t.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'a', CopySource: `${Bucket}/a` })), { name: 'InvalidRequest' })
  await s3.send(
    new CopyObjectCommand({
      Bucket,
      Key: 'a',
      CopySource: `${Bucket}/a`,
      MetadataDirective: 'REPLACE',
      Metadata: { colour: 'green' },
      ContentType: 'text/x-b'
    })
  )
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'a' })), { Metadata: { colour: 'green' }, ContentType: 'text/x-b', ContentLength: 300_000 })
  await t.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource: `${Bucket}/a`, CopySourceIfMatch: '"other"' })), { name: 'PreconditionFailed' })
})

void t.test('conditional writes and deletes are enforced on what the client sees', async (t) => {
  const { s3 } = await rig(t)
  const put = (options: object) => s3.send(new PutObjectCommand({ Bucket, Key: 'cond', Body: randomBytes(100_000), ...options }))
  const { ETag } = await put({ IfNoneMatch: '*' })
  await t.rejects(put({ IfNoneMatch: '*' }), { name: 'PreconditionFailed' })
  await t.rejects(put({ IfMatch: '"00000000000000000000000000000000"' }), { name: 'PreconditionFailed' })
  const second = await put({ IfMatch: ETag })
  await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'cond', IfMatch: ETag })), { name: 'PreconditionFailed' })
  const unmodified = await s3.send(new GetObjectCommand({ Bucket, Key: 'cond', IfNoneMatch: second.ETag })).catch((error: unknown) => error)
  t.match(unmodified, { $metadata: { httpStatusCode: 304 } })
  await t.rejects(s3.send(new DeleteObjectCommand({ Bucket, Key: 'cond', IfMatch: ETag })), { name: 'PreconditionFailed' })
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'cond', IfMatch: second.ETag }))
  await t.rejects(s3.send(new HeadObjectCommand({ Bucket, Key: 'cond' })), { name: 'NotFound' })
})

void t.test('a condition on an object that is gone does not tell the store its MD5', async (t) => {
  const { store, s3 } = await rig(t)
  const put = (options: object) => s3.send(new PutObjectCommand({ Bucket, Key: 'gone', Body: 'content', ...options }))
  const { ETag = '' } = await put({})
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'gone' }))
  const before = store.requests.length
  await t.rejects(put({ IfMatch: ETag }), { name: 'NoSuchKey' })
  // A store can answer this for an existing object.
  await put({})
  store.rules.add({ when: { method: 'HEAD', key: 'gone' }, fault: { type: 'error', status: 404, code: 'NoSuchKey' } })
  await t.rejects(put({ IfMatch: ETag }), { name: 'PreconditionFailed' })
  const told = store.requests.slice(before).flatMap(({ headers }) => headers.entries).map(([, value]) => value)
  t.notOk(told.some((value) => value.includes(ETag.slice(1, -1))))
})

void t.test('no client may use the state bucket, and many keys are deleted at once', async (t) => {
  const { s3 } = await rig(t)
  const { Buckets } = await s3.send(new ListBucketsCommand({}))
  t.same(Buckets?.map(({ Name }) => Name), [Bucket, 'other'])
  await t.rejects(s3.send(new ListObjectsV2Command({ Bucket: 'sealgate-state' })), { name: 'NoSuchBucket' })
  await Promise.all(['x', 'y', 'z'].map((Key) => s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))))
  const deleted = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'x' }, { Key: 'y', ETag: '"nope"' }, { Key: 'z' }] } }))
  t.same(deleted.Deleted?.map(({ Key }) => Key).sort(), ['x', 'z'])
  t.match(deleted.Errors, [{ Key: 'y', Code: 'PreconditionFailed' }])
})

void t.test('objects that Sealgate did not write are refused, or served where the policy allows it', async (t) => {
  const { store, gateway, s3 } = await rig(t, {
    buckets: { '*': { encryption: 'on', key: 'main' }, 'other': { encryption: 'on', key: 'main', plaintext: 'allow' } }
  })
  const direct = new S3Client({
    endpoint: store.endpoint,
    region: store.region,
    forcePathStyle: true,
    credentials: { accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey }
  })
  for (const name of [Bucket, 'other']) await direct.send(new PutObjectCommand({ Bucket: name, Key: 'plain', Body: 'written by someone else' }))
  await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'plain' })), { name: 'SealgatePlaintextRefused', $metadata: { httpStatusCode: 403 } })
  const got = await s3.send(new GetObjectCommand({ Bucket: 'other', Key: 'plain', Range: 'bytes=8-9' }))
  t.equal(await got.Body!.transformToString(), 'by')
  const list = await s3.send(new ListObjectsV2Command({ Bucket: 'other' }))
  t.equal(list.Contents?.[0]?.Size, 23)
  t.equal(plaintextSize(23), null)
  t.equal(gateway.metric('sealgate_integrity_failures_total'), 0)
})

void t.test('a read that will be refused requests no bytes from the store', async (t) => {
  const { store, s3 } = await rig(t)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'refused', Body: randomBytes(3_000_000) }))
  for (const looking of [{ Range: 'bytes=-2900000' }, { PartNumber: 1 }, { IfNoneMatch: '"other"' }]) {
    const asked = s3.send(new GetObjectCommand({ Bucket, Key: 'refused', ResponseContentType: 'a\x01b', ...looking }))
    await t.rejects(asked, { name: 'InvalidArgument' })
  }
  const reads = store.requests.filter(({ method, key }) => method === 'GET' && key === 'refused')
  t.ok(reads.every(({ responseLength }) => responseLength === 512), 'none but those of the tail')
})

void t.test('metadata names that a store may merge are refused: the object could not be opened', async (t) => {
  const { store, s3 } = await rig(t, { buckets: { '*': { metadata: 'clear' } } })
  const put = (Metadata: Record<string, string>) => s3.send(new PutObjectCommand({ Bucket, Key: 'twins', Body: 'x', Metadata }))
  await t.rejects(put({ 'a_b': '1', 'a-b': '2' }), { name: 'InvalidArgument' })
  t.same(store.keys(Bucket), [])
  await put({ 'a_b': '1', 'a-c': '2' })
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'twins' })), { Metadata: { 'a_b': '1', 'a-c': '2' } })
})

void t.test('what one client has seen of an object is not listed to another who may not read it', async (t) => {
  const { store, gateway, s3 } = await rig(t, { buckets: { '*': { encryption: 'on', key: 'main', publicRead: 'store' } } })
  await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read' }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'private', Body: 'secret' }))
  const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket }))
  t.match(Contents, [{ Key: 'private', ETag: `"${createHash('md5').update('secret').digest('hex')}"` }])
  const listing = (await rawRequest(gateway.endpoint, `GET /${Bucket}?list-type=2 HTTP/1.1\r\nHost: x\r\n\r\n`)).body.toString()
  t.match(listing, '<Key>private</Key>')
  t.notMatch(listing, '<ETag>')
  t.equal(store.requests.at(-1)?.status, 403)
})

void t.test('an empty object has no body under any name, and works in every operation', async (t) => {
  for (const etag of ['md5', 'opaque'] as const) {
    const { store, gateway, s3 } = await rig(t, { buckets: { '*': { encryption: 'on', key: 'main', etag } } })
    const described = { ContentType: 'application/x-directory', Metadata: { mode: '040755' } }
    for (const Key of ['folder/', 'empty', 'a/b/']) {
      const put = await s3.send(new PutObjectCommand({ Bucket, Key, Body: '', ...described, ChecksumAlgorithm: 'CRC32' }))
      t.equal((await store.object(Bucket, Key).body()).length, 0)
      const shown = { ContentLength: 0, ETag: put.ETag, ...described }
      t.match(await s3.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' })), { ...shown, ChecksumCRC32: put.ChecksumCRC32 })
      const got = await s3.send(new GetObjectCommand({ Bucket, Key }))
      t.match(got, shown)
      t.equal((await got.Body!.transformToByteArray()).length, 0)
      t.match(await s3.send(new GetObjectCommand({ Bucket, Key, PartNumber: 1 })), shown)
      t.match(await s3.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=-5' })), shown)
      await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key, Range: 'bytes=0-' })), { name: 'InvalidRange' })
      t.equal(await statusOf(s3.send(new GetObjectCommand({ Bucket, Key, IfNoneMatch: put.ETag }))), 304)
    }
    const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket }))
    t.same(Contents?.map(({ Size }) => Size), [0, 0, 0])
    const requests = store.requests.length
    await s3.send(new GetObjectCommand({ Bucket, Key: 'folder/' }))
    t.equal(store.requests.length, requests + 1, 'one request')
    for (const [Key, source] of [['moved/', 'folder/'], ['file', 'folder/'], ['dir/', 'empty']] as const) {
      await s3.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${source}` }))
      t.match(await s3.send(new GetObjectCommand({ Bucket, Key })), { ContentLength: 0, ...described }, `${source} as ${Key}`)
      t.equal((await store.object(Bucket, Key).body()).length, 0)
    }
    await s3.send(new CopyObjectCommand({ Bucket: 'other', Key: 'x/', CopySource: `${Bucket}/folder/`, MetadataDirective: 'REPLACE', Metadata: { a: 'b' } }))
    t.match(await s3.send(new HeadObjectCommand({ Bucket: 'other', Key: 'x/' })), { ContentLength: 0, Metadata: { a: 'b' } })
    t.equal(gateway.metric('sealgate_integrity_failures_total{kind="length"}'), 0)
  }
})

void t.test('a store that drops the metadata of directories gets no empty object acknowledged that would never open', async (t) => {
  const { store, s3 } = await rig(t)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'empty', Body: '' }))
  const dropped = { 'x-amz-meta-sealgate': null, 'x-amz-meta-sealgate-key': null }
  const rule = store.rules.add({ when: { method: 'HEAD', key: 'folder/' }, times: 2, fault: { type: 'headers', set: dropped } })
  const put = () => s3.send(new PutObjectCommand({ Bucket, Key: 'folder/', Body: '' }))
  await t.rejects(put(), { name: 'NotImplemented' })
  await t.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'folder/', CopySource: `${Bucket}/empty` })), { name: 'NotImplemented' })
  rule.remove()
  for (const [status, answer] of [[403, 200], [404, 200], [503, 503]] as const) {
    const other = store.rules.add({ when: { method: 'HEAD', key: 'folder/' }, times: 10, fault: { type: 'error', status, code: 'X' } })
    t.equal(await statusOf(put()), answer, `a HEAD that is answered ${status}`)
    other.remove()
  }
  await put()
  t.equal((await s3.send(new GetObjectCommand({ Bucket, Key: 'folder/' }))).ContentLength, 0)
})

void t.test('a store can neither cut an object to nothing nor fill an empty one', async (t) => {
  const { store, gateway, s3 } = await rig(t)
  const put = (Key: string, Body: string) => s3.send(new PutObjectCommand({ Bucket, Key, Body }))
  await Promise.all([put('full', 'content'), put('empty', ''), put('other', '')])
  const [full, empty, other] = ['full', 'empty', 'other'].map((key) => store.object(Bucket, key))
  const body = await full!.body()
  const refused = async (what: string) => {
    for (const Key of ['full', 'empty']) {
      t.equal(await statusOf(s3.send(new HeadObjectCommand({ Bucket, Key }))), 500, `${what}: HEAD ${Key}`)
      await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key })), { name: 'SealgateIntegrityError' }, `${what}: GET ${Key}`)
    }
  }
  const kept = { full: full!.metadata, empty: empty!.metadata }
  await full!.set({ body: Buffer.alloc(0) })
  await empty!.set({ body: Buffer.alloc(512) })
  await refused('sizes')
  t.equal(gateway.metric('sealgate_integrity_failures_total{kind="length"}'), 4)
  await empty!.set({ body, metadata: kept.full })
  await full!.set({ body: Buffer.alloc(0), metadata: kept.empty })
  await refused('exchanged')
  await empty!.set({ body: Buffer.alloc(0), metadata: other!.metadata })
  await full!.set({ body: Buffer.alloc(0), metadata: other!.metadata })
  await refused('of another empty object')
  const asSingle = (value: string | undefined, kind: number) => {
    const bytes = Buffer.from(value ?? '', 'base64url')
    bytes[2] = kind
    return bytes.toString('base64url')
  }
  await full!.set({ body: Buffer.alloc(0), metadata: { ...kept.full, sealgate: asSingle(kept.full['sealgate'], 3) } })
  await empty!.set({ body, metadata: { ...kept.empty, sealgate: asSingle(kept.empty['sealgate'], 1) } })
  await refused('with the kind changed')
})
