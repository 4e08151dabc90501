// The lines an operator reads: every request names what it was about, and only failures are told as failures.
import t from 'tap'
import { GetObjectCommand, GetObjectTorrentCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

const Bucket = 'logged'

void t.test('the log names operation, bucket and key, and calls no refusal a failure', async (t) => {
  const lines: Record<string, unknown>[] = []
  const store = await startTestStore({ buckets: [Bucket] })
  const gateway = await startTestGateway(store, { log: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) })
  const s3 = gateway.client()
  t.teardown(async () => {
    s3.destroy()
    await gateway.close()
    await store.close()
  })
  const Key = 'a b/ü'
  await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))
  await s3.send(new ListObjectsV2Command({ Bucket }))
  await t.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'nothing' })), { name: 'NoSuchKey' })
  await t.rejects(s3.send(new GetObjectTorrentCommand({ Bucket, Key })), { name: 'NotImplemented' })
  t.strictSame(lines.filter(({ msg }) => msg === 'request').map(({ operation, bucket, key, status, code }) => ({ operation, bucket, key, status, code })), [
    { operation: 'PutObject', bucket: Bucket, key: Key, status: 200, code: null },
    { operation: 'ListObjectsV2', bucket: Bucket, key: null, status: 200, code: null },
    { operation: 'GetObject', bucket: Bucket, key: 'nothing', status: 404, code: 'NoSuchKey' },
    { operation: 'GetObjectTorrent', bucket: Bucket, key: Key, status: 501, code: 'NotImplemented' }
  ])
  t.notOk(lines.some(({ msg }) => msg === 'failure'))
})
