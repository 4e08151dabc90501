// `upstream.checksum: crc32`: object data goes to the store with a checksum of the stored bytes, and nothing of it to clients.
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { crc32 } from 'node:zlib'
import t, { type Test } from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { byTurns } from '../support/by-turns.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { upload as rawUpload, type Framing } from '../support/uploads.ts'
import { Bucket, bytes, complete, create, MiB, put, read, rig, stateBucket, upload } from '../support/multipart-rig.ts'
import type { RecordedRequest } from '../support/recorder.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { codeOf } from '../support/error-code.ts'

const plain = 'plain-bucket'
const options = {
  upstream: { checksum: 'crc32' },
  buckets: [plain],
  sections: { buckets: { '*': { encryption: 'on', key: 'main' }, 'plain-*': { encryption: 'off' } } }
} as const
const locked = { ObjectLockMode: 'GOVERNANCE', ObjectLockRetainUntilDate: new Date(Date.now() + 3_600_000) } as const

/** The gateway and its store, with a bucket that locks. */
async function lockingRig(t: Test, more: object = {}) {
  const made = await rig(t, { ...options, ...more })
  await made.s3.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }))
  return made
}

function carriesData({ method, bucket, key, headers, query }: Pick<RecordedRequest, 'method' | 'bucket' | 'key' | 'headers' | 'query'>): boolean {
  return method === 'PUT' && bucket !== stateBucket && key !== '' && !headers.has('x-amz-copy-source') && !query.has('retention')
}

/** As AWS behaves with buckets that lock. */
function demandDigests(store: TestStore) {
  return store.rules.add({
    when: {
      test: (request) =>
        carriesData(request) && ![...request.headers.names()].some((name) => /^(content-md5|x-amz-trailer|x-amz-checksum-(crc|sha).*)$/.test(name))
    },
    times: Infinity,
    fault: {
      type: 'error',
      status: 400,
      code: 'InvalidRequest',
      message: 'Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters'
    }
  })
}

const clients = new Map<TestStore, S3Client>()

/** The client of the store itself. */
function direct(store: TestStore): S3Client {
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const client = clients.get(store) ?? new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
  clients.set(store, client)
  return client
}

function crc32Of(data: Buffer): string {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(crc32(data))
  return out.toString('base64')
}

/** The checksums that the store keeps of an object. */
async function storedChecksums(store: TestStore, Key: string): Promise<string[]> {
  const head = await direct(store).send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
  return Object.entries(head).flatMap(([name, value]) => name.startsWith('Checksum') && name !== 'ChecksumType' ? [String(value)] : [])
}

