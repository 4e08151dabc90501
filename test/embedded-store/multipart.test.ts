import { createHash } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import t from 'tap'
import { byTurns } from '../support/by-turns.ts'
import { failure, onEachBackend, pattern } from './rig.ts'
import type { CompletedPart, CreateMultipartUploadCommandInput, ListMultipartUploadsCommandOutput } from '@aws-sdk/client-s3'

const MiB = 1024 * 1024
const md5 = (data: Buffer) => createHash('md5').update(data).digest()

await onEachBackend(t, async (t, { client }, name) => {
  const Bucket = 'multipart'
  const Key = 'big'
  await client.send(new CreateBucketCommand({ Bucket }))
  const create = async (input: Partial<CreateMultipartUploadCommandInput> = {}) =>
    (await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...input }))).UploadId!
  const upload = async (UploadId: string, PartNumber: number, Body: Buffer, more: object = {}): Promise<CompletedPart> => ({
    ...await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...more })),
    PartNumber
  })
  const complete = (UploadId: string, Parts: CompletedPart[], more: object = {}) =>
    client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }))
  const [a, b, c] = [pattern(5 * MiB, 1), pattern(5 * MiB, 2), pattern(100, 3)] as const
  const whole = Buffer.concat([a, b, c])

  await t.test('upload, list, complete, read by part and range, copy', async (t) => {
    const id = await create({ ContentType: 'x/y', Metadata: { m: '1' }, Tagging: 't=1' })
    const third = await upload(id, 7, c)
    await upload(id, 2, c)
    const parts = [await upload(id, 1, a), await upload(id, 2, b), third]
    const listed = await client.send(new ListPartsCommand({ Bucket, Key, UploadId: id, MaxParts: 2 }))
    t.match(listed, {
      IsTruncated: true,
      NextPartNumberMarker: '2',
      Parts: [{ PartNumber: 1, Size: 5 * MiB }, { PartNumber: 2, ETag: `"${md5(b).toString('hex')}"` }]
    })
    const rest = await client.send(new ListPartsCommand({ Bucket, Key, UploadId: id, PartNumberMarker: '2' }))
    t.match(rest, { IsTruncated: false, Parts: [{ PartNumber: 7, Size: 100 }] })
    t.match(await failure(client.send(new HeadObjectCommand({ Bucket, Key }))), /^404/, 'nothing before the end')

    const done = await complete(id, parts)
    const etag = `"${createHash('md5').update(Buffer.concat([md5(a), md5(b), md5(c)])).digest('hex')}-3"`
    t.equal(done.ETag, etag)
    t.equal(await failure(complete(id, parts)), '404 NoSuchUpload')
    const got = await client.send(new GetObjectCommand({ Bucket, Key }))
    t.match(got, { ETag: etag, ContentType: 'x/y', Metadata: { m: '1' }, TagCount: 1, ContentLength: whole.length })
    t.ok(whole.equals(await got.Body!.transformToByteArray()))
    const across = await client.send(new GetObjectCommand({ Bucket, Key, Range: `bytes=${5 * MiB - 3}-${10 * MiB + 4}` }))
    t.ok(whole.subarray(5 * MiB - 3, 10 * MiB + 5).equals(await across.Body!.transformToByteArray()))
    const second = await client.send(new GetObjectCommand({ Bucket, Key, PartNumber: 2 }))
    t.match(second, { PartsCount: 3, ContentRange: `bytes ${5 * MiB}-${10 * MiB - 1}/${whole.length}` })
    t.ok(b.equals(await second.Body!.transformToByteArray()))
    t.equal(await failure(client.send(new GetObjectCommand({ Bucket, Key, PartNumber: 4 }))), '416 InvalidPartNumber')

    const copied = await client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}` }))
    t.equal(copied.CopyObjectResult?.ETag, `"${md5(whole).toString('hex')}"`, 'a copy is one piece')
  })

  await t.test('what Complete refuses', async (t) => {
    const id = await create()
    const [one, two] = [await upload(id, 1, c), await upload(id, 2, c)]
    t.equal(await failure(complete(id, [one, two])), '400 EntityTooSmall')
    t.equal(await failure(complete(id, [two, one])), '400 InvalidPartOrder')
    t.equal(await failure(complete(id, [one, one])), '400 InvalidPartOrder')
    t.equal(await failure(complete(id, [{ ...one, ETag: '"x"' }])), '400 InvalidPart')
    t.equal(await failure(complete(id, [{ ...one, PartNumber: 3 }])), '400 InvalidPart')
    t.equal(await failure(complete(id, [])), '400 MalformedXML')
    t.equal(await failure(complete(id, [one], { MpuObjectSize: 99 })), '400 InvalidRequest')
    t.equal(await failure(complete(id, [one], { IfNoneMatch: '*' })), '412 PreconditionFailed')
    t.equal(await failure(complete(id, [one], { IfMatch: '"x"' })), '412 PreconditionFailed')
    t.equal(await failure(complete(id, [{ ...one, ETag: one.ETag!.replaceAll('"', '') }], { MpuObjectSize: 100 })), 'no failure', 'an ETag without quotes')
    t.equal(await failure(upload(id, 1, c)), '404 NoSuchUpload')
    t.equal(await failure(client.send(new UploadPartCommand({ Bucket, Key, UploadId: await create(), PartNumber: 10_001, Body: c }))), '400 InvalidArgument')
  })

  await t.test('abort', async (t) => {
    const id = await create()
    await upload(id, 1, c)
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: id }))
    t.equal(await failure(client.send(new ListPartsCommand({ Bucket, Key, UploadId: id }))), '404 NoSuchUpload')
    t.equal(await failure(client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: id }))), '404 NoSuchUpload')
  })

  await t.test('UploadPartCopy', async (t) => {
    const id = await create({ Key: 'pieced' })
    const copy = (PartNumber: number, CopySourceRange?: string, more: object = {}) =>
      client.send(new UploadPartCopyCommand({ Bucket, Key: 'pieced', UploadId: id, PartNumber, CopySource: `${Bucket}/copy`, CopySourceRange, ...more }))
    const first = await copy(1, `bytes=1-${5 * MiB}`)
    const last = await copy(2)
    for (const range of ['bytes=0-', 'bytes=-1', '0-1', 'bytes=5-4', `bytes=0-${whole.length}`]) {
      t.equal(await failure(copy(3, range)), '400 InvalidArgument', range)
    }
    t.equal(await failure(copy(3, undefined, { CopySourceIfMatch: '"x"' })), '412 PreconditionFailed')
    await client.send(
      new CompleteMultipartUploadCommand({
        Bucket,
        Key: 'pieced',
        UploadId: id,
        MultipartUpload: {
          Parts: [{ PartNumber: 1, ETag: first.CopyPartResult?.ETag }, { PartNumber: 2, ETag: last.CopyPartResult?.ETag }]
        }
      })
    )
    const got = await (await client.send(new GetObjectCommand({ Bucket, Key: 'pieced' }))).Body!.transformToByteArray()
    t.ok(Buffer.concat([whole.subarray(1, 5 * MiB + 1), whole]).equals(got))
  })

  // Which backend holds the bytes does not matter here, and 60 MiB are enough once.
  if (name === 'memory') {
    await t.test('checksums of parts and of the whole', async (t) => {
      // Known answers of ceph/s3-tests: 5 MiB each of A, B, C.
      const letters = ['A', 'B', 'C'].map((letter) => Buffer.alloc(5 * MiB, letter))
      const cases = [
        { ChecksumAlgorithm: 'SHA256', type: 'COMPOSITE', value: 'uWBwpe1dxI4Vw8Gf0X9ynOdw/SS6VBzfWm9giiv1sf4=-3' },
        { ChecksumAlgorithm: 'CRC64NVME', type: 'FULL_OBJECT', value: 'i+6LR0y3eFo=' },
        { ChecksumAlgorithm: 'CRC32', type: 'FULL_OBJECT', value: 'WgDhBQ==' },
        { ChecksumAlgorithm: 'CRC32C', type: 'FULL_OBJECT', value: 'xU+Krw==' }
      ] as const
      // Each type once; every algorithm has known answers of its own.
      for (const { ChecksumAlgorithm, type, value } of cases.filter((_, i) => byTurns(i < 2))) {
        const id = await create({ ChecksumAlgorithm, ChecksumType: type })
        const parts: CompletedPart[] = []
        for (const [i, letter] of letters.entries()) parts.push(await upload(id, i + 1, letter, { ChecksumAlgorithm }))
        if (type === 'COMPOSITE') t.equal(await failure(complete(id, parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag })))), '400 InvalidRequest')
        const field = `Checksum${ChecksumAlgorithm}` as const
        t.equal(await failure(complete(id, parts.map((part) => ({ ...part, [field]: 'AAAA' })))), '400 InvalidPart')
        t.equal(await failure(complete(id, parts, { [field]: parts[0]![field] })), '400 BadDigest')
        t.equal(await failure(upload(id, 4, c, { ChecksumAlgorithm: ChecksumAlgorithm === 'CRC32' ? 'SHA1' : 'CRC32' })), '400 InvalidRequest')
        const done = await complete(id, parts, { ChecksumType: type })
        t.match(done, { [field]: value, ChecksumType: type, ETag: '"b2add96cc9702bbf4efb0ccdfc6b7747-3"' })
        const attributes = await client.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ['ObjectParts', 'Checksum'], MaxParts: 2 }))
        t.match(attributes, {
          Checksum: { [field]: value },
          ObjectParts: { TotalPartsCount: 3, IsTruncated: true, NextPartNumberMarker: '2', Parts: [{ PartNumber: 1, Size: 5 * MiB }, {}] }
        })
        const part = await client.send(new HeadObjectCommand({ Bucket, Key, PartNumber: 2, ChecksumMode: 'ENABLED' }))
        t.equal(part[field], parts[1]![field])
      }
      t.equal(await failure(create({ ChecksumAlgorithm: 'SHA1', ChecksumType: 'FULL_OBJECT' })), '400 InvalidRequest')
      t.equal(await failure(create({ ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'COMPOSITE' })), '400 InvalidRequest')
    })
  }

  await t.test('ListMultipartUploads', async (t) => {
    const at = 'listed'
    await client.send(new CreateBucketCommand({ Bucket: at }))
    const ids: string[] = []
    for (const key of ['x/1', 'y', 'y', 'x/2', 'z']) ids.push((await client.send(new CreateMultipartUploadCommand({ Bucket: at, Key: key }))).UploadId!)
    const all = await client.send(new ListMultipartUploadsCommand({ Bucket: at }))
    t.same(all.Uploads?.map(({ Key: key, UploadId }) => [key, ids.indexOf(UploadId!)]), [['x/1', 0], ['x/2', 3], ['y', 1], ['y', 2], ['z', 4]])
    const folded = await client.send(new ListMultipartUploadsCommand({ Bucket: at, Delimiter: '/' }))
    t.match(folded, { CommonPrefixes: [{ Prefix: 'x/' }] })
    t.equal(folded.Uploads?.length, 3)
    const seen: string[] = []
    let KeyMarker: string | undefined
    let UploadIdMarker: string | undefined
    do {
      const page: ListMultipartUploadsCommandOutput = await client.send(
        new ListMultipartUploadsCommand({ Bucket: at, MaxUploads: 1, KeyMarker, UploadIdMarker })
      )
      seen.push(...page.Uploads?.map(({ UploadId }) => UploadId!) ?? [])
      KeyMarker = page.NextKeyMarker
      UploadIdMarker = page.NextUploadIdMarker
    } while (KeyMarker !== undefined)
    t.same(seen.map((id) => ids.indexOf(id)), [0, 3, 1, 2, 4])
    await client.send(new PutObjectCommand({ Bucket: at, Key: 'x/1', Body: '' }))
  })
})
