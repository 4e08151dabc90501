import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
  UploadPartCommand,
  type S3Client
} from '@aws-sdk/client-s3'
import { parseConfig } from '../../src/config/load.ts'
import { createKeyring, editKeyring, readKeyring } from '../../src/keys/keyring-file.ts'
import { startTestGateway, type StoreAccess } from '../support/gateway.ts'
import { runCli } from '../support/run-cli.ts'
import { startCountingProxy, type CountingProxy } from './counting-proxy.ts'

export interface Fire {
  readonly store: StoreAccess
  readonly objects: number
  /** Multipart objects among them, 5 MiB and more each. */
  readonly multipart: number
  /** Mean bytes of a single object. */
  readonly meanBytes: number
  readonly stateBucket: string
  /** Names of the two buckets, made here: without versions and with. */
  readonly buckets: readonly [string, string]
  /** The store guards copies: clients write to the very objects that are re-wrapped. Else they write to others beside them. */
  readonly guarded: boolean
  /** Milliseconds a run may live after its first connection to the store: evenly random between. */
  readonly life: readonly [least: number, most: number]
  /** Runs that are killed before one is let be. */
  readonly kills: number
  /** Longest pause of a client between two requests, in milliseconds. */
  readonly pauseMs: number
  readonly say: (line: string) => void
}

export interface Damage {
  readonly kills: number
  readonly runs: number
  readonly writes: number
  readonly tags: number
  readonly reads: number
  /** What should not have been: each names an object. */
  readonly faults: readonly string[]
  /** Bytes between the command and the store. */
  readonly moved: number
  /** Bytes of all bodies when the first run began. */
  readonly stored: number
  /** Objects and versions per key id when all was done. */
  readonly usage: readonly { readonly keyId: string; readonly objects: number }[]
  readonly current: string
}

interface Known {
  readonly bucket: string
  readonly key: string
  sha256: string
  tag: string
  readonly ssec: boolean
  /** Being written to: a read may see the old or the new. */
  busy: boolean
}

const customer = randomBytes(32)
const ssec = {
  SSECustomerAlgorithm: 'AES256',
  SSECustomerKey: customer.toString('base64'),
  SSECustomerKeyMD5: createHash('md5').update(customer).digest('base64')
}
const PART_BYTES = 5 * 1024 * 1024

/**
 * Fills two buckets, rotates the key, and runs `sealgate rewrap` until it is done, killing it again and again, while clients
 * overwrite, re-tag and read. Then looks at everything that was ever acknowledged.
 */
export async function rewrapUnderFire(fire: Fire): Promise<Damage> {
  const folder = await mkdtemp(join(tmpdir(), 'sealgate-fire-'))
  const keyring = join(folder, 'keyring.json')
  await createKeyring(keyring, 'fire', new Date())
  const { endpoint, region, accessKeyId, secretAccessKey } = fire.store
  const sections = {
    upstream: { endpoint, region, accessKeyId, secretAccessKey, stateBucket: fire.stateBucket, realm: 'fire' },
    auth: { ssecOverHttp: true }
  }
  const proxy = await startCountingProxy(endpoint)
  const gateway = await startTestGateway(fire.store, { keyring, sections })
  const text = (upstream: string): string =>
    JSON.stringify({
      ...sections,
      upstream: { ...sections.upstream, endpoint: upstream },
      clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey, buckets: ['*'] }],
      keys: { main: { type: 'local', keyring } },
      buckets: { '*': { encryption: 'on', key: 'main' } }
    })
  const config = join(folder, 'sealgate.yaml')
  await writeFile(config, text(proxy.endpoint))
  const s3 = gateway.client()
  try {
    const { known, bytes: stored } = await fill(fire, s3)
    await editKeyring(keyring, (old) => old.rotate(new Date()))
    await gateway.gateway.reload(parseConfig(text(endpoint), { file: config, env: {} }))
    const ring = await readKeyring(keyring)
    const clients = new Clients(s3, known, fire)
    const stop = clients.start()
    const runs = await runUntilDone(fire, config, proxy)
    await stop()
    const moved = proxy.sent + proxy.received
    const usage = await usageOf(fire, config)
    const faults = [...clients.faults, ...await checkAll(s3, known)]
    return {
      ...runs,
      ...clients.counts,
      faults,
      moved,
      usage,
      stored,
      current: ring.keyId(ring.current()!)
    }
  } finally {
    s3.destroy()
    await gateway.close()
    await proxy.close()
    await rm(folder, { recursive: true })
  }
}

