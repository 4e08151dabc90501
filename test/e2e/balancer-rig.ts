// For balancers.ts: two gateways as processes of their own, a balancer with a file of docker/balancers in front of them, and clients that retry nothing.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { type Agent, request as httpsRequest } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { buffer, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import type { Draft } from '../support/signing.ts'
import { freePort } from '../support/free-port.ts'

export const root = join(import.meta.dirname, '..', '..')
export const certificate = join(root, 'test/support/tls/localhost-cert.pem')
const privateKey = join(root, 'test/support/tls/localhost-key.pem')
export const tlsOf = { cert: readFileSync(certificate), key: readFileSync(privateKey) }
export const ca = tlsOf.cert

export interface Kind {
  readonly program: string
  readonly file: string
  /** Ends TLS and reads HTTP; else it passes TCP on. */
  readonly http: boolean
  /** It asks /readyz. */
  readonly asks: boolean
  /** Names that it answers with 400 by itself. */
  readonly refuses: RegExp
  /** It drops headers with "_" or "." in their names. */
  readonly drops?: true
  /** It may reset a connection over a refused body that comes all the same. */
  readonly resets?: true
  /** It waits for the 100 of the gateway; else it answers by itself. */
  readonly continues: boolean
  readonly args: (file: string, work: string) => readonly string[]
}

const nothing = /(?!)/
const haproxy = { program: process.env['HAPROXY'] ?? 'haproxy', asks: true, refuses: nothing, continues: true, args: (file: string) => ['-db', '-f', file] }
const nginx = {
  program: process.env['NGINX'] ?? 'nginx',
  asks: false,
  args: (file: string, work: string) => ['-c', file, '-e', join(work, 'nginx.log'), '-g', `daemon off; pid ${join(work, 'nginx.pid')};`]
}
export const kinds: Readonly<Record<string, Kind>> = {
  'haproxy-http': { ...haproxy, file: 'haproxy-http.cfg', http: true },
  'haproxy-tcp': { ...haproxy, file: 'haproxy-tcp.cfg', http: false },
  'nginx-http': { ...nginx, file: 'nginx-http.conf', http: true, refuses: /\0|^(\.\.\/){2}/, continues: false },
  'nginx-tcp': { ...nginx, file: 'nginx-tcp.conf', http: false, refuses: nothing, continues: true },
  'caddy': {
    program: process.env['CADDY'] ?? 'caddy',
    file: 'Caddyfile',
    http: true,
    asks: true,
    refuses: nothing,
    drops: true,
    resets: true,
    continues: true,
    args: (file) => ['run', '--adapter', 'caddyfile', '--config', file]
  }
}

export const hosts = ['127.0.0.11', '127.0.0.12'] as const
export const credentials = { accessKeyId: 'client', secretAccessKey: 'client-secret-of-the-test' }

export interface Result {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export class Gateway {
  readonly lines: string[] = []
  readonly host: string
  readonly #config: string
  #process: ChildProcess | null = null

  constructor(host: string, config: string) {
    this.host = host
    this.#config = config
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, ['--max-semi-space-size=8', join(root, 'src/main.ts'), 'serve', '--config', this.#config], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    this.#process = child
    let rest = ''
    const listening = Promise.withResolvers<undefined>()
    child.stdout.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n')
      rest = lines.pop() ?? ''
      this.lines.push(...lines)
      if (lines.some((line) => line.includes('"listening"'))) listening.resolve(undefined)
    })
    child.once('exit', (code) => {
      listening.reject(new Error(`gateway ended with ${String(code)}: ${this.lines.slice(-5).join('\n')}`))
    })
    await listening.promise
  }

  /** @returns exit code */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
    const child = this.#process
    if (child === null || child.exitCode !== null) return child?.exitCode ?? null
    const ended = once(child, 'exit')
    child.kill(signal)
    const [code] = await ended as [number | null]
    return code
  }
}

export class BalancerRig {
  readonly work = mkdtempSync(join(tmpdir(), 'sealgate-balancer-'))
  readonly kind: Kind
  readonly store: TestStore
  readonly gateways: readonly Gateway[]
  readonly ports: { readonly front: number; readonly gateway: number; readonly admin: number }
  #balancer: ChildProcess | null = null

