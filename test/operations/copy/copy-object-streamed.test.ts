// Copies in front of a store that ignores conditions on the source: nothing may end up under another object's envelope.
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { CopyObjectCommand, GetObjectCommand, HeadObjectCommand, PutBucketVersioningCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'

const Bucket = 'copies'

void t.test('a store that does not tie copies to what was read', async (t) => {
  const store = await startTestStore({ buckets: [Bucket] })
  // The probe finds its wrong condition accepted.
  store.rules.add({ when: { bucket: 'sealgate-state', key: /^probe\/.*\/source-to$/, method: 'PUT' }, times: Infinity, fault: { type: 'answer', status: 200 } })
  const gateway = await startTestGateway(store)
  const s3 = gateway.client()
  t.teardown(async () => {
    s3.destroy()
    await gateway.close()
    await store.close()
  })
  const body = randomBytes(200_000)
  const copiesAtStore = (): number => store.requests.filter(({ bucket, headers }) => bucket === Bucket && headers.has('x-amz-copy-source')).length
  const read = async (Key: string): Promise<Uint8Array | undefined> => (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToByteArray()

  const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'from', Body: body, Metadata: { colour: 'blue' } }))
  await t.test('the bytes pass through the gateway', async (t) => {
    const { CopyObjectResult } = await s3.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/from` }))
    t.equal(CopyObjectResult?.ETag, ETag)
    t.strictSame(await read('to').then((bytes) => Buffer.from(bytes ?? [])), body)
    t.strictSame((await s3.send(new HeadObjectCommand({ Bucket, Key: 'to' }))).Metadata, { colour: 'blue' })
    t.equal(copiesAtStore(), 0)
  })
  await t.test('the null version can be overwritten as well', async (t) => {
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/from?versionId=null` }))
    t.strictSame(await read('to').then((bytes) => Buffer.from(bytes ?? [])), body)
    t.equal(copiesAtStore(), 0)
  })
  await t.test('a version cannot: the store copies', async (t) => {
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'from', Body: body }))
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/from` }))
    t.strictSame(await read('to').then((bytes) => Buffer.from(bytes ?? [])), body)
    t.equal(copiesAtStore(), 1)
  })
})
