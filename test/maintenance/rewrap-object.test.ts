import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import {
  CopyObjectCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { readConfig } from '../../src/cli/sealed-config.ts'
import { openKeys } from '../../src/cli/store-command.ts'
import { rewrapObject } from '../../src/maintenance/rewrap-object.ts'
import { byTurns } from '../support/by-turns.ts'
import { engine, startRewrapRig, type Engine, type RewrapRig } from '../support/rewrap-rig.ts'

const Bucket = 'bucket'
const MIB = 1024 * 1024

async function bodyOf(s3: S3Client, Key: string): Promise<Buffer> {
  return Buffer.from(await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToByteArray())
}

/** The same engine with the keys as their files are now. */
async function reopened(t: Test, rig: RewrapRig, job: Engine): Promise<Engine> {
  const opened = await openKeys(await readConfig({ file: rig.config, env: {} }), 'rewrap', new AbortController().signal)
  t.teardown(() => opened.close())
  return { ...job, keys: opened.keys }
}

await t.test('a body above the limit of one copy goes part by part, inside the store', async (t) => {
  const rig = await startRewrapRig(t)
  const { s3, store } = rig
  const copies = byTurns(false) ? 3 : 2
  const Body = randomBytes((5 * copies - 3) * MIB + 5)
  await s3.send(
    new PutObjectCommand({ Bucket, Key: 'large', Body, ContentType: 'text/x-large', Metadata: { colour: 'red' }, Tagging: 'a=1', ACL: 'public-read' })
  )
  const before = await s3.send(new HeadObjectCommand({ Bucket, Key: 'large' }))
  const stored = await store.object(Bucket, 'large').body()
  await rig.rotate()
  const job = await engine(t, rig)
  store.requests.length = 0
  t.match(await rewrapObject(job, 'large'), { outcome: 'rewrapped', bytes: stored.length })
  t.equal(store.requests.filter(({ query, method }) => method === 'PUT' && query.has('partNumber')).length, copies)
  t.ok(store.requests.every(({ bodyLength }) => bodyLength < 1000), 'no body is sent')
  t.ok(stored.equals(await store.object(Bucket, 'large').body()), 'the stored bytes are the same')
  t.equal(store.object(Bucket, 'large').metadata['sealgate-key'], await rig.currentKeyId())
  t.ok(Body.equals(await bodyOf(s3, 'large')))
  const after = await s3.send(new HeadObjectCommand({ Bucket, Key: 'large' }))
  t.same({ ...after, $metadata: null, LastModified: null }, { ...before, $metadata: null, LastModified: null })
  t.same((await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'large' }))).TagSet, [{ Key: 'a', Value: '1' }])
  t.same(await rewrapObject(job, 'large'), { outcome: 'left', reason: 'current' })
})

await t.test('a large object that changes while its parts are copied is not replaced, and no upload stays', async (t) => {
  const rig = await startRewrapRig(t)
  const { s3 } = rig
  await s3.send(new PutObjectCommand({ Bucket, Key: 'large', Body: randomBytes(7 * MIB), Tagging: 'a=1' }))
  await rig.rotate()
  const job = await engine(t, rig)
  job.bucket.afterPart = async () => s3.send(new PutObjectCommand({ Bucket, Key: 'large', Body: 'small and new', Tagging: 'a=2' }))
  t.same(await rewrapObject(job, 'large'), { outcome: 'left', reason: 'current' })
  t.equal((await bodyOf(s3, 'large')).toString(), 'small and new')
  t.same((await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'large' }))).TagSet, [{ Key: 'a', Value: '2' }])
  t.equal((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads, undefined)
})

