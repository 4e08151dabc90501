import t, { type Test } from 'tap'
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  type CompletedPart,
  type S3Client
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { storedSize } from '../../../src/envelope/sizes.ts'
import { byTurns } from '../../support/by-turns.ts'
import type { WholeAnswer } from '../../support/faults.ts'
import { Bucket, bytes, complete, create, etagOf, md5, MiB, put, read, rig, stateBucket, upload } from '../../support/multipart-rig.ts'

interface Shape {
  readonly name: string
  readonly sizes: readonly number[]
  /** Part numbers; 1, 2, … by default. */
  readonly numbers?: readonly number[]
}

const shapes: readonly Shape[] = [
  { name: 'last part of 0 bytes', sizes: [5 * MiB, 0] },
  { name: 'last part of 1 byte', sizes: [5 * MiB, 5 * MiB + 1, 1] },
  { name: 'last part of 5 MiB - 1', sizes: [5 * MiB - 1] },
  { name: 'last part of 5 MiB', sizes: [5 * MiB] },
  { name: 'a single small part', sizes: [1000] },
  { name: 'a single empty part', sizes: [0] },
  { name: 'numbers with gaps', sizes: [5 * MiB, 7], numbers: [3, 10_000] }
]

/** In reverse, the last part first with other content, through the instances in turn. */
async function uploadTheHardWay(instances: readonly S3Client[], Key: string, parts: readonly (readonly [number, Buffer])[]) {
  const turn = (i: number): S3Client => instances[i % instances.length]!
  const id = await create(turn(0), Key)
  const listed: CompletedPart[] = []
  for (const [i, [number, data]] of [...parts].reverse().entries()) {
    if (i === 0) await put(turn(i), Key, id, number, Buffer.alloc(Math.min(data.length, 1000), 1))
    listed.unshift(await put(turn(i + 1), Key, id, number, data))
  }
  return { id, listed }
}

async function checkObject(t: Test, s3: S3Client, Key: string, parts: readonly (readonly [number, Buffer])[], etag: string) {
  const whole = Buffer.concat(parts.map(([, data]) => data))
  t.ok(whole.equals(await read(s3, Key)), 'comes back as it was written')
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key })), { ContentLength: whole.length, ETag: etag })
  const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: Key }))
  t.match(Contents?.filter((row) => row.Key === Key), [{ Key, Size: whole.length, ETag: etag }])
  let ranges = 0
  let start = 0
  for (const [number, data] of parts) {
    // An only part is the object, and the first ones are what the others are.
    if (byTurns(parts.length > 1 && number === parts.at(-1)?.[0])) {
      const part = await s3.send(new GetObjectCommand({ Bucket, Key, PartNumber: number }))
      t.match(part, { PartsCount: parts.length, ContentLength: data.length })
      t.ok(data.equals(Buffer.from(await part.Body!.transformToByteArray())), `part ${number} alone`)
    }
    for (const [i, at] of [start - 1, start, start + 65_480, start + data.length - 1].entries()) {
      // Every length at every kind of place, by turns over the parts.
      for (const length of [[1, 70_000], [2], [70_000, 1], [2, 70_000]][(i + number) % 4]!) {
        const first = Math.max(0, at)
        const last = Math.min(first + length, whole.length) - 1
        if (last < first) continue
        ranges += 1
        const got = await read(s3, Key, { Range: `bytes=${first}-${last}` })
        if (!whole.subarray(first, last + 1).equals(got)) t.fail(`range ${first}-${last}`)
      }
    }
    start += data.length
  }
  return ranges
}

