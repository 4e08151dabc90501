// Uploads in parts that become one object of the S3 Encryption Client: what clients see of them, and what is left of them.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
  type CompletedPart
} from '@aws-sdk/client-s3'
import { around, begin, Bucket, complete, startRig, stateBucket, through, type Rig } from '../../support/client-write-rig.ts'
import { codeOf } from '../../support/error-code.ts'
import { vectorKeys } from '../../support/s3ec-vectors.ts'

const MIB = 1024 * 1024

/** Of uploads: what the store has of them, and what the state bucket has. */
function left({ store }: Rig): { readonly uploads: number; readonly state: readonly string[] } {
  return { uploads: store.uploads(Bucket), state: store.keys(stateBucket).filter((key) => /^(?:command-)?uploads\//.test(key)) }
}

const nothing = { uploads: 0, state: [] }

for (const version of ['v2', 'v3'] as const) {
  await t.test(`${version}: an upload in parts, in any order, becomes one object of the format`, async (t) => {
    const rig = await startRig(t, { version })
    const { s3 } = rig
    const parts = [randomBytes(5 * MIB + 3), randomBytes(5 * MIB), randomBytes(17)]
    const upload = await begin(s3, 'large', parts, { Metadata: { of: 'parts' }, ContentType: 'text/x-parts' })
    const { Parts = [] } = await s3.send(new ListPartsCommand({ Bucket, Key: 'large', UploadId: upload.UploadId }))
    t.strictSame(Parts.map(({ Size }) => Size), parts.map(({ length }) => length))
    const made = await complete(s3, upload, { MpuObjectSize: 10 * MIB + 20 })
    const whole = Buffer.concat(parts)
    t.ok((await around(rig, 'large')).equals(whole))
    t.ok((await through(s3, 'large')).equals(whole))
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'large' }))
    t.match(head, { ContentLength: whole.length, ContentType: 'text/x-parts', ETag: made.ETag })
    t.strictSame(head.Metadata, { of: 'parts' }, 'no entry of the gateway is shown')
    t.equal(rig.store.object(Bucket, 'large').metadata['x-amz-unencrypted-content-length'], version === 'v2' ? String(whole.length) : undefined)
    t.strictSame(left(rig), nothing)
  })
}

await t.test('an upload of one empty part, one that copies, and one that is aborted', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3 } = rig
  await complete(s3, await begin(s3, 'empty', [Buffer.alloc(0)]))
  t.equal((await around(rig, 'empty')).length, 0)
  const Body = randomBytes(1000)
  await s3.send(new PutObjectCommand({ Bucket: 'sealed', Key: 'a', Body }))
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'copied' }))
  const { CopyPartResult } = await s3.send(new UploadPartCopyCommand({ Bucket, Key: 'copied', UploadId, PartNumber: 1, CopySource: 'sealed/a' }))
  await complete(s3, { Key: 'copied', UploadId, list: [{ PartNumber: 1, ETag: CopyPartResult?.ETag ?? '' }] })
  t.ok((await around(rig, 'copied')).equals(Body))
  const aborted = await begin(s3, 'aborted', [Body])
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'aborted', UploadId: aborted.UploadId }))
  t.equal(await codeOf(complete(s3, aborted)), 'NoSuchUpload')
  t.strictSame(left(rig), nothing)
})

await t.test('the object has all that the upload was begun with, as a single write has', async (t) => {
  const rig = await startRig(t, { version: 'v3', demandsSse: true, upstream: { sse: 'AES256' } })
  const { s3, store } = rig
  const described = {
    Metadata: { 'of': 'parts', 'with-dash': 'a  b' },
    ContentType: 'text/x-parts',
    ContentEncoding: 'x-own',
    ContentLanguage: 'gsw',
    ContentDisposition: 'attachment; filename="a b"',
    CacheControl: 'max-age=5',
    Expires: new Date(2e12),
    Tagging: 'a=b&c=d%20e',
    StorageClass: 'STANDARD_IA' as const,
    ACL: 'public-read' as const,
    ServerSideEncryption: 'AES256' as const
  }
  const Body = randomBytes(1000)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'single', Body, ...described }))
  const made = await complete(s3, await begin(s3, 'parts', [Body], described))
  t.equal(made.ServerSideEncryption, 'AES256')
  const facts = (key: string): unknown => {
    const { headers, tags, acl, storageClass, retention, legalHold, metadata } = store.object(Bucket, key).version
    const own = Object.fromEntries(Object.entries(metadata).filter(([name]) => !/^(?:x-amz|sealgate)-/.test(name)))
    return { headers, tags, acl, storageClass, retention, legalHold, own }
  }
  t.strictSame(facts('parts'), facts('single'))
  t.match(facts('parts'), { storageClass: 'STANDARD_IA', acl: 'public-read', own: { of: 'parts' } })
  const shown = (Key: string): Promise<object> => s3.send(new HeadObjectCommand({ Bucket, Key }))
  const of = ({ $metadata, ETag, LastModified, ...rest }: Record<string, unknown>): object => rest
  t.strictSame(of({ ...await shown('parts') }), of({ ...await shown('single') }))
})

