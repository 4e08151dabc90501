// Floods of clients that send or read slowly, and honest ones among them. node test/campaigns/floods.ts
import { connect, type Socket } from 'node:net'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from './presign.ts'
import { credentials, GatewayProcess, startStoreProcess } from './gateway-process.ts'

const crowd = 400
const store = await startStoreProcess()
const gateway = new GatewayProcess({ endpoint: store.endpoint, sections: { limits: { minRate: 1024, minRateWindowSeconds: 2, requestsInFlight: 4096 } } })
await gateway.prepare()
await gateway.start()
const client = gateway.client()
const Bucket = 'floods'
await client.send(new CreateBucketCommand({ Bucket }))
await client.send(new PutObjectCommand({ Bucket, Key: 'large', Body: Buffer.alloc(20_000_000, 'x') }))

interface Outcome { open: number; closed: number; reset: number; answered: number }

/** Opens the crowd; every socket is fed one byte each 100 ms after `head`. */
function flood(head: (i: number) => string, byte: string, reads: boolean): { readonly sockets: Socket[]; outcome(): Outcome; end(): void } {
  const outcome: Outcome = { open: 0, closed: 0, reset: 0, answered: 0 }
  const sockets = Array.from({ length: crowd }, (_, i) => {
    const socket = connect(gateway.port, '127.0.0.1')
    outcome.open += 1
    socket.on('error', () => { outcome.reset += 1 })
    socket.on('close', () => { outcome.open -= 1; outcome.closed += 1 })
    if (reads) socket.once('data', () => { outcome.answered += 1 })
    else socket.once('readable', () => { socket.read(1); outcome.answered += 1 })
    socket.write(head(i))
    return socket
  })
  const timer = setInterval(() => { for (const socket of sockets) if (socket.writable) socket.write(byte) }, 100)
  return {
    sockets,
    outcome: () => ({ ...outcome }),
    end: () => {
      clearInterval(timer)
      for (const socket of sockets) socket.destroy()
    }
  }
}

async function honest(count: number): Promise<{ ok: number; slowestMs: number }> {
  let ok = 0
  let slowest = 0
  for (let i = 0; i < count; i += 1) {
    const from = performance.now()
    const Key = `honest-${i}`
    await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
    if (await Body!.transformToString() === Key) ok += 1
    slowest = Math.max(slowest, performance.now() - from)
  }
  return { ok, slowestMs: Math.round(slowest) }
}

const base = gateway.usage().rss
let failures = 0
for (const [name, head, byte, reads, patienceMs] of [
  ['heads that never end', () => 'GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ', 'x', true, 36_000],
  ['bodies of 10 bytes a second', (i: number) => `PUT ${getSignedUrl('PUT', `/${Bucket}/slow-${i}`, gateway.endpoint, credentials)} HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nContent-Length: 1000000\r\n\r\n`, 'x', true, 12_000],
  ['readers that stopped', () => `GET ${getSignedUrl('GET', `/${Bucket}/large`, gateway.endpoint, credentials)} HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\n\r\n`, '', false, 12_000]
] as const) {
  const flooding = flood(head, byte, reads)
  await delay(500)
  const peers = await honest(50)
  const during = gateway.usage().rss
  const until = Date.now() + patienceMs
  while (flooding.outcome().open > 0 && Date.now() < until) await delay(200)
  const { open, answered } = flooding.outcome()
  flooding.end()
  await delay(500)
  if (open > 0 || peers.ok !== 50) failures += 1
  console.log(`${crowd} ${name}: ${crowd - open} cut (${answered} with an answer), ${open} left; honest: ${peers.ok} of 50, slowest pair ${peers.slowestMs} ms; ` +
    `memory ${base.toFixed(0)} -> ${during.toFixed(0)} -> ${gateway.usage().rss.toFixed(0)} MiB`)
}
const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'slow-' }))
if (Contents.length > 0) failures += 1
console.log(`${Contents.length} objects of slow writers in the store`)
await gateway.remove()
store.stop()
process.exit(failures === 0 ? 0 : 1)
