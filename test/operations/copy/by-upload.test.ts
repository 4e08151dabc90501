// Conditional copies whose bytes pass through the gateway, at a store that locks names: none may wait for itself, none may replace what was written
// meanwhile, and none may leave anything.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import {
  CopyObjectCommand,
  type CopyObjectCommandInput,
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client
} from '@aws-sdk/client-s3'
import { codeOf } from '../../support/error-code.ts'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'
import { md5 } from '../../support/multipart-rig.ts'
import { lockNames } from '../../support/name-locks.ts'

const [Bucket, hidden, state] = ['copies', 'hidden', 'sealgate-state']
const store = await startTestStore({ buckets: [Bucket, hidden], keepBodies: false })
const on = { encryption: 'on', key: 'main', plaintext: 'allow' }
const gateway = await startTestGateway(store, { sections: { buckets: { [Bucket]: on, [hidden]: { ...on, etag: 'opaque' } } } })
const s3 = gateway.client()
const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
t.teardown(async () => {
  s3.destroy()
  direct.destroy()
  await gateway.close()
  await store.close()
})
// The store is seen as it is, before there are rules.
await s3.send(new PutObjectCommand({ Bucket, Key: 'first', Body: 'x' }))

/** More than is held. */
const size = 1_100_000
const plain = async (Key: string, Body = randomBytes(size), into = Bucket) => {
  const { ETag } = await direct.send(new PutObjectCommand({ Bucket: into, Key, Body, Metadata: { colour: 'blue' }, Tagging: 'a=1' }))
  return { Body, ETag }
}
const copy = (Key: string, more: Partial<CopyObjectCommandInput> = {}) =>
  s3.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${Key}`, MetadataDirective: 'REPLACE', Metadata: { colour: 'red' }, ...more }))
const read = async (Key: string, from = Bucket) => Buffer.from(await (await s3.send(new GetObjectCommand({ Bucket: from, Key }))).Body!.transformToByteArray())
const left = async () => ({
  uploads: store.uploads(Bucket),
  notes: (await direct.send(new ListObjectsV2Command({ Bucket: state, Prefix: 'command-uploads/' }))).KeyCount
})
const nothing = { uploads: 0, notes: 0 }

await t.test('regression: a copy onto itself does not wait for the lock that its own read holds', async (t) => {
  for (const bytes of [65_480, 65_481, 1_048_576, 1_048_577, size]) {
    const Key = `own-${bytes}`
    const { Body, ETag } = await plain(Key, randomBytes(bytes))
    const locks = lockNames(store, Bucket, { [Key]: bytes })
    const from = store.requests.length
    const { CopyObjectResult } = await copy(Key, { IfMatch: ETag })
    locks.remove()
    t.strictSame(locks.refused, [])
    t.equal(locks.reads.length, 1, 'the read was a slow one')
    const puts = store.requests.slice(from).filter(({ method, key }) => key === Key && (method === 'PUT' || method === 'POST'))
    t.equal(puts.length, bytes > 1_048_576 ? 3 : 1)
    t.equal(CopyObjectResult?.ETag, `"${md5(Body)}"`, 'the ETag stays, with one part as with none')
    t.ok(Body.equals(await read(Key)))
    t.match(await s3.send(new HeadObjectCommand({ Bucket, Key })), { ETag, ContentLength: bytes, Metadata: { colour: 'red' } })
    t.match((await direct.send(new HeadObjectCommand({ Bucket, Key }))).Metadata?.['sealgate'], /^./, 'it is sealed now')
    t.match((await s3.send(new GetObjectTaggingCommand({ Bucket, Key }))).TagSet, [{ Key: 'a', Value: '1' }])
    t.strictSame(await left(), nothing)
  }
})

await t.test('nor an older version of the same name, nor two copies against each other', async (t) => {
  const [one, two] = [await plain('one'), await plain('two')]
  const locks = lockNames(store, Bucket, { one: size, two: size })
  await copy('one', { CopySource: `${Bucket}/two`, IfMatch: one.ETag })
  t.strictSame(locks.refused, [])
  locks.remove()
  t.ok(two.Body.equals(await read('one')))
  const versioned = 'versioned'
  await direct.send(new CreateBucketCommand({ Bucket: versioned }))
  const other = await startTestGateway(store, { sections: { buckets: { [versioned]: on } } })
  const client = other.client()
  await direct.send(new PutObjectCommand({ Bucket: versioned, Key: 'k', Body: one.Body }))
  await direct.send(new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration: { Status: 'Enabled' } }))
  await direct.send(new DeleteObjectCommand({ Bucket: versioned, Key: 'k' }))
  const back = lockNames(store, versioned, { k: size })
  const { VersionId } = await client.send(new CopyObjectCommand({ Bucket: versioned, Key: 'k', CopySource: `${versioned}/k?versionId=null`, IfNoneMatch: '*' }))
  back.remove()
  t.strictSame(back.refused, [])
  t.equal(back.reads.length, 1)
  t.type(VersionId, 'string')
  t.ok(one.Body.equals(Buffer.from(await (await client.send(new GetObjectCommand({ Bucket: versioned, Key: 'k', VersionId }))).Body!.transformToByteArray())))
  client.destroy()
  await other.close()
})

await t.test('what is held of all copies together is bounded: the others are uploads', async (t) => {
  const keys = Array.from({ length: 20 }, (_, i) => `held-${i}`)
  const etags = new Map<string, string | undefined>()
  const body = randomBytes(1_048_576)
  for (const key of keys) etags.set(key, (await plain(key, body)).ETag)
  const waiting = Promise.withResolvers<undefined>()
  let begun = 0
  const rule = store.rules.add({
    when: { bucket: Bucket, key: /^held-/, test: ({ method, query }) => (method === 'PUT' || (method === 'POST' && query.has('uploads'))) && (begun += 1) > 0 },
    times: Infinity,
    fault: { type: 'late', until: () => (begun === keys.length ? waiting.resolve(undefined) : undefined, waiting.promise) }
  })
  const from = store.requests.length
  await Promise.all(keys.map((key) => copy(key, { IfMatch: etags.get(key) })))
  rule.remove()
  t.equal(store.requests.slice(from).filter(({ query, method }) => method === 'POST' && query.has('uploads')).length, 4, '16 MiB are held')
  for (const key of keys) t.ok(body.equals(await read(key)))
  const again = store.requests.length
  await copy('held-0', { IfMatch: etags.get('held-0') }).catch(() => undefined)
  const { ETag } = await plain('held-again', body)
  await copy('held-again', { IfMatch: ETag })
  t.strictSame(store.requests.slice(again).filter(({ method }) => method === 'POST'), [], 'and it was given back')
})

await t.test('a bucket that shows no MD5s: the same ETag in every operation', async (t) => {
  const { Body, ETag } = await plain('k', randomBytes(size), hidden)
  const { ETag: shown } = await s3.send(new HeadObjectCommand({ Bucket: hidden, Key: 'k' }))
  t.not(shown, ETag)
  const { CopyObjectResult } = await copy('k', { Bucket: hidden, CopySource: `${hidden}/k`, IfMatch: shown })
  t.match(CopyObjectResult?.ETag, /-1"$/)
  t.equal((await s3.send(new HeadObjectCommand({ Bucket: hidden, Key: 'k' }))).ETag, CopyObjectResult?.ETag)
  t.equal((await s3.send(new ListObjectsV2Command({ Bucket: hidden }))).Contents?.[0]?.ETag, CopyObjectResult?.ETag)
  t.ok(Body.equals(await read('k', hidden)))
  t.equal((await direct.send(new HeadObjectCommand({ Bucket: hidden, Key: 'k', PartNumber: 1 }))).PartsCount, 1, 'at the store it has a part')
  const first = await s3.send(new HeadObjectCommand({ Bucket: hidden, Key: 'k', PartNumber: 1 }))
  t.match(first, { ContentLength: size, ETag: CopyObjectResult?.ETag, PartsCount: undefined }, 'and to clients none')
  const { ObjectParts, ObjectSize } = await s3.send(
    new GetObjectAttributesCommand({ Bucket: hidden, Key: 'k', ObjectAttributes: ['ObjectParts', 'ObjectSize'] })
  )
  t.strictSame([ObjectParts, ObjectSize], [undefined, size])
  t.equal(await codeOf(copy('k', { Bucket: hidden, CopySource: `${hidden}/k`, IfMatch: shown })), 'PreconditionFailed')
  await copy('k', { Bucket: hidden, CopySource: `${hidden}/k`, IfMatch: CopyObjectResult?.ETag })
})

await t.test('a store that enforces conditions on other writes and not on copies: a conditional copy of a sealed object passes through', async (t) => {
  const ignoring = { copy: false, put: true, complete: true, delete: true }
  for (const conditions of [ignoring, { ...ignoring, complete: false }, { ...ignoring, put: false }, { ...ignoring, put: false, complete: false }]) {
    const other = await startTestGateway(store, { keyring: gateway.keyring, upstream: { conditions }, sections: { buckets: { [Bucket]: on } } })
    const client = other.client()
    const Body = randomBytes(size)
    await client.send(new PutObjectCommand({ Bucket, Key: 'from', Body }))
    const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key: 'to', Body: 'old' }))
    const from = store.requests.length
    const conditional = (IfMatch: string | undefined) => client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/from`, IfMatch }))
    const works = conditions.put || conditions.complete
    t.equal(await codeOf(conditional('"00000000000000000000000000000000"')), works ? 'PreconditionFailed' : 'NotImplemented', JSON.stringify(conditions))
    t.equal(String(await read('to')), 'old')
    t.equal(await codeOf(conditional(ETag)), works ? 'ok' : 'NotImplemented')
    t.ok((works ? Body : Buffer.from('old')).equals(await read('to')))
    t.strictSame(store.requests.slice(from).filter(({ headers }) => headers.has('x-amz-copy-source')), [], 'no copy that would lose the condition')
    await client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/from` }))
    t.equal(store.requests.at(-1)?.headers.has('x-amz-copy-source'), true, 'without one the store copies')
    t.strictSame(await left(), nothing)
    client.destroy()
    await other.close()
  }
})

await t.test('what a client writes meanwhile stays', async (t) => {
  for (const conditions of [{ IfMatch: 'seen' }, { IfNoneMatch: '"of-something-else"' }]) {
    const { ETag } = await plain('raced')
    const rule = store.rules.add({
      when: { bucket: Bucket, key: 'raced', method: 'POST', query: { uploadId: true } },
      fault: { type: 'late', until: () => direct.send(new PutObjectCommand({ Bucket, Key: 'raced', Body: 'written meanwhile' })) }
    })
    const asked = 'IfMatch' in conditions ? { IfMatch: ETag } : conditions
    t.equal(await codeOf(copy('raced', asked)), 'PreconditionFailed')
    rule.remove()
    t.equal(String(await read('raced')), 'written meanwhile')
    t.strictSame(await left(), nothing)
  }
})

await t.test('an object that shall not be there is seen before any byte moves', async (t) => {
  await plain('there')
  const from = store.requests.length
  t.equal(await codeOf(copy('there', { IfNoneMatch: '*' })), 'PreconditionFailed')
  t.strictSame(store.requests.slice(from).filter(({ method }) => method === 'PUT' || method === 'POST'), [])
})

await t.test('whatever fails: the old object stays, the client gets an error, and the upload is aborted', async (t) => {
  const { Body, ETag } = await plain('old')
  const at = { bucket: Bucket, key: 'old' }
  const refusal = { type: 'error', status: 500, code: 'InternalError' } as const
  const cases = {
    'the upload is refused': { when: { ...at, method: 'POST', query: { uploads: true } }, fault: refusal },
    'it cannot be noted': { when: { bucket: state, key: /^command-uploads/, method: 'PUT' }, times: 99, fault: refusal },
    'the part is refused': { when: { ...at, query: { partNumber: true } }, fault: refusal },
    'the part breaks off': { when: { ...at, query: { partNumber: true } }, fault: { type: 'mid-upload', bytes: 70_000, then: 'reset' } },
    'the part is acknowledged without an ETag': { when: { ...at, query: { partNumber: true } }, fault: { type: 'headers', set: { etag: null } } },
    'the source breaks off': { when: { ...at, method: 'GET', without: ['tagging'] }, fault: { type: 'reset', at: 'mid-body', bytes: 90_000 } },
    'the source is altered': { when: { ...at, method: 'GET', without: ['tagging'] }, fault: { type: 'flip', offset: 5 } },
    'the Complete is refused': { when: { ...at, method: 'POST', query: { uploadId: true } }, fault: refusal },
    'the Complete fails inside a 200': {
      when: { ...at, method: 'POST', query: { uploadId: true } },
      fault: { type: 'answer', status: 200, body: '<Error><Code>InternalError</Code><Message>late</Message></Error>' }
    },
    'the Complete answers something else': { when: { ...at, method: 'POST', query: { uploadId: true } }, fault: { type: 'answer', status: 200, body: '<Ok/>' } }
  } as const
  for (const [name, rule] of Object.entries(cases)) {
    const added = store.rules.add(rule)
    const checksum = name === 'the source is altered' ? { ChecksumAlgorithm: 'CRC32' as const } : {}
    t.not(await codeOf(copy('old', { IfMatch: ETag, ...checksum })), 'ok', name)
    t.ok(added.fired > 0, name)
    added.remove()
    t.strictSame(await left(), nothing, name)
    t.ok(Body.equals(await read('old')), name)
    t.equal((await direct.send(new HeadObjectCommand({ Bucket, Key: 'old' }))).Metadata?.['sealgate'], undefined, name)
  }
})

await t.test('an upload that cannot be aborted stays noted', async (t) => {
  const { ETag } = await plain('noted')
  const rules = [
    store.rules.add({ when: { bucket: Bucket, query: { partNumber: true } }, fault: { type: 'error', status: 500, code: 'InternalError' } }),
    store.rules.add({ when: { bucket: Bucket, method: 'DELETE' }, times: 99, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  ]
  t.not(await codeOf(copy('noted', { IfMatch: ETag })), 'ok')
  for (const rule of rules) rule.remove()
  t.strictSame(await left(), { uploads: 1, notes: 1 })
})
