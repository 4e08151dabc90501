import t from 'tap'
import { CopyObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import { integrityFailures } from '../../support/reading.ts'
import { Bucket, bytes, MiB, rig, upload } from '../../support/multipart-rig.ts'
import { codeOf } from '../../support/error-code.ts'

void t.test('an object that is re-wrapped or deleted while it is read is no object that was tampered with', async (t) => {
  const { store, gateway, s3, another } = await rig(t)
  // Written by another instance: this one has never seen a manifest.
  const writer = await another()
  const ontoItself = () => writer.send(new CopyObjectCommand({ Bucket, Key: 'k', CopySource: `${Bucket}/k`, MetadataDirective: 'REPLACE' }))
  await upload(writer, 'k', [bytes(5 * MiB), bytes(10)])
  await ontoItself()
  const { etag, metadata } = store.object(Bucket, 'k').version
  await ontoItself()
  t.equal(store.object(Bucket, 'k').version.etag, etag, 'stores keep the ETag of such a copy')
  const before = { 'x-amz-meta-sealgate': metadata['sealgate']!, 'x-amz-meta-sealgate-key': metadata['sealgate-key']! }
  const replaced = store.rules.add({ when: { method: 'HEAD', key: 'k' }, fault: { type: 'headers', set: before } })
  t.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))).ContentLength, 5 * MiB + 10)
  t.equal(replaced.fired, 1)

  await upload(writer, 'gone', [bytes(5 * MiB), bytes(10)])
  const fault = { type: 'error', status: 404, code: 'NoSuchKey' } as const
  store.rules.add({ when: { method: 'GET', key: 'gone' }, fault })
  store.rules.add({ when: { method: 'HEAD', key: 'gone' }, nth: 2, fault })
  t.equal(await codeOf(s3.send(new HeadObjectCommand({ Bucket, Key: 'gone' }))), 'NotFound')
  t.equal(integrityFailures(gateway), 0)
})
