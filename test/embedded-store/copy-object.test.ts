import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand
} from '@aws-sdk/client-s3'
import t from 'tap'
import { failure, onEachBackend, pattern } from './rig.ts'
import type { CopyObjectCommandInput } from '@aws-sdk/client-s3'

await onEachBackend(t, async (t, { client }) => {
  const Bucket = 'copies'
  const body = pattern(300_000)
  await client.send(new CreateBucketCommand({ Bucket }))
  const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key: 'source', Body: body, ContentType: 'a/b', Metadata: { m: '1' }, Tagging: 't=1' }))
  const copy = (input: Partial<CopyObjectCommandInput>) =>
    client.send(new CopyObjectCommand({ Bucket, Key: 'target', CopySource: `${Bucket}/source`, ...input }))

  await t.test('directives', async (t) => {
    const result = await copy({})
    t.equal(result.CopyObjectResult?.ETag, ETag)
    const got = await client.send(new GetObjectCommand({ Bucket, Key: 'target' }))
    t.match(got, { ContentType: 'a/b', Metadata: { m: '1' }, TagCount: 1, ETag })
    t.ok(body.equals(await got.Body!.transformToByteArray()))
    await copy({ MetadataDirective: 'REPLACE', TaggingDirective: 'REPLACE', ContentType: 'c/d', Metadata: { n: '2' }, Tagging: 'u=2&v=3' })
    t.match(await client.send(new HeadObjectCommand({ Bucket, Key: 'target' })), { ContentType: 'c/d', Metadata: { n: '2', m: undefined } })
    t.same((await client.send(new GetObjectTaggingCommand({ Bucket, Key: 'target' }))).TagSet, [{ Key: 'u', Value: '2' }, { Key: 'v', Value: '3' }])
    t.equal(await failure(copy({ MetadataDirective: 'MERGE' as 'COPY' })), '400 InvalidArgument')
    t.equal((await copy({ ChecksumAlgorithm: 'SHA256' })).CopyObjectResult?.ChecksumSHA256?.length, 44)
  })

  await t.test('the source outlives neither its deletion nor its copy', async (t) => {
    await copy({ Key: 'second' })
    await client.send(new DeleteObjectCommand({ Bucket, Key: 'target' }))
    const got = await client.send(new GetObjectCommand({ Bucket, Key: 'second' }))
    t.ok(body.equals(await got.Body!.transformToByteArray()))
  })

  await t.test('onto itself', async (t) => {
    t.equal(await failure(copy({ Key: 'source' })), '400 InvalidRequest')
    t.equal(await failure(copy({ Key: 'source', TaggingDirective: 'REPLACE', Tagging: 'x=1' })), '400 InvalidRequest')
    t.equal(await failure(copy({ Key: 'source', MetadataDirective: 'REPLACE', Metadata: { again: '1' } })), 'no failure')
    t.equal(await failure(copy({ Key: 'source', StorageClass: 'STANDARD_IA' })), 'no failure')
    const got = await client.send(new GetObjectCommand({ Bucket, Key: 'source' }))
    t.match(got, { Metadata: { again: '1' }, StorageClass: 'STANDARD_IA' })
    t.ok(body.equals(await got.Body!.transformToByteArray()))
  })

  await t.test('conditions', async (t) => {
    const past = new Date(Date.now() - 3_600_000)
    t.equal(await failure(copy({ CopySourceIfMatch: ETag })), 'no failure')
    t.equal(await failure(copy({ CopySourceIfMatch: '"x"' })), '412 PreconditionFailed')
    t.equal(await failure(copy({ CopySourceIfNoneMatch: ETag })), '412 PreconditionFailed')
    t.equal(await failure(copy({ CopySourceIfModifiedSince: past })), 'no failure')
    t.equal(await failure(copy({ CopySourceIfUnmodifiedSince: past })), '412 PreconditionFailed')
    t.equal(await failure(copy({ CopySourceIfUnmodifiedSince: past, CopySourceIfMatch: ETag })), 'no failure')
    t.equal(await failure(copy({ IfNoneMatch: '*' })), '412 PreconditionFailed')
    t.equal(await failure(copy({ IfMatch: '"x"' })), '412 PreconditionFailed')
    t.equal(await failure(copy({ IfMatch: ETag })), 'no failure')
  })

  await t.test('odd and absent sources', async (t) => {
    const odd = 'a b+%/ü?versionId=x'
    await client.send(new PutObjectCommand({ Bucket, Key: odd, Body: 'odd' }))
    await copy({ CopySource: `/${Bucket}/${encodeURIComponent(odd)}` })
    t.equal(await (await client.send(new GetObjectCommand({ Bucket, Key: 'target' }))).Body!.transformToString(), 'odd')
    t.equal(await failure(copy({ CopySource: `${Bucket}/absent` })), '404 NoSuchKey')
    t.equal(await failure(copy({ CopySource: 'absent/absent' })), '404 NoSuchBucket')
    t.equal(await failure(copy({ CopySource: `${Bucket}/%zz` })), '400 InvalidArgument')
    t.equal(await failure(copy({ CopySource: Bucket })), '400 InvalidArgument')
  })

  await t.test('versions', async (t) => {
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
    const old = await client.send(new PutObjectCommand({ Bucket, Key: 'versioned', Body: 'old' }))
    await client.send(new PutObjectCommand({ Bucket, Key: 'versioned', Body: 'new' }))
    const back = await copy({ Key: 'versioned', CopySource: `${Bucket}/versioned?versionId=${old.VersionId ?? ''}` })
    t.equal(back.CopySourceVersionId, old.VersionId)
    t.equal(await (await client.send(new GetObjectCommand({ Bucket, Key: 'versioned' }))).Body!.transformToString(), 'old')
    const marker = await client.send(new DeleteObjectCommand({ Bucket, Key: 'versioned' }))
    t.equal(await failure(copy({ CopySource: `${Bucket}/versioned` })), '404 NoSuchKey')
    t.equal(await failure(copy({ CopySource: `${Bucket}/versioned?versionId=${marker.VersionId ?? ''}` })), '400 InvalidRequest')
  })
})
