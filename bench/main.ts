// npm run bench: gateway with sealing against the same gateway passing through, against a bare relay, against the store.
// Rows are measured side by side in one run; ratios count, absolute numbers are of this machine and this minute.
import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createKeyring } from '../src/keys/keyring-file.ts'
import { BenchClient, bodyOf, hashOf, type Account } from './client.ts'
import { startMeasured, type Measured } from './processes.ts'

const GIB = 1 << 30
const MIB = 1 << 20
const quick = process.argv.includes('--quick')
const bodySize = quick ? 256 * MIB : GIB
const rounds = quick ? 1 : 3
const smallRequests = quick ? 3000 : 10_000
const say = (line = ''): void => { process.stdout.write(`${line}\n`) }
const storeAccount: Account = { accessKeyId: 'store', secretAccessKey: 'store-secret' }
const clientAccount: Account = { accessKeyId: 'client', secretAccessKey: 'client-secret' }

interface Target {
  readonly name: string
  readonly server: Measured
  readonly account: Account
  readonly bucket: string
  readonly signed?: boolean
}

const folder = mkdtempSync(join(tmpdir(), 'sealgate-bench-'))

async function startGateway(endpoint: string, port: number, workers = 1): Promise<Measured> {
  const config = join(folder, `${port}.yaml`)
  writeFileSync(config, JSON.stringify({
    listen: { host: '127.0.0.1', port },
    upstream: { endpoint, region: 'us-east-1', ...storeAccount },
    clients: [{ ...clientAccount, buckets: ['*'] }],
    keys: { main: { type: 'local', keyring: join(folder, 'keyring.json') } },
    buckets: { 'off': { encryption: 'off' }, 'opaque': { etag: 'opaque' }, 'md5': { etag: 'md5' } },
    log: { level: 'info' },
    workers
  }))
  return startMeasured('src/main.ts', ['serve', '--config', config], `http://127.0.0.1:${port}`)
}

/** CPU seconds of bare AES-256-GCM over the same bytes in segments of 64 KiB. */
function bareCipher(): number {
  const key = createSecretKey(randomBytes(32))
  const segment = Buffer.alloc(65520)
  const nonce = Buffer.alloc(12)
  const from = process.cpuUsage()
  for (let i = 0; i * segment.length < bodySize; i += 1) {
    nonce.writeUInt32BE(i, 8)
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
    cipher.update(segment)
    cipher.final()
    cipher.getAuthTag()
  }
  const { user, system } = process.cpuUsage(from)
  return (user + system) / 1e6
}

interface Row {
  readonly name: string
  readonly mibPerSecond: number
  readonly cpuPerGib: number
}

async function measureLarge(target: Target, method: 'PUT' | 'GET'): Promise<Row> {
  const client = new BenchClient(target.server.endpoint, target.account)
  const sha256 = target.signed === true ? hashOf(bodySize) : undefined
  const cpu = target.server.cpuSeconds()
  const from = performance.now()
  for (let i = 0; i < rounds; i += 1) {
    const { status, bytes } = method === 'PUT'
      ? await client.send('PUT', `/${target.bucket}/large`, { body: bodyOf(bodySize), size: bodySize, ...sha256 === undefined ? {} : { sha256 } })
      : await client.send('GET', `/${target.bucket}/large`)
    if (status !== 200 || (method === 'GET' && bytes !== bodySize)) throw new Error(`${target.name} ${method}: ${status}, ${bytes} bytes`)
  }
  const seconds = (performance.now() - from) / 1000
  const gib = rounds * bodySize / GIB
  await client.close()
  return { name: target.name, mibPerSecond: gib * 1024 / seconds, cpuPerGib: (target.server.cpuSeconds() - cpu) / gib }
}

interface SmallRow {
  readonly name: string
  readonly perCpuSecond: number
  readonly p50: number
  readonly p99: number
}

async function measureSmall(target: Target, method: 'PUT' | 'GET', concurrency: number): Promise<SmallRow> {
  const client = new BenchClient(target.server.endpoint, target.account)
  const body = randomBytes(4096)
  await client.send('PUT', `/${target.bucket}/small-0`, { body, size: body.length })
  for (let i = 0; i < 500; i += 1) await client.send('GET', `/${target.bucket}/small-0`)
  const times: number[] = []
  let next = 0
  const cpu = target.server.cpuSeconds()
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (next < smallRequests) {
      next += 1
      const from = performance.now()
      const { status } = method === 'PUT'
        ? await client.send('PUT', `/${target.bucket}/small-${next % 100}`, { body, size: body.length })
        : await client.send('GET', `/${target.bucket}/small-0`)
      if (status !== 200) throw new Error(`${target.name} ${method}: ${status}`)
      times.push(performance.now() - from)
    }
  }))
  const spent = target.server.cpuSeconds() - cpu
  times.sort((a, b) => a - b)
  await client.close()
  return { name: target.name, perCpuSecond: smallRequests / spent, p50: times[Math.floor(times.length * 0.5)] ?? 0, p99: times[Math.floor(times.length * 0.99)] ?? 0 }
}