async function fill(fire: Fire, s3: S3Client): Promise<{ readonly known: Known[]; readonly bytes: number }> {
  const [plain, versioned] = fire.buckets
  for (const Bucket of fire.buckets) await s3.send(new CreateBucketCommand({ Bucket }))
  await s3.send(new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration: { Status: 'Enabled' } }))
  const known: Known[] = []
  let bytes = 0
  const write = async (i: number): Promise<void> => {
    const bucket = i % 3 === 0 ? versioned : plain
    const key = `objects/${String(i).padStart(5, '0')}`
    const sealedByClient = i % 10 === 1
    const multipart = i < fire.multipart * 2 && i % 2 === 0
    const body = randomBytes(multipart ? PART_BYTES + 1000 + i : Math.floor(fire.meanBytes * (0.5 + Math.random())))
    if (multipart) await putParts(s3, bucket, key, body)
    else await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: body, Tagging: 'tag=first', ...sealedByClient ? ssec : {} }))
    known.push({ bucket, key, sha256: sha256(body), tag: 'first', ssec: sealedByClient, busy: false })
    bytes += body.length
  }
  for (let i = 0; i < fire.objects; i += 8) await Promise.all([...Array(Math.min(8, fire.objects - i)).keys()].map((j) => write(i + j)))
  fire.say(
    `${fire.objects} objects written, ${known.filter((one) => one.ssec).length} under a customer's key, ${fire.multipart} in parts, one in three with versions`
  )
  return { known, bytes }
}

async function putParts(s3: S3Client, Bucket: string, Key: string, body: Buffer): Promise<void> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const parts = await Promise.all([body.subarray(0, PART_BYTES), body.subarray(PART_BYTES)].map(async (Body, i) => {
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body }))
    return { ETag, PartNumber: i + 1 }
  }))
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts: parts } }))
  // Not with the upload: radosgw 16 loses the tags of those.
  await s3.send(new PutObjectTaggingCommand({ Bucket, Key, Tagging: { TagSet: [{ Key: 'tag', Value: 'first' }] } }))
}

/** Clients that write, tag and read, and remember what was acknowledged. One at a time for each object. */
class Clients {
  readonly faults: string[] = []
  readonly counts = { writes: 0, tags: 0, reads: 0 }
  readonly #s3: S3Client
  readonly #known: readonly Known[]
  readonly #written: readonly Known[]
  readonly #pauseMs: number
  #stopped = false

  constructor(s3: S3Client, known: Known[], { guarded, pauseMs }: Fire) {
    this.#s3 = s3
    this.#pauseMs = pauseMs
    // Where writers may lose, they get objects of their own, outside of what is re-wrapped.
    if (!guarded) {
      for (let i = 0; i < 50; i += 1) {
        known.push({ bucket: known[0]!.bucket, key: `beside/${i}`, sha256: '', tag: '', ssec: false, busy: false })
      }
    }
    this.#known = known
    this.#written = known.filter(({ key, ssec }) => !ssec && (guarded || key.startsWith('beside/')))
  }

  start(): () => Promise<void> {
    const loops = [this.#write(), this.#write(), this.#tag(), this.#read()]
    return async () => {
      this.#stopped = true
      await Promise.all(loops)
    }
  }

  async #loop(from: readonly Known[], work: (one: Known) => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      const one = from[Math.floor(Math.random() * from.length)]!
      if (one.busy) {
        await sleep(1)
        continue
      }
      one.busy = true
      try {
        await work(one)
      } catch (error) {
        this.faults.push(`${one.bucket}/${one.key}: ${String(error)}`)
      }
      one.busy = false
      await sleep(Math.random() * this.#pauseMs)
    }
  }