await t.test('what the object would not have room for is refused before the first part', async (t) => {
  const { s3, kms } = await startRig(t, { version: 'v3' })
  const create = (Metadata: Record<string, string>): Promise<unknown> => s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'o', Metadata }))
  t.equal(await codeOf(create({ long: 'x'.repeat(2000) })), 'MetadataTooLarge')
  // The longest that is accepted can be completed.
  let [fits, over] = [0, 2000]
  while (over - fits > 1) {
    const middle = Math.floor((fits + over) / 2)
    if (await codeOf(create({ long: 'x'.repeat(middle) })) === 'ok') fits = middle
    else over = middle
  }
  t.ok(fits > 1000, `${fits} bytes`)
  await complete(s3, await begin(s3, 'o', [Buffer.from('x')], { Metadata: { long: 'x'.repeat(fits) } }))
  kms.setState(vectorKeys.kms.arn, 'disabled')
  t.not(await codeOf(create({})), 'ok')
})

await t.test('a Complete that failed can be repeated, also with another list', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const parts = [randomBytes(5 * MIB), randomBytes(1000)]
  const upload = await begin(s3, 'o', parts)
  store.rules.add({ when: { method: 'POST', bucket: Bucket, key: 'o', query: { uploadId: true } }, fault: { type: 'error', status: 503, code: 'SlowDown' } })
  t.not(await codeOf(complete(s3, upload)), 'ok')
  t.equal(store.uploads(Bucket), 1, 'that of the client')
  await complete(s3, { ...upload, list: upload.list.slice(0, 1) })
  t.ok((await around(rig, 'o')).equals(parts[0]!))
  t.strictSame(left(rig), nothing)
})

await t.test('a Complete that was carried out is answered again, and no other is', async (t) => {
  const rig = await startRig(t, { version: 'v2' })
  const { s3, store } = rig
  const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
  t.teardown(() => {
    direct.destroy()
  })
  await direct.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
  const upload = await begin(s3, 'o', [randomBytes(5 * MIB), randomBytes(10)])
  const first = await complete(s3, upload)
  t.ok(first.VersionId)
  const again = await complete((await rig.another()).s3, upload)
  t.match(again, { ETag: first.ETag, VersionId: first.VersionId, Location: /\/written\/o$/ })
  t.equal(await codeOf(complete(s3, { ...upload, list: upload.list.slice(0, 1) })), 'NoSuchUpload', 'another list')
  t.equal(store.object(Bucket, 'o').history.length, 1, 'nothing is written again')
  // A store can put what it likes in the place of the proof.
  const { metadata } = store.object(Bucket, 'o')
  const proof = metadata['sealgate-origin']!
  for (const said of ['', `A${proof.slice(1)}`, `B${proof.slice(1)}`].filter((each) => each !== proof)) {
    await store.object(Bucket, 'o').set({ metadata: { ...metadata, 'sealgate-origin': said } })
    t.equal(await codeOf(complete(s3, upload)), 'NoSuchUpload', said)
  }
  const other = await begin(s3, 'other', [Buffer.from('x')])
  await complete(s3, other)
  await store.object(Bucket, 'o').set({ metadata: store.object(Bucket, 'other').metadata, body: await store.object(Bucket, 'other').body() })
  t.equal(await codeOf(complete(s3, upload)), 'NoSuchUpload', 'an object of another upload')
  await s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'later' }))
  t.equal(await codeOf(complete(s3, upload)), 'NoSuchUpload', 'a later object')
})

