// Two stores behind one gateway: a bucket is at one of them, and nothing that one does reaches what is at the other.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import t, { type Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  PutBucketLoggingCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand,
  type ListBucketsCommandInput,
  type ListBucketsCommandOutput
} from '@aws-sdk/client-s3'
import { parseConfig } from '../../src/config/load.ts'
import { OpenStore } from '../../src/gateway/stores.ts'
import { KeyRegistry } from '../../src/keys/registry.ts'
import { startTestGateway, type TestGatewayOptions } from '../support/gateway.ts'
import { rawRequest } from '../support/raw-client.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { headerSigned, Wire } from '../support/wire.ts'

const at = ({ endpoint, region, accessKeyId, secretAccessKey }: TestStore, realm: string) => ({ endpoint, region, accessKeyId, secretAccessKey, realm })
const policies = { '*': {}, 'far-*': { upstream: 'far' }, 'far-plain': { upstream: 'far', encryption: 'off' }, 'plain': { encryption: 'off' } }

async function rig(t: Test, options: TestGatewayOptions = {}) {
  const near = await startTestStore({ accessKeyId: 'NEAR', secretAccessKey: 'near-secret', buckets: ['data', 'plain', 'both', 'far-both'] })
  const far = await startTestStore({ accessKeyId: 'FAR', secretAccessKey: 'far-secret', buckets: ['far-data', 'far-plain', 'both', 'far-both'] })
  const told: Readonly<Record<string, unknown>>[] = []
  const upstreams = { near: { ...at(near, 'test'), default: true }, far: { ...at(far, 'far'), stateBucket: 'far-state' } }
  const gateway = await startTestGateway(near, {
    operatorLog: (level, message, fields) => {
      told.push({ level, message, ...fields })
    },
    ...options,
    sections: { upstream: undefined, upstreams, buckets: policies, ...options.sections }
  })
  const s3 = gateway.client()
  t.teardown(async () => {
    s3.destroy()
    await gateway.close()
    await near.close()
    await far.close()
  })
  const put = (Bucket: string, Key: string, Body: string | Buffer, more = {}) => s3.send(new PutObjectCommand({ Bucket, Key, Body, ...more }))
  const get = async (Bucket: string, Key: string, client = s3) =>
    (await client.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToByteArray().then((bytes) => Buffer.from(bytes).toString())
  const names = async (input: ListBucketsCommandInput = {}, client = s3) => (await client.send(new ListBucketsCommand(input))).Buckets?.map(({ Name }) => Name)
  return { near, far, gateway, s3, told, put, get, names, upstreams }
}

/** Keys that the clients' requests have reached a store with. */
const reached = (store: TestStore, from = 0) =>
  store.requests.slice(from).filter(({ bucket }) => !bucket.includes('state')).map(({ method, bucket, key }) => `${method} ${bucket}/${key}`)

await t.test('every request goes to the store of its bucket, with the identity and the realm of that store', async (t) => {
  const { near, far, s3, put, get, gateway } = await rig(t)
  await put('data', 'k', 'near')
  await put('far-data', 'k', 'far')
  t.equal(await get('data', 'k'), 'near')
  t.equal(await get('far-data', 'k'), 'far')
  t.notOk(reached(near).some((line) => line.includes('far-')))
  t.notOk(reached(far).some((line) => line.includes(' data/')))
  const [nearFrom, farFrom] = [near.requests.length, far.requests.length]
  await s3.send(new CreateBucketCommand({ Bucket: 'far-new' }))
  await s3.send(new HeadBucketCommand({ Bucket: 'far-new' }))
  await s3.send(new DeleteBucketCommand({ Bucket: 'far-new' }))
  t.same(reached(near, nearFrom), [])
  t.equal(reached(far, farFrom).length, 3)
  for (const Bucket of ['sealgate-state', 'far-state', 'far-state-versioned']) {
    await t.rejects(s3.send(new HeadBucketCommand({ Bucket })), { name: 'NotFound' }, `${Bucket} is the gateway's own at every store`)
  }
  t.ok(gateway.metric('sealgate_upstream_body_bytes_total{direction="sent",upstream="far"}') > 0)
  t.match(gateway.gateway.status?.().stores, [{ name: 'near', ready: true }, { name: 'far', ready: true, stateBucket: 'far-state' }])
})

await t.test('what one store wrote as the only one opens after the move to several', async (t) => {
  const store = await startTestStore({ buckets: ['data'] })
  const other = await startTestStore()
  const before = await startTestGateway(store)
  const Key = 'k'
  await before.client().send(new PutObjectCommand({ Bucket: 'data', Key, Body: 'before' }))
  const upload = await before.client().send(new CreateMultipartUploadCommand({ Bucket: 'data', Key: 'upload' }))
  const upstreams = { main: { ...at(store, 'test'), default: true }, other: at(other, 'other') }
  const after = await startTestGateway(store, { keyring: before.keyring, sections: { upstream: undefined, upstreams } })
  const s3 = after.client()
  t.teardown(async () => {
    await Promise.all([before.close(), after.close()])
    await Promise.all([store.close(), other.close()])
  })
  t.equal(await (await s3.send(new GetObjectCommand({ Bucket: 'data', Key }))).Body?.transformToString(), 'before')
  const part = { Bucket: 'data', Key: 'upload', UploadId: upload.UploadId, PartNumber: 1 }
  const { CopyPartResult } = await s3.send(new UploadPartCopyCommand({ ...part, CopySource: 'data/k' }))
  await s3.send(new CompleteMultipartUploadCommand({ ...part, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: CopyPartResult?.ETag }] } }))
  t.equal(await (await s3.send(new GetObjectCommand({ Bucket: 'data', Key: 'upload' }))).Body?.transformToString(), 'before', 'uploads in progress too')
})

