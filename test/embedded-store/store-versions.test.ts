import {
  CreateBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  GetObjectLegalHoldCommand,
  GetObjectRetentionCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLegalHoldCommand,
  PutObjectRetentionCommand
} from '@aws-sdk/client-s3'
import t from 'tap'
import { failure, onEachBackend } from './rig.ts'

await onEachBackend(t, async (t, { client }) => {
  const Bucket = 'versions'
  const Key = 'k'
  await client.send(new CreateBucketCommand({ Bucket }))
  const put = async (Body: string) => (await client.send(new PutObjectCommand({ Bucket, Key, Body }))).VersionId
  const read = async (VersionId?: string) => (await client.send(new GetObjectCommand({ Bucket, Key, VersionId }))).Body!.transformToString()
  const versioning = (
    Status:
      | 'Enabled'
      | 'Suspended'
  ) => client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }))

  await t.test('a life of versions', async (t) => {
    t.equal(await put('before'), undefined)
    await versioning('Enabled')
    const first = await put('first')
    const second = await put('second')
    t.equal(await read(), 'second')
    t.equal(await read(first), 'first')
    t.equal(await read('null'), 'before')
    t.equal(await failure(read('x'.repeat(32))), '404 NoSuchVersion')
    t.equal(await failure(read('short')), '400 InvalidArgument')

    const marker = await client.send(new DeleteObjectCommand({ Bucket, Key }))
    t.equal(marker.DeleteMarker, true)
    t.equal(await failure(read()), '404 NoSuchKey')
    t.equal(await failure(read(marker.VersionId)), '405 MethodNotAllowed')
    t.equal((await client.send(new ListObjectsV2Command({ Bucket }))).KeyCount, 0)
    const listed = await client.send(new ListObjectVersionsCommand({ Bucket }))
    t.same(listed.Versions?.map(({ VersionId, IsLatest }) => [VersionId, IsLatest]), [[second, false], [first, false], ['null', false]])
    t.match(listed.DeleteMarkers, [{ VersionId: marker.VersionId, IsLatest: true }])

    t.match(await client.send(new DeleteObjectCommand({ Bucket, Key, VersionId: marker.VersionId })), { DeleteMarker: true, VersionId: marker.VersionId })
    t.equal(await read(), 'second', 'the marker is gone')
    t.match(await client.send(new DeleteObjectCommand({ Bucket, Key, VersionId: second })), { DeleteMarker: undefined, VersionId: second })
    t.equal(await read(), 'first')

    await versioning('Suspended')
    t.equal(await put('suspended'), 'null', 'takes the place of the version before versioning')
    t.equal(await read(first), 'first')
    t.equal((await client.send(new DeleteObjectCommand({ Bucket, Key }))).VersionId, 'null')
    t.equal((await client.send(new ListObjectVersionsCommand({ Bucket }))).Versions?.length, 1)
  })

  await t.test('pages of versions cut one key in two', async (t) => {
    await versioning('Enabled')
    const all: string[] = []
    for (let i = 0; i < 3; i += 1) for (const key of ['p/a', 'p/b']) await client.send(new PutObjectCommand({ Bucket, Key: key, Body: String(i) }))
    let KeyMarker: string | undefined
    let VersionIdMarker: string | undefined
    do {
      const page = await client.send(new ListObjectVersionsCommand({ Bucket, Prefix: 'p/', MaxKeys: 2, KeyMarker, VersionIdMarker }))
      for (const version of page.Versions ?? []) all.push([version.Key, version.VersionId].join(' '))
      KeyMarker = page.NextKeyMarker
      VersionIdMarker = page.NextVersionIdMarker
    } while (KeyMarker !== undefined)
    t.equal(all.length, 6)
    t.equal(new Set(all).size, 6)
  })

  await t.test('DeleteObjects', async (t) => {
    await client.send(new CreateBucketCommand({ Bucket: 'many' }))
    for (const key of ['a', 'b', 'c']) await client.send(new PutObjectCommand({ Bucket: 'many', Key: key, Body: key }))
    const result = await client.send(
      new DeleteObjectsCommand({ Bucket: 'many', Delete: { Objects: [{ Key: 'a' }, { Key: 'b', ETag: '"wrong"' }, { Key: 'never' }] } })
    )
    t.same(result.Deleted?.map(({ Key }) => Key), ['a', 'never'])
    t.match(result.Errors, [{ Key: 'b', Code: 'PreconditionFailed' }])
    const quiet = await client.send(new DeleteObjectsCommand({ Bucket: 'many', Delete: { Quiet: true, Objects: [{ Key: 'b' }, { Key: 'c' }] } }))
    t.same([quiet.Deleted, quiet.Errors], [undefined, undefined])
    t.equal((await client.send(new ListObjectsV2Command({ Bucket: 'many' }))).KeyCount, 0)
    const Objects = Array.from({ length: 1001 }, (_, i) => ({ Key: String(i) }))
    t.equal(await failure(client.send(new DeleteObjectsCommand({ Bucket: 'many', Delete: { Objects } }))), '400 MalformedXML')
  })

  await t.test('conditional deletes', async (t) => {
    const at = { Bucket: 'many', Key: 'conditional' }
    const { ETag } = await client.send(new PutObjectCommand({ ...at, Body: 'x' }))
    t.equal(await failure(client.send(new DeleteObjectCommand({ ...at, IfMatch: '"wrong"' }))), '412 PreconditionFailed')
    t.equal(await failure(client.send(new DeleteObjectCommand({ ...at, IfMatch: ETag }))), 'no failure')
    t.equal(await failure(client.send(new DeleteObjectCommand({ ...at, IfMatch: ETag }))), 'no failure', 'what is not there is deleted')
  })

  await t.test('object lock', async (t) => {
    const Locked = 'locked'
    await client.send(new CreateBucketCommand({ Bucket: Locked, ObjectLockEnabledForBucket: true }))
    const RetainUntilDate = new Date(Date.now() + 3_600_000)
    const { VersionId } = await client.send(
      new PutObjectCommand({
        Bucket: Locked,
        Key,
        Body: 'x',
        ObjectLockMode: 'GOVERNANCE',
        ObjectLockRetainUntilDate: RetainUntilDate,
        ObjectLockLegalHoldStatus: 'ON'
      })
    )
    const at = { Bucket: Locked, Key, VersionId }
    t.match(await client.send(new HeadObjectCommand(at)), {
      ObjectLockMode: 'GOVERNANCE',
      ObjectLockLegalHoldStatus: 'ON',
      ObjectLockRetainUntilDate: RetainUntilDate
    })
    t.equal((await client.send(new GetObjectRetentionCommand(at))).Retention?.Mode, 'GOVERNANCE')
    t.equal(await failure(client.send(new DeleteObjectCommand({ ...at, BypassGovernanceRetention: true }))), '403 AccessDenied', 'the hold')
    await client.send(new PutObjectLegalHoldCommand({ ...at, LegalHold: { Status: 'OFF' } }))
    t.equal((await client.send(new GetObjectLegalHoldCommand(at))).LegalHold?.Status, 'OFF')
    t.equal(await failure(client.send(new DeleteObjectCommand(at))), '403 AccessDenied', 'the retention')
    const sooner = { Mode: 'GOVERNANCE', RetainUntilDate: new Date(Date.now() + 60_000) } as const
    t.equal(await failure(client.send(new PutObjectRetentionCommand({ ...at, Retention: sooner }))), '403 AccessDenied')
    t.equal(await failure(client.send(new PutObjectRetentionCommand({ ...at, Retention: sooner, BypassGovernanceRetention: true }))), 'no failure')
    t.equal(await failure(client.send(new DeleteObjectCommand({ ...at, BypassGovernanceRetention: true }))), 'no failure')
    t.equal(await failure(client.send(new PutObjectCommand({ Bucket, Key, ObjectLockLegalHoldStatus: 'ON' }))), '400 InvalidRequest', 'a bucket without lock')
    t.equal(
      await failure(client.send(new PutBucketVersioningCommand({ Bucket: Locked, VersioningConfiguration: { Status: 'Suspended' } }))),
      '409 InvalidBucketState'
    )
  })
})
