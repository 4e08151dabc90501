// `encrypt`, `decrypt` and `verify --deep` on a bucket of plaintext objects: `encrypt` is killed by SIGKILL again and again while clients overwrite
// objects, through a gateway and past it; `decrypt` must give every byte back; `verify --deep` must find every fault that is planted. Takes minutes:
//   node test/campaigns/existing.ts                                                            against the embedded store
//   node test/campaigns/existing.ts ENDPOINT ACCESS_KEY SECRET_KEY [OBJECTS [FAULTS [KILLS [quiet]]]]  against another; buckets are made there and stay
// With "quiet" there are no writers, for stores without conditions on writes.
import { spawn } from 'node:child_process'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand
} from '@aws-sdk/client-s3'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

const [endpoint, accessKeyId, secretAccessKey, objects = '300', faults = '60', kills = '50', quiet] = process.argv.slice(2)
const embedded = endpoint === undefined ? await startTestStore({ keepBodies: false }) : null
const access = embedded ?? { endpoint: endpoint ?? '', accessKeyId: accessKeyId ?? '', secretAccessKey: secretAccessKey ?? '', region: 'us-east-1' }
const suffix = randomBytes(3).toString('hex')
const [Bucket, Plain, stateBucket] = [`existing-${suffix}`, `existing-out-${suffix}`, `sealgate-state-${suffix}`]
const MIB = 1024 * 1024
const folder = await mkdtemp(join(tmpdir(), 'sealgate-existing-'))
const keyring = join(folder, 'keyring.json')
await createKeyring(keyring, 'main', new Date())
const sections = {
  upstream: {
    endpoint: access.endpoint,
    region: access.region,
    accessKeyId: access.accessKeyId,
    secretAccessKey: access.secretAccessKey,
    stateBucket,
    realm: 'existing'
  },
  buckets: { [Bucket]: { encryption: 'on', key: 'main' }, [Plain]: { encryption: 'off' } }
}
const gateway = await startTestGateway(access, { keyring, sections })
const config = join(folder, 'sealgate.yaml')
const client = { accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey, buckets: ['*'] }
await writeFile(config, JSON.stringify({ ...sections, clients: [client], keys: { main: { type: 'local', keyring } } }))
const through = gateway.client()
const direct = new S3Client({ endpoint: access.endpoint, region: access.region, forcePathStyle: true, credentials: access })
const wrong: string[] = []
const sha256 = (body: Uint8Array): string => createHash('sha256').update(body).digest('hex')

interface Known {
  readonly key: string
  sha256: string
  busy: boolean
}

async function side<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = [...items]
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next)
  }))
}

async function bodyOf(s3: S3Client, bucket: string, key: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
  return Buffer.from(await Body!.transformToByteArray())
}

async function putParts(Key: string, body: Buffer): Promise<void> {
  const { UploadId } = await direct.send(new CreateMultipartUploadCommand({ Bucket, Key, Metadata: { kind: 'parts' } }))
  const parts: { ETag: string; PartNumber: number }[] = []
  for (let i = 0; i * 5 * MIB < body.length; i += 1) {
    const { ETag } = await direct.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body: body.subarray(i * 5 * MIB, (i + 1) * 5 * MIB) }))
    parts.push({ ETag: ETag!, PartNumber: i + 1 })
  }
  await direct.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts } }))
}

interface Ran {
  readonly code: number | null
  readonly out: string
  readonly seconds: number
}

/** @param lifeMs after which it is killed; null: it is let be. */
async function sealgate(args: readonly string[], lifeMs: number | null = null): Promise<Ran> {
  const began = performance.now()
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../src/main.ts'), ...args, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    err = (err + chunk.toString()).slice(-2000)
  })
  const timer = lifeMs === null ? null : setTimeout(() => child.kill('SIGKILL'), lifeMs)
  const [code] = await once(child, 'close') as [number | null]
  if (timer !== null) clearTimeout(timer)
  if (lifeMs === null && code !== 0 && code !== 4) console.log(`${args.join(' ')}: exit code ${String(code)}\n${err}`)
  return { code, out, seconds: (performance.now() - began) / 1000 }
}

interface Summary {
  readonly states: Record<string, { readonly objects: number }>
  readonly outcomes: Record<string, { readonly objects: number }>
}
const summaryOf = ({ out }: Ran): Summary => JSON.parse(out) as Summary
const shown = ({ states, outcomes }: Summary): string =>
  [...Object.entries(states), ...Object.entries(outcomes)].map(([name, { objects }]) => `${name} ${objects}`).join(', ')