await t.test('an object that one store hands to another does not open there', async (t) => {
  const { near, far, gateway, put, get, upstreams, s3 } = await rig(t)
  await put('both', 'k', 'of near')
  const { metadata } = near.object('both', 'k')
  const thief = new S3Client({ endpoint: far.endpoint, region: far.region, forcePathStyle: true, credentials: far })
  t.teardown(() => {
    thief.destroy()
  })
  await thief.send(new PutObjectCommand({ Bucket: 'both', Key: 'k', Body: await near.object('both', 'k').body(), Metadata: metadata }))
  // The bucket moves: its policy names the other store.
  const config = (realm: string) =>
    parseConfig(
      JSON.stringify({
        upstreams: { ...upstreams, far: { ...upstreams.far, realm } },
        clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }],
        keys: { main: { type: 'local', keyring: gateway.keyring } },
        buckets: { ...policies, both: { upstream: 'far' } }
      }),
      { file: '/sealgate.yaml', env: {} }
    )
  await gateway.gateway.reload(config('far'))
  await t.rejects(get('both', 'k'), { name: 'SealgateIntegrityError' })
  await put('both', 'own', 'of far')
  t.equal(await get('both', 'own'), 'of far')
  // With one realm for both it opens: what the warning says.
  await gateway.gateway.reload(config('test'))
  t.equal(await get('both', 'k'), 'of near')
  await t.rejects(get('both', 'own'), { name: 'SealgateIntegrityError' })
  await t.rejects(s3.send(new GetObjectCommand({ Bucket: 'far-data', Key: 'none' })), { name: 'NoSuchKey' })
})