for (const etag of ['md5', 'opaque'] as const) {
  void t.test(`uploads of every shape, through two instances in turn (${etag})`, async (t) => {
    const { store, s3, another } = await rig(t, { sections: { buckets: { '*': { encryption: 'on', key: 'main', etag } } } })
    const instances = [s3, await another()]
    let ranges = 0
    // The last two have the ETags that the others have not.
    const chosen = etag === 'md5' ? shapes.slice(0, -2) : shapes.slice(-2)
    for (const { name, sizes, numbers } of shapes.filter((shape) => byTurns(chosen.includes(shape)))) {
      const parts = sizes.map((size, i) => [numbers?.[i] ?? i + 1, bytes(size, i * 100)] as const)
      const { id, listed } = await uploadTheHardWay(instances, name, parts)
      t.match(await s3.send(new ListPartsCommand({ Bucket, Key: name, UploadId: id })), {
        UploadId: id,
        IsTruncated: false,
        Parts: parts.map(([PartNumber, data], i) => ({ PartNumber, Size: data.length, ETag: listed[i]?.ETag }))
      }, name)
      if (etag === 'md5') t.same(listed.map(({ ETag }) => ETag), parts.map(([, data]) => `"${md5(data)}"`))
      else for (const { ETag } of listed) t.match(ETag, /^"[0-9a-f]{32}-0"$/)
      const answer = await complete(s3, name, id, listed)
      if (etag === 'md5') t.equal(answer.ETag, etagOf(parts.map(([, data]) => data)))
      else t.match(answer.ETag, /^"[0-9a-f]{32}-\d+"$/)
      t.match(answer.Location, new RegExp(`^http://127.0.0.1:\\d+/${Bucket}/`), 'leads to the gateway')
      const again = await complete(instances[1]!, name, id, listed)
      t.equal(again.ETag, answer.ETag, 'the answer is the same when it is asked for again')
      const whole = sizes.reduce((sum, size) => sum + size, 0)
      t.equal(store.object(Bucket, name).version.size, storedSize(whole), 'the size law')
      ranges += await checkObject(t, instances[1]!, name, parts, answer.ETag!)
      t.same(store.keys(stateBucket), [], 'no state is left')
    }
    t.comment(`${ranges} ranges of multipart objects, 0 differ`)
  })
}

void t.test('an upload that another instance completes between the list of parts and the tail', async (t) => {
  const { store, s3 } = await rig(t)
  const listing = { method: 'GET', bucket: Bucket, query: { uploadId: true } } as const
  for (const last of [10, 5 * MiB]) {
    const Key = `raced ${last}`
    const id = await create(s3, Key)
    const listed = [await put(s3, Key, id, 1, bytes(5 * MiB)), await put(s3, Key, id, 2, bytes(last, 1))]
    let parts: WholeAnswer | null = null
    store.rules.add({
      when: listing,
      fault: {
        type: 'transform',
        change: (answer) => {
          parts = answer
          return answer
        }
      }
    })
    // The state is not removed, and the list of parts is the one of before: so the slower one gets as far as the tail.
    store.rules.add({ when: { method: 'POST', bucket: stateBucket }, fault: { type: 'error', status: 503, code: 'SlowDown' } })
    const quick = await complete(s3, Key, id, listed)
    store.rules.add({ when: listing, fault: { type: 'transform', change: () => parts! } })
    t.equal((await complete(s3, Key, id, listed)).ETag, quick.ETag, Key)
  }
  t.same(store.keys(stateBucket), [])
})

void t.test('the SDK\'s own manager, aborts, listings of uploads, and a bucket that can go', async (t) => {
  const { store, s3 } = await rig(t)
  const Body = bytes(6 * MiB)
  const params = { Bucket, Key: 'managed', Body, ContentType: 'text/x-test', Metadata: { colour: 'blue' } }
  const done = await new Upload({ client: s3, params, partSize: 5 * MiB }).done()
  t.equal(done.ETag, etagOf([Body.subarray(0, 5 * MiB), Body.subarray(5 * MiB)]))
  t.ok(Body.equals(await read(s3, 'managed')))
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'managed' })), { ContentType: 'text/x-test', Metadata: { colour: 'blue' } })

  const id = await create(s3, 'given up')
  await put(s3, 'given up', id, 1, bytes(5 * MiB))
  await put(s3, 'given up', id, 2, bytes(10))
  t.match((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads, [{ Key: 'given up', UploadId: id }])
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key: 'given up', UploadId: id }))
  t.notOk((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads)
  t.same(store.keys(stateBucket), [])
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'managed' }))
  await s3.send(new DeleteBucketCommand({ Bucket }))
})

