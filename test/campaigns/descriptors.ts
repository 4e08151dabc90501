// A gateway with 256 file descriptors, 600 idle connections, and clients that mean it. node test/campaigns/descriptors.ts
import { connect, type Socket } from 'node:net'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { GatewayProcess, startStoreProcess } from './gateway-process.ts'

const idle = 600
const store = await startStoreProcess()
const gateway = new GatewayProcess({ endpoint: store.endpoint, shell: 'ulimit -n 256', sections: { limits: { connections: 4096 } } })
await gateway.prepare()
await gateway.start()
const client = gateway.client()
const Bucket = 'descriptors'
const body = Buffer.alloc(100_000, 'x')
await client.send(new CreateBucketCommand({ Bucket }))

/** @returns how many of `count` requests were answered, how many of those wrongly, and the names of the errors. */
async function honest(count: number): Promise<{ ok: number; wrong: number; errors: Record<string, number> }> {
  const result = { ok: 0, wrong: 0, errors: {} as Record<string, number> }
  for (let i = 0; i < count; i += 1) {
    const fresh = gateway.client()
    try {
      const Key = `k${i % 5}`
      await fresh.send(new PutObjectCommand({ Bucket, Key, Body: body }), { abortSignal: AbortSignal.timeout(2000) })
      const { Body } = await fresh.send(new GetObjectCommand({ Bucket, Key }), { abortSignal: AbortSignal.timeout(2000) })
      if (Buffer.from(await Body!.transformToByteArray()).equals(body)) result.ok += 1
      else result.wrong += 1
    } catch (error) {
      const { name } = error as Error
      result.errors[name] = (result.errors[name] ?? 0) + 1
    } finally {
      fresh.destroy()
    }
  }
  return result
}

/** One that came before the crowd and keeps its connection. */
async function regular(): Promise<number> {
  let ok = 0
  for (let i = 0; i < 20; i += 1) {
    await client.send(new PutObjectCommand({ Bucket, Key: 'regular', Body: body }), { abortSignal: AbortSignal.timeout(2000) }).then(() => {
      ok += 1
    }, () => undefined)
  }
  return ok
}

console.log('before ', JSON.stringify(await honest(20)))
const sockets: Socket[] = []
let refused = 0
for (let i = 0; i < idle; i += 1) {
  const socket = connect(gateway.port, '127.0.0.1')
  socket.on('error', () => {
    refused += 1
  })
  sockets.push(socket)
}
await delay(1500)
const kept = await regular()
const during = await honest(3)
console.log('during ', JSON.stringify(during), `${sockets.filter((socket) => !socket.destroyed).length} idle connections open, ${refused} refused`)
for (const socket of sockets) socket.destroy()
await delay(1000)
const after = await honest(20)
const { alive, rss } = gateway.usage()
console.log('after  ', JSON.stringify(after), `alive ${String(alive)}, ${rss.toFixed(0)} MiB`)
const good = alive && kept === 20 && during.wrong === 0 && after.ok === 20
console.log(
  `${idle} idle connections against 256 descriptors: ${kept} of 20 requests of a client that was there before served, ${during.wrong} wrong answers, ${after.ok} of 20 served afterwards`
)
await gateway.remove()
store.stop()
process.exit(good ? 0 : 1)
