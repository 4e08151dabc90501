// Unauthenticated and greedy clients use only their own limits: requests of others continue.
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'
import { rawRequest } from '../support/raw-client.ts'

const Bucket = 'allowances'
const store = await startTestStore({ buckets: [Bucket] })
t.teardown(() => store.close())

await t.test('half-sent forms and half-sent refused bodies leave signed requests alone', async (t) => {
  const gateway = await startTestGateway(store, { sections: { buckets: { '*': { encryption: 'on', key: 'main', publicRead: true } } } })
  t.teardown(() => gateway.close())
  const port = Number(new URL(gateway.endpoint).port)
  const sockets: Socket[] = []
  const half = (text: string): void => {
    sockets.push(
      connect(port, '127.0.0.1', function(this: Socket) {
        this.write(text)
      }).on('error', () => undefined)
    )
  }
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let i = 0; i < 300; i += 1) {
    half(
      `POST /${Bucket} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nhal`
    )
  }
  for (let i = 0; i < 50; i += 1) half(`PUT /${Bucket}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhalf`)
  const load = () => gateway.listener.counts()
  while (load().unauthenticated < 256 || gateway.metric('sealgate_limited_total{limit="forms"}') < 44) await new Promise((resolve) => setTimeout(resolve, 10))
  t.equal(load().unauthenticated, 256, 'no more than there are places for')
  const s3 = gateway.client()
  await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x' }))
  t.equal(await (await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))).Body?.transformToString(), 'x')
  t.match(await rawRequest(gateway.endpoint, `GET /${Bucket}/k HTTP/1.1\r\nHost: x\r\n\r\n`), { status: 200 }, 'nor anonymous readers')
})

await t.test('a client at its limits gets SlowDown, and others continue', async (t) => {
  const second = { accessKeyId: 'SECOND', secretAccessKey: 'second-secret' }
  const first = { accessKeyId: 'FIRST', secretAccessKey: 'first-secret', limits: { requests: 3 } }
  const gateway = await startTestGateway(store, { sections: { clients: [first, second], limits: { perClient: { requestsPerSecond: 1000 } } } })
  t.teardown(() => gateway.close())
  const as = (credentials: typeof second) =>
    new S3Client({ endpoint: gateway.endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials })
  await as(second).send(new PutObjectCommand({ Bucket, Key: 'large', Body: Buffer.alloc(8 * 1024 * 1024) }))
  const get = async (who: typeof second) => as(who).send(new GetObjectCommand({ Bucket, Key: 'large' }))
  // Their bodies are not read: three readers that hold what they have got.
  const slow = await Promise.all([get(first), get(first), get(first)])
  await t.rejects(get(first), { name: 'SlowDown', $metadata: { httpStatusCode: 503 } })
  t.equal(gateway.metric('sealgate_limited_total{limit="client requests"}'), 1)
  t.equal((await (await get(second)).Body?.transformToByteArray())?.length, 8 * 1024 * 1024)
  for (const { Body } of slow) t.equal((await Body?.transformToByteArray())?.length, 8 * 1024 * 1024, 'and what was let in comes to its end')
  t.equal((await get(first)).$metadata.httpStatusCode, 200)
})