async function large(targets: readonly Target[]): Promise<void> {
  const cipher = bareCipher() * GIB / bodySize
  say(`bare AES-256-GCM, 64 KiB segments: ${cipher.toFixed(2)} CPU-s/GiB`)
  for (const method of ['PUT', 'GET'] as const) {
    say(`\n${method} ${bodySize / MIB} MiB × ${rounds}                MiB/s   CPU-s/GiB   × pass-through   above it, × bare cipher`)
    const rows: Row[] = []
    for (const target of targets) rows.push(await measureLarge(target, method))
    const through = rows.find(({ name }) => name === 'gateway, off')?.cpuPerGib ?? Number.NaN
    for (const { name, mibPerSecond, cpuPerGib } of rows) {
      say(`${name.padEnd(30)} ${mibPerSecond.toFixed(0).padStart(7)} ${cpuPerGib.toFixed(2).padStart(11)} ` +
        `${(cpuPerGib / through).toFixed(2).padStart(16)} ${((cpuPerGib - through) / cipher).toFixed(2).padStart(25)}`)
    }
  }
}

async function small(targets: readonly Target[]): Promise<void> {
  for (const method of ['PUT', 'GET'] as const) {
    say(`\n4 KiB ${method} × ${smallRequests}, 16 at once       per CPU-s   p50 ms   p99 ms`)
    for (const target of targets.filter(({ signed }) => signed !== true)) {
      const { name, perCpuSecond, p50, p99 } = await measureSmall(target, method, 16)
      say(`${name.padEnd(36)} ${perCpuSecond.toFixed(0).padStart(9)} ${p50.toFixed(2).padStart(8)} ${p99.toFixed(2).padStart(8)}`)
    }
  }
}

/** RSS of the gateway while many transfers run at once. */
async function memory(store: Measured): Promise<void> {
  const size = 256 * MIB
  const sink = await startMeasured('bench/store.ts', ['sink'])
  const down = await startGateway(store.endpoint, 9151)
  const up = await startGateway(sink.endpoint, 9152)
  const client = new BenchClient(down.endpoint, clientAccount)
  await client.send('PUT', '/opaque/memory', { body: bodyOf(size), size })
  for (const [name, server, transfer] of [
    ['GET', down, (c: BenchClient) => c.send('GET', '/opaque/memory')],
    ['PUT', up, (c: BenchClient) => c.send('PUT', '/opaque/memory', { body: bodyOf(size), size })]
  ] as const) {
    const peer = new BenchClient(server.endpoint, clientAccount)
    const before = server.rssMiB()
    let peak = before
    const watch = setInterval(() => { peak = Math.max(peak, server.rssMiB()) }, 100)
    await Promise.all(Array.from({ length: 64 }, () => transfer(peer)))
    clearInterval(watch)
    say(`64 × 256 MiB ${name} at once: RSS ${before.toFixed(0)} → peak ${peak.toFixed(0)} MiB`)
    await peer.close()
  }
  await client.close()
  await Promise.all([sink.stop(), down.stop(), up.stop()])
}

await createKeyring(join(folder, 'keyring.json'), 'bench', new Date())
const store = await startMeasured('bench/store.ts', ['memory'])
const relay = await startMeasured('bench/relay.ts', [store.endpoint])
const gateway = await startGateway(store.endpoint, 9150)
try {
  const direct = new BenchClient(store.endpoint, storeAccount)
  for (const bucket of ['off', 'opaque', 'md5']) await direct.send('PUT', `/${bucket}`)
  await direct.close()
  const targets: Target[] = [
    { name: 'store', server: store, account: storeAccount, bucket: 'off' },
    { name: 'gateway, off', server: gateway, account: clientAccount, bucket: 'off' },
    { name: 'gateway, sealed, opaque', server: gateway, account: clientAccount, bucket: 'opaque' },
    { name: 'gateway, sealed, opaque, signed', server: gateway, account: clientAccount, bucket: 'opaque', signed: true },
    { name: 'gateway, sealed, md5', server: gateway, account: clientAccount, bucket: 'md5' }
  ]
  const bare: Target = { name: 'bare undici relay', server: relay, account: storeAccount, bucket: 'off' }
  await large([...targets.slice(0, 1), bare, ...targets.slice(1)])
  await small([...targets.slice(0, 1), bare, ...targets.slice(1)])
  say()
  await memory(store)
} finally {
  await Promise.all([store.stop(), relay.stop(), gateway.stop()])
  rmSync(folder, { recursive: true })
}
