// docs/decisions/0033-parts-in-opaque-etags.md
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import {
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  type CompletedPart
} from '@aws-sdk/client-s3'
import { opaqueEtag, opaqueTag, tailPartTeller, showsMd5, SMALL_BYTES, visibleEtag } from '../../../src/operations/objects/visible-etag.ts'
import { byTurns } from '../../support/by-turns.ts'
import { Bucket, bytes, complete, md5, MiB, rig, type Rig } from '../../support/multipart-rig.ts'

const zeros = '0'.repeat(30)

void t.test('what an opaque ETag shows', async (t) => {
  for (
    const [upstream, visible] of [
      ['"d41d8cd98f00b204e9800998ecf8427e"', '"d41d8cd98f00b204e9800998ecf8427e-0"'],
      ['""', '""'],
      [`"04${zeros}-3"`, `"04${zeros}-3"`],
      [`"03${zeros}-3"`, `"03${zeros}-2"`],
      [`"00${zeros}-2"`, `"00${zeros}-1"`],
      [`"00${zeros}-1"`, `"00${zeros}-1"`],
      [`"00${zeros}-10001"`, `"00${zeros}-10000"`],
      [`"00${zeros}-02"`, `"00${zeros}-02"`],
      [`"00${zeros}"`, `"00${zeros}-0"`],
      ['"00-3"', '"00-3"'],
      ['"x-3"', '"x-3"']
    ] as const
  ) t.equal(opaqueEtag('opaque', upstream), visible, upstream)
})

void t.test('md5-small: the MD5 of one piece up to 8 MiB, an ETag as of one part above, nothing new of parts', async (t) => {
  t.equal(SMALL_BYTES, 8 * MiB)
  for (
    const [kind, size, shown] of [
      ['empty', 0, true],
      ['single', 1, true],
      ['single', SMALL_BYTES, true],
      ['single', SMALL_BYTES + 1, false],
      ['multipart', 1, false],
      ['multipart', SMALL_BYTES, false]
    ] as const
  ) {
    t.equal(showsMd5('md5-small', { kind, size }), shown, `${kind} of ${size}`)
    t.equal(showsMd5('md5', { kind, size }), true)
    t.equal(showsMd5('opaque', { kind, size }), false)
    t.equal(visibleEtag('md5-small', { kind, size }, '"ab"', 'cd'), shown ? '"cd"' : '"ab-1"')
    t.equal(visibleEtag('md5-small', { kind, size }, '"ab"', null), '"ab-1"')
  }
  t.equal(opaqueTag('md5-small', ''), '')
  t.equal(opaqueTag('md5-small', `03${zeros}-3`), `03${zeros}-2`)
})

void t.test('what the store is going to say', async (t) => {
  const digest = createHash('md5').update(createHash('md5').update('a').digest()).digest('hex')
  t.equal(tailPartTeller([createHash('md5').update('a').digest('hex')])([]), digest < '04')
  const etags = ['a', 'b', 'c', 'd'].map((text) => createHash('md5').update(text).digest('hex'))
  for (const known of [0, 1, 3]) {
    const teller = tailPartTeller(etags.slice(0, known))
    for (let i = 0; i < 2; i += 1) t.equal(teller(etags.slice(known)), tailPartTeller(etags)([]), `${known} known`)
    t.equal(teller(['x']), null)
  }
  for (const other of ['', 'x', '"d41d8cd98f00b204e9800998ecf8427e"', 'd41d8cd98f00b204e9800998ecf8427e-1']) t.equal(tailPartTeller([other])([]), null, other)
})

void t.test('objects under a customer\'s key and with opaque ETags count the client\'s parts, in every operation', async (t) => {
  const { s3 } = await rig(t, { sections: { auth: { ssecOverHttp: true }, buckets: { '*': { encryption: 'on', key: 'main', etag: 'opaque' } } } })
  const key = bytes(32)
  const customer = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(key).digest('base64') }
  const shapes: readonly (readonly number[])[] = [
    [5 * MiB],
    [5 * MiB, 5 * MiB],
    [5 * MiB, 100],
    ...Array.from({ length: 12 }, () => [50]),
    [5 * MiB, 5 * MiB, 0]
  ]
  for (const [i, sizes] of shapes.entries()) {
    // One large part with a customer's key alone, two large ones with an empty last one alone.
    for (const sse of (i < 4 ? [customer, {}] : [{}]).filter((_, turn) => byTurns(i > 1 || (i === 0 && turn === 0)))) {
      const Key = `parts ${i} ${Object.keys(sse).length}`
      const named = { Bucket, Key, ...sse }
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand(named))
      const listed: CompletedPart[] = []
      for (const [n, size] of sizes.entries()) {
        listed.push({ PartNumber: n + 1, ETag: (await s3.send(new UploadPartCommand({ ...named, UploadId, PartNumber: n + 1, Body: bytes(size) }))).ETag })
      }
      const { ETag } = await complete(s3, Key, UploadId!, listed, sse)
      t.match(ETag, new RegExp(`-${sizes.length}"$`), Key)
      const again = await complete(s3, Key, UploadId!, listed, sse)
      const head = await s3.send(new HeadObjectCommand({ ...named, PartNumber: 1 }))
      const got = await s3.send(new GetObjectCommand({ ...named, IfMatch: ETag, Range: 'bytes=0-9' }))
      await got.Body?.transformToByteArray()
      const attributes = await s3.send(new GetObjectAttributesCommand({ ...named, ObjectAttributes: ['ETag', 'ObjectParts'] }))
      const { Contents: [row] = [] } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: Key }))
      t.strictSame([again.ETag, head.ETag, got.ETag, `"${attributes.ETag ?? ''}"`, row?.ETag], Array.from({ length: 5 }, () => ETag), Key)
      t.strictSame([head.PartsCount, attributes.ObjectParts?.TotalPartsCount], [sizes.length, sizes.length])
    }
  }
})