await t.test('ListBuckets shows each bucket once, from its store, and fails while a store does not answer', async (t) => {
  const more = { accessKeyId: 'NEARONLY', secretAccessKey: 'near-only-secret', buckets: ['data', 'both'] }
  const all = { accessKeyId: 'TESTCLIENT', secretAccessKey: 'test-client-secret' }
  const { near, far, names, gateway, s3 } = await rig(t, { sections: { clients: [all, more] } })
  const every = ['both', 'data', 'far-both', 'far-data', 'far-plain', 'plain']
  t.same(await names(), every)
  t.match((await s3.send(new ListBucketsCommand({}))).Owner?.ID, /./)
  t.same(await names({ Prefix: 'far-' }), ['far-both', 'far-data', 'far-plain'])
  const pages: (string | undefined)[] = []
  let token: string | undefined
  do {
    const page: ListBucketsCommandOutput = await s3.send(
      new ListBucketsCommand({ MaxBuckets: 4, ContinuationToken: token })
    )
    pages.push(...page.Buckets?.map(({ Name }) => Name) ?? [])
    token = page.ContinuationToken
  } while (token !== undefined)
  t.same(pages, every)
  await t.rejects(s3.send(new ListBucketsCommand({ MaxBuckets: 10_001 })), { name: 'InvalidArgument' })
  const nearOnly = new S3Client({ endpoint: gateway.endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: more })
  t.teardown(() => {
    nearOnly.destroy()
  })
  const from = far.requests.length
  t.same(await names({}, nearOnly), ['both', 'data'])
  t.same(reached(far, from), [], 'a store where the client has no bucket is not asked')
  far.refuse()
  await t.rejects(names(), { name: 'ServiceUnavailable' }, 'never a short list')
  t.same(await names({}, nearOnly), ['both', 'data'])
  await far.listen()
  near.rules.add({ when: { method: 'GET', bucket: '' }, fault: { type: 'error', status: 403, code: 'AccessDenied' } })
  await t.rejects(names(), { name: 'AccessDenied' })
  t.same(await names(), every)
})

await t.test('a list of buckets that a store invents costs no more than the page that is shown', async (t) => {
  const { far, names } = await rig(t)
  const row = (name: string): string => `<Bucket><Name>${name}</Name><CreationDate>2026-01-01T00:00:00Z</CreationDate></Bucket>`
  const page = (names: readonly string[], token: number | null): string =>
    `<ListAllMyBucketsResult><Buckets>${names.map(row).join('')}</Buckets>${
      token === null ? '' : `<ContinuationToken>${token}</ContinuationToken>`
    }</ListAllMyBucketsResult>`
  const invent = (bodies: readonly string[]): void => {
    far.rules.clear()
    for (const [i, body] of bodies.entries()) {
      far.rules.add({ when: { method: 'GET', bucket: '' }, nth: i + 1, fault: { type: 'answer', status: 200, body } })
    }
  }
  invent([page(['far-9', `far-${'x'.repeat(1000)}`, 'far-&amp;', 'far-3', 'near-1'], 1), page(['far-5', 'far-7', 'far-1'], null)])
  t.same(await names({ MaxBuckets: 5 }), ['both', 'data', 'far-1', 'far-3', 'far-5'], 'the first in their order, and only what can be a bucket')
  const from = far.requests.length
  invent(Array.from({ length: 102 }, (_, i) => page([`far-${i}`], i)))
  await t.rejects(names({ MaxBuckets: 3 }), { name: 'SealgateBadUpstream' }, 'it does not end')
  t.equal(far.requests.slice(from).filter(({ bucket }) => bucket === '').length, 101)
  far.rules.clear()
})

await t.test('a client depends on no store where it has no bucket', async (t) => {
  const credentials = { accessKeyId: 'FARONLY', secretAccessKey: 'far-only-secret' }
  const all = { accessKeyId: 'TESTCLIENT', secretAccessKey: 'test-client-secret' }
  const { near, gateway, names } = await rig(t, { sections: { clients: [all, { ...credentials, buckets: ['far-*', 'far-data'] }] } })
  near.refuse()
  const s3 = new S3Client({ endpoint: gateway.endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials })
  t.teardown(() => {
    s3.destroy()
  })
  t.same(await names({}, s3), ['far-both', 'far-data', 'far-plain'])
  await near.listen()
})