// Objects of plaintext.
for (const name of [Bucket, Plain]) await direct.send(new CreateBucketCommand({ Bucket: name }))
const known = Array.from(
  { length: Number(objects) },
  (_, i): Known => ({ key: `objects/${String(i).padStart(6, '0')} ü+${i % 7 === 0 ? '%2F?&' : ''}`, sha256: '', busy: false })
)
const inParts = known.slice(0, Math.min(10, Math.ceil(known.length / 20)))
await side(known, async (one) => {
  const body = randomBytes(inParts.includes(one) ? 5 * MIB + randomInt(6 * MIB) : randomInt(4) === 0 ? randomInt(400_000) : randomInt(20_000))
  one.sha256 = sha256(body)
  if (inParts.includes(one)) await putParts(one.key, body)
  else await direct.send(new PutObjectCommand({ Bucket, Key: one.key, Body: body, Metadata: { kind: 'single' }, ContentType: 'text/x', Tagging: 'tag=first' }))
})
console.log(`${known.length} plaintext objects, ${inParts.length} of them in parts`)

// `encrypt` under SIGKILL, with writers.
let [writes, stopped] = [0, false]
const writers = Array.from({ length: quiet === 'quiet' ? 0 : 3 }, async () => {
  while (!stopped) {
    const one = known[randomInt(known.length)]!
    if (one.busy) continue
    one.busy = true
    try {
      const body = randomBytes(randomInt(30_000))
      await (randomInt(2) === 0 ? direct : through).send(
        new PutObjectCommand({ Bucket, Key: one.key, Body: body, Tagging: 'tag=later', Metadata: { kind: 'later' } })
      )
      one.sha256 = sha256(body)
      writes += 1
    } catch (error) {
      wrong.push(`a write of ${one.key} failed: ${String(error)}`)
    }
    one.busy = false
    await sleep(randomInt(20))
  }
})
const encrypt = ['encrypt', '--bucket', Bucket, '--json', '--concurrency', '8', ...quiet === 'quiet' ? ['--assume-no-writers'] : []]
let killed = 0
for (let run = 0; run < Number(kills); run += 1) {
  const { code } = await sealgate([...encrypt, '--rate', '40/s'], 900 + randomInt(3000))
  if (code === null) killed += 1
}
const firstDone = summaryOf(await sealgate(encrypt))
stopped = true
await Promise.all(writers)
console.log(`killed ${killed} times; ${writes} writes meanwhile; then, with writers: ${shown(firstDone)}`)
console.log(`last run: ${shown(summaryOf(await sealgate([...encrypt, '--verify'])))}`)
const scanned = summaryOf(await sealgate(['scan', '--bucket', Bucket, '--json']))
console.log(`scan: ${shown(scanned)}`)
if (scanned.states['sealed']?.objects !== known.length) wrong.push('not every object is sealed')
let lost = 0
await side(known, async ({ key, sha256: sum }) => {
  const body = await bodyOf(through, Bucket, key).catch((error: unknown) => Buffer.from(String(error)))
  if (sha256(body) !== sum) {
    lost += 1
    wrong.push(`${key}: another body`)
  }
  const { Metadata } = await through.send(new HeadObjectCommand({ Bucket, Key: key }))
  if (Metadata?.['kind'] === undefined) wrong.push(`${key}: its metadata is lost`)
})
console.log(`writes lost: ${lost} of ${known.length} objects`)

// The way out.
const out = await sealgate(['decrypt', '--bucket', Bucket, '--to', Plain, '--json'])
let differing = 0
await side(known, async ({ key, sha256: sum }) => {
  const body = await bodyOf(direct, Plain, key).catch(() => Buffer.from('absent'))
  if (sha256(body) !== sum) differing += 1
})
console.log(`decrypt: ${shown(summaryOf(out))}; ${differing} bodies differ`)
if (differing > 0) wrong.push(`decrypt: ${differing} bodies differ`)