await t.test('conditions hold, leave the upload as it is, and let a Complete be repeated whose answer was lost', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'before' }))
  const upload = await begin(s3, 'o', [Buffer.from('after')])
  t.equal(await codeOf(complete(s3, upload, { IfNoneMatch: '*' })), 'PreconditionFailed')
  t.equal(await codeOf(complete(s3, upload, { IfMatch: '"0123"' })), 'PreconditionFailed')
  t.equal(store.uploads(Bucket), 1)
  await complete(s3, upload, { IfMatch: ETag })
  t.equal(String(await around(rig, 'o')), 'after')
  const lost = await begin(s3, 'new', [Buffer.from('new')])
  store.rules.add({
    when: { method: 'POST', bucket: Bucket, key: 'new', query: { uploadId: true } },
    fault: { type: 'lost-answer', status: 503, code: 'SlowDown' }
  })
  t.not(await codeOf(complete(s3, lost, { IfNoneMatch: '*' })), 'ok')
  t.ok(store.object(Bucket, 'new').exists)
  const { ETag: made } = await complete(s3, lost, { IfNoneMatch: '*' })
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'new' }))).ETag, made)
  t.equal(store.object(Bucket, 'new').history.length, 1)
  t.equal(await codeOf(complete(s3, await begin(s3, 'new', [Buffer.from('x')]), { IfNoneMatch: '*' })), 'PreconditionFailed', 'another upload')
})

/** Holds the store's Complete of an upload until `go`. */
function heldJoin({ store }: Rig, key: string): { readonly reached: Promise<unknown>; readonly go: () => void } {
  const [reached, going] = [Promise.withResolvers<unknown>(), Promise.withResolvers<unknown>()]
  store.rules.add({
    when: { method: 'POST', bucket: Bucket, key, query: { uploadId: true } },
    fault: { type: 'late', until: () => (reached.resolve(null), going.promise) }
  })
  return {
    reached: reached.promise,
    go: () => {
      going.resolve(null)
    }
  }
}

await t.test('while a Complete runs clients see their upload alone, and one instance more may complete it', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const other = await rig.another()
  const body = randomBytes(5000)
  const upload = await begin(s3, 'o', [body])
  const { reached, go } = heldJoin(rig, 'o')
  const first = complete(s3, upload)
  await reached
  t.equal(store.uploads(Bucket), 2)
  const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
  t.strictSame(Uploads.map(({ UploadId }) => UploadId), [upload.UploadId])
  const { Parts = [] } = await s3.send(new ListPartsCommand({ Bucket, Key: 'o', UploadId: upload.UploadId }))
  t.strictSame(Parts.map(({ Size }) => Size), [body.length])
  const second = await complete(other.s3, upload)
  go()
  const { ETag } = await first
  t.not(ETag, second.ETag, 'each has a key of its own')
  const [one, two] = store.object(Bucket, 'o').history
  t.ok((await around(rig, 'o', one)).equals(body))
  t.ok((await around(rig, 'o', two)).equals(body), 'the last one stays')
  t.strictSame(left(rig), nothing)
})

await t.test('of two instances the second finds the object of the first, where it comes late or has a condition', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const other = await rig.another()
  // It is just about to ask whether the upload of the client is still there.
  const upload = await begin(s3, 'late', [randomBytes(100)])
  const going = Promise.withResolvers<unknown>()
  const asked = Promise.withResolvers<unknown>()
  store.rules.add({
    when: { method: 'GET', bucket: Bucket, key: 'late', query: { 'max-parts': '1' } },
    fault: { type: 'late', until: () => (asked.resolve(null), going.promise) }
  })
  const first = complete(s3, upload)
  await asked.promise
  const second = await complete(other.s3, upload)
  going.resolve(null)
  t.equal((await first).ETag, second.ETag)
  t.equal(store.object(Bucket, 'late').history.length, 1)
  const conditional = await begin(s3, 'new', [randomBytes(100)])
  const join = heldJoin(rig, 'new')
  const one = complete(s3, conditional, { IfNoneMatch: '*' })
  await join.reached
  const { ETag } = await complete(other.s3, conditional, { IfNoneMatch: '*' })
  join.go()
  t.equal((await one).ETag, ETag)
  t.equal(store.object(Bucket, 'new').history.length, 1)
  t.strictSame(left(rig), nothing)
})

await t.test('an upload that is aborted while it is completed becomes no object', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const upload = await begin(s3, 'o', [randomBytes(100)])
  const [sent, going] = [Promise.withResolvers<unknown>(), Promise.withResolvers<unknown>()]
  store.rules.add({
    when: { method: 'PUT', bucket: Bucket, key: 'o', query: { partNumber: true } },
    fault: { type: 'late', until: () => (sent.resolve(null), going.promise) }
  })
  const completing = codeOf(complete(s3, upload))
  await sent.promise
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'o', UploadId: upload.UploadId }))
  going.resolve(null)
  t.equal(await completing, 'NoSuchUpload')
  t.notOk(store.object(Bucket, 'o').exists)
  t.strictSame(left(rig), nothing)
})