await t.test('a bucket that the store is to write to is at the same store', async (t) => {
  const { near, s3, gateway } = await rig(t)
  const from = near.requests.length
  const log = (TargetBucket: string) =>
    s3.send(new PutBucketLoggingCommand({ Bucket: 'data', BucketLoggingStatus: { LoggingEnabled: { TargetBucket, TargetPrefix: 'x' } } }))
  await t.rejects(log('far-both'), { name: 'InvalidRequest', message: 'The bucket far-both is not at the same store.' })
  const arn = 'arn:aws:s3:::far-both'
  const sends: [sub: string, body: string][] = [
    [
      'logging',
      '<BucketLoggingStatus><LoggingEnabled><TargetBucket>far-both</TargetBucket><TargetPrefix>x</TargetPrefix></LoggingEnabled></BucketLoggingStatus>'
    ],
    ['replication', `<ReplicationConfiguration><Rule><Destination><Bucket>${arn}</Bucket></Destination></Rule></ReplicationConfiguration>`],
    [
      'inventory&id=i',
      `<InventoryConfiguration><Destination><S3BucketDestination><Bucket>${arn}</Bucket></S3BucketDestination></Destination></InventoryConfiguration>`
    ],
    [
      'analytics&id=i',
      `<AnalyticsConfiguration><StorageClassAnalysis><DataExport><Destination><S3BucketDestination><Bucket>${arn}</Bucket></S3BucketDestination></Destination></DataExport></StorageClassAnalysis></AnalyticsConfiguration>`
    ]
  ]
  const wire = new Wire(gateway.endpoint)
  t.teardown(() => {
    wire.close()
  })
  for (const [sub, body] of sends) {
    const answer = await wire.send(headerSigned(gateway, { method: 'PUT', target: `/data?${sub}`, headers: [] }, body), body)
    t.match([answer.status, answer.body.toString()], [400, /not at the same store/], sub)
  }
  t.same(reached(near, from), [])
})

await t.test('regression: certificates that changed in the file of `ca` count from the next reload on', async (t) => {
  const { near, gateway, told, upstreams, put, get } = await rig(t)
  const pem = (name: string): string => readFileSync(join(import.meta.dirname, '../support/tls', `${name}.pem`), 'utf8')
  const front = createServer({ cert: pem('localhost-cert'), key: pem('localhost-key') }, (incoming, outgoing) => {
    const { method, url, headers } = incoming
    const asked = request(`${near.endpoint}${url ?? ''}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      pipeline(answer, outgoing, () => undefined)
    })
    pipeline(incoming, asked, () => undefined)
  }).listen(0, '127.0.0.1')
  await once(front, 'listening')
  const ca = join(t.testdir({ 'ca.pem': pem('renewed-cert') }), 'ca.pem')
  const { port } = front.address() as AddressInfo
  const reload = (): Promise<void> =>
    gateway.gateway.reload(parseConfig(
      JSON.stringify({
        clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }],
        keys: { main: { type: 'local', keyring: gateway.keyring } },
        buckets: policies,
        upstreams: { ...upstreams, near: { ...upstreams.near, endpoint: `https://127.0.0.1:${port}`, ca } }
      }),
      { file: '/sealgate.yaml', env: {} }
    ))
  await reload()
  await t.rejects(put('data', 'k', 'x'), { name: 'SealgateBadUpstream' }, 'another certificate')
  await writeFile(ca, pem('localhost-cert'))
  await reload()
  await put('data', 'k', 'x')
  t.equal(await get('data', 'k'), 'x')
  const closed = (): number => told.filter(({ message, upstream }) => message === 'store no longer used' && upstream === 'near').length
  while (closed() < 2) await new Promise((resolve) => setTimeout(resolve, 5))
  await reload()
  t.equal(closed(), 2, 'the same certificates change nothing')
  front.closeAllConnections()
  front.close()
})

