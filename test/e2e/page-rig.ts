// A gateway with a status page, as a process with two workers, in front of a test store and a key service of this process, which faults of
// page-faults.ts disturb.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms } from '../support/fake-kms.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { runCli, type Ran } from '../support/run-cli.ts'
import { freePort } from '../support/free-port.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const client = { accessKeyId: 'PAGECLIENT', secretAccessKey: 'page-client-secret' }
const passphrase = 'a passphrase for the page only'

/** What a fault changes before the start. */
export interface Changes {
  /** Certificate and key of the listener; absent: plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly audit?: string
  /** Whether a backup of the keyring was checked. Default true. */
  readonly backup?: boolean
  /** The endpoint in place of the test store's. */
  readonly endpoint?: string
}

export class PageRig {
  readonly folder: string
  readonly store: TestStore
  readonly kms: FakeKms
  readonly arn: string
  adminPort = 0
  readonly #stopKms: () => Promise<void>
  #child: ChildProcess | null = null
  #endpoint = ''

  private constructor(folder: string, store: TestStore, kms: FakeKms, stopKms: () => Promise<void>) {
    this.folder = folder
    this.store = store
    this.kms = kms
    this.arn = kms.addKey()
    this.#stopKms = stopKms
  }

  static async make(): Promise<PageRig> {
    let stopKms = async (): Promise<void> => undefined
    const kms = await FakeKms.start({
      teardown: (work) => {
        stopKms = work
      }
    })
    return new PageRig(await mkdtemp(join(tmpdir(), 'sealgate-page-')), await startTestStore({ keepBodies: false }), kms, stopKms)
  }

  get page(): string {
    return `http://127.0.0.1:${this.adminPort}/`
  }

  async start({ tls, audit, backup = true, endpoint = this.store.endpoint }: Changes): Promise<void> {
    const keyring = join(this.folder, 'keyring.json')
    await createKeyring(keyring, 'main', new Date())
    if (backup) {
      const [file, secret] = [join(this.folder, 'keyring.backup'), join(this.folder, 'passphrase')]
      await writeFile(secret, passphrase, { mode: 0o600 })
      await this.run('keys', 'export', '--keyring', keyring, '--backup', file, '--passphrase-file', secret)
      await this.run('keys', 'check-backup', '--keyring', keyring, '--backup', file, '--passphrase-file', secret)
    }
    this.adminPort = await freePort()
    const { accessKeyId, secretAccessKey } = this.store
    await writeFile(
      join(this.folder, 'sealgate.yaml'),
      JSON.stringify({
        listen: { port: 0, ...tls === undefined ? {} : { tls } },
        admin: { port: this.adminPort, page: true },
        upstream: { endpoint, accessKeyId, secretAccessKey, realm: 'page' },
        clients: [client],
        keys: {
          main: { type: 'local', keyring },
          cloud: { type: 'aws-kms', arn: this.arn, endpoint: this.kms.endpoint, accessKeyId: 'KMSUSER', secretAccessKey: 'kms-user-secret' }
        },
        buckets: { '*': { key: 'main' }, 'cloud-*': { key: 'cloud', bucketKeys: false }, 'public-*': { encryption: 'off', publicRead: 'store' } },
        audit: { file: audit ?? join(this.folder, 'audit.jsonl') },
        limits: { graceSeconds: 0.1 },
        workers: 2
      })
    )
    const child = spawn(process.execPath, [main, 'serve', '--config', join(this.folder, 'sealgate.yaml')], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    for await (const line of createInterface({ input: child.stdout })) {
      const event = JSON.parse(line) as { msg: string; port: number }
      if (event.msg !== 'workers listening') continue
      this.#endpoint = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${event.port}`
      break
    }
    child.stdout.resume()
  }

  /** Stops everything and removes its files. */
  async stop(): Promise<void> {
    if (this.#child !== null && this.#child.exitCode === null) {
      const exited = once(this.#child, 'exit')
      this.#child.kill('SIGTERM')
      await exited
    }
    await this.store.close().catch(() => undefined)
    await this.#stopKms()
    await rm(this.folder, { recursive: true, force: true })
  }

  run(...args: string[]): Promise<Ran> {
    return runCli(args, this.folder)
  }

  client(): S3Client {
    return new S3Client({ endpoint: this.#endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, credentials: { ...client } })
  }

  /** The store itself. */
  direct(): S3Client {
    const { endpoint, region, accessKeyId, secretAccessKey } = this.store
    return new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
  }

  /** Reads the configuration again, with this text in its place. */
  async reload(text: string): Promise<void> {
    await writeFile(join(this.folder, 'sealgate.yaml'), text)
    this.#child?.kill('SIGHUP')
  }

  /** Writes and reads some objects. @returns how many requests failed */
  async traffic(bucket: string, objects = 4): Promise<number> {
    const s3 = this.client()
    const sent = [
      () => s3.send(new CreateBucketCommand({ Bucket: bucket })),
      ...Array.from(
        { length: objects },
        (_, i) => async () => s3.send(new PutObjectCommand({ Bucket: bucket, Key: `object ${i}`, Body: Buffer.alloc(10_000 * (i + 1), 'x') }))
      ),
      ...Array.from(
        { length: objects },
        (_, i) => async () => (await s3.send(new GetObjectCommand({ Bucket: bucket, Key: `object ${i}` }))).Body?.transformToByteArray()
      ),
      () => s3.send(new GetObjectCommand({ Bucket: bucket, Key: 'none' }))
    ]
    let failed = 0
    for (const send of sent) await send().catch(() => failed += 1)
    s3.destroy()
    return failed
  }

  async workerPids(): Promise<number[]> {
    const pid = this.#child?.pid ?? 0
    return (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ').filter((text) => text !== '').map(Number)
  }
}
