// What all benchmarks share: the store, gateways in front of it, and their accounts, each in a process of its own.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { createKeyring } from '../src/keys/keyring-file.ts'
import { BenchClient, type Account } from './client.ts'
import { startMeasured, type Measured } from './processes.ts'

export const KIB = 1 << 10
export const MIB = 1 << 20
export const GIB = 1 << 30
export const storeAccount: Account = { accessKeyId: 'store', secretAccessKey: 'store-secret' }
export const clientAccount: Account = { accessKeyId: 'client', secretAccessKey: 'client-secret' }
/** What the image and the scripts of package.json give Node; what the gateway is set against gets the same. */
const flags = ['--max-semi-space-size=8']
/** The store shares the cores with the gateway: it is to collect on one of them only. */
const storeFlags = [...flags, '--single-threaded-gc']
/** `off` passes through; the other two are sealed, with ETags of either kind. */
export const buckets = ['off', 'opaque', 'md5'] as const

export const say = (line = ''): void => {
  process.stdout.write(`${line}\n`)
}

/** Prints one row: a name, then right-aligned columns. */
export function row(name: string, ...columns: readonly string[]): void {
  say(name.padEnd(44) + columns.map((text) => text.padStart(12)).join(''))
}

export interface GatewayOptions {
  readonly workers?: number
  /** Sections of the configuration that replace the defaults below. */
  readonly sections?: Readonly<Record<string, unknown>>
  /** Connections to the store. */
  readonly connections?: number
  /** What is started: the sources, unless it is the main file of a package. */
  readonly main?: string
}

/** Starts what a benchmark needs, and stops all of it in the end. */
export class Rig {
  readonly #folder = mkdtempSync(join(tmpdir(), 'sealgate-bench-'))
  readonly #running: Measured[] = []
  readonly #clients: BenchClient[] = []
  readonly #keyring: Promise<string>
  #gateways = 0

  constructor() {
    const keyring = join(this.#folder, 'keyring.json')
    this.#keyring = createKeyring(keyring, 'bench', new Date()).then(() => keyring)
  }

  /** A server of this folder that prints its endpoint. */
  async server(script: string, ...args: readonly string[]): Promise<Measured> {
    return this.#add(await startMeasured(`bench/${script}.ts`, args, script === 'store' ? storeFlags : flags))
  }

  /** A store in memory that has the buckets of the benchmarks. @param kind `forgetful`: it keeps no long bodies */
  async store(kind: 'memory' | 'forgetful' = 'memory'): Promise<Measured> {
    const store = await this.server('store', kind)
    const direct = this.client(store.endpoint, storeAccount)
    for (const bucket of buckets) await direct.send('PUT', `/${bucket}`)
    return store
  }

  async gateway(endpoint: string, options: GatewayOptions = {}): Promise<Measured> {
    const keyring = await this.#keyring
    this.#gateways += 1
    const config = join(this.#folder, `gateway-${this.#gateways}.yaml`)
    const { workers = 1, connections = 256, sections = {}, main = 'src/main.ts' } = options
    writeFileSync(
      config,
      JSON.stringify({
        listen: { port: 0 },
        upstream: { endpoint, region: 'us-east-1', connections, ...storeAccount },
        clients: [clientAccount],
        keys: { main: { type: 'local', keyring } },
        buckets: { off: { encryption: 'off' }, opaque: { etag: 'opaque' }, md5: { etag: 'md5' } },
        log: { level: 'info' },
        workers,
        ...sections
      })
    )
    return this.#add(await startMeasured(main, ['serve', '--config', config], flags, workers === 1 ? 'listening' : 'workers listening'))
  }

  client(endpoint: string, account = clientAccount, connections = 128): BenchClient {
    const client = new BenchClient(endpoint, account, connections)
    this.#clients.push(client)
    return client
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map(async (client) => client.close()))
    await Promise.all(this.#running.map(async (server) => server.stop()))
    rmSync(this.#folder, { recursive: true })
  }

  #add(server: Measured): Measured {
    this.#running.push(server)
    return server
  }
}
