// For the campaigns of commands on existing objects: a gateway in front of any store, a configuration, and the commands in processes that can be killed.
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { CreateBucketCommand, GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { startTestGateway, type TestGateway } from './gateway.ts'
import { startTestStore, type TestStore } from './hostile.ts'

/** What a command with `--json` prints. */
interface RunSummary {
  readonly rows: number
  readonly states: Readonly<Record<string, { readonly objects: number }>>
  readonly outcomes: Readonly<Record<string, { readonly objects: number }>>
}

interface Ran {
  /** null: killed. */
  readonly code: number | null
  readonly out: string
  readonly seconds: number
  /** Most of its resident set, as looked at ten times a second; null where the system does not say. */
  readonly peakMib: number | null
  /** Of all its threads, as seen then. */
  readonly cpuSeconds: number | null
}

export interface ExistingRig {
  /** The bucket of the campaign, and one without encryption. */
  readonly bucket: string
  readonly plain: string
  readonly stateBucket: string
  readonly folder: string
  readonly config: string
  readonly keyring: string
  readonly access: Pick<TestStore, 'endpoint' | 'accessKeyId' | 'secretAccessKey'>
  readonly gateway: TestGateway
  readonly through: S3Client
  readonly direct: S3Client
  /** null: the store is not the embedded one. */
  readonly embedded: TestStore | null
  /** What went wrong. */
  readonly wrong: string[]
  /**
   * Runs a command in a process of its own. @param lifeMs after which it is killed; null: it is let be.
   * @param program default: the command line itself.
   */
  readonly run: (args: readonly string[], lifeMs?: number | null, program?: string) => Promise<Ran>
  /** Prints what went wrong, stops everything, and sets the exit status. */
  readonly finish: () => Promise<void>
}

/** Exit codes of commands that have done their work: objects were left, or faults were found. */
const worked: ReadonlySet<number | null> = new Set([0, 3, 4])

/**
 * @param store its endpoint and credentials, as arguments of a campaign; absent: the embedded store. Buckets are made there, and stay.
 * @param sections of the configuration, beside those that every campaign needs.
 */
export async function startExisting(store: readonly (string | undefined)[], sections: Readonly<Record<string, unknown>> = {}): Promise<ExistingRig> {
  const [endpoint, accessKeyId = '', secretAccessKey = ''] = store
  const embedded = endpoint === undefined ? await startTestStore({ keepBodies: false }) : null
  const access = embedded ?? { endpoint: endpoint ?? '', accessKeyId, secretAccessKey, region: 'us-east-1' }
  const suffix = randomBytes(3).toString('hex')
  const [bucket, plain] = [`existing-${suffix}`, `existing-${suffix}-out`]
  const folder = await mkdtemp(join(tmpdir(), 'sealgate-existing-'))
  const keyring = join(folder, 'keyring.json')
  await createKeyring(keyring, 'main', new Date())
  const upstream = {
    endpoint: access.endpoint,
    region: access.region,
    accessKeyId: access.accessKeyId,
    secretAccessKey: access.secretAccessKey,
    stateBucket: `sealgate-state-${suffix}`,
    realm: 'existing'
  }
  const keys = { main: { type: 'local', keyring }, ...sections['keys'] as Readonly<Record<string, unknown>> | undefined }
  const all = { upstream, buckets: { [bucket]: { encryption: 'on', key: 'main' }, [plain]: { encryption: 'off' } }, ...sections, keys }
  const gateway = await startTestGateway(access, { keyring, sections: all })
  const config = join(folder, 'sealgate.yaml')
  const client = { accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey, buckets: ['*'] }
  await writeFile(config, JSON.stringify({ ...all, clients: [client] }))
  const through = gateway.client()
  const direct = new S3Client({ endpoint: access.endpoint, region: access.region, forcePathStyle: true, credentials: access })
  for (const name of [bucket, plain]) await direct.send(new CreateBucketCommand({ Bucket: name }))
  const wrong: string[] = []
  return {
    bucket,
    plain,
    stateBucket: upstream.stateBucket,
    folder,
    config,
    keyring,
    access,
    gateway,
    through,
    direct,
    embedded,
    wrong,
    async run(args, lifeMs = null, program = join(import.meta.dirname, '../../src/main.ts')) {
      const began = performance.now()
      const child = spawn(process.execPath, [program, ...args, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] })
      let [out, err] = ['', '']
      child.stdout.on('data', (chunk: Buffer) => {
        out += chunk.toString()
      })
      child.stderr.on('data', (chunk: Buffer) => {
        err = (err + chunk.toString()).slice(-2000)
      })
      let used: Used = { peakMib: null, cpuSeconds: null }
      const look = setInterval(() => {
        used = usedBy(child.pid) ?? used
      }, 100)
      const timer = lifeMs === null ? null : setTimeout(() => child.kill('SIGKILL'), lifeMs)
      const [code] = await once(child, 'close') as [number | null]
      if (timer !== null) clearTimeout(timer)
      clearInterval(look)
      if (lifeMs === null && !worked.has(code)) wrong.push(`${args.join(' ')}: exit code ${String(code)}\n${err}`)
      return { code, out, seconds: (performance.now() - began) / 1000, ...used }
    },
    async finish() {
      for (const fault of wrong.slice(0, 50)) console.log(`FAULT ${fault}`)
      console.log(`${wrong.length} faults`)
      direct.destroy()
      through.destroy()
      await gateway.close()
      await embedded?.close()
      await rm(folder, { recursive: true })
      process.exitCode = wrong.length === 0 ? 0 : 1
    }
  }
}

type Used = Pick<Ran, 'peakMib' | 'cpuSeconds'>

/** Clock ticks of Linux in a second (proc(5), sysconf(_SC_CLK_TCK) on every platform that Node has). */
const TICKS = 100

/** What a process has used so far; null where the system does not say (not Linux), or when it has ended. */
function usedBy(pid: number | undefined): Used | null {
  try {
    const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1]
    // The name of the program is in parentheses, and may hold spaces.
    const fields = readFileSync(`/proc/${String(pid)}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return kib === undefined ? null : { peakMib: Math.round(Number(kib) / 1024), cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS }
  } catch {
    return null
  }
}

/** The summary of a command with `--json`; of one that has printed none, nothing. */
export function summaryOf({ out }: Ran): RunSummary {
  return JSON.parse(out.startsWith('{') ? out.split('\n')[0] ?? '' : '{"rows":0,"states":{},"outcomes":{}}') as RunSummary
}

/** The counts of a summary in one line. */
export function shown(ran: Ran): string {
  const { states, outcomes } = summaryOf(ran)
  return [...Object.entries(states), ...Object.entries(outcomes)].map(([name, { objects }]) => `${name} ${objects}`).join(', ')
}

/** Work on every item, eight at a time. */
export async function side<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = [...items]
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next)
  }))
}

export async function bodyOf(s3: S3Client, Bucket: string, Key: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }))
  return Buffer.from(await Body!.transformToByteArray())
}

/** SHA-256 of an object's bytes, in hex, read as a stream. */
export async function sumOf(s3: S3Client, Bucket: string, Key: string, VersionId?: string): Promise<string> {
  const hash = createHash('sha256')
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, VersionId }))
  for await (const chunk of Body as AsyncIterable<Buffer>) hash.update(chunk)
  return hash.digest('hex')
}