void t.test('lists of parts in pages, and the parts of objects', async (t) => {
  const { s3 } = await rig(t)
  const id = await create(s3, 'paged', { ChecksumAlgorithm: 'CRC32' })
  const sizes = [5 * MiB, 9]
  const listed: CompletedPart[] = []
  for (const [i, size] of sizes.entries()) listed.push(await put(s3, 'paged', id, i + 1, bytes(size, i), { ChecksumAlgorithm: 'CRC32' }))
  const first = await s3.send(new ListPartsCommand({ Bucket, Key: 'paged', UploadId: id, MaxParts: 1 }))
  t.match(first, { IsTruncated: true, NextPartNumberMarker: '1', MaxParts: 1, ChecksumAlgorithm: 'CRC32', ChecksumType: 'COMPOSITE' })
  const second = await s3.send(new ListPartsCommand({ Bucket, Key: 'paged', UploadId: id, MaxParts: 1, PartNumberMarker: '1' }))
  t.match(second, { IsTruncated: false, Parts: [{ PartNumber: 2, Size: 9 }] })
  const all = [...first.Parts ?? [], ...second.Parts ?? []]
  t.same(all.map(({ PartNumber, ETag }) => ({ PartNumber, ETag })), listed)
  const named = all.map(({ PartNumber, ETag, ChecksumCRC32 }) => ({ PartNumber, ETag, ChecksumCRC32 }))
  const { ETag, ChecksumCRC32 } = await complete(s3, 'paged', id, named)
  t.match(ChecksumCRC32, /-2$/)
  const attributes = await s3.send(
    new GetObjectAttributesCommand({
      Bucket,
      Key: 'paged',
      ObjectAttributes: ['ETag', 'Checksum', 'ObjectParts', 'ObjectSize', 'StorageClass'],
      MaxParts: 1
    })
  )
  t.match(attributes, {
    ETag: ETag?.replaceAll('"', ''),
    ObjectSize: 5 * MiB + 9,
    StorageClass: 'STANDARD',
    Checksum: { ChecksumCRC32, ChecksumType: 'COMPOSITE' },
    ObjectParts: {
      TotalPartsCount: 2,
      IsTruncated: true,
      Parts: [{ PartNumber: 1, Size: 5 * MiB, ChecksumCRC32: all[0]?.ChecksumCRC32 }]
    }
  })
  const part = await s3.send(new GetObjectCommand({ Bucket, Key: 'paged', PartNumber: 1, ChecksumMode: 'ENABLED' }))
  t.equal(part.ChecksumCRC32, all[0]?.ChecksumCRC32, 'a part has its own checksum')
  t.ok(bytes(5 * MiB).equals(Buffer.from(await part.Body!.transformToByteArray())))
})

void t.test('a part whose newest attempt was never answered does not end the list of parts', async (t) => {
  const { store, s3 } = await rig(t)
  const id = await create(s3, 'untold')
  for (const [number, size] of [[1, 5 * MiB], [2, 5 * MiB], [3, 10]] as const) await put(s3, 'untold', id, number, bytes(size, number))
  const again = { when: { method: 'PUT', key: 'untold' }, fault: { type: 'lost-answer', status: 503, code: 'SlowDown' } } as const
  store.rules.add(again)
  await t.rejects(put(s3, 'untold', id, 1, bytes(5 * MiB, 4)))
  const told: (number | undefined)[] = []
  let PartNumberMarker: string | undefined
  for (let pages = 0; pages < 3; pages += 1) {
    const page = await s3.send(new ListPartsCommand({ Bucket, Key: 'untold', UploadId: id, MaxParts: 1, PartNumberMarker }))
    told.push(...page.Parts?.map(({ PartNumber }) => PartNumber) ?? [])
    t.equal(page.IsTruncated, pages < 2)
    PartNumberMarker = page.NextPartNumberMarker
  }
  t.same(told, [2, 3])
})