await t.test('a fault at any request loses nothing, and the next run completes the work', async (t) => {
  const rig = await startRewrapRig(t)
  const { s3, store } = rig
  const faults = [
    { type: 'error', status: 503, code: 'SlowDown' },
    { type: 'reset', at: 'before' },
    { type: 'reset', at: 'after-head' },
    { type: 'lost-answer', status: 500, code: 'InternalError' },
    { type: 'error', status: 412, code: 'PreconditionFailed' },
    { type: 'error', status: 403, code: 'AccessDenied' },
    { type: 'garbage' }
  ] as const
  const requests = [
    { method: 'HEAD', bucket: Bucket, key: 'o' },
    { method: 'GET', bucket: Bucket, query: { acl: true } },
    { method: 'PUT', bucket: Bucket, key: 'o' }
  ] as const
  let cases = 0
  const Body = randomBytes(70_000)
  let job = await engine(t, rig)
  for (const [i, when] of requests.entries()) {
    for (const [j, fault] of faults.entries()) {
      for (const times of [1, 1000]) {
        // Each fault of each request once or for good, by turns: every pair of the three.
        if (!byTurns((i + j + Number(times === 1)) % 2 === 1)) continue
        await s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body, Tagging: 'a=1', Metadata: { m: '1' } }))
        await rig.rotate()
        job = await reopened(t, rig, job)
        const rule = store.rules.add({ when, times, fault })
        await rewrapObject(job, 'o').catch(() => undefined)
        rule.remove()
        t.ok(rule.fired > 0 || fault.type === 'garbage')
        if (!Body.equals(await bodyOf(s3, 'o'))) t.fail(`${JSON.stringify({ when, fault, times })}: another body`)
        await rewrapObject(job, 'o')
        if (!Body.equals(await bodyOf(s3, 'o'))) t.fail(`${JSON.stringify({ when, fault, times })}: another body after the second run`)
        if (store.object(Bucket, 'o').metadata['sealgate-key'] !== await rig.currentKeyId()) {
          t.fail(`${JSON.stringify({ when, fault, times })}: not under the new key`)
        }
        t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'o' })), { TagCount: 1, Metadata: { m: '1' } })
        cases += 1
      }
    }
  }
  t.comment(`${cases} broken runs, 0 objects lost`)
})

await t.test('sealed metadata and objects without a body stay what they are', async (t) => {
  const rig = await startRewrapRig(t)
  const described = { ContentType: 'text/x-planted', CacheControl: 'no-store', Metadata: { 'a_b': '=?UTF-8?B?w7Y=?=', 'a-b': 'two  spaces' } }
  for (const [Key, Body] of [['folder/', ''], ['file', 'content']] as const) await rig.s3.send(new PutObjectCommand({ Bucket, Key, Body, ...described }))
  await rig.rotate()
  const job = await engine(t, rig)
  for (const [Key, size] of [['folder/', 0], ['file', 7]] as const) {
    t.match(await rewrapObject(job, Key), { outcome: 'rewrapped' })
    t.equal(rig.store.object(Bucket, Key).metadata['sealgate-key'], await rig.currentKeyId())
    t.match(await rig.s3.send(new GetObjectCommand({ Bucket, Key })), { ContentLength: size, ...described })
    t.match(rig.store.object(Bucket, Key).version.headers, { 'content-type': 'application/octet-stream' })
  }
  t.equal((await rig.store.object(Bucket, 'folder/').body()).length, 0)
})

await t.test('a 404 that is not the store\'s loses no grants', async (t) => {
  const rig = await startRewrapRig(t)
  await rig.s3.send(new PutObjectCommand({ Bucket, Key: 'granted', Body: 'x', ACL: 'public-read' }))
  const before = await rig.currentKeyId()
  await rig.rotate()
  const job = await engine(t, rig)
  const rule = rig.store.rules.add({ when: { query: { acl: true } }, times: 99, fault: { type: 'answer', status: 404, body: '<html>no such route</html>' } })
  t.same(await rewrapObject(job, 'granted'), { outcome: 'busy' })
  t.equal(rig.store.object(Bucket, 'granted').metadata['sealgate-key'], before)
  rule.remove()
  t.match(await rewrapObject(job, 'granted'), { outcome: 'rewrapped' })
})

