// Version ids in listings, on stores that answer for them in their own way.
import { createHash } from 'node:crypto'
import t from 'tap'
import { ListObjectVersionsCommand, PutBucketVersioningCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { startTestGateway } from '../../support/gateway.ts'
import { startTestStore } from '../../support/hostile.ts'

const Bucket = 'versions'
const store = await startTestStore({ buckets: [Bucket] })
const gateway = await startTestGateway(store)
const s3 = gateway.client()
t.teardown(async () => {
  await gateway.close()
  await store.close()
})
const md5 = (text: string): string => `"${createHash('md5').update(text).digest('hex')}"`
const listed = async (): Promise<(string | undefined)[][]> => {
  const { Versions = [] } = await s3.send(new ListObjectVersionsCommand({ Bucket }))
  return Versions.map(({ Key, VersionId, ETag }) => [Key, VersionId === 'null' ? VersionId : 'id', ETag])
}

await t.test('regression: a store that lists the version id `null` and does not know it (versitygw without versions)', async (t) => {
  const unknown = store.rules.add({
    when: { bucket: Bucket, query: { versionId: 'null' } },
    times: Infinity,
    fault: { type: 'error', status: 404, code: 'NoSuchKey' }
  })
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'one' }))
  t.same(await listed(), [['a', 'null', md5('one')]])
  unknown.remove()
})

await t.test('an old version `null` is asked for by its id', async (t) => {
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'two' }))
  t.same(await listed(), [['a', 'id', md5('two')], ['a', 'null', md5('one')]])
})
