// Floods of clients that send or read slowly, and honest ones among them. node test/campaigns/floods.ts
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from './presign.ts'
import { credentials, GatewayProcess, startStoreProcess } from './gateway-process.ts'
import { freePort } from '../support/free-port.ts'

const crowd = 400
/** Of the gateway's admin port. */
const adminPort = await freePort()
const store = await startStoreProcess()
const gateway = new GatewayProcess({
  endpoint: store.endpoint,
  sections: { admin: { port: adminPort }, limits: { minRate: 1024, minRateWindowSeconds: 2, requestsInFlight: 4096 } }
})
await gateway.prepare()
await gateway.start()
const client = gateway.client()
const Bucket = 'floods'
await client.send(new CreateBucketCommand({ Bucket }))
await client.send(new PutObjectCommand({ Bucket, Key: 'large', Body: Buffer.alloc(20_000_000, 'x') }))

/** As the gateway sees it: a client that does not read does not see either that it has been cut. */
async function connectionsAtGateway(): Promise<number> {
  const [response] = await once(get({ host: '127.0.0.1', port: adminPort, path: '/metrics', agent: false }), 'response') as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return Number(/^sealgate_client_connections (\d+)/m.exec(text)?.[1])
}

/** Opens the crowd; every socket is fed one byte each 100 ms after `head`. */
function flood(head: (i: number) => string, byte: string, reads: boolean): { end(): void } {
  const sockets = Array.from({ length: crowd }, (_, i) => {
    const socket = connect(gateway.port, '127.0.0.1')
    socket.on('error', () => undefined)
    if (reads) socket.resume()
    else socket.pause()
    socket.write(head(i))
    return socket
  })
  const timer = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write(byte)
  }, 100)
  return {
    end: () => {
      clearInterval(timer)
      for (const socket of sockets) socket.destroy()
    }
  }
}

interface Honest {
  ok: number
  heads: number
  slowDown: number
  wrong: number
  slowestMs: number
}

/** Pairs of PUT and GET, each with a HEAD, which has connections to the store of its own. SlowDown is an honest answer, too. */
async function honest(count: number): Promise<Honest> {
  const result: Honest = { ok: 0, heads: 0, slowDown: 0, wrong: 0, slowestMs: 0 }
  await Promise.all(Array.from({ length: count }, async (_, i) => {
    const from = performance.now()
    const Key = `honest-${i}`
    await client.send(new HeadObjectCommand({ Bucket, Key: 'large' })).then(() => {
      result.heads += 1
    }, () => undefined)
    try {
      await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
      if (await Body!.transformToString() === Key) result.ok += 1
      else result.wrong += 1
    } catch (error) {
      if ((error as Error).name === 'SlowDown') result.slowDown += 1
      else result.wrong += 1
    }
    result.slowestMs = Math.max(result.slowestMs, Math.round(performance.now() - from))
  }))
  return result
}

const base = gateway.usage().rss
let failures = 0
for (
  const [name, head, byte, reads, patienceMs] of [
    ['heads that never end', () => 'GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ', 'x', true, 36_000],
    [
      'bodies of 10 bytes a second',
      (i: number) =>
        `PUT ${
          getSignedUrl('PUT', `/${Bucket}/slow-${i}`, gateway.endpoint, credentials)
        } HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nContent-Length: 1000000\r\n\r\n`,
      'x',
      true,
      12_000
    ],
    [
      'readers that stopped',
      () =>
        `GET ${
          getSignedUrl('GET', `/${Bucket}/large`, gateway.endpoint, credentials)
        } HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nConnection: close\r\n\r\n`,
      '',
      false,
      30_000
    ]
  ] as const
) {
  const flooding = flood(head, byte, reads)
  await delay(500)
  const peers = await honest(50)
  const during = gateway.usage().rss
  const until = Date.now() + patienceMs
  client.destroy()
  const cut = async (): Promise<number> => crowd - await connectionsAtGateway()
  while (await cut() < crowd && Date.now() < until) await delay(200)
  const open = crowd - await cut()
  flooding.end()
  await delay(500)
  const after = await honest(50)
  if (open > 0 || peers.wrong > 0 || peers.heads < 50 || after.ok < 50) failures += 1
  console.log(
    `${crowd} ${name}: ${crowd - open} cut or answered, ${open} left; honest meanwhile: ${peers.ok} pairs of 50 served, ` +
      `${peers.slowDown} SlowDown, ${peers.wrong} wrong, ${peers.heads} HEADs, slowest ${peers.slowestMs} ms; afterwards ${after.ok} of 50; ` +
      `memory ${base.toFixed(0)} -> ${during.toFixed(0)} -> ${gateway.usage().rss.toFixed(0)} MiB`
  )
}
const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'slow-' }))
if (Contents.length > 0) failures += 1
console.log(`${Contents.length} objects of slow writers in the store`)
await gateway.remove()
store.stop()
process.exit(failures === 0 ? 0 : 1)
