// What a request allocates dies young (docs/decisions/0014): measured in a process of its own, by what the old generation gains.
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client
} from '@aws-sdk/client-s3'
import t from 'tap'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { startTestStore } from '../support/hostile.ts'

const root = join(import.meta.dirname, '..', '..')
const credentials = { accessKeyId: 'client', secretAccessKey: 'client-secret' }
const folder = mkdtempSync(join(tmpdir(), 'sealgate-garbage-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})

const mib = 1 << 20

/** Bytes of the old generation that a request may cost. One that drags others along costs all that it allocated, some 20,000. */
const allowance = 2500

interface Collected {
  /** Bytes then used in the old generation. */
  readonly oldBytes: number
  /** Collections of the whole heap since the start. */
  readonly full: number
}

interface Gateway {
  readonly port: number
  /** Collects what a young collection can. */
  readonly collect: () => Promise<Collected>
  /** Has the whole heap collected, as V8 does after some idle seconds. */
  readonly collectAll: () => void
}

async function startGateway(): Promise<Gateway> {
  const store = await startTestStore({ buckets: ['sealgate-state'], keepBodies: false })
  t.teardown(() => store.close())
  await createKeyring(join(folder, 'keyring.json'), 'garbage', new Date())
  writeFileSync(
    join(folder, 'sealgate.yaml'),
    JSON.stringify({
      listen: { port: 0 },
      clients: [credentials],
      keys: { main: { type: 'local', keyring: './keyring.json' } },
      log: { level: 'info' },
      upstream: { endpoint: store.endpoint, accessKeyId: 'AKIDTESTSTORE', secretAccessKey: 'test-store-secret' }
    })
  )
  const child = spawn(process.execPath, [
    '--expose-gc',
    '--import',
    join(import.meta.dirname, 'garbage-probe.ts'),
    join(root, 'src', 'main.ts'),
    'serve',
    '--config',
    join(folder, 'sealgate.yaml')
  ], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  const lines = createInterface({ input: child.stdout })
  // One listener for good: lines that arrive together are emitted together, and a listener set after the first misses the others.
  const told = new EventEmitter()
  lines.on('line', (line) => {
    const event = JSON.parse(line) as { msg: string }
    told.emit(event.msg, event)
  })
  const next = async (name: string): Promise<Record<string, number>> => {
    const [event] = await once(told, name, { signal: AbortSignal.timeout(30_000) }) as [Record<string, number>]
    return event
  }
  const { port = 0 } = await next('listening')
  return {
    port,
    collect: async () => {
      const collected = next('collected')
      child.kill('SIGUSR2')
      const { oldBytes = Number.NaN, full = Number.NaN } = await collected
      return { oldBytes, full }
    },
    collectAll: () => {
      child.kill('SIGWINCH')
    }
  }
}

const gateway = await startGateway()
const client = new S3Client({ endpoint: `http://127.0.0.1:${gateway.port}`, region: 'us-east-1', forcePathStyle: true, credentials })
const at = { Bucket: 'garbage', Key: 'object' }
await client.send(new CreateBucketCommand({ Bucket: 'garbage' }))
await client.send(new PutObjectCommand({ ...at, Body: Buffer.alloc(4096, 1) }))
await client.send(new PutObjectCommand({ ...at, Key: 'large', Body: Buffer.alloc(200_000, 1) }))

const agent = new Agent({ keepAlive: true })
t.teardown(() => {
  agent.destroy()
})

/** Resolves when the whole answer is there, whatever it says. */
async function anonymous(): Promise<void> {
  const [answer] = await once(get({ port: gateway.port, path: '/garbage/object', agent }), 'response') as [NodeJS.ReadableStream]
  answer.resume()
  await once(answer, 'end')
}

// Not among them: uploads above 64 KiB, of which undici keeps the request (decision 0014, "Left").
const kinds: readonly (readonly [name: string, send: (i: number) => Promise<unknown>])[] = [
  ['GetObject', async () => (await client.send(new GetObjectCommand(at))).Body?.transformToByteArray()],
  ['PutObject', (i) => client.send(new PutObjectCommand({ Bucket: 'garbage', Key: `object-${i % 10}`, Body: Buffer.alloc(4096, i) }))],
  ['GetObject, streamed', async () => (await client.send(new GetObjectCommand({ ...at, Key: 'large' }))).Body?.transformToByteArray()],
  ['HeadObject', () => client.send(new HeadObjectCommand(at))],
  ['NoSuchKey', () => client.send(new GetObjectCommand({ ...at, Key: 'none' })).catch(() => undefined)],
  ['ListObjectsV2', () => client.send(new ListObjectsV2Command({ Bucket: 'garbage' }))],
  ['DeleteObject', (i) => client.send(new DeleteObjectCommand({ Bucket: 'garbage', Key: `none-${i}` }))],
  ['AccessDenied', anonymous]
]

for (const [name, send] of kinds) {
  await t.test(`${name} leaves nothing in the old generation`, async (t) => {
    // The code warms up: what the compilers keep is no garbage.
    for (let i = 0; i < 150; i += 1) await send(i)
    // A request that is under way while young collections come is promoted. It must take none of the later ones with it.
    const under = Array.from({ length: 4 }, (_, i) => send(i))
    const { oldBytes: before } = await gateway.collect()
    await Promise.all(under)
    for (let i = 0; i < 150; i += 1) await send(i)
    const gained = ((await gateway.collect()).oldBytes - before) / 150
    t.comment(`${name}: ${gained.toFixed(0)} bytes a request`)
    t.ok(gained < allowance, `${name} leaves ${gained.toFixed(0)} bytes`)
  })
}

await t.test('one full collection does not lead to the next while bodies pass', async (t) => {
  await client.send(new PutObjectCommand({ ...at, Key: 'body', Body: Buffer.alloc(16 * mib, 1) }))
  const bodies = async (): Promise<void> => {
    await Promise.all(Array.from({ length: 8 }, async () => (await client.send(new GetObjectCommand({ ...at, Key: 'body' }))).Body?.transformToByteArray()))
  }
  await bodies()
  gateway.collectAll()
  await bodies()
  const { full: before } = await gateway.collect()
  for (let i = 0; i < 4; i += 1) await bodies()
  const full = (await gateway.collect()).full - before
  t.comment(`${full} full collections in 512 MiB`)
  t.ok(full < 10)
})
