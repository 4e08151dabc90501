import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  AbortMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { runCli } from '../support/run-cli.ts'
import type { StoreFeature } from '../../src/config/store-profiles.ts'
import { parseConfig } from '../../src/config/load.ts'
import { collectGarbage, type Collection } from '../../src/maintenance/garbage.ts'
import { StateBucket } from '../../src/store-client/state-bucket.ts'
import type { Upstream, UpstreamRequest } from '../../src/upstream/types.ts'
import { openUpstream } from '../../src/store-client/store-adapter.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'

const Bucket = 'uploads'
const stateBucket = 'sealgate-state'
/** The rights that the tests of this file have used. */
const used = new Set<string>()

async function rig(t: Test, lacks: readonly StoreFeature[] = []) {
  const store = await startTestStore({ buckets: [Bucket] })
  const gateway = await startTestGateway(store)
  const folder = await mkdtemp(join(tmpdir(), 'sealgate-gc-'))
  const settings = configOf(store, gateway.keyring)
  const config = parseConfig(settings, { file: join(folder, 'sealgate.yaml'), env: {} })
  const upstream = openUpstream({ ...config.upstreams['default']!, lacks }, config.limits)
  t.teardown(async () => {
    await upstream.close()
    await gateway.close()
    await store.close()
    await rm(folder, { recursive: true })
  })
  const { signal } = new AbortController()
  const asked: Upstream = {
    request: (request) => {
      used.add(rightOf(request) ?? `${request.method} ${request.query.join()}`)
      return upstream.request(request)
    },
    close: () => upstream.close()
  }
  const collect = (more: Partial<Collection> = {}) =>
    collectGarbage({
      state: new StateBucket(asked, stateBucket, signal),
      stateBucket,
      upstream: asked,
      realm: 'test',
      signal,
      olderThan: Date.now() + 60_000,
      dryRun: false,
      ...more
    })
  return { store, s3: gateway.client(), folder, settings, collect }
}

function configOf(store: TestStore, keyring: string): string {
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  return JSON.stringify({
    listen: { host: '127.0.0.1', port: 0 },
    upstream: { endpoint, region, accessKeyId, secretAccessKey, stateBucket, realm: 'test' },
    clients: [{ accessKeyId: 'A', secretAccessKey: 'a-secret-of-some-length', buckets: ['*'] }],
    keys: { main: { type: 'local', keyring } },
    buckets: { '*': { encryption: 'on', key: 'main' } }
  })
}

/** The right that a request needs (AWS service authorization reference, S3). */
function rightOf({ method, bucket, key, query }: UpstreamRequest): string | null {
  const named = (name: string): boolean => query.some(([found]) => found === name)
  if (bucket === null) return 's3:ListAllMyBuckets'
  if (method === 'DELETE' && key === null) return 's3:DeleteBucket'
  if (method === 'PUT' && named('legal-hold')) return 's3:PutObjectLegalHold'
  if (method === 'DELETE') return named('versionId') ? 's3:DeleteObjectVersion' : named('uploadId') ? 's3:AbortMultipartUpload' : 's3:DeleteObject'
  if (method === 'POST' && named('delete')) return 's3:DeleteObject'
  if (method !== 'GET') return null
  if (key !== null) return named('uploadId') ? 's3:ListMultipartUploadParts' : 's3:GetObject'
  return named('versions') ? 's3:ListBucketVersions' : named('uploads') ? 's3:ListBucketMultipartUploads' : named('list-type') ? 's3:ListBucket' : null
}

/** An upload with a small part: three objects of state. */
async function begin(s3: ReturnType<Awaited<ReturnType<typeof startTestGateway>>['client']>, Key: string): Promise<string> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: 'part' }))
  return UploadId!
}

/** Ends an upload at the store, as a lifecycle rule would: the gateway does not hear of it. */
async function endBehindItsBack(store: TestStore, Key: string, uploadId: string): Promise<void> {
  const direct = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
  await direct.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: uploadId }))
  direct.destroy()
}

