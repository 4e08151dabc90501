import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetBucketPolicyCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import t from 'tap'
import { DirectoryBackend } from '../../src/embedded-store/directory.ts'
import { pattern, startRig, temporaryDirectory } from './rig.ts'

const files = async (root: string): Promise<readonly string[]> =>
  (await readdir(root, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))

await t.test('everything is there after a restart', async (t) => {
  const root = await temporaryDirectory()
  t.teardown(() => rm(root, { recursive: true }))
  const Bucket = 'kept'
  const body = pattern(2_500_000)
  const part = pattern(5 * 1024 * 1024)

  const first = await startRig(new DirectoryBackend(root))
  await first.client.send(new CreateBucketCommand({ Bucket }))
  await first.client.send(new PutBucketPolicyCommand({ Bucket, Policy: '{"a":1}' }))
  await first.client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
  const old = await first.client.send(new PutObjectCommand({ Bucket, Key: 'k/..', Body: 'old', Metadata: { a: 'b' } }))
  const put = await first.client.send(new PutObjectCommand({ Bucket, Key: 'k/..', Body: body }))
  await first.client.send(new DeleteObjectCommand({ Bucket, Key: 'gone' }))
  const upload = await first.client.send(new CreateMultipartUploadCommand({ Bucket, Key: 'multi' }))
  const at = { Bucket, Key: 'multi', UploadId: upload.UploadId }
  const parts = [
    await first.client.send(new UploadPartCommand({ ...at, PartNumber: 1, Body: part })),
    await first.client.send(new UploadPartCommand({ ...at, PartNumber: 2, Body: 'end' }))
  ]
  await first.close()

  const second = await startRig(new DirectoryBackend(root))
  const got = await second.client.send(new GetObjectCommand({ Bucket, Key: 'k/..' }))
  t.match(got, { ETag: put.ETag, VersionId: put.VersionId })
  t.ok(body.equals(await got.Body!.transformToByteArray()))
  const range = await second.client.send(new GetObjectCommand({ Bucket, Key: 'k/..', Range: 'bytes=1000000-1000009' }))
  t.ok(body.subarray(1_000_000, 1_000_010).equals(await range.Body!.transformToByteArray()))
  t.match(await second.client.send(new GetObjectCommand({ Bucket, Key: 'k/..', VersionId: old.VersionId })), { Metadata: { a: 'b' } })
  t.equal((await second.client.send(new GetBucketPolicyCommand({ Bucket }))).Policy, '{"a":1}')
  const versions = await second.client.send(new ListObjectVersionsCommand({ Bucket }))
  t.same([versions.Versions?.length, versions.DeleteMarkers?.length], [2, 1])
  t.equal((await second.client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads?.length, 1)
  t.equal((await second.client.send(new ListPartsCommand(at))).Parts?.length, 2)
  await second.client.send(new CompleteMultipartUploadCommand({ ...at, MultipartUpload: { Parts: parts.map(({ ETag }, i) => ({ ETag, PartNumber: i + 1 })) } }))
  await second.client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/multi` }))
  await second.close()

  const third = await startRig(new DirectoryBackend(root))
  for (const Key of ['multi', 'copy']) {
    const whole = await (await third.client.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToByteArray()
    t.ok(Buffer.concat([part, Buffer.from('end')]).equals(whole), Key)
  }
  for (const { Key, VersionId } of (await third.client.send(new ListObjectVersionsCommand({ Bucket }))).Versions ?? []) {
    await third.client.send(new DeleteObjectCommand({ Bucket, Key, VersionId }))
  }
  for (const { Key, VersionId } of (await third.client.send(new ListObjectVersionsCommand({ Bucket }))).DeleteMarkers ?? []) {
    await third.client.send(new DeleteObjectCommand({ Bucket, Key, VersionId }))
  }
  await third.client.send(new DeleteBucketCommand({ Bucket }))
  await third.close()
  t.same(await files(root), [join(root, 'store.json')], 'nothing is left of what was deleted')
})

await t.test('what a crash leaves is cleared away', async (t) => {
  const root = await temporaryDirectory()
  t.teardown(() => rm(root, { recursive: true }))
  const Bucket = 'crashed'
  const before = await startRig(new DirectoryBackend(root))
  await before.client.send(new CreateBucketCommand({ Bucket }))
  await before.client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'whole' }))
  await before.close()
  const whole = await files(root)

  await writeFile(join(root, 'new', 'half-written'), 'ha')
  await writeFile(join(root, 'blobs', 'ab', 'ab-nobody-names-it'), 'x')
  await mkdir(join(root, 'buckets', 'half-made', 'keys'), { recursive: true })
  await mkdir(join(root, 'buckets', Bucket, 'uploads', 'half-made'), { recursive: true })
  // A crash between the record of the finished object and the removal of its upload.
  const { versions } = JSON.parse(await readFile(whole.find((path) => path.includes('/keys/'))!, 'utf8')) as { versions: { blobs: object[] }[] }
  const half = join(root, 'buckets', Bucket, 'uploads', 'completed')
  await mkdir(half)
  await writeFile(join(half, 'upload.json'), JSON.stringify({ id: 'completed', key: 'k' }))
  await writeFile(join(half, '1.json'), JSON.stringify({ number: 1, blob: versions[0]!.blobs[0] }))

  const after = await startRig(new DirectoryBackend(root))
  t.same(await files(root), whole)
  t.equal((await after.client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads, undefined)
  t.equal(await (await after.client.send(new GetObjectCommand({ Bucket, Key: 'k' }))).Body!.transformToString(), 'whole')
  await after.close()
})

await t.test('a directory that is something else is left alone', async (t) => {
  const root = await temporaryDirectory()
  t.teardown(() => rm(root, { recursive: true }))
  await writeFile(join(root, 'precious'), 'x')
  await t.rejects(startRig(new DirectoryBackend(root)), /holds no store/)
  await writeFile(join(root, 'store.json'), '{"layout":99}')
  await t.rejects(startRig(new DirectoryBackend(root)), /layout 99/)
  t.equal((await files(root)).length, 2)
})

await t.test('an object that is overwritten while it is read is read to its end', async (t) => {
  const root = await temporaryDirectory()
  t.teardown(() => rm(root, { recursive: true }))
  const backend = new DirectoryBackend(root)
  const { promise: freed, resolve } = Promise.withResolvers<null>()
  const removeBlob = backend.removeBlob.bind(backend)
  backend.removeBlob = async (blob) => {
    await removeBlob(blob)
    resolve(null)
  }
  const { client, close } = await startRig(backend)
  t.teardown(close)
  const Bucket = 'read'
  await client.send(new CreateBucketCommand({ Bucket }))
  const body = pattern(8_000_000)
  await client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body }))
  const reading = await client.send(new GetObjectCommand({ Bucket, Key: 'k' }))
  await client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'new' }))
  t.ok(body.equals(await reading.Body!.transformToByteArray()))
  // The client has its last byte before the store has let go of the file.
  await freed
  t.equal((await files(join(root, 'blobs'))).length, 1, 'and then freed')
})