  private constructor(kind: Kind, store: TestStore, ports: BalancerRig['ports']) {
    this.kind = kind
    this.store = store
    this.ports = ports
    chmodSync(this.work, 0o755)
    const keyring = join(this.work, 'keyring.json')
    execFileSync(process.execPath, [join(root, 'src/main.ts'), 'keys', 'create', '--keyring', keyring, '--name', 'main'], { stdio: 'ignore' })
    this.gateways = hosts.map((host) => {
      const config = join(this.work, `${host}.yaml`)
      writeFileSync(config, JSON.stringify(this.#configOf(host, keyring)), { mode: 0o600 })
      return new Gateway(host, config)
    })
  }

  static async start(kind: Kind): Promise<BalancerRig> {
    const store = await startTestStore({ keepBodies: false })
    const rig = new BalancerRig(kind, store, { front: await freePort(), gateway: await freePort(), admin: await freePort() })
    await Promise.all(rig.gateways.map((gateway) => gateway.start()))
    rig.#startBalancer()
    for (let n = 0; n < 300; n += 1) {
      const answer = await rig.send(rig.front, { method: 'GET', target: '/', headers: [['Host', rig.name]] }).catch(() => null)
      if (answer?.status === 403) return rig
      await sleep(100)
    }
    const log = rig.log()
    await rig.close()
    throw new Error(`${kind.program} does not answer: ${log.slice(-2000)}`)
  }

  /** What clients sign as Host. */
  get name(): string {
    return `localhost:${this.ports.front}`
  }

  get front(): Place {
    return { host: '127.0.0.1', port: this.ports.front }
  }

  get direct(): Place {
    // From an address that is no trusted proxy: without a PROXY header.
    return { host: hosts[0], port: this.ports.gateway, from: '127.0.0.99' }
  }

  get access(): { endpoint: string; accessKeyId: string; secretAccessKey: string } {
    return { endpoint: `https://${this.name}`, ...credentials }
  }

  log(): string {
    return readdirSync(this.work).filter((name) => name.endsWith('.log')).map((name) => readFileSync(join(this.work, name), 'utf8')).join('\n')
  }

  /** Of the balancer's processes together, in MiB. */
  memory(): number {
    const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8')
        return [{ pid: Number(pid), parent: Number(/PPid:\s+(\d+)/.exec(status)?.[1]), kib: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) }]
      } catch {
        return []
      }
    })
    const { pid: first } = this.#balancer ?? {}
    return all.filter(({ pid, parent }) => pid === first || parent === first).reduce((sum, { kib }) => sum + kib, 0) / 1024
  }

  /** Of one gateway, from its metrics. */
  async inFlight(): Promise<number> {
    const texts = await Promise.all(hosts.map(async (host) => {
      const [response] = await once(get({ host, port: this.ports.admin, path: '/metrics', agent: false }), 'response') as [IncomingMessage]
      return text(response)
    }))
    return texts.reduce((sum, metrics) => sum + Number(/^sealgate_requests_in_flight (\d+)/m.exec(metrics)?.[1] ?? Number.NaN), 0)
  }

  async send(place: Place, draft: Draft, body: Buffer | string | AsyncIterable<Buffer> = '', agent: Agent | false = false): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>()
    const request = httpsRequest({
      host: place.host,
      port: place.port,
      servername: 'localhost',
      ca,
      agent,
      method: draft.method,
      path: draft.target,
      headers: draft.headers.flatMap(([name, value]) => [name, value]),
      setHost: false,
      ...place.from === undefined ? {} : { localAddress: place.from }
    }, (response) => {
      buffer(response).then((whole) => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: whole })
      }, reject)
    })
    request.on('error', reject)
    if (typeof body === 'string' || Buffer.isBuffer(body)) request.end(Buffer.from(body))
    else {
      void (async () => {
        for await (const chunk of body) if (!request.write(chunk)) await once(request, 'drain')
        request.end()
      })().catch(reject)
    }
    return promise
  }

  http2(): ClientHttp2Session {
    return connectHttp2(`https://localhost:${this.ports.front}`, {
      ca,
      servername: 'localhost',
      lookup: (_, options, found) => {
        if (options.all === true) found(null, [{ address: '127.0.0.1', family: 4 }])
        else found(null, '127.0.0.1', 4)
      }
    })
  }

  /** Whether new connections go to a gateway, for a balancer that does not ask: in its file, which it reads again. */
  async route(host: string, on: boolean): Promise<void> {
    if (this.kind.asks || this.kind.http) return
    const file = join(this.work, this.kind.file)
    const [from, to] = on ? [' down;', ';'] : [';', ' down;']
    const place = `server ${host}:${this.ports.gateway} max_fails=1 fail_timeout=2s`
    const before = readFileSync(file, 'utf8')
    if (!before.includes(place + from)) throw new Error(`no "${place}${from}" in ${this.kind.file}`)
    writeFileSync(file, before.replace(place + from, place + to))
    this.#balancer?.kill('SIGHUP')
    await sleep(2000)
  }

  async close(): Promise<void> {
    const ended = this.#balancer?.exitCode === null ? once(this.#balancer, 'exit') : null
    this.#balancer?.kill('SIGTERM')
    await Promise.race([ended, sleep(5000)])
    this.#balancer?.kill('SIGKILL')
    await Promise.all(this.gateways.map((gateway) => gateway.stop()))
    await this.store.close()
    rmSync(this.work, { recursive: true })
  }

  #configOf(host: string, keyring: string): object {
    const { endpoint, accessKeyId, secretAccessKey } = this.store
    return {
      listen: {
        host,
        port: this.ports.gateway,
        tls: { cert: certificate, key: privateKey },
        trustedProxies: ['127.0.0.1'],
        clientAddress: this.kind.http ? 'x-forwarded-for' : 'proxy-protocol'
      },
      admin: { host, port: this.ports.admin },
      upstream: { endpoint, accessKeyId, secretAccessKey },
      clients: [credentials],
      keys: { main: { type: 'local', keyring } },
      buckets: { '*': {} },
      audit: { file: join(this.work, `${host}.audit.jsonl`) },
      limits: { drainSeconds: 10 },
      log: { format: 'json' }
    }
  }

  #startBalancer(): void {
    const { front, gateway, admin } = this.ports
    const pair = join(this.work, 'pair.pem')
    writeFileSync(pair, Buffer.concat([tlsOf.cert, tlsOf.key]), { mode: 0o600 })
    const changes: readonly (readonly [RegExp, string])[] = [
      [/\b10\.0\.0\.(1[12]):9000\b/g, `127.0.0.$1:${gateway}`],
      [/\b9001\b/g, String(admin)],
      [/(?<=bind :|listen |sealgate\.example\.org:)443\b/g, String(front)],
      [/sealgate\.example\.org/g, 'localhost'],
      [/\/etc\/haproxy\/sealgate\.pem/g, pair],
      [/\/etc\/(nginx|caddy)\/sealgate-key\.pem/g, privateKey],
      [/\/etc\/(haproxy|nginx|caddy)\/sealgate(-ca)?\.pem/g, certificate],
      [/\/run\/nginx-sealgate\.sock/g, join(this.work, 'nginx.sock')]
    ]
    const changed = changes.reduce((so, [from, to]) => so.replaceAll(from, to), readFileSync(join(root, 'docker/balancers', this.kind.file), 'utf8'))
    const left = /10\.0\.0\.|example\.org|\/etc\/(?!nginx\/modules-enabled)|443\b/.exec(changed)
    if (left !== null) throw new Error(`${this.kind.file} has ${left[0]} that this script does not know`)
    const file = join(this.work, this.kind.file)
    writeFileSync(file, changed)
    const child = spawn(this.kind.program, this.kind.args(file, this.work), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin`, HOME: this.work, XDG_CONFIG_HOME: this.work, XDG_DATA_HOME: this.work }
    })
    const log: Buffer[] = []
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        log.push(chunk)
        writeFileSync(join(this.work, 'balancer.log'), Buffer.concat(log))
      })
    }
    // Of a program that is not there; the wait for its first answer then ends in vain.
    child.on('error', (error) => {
      writeFileSync(join(this.work, 'balancer.log'), String(error))
    })
    this.#balancer = child
  }
}

export interface Place {
  readonly host: string
  readonly port: number
  /** Address of the client. */
  readonly from?: string
}
