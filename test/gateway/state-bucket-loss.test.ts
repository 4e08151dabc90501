// Which requests work while the state bucket is missing or cannot be written: docs/OPERATIONS.md, Failures.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetBucketEncryptionCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketEncryptionCommand,
  PutObjectCommand,
  S3ServiceException,
  UploadPartCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import type { Rule } from '../support/rules.ts'

const Bucket = 'data'
const state = 'sealgate-state'
const rules: Readonly<Record<string, readonly Rule[]>> = {
  'lost': [{ when: { bucket: state }, times: Infinity, fault: { type: 'error', status: 404, code: 'NoSuchBucket' } }],
  'read-only': [{ when: { bucket: state, method: ['PUT', 'POST', 'DELETE'] }, times: Infinity, fault: { type: 'error', status: 403, code: 'AccessDenied' } }]
}
/** Status of each operation: `lost` and `read-only`. */
const expected: Readonly<Record<string, readonly [lost: number, readOnly: number]>> = {
  GetObject: [200, 200],
  GetObjectOfParts: [200, 200],
  HeadObject: [200, 200],
  ListObjectsV2: [200, 200],
  DeleteObject: [204, 204],
  PutObject: [503, 200],
  CopyObject: [503, 200],
  CreateMultipartUpload: [503, 503],
  UploadPart: [503, 503],
  CompleteMultipartUpload: [503, 200],
  GetBucketEncryption: [503, 404],
  PutBucketEncryption: [503, 503]
}

async function statusOf(command: Promise<{ $metadata: { httpStatusCode?: number | undefined } }>): Promise<number> {
  return command.then(
    ({ $metadata }) => $metadata.httpStatusCode ?? 0,
    (error: unknown) => error instanceof S3ServiceException ? error.$metadata.httpStatusCode ?? 0 : 0
  )
}

async function begun(s3: S3Client, Key: string): Promise<{ UploadId: string; ETag: string }> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: randomBytes(100_000) }))
  return { UploadId: UploadId!, ETag: ETag! }
}

for (const [index, [what, faults]] of Object.entries(rules).entries()) {
  await t.test(what, async (t) => {
    const store = await startTestStore({ buckets: [Bucket] })
    const told: Record<string, unknown>[] = []
    const before = await startTestGateway(store)
    await before.client().send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'body' }))
    const parts = await begun(before.client(), 'of-parts')
    const complete = ({ UploadId, ETag }: typeof parts, Key: string) =>
      new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } })
    await before.client().send(complete(parts, 'of-parts'))
    const open = await begun(before.client(), 'open')
    const ready = await begun(before.client(), 'ready')
    // Another instance, which remembers nothing, and was started before the loss.
    const gateway = await startTestGateway(store, {
      keyring: before.keyring,
      operatorLog: (level, message, fields) => {
        told.push({ level, message, ...fields })
      }
    })
    t.teardown(async () => {
      await gateway.close()
      await before.close()
      await store.close()
    })
    for (const rule of faults) store.rules.add(rule)
    const s3 = gateway.client()
    const seen: Record<string, number> = {
      GetObject: await statusOf(s3.send(new GetObjectCommand({ Bucket, Key: 'o' }))),
      GetObjectOfParts: await statusOf(s3.send(new GetObjectCommand({ Bucket, Key: 'of-parts' }))),
      HeadObject: await statusOf(s3.send(new HeadObjectCommand({ Bucket, Key: 'o' }))),
      ListObjectsV2: await statusOf(s3.send(new ListObjectsV2Command({ Bucket }))),
      PutObject: await statusOf(s3.send(new PutObjectCommand({ Bucket, Key: 'new', Body: 'body' }))),
      CopyObject: await statusOf(s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/o` }))),
      CreateMultipartUpload: await statusOf(s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'started' }))),
      UploadPart: await statusOf(s3.send(new UploadPartCommand({ Bucket, Key: 'open', UploadId: open.UploadId, PartNumber: 2, Body: 'part' }))),
      CompleteMultipartUpload: await statusOf(s3.send(complete(ready, 'ready'))),
      GetBucketEncryption: await statusOf(s3.send(new GetBucketEncryptionCommand({ Bucket }))),
      PutBucketEncryption: await statusOf(s3.send(
        new PutBucketEncryptionCommand({
          Bucket,
          ServerSideEncryptionConfiguration: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] }
        })
      )),
      DeleteObject: await statusOf(s3.send(new DeleteObjectCommand({ Bucket, Key: 'o' })))
    }
    t.same(seen, Object.fromEntries(Object.keys(seen).map((name) => [name, expected[name]?.[index]])))
    store.rules.clear()
    t.equal(
      await statusOf(s3.send(new UploadPartCommand({ Bucket, Key: 'open', UploadId: open.UploadId, PartNumber: 1, Body: 'part' }))),
      200,
      'and goes on when it is back'
    )
  })
}