await t.test('preflights that wait for a store that hangs do not stop those for another', async (t) => {
  const { far, gateway } = await rig(t, { sections: { limits: { unauthenticatedRequests: 6 } } })
  far.rules.add({ when: { bucket: 'far-data' }, times: 1000, fault: { type: 'stall', at: 'before' } })
  const ask = async (bucket: string, i: number): Promise<string> =>
    (await rawRequest(
      gateway.endpoint,
      `OPTIONS /${bucket}/k HTTP/1.1\r\nHost: x\r\nOrigin: http://o${i}\r\nAccess-Control-Request-Method: GET\r\n\r\n`
    )).body.toString()
  const waiting = Array.from({ length: 8 }, (_, i) => ask('far-data', i))
  t.match(await Promise.race(waiting), /SlowDown/)
  t.ok(gateway.metric('sealgate_limited_total{limit="store requests"}') > 0)
  t.match(await ask('data', 1), /AccessForbidden/)
  t.equal(gateway.metric('sealgate_limited_total{limit="preflights"}'), 0)
  far.refuse()
  await Promise.all(waiting)
  await far.listen()
  far.rules.clear()
})

await t.test('a reload that is refused leaves nothing open, and nothing changed', async (t) => {
  const { gateway, upstreams: { near, far }, put, get } = await rig(t)
  const closing = (of: object) => t.capture(of, 'close' as never, Reflect.get(of, 'close') as () => Promise<void>)
  const [stores, registries] = [closing(OpenStore.prototype), closing(KeyRegistry.prototype)]
  const closed = (): { stores: number; keys: number } => ({ stores: stores().length, keys: registries().length })
  const main = { type: 'local', keyring: gateway.keyring }
  const reload = (upstreams: object, keys: object = { main }): Promise<void> =>
    gateway.gateway.reload(parseConfig(
      JSON.stringify({
        upstreams,
        keys,
        clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }],
        buckets: { '*': { key: 'main' } }
      }),
      { file: '/sealgate.yaml', env: {} }
    ))
  const withoutAuthority = { ...far, ca: '/nonexistent.pem' }
  await t.rejects(reload({ near: { ...near, connections: 50 }, far: withoutAuthority }), { code: 'ENOENT' })
  t.same(closed(), { stores: 1, keys: 1 }, 'the changed store, which had been opened')
  await t.rejects(reload({ near, far: withoutAuthority }), { code: 'ENOENT' })
  t.same(closed(), { stores: 0, keys: 1 }, 'not the store that serves')
  await t.rejects(reload({ near, far }, { main, other: { type: 'local', keyring: '/nonexistent.json' } }), { name: 'KeyringError' })
  t.same(closed(), { stores: 0, keys: 1 })
  await put('data', 'k', 'served on')
  t.equal(await get('data', 'k'), 'served on')
})

await t.test('a copy between stores is read, opened and sealed anew, with all that a copy keeps', async (t) => {
  const { near, far, s3, put, get } = await rig(t)
  const described = { Metadata: { a: 'b' }, ContentType: 'text/x', CacheControl: 'no-store', Tagging: 'x=y' }
  const body = Buffer.alloc(200_000, 'body')
  for (const [from, to] of [['data', 'far-data'], ['far-data', 'data'], ['data', 'far-plain'], ['plain', 'far-data'], ['plain', 'far-plain']] as const) {
    const label = `${from} to ${to}`
    const { ETag } = await put(from, 'source', body, described)
    const CopySource = `${from}/source`
    const store = to.startsWith('far') ? far : near
    const since = store.requests.length
    await s3.send(new CopyObjectCommand({ Bucket: to, Key: 'copy', CopySource, CopySourceIfMatch: ETag }))
    t.equal(await get(to, 'copy'), body.toString(), label)
    t.match(await s3.send(new HeadObjectCommand({ Bucket: to, Key: 'copy' })), { Metadata: { a: 'b' }, ContentType: 'text/x', CacheControl: 'no-store' }, label)
    t.match(await s3.send(new GetObjectTaggingCommand({ Bucket: to, Key: 'copy' })), { TagSet: [{ Key: 'x', Value: 'y' }] }, label)
    t.notOk(store.requests.slice(since).some(({ headers }) => headers.has('x-amz-copy-source')), `${label}: no store is asked to copy`)
    const sealed = store.object(to, 'copy')
    t.equal((await sealed.body()).includes('bodybody'), to.endsWith('plain'), label)
    await t.rejects(s3.send(new CopyObjectCommand({ Bucket: to, Key: 'copy', CopySource, CopySourceIfMatch: '"other"' })), { name: 'PreconditionFailed' })
    await t.rejects(s3.send(new CopyObjectCommand({ Bucket: to, Key: 'no', CopySource: `${from}/gone` })), { name: 'NoSuchKey' })
    const upload = { Bucket: to, Key: 'parts', UploadId: (await s3.send(new CreateMultipartUploadCommand({ Bucket: to, Key: 'parts' }))).UploadId }
    const { CopyPartResult } = await s3.send(new UploadPartCopyCommand({ ...upload, PartNumber: 1, CopySource, CopySourceRange: 'bytes=100-149999' }))
    await s3.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: [{ PartNumber: 1, ETag: CopyPartResult?.ETag }] } }))
    t.equal(await get(to, 'parts'), body.subarray(100, 150_000).toString(), label)
  }
  t.same(near.keys('data'), ['copy', 'parts', 'source'])
})