await t.test('where the gateway\'s own upload is taken away, it begins another', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const body = randomBytes(100)
  const upload = await begin(s3, 'o', [body])
  store.rules.add({
    when: { method: 'PUT', bucket: Bucket, key: 'o', query: { partNumber: true } },
    fault: { type: 'error', status: 404, code: 'NoSuchUpload' }
  })
  await complete(s3, upload)
  t.ok((await around(rig, 'o')).equals(body))
  t.strictSame(left(rig), nothing)
})

await t.test('a client that goes away ends its Complete, and can complete the upload later', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const body = randomBytes(100)
  const upload = await begin(s3, 'o', [body])
  const reached = Promise.withResolvers<unknown>()
  const aborted = Promise.withResolvers<unknown>()
  store.rules.add({
    when: { method: 'PUT', bucket: Bucket, key: 'o', query: { partNumber: true } },
    fault: { type: 'late', until: () => (reached.resolve(null), new Promise(() => undefined)) }
  })
  store.rules.add({
    when: { method: 'DELETE', bucket: stateBucket, key: /^command-uploads\// },
    fault: { type: 'transform', change: (answer) => (aborted.resolve(null), answer) }
  })
  const impatient = rig.gateway.client()
  const answer = codeOf(complete(impatient, upload))
  await reached.promise
  t.equal(store.uploads(Bucket), 2)
  impatient.destroy()
  await answer
  await aborted.promise
  t.equal(store.uploads(Bucket), 1, 'that of the client')
  t.notOk(store.object(Bucket, 'o').exists)
  await complete(s3, upload)
  t.ok((await around(rig, 'o')).equals(body))
})

await t.test('a part of any size may have the highest number, because nothing is put behind it', async (t) => {
  const rig = await startRig(t, { version: 'v3', key: 'aes', upstream: { maxParts: 1000 } })
  const { s3 } = rig
  const { UploadId = '' } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'o' }))
  const Body = randomBytes(5 * MIB)
  const put = async (PartNumber: number): Promise<CompletedPart> => ({
    PartNumber,
    ETag: (await s3.send(new UploadPartCommand({ Bucket, Key: 'o', UploadId, PartNumber, Body }))).ETag
  })
  t.equal(await codeOf(put(1001)), 'InvalidArgument')
  const { ETag = '' } = await put(1000)
  await complete(s3, { Key: 'o', UploadId, list: [{ PartNumber: 1000, ETag }] })
  t.ok((await around(rig, 'o')).equals(Body))
})

await t.test('a bucket that is not written in the format any more says so, and lets the upload be aborted', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const upload = await begin(rig.s3, 'o', [randomBytes(100)])
  const { s3 } = await rig.another(null)
  const { Key, UploadId } = upload
  t.equal(await codeOf(complete(s3, upload)), 'InvalidRequest')
  t.equal(await codeOf(s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 2, Body: 'x' }))), 'InvalidRequest')
  t.equal(await codeOf(s3.send(new ListPartsCommand({ Bucket, Key, UploadId }))), 'InvalidRequest')
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
  t.strictSame(left(rig), nothing)
})

await t.test('what a hostile store makes of the record of an upload is an error, never other headers', async (t) => {
  const rig = await startRig(t, { version: 'v3' })
  const { s3, store } = rig
  const records = (): string[] => store.keys(stateBucket).filter((key) => key.endsWith('/upload'))
  const mine = await begin(s3, 'o', [Buffer.from('mine')], { Metadata: { of: 'mine' } })
  const [record = ''] = records()
  await begin(s3, 'o', [Buffer.from('other')], { Metadata: { of: 'other' } })
  const other = records().find((key) => key !== record)!
  const body = await store.object(stateBucket, record).body()
  const lies: (readonly [what: string, lie: Buffer | null])[] = [
    ['of another upload of the same name', await store.object(stateBucket, other).body()],
    ['cut', body.subarray(0, -1)],
    ['longer', Buffer.concat([body, Buffer.alloc(1)])],
    ['dropped', null]
  ]
  for (let at = body.length - 120; at < body.length; at += 7) {
    const changed = Buffer.from(body)
    changed[at] = changed[at]! ^ 1
    lies.push([`byte ${at} changed`, changed])
  }
  for (const [what, lie] of lies) {
    if (lie === null) await store.object(stateBucket, record).remove()
    else await store.object(stateBucket, record).set({ body: lie })
    t.equal(await codeOf(complete(s3, mine)), lie === null ? 'NoSuchUpload' : 'SealgateIntegrityError', what)
  }
  t.notOk(store.object(Bucket, 'o').exists)
})
