import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  CreateBucketCommand,
  DeleteObjectTaggingCommand,
  GetObjectAclCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectAclCommand,
  PutObjectCommand,
  PutObjectTaggingCommand
} from '@aws-sdk/client-s3'
import t from 'tap'
import { createChecksum } from '../../src/http/checksums.ts'
import { rawRequest } from '../support/raw-client.ts'
import { failure, onEachBackend, pattern } from './rig.ts'
import type { GetObjectCommandInput } from '@aws-sdk/client-s3'

const Bucket = 'objects'
const body = pattern(100_000)

await onEachBackend(t, async (t, { client, endpoint }, name) => {
  await client.send(new CreateBucketCommand({ Bucket }))
  const get = (input: Omit<GetObjectCommandInput, 'Bucket'>) => client.send(new GetObjectCommand({ Bucket, ...input }))
  const bytes = async (input: Omit<GetObjectCommandInput, 'Bucket'>) => Buffer.from(await (await get(input)).Body!.transformToByteArray())

  await t.test('what was put is what is got', async (t) => {
    for (const size of [0, 1, 65_535, 65_536, 65_537, 3_000_001]) {
      const data = pattern(size)
      const put = await client.send(new PutObjectCommand({ Bucket, Key: 'sized', Body: data }))
      const md5 = createHash('md5').update(data).digest('hex')
      t.equal(put.ETag, `"${md5}"`)
      const got = await get({ Key: 'sized' })
      t.equal(got.ContentLength, size)
      t.equal(got.ETag, put.ETag)
      t.equal(got.ContentType, 'application/octet-stream')
      t.ok(data.equals(await got.Body!.transformToByteArray()), `${size} bytes`)
    }
  })

  await t.test('a stream goes as unsigned chunks with a trailer', async (t) => {
    await client.send(
      new PutObjectCommand({ Bucket, Key: 'streamed', Body: Readable.from([body.subarray(0, 10), body.subarray(10)]), ContentLength: body.length })
    )
    t.ok(body.equals(await bytes({ Key: 'streamed' })))
    t.equal((await client.send(new HeadObjectCommand({ Bucket, Key: 'streamed' }))).ContentEncoding, undefined, 'aws-chunked is no encoding of the object')
  })

  await t.test('headers and metadata come back', async (t) => {
    const said = {
      ContentType: 'text/x-test; charset=utf-8',
      CacheControl: 'max-age=5',
      ContentDisposition: 'attachment; filename="a b"',
      ContentEncoding: 'gzip',
      ContentLanguage: 'de',
      Metadata: { one: '1', 'two-words': 'a  b', empty: '' },
      StorageClass: 'STANDARD_IA',
      WebsiteRedirectLocation: '/elsewhere'
    } as const
    const Expires = new Date('2031-01-01T00:00:00Z')
    await client.send(new PutObjectCommand({ Bucket, Key: 'described', Body: 'x', ...said, Expires, Tagging: 'a=1&b=x%20y' }))
    const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'described' }))
    t.match(head, { ...said, Metadata: { one: '1', empty: '' }, ExpiresString: Expires.toUTCString() })
    t.equal((await get({ Key: 'described' })).TagCount, 2)
    const bare = await client.send(new PutObjectCommand({ Bucket, Key: 'bare' }))
    t.ok(bare.ETag)
    const override = await get({ Key: 'described', ResponseContentType: 'x/y', ResponseCacheControl: 'no-store', ResponseExpires: Expires })
    t.match(override, { ContentType: 'x/y', CacheControl: 'no-store', ContentLanguage: 'de' })
  })

  await t.test('limits', async (t) => {
    const put = (input: object) => failure(client.send(new PutObjectCommand({ Bucket, Key: 'limits', ...input })))
    t.equal(await put({ Metadata: { a: 'x'.repeat(2047) } }), 'no failure', '2,048 bytes of metadata')
    t.equal(await put({ Metadata: { a: 'x'.repeat(2048) } }), '400 MetadataTooLarge')
    t.equal(await put({ Key: 'é'.repeat(512) }), 'no failure', '1,024 bytes of key')
    t.equal(await put({ Key: `${'é'.repeat(512)}x` }), '400 KeyTooLongError')
    t.equal(await put({ StorageClass: 'GLACIER' }), '400 InvalidStorageClass')
    t.equal(await put({ Tagging: Array.from({ length: 11 }, (_, i) => `t${i}=`).join('&') }), '400 BadRequest')
    t.equal(await put({ Tagging: 'a=1&a=2' }), '400 InvalidTag')
    t.equal(await put({ Tagging: 'a=x%26y' }), '400 InvalidTag')
    t.equal(await put({ ServerSideEncryption: 'AES256' }), '501 NotImplemented')
    t.equal(await put({ ACL: 'nobody' }), '400 InvalidArgument')
    t.equal(await failure(client.send(new PutObjectCommand({ Bucket: 'absent', Key: 'x', Body: 'x' }))), '404 NoSuchBucket')
  })

  await t.test('ranges', async (t) => {
    await client.send(new PutObjectCommand({ Bucket, Key: 'ranged', Body: body }))
    await client.send(new PutObjectCommand({ Bucket, Key: 'empty', Body: '' }))
    const satisfied: readonly (readonly [string, number, number])[] = [
      ['bytes=0-0', 0, 1],
      ['bytes=0-', 0, 100_000],
      ['bytes=99999-', 99_999, 100_000],
      ['bytes=5-9', 5, 10],
      ['bytes=-7', 99_993, 100_000],
      ['bytes=-200000', 0, 100_000],
      ['bytes=99990-200000', 99_990, 100_000],
      ['bytes=65535-65536', 65_535, 65_537]
    ]
    for (const [Range, start, end] of satisfied) {
      const got = await get({ Key: 'ranged', Range })
      t.equal(got.ContentRange, `bytes ${start}-${end - 1}/100000`, Range)
      t.equal(got.ChecksumCRC32, undefined, 'no checksum of the whole on a range')
      t.ok(body.subarray(start, end).equals(await got.Body!.transformToByteArray()), Range)
      const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'ranged', Range }))
      t.equal(head.ContentLength, end - start, `HEAD ${Range}`)
    }
    for (const Range of ['bytes=1-0', 'bytes=a-b', 'bytes=', 'bytes=-', 'lines=0-1', 'bytes=0-1,3-4']) {
      const got = await get({ Key: 'ranged', Range })
      t.equal(got.$metadata.httpStatusCode, 200, `${Range} is ignored`)
      await got.Body!.transformToByteArray()
    }
    for (
      const [Key, Range] of [['ranged', 'bytes=100000-'], ['ranged', 'bytes=-0'], ['empty', 'bytes=0-'], ['empty', 'bytes=-1'], [
        'empty',
        'bytes=0-0'
      ]] as const
    ) {
      t.equal(await failure(get({ Key, Range })), '416 InvalidRange', `${Key} ${Range}`)
    }
    const error = await get({ Key: 'ranged', Range: 'bytes=100000-' }).catch((error: unknown) => error)
    t.match(error, { RangeRequested: 'bytes=100000-', ActualObjectSize: '100000' })
  })

  await t.test('partNumber on an object without parts', async (t) => {
    const got = await get({ Key: 'ranged', PartNumber: 1 })
    t.match(got, { ContentRange: 'bytes 0-99999/100000', PartsCount: undefined })
    await got.Body!.transformToByteArray()
    t.equal(await failure(get({ Key: 'ranged', PartNumber: 2 })), '416 InvalidPartNumber')
    t.equal(await failure(get({ Key: 'ranged', PartNumber: 0 })), '400 InvalidArgument')
    t.equal(await failure(get({ Key: 'ranged', PartNumber: 1, Range: 'bytes=0-1' })), '400 InvalidRequest')
  })

  if (name === 'memory') {
    await t.test('conditional reads, all combinations', async (t) => {
      const { ETag, LastModified } = await client.send(new HeadObjectCommand({ Bucket, Key: 'ranged' }))
      const [past, at] = [new Date(LastModified!.getTime() - 60_000), LastModified!]
      let rows = 0
      for (const IfMatch of [undefined, ETag, '"other"', '*']) {
        for (const IfNoneMatch of [undefined, ETag, '"other"', '*']) {
          for (const IfUnmodifiedSince of [undefined, past, at]) {
            for (const IfModifiedSince of [undefined, past, at]) {
              // RFC 9110 13.2.2, written as the table it is.
              const failed = IfMatch === undefined ? IfUnmodifiedSince === past : IfMatch === '"other"'
              const unmodified = IfNoneMatch === undefined ? IfModifiedSince === at : IfNoneMatch !== '"other"'
              const expected = failed ? '412 PreconditionFailed' : unmodified ? '304' : 'no failure'
              const input = { Bucket, Key: 'ranged', IfMatch, IfNoneMatch, IfUnmodifiedSince, IfModifiedSince }
              const found = await failure(client.send(new HeadObjectCommand(input)))
              if (found.slice(0, 3) !== expected.slice(0, 3)) t.equal(found, expected, JSON.stringify(input))
              rows += 1
            }
          }
        }
      }
      t.equal(rows, 144)
      t.equal(await failure(get({ Key: 'ranged', IfMatch: '"other"' })), '412 PreconditionFailed')
    })
  }

  await t.test('conditional writes', async (t) => {
    const put = (input: object) => failure(client.send(new PutObjectCommand({ Bucket, Key: 'conditional', Body: 'x', ...input })))
    t.equal(await put({ IfMatch: '"x"' }), '404 NoSuchKey')
    t.equal(await put({ IfNoneMatch: '*' }), 'no failure')
    t.equal(await put({ IfNoneMatch: '*' }), '412 PreconditionFailed')
    t.equal(await put({ IfMatch: '"x"' }), '412 PreconditionFailed')
    const { ETag } = await client.send(new HeadObjectCommand({ Bucket, Key: 'conditional' }))
    t.equal(await put({ IfMatch: ETag, Body: 'y' }), 'no failure')
    t.equal(await put({ IfMatch: ETag }), '412 PreconditionFailed')
    t.equal(await put({ IfNoneMatch: '"x"' }), '501 NotImplemented')
    const racers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => failure(client.send(new PutObjectCommand({ Bucket, Key: 'raced', Body: `racer ${i}`, IfNoneMatch: '*' }))))
    )
    t.equal(racers.filter((one) => one === 'no failure').length, 1, 'one of twenty creates the object')
  })

  await t.test('checksums are verified, kept and given back', async (t) => {
    for (const algorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const) {
      const state = createChecksum(algorithm.toLowerCase() as Lowercase<typeof algorithm>)
      state.update(body)
      const value = state.digest().toString('base64')
      const field = `Checksum${algorithm}` as const
      const put = await client.send(new PutObjectCommand({ Bucket, Key: algorithm, Body: body, [field]: value }))
      t.equal(put[field], value, algorithm)
      t.equal((await client.send(new HeadObjectCommand({ Bucket, Key: algorithm, ChecksumMode: 'ENABLED' })))[field], value)
      t.equal((await client.send(new HeadObjectCommand({ Bucket, Key: algorithm })))[field], undefined, 'only when asked for')
      const attributes = await client.send(
        new GetObjectAttributesCommand({ Bucket, Key: algorithm, ObjectAttributes: ['Checksum', 'ETag', 'ObjectSize', 'ObjectParts', 'StorageClass'] })
      )
      t.match(attributes, {
        Checksum: { [field]: value, ChecksumType: 'FULL_OBJECT' },
        ObjectSize: body.length,
        StorageClass: 'STANDARD',
        ETag: createHash('md5').update(body).digest('hex')
      })
      t.equal(attributes.ObjectParts, undefined)
      const wrong = Buffer.from(value, 'base64')
      wrong[0]! ^= 1
      t.equal(await failure(client.send(new PutObjectCommand({ Bucket, Key: 'wrong', Body: body, [field]: wrong.toString('base64') }))), '400 BadDigest')
      t.equal(await failure(client.send(new PutObjectCommand({ Bucket, Key: 'wrong', Body: body, [field]: 'AA==' }))), '400 InvalidRequest')
      t.equal(
        await failure(
          client.send(new PutObjectCommand({ Bucket, Key: 'wrong', Body: Readable.from([body]), ContentLength: body.length, ChecksumAlgorithm: algorithm }))
        ),
        'no failure',
        'as a trailer'
      )
    }
    t.equal(
      await failure(client.send(new PutObjectCommand({ Bucket, Key: 'never', Body: 'x', ContentMD5: createHash('md5').update('y').digest('base64') }))),
      '400 BadDigest'
    )
    t.equal(await failure(client.send(new PutObjectCommand({ Bucket, Key: 'never', Body: 'x', ContentMD5: 'bm90IG1kNQ==' }))), '400 InvalidDigest')
    t.match(await failure(client.send(new HeadObjectCommand({ Bucket, Key: 'never' }))), /^404/)
  })

  await t.test('odd keys', async (t) => {
    const odd = [
      'a b',
      'a+b',
      'a%2Fb',
      'a?b#c',
      '"<&>\'',
      '//',
      '/lead',
      'trail/',
      '..',
      '../../x',
      './',
      'ünïcödé/日本',
      '\u{1f600}',
      '\uffee',
      '\u0001\u001f\r\n\t\u007f',
      '%',
      '%zz',
      'a=b&c',
      '~',
      '*',
      'con',
      'A',
      'a',
      'x'.repeat(1024)
    ]
    for (const [i, Key] of odd.entries()) await client.send(new PutObjectCommand({ Bucket, Key, Body: String(i) }))
    for (const [i, Key] of odd.entries()) t.equal((await bytes({ Key })).toString(), String(i), JSON.stringify(Key.slice(0, 20)))
    const listed = new Set(
      (await client.send(new ListObjectsV2Command({ Bucket, EncodingType: 'url' }))).Contents?.map(({ Key }) => decodeURIComponent(Key ?? ''))
    )
    t.same(odd.filter((key) => !listed.has(key)), [])
    const plain = new Set((await client.send(new ListObjectsV2Command({ Bucket }))).Contents?.map(({ Key }) => Key))
    t.same(odd.filter((key) => !plain.has(key)), [], 'without encoding too, control characters as references')
  })

  await t.test('tags and ACLs', async (t) => {
    const anonymous = (method: string, path: string) => rawRequest(endpoint, `${method} /${Bucket}/${path} HTTP/1.1\r\nHost: x\r\n\r\n`)
    const at = { Bucket, Key: 'ranged' }
    const { LastModified } = await client.send(new HeadObjectCommand(at))
    t.same((await client.send(new GetObjectTaggingCommand(at))).TagSet, [])
    await client.send(new PutObjectTaggingCommand({ ...at, Tagging: { TagSet: [{ Key: 'ä +', Value: '=:/@' }] } }))
    t.same((await client.send(new GetObjectTaggingCommand(at))).TagSet, [{ Key: 'ä +', Value: '=:/@' }])
    await client.send(new DeleteObjectTaggingCommand(at))
    t.same((await client.send(new GetObjectTaggingCommand(at))).TagSet, [])
    t.equal(await failure(client.send(new PutObjectTaggingCommand({ ...at, Tagging: { TagSet: [{ Key: 'a<', Value: '' }] } }))), '400 InvalidTag')
    t.equal(await failure(client.send(new GetObjectTaggingCommand({ Bucket, Key: 'absent' }))), '404 NoSuchKey')
    const acl = await client.send(new GetObjectAclCommand(at))
    t.match(acl.Grants, [{ Permission: 'FULL_CONTROL', Grantee: { Type: 'CanonicalUser', ID: acl.Owner?.ID } }])
    t.equal((await anonymous('GET', 'ranged')).status, 403)
    await client.send(new PutObjectAclCommand({ ...at, ACL: 'public-read' }))
    t.equal((await client.send(new GetObjectAclCommand(at))).Grants?.length, 2)
    t.equal((await anonymous('GET', 'ranged')).status, 200, 'anonymous read of a public object')
    t.equal((await anonymous('GET', 'ranged?acl')).status, 403)
    t.equal((await anonymous('GET', 'ranged?response-content-type=x')).status, 400)
    t.equal((await anonymous('DELETE', 'ranged')).status, 403)
    t.equal((await client.send(new HeadObjectCommand(at))).LastModified?.getTime(), LastModified?.getTime(), 'the object itself did not change')
  })
})