const smallRig = (t: Test): Promise<Rig> =>
  rig(t, {
    buckets: [Bucket, 'all', 'open'],
    sections: {
      auth: { ssecOverHttp: true },
      buckets: { '*': { etag: 'md5-small' }, 'all': { etag: 'md5' }, 'open': { etag: 'md5-small', plaintext: 'allow' } }
    }
  })

void t.test('with md5-small an object has one ETag in every operation', async (t) => {
  const { s3, store, another } = await smallRig(t)
  const put = async (bucket: string, Key: string, body: Buffer): Promise<string | undefined> =>
    (await s3.send(new PutObjectCommand({ Bucket: bucket, Key, Body: body }))).ETag
  const limit = bytes(SMALL_BYTES)
  const above = bytes(SMALL_BYTES + 1)
  const shown = new Map<string, RegExp>([
    ['above', /^"[0-9a-f]{32}-1"$/],
    ['copied above', /^"[0-9a-f]{32}-1"$/],
    ['copied limit', new RegExp(`^"${md5(limit)}"$`)],
    ['empty', new RegExp(`^"${md5(Buffer.alloc(0))}"$`)],
    ['limit', new RegExp(`^"${md5(limit)}"$`)],
    ['parts', /^"[0-9a-f]{32}-2"$/],
    ['streamed', new RegExp(`^"${md5(limit.subarray(0, 70_000))}"$`)]
  ])
  const written = new Map<string, string | undefined>([
    ['above', await put(Bucket, 'above', above)],
    ['empty', await put(Bucket, 'empty', Buffer.alloc(0))],
    ['limit', await put(Bucket, 'limit', limit)],
    ['streamed', await put(Bucket, 'streamed', limit.subarray(0, 70_000))]
  ])
  await put('all', 'above', above)
  await put('all', 'limit', limit)
  for (const Key of ['above', 'limit']) {
    const { CopyObjectResult } = await s3.send(new CopyObjectCommand({ Bucket, Key: `copied ${Key}`, CopySource: `all/${Key}` }))
    written.set(`copied ${Key}`, CopyObjectResult?.ETag)
  }
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
  const listed: CompletedPart[] = []
  for (const [n, Body] of [above.subarray(0, 5 * MiB), above.subarray(0, 100)].entries()) {
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: n + 1, Body }))
    t.match(ETag, /^"[0-9a-f]{32}-0"$/, 'no MD5 of a part is computed')
    listed.push({ PartNumber: n + 1, ETag })
  }
  written.set('parts', (await complete(s3, 'parts', UploadId!, listed)).ETag)
  const rows = async (client: S3Client) => new Map((await client.send(new ListObjectsV2Command({ Bucket }))).Contents?.map(({ Key, ETag }) => [Key!, ETag]))
  const here = await rows(s3)
  const other = await another()
  const before = store.requests.length
  const there = await rows(other)
  const asked = new Set(store.requests.slice(before).map(({ key }) => key))
  t.notOk(asked.has('above') || asked.has('copied above'), 'rows above the limit need no request')
  t.ok(asked.has('limit') && asked.has('parts'))
  for (const [Key, pattern] of shown) {
    const ETag = written.get(Key)
    t.match(ETag, pattern, Key)
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key }))
    const got = await s3.send(new GetObjectCommand({ Bucket, Key, IfMatch: ETag }))
    await got.Body?.transformToByteArray()
    t.strictSame([head.ETag, got.ETag, here.get(Key), there.get(Key)], Array.from({ length: 4 }, () => ETag), Key)
    const known = await s3.send(new GetObjectCommand({ Bucket, Key, IfNoneMatch: ETag })).catch((error: unknown) => error)
    t.match(known, { $metadata: { httpStatusCode: 304 } }, Key)
  }
})

void t.test('with md5-small a customer\'s key and objects that Sealgate did not write', async (t) => {
  const { s3, store } = await smallRig(t)
  const key = bytes(32)
  const customer = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(key).digest('base64') }
  const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'customer', Body: 'x', ...customer }))
  t.match(ETag, /^"[0-9a-f]{32}-1"$/)
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'customer', ...customer }))).ETag, ETag)
  const { Contents: [row] = [] } = await s3.send(new ListObjectsV2Command({ Bucket }))
  t.equal(row?.ETag, ETag)
  const plain = md5(Buffer.from('plain'))
  const direct = new S3Client({ endpoint: store.endpoint, region: store.region, credentials: store, forcePathStyle: true })
  t.teardown(() => {
    direct.destroy()
  })
  await direct.send(new PutObjectCommand({ Bucket: 'open', Key: 'plain', Body: 'plain' }))
  t.equal((await s3.send(new HeadObjectCommand({ Bucket: 'open', Key: 'plain' }))).ETag, `"${plain}"`)
  t.equal((await s3.send(new ListObjectsV2Command({ Bucket: 'open' }))).Contents?.[0]?.ETag, `"${plain}"`)
})