void t.test('copies of multipart objects move no data, and keep their parts', async (t) => {
  const { store, s3 } = await rig(t)
  const parts = [bytes(5 * MiB), bytes(77)]
  const { answer } = await upload(s3, 'source', parts)
  const before = store.requests.length
  const copy = await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/source` }))
  t.equal(copy.CopyObjectResult?.ETag, answer.ETag)
  const sent = store.requests.slice(before).reduce((sum, { bodyLength }) => sum + bodyLength, 0)
  t.equal(sent, 0, 'nothing was uploaded')
  t.ok(Buffer.concat(parts).equals(await read(s3, 'copy')))
  t.match(await s3.send(new HeadObjectCommand({ Bucket, Key: 'copy', PartNumber: 1 })), { PartsCount: 2, ContentLength: 5 * MiB })
})

void t.test('requests that a range of a multipart object costs', async (t) => {
  const { store, s3, another } = await rig(t)
  await upload(s3, 'ranged', [bytes(5 * MiB), bytes(5 * MiB), bytes(1)])
  const cold = await another()
  const cost = async (client: S3Client, Range: string): Promise<number> => {
    const before = store.requests.length
    await read(client, 'ranged', { Range })
    return store.requests.length - before
  }
  t.ok(await cost(cold, 'bytes=6000000-6000009') <= 3, 'cold: a guess, the manifest, the data')
  t.equal(await cost(cold, 'bytes=6500000-6500009'), 1, 'warm')
  t.equal(await cost(cold, 'bytes=0-9'), 1)
})

void t.test('once a multipart object is known, its parts and suffixes cost one request each', async (t) => {
  const { store, s3, another } = await rig(t)
  const parts = [bytes(5 * MiB, 1), bytes(5 * MiB, 2), bytes(300_000, 3)]
  await upload(s3, 'known', parts)
  const asked = async (what: () => Promise<unknown>): Promise<number> => {
    const before = store.requests.length
    await what()
    return store.requests.length - before
  }
  for (const first of [{ PartNumber: 1 }, { Range: 'bytes=-9' }]) {
    const cold = await another()
    t.ok(await asked(() => read(cold, 'known', first)) <= 3, 'the size, the manifest, the data')
    for (const [i, part] of parts.entries()) {
      t.equal(await asked(async () => t.ok(part.equals(await read(cold, 'known', { PartNumber: i + 1 })))), 1, `part ${i + 1}`)
    }
    for (const length of [1, 300_000, 300_001, 5 * MiB + 300_001]) {
      const wanted = Buffer.concat(parts).subarray(-length)
      t.equal(await asked(async () => t.ok(wanted.equals(await read(cold, 'known', { Range: `bytes=-${length}` })))), 1, `the last ${length}`)
    }
    await t.rejects(read(cold, 'known', { PartNumber: 4 }), { name: 'InvalidPartNumber' })
    await t.rejects(read(cold, 'known', { Range: 'bytes=-0' }), { name: 'InvalidRange' })
    const { PartsCount, ContentRange } = await cold.send(new GetObjectCommand({ Bucket, Key: 'known', PartNumber: 2 }))
    t.same([PartsCount, ContentRange], [3, `bytes ${5 * MiB}-${10 * MiB - 1}/${10 * MiB + 300_000}`])
  }
  // Replaced by another instance: what is remembered is wrong, and the answer is right.
  const cold = await another()
  await read(cold, 'known', { PartNumber: 3 })
  const next = [bytes(6 * MiB, 4), bytes(10, 5)]
  await upload(s3, 'known', next)
  t.ok(next[1]!.equals(await read(cold, 'known', { PartNumber: 2 })))
  t.ok(Buffer.concat(next).subarray(-20).equals(await read(cold, 'known', { Range: 'bytes=-20' })))
  await t.rejects(read(cold, 'known', { PartNumber: 3 }), { name: 'InvalidPartNumber' })
})

void t.test('no stream is ever sealed under a salt that was used before', async (t) => {
  const { store, s3, another } = await rig(t, { keepBodies: true })
  const instances = [s3, await another()]
  for (let round = 0; round < 2; round += 1) {
    const { id, listed } = await uploadTheHardWay(instances, 'salted', [[1, bytes(5 * MiB)], [2, bytes(10)]])
    await t.rejects(complete(s3, 'salted', id, listed, { MpuObjectSize: 1 }))
    const busy = { type: 'error', status: 503, code: 'SlowDown' } as const
    const fault = store.rules.add({ when: { method: 'POST', query: { uploadId: true } }, fault: busy })
    await t.rejects(complete(s3, 'salted', id, listed))
    fault.remove()
    await complete(s3, 'salted', id, listed)
  }
  const seen = new Map<string, string>()
  let streams = 0
  for (const { method, bucket, key, query, body } of store.requests) {
    if (method !== 'PUT' || body === null || body.length < 52) continue
    const footer = body.subarray(-12, -4).toString('latin1') === 'sealgate'
    const headers = footer ? [body.subarray(body.length - 12 - body.readUInt32BE(body.length - 4)).subarray(0, 40)] : []
    if (body.readUInt8() === 40) headers.push(body.subarray(0, 40))
    for (const header of headers) {
      const salt = header.subarray(1).toString('hex')
      const what = `${bucket}/${key}?${query.get('partNumber') ?? ''}`
      const before = seen.get(salt)
      // A small part goes upstream as the very bytes that waited in the state bucket.
      if (before !== undefined && !(before.startsWith(`${stateBucket}/uploads/`) && bucket === Bucket)) t.fail(`${what} repeats ${before}`)
      if (before === undefined) streams += 1
      seen.set(salt, before ?? what)
    }
  }
  t.ok(streams >= 10)
  t.comment(`${streams} streams, 0 salts repeated`)
})