  #write(): Promise<void> {
    return this.#loop(this.#written, async (one) => {
      const body = randomBytes(Math.floor(Math.random() * 20_000))
      const tag = randomBytes(4).toString('hex')
      await this.#s3.send(new PutObjectCommand({ Bucket: one.bucket, Key: one.key, Body: body, Tagging: `tag=${tag}` }))
      one.sha256 = sha256(body)
      one.tag = tag
      this.counts.writes += 1
    })
  }

  #tag(): Promise<void> {
    return this.#loop(this.#written, async (one) => {
      if (one.sha256 === '') return
      const tag = randomBytes(4).toString('hex')
      await this.#s3.send(new PutObjectTaggingCommand({ Bucket: one.bucket, Key: one.key, Tagging: { TagSet: [{ Key: 'tag', Value: tag }] } }))
      one.tag = tag
      this.counts.tags += 1
    })
  }

  #read(): Promise<void> {
    return this.#loop(this.#known.filter(({ sha256: sum }) => sum !== ''), async (one) => {
      const fault = await check(this.#s3, one, false)
      if (fault !== null) this.faults.push(`while it ran: ${fault}`)
      this.counts.reads += 1
    })
  }
}

async function runUntilDone(fire: Fire, config: string, proxy: CountingProxy): Promise<{ kills: number; runs: number }> {
  let kills = 0
  let runs = 0
  for (const bucket of fire.buckets) {
    for (let done = false, killed = 0; !done;) {
      const [least, most] = fire.life
      const args = ['rewrap', '--config', config, '--bucket', bucket, '--prefix', 'objects/', ...fire.guarded ? [] : ['--assume-no-writers']]
      // A run that is let be needs no process of its own.
      const { code, out, err } = killed < fire.kills ? await killedAfter(least + Math.random() * (most - least), args, proxy) : await runCli(args, '.')
      runs += 1
      if (code === null) {
        kills += 1
        killed += 1
      } else {
        fire.say(`run ${runs} ended with ${code}: ${out.trim().replaceAll('\n', ';')}${err.includes(':') ? ` ${err.trim().slice(-200)}` : ''}`)
        if ((code !== 0 && code !== 1) || killed >= fire.kills + 5) throw new Error(err)
        if (code === 1) killed += 1
        done = code === 0
      }
    }
  }
  return { kills, runs }
}

const main = new URL('../../src/main.ts', import.meta.url).pathname

/** Kills a run so many milliseconds after its first connection to the store, unless it has ended. Its code is then null. */
async function killedAfter(lifeMs: number, args: readonly string[], proxy: CountingProxy): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const text = { out: '', err: '' }
  child.stdout.on('data', (chunk: Buffer) => {
    text.out += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    text.err += chunk.toString()
  })
  const ended = new AbortController()
  void proxy.connected().then(() => sleep(lifeMs, undefined, ended)).then(() => child.kill('SIGKILL')).catch(() => undefined)
  const [code] = await once(child, 'close') as [number | null]
  ended.abort()
  return { code, ...text }
}

async function usageOf(fire: Fire, config: string): Promise<Damage['usage'][number][]> {
  const rows: Damage['usage'][number][] = []
  for (const bucket of fire.buckets) {
    const { out } = await runCli(['keys', 'usage', '--config', config, '--bucket', bucket, '--prefix', 'objects/', '--json'], '.')
    rows.push(...JSON.parse(out) as typeof rows)
  }
  return rows
}

async function checkAll(s3: S3Client, known: readonly Known[]): Promise<string[]> {
  const faults: string[] = []
  for (const one of known) {
    if (one.sha256 === '') continue
    const fault = await check(s3, one, true)
    if (fault !== null) faults.push(fault)
  }
  return faults
}

/** @returns what is wrong with an object; null when it is what was acknowledged. */
async function check(s3: S3Client, one: Known, tags: boolean): Promise<string | null> {
  const { bucket: Bucket, key: Key, sha256: expected, tag } = one
  const got = await s3.send(new GetObjectCommand({ Bucket, Key, ...one.ssec ? ssec : {} }))
  if (sha256(await got.Body!.transformToByteArray()) !== expected) return `${Bucket}/${Key}: another body than the one acknowledged`
  if (!tags) return null
  const { TagSet } = await s3.send(new GetObjectTaggingCommand({ Bucket, Key }))
  const found = TagSet?.find((one) => one.Key === 'tag')?.Value
  return found === tag ? null : `${Bucket}/${Key}: tag ${found ?? 'lost'} instead of ${tag}`
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
