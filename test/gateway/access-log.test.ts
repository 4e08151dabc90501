// The access log: every line names its request, and only failures appear as failures.
import { connect } from 'node:net'
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

void t.test('input that is not a request has a line as well, with the id in the answer', async (t) => {
  const lines: Record<string, unknown>[] = []
  const store = await startTestStore({ buckets: [] })
  const gateway = await startTestGateway(store, { log: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  const say = async (text: string): Promise<string> => {
    const socket = connect(Number(new URL(gateway.endpoint).port), '127.0.0.1')
    socket.write(text)
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks).toString()
  }
  const answers = [await say('SSH-2.0-OpenSSH\r\n\r\n'), await say(`GET / HTTP/1.1\r\nhost: a\r\nx-a: ${'a'.repeat(20_000)}\r\n\r\n`)]
  const ids = answers.map((answer) => /^x-amz-request-id: (.*)\r$/m.exec(answer)?.[1])
  t.strictSame(
    lines.filter(({ msg }) => msg === 'request').map(({ requestId, method, status, code, termination }) => ({ requestId, method, status, code, termination })),
    [
      { requestId: ids[0], method: '', status: 400, code: 'BadRequest', termination: 'CR' },
      { requestId: ids[1], method: '', status: 400, code: 'MaxMessageLengthExceeded', termination: 'CR' }
    ]
  )
})