await t.test('a copy whose source ends in the middle becomes no object', async (t) => {
  const { near, far, s3, put } = await rig(t)
  const body = Buffer.alloc(400_000, 7)
  for (const [from, to] of [['data', 'far-data'], ['plain', 'far-plain'], ['data', 'far-plain']] as const) {
    await put(from, 'source', body)
    for (const type of ['reset', 'truncate'] as const) {
      const rule = near.rules.add({
        when: { method: 'GET', bucket: from, key: 'source', without: ['tagging'] },
        times: 9,
        fault: type === 'reset' ? { type, at: 'mid-body', bytes: 150_000 } : { type, bytes: 150_000 }
      })
      await t.rejects(s3.send(new CopyObjectCommand({ Bucket: to, Key: `cut-${type}`, CopySource: `${from}/source` })), `${from} to ${to}: ${type}`)
      t.ok(rule.fired > 0)
      rule.remove()
    }
    near.rules.add({ when: { method: 'GET', bucket: from, key: 'source', without: ['tagging'] }, fault: { type: 'flip', offset: 200_000 } })
    if (from === 'data') {
      await t.rejects(s3.send(new CopyObjectCommand({ Bucket: to, Key: 'flipped', CopySource: `${from}/source` })), 'nor one whose bytes are others')
    }
    near.rules.clear()
    t.same(far.keys(to), [])
  }
})

await t.test('a store that hangs or is down takes nothing from the other', async (t) => {
  const { far, gateway, put, get } = await rig(t, { sections: { limits: { requestsInFlight: 8, upstreamFirstByteSeconds: 30 } } })
  await put('data', 'k', 'near')
  await put('far-data', 'k', 'far')
  far.rules.add({ when: { bucket: 'far-data', key: 'k' }, times: 1000, fault: { type: 'stall', at: 'before' } })
  far.rules.add({ when: { method: 'GET', bucket: '' }, times: 1000, fault: { type: 'stall', at: 'before' } })
  const s3 = gateway.client()
  const cut = new AbortController()
  const sixTimes = (command: () => GetObjectCommand | CopyObjectCommand | ListBucketsCommand) =>
    Array.from({ length: 6 }, () =>
      // The SDK has one overload for each command.
      s3.send(command() as GetObjectCommand, { abortSignal: cut.signal }).catch((error: unknown) => (error as Error).name))
  const asked = sixTimes(() => new GetObjectCommand({ Bucket: 'far-data', Key: 'k' }))
  t.equal(await Promise.race(asked), 'SlowDown', 'a store has its share of what may be in flight')
  t.ok(gateway.metric('sealgate_limited_total{limit="store requests"}') > 0)
  t.equal(await get('data', 'k'), 'near')
  const copies = sixTimes(() => new CopyObjectCommand({ Bucket: 'data', Key: 'copy', CopySource: 'far-data/k' }))
  t.equal(await Promise.race(copies), 'SlowDown', 'requests that need both stores have a share of their own')
  const lists = sixTimes(() => new ListBucketsCommand({}))
  t.equal(await Promise.race(lists), 'SlowDown')
  t.equal(await get('data', 'k'), 'near', 'and hold no place at a store that answers')
  cut.abort()
  await Promise.all([...asked, ...copies, ...lists])
  s3.destroy()
  far.rules.clear()
  const again = async (): Promise<string> =>
    get('far-data', 'k').catch((error: unknown) => (error as Error).name === 'SlowDown' ? again() : Promise.reject(error as Error))
  t.equal(await again(), 'far', 'the places are given back')
  far.refuse()
  t.equal(await get('data', 'k'), 'near')
  await t.rejects(get('far-data', 'k'), { name: 'ServiceUnavailable' })
  await far.listen()
})