void t.test('state of old, ended uploads is removed; that of live or recent ones stays', async (t) => {
  const { store, s3, collect } = await rig(t)
  await begin(s3, 'live')
  const live = store.keys(stateBucket)
  t.equal(live.length, 3)
  await endBehindItsBack(store, 'dead', await begin(s3, 'dead'))
  const young = await collect({ olderThan: Date.now() - 86_400_000 })
  t.same(young, { live: 2, unknown: 0, dead: 0, removed: 0, failed: 0, buckets: 0 }, 'nothing is older than a day')
  await store.object(stateBucket, 'probe/left/put').set({ body: Buffer.from('x') })
  await store.object(stateBucket, 'something else').set({ body: Buffer.from('x') })
  const before = store.keys(stateBucket)
  t.same(await collect({ dryRun: true }), { live: 1, unknown: 0, dead: 1, removed: 4, failed: 0, buckets: 0 })
  t.same(store.keys(stateBucket), before, 'a dry run removes nothing')
  t.same(await collect(), { live: 1, unknown: 0, dead: 1, removed: 4, failed: 0, buckets: 0 })
  t.same(store.keys(stateBucket), [...live, 'something else'].sort())
  t.same(await collect(), { live: 1, unknown: 0, dead: 0, removed: 0, failed: 0, buckets: 0 }, 'and again there is nothing to do')
})

void t.test('what interrupted probes have left goes: in the buckets of a kind, and whole buckets of "store check"', async (t) => {
  for (const versioning of [true, false]) {
    const { store, collect } = await rig(t, versioning ? [] : ['versioning'])
    const s3 = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
    t.teardown(() => {
      s3.destroy()
    })
    const [kind, check, lookalike] = [`${stateBucket}-versioned`, `${stateBucket}-check-0123abcd-versioned`, `${stateBucket}-check-of-ours`]
    const begun = async (Bucket: string, Key: string) => s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
    for (const Bucket of [kind, check, lookalike]) {
      await s3.send(new CreateBucketCommand({ Bucket }))
      if (versioning) await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
      for (const Key of ['probe/x/put', 'probe/x/put', 'probe/y', 'theirs']) await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))
      await s3.send(new DeleteObjectCommand({ Bucket, Key: 'probe/x/put' }))
    }
    for (const Bucket of [stateBucket, kind, check, lookalike]) await begun(Bucket, 'probe/x/upload')
    await begun(check, 'theirs')
    const rows = async (name: string) => (await s3.send(new ListObjectVersionsCommand({ Bucket: name }))).Versions?.map(({ Key }) => Key)
    const uploads = async (name: string) => (await s3.send(new ListMultipartUploadsCommand({ Bucket: name }))).Uploads?.map(({ Key }) => Key)
    const none = { live: 0, unknown: 0, dead: 0, removed: 0, failed: 0, buckets: 0 }
    t.same(await collect({ olderThan: Date.now() - 60_000 }), none, 'nothing is old')
    // An upload in three buckets; in two of them three versions and a marker, or the object that is left.
    const removed = 3 + 2 * (versioning ? 4 : 1)
    t.same(await collect({ dryRun: true }), { ...none, removed, buckets: 1 })
    t.same(await collect(), { ...none, removed, failed: 1 }, 'a bucket that holds something else stays')
    t.same(await Promise.all([stateBucket, kind, check].map(rows)), [undefined, ['theirs'], ['theirs']])
    t.same(await Promise.all([stateBucket, kind, check, lookalike].map(uploads)), [undefined, undefined, ['theirs'], ['probe/x/upload']])
    t.equal((await rows(lookalike))?.length, versioning ? 4 : 2)
    await store.object(check, 'theirs').remove()
    const [left] = (await s3.send(new ListMultipartUploadsCommand({ Bucket: check }))).Uploads ?? []
    await s3.send(new AbortMultipartUploadCommand({ Bucket: check, Key: 'theirs', UploadId: left?.UploadId }))
    t.same(await collect(), { ...none, buckets: 1 })
    await t.rejects(rows(check), { name: 'NoSuchBucket' })
  }
})

void t.test('a legal hold that a killed run of store check has left is taken off', async (t) => {
  const { store, collect } = await rig(t)
  const s3 = new S3Client({ endpoint: store.endpoint, region: store.region, forcePathStyle: true, credentials: store })
  t.teardown(() => {
    s3.destroy()
  })
  const Bucket = `${stateBucket}-check-0123abcd-lock`
  await s3.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'probe/x/lock', Body: 'x', ObjectLockLegalHoldStatus: 'ON' }))
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'probe/x/lock' }))
  t.same(await collect(), { live: 0, unknown: 0, dead: 0, removed: 2, failed: 0, buckets: 1 })
})