await t.test('foreign objects are reported and not changed', async (t) => {
  const rig = await startRewrapRig(t)
  const { s3, store, run } = rig
  for (const Key of ['damaged', 'half', 'foreign', 'fine', 'moved']) await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
  const metadataOf = (key: string): Readonly<Record<string, string>> => store.object(Bucket, key).metadata
  await store.object(Bucket, 'damaged').set({ metadata: { ...metadataOf('damaged'), sealgate: `${metadataOf('damaged')['sealgate']!.slice(0, -4)}!!!!` } })
  await store.object(Bucket, 'half').set({ metadata: { sealgate: metadataOf('half')['sealgate']! } })
  await store.object(Bucket, 'foreign').set({ metadata: { ...metadataOf('foreign'), 'sealgate-key': 'local:elsewhere:1' } })
  const states = new Map(['damaged', 'half', 'foreign'].map((key) => [key, metadataOf(key)]))
  await rig.rotate()
  const ran = await run('rewrap', '--bucket', Bucket)
  t.match(ran, { code: 1, out: /re-wrapped 2 objects[^]*3 objects failed/ })
  t.match(ran.err, /"damaged": SealgateIntegrityError: The envelope could not be verified/)
  t.match(ran.err, /"half": SealgateKeyUnavailable/)
  t.match(ran.err, /"foreign": SealgateKeyUnavailable: The object is sealed with key local:elsewhere:1/)
  for (const [key, state] of states) t.same(metadataOf(key), state)
  t.notMatch(await readFile(rig.audit, 'utf8'), /"secret|"key":"[A-Za-z0-9+/]{43}="/)
})

await t.test('where the store does not guard copies it runs only in a quiet bucket', async (t) => {
  const rig = await startRewrapRig(t)
  await rig.s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'o', Tagging: 'a=1' }))
  await rig.rotate()
  const { endpoint, region, accessKeyId, secretAccessKey } = rig.store
  await rig.reload({ upstream: { endpoint, region, accessKeyId, secretAccessKey, stateBucket: 'sealgate-state', realm: 'test', conditions: { copy: false } } })
  t.match(await rig.run('rewrap', '--bucket', Bucket), { code: 1, err: /--assume-no-writers/ })
  t.not(rig.store.object(Bucket, 'o').metadata['sealgate-key'], await rig.currentKeyId())
  rig.store.requests.length = 0
  t.match(await rig.run('rewrap', '--bucket', Bucket, '--assume-no-writers'), { code: 0, out: /re-wrapped 1 objects/ })
  const put = rig.store.requests.find(({ method, bucket }) => method === 'PUT' && bucket === Bucket)
  t.match([put?.headers.get('if-match'), put?.headers.has('x-amz-copy-source-if-match')], [undefined, true])
  t.equal((await bodyOf(rig.s3, 'o')).toString(), 'o')
})

await t.test('stores whose copies lose tags get them sent, or put again, also after a kill', async (t) => {
  const rig = await startRewrapRig(t)
  const tags = async () => (await rig.s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'o' }))).TagSet
  const expected = [{ Key: 'a', Value: '1' }, { Key: 'b', Value: '+=' }]
  await rig.s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'o', Tagging: 'a=1&b=%2B%3D' }))
  let job = await engine(t, rig, { copyTagMode: 'sent' })
  t.equal((await engine(t, rig)).copyTagMode, 'kept', 'the embedded store keeps them')
  const turn = async (): Promise<void> => {
    await rig.rotate()
    job = await reopened(t, rig, job)
  }
  await turn()
  t.match(await rewrapObject(job, 'o'), { outcome: 'rewrapped' })
  t.same(await tags(), expected)
  // What a store does that loses them on copies.
  const lose = async (): Promise<void> => {
    await rig.s3.send(new PutObjectTaggingCommand({ Bucket, Key: 'o', Tagging: { TagSet: [] } }))
  }
  const { journal } = job
  const read = [['a', '1'], ['b', '+=']] as const
  await journal.guard('o', read, lose)
  t.same(await tags(), expected)
  await t.rejects(
    journal.guard('o', read, async () => {
      await lose()
      throw new Error('the answer was lost')
    }),
    /lost/
  )
  t.same(await tags(), expected)
  const rule = rig.store.rules.add({ when: { bucket: Bucket }, times: Infinity, fault: { type: 'reset', at: 'before' } })
  await t.rejects(journal.guard('o', read, async () => {
    rule.remove()
    await lose()
    rig.store.rules.add({ when: { bucket: Bucket }, times: Infinity, fault: { type: 'error', status: 503, code: 'SlowDown' } })
  }))
  rig.store.rules.clear()
  t.same(await tags(), [], 'killed in between')
  t.match(await rig.run('rewrap', '--bucket', Bucket), { code: 0, err: /Put back the tags of 1 objects/ })
  t.same(await tags(), expected)
  t.notMatch((await rig.run('rewrap', '--bucket', Bucket)).err, /Put back/)
})

await t.test('copies made by clients can be re-wrapped as well', async (t) => {
  const rig = await startRewrapRig(t)
  const Body = randomBytes(100_000)
  await rig.s3.send(new PutObjectCommand({ Bucket, Key: 'from', Body }))
  await rig.s3.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/from` }))
  await rig.rotate()
  t.match(await rig.run('rewrap', '--bucket', Bucket), { code: 0, out: /re-wrapped 2 objects/ })
  for (const key of ['from', 'to']) t.ok(Body.equals(await bodyOf(rig.s3, key)))
})
