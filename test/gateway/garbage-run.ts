// What requests leave in the old generation of a gateway in a process of its own (docs/decisions/0014).
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { startTestStore } from '../support/hostile.ts'
import type { Draft } from '../support/signing.ts'
import { headerSigned, Wire } from '../support/wire.ts'

const root = join(import.meta.dirname, '..', '..')
const credentials = { accessKeyId: 'client', secretAccessKey: 'client-secret' }

const mib = 1 << 20
const AT_ONCE = 16

interface Collected {
  /** Bytes then used in the old generation. */
  readonly oldBytes: number
  /** Collections of the whole heap since the start. */
  readonly full: number
}

interface Gateway {
  readonly endpoint: string
  /** Collects what a young collection can. */
  readonly collect: () => Promise<Collected>
  /** Has the whole heap collected, as V8 does after some idle seconds. */
  readonly collectAll: () => void
  readonly close: () => Promise<void>
}

async function startGateway(): Promise<Gateway> {
  const folder = mkdtempSync(join(tmpdir(), 'sealgate-garbage-'))
  const store = await startTestStore({ buckets: ['sealgate-state'], keepBodies: false })
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
  const lines = createInterface({ input: child.stdout })
  // One listener for good: lines that arrive together are emitted together, and a listener set after the first misses the others.
  const told = new EventEmitter()
  lines.on('line', (line) => {
    const event = JSON.parse(line) as { msg: string }
    told.emit(event.msg, event)
  })
  const next = async (name: string): Promise<Record<string, number>> => {
    const [event] = await once(told, name, { signal: AbortSignal.timeout(120_000) }) as [Record<string, number>]
    return event
  }
  const close = async (): Promise<void> => {
    child.kill('SIGKILL')
    await store.close()
    rmSync(folder, { recursive: true })
  }
  const { port = 0 } = await next('listening').catch(async (error: unknown) => {
    await close()
    throw error
  })
  return {
    endpoint: `http://127.0.0.1:${port}`,
    collect: async () => {
      const collected = next('collected')
      child.kill('SIGUSR2')
      const { oldBytes = Number.NaN, full = Number.NaN } = await collected
      return { oldBytes, full }
    },
    collectAll: () => {
      child.kill('SIGWINCH')
    },
    close
  }
}

const object = '/garbage/object'

/** Not among them: uploads above 64 KiB, of which undici keeps the request (decision 0014, "Left"). */
const kinds: readonly (readonly [name: string, method: string, target: (i: number) => string, body: number, status: number, headers?: Draft['headers']])[] = [
  ['GetObject', 'GET', () => object, 0, 200],
  ['PutObject', 'PUT', (i) => `/garbage/object-${i % 10}`, 4096, 200],
  ['GetObject, a connection each', 'GET', () => object, 0, 200, [['Connection', 'close']]],
  ['GetObject, streamed', 'GET', () => '/garbage/large', 0, 200],
  ['HeadObject', 'HEAD', () => object, 0, 200],
  ['NoSuchKey', 'GET', () => '/garbage/none', 0, 404],
  ['ListObjectsV2', 'GET', () => '/garbage?list-type=2', 0, 200],
  ['DeleteObject', 'DELETE', (i) => `/garbage/none-${i}`, 0, 204],
  ['AccessDenied', 'GET', () => object, 0, 403]
]

export interface Garbage {
  /** Bytes of the old generation that a request has cost, by kind. */
  readonly left: ReadonlyMap<string, number>
  /** Collections of the whole heap, after a first one, while bodies passed, and the bytes of these. */
  readonly full: number
  readonly bodyBytes: number
}

/**
 * @param requests of each kind, first to warm up the code (what the compilers keep is no garbage), and then to be measured
 * @param rounds of eight bodies of 6 MiB at once
 * @param enough bytes: a kind that leaves more is measured up to three times. On a busy machine those that are under way at two collections are promoted;
 * where each takes the next with it, that is so every time.
 */
export async function garbage(requests: number, rounds: number, enough: number): Promise<Garbage> {
  const gateway = await startGateway()
  const wire = new Wire(gateway.endpoint)
  const access = { endpoint: gateway.endpoint, ...credentials }
  const send = async (method: string, target: string, bytes: number, status: number, headers: Draft['headers'] = []): Promise<void> => {
    const body = Buffer.alloc(bytes, 1)
    const draft = { method, target, headers }
    const answer = await wire.send(status === 403 ? { ...draft, headers: [['Host', 'x']] } : headerSigned(access, draft, body), body)
    if (answer.status !== status) throw new Error(`${method} ${target}: ${answer.status} ${answer.code}`)
  }
  const left = new Map<string, number>()
  try {
    await send('PUT', '/garbage', 0, 200)
    await send('PUT', object, 4096, 200)
    await send('PUT', '/garbage/large', 280_000, 200)
    for (const [name, method, target, bytes, status, headers] of kinds) {
      // At once: what requests that overlap leave to each other is seen only where they do.
      const some = async (): Promise<void> => {
        let next = 0
        await Promise.all(Array.from({ length: AT_ONCE }, async () => {
          for (let i = next++; i < requests; i = next++) await send(method, target(i), bytes, status, headers)
        }))
      }
      await some()
      const measure = async (): Promise<number> => {
        // A request that is under way while young collections come is promoted. It must take none of the later ones with it.
        const under = Array.from({ length: 4 }, (_, i) => send(method, target(i), bytes, status, headers))
        const { oldBytes: before } = await gateway.collect()
        await Promise.all(under)
        await some()
        return ((await gateway.collect()).oldBytes - before) / requests
      }
      let least = await measure()
      for (let again = 0; again < 2 && least > enough; again += 1) least = Math.min(least, await measure())
      left.set(name, least)
    }
    await send('PUT', '/garbage/body', 6 * mib, 200)
    const bodies = async (): Promise<void> => {
      await Promise.all(Array.from({ length: 8 }, () => send('GET', '/garbage/body', 0, 200)))
    }
    await bodies()
    gateway.collectAll()
    await bodies()
    const { full: before } = await gateway.collect()
    for (let i = 0; i < rounds; i += 1) await bodies()
    const { full } = await gateway.collect()
    return { left, full: full - before, bodyBytes: rounds * 8 * 6 * mib }
  } finally {
    wire.close()
    await gateway.close()
  }
}
