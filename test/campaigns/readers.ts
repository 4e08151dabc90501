// 256 readers of one client that stop reading, and the GETs of another client meanwhile: with `clients[].limits.requests: 64`, and without.
//   node test/campaigns/readers.ts [ENDPOINT ACCESS-KEY SECRET-KEY]       without arguments in front of the embedded store
// Ends with 1 when a GET of the other client fails or brings wrong bytes with the limit, or when any is served wrong bytes without.
import { connect, type Socket } from 'node:net'
import process from 'node:process'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { credentials, GatewayProcess, startStoreProcess } from './gateway-process.ts'
import { getSignedUrl } from './presign.ts'

const readers = 256
const gets = 200
const atOnce = 50
/** Of waiting for a first GET that is served while the readers are still there. */
const patienceMs = 90_000
const greedy = { accessKeyId: 'greedy', secretAccessKey: 'greedy-secret' }
const [given, accessKeyId = 'store', secretAccessKey = 'store-secret'] = process.argv.slice(2)
const store = given === undefined ? await startStoreProcess() : { endpoint: given, stop: () => undefined }
const Bucket = `readers-${Date.now()}`
const body = Buffer.alloc(100_000, 'honest')
let failures = 0

/** Statuses of the readers' answers, as far as they have come. */
function crowd(gateway: GatewayProcess): { readonly sockets: readonly Socket[]; readonly statuses: Map<string, number> } {
  const statuses = new Map<string, number>()
  const target = getSignedUrl('GET', `/${Bucket}/large`, gateway.endpoint, greedy)
  const sockets = Array.from({ length: readers }, () => {
    const socket = connect(gateway.port, '127.0.0.1').on('error', () => undefined)
    socket.once('data', (head: Buffer) => {
      socket.pause()
      const status = head.toString('latin1', 9, 12)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    })
    socket.write(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\n\r\n`)
    return socket
  })
  return { sockets, statuses }
}

/** Sends a number of GETs as the other client. What became of them: `ok`, `wrong bytes`, or the name of the error. */
async function others(gateway: GatewayProcess, gets: number): Promise<{ readonly outcomes: Map<string, number>; readonly slowestMs: number }> {
  const client = gateway.client()
  const outcomes = new Map<string, number>()
  let [left, slowestMs] = [gets, 0]
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (; left > 0;) {
      left -= 1
      const from = performance.now()
      const outcome = await client.send(new GetObjectCommand({ Bucket, Key: 'small' })).then(
        async ({ Body }) => body.equals(await Body!.transformToByteArray()) ? 'ok' : 'wrong bytes',
        (error: unknown) => error instanceof Error ? error.name : 'unknown error'
      )
      slowestMs = Math.max(slowestMs, Math.round(performance.now() - from))
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
  }))
  client.destroy()
  return { outcomes, slowestMs }
}

const said = (counts: Map<string, number>): string => [...counts].map(([name, count]) => `${count} ${name}`).join(', ')
let keyring: string | null = null
for (const limits of [{ requests: 64 }, undefined]) {
  const gateway = new GatewayProcess({
    endpoint: store.endpoint,
    sections: {
      upstream: { endpoint: store.endpoint, accessKeyId, secretAccessKey, stateBucket: 'sealgate-state-readers' },
      clients: [credentials, limits === undefined ? greedy : { ...greedy, limits }]
    }
  })
  const first = keyring === null
  keyring = await gateway.prepare(keyring)
  await gateway.start()
  const client = gateway.client()
  if (first) {
    await client.send(new CreateBucketCommand({ Bucket }))
    await client.send(new PutObjectCommand({ Bucket, Key: 'large', Body: Buffer.alloc(32_000_000, 'x') }))
    await client.send(new PutObjectCommand({ Bucket, Key: 'small', Body: body }))
  }
  const from = performance.now()
  const { sockets, statuses } = crowd(gateway)
  await delay(5000)
  const { outcomes, slowestMs } = await others(gateway, gets)
  let again = 0
  while (again === 0 && performance.now() - from < patienceMs) {
    if ((await others(gateway, 1)).outcomes.has('ok')) again = Math.round((performance.now() - from) / 1000)
  }
  for (const socket of sockets) socket.destroy()
  await delay(1000)
  const afterwards = await others(gateway, gets)
  const served = (counts: Map<string, number>): boolean => counts.get('ok') === gets
  if (limits !== undefined && !served(outcomes) || outcomes.has('wrong bytes') || !served(afterwards.outcomes)) failures += 1
  console.log(
    `${limits === undefined ? 'no limits' : `limits.requests: ${limits.requests}`}: ${readers} readers that stopped: ${said(statuses)}; ` +
      `GETs of another client: ${said(outcomes)}, slowest ${slowestMs} ms; the next was served ${again} s after the readers came; when they have left: ${
        said(afterwards.outcomes)
      }, slowest ${afterwards.slowestMs} ms; ` +
      `${gateway.usage().rss.toFixed(0)} MiB`
  )
  client.destroy()
  if (first) await gateway.kill()
  else await gateway.remove()
}
store.stop()
process.exit(failures === 0 ? 0 : 1)