void t.test('uploads whose state is not known stay', async (t) => {
  const { store, s3, collect } = await rig(t)
  const id = await begin(s3, 'key')
  const keys = store.keys(stateBucket)
  t.same(await collect({ realm: 'another' }), { live: 0, unknown: 1, dead: 0, removed: 0, failed: 0, buckets: 0 }, 'of another realm')
  for (const [status, code] of [[403, 'AccessDenied'], [503, 'SlowDown'], [404, 'NoSuchKey']] as const) {
    store.rules.add({ when: { query: { uploadId: true } }, fault: { type: 'error', status, code } })
    t.same(await collect(), { live: 0, unknown: 1, dead: 0, removed: 0, failed: 0, buckets: 0 }, code)
  }
  const proxy = { type: 'answer', status: 404, body: '<html>no such route</html>' } as const
  store.rules.add({ when: { method: 'GET', key: /\/upload$/ }, fault: proxy })
  await t.rejects(collect(), { code: 'ServiceUnavailable' }, 'a 404 of something before the store')
  store.rules.add({ when: { method: 'GET', key: /\/upload$/ }, fault: { type: 'error', status: 404, code: 'NoSuchKey' } })
  t.same(await collect(), { live: 0, unknown: 1, dead: 0, removed: 0, failed: 0, buckets: 0 }, 'a record that is listed and not there')
  await endBehindItsBack(store, 'key', id)
  const record = keys.find((key) => key.endsWith('/upload'))!
  const body = await store.object(stateBucket, record).body()
  await store.object(stateBucket, record).set({ body: Buffer.concat([Buffer.from([2]), body.subarray(1)]) })
  t.same(await collect(), { live: 0, unknown: 1, dead: 0, removed: 0, failed: 0, buckets: 0 }, 'of a later format')
  t.same(store.keys(stateBucket), keys)
  await store.object(stateBucket, record).remove()
  t.same(await collect(), { live: 0, unknown: 0, dead: 1, removed: 2, failed: 0, buckets: 0 }, 'parts without their upload')
  t.same(store.keys(stateBucket), [])
})

void t.test('the command', async (t) => {
  const { store, s3, folder, settings } = await rig(t)
  const file = join(folder, 'sealgate.yaml')
  await writeFile(file, settings)
  const run = async (...args: string[]) => {
    const { code, out, err } = await runCli(['gc', ...args], folder)
    return { code, out: out + err }
  }
  await begin(s3, 'young')
  await s3.send(new PutObjectCommand({ Bucket, Key: 'object', Body: 'x' }))
  let stop = (): void => undefined
  const rule = store.rules.add({
    when: { bucket: stateBucket, method: 'GET', query: { prefix: 'probe/' } },
    fault: {
      type: 'late',
      until: async () => {
        stop()
      }
    }
  })
  const stopped = await runCli(['gc', '--config', file], folder, {
    onSignal: (signal, action) => {
      if (signal === 'SIGTERM') stop = action
    }
  })
  t.match(stopped, { code: 5, out: /^uploads: 1 live or recent/, err: /Stopped/ }, 'a signal: how far it came')
  rule.remove()
  const done = await run('--config', file)
  t.equal(done.code, 0)
  t.match(done.out, /^uploads: 1 live or recent, 0 kept because their state is not known, 0 over\nobjects: 0 removed/)
  t.match((await run('--config', file, '--dry-run')).out, /would be removed/)
  const wrong = [
    [],
    ['--config', file, '--older-than-hours', '23'],
    ['--config', file, '--older-than-hours', 'x'],
    ['--what'],
    ['--config', 'missing.yaml']
  ]
  for (const args of wrong) {
    t.equal((await run(...args)).code, 2, args.join(' '))
  }
  await store.close()
  t.equal((await run('--config', file)).code, 1, 'a store that does not answer')
})

void t.test('docs/PERMISSIONS.md names the rights that were used', async (t) => {
  const rows = readFileSync(join(import.meta.dirname, '../../docs/PERMISSIONS.md'), 'utf8').split('\n').filter((line) => line.startsWith('| `sealgate gc` |'))
  t.same([...new Set(rows.join('').match(/s3:\w+/g))].sort(), [...used].sort())
})
