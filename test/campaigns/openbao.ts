// A real OpenBao that is sealed and opened again while clients write, read and copy, with tokens of a few seconds:
// test/e2e/openbao.sh node test/campaigns/openbao.ts [SECONDS]
// Every answer is right or an error; nothing is acknowledged that does not open afterwards; service comes back by itself. Exit 1 for a fault.
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { CopyObjectCommand, CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3ServiceException } from '@aws-sdk/client-s3'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { appRole, audited, close, counted, enable, folder, newKey, seal, sectionOf, unseal } from '../e2e/openbao-server.ts'
import { GatewayProcess, startStoreProcess } from './gateway-process.ts'

const seconds = Number(process.argv[2] ?? 120)
const Bucket = 'photos'
const CLIENTS = 8
/** Longest that a request may take: the deadline of key requests, and time for the rest on a busy machine. */
const PATIENCE_MS = 15_000

await enable('mounts', 'transit')
await enable('auth', 'approle')
const key = await newKey()
const keyring = join(folder, 'keyring.json')
await createKeyring(keyring, 'unused', new Date())
const store = await startStoreProcess()
const gateway = new GatewayProcess({
  endpoint: store.endpoint,
  sections: {
    keys: { vault: sectionOf(key, await appRole(key, { token_ttl: '4s', token_max_ttl: '12s' })) },
    buckets: { '*': { key: 'vault', etag: 'opaque' } },
    // One of three objects asks the server.
    keyCache: { maxAgeSeconds: 2, maxUses: 3 },
    log: { level: 'info' }
  }
})
await gateway.prepare(keyring)
await gateway.start()
const s3 = gateway.client()
await s3.send(new CreateBucketCommand({ Bucket }))

const written = new Map<string, string>()
const counts: Record<string, number> = { wrong: 0, strange: 0, written: 0, read: 0, copied: 0, refused: 0, slow: 0 }
let sealed = false
/** Errors that came while the server was open for a while: none is expected. */
let unexpected = 0
let openSince = performance.now()
const stop = performance.now() + seconds * 1000

async function attempt(what: string, work: () => Promise<void>): Promise<void> {
  const started = performance.now()
  const settledBefore = !sealed && started - openSince > 6000
  try {
    await work()
    counts[what] = (counts[what] ?? 0) + 1
  } catch (error) {
    if (!(error instanceof S3ServiceException) || error.$metadata.httpStatusCode !== 503) {
      counts['strange'] = (counts['strange'] ?? 0) + 1
      console.log(`strange: ${what}: ${String(error)}`)
    } else {
      counts['refused'] = (counts['refused'] ?? 0) + 1
      if (settledBefore && !sealed) unexpected += 1
    }
  }
  if (performance.now() - started > PATIENCE_MS) counts['slow'] = (counts['slow'] ?? 0) + 1
}

async function read(name: string, sum: string): Promise<void> {
  const answer = await s3.send(new GetObjectCommand({ Bucket, Key: name }))
  const bytes = await answer.Body!.transformToByteArray()
  if (createHash('sha256').update(bytes).digest('hex') !== sum) counts['wrong'] = (counts['wrong'] ?? 0) + 1
}

async function client(number: number): Promise<void> {
  for (let i = 0; performance.now() < stop; i += 1) {
    const name = `c${number}/${i}`
    const body = randomBytes(2000 + (i * 997) % 200_000)
    const sum = createHash('sha256').update(body).digest('hex')
    await attempt('written', async () => {
      await s3.send(new PutObjectCommand({ Bucket, Key: name, Body: body }))
      written.set(name, sum)
    })
    const [other, otherSum] = [...written].at(Math.floor(Math.random() * written.size)) ?? []
    if (other === undefined || otherSum === undefined) continue
    await attempt('read', () => read(other, otherSum))
    if (i % 5 !== 0) continue
    await attempt('copied', async () => {
      await s3.send(new CopyObjectCommand({ Bucket, Key: `${name}-copy`, CopySource: `${Bucket}/${other}` }))
      written.set(`${name}-copy`, otherSum)
    })
  }
}

async function outages(): Promise<number> {
  let times = 0
  while (performance.now() < stop - 12_000) {
    await sleep(5000 + Math.random() * 5000)
    sealed = true
    await seal()
    await sleep(1000 + Math.random() * 6000)
    await unseal()
    openSince = performance.now()
    sealed = false
    times += 1
  }
  return times
}

audited()
const [times] = await Promise.all([outages(), ...Array.from({ length: CLIENTS }, (_, i) => client(i))])
const calls = counted(audited())
let lost = 0
for (const [name, sum] of written) await read(name, sum).catch(() => (lost += 1))
const rss = gateway.usage().rss.toFixed(0)
console.log(`${seconds} s, ${times} times sealed and opened, ${CLIENTS} clients: ${JSON.stringify(counts)}`)
console.log(
  `${written.size} acknowledged objects read afterwards: ${lost} lost, ${
    counts['wrong'] ?? 0
  } wrong; refused while the server had been open for 6 s: ${unexpected}; ${rss} MiB`
)
console.log(`calls that the server answered: ${JSON.stringify(calls)}`)
await gateway.remove()
store.stop()
await close()
const good = lost === 0 && counts['wrong'] === 0 && counts['strange'] === 0 && counts['slow'] === 0 && unexpected === 0 && times > 0 &&
  (counts['refused'] ?? 0) > 0
console.log(good ? 'as promised' : 'NOT AS PROMISED')
process.exitCode = good ? 0 : 1