void t.test('a store that demands digests gets one with every body, and clients never see it', async (t) => {
  const { store, s3 } = await lockingRig(t, { keepBodies: true })
  const demand = demandDigests(store)
  for (const size of [0, 100, 65_480, 65_481, 200_005]) {
    const Body = bytes(size, 3)
    const Key = `single-${size}`
    const written = await s3.send(new PutObjectCommand({ Bucket, Key, Body, ContentEncoding: 'gzip', ChecksumAlgorithm: 'CRC32', ...locked }))
    t.equal(written.ChecksumCRC32, crc32Of(Body), 'the client\'s own is of its own bytes')
    t.ok(Body.equals(await read(s3, Key)), Key)
    const stored = await store.object(Bucket, Key).body()
    t.same(await storedChecksums(store, Key), [crc32Of(stored)], 'the store\'s is of stored bytes')
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
    t.match(head, { ChecksumCRC32: crc32Of(Body), ContentEncoding: 'gzip', ObjectLockMode: 'GOVERNANCE' })
    const sent = store.requests.findLast((request) => carriesData(request))
    t.equal(sent?.headers.get('content-length'), String(sent?.bodyLength))
    t.equal(sent?.headers.get('x-amz-content-sha256') === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', size > 65_480)
    t.notOk(sent?.headers.has('content-md5'))
  }
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/single-65481`, MetadataDirective: 'REPLACE' }))
  t.ok(bytes(65_481, 3).equals(await read(s3, 'copy')))
  t.same((await s3.send(new ListObjectsV2Command({ Bucket }))).Contents?.map((row) => row.ChecksumAlgorithm), Array(6).fill(undefined))
  t.equal(demand.fired, 0)
})

async function checkListings(t: Test, s3: S3Client, store: TestStore, Key: string, UploadId: string, sums: readonly (string | undefined)[]) {
  t.same((await s3.send(new ListPartsCommand({ Bucket, Key, UploadId }))).Parts?.map((part) => part.ChecksumSHA256), sums)
  const rows = (await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads ?? []
  t.ok(rows.length > 0 && rows.every((row) => row.ChecksumAlgorithm === undefined && row.ChecksumType === undefined))
  const held = await direct(store).send(new ListPartsCommand({ Bucket, Key, UploadId }))
  t.ok((held.Parts ?? []).every((part) => part.ChecksumCRC32 !== undefined))
}

void t.test('uploads in parts, through two instances in turn', async (t) => {
  const { store, s3, another } = await lockingRig(t)
  const demand = demandDigests(store)
  const instances = [s3, await another()]
  for (const sizes of [...byTurns(false) ? [[5 * MiB, 5 * MiB]] : [], [5 * MiB, 1000], [0]]) {
    const parts = sizes.map((size, i) => bytes(size, i))
    const sums = parts.map((part) => createHash('sha256').update(part).digest('base64'))
    const Key = `parts-${sizes.join('-')}`
    const id = await create(s3, Key, { ChecksumAlgorithm: 'SHA256', ...locked })
    const listed = []
    for (const [i, part] of parts.entries()) {
      listed.push({ ...await put(instances[i % 2]!, Key, id, i + 1, part, { ChecksumAlgorithm: 'SHA256' }), ChecksumSHA256: sums[i] })
    }
    await checkListings(t, s3, store, Key, id, sums)
    const done = await complete(instances[1]!, Key, id, listed)
    t.match(done.ChecksumSHA256, new RegExp(`-${parts.length}$`))
    t.equal(done.ChecksumCRC32, undefined)
    t.ok(Buffer.concat(parts).equals(await read(s3, Key)), Key)
    const [stored] = await storedChecksums(store, Key)
    t.match(stored, /^.{8}-\d$/, 'a checksum of checksums')
    const told = await s3.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ['Checksum', 'ObjectParts'] }))
    t.equal(told.Checksum?.ChecksumCRC32, undefined)
    if (sizes[1] !== 1000) continue
    const copied = await create(s3, `${Key}-copy`)
    const { CopyPartResult } = await s3.send(
      new UploadPartCopyCommand({ Bucket, Key: `${Key}-copy`, UploadId: copied, PartNumber: 1, CopySource: `${Bucket}/${Key}` })
    )
    await complete(s3, `${Key}-copy`, copied, [{ PartNumber: 1, ETag: CopyPartResult?.ETag }])
    t.ok(Buffer.concat(parts).equals(await read(s3, `${Key}-copy`)), `${Key}-copy`)
  }
  t.equal(demand.fired, 0)
})

void t.test('what does not verify, or breaks off, never becomes an object', async (t) => {
  const { store, gateway, s3 } = await lockingRig(t)
  const data = bytes(300_000)
  const id = await create(s3, 'part')
  for (const target of [`/${Bucket}/single`, `/${Bucket}/part?partNumber=1&uploadId=${id}`]) {
    for (
      const [framing, spoilt] of [['hash', { hash: 'a'.repeat(64) }], ['unsigned chunks and trailer', { trailer: 'x-amz-checksum-crc32:AAAAAA==' }]] as const
    ) {
      t.match(await answerTo(gateway, target, framing, data, spoilt), /^HTTP\/1\.1 400 /, `${framing} ${target}`)
    }
    await answerTo(gateway, target, 'unsigned', data, {}, data.length - 1)
  }
  t.same(store.keys(Bucket), [])
  const sent = store.requests.filter((request) => carriesData(request) && request.headers.has('x-amz-trailer'))
  t.ok(sent.length >= 3 && sent.every(({ complete: whole }) => !whole), 'the store was never given the end')
})

/** Sends an upload, or its first bytes and then nothing more. */
async function answerTo(gateway: TestGateway, target: string, framing: Framing, data: Buffer, spoilt: object, cut?: number): Promise<string> {
  const { head, body } = rawUpload(gateway, target, framing, data, spoilt)
  const socket = connect(Number(new URL(gateway.endpoint).port), '127.0.0.1')
  socket.write(head)
  if (cut !== undefined) {
    await new Promise((resolve) => {
      socket.write(body.subarray(0, cut), resolve)
    })
    socket.destroySoon()
    await new Promise((resolve) => {
      socket.once('close', resolve)
    })
    return ''
  }
  socket.write(body)
  const answer = await new Promise<Buffer>((resolve, reject) => {
    socket.once('data', resolve).once('error', reject)
  })
  socket.destroy()
  return answer.toString('latin1')
}

void t.test('a part damaged on its way is refused by the store', async (t) => {
  const { store, s3 } = await lockingRig(t)
  const id = await create(s3, 'damaged')
  const part = await put(s3, 'damaged', id, 1, bytes(5 * MiB))
  // The store lists another checksum than the one that it compares.
  store.rules.add({
    when: { method: 'GET', query: { uploadId: true } },
    times: Infinity,
    fault: { type: 'rows', element: 'ChecksumCRC32', change: () => '<ChecksumCRC32>AAAAAA==</ChecksumCRC32>' }
  })
  t.equal(await codeOf(complete(s3, 'damaged', id, [part])), 'ServiceUnavailable')
  store.rules.clear()
  await complete(s3, 'damaged', id, [part])
  t.ok(bytes(5 * MiB).equals(await read(s3, 'damaged')))
})

void t.test('a body damaged on its way to the store is not the client\'s fault, and no object that fails verification', async (t) => {
  const { store, gateway, s3 } = await lockingRig(t)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: bytes(100_000) }))
  const id = await create(s3, 'upload')
  const writes: readonly (() => Promise<unknown>)[] = [
    () => s3.send(new PutObjectCommand({ Bucket, Key: 'held', Body: bytes(10) })),
    () => s3.send(new PutObjectCommand({ Bucket, Key: 'streamed', Body: bytes(100_000) })),
    () => put(s3, 'upload', id, 1, bytes(5 * MiB)),
    () => s3.send(new CopyObjectCommand({ Bucket, Key: 'through', CopySource: `${Bucket}/source`, ChecksumAlgorithm: 'SHA256' })),
    () => s3.send(new CopyObjectCommand({ Bucket: plain, Key: 'opened', CopySource: `${Bucket}/source` }))
  ]
  for (const [i, code] of ['BadDigest', 'XAmzContentChecksumMismatch', 'XAmzContentSHA256Mismatch'].entries()) {
    for (const [j, write] of writes.entries()) {
      // Each way of writing meets one of the codes, and the first two, which cost little, meet all.
      if (!byTurns(j < 2 || j % 3 === i)) continue
      store.rules.add({ when: { test: carriesData }, fault: { type: 'error', status: 400, code } })
      t.equal(await codeOf(write()), 'SealgateBadUpstream')
    }
  }
  t.equal(gateway.metric('sealgate_integrity_failures_total{kind="checksum"}'), 0)
  store.rules.add({ when: { test: carriesData }, fault: { type: 'error', status: 400, code: 'BadDigest' } })
  t.equal(
    await codeOf(s3.send(new PutObjectCommand({ Bucket: plain, Key: 'own', Body: 'own' }))),
    'BadDigest',
    'where the client\'s bytes go as they are, the store speaks'
  )
})

void t.test('nothing is written before a probe has shown that the store accepts them', async (t) => {
  const store = await startTestStore({ buckets: [Bucket, plain] })
  store.rules.add({ when: { method: 'GET', key: /^probe\/.*checksum$/ }, times: Infinity, fault: { type: 'flip', offset: 0 } })
  const told: string[] = []
  const gateway = await startTestGateway(store, {
    ...options,
    operatorLog: (...line) => {
      told.push(JSON.stringify(line))
    }
  })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  const s3 = gateway.client()
  t.match(await gateway.gateway.ready(), { ok: false })
  t.match(told.join(), /upstream.checksum sends them \(PutObject: other bytes come back\)/)
  for (const size of [10, 100_000]) {
    for (const name of [Bucket, plain]) {
      t.equal(await codeOf(s3.send(new PutObjectCommand({ Bucket: name, Key: 'x', Body: bytes(size) }))), 'ServiceUnavailable')
    }
  }
  t.equal(await codeOf(create(s3, 'x')), 'ServiceUnavailable')
  t.same([store.keys(Bucket), store.keys(plain), store.uploads(Bucket)], [[], [], 0])
})

void t.test('an upload keeps its checksum setting, even through an instance with another configuration', async (t) => {
  const { store, gateway, s3 } = await lockingRig(t)
  const without = await startTestGateway(store, { keyring: gateway.keyring, sections: options.sections })
  t.teardown(() => without.close())
  const other = without.client()
  for (const [Key, first, second] of [['with', s3, other], ['without', other, s3]] as const) {
    const id = await create(first, Key)
    const listed = [await put(second, Key, id, 1, bytes(5 * MiB)), await put(second, Key, id, 2, bytes(9))]
    await complete(second, Key, id, listed)
    t.equal((await read(first, Key)).length, 5 * MiB + 9)
    const sent = store.requests.filter(({ key, query }) => key === Key && query.has('partNumber'))
    t.equal(sent.length, 2)
    for (const { headers } of sent) t.equal(headers.has('x-amz-trailer'), Key === 'with', Key)
  }
  await upload(other, 'plain store', [bytes(9)])
  await other.send(new PutObjectCommand({ Bucket, Key: 'plain store', Body: bytes(100_000) }))
  const quiet = store.requests.filter(({ key, headers }) => key === 'plain store' && [...headers.names()].some((name) => /checksum|trailer/.test(name)))
  t.same(quiet, [], 'by default the store hears nothing of checksums')
})

void t.test('a store that demands consecutive part numbers: the client gets its error', async (t) => {
  const { store, s3 } = await lockingRig(t)
  const refuse = () =>
    store.rules.add({ when: { method: 'POST', query: { uploadId: true } }, times: Infinity, fault: { type: 'error', status: 400, code: 'InvalidPartOrder' } })
  const id = await create(s3, 'gaps')
  const listed = [await put(s3, 'gaps', id, 2, bytes(5 * MiB)), await put(s3, 'gaps', id, 4, bytes(1))]
  refuse()
  await t.rejects(complete(s3, 'gaps', id, listed), { name: 'InvalidPartOrder', message: /start at 1 and are consecutive/ })
  store.rules.clear()
  await complete(s3, 'gaps', id, listed)
  const whole = await create(s3, 'no gaps')
  const good = [await put(s3, 'no gaps', whole, 1, bytes(1))]
  refuse()
  t.equal(await codeOf(complete(s3, 'no gaps', whole, good)), 'ServiceUnavailable')
})

void t.test('in a bucket that is not encrypted the client\'s checksum is passed unchanged', async (t) => {
  const { store, gateway, s3 } = await lockingRig(t)
  const demand = demandDigests(store)
  for (const size of [10, 200_000]) {
    const data = bytes(size)
    t.match(await answerTo(gateway, `/${plain}/trailed`, 'unsigned chunks and trailer', data, {}), /^HTTP\/1\.1 200 /)
    t.equal((await direct(store).send(new HeadObjectCommand({ Bucket: plain, Key: 'trailed', ChecksumMode: 'ENABLED' }))).ChecksumCRC32, crc32Of(data))
    await s3.send(new PutObjectCommand({ Bucket: plain, Key: 'headed', Body: data, ChecksumAlgorithm: 'SHA256' }))
    const sent = store.requests.findLast(({ key }) => key === 'headed')
    t.equal(sent?.headers.get('x-amz-checksum-sha256'), createHash('sha256').update(data).digest('base64'))
    t.notOk(sent?.headers.has('x-amz-checksum-crc32') === true || sent?.headers.has('x-amz-trailer') === true)
  }
  const data = bytes(100_000)
  await answerTo(gateway, `/${Bucket}/bare`, 'hash', data, {})
  await s3.send(new PutObjectCommand({ Bucket, Key: 'summed', Body: data, ChecksumAlgorithm: 'SHA256' }))
  for (const [Key, name] of [['bare', 'x-amz-trailer'], ['summed', 'x-amz-checksum-sha256']] as const) {
    await s3.send(new CopyObjectCommand({ Bucket: plain, Key, CopySource: `${Bucket}/${Key}` }))
    const { headers } = store.requests.findLast(({ bucket, key, method }) => bucket === plain && key === Key && method === 'PUT')!
    t.same(['x-amz-trailer', 'x-amz-checksum-sha256'].filter((one) => headers.has(one)), [name], Key)
    const got = await s3.send(new GetObjectCommand({ Bucket: plain, Key }))
    t.ok(data.equals(Buffer.from(await got.Body!.transformToByteArray())), Key)
  }
  t.equal(demand.fired, 0)
})

void t.test('a copy out of a sealed bucket has the requested checksum, and parts have that of their upload', async (t) => {
  const { s3 } = await lockingRig(t)
  const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('base64')
  for (const size of [1000, 100_000]) {
    const data = bytes(size)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: data, ChecksumAlgorithm: 'CRC32' }))
    const { CopyObjectResult } = await s3.send(
      new CopyObjectCommand({ Bucket: plain, Key: 'copy', CopySource: `${Bucket}/source`, ChecksumAlgorithm: 'SHA256' })
    )
    t.equal(CopyObjectResult?.ChecksumSHA256, sha256(data), `${size} bytes`)
    const to = { Bucket: plain, Key: 'parts' }
    for (const ChecksumAlgorithm of ['SHA256', undefined] as const) {
      const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ ...to, ChecksumAlgorithm }))
      const { CopyPartResult } = await s3.send(new UploadPartCopyCommand({ ...to, UploadId, PartNumber: 1, CopySource: `${Bucket}/source` }))
      if (ChecksumAlgorithm !== undefined) t.equal(CopyPartResult?.ChecksumSHA256, sha256(data), `${size} bytes, in a part`)
      const { ETag, ChecksumSHA256 } = CopyPartResult!
      const done = await s3.send(new CompleteMultipartUploadCommand({ ...to, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag, ChecksumSHA256 }] } }))
      if (ChecksumAlgorithm !== undefined) t.match(done.ChecksumSHA256, /-1$/)
      t.ok(data.equals(await read(s3, 'parts', { Bucket: plain })))
    }
  }
  t.equal(
    await codeOf(s3.send(new UploadPartCopyCommand({ Bucket: plain, Key: 'parts', UploadId: 'over', PartNumber: 1, CopySource: `${Bucket}/source` }))),
    'NoSuchUpload'
  )
})
