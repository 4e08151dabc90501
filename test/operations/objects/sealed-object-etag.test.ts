// docs/decisions/0033-parts-in-opaque-etags.md
import { createHash } from 'node:crypto'
import t from 'tap'
import {
  CreateMultipartUploadCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  UploadPartCommand,
  type CompletedPart
} from '@aws-sdk/client-s3'
import { opaqueEtag, saysTailPart } from '../../../src/operations/objects/sealed-object.ts'
import { byTurns } from '../../support/by-turns.ts'
import { Bucket, bytes, complete, MiB, rig } from '../../support/multipart-rig.ts'

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
  ) t.equal(opaqueEtag(upstream), visible, upstream)
})

void t.test('what the store is going to say', async (t) => {
  const digest = createHash('md5').update(createHash('md5').update('a').digest()).digest('hex')
  t.equal(saysTailPart([createHash('md5').update('a').digest('hex')]), digest < '04')
  for (const other of ['', 'x', '"d41d8cd98f00b204e9800998ecf8427e"', 'd41d8cd98f00b204e9800998ecf8427e-1']) t.equal(saysTailPart([other]), null, other)
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