await t.test('a reload adds, changes and removes stores, and cuts nothing', async (t) => {
  const { near, far, gateway, put, get, told, upstreams } = await rig(t)
  const config = (more: object) =>
    parseConfig(
      JSON.stringify({
        clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey }],
        keys: { main: { type: 'local', keyring: gateway.keyring } },
        buckets: policies,
        ...more
      }),
      { file: '/sealgate.yaml', env: {} }
    )
  await put('far-data', 'k', 'x'.repeat(300_000))
  let go: () => void = () => undefined
  const until = new Promise<void>((resolve) => {
    go = resolve
  })
  far.rules.add({ when: { method: 'PUT', key: 'late' }, fault: { type: 'late', until: () => until } })
  const late = put('far-data', 'late', 'late')
  while (!far.requests.some(({ key }) => key === 'late')) await new Promise((resolve) => setTimeout(resolve, 5))
  const { far: _, ...without } = upstreams
  await gateway.gateway.reload(config({ upstreams: without, buckets: { '*': {} } }))
  await t.rejects(put('far-data', 'none', 'x'), { name: 'NoSuchBucket' }, 'it is looked for at the store that is left')
  t.notOk(told.some(({ message }) => message === 'store no longer used'))
  go()
  t.equal((await late).$metadata.httpStatusCode, 200, 'what was under way ends')
  while (!told.some(({ message, upstream }) => message === 'store no longer used' && upstream === 'far')) await new Promise((resolve) => setTimeout(resolve, 5))
  const gauges = gateway.gateway.snapshot().filter(({ type, labelNames, series }) => type === 'gauge' && labelNames.includes('upstream') && series.length > 0)
  t.same(
    gauges.map(({ name }) => name).toSorted(),
    ['check_failing', 'clock_skew_seconds', 'store_capability', 'upstream_connections'].map((name) => `sealgate_${name}`)
  )
  t.notMatch(JSON.stringify(gauges), /"far"/, 'a store that is gone has no state')
  await put('data', 'k', 'near')
  t.match((await gateway.gateway.ready()).checks, { keys: 'ok', store: 'ok', stateBucket: 'ok' })
  near.refuse()
  await gateway.gateway.reload(config({ upstreams }))
  t.match(await gateway.gateway.ready(), {
    ok: true,
    checks: { 'keys': 'ok', 'store near': /^(?!ok)/, 'stateBucket near': /^(?!ok)/, 'store far': 'ok', 'stateBucket far': 'ok' }
  }, 'ready while one store serves, and the other is named')
  t.equal(gateway.metric('sealgate_check_failing{check="store",upstream="near"}'), 1)
  t.equal(gateway.metric('sealgate_check_failing{check="store",upstream="far"}'), 0)
  t.match(told.filter(({ message }) => message === 'readiness check fails').at(-1), { upstream: 'near' })
  t.equal(await get('far-data', 'late'), 'late')
  far.refuse()
  await gateway.gateway.reload(config({ upstreams }))
  t.match(await gateway.gateway.ready(), { ok: false })
  await Promise.all([near.listen(), far.listen()])
})