// Planted faults, past the gateway.
const kinds = [
  'flipped byte',
  'truncated',
  'longer',
  'swapped body',
  'swapped envelope',
  'lost metadata entry',
  'other key id',
  'zeroed block',
  'lost middle',
  'plaintext'
] as const
const planted = new Map<string, (typeof kinds)[number]>()
await side(Array.from({ length: Number(faults) }, (_, i) => i), async (i) => {
  const kind = kinds[i % kinds.length]!
  const Key = `faults/${String(i).padStart(6, '0')}`
  const large = i % 97 === 0
  await through.send(new PutObjectCommand({ Bucket, Key, Body: randomBytes(large ? 3 * MIB : 1000 + randomInt(150_000)) }))
  const [body, { Metadata = {} }] = [await bodyOf(direct, Bucket, Key), await direct.send(new HeadObjectCommand({ Bucket, Key }))]
  const at = randomInt(body.length - 600)
  const changed = { body, Metadata }
  if (kind === 'flipped byte') body[randomInt(body.length)]! ^= 1 << randomInt(8)
  if (kind === 'truncated') changed.body = body.subarray(0, body.length - 1 - randomInt(500))
  if (kind === 'longer') changed.body = Buffer.concat([body, randomBytes(1 + randomInt(500))])
  if (kind === 'zeroed block') body.fill(0, at, at + 512)
  if (kind === 'lost middle') changed.body = Buffer.concat([body.subarray(0, at), body.subarray(at + 512)])
  if (kind === 'plaintext') Object.assign(changed, { body: randomBytes(100), Metadata: {} })
  if (kind === 'swapped body' || kind === 'swapped envelope') {
    await through.send(new PutObjectCommand({ Bucket, Key: 'other', Body: randomBytes(kind === 'swapped body' ? 5000 : 70_000) }))
    if (kind === 'swapped body') {
      // Of the same size, which only reading shows.
      const twin = `twins/${i}`
      await through.send(
        new PutObjectCommand({ Bucket, Key: twin, Body: randomBytes((await through.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength!) })
      )
      changed.body = await bodyOf(direct, Bucket, twin)
    } else changed.Metadata = (await direct.send(new HeadObjectCommand({ Bucket, Key: known[0]!.key }))).Metadata ?? {}
  }
  if (kind === 'lost metadata entry') changed.Metadata = Object.fromEntries(Object.entries(Metadata).slice(1))
  if (kind === 'other key id') changed.Metadata = { ...Metadata, 'sealgate-key': `${Metadata['sealgate-key'] ?? ''}0` }
  await direct.send(new PutObjectCommand({ Bucket, Key, Body: changed.body, Metadata: changed.Metadata }))
  planted.set(Key, kind)
})
const report = join(folder, 'verify.jsonl')
const verified = await sealgate(['verify', '--bucket', Bucket, '--deep', '--json', '--report', report])
console.log(`verify --deep: ${shown(summaryOf(verified))}`)
const named = new Map<string, number>()
let [found, falseAlarms] = [0, 0]
for (const line of (await readFile(report, 'utf8')).trimEnd().split('\n')) {
  const { key, verdict, fault } = JSON.parse(line) as { key: string; verdict: string; fault: string | null }
  const kind = planted.get(key)
  if (kind === undefined) {
    if (verdict !== 'verified') falseAlarms += 1
    continue
  }
  if (verdict === 'verified') wrong.push(`${key}: ${kind} was not found`)
  else found += 1
  const label = `${kind}: ${verdict}: ${fault ?? 'NOT NAMED'}`
  named.set(label, (named.get(label) ?? 0) + 1)
}
for (const [label, count] of [...named].toSorted()) console.log(`  ${count} × ${label}`)
console.log(`verify --deep found ${found} of ${planted.size} planted faults; ${falseAlarms} false alarms`)
if (found !== planted.size || falseAlarms > 0) wrong.push('verify missed a fault or found one that is none')

// Rates.
for (const [label, count, bytes] of [['4 KiB', 400, 4096], ['64 MiB', 4, 64 * MIB]] as const) {
  const keys = Array.from({ length: count }, (_, i) => `rate-${bytes}/${i}`)
  const body = randomBytes(bytes)
  await side(keys, (Key) => direct.send(new PutObjectCommand({ Bucket, Key, Body: body })))
  const began = performance.now()
  await side(keys, async (Key) => direct.send(new PutObjectCommand({ Bucket, Key, Body: await bodyOf(direct, Bucket, Key) })))
  const seconds = (performance.now() - began) / 1000
  const start = await sealgate(['encrypt', '--bucket', Bucket, '--prefix', 'absent/', '--json', '--assume-no-writers'])
  const ran = await sealgate(['encrypt', '--bucket', Bucket, '--prefix', `rate-${bytes}/`, '--json', '--assume-no-writers'])
  const own = Math.max(0.001, ran.seconds - start.seconds)
  const rate = (took: number): string => bytes < MIB ? `${(count / took).toFixed(0)} objects/s` : `${(count * bytes / MIB / took).toFixed(1)} MiB/s`
  console.log(`${count} × ${label}: encrypt ${rate(own)} (start ${start.seconds.toFixed(1)} s apart), read and written direct ${rate(seconds)}`)
}
for (const fault of wrong.slice(0, 50)) console.log(`FAULT ${fault}`)
console.log(`${wrong.length} faults`)
direct.destroy()
through.destroy()
await gateway.close()
await embedded?.close()
await rm(folder, { recursive: true })
process.exitCode = wrong.length === 0 ? 0 : 1
