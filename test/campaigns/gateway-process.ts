import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { S3Client } from '@aws-sdk/client-s3'
import { createKeyring } from '../../src/keys/keyring-file.ts'

const root = join(import.meta.dirname, '..', '..')
export const credentials = { accessKeyId: 'client', secretAccessKey: 'client-secret' }

/** A store in a process of its own, which keeps everything in memory. */
export async function startStoreProcess(): Promise<{ readonly endpoint: string; stop(): void }> {
  const child = spawn(process.execPath, ['bench/store.ts', 'memory'], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  const [endpoint] = await once(createInterface({ input: child.stdout }), 'line') as [string]
  return {
    endpoint,
    stop: () => {
      child.kill('SIGKILL')
    }
  }
}

export interface ProcessOptions {
  readonly endpoint: string
  /** Shell command before the gateway's, such as `ulimit -n 256`. */
  readonly shell?: string
  /** Whole sections of the configuration. */
  readonly sections?: Readonly<Record<string, unknown>>
}

/** `sealgate serve` as a process that can be killed and started again on the same port. */
export class GatewayProcess {
  readonly #options: ProcessOptions
  readonly #folder = mkdtempSync(join(tmpdir(), 'sealgate-campaign-'))
  #child: ChildProcess | null = null
  port = 0

  constructor(options: ProcessOptions) {
    this.#options = options
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Its configuration file, for other commands. */
  get config(): string {
    return join(this.#folder, 'sealgate.yaml')
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** @param keyring of another gateway, to be shared. */
  async prepare(keyring: string | null = null): Promise<string> {
    const path = keyring ?? join(this.#folder, 'keyring.json')
    if (keyring === null) await createKeyring(path, 'campaign', new Date())
    this.#write(path)
    return path
  }

  async start(): Promise<void> {
    const command = `${this.#options.shell ?? ':'}; exec ${process.execPath} ${join(root, 'src/main.ts')} serve --config ${join(this.#folder, 'sealgate.yaml')}`
    const child = spawn('/bin/bash', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    for await (const line of createInterface({ input: child.stdout })) {
      const event = JSON.parse(line) as { msg: string; port: number }
      if (event.msg !== 'listening') continue
      this.port = event.port
      break
    }
    child.stdout.resume()
    this.#pin()
  }

  async kill(): Promise<void> {
    if (this.#child === null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }

  async remove(): Promise<void> {
    await this.kill()
    rmSync(this.#folder, { recursive: true })
  }

  /** Resident memory in MiB, and open file descriptors. */
  usage(): { readonly rss: number; readonly alive: boolean } {
    try {
      return { rss: Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0) / 1024, alive: true }
    } catch {
      return { rss: 0, alive: false }
    }
  }

  client(maxAttempts = 1): S3Client {
    // A copy: the SDK writes into what it is given.
    return new S3Client({ endpoint: this.endpoint, region: 'us-east-1', forcePathStyle: true, maxAttempts, credentials: { ...credentials } })
  }

  #write(keyring: string): void {
    writeFileSync(
      join(this.#folder, 'sealgate.yaml'),
      JSON.stringify({
        listen: { port: this.port },
        upstream: { endpoint: this.#options.endpoint, accessKeyId: 'store', secretAccessKey: 'store-secret' },
        clients: [credentials],
        keys: { main: { type: 'local', keyring } },
        log: { level: 'info' },
        ...this.#options.sections
      })
    )
  }

  /** The port of the first start is kept for later ones. */
  #pin(): void {
    const file = join(this.#folder, 'sealgate.yaml')
    const config = JSON.parse(readFileSync(file, 'utf8')) as { listen: unknown }
    writeFileSync(file, JSON.stringify({ ...config, listen: { port: this.port } }))
  }
}
