import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { get as getSecure } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AddressInfo, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { connect } from 'node:tls'
import t from 'tap'
import { runCommand } from '../../src/cli/commands.ts'
import { ProcessSignals } from '../../src/cli/signals.ts'
import type { Platform } from '../../src/cli/platform.ts'
import { serve } from '../../src/cli/serve.ts'
import { startDemo } from '../../src/cli/demo.ts'
import { ConfigError } from '../../src/config/load.ts'
import { version } from '../../src/version.ts'
import type { Config } from '../../src/config/config.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import type { Gateway } from '../../src/gateway/types.ts'
import type { HttpResponse } from '../../src/http/message.ts'

const directory = mkdtempSync(join(tmpdir(), 'sealgate-serve-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})

const yaml = (more = ''): string => `
listen: { port: 0 }
admin: { port: 0 }
upstream: { endpoint: "http://127.0.0.1:9", accessKeyId: a, secretAccessKey: b }
clients: [{ accessKeyId: c, secretAccessKey: "\${CLIENT_SECRET}" }]
keys: { main: { type: local, keyring: ./keyring.json } }
limits: { graceSeconds: 0.05 }
${more}`
const file = join(directory, 'sealgate.yaml')
writeFileSync(file, yaml())
await createKeyring(join(directory, 'keyring.json'), 'main', new Date())

/** A process that a test can look into and signal. */
class FakeProcess implements Platform {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd = directory
  out = ''
  err = ''
  readonly stdout = {
    write: (text: string) => {
      this.out += text
    }
  }
  readonly stderr = {
    write: (text: string) => {
      this.err += text
    }
  }
  readonly lines: Record<string, unknown>[] = []
  readonly #actions = new Map<string, () => void>()
  #wake: () => void = () => undefined

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.args = args
    this.env = { CLIENT_SECRET: 'canary', ...env }
  }

  readonly writeLog = (line: string): void => {
    this.lines.push(JSON.parse(line) as Record<string, unknown>)
    this.#wake()
  }

  onSignal(signal: string, action: () => void): void {
    this.#actions.set(signal, action)
  }

  signal(signal: 'SIGTERM' | 'SIGINT' | 'SIGHUP'): void {
    this.#actions.get(signal)?.()
  }

  async line(message: string, nth = 1): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.lines.filter((line) => line['msg'] === message)[nth - 1]
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

function stub(handle: () => Promise<HttpResponse>): Gateway & { reloaded: Config[]; closed: number; observed: number } {
  return {
    reloaded: [],
    closed: 0,
    observed: 0,
    handle,
    ready: async () => ({ ok: true, checks: {} }),
    metrics: () => '',
    snapshot: () => [],
    observe() {
      this.observed += 1
    },
    async reload(config) {
      this.reloaded.push(config)
    },
    async close() {
      this.closed += 1
    }
  }
}

async function ask(port: unknown): Promise<IncomingMessage> {
  const [response] = await once(get({ host: '127.0.0.1', port: Number(port), agent: false }), 'response') as [IncomingMessage]
  return response
}

await t.test('serves, reloads what is good, keeps what it has when it is not, and stops', async (t) => {
  const platform = new FakeProcess(['serve'])
  const gateway = stub(async () => ({ status: 200, headers: [], body: Buffer.from('ok') }))
  const code = serve({ config: file, trial: false }, platform, async () => gateway)
  const { port } = await platform.line('listening')
  t.equal((await ask(port)).statusCode, 200)
  t.match(await platform.line('request'), { method: 'GET', status: 200, bytesOut: 2 })
  t.equal(gateway.observed, 1)

  writeFileSync(file, yaml('buckets: { "*": { publicRead: true } }'))
  platform.signal('SIGHUP')
  t.match(await platform.line('configuration reloaded'), { level: 'info', needRestart: '' })
  t.match(gateway.reloaded[0]?.buckets, [['*', { publicRead: true }]])

  writeFileSync(file, yaml('bucketz: {}'))
  platform.signal('SIGHUP')
  t.match(await platform.line('configuration not reloaded'), { level: 'error', faults: /bucketz: no such section/ })
  t.equal(gateway.reloaded.length, 1)
  t.equal((await ask(port)).statusCode, 200, 'and it goes on')

  writeFileSync(file, yaml('workers: 2').replace('port: 0', 'port: 1').replace('graceSeconds: 0.05', 'graceSeconds: 60'))
  platform.signal('SIGHUP')
  t.match(await platform.line('configuration reloaded', 2), { level: 'warn', needRestart: 'limits, workers, listen.port' })
  t.match(gateway.reloaded[1], { workers: 1, listen: { port: 0 }, limits: { graceSeconds: 0.05 } }, 'and is not half taken over')
  writeFileSync(file, yaml())

  platform.signal('SIGTERM')
  t.equal(await code, 0)
  t.equal(gateway.closed, 1)
  t.notMatch(JSON.stringify(platform.lines) + platform.out + platform.err, /canary/)
})

await t.test('SIGHUP brings the limits that follow from the stores', async (t) => {
  const storesFile = join(directory, 'stores.yaml')
  const write = (connections: number): void => {
    writeFileSync(storesFile, yaml().replace('upstream: {', `upstream: { connections: ${connections},`))
  }
  write(2)
  const platform = new FakeProcess(['serve'])
  let release: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const code = serve({ config: storesFile, trial: false }, platform, async () => ({
    ...stub(async () => ({ status: 200, headers: [], body: null })),
    handle: async ({ admit }) => {
      admit?.({ kind: 'anonymous' })
      await held
      return { status: 200, headers: [['content-length', '0']], body: null }
    }
  }))
  const { port } = await platform.line('listening')
  const two = (): Promise<IncomingMessage>[] => [ask(port), ask(port)]
  const before = two()
  t.equal((await Promise.race(before)).statusCode, 503, 'one of two connections to the store')
  write(4)
  platform.signal('SIGHUP')
  await platform.line('configuration reloaded')
  const after = two()
  t.equal((await Promise.race(after)).statusCode, 503, 'two of four')
  release()
  t.same((await Promise.all([...before, ...after])).map(({ statusCode }) => statusCode).toSorted(), [200, 200, 503, 503])
  platform.signal('SIGTERM')
  t.equal(await code, 0)
})

await t.test('SIGHUP brings new certificates, and keeps the old ones when the new do not fit; transfers go on', async (t) => {
  const pem = (name: string): Buffer => readFileSync(new URL(`../support/tls/${name}`, import.meta.url))
  const [certFile, keyFile, tlsFile] = ['cert.pem', 'key.pem', 'tls.yaml'].map((name) => join(directory, name)) as [string, string, string]
  const use = (cert: Buffer, key: Buffer): void => {
    writeFileSync(certFile, cert)
    writeFileSync(keyFile, key)
  }
  use(pem('localhost-cert.pem'), pem('localhost-key.pem'))
  writeFileSync(tlsFile, yaml().replace('listen: { port: 0 }', 'listen: { port: 0, tls: { cert: ./cert.pem, key: ./key.pem } }').replace('0.05', '10'))
  const platform = new FakeProcess(['serve'])
  const body = new Readable({ read: () => undefined })
  const gateway = stub(async () => ({ status: 200, headers: [['Content-Length', '10']], body }))
  const code = serve({ config: tlsFile, trial: false }, platform, async () => gateway)
  const { port } = await platform.line('listening')
  const offered = async (): Promise<string> => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { fingerprint256 } = socket.getPeerCertificate()
    socket.destroy()
    return fingerprint256
  }
  const before = await offered()

  const sent = getSecure({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false, agent: false })
  body.push('first')
  const [response] = await once(sent, 'response') as [IncomingMessage]
  use(pem('renewed-cert.pem'), pem('localhost-key.pem'))
  platform.signal('SIGHUP')
  t.match(await platform.line('configuration not reloaded'), { level: 'error' })
  t.equal(await offered(), before, 'a pair that does not fit')
  use(pem('renewed-cert.pem'), pem('renewed-key.pem'))
  platform.signal('SIGHUP')
  await platform.line('configuration reloaded')
  t.not(await offered(), before)

  // Node would go on without asking anybody for one.
  writeFileSync(tlsFile, readFileSync(tlsFile, 'utf8').replace('key: ./key.pem', 'key: ./key.pem, clientCa: ./cert.pem'))
  platform.signal('SIGHUP')
  t.match(await platform.line('configuration reloaded', 2), { level: 'warn', needRestart: 'listen.tls.clientCa' })
  t.match(gateway.reloaded[1]?.listen, { tls: { clientCa: null } })

  body.push('later')
  body.push(null)
  let text = ''
  for await (const chunk of response) text += String(chunk)
  t.equal(text, 'firstlater', 'the transfer that was under way')
  platform.signal('SIGTERM')
  t.equal(await code, 0)
})

await t.test('signals during the start are not lost', async (t) => {
  const stopped = new FakeProcess(['serve'])
  const neverUp = serve({ config: file, trial: false }, stopped, () => new Promise(() => undefined))
  stopped.signal('SIGTERM')
  t.equal(await neverUp, 0)

  const reloaded = new FakeProcess(['serve'])
  const gateway = stub(async () => ({ status: 200, headers: [], body: null }))
  const code = serve({ config: file, trial: false }, reloaded, async () => gateway)
  reloaded.signal('SIGHUP')
  await reloaded.line('configuration reloaded')
  reloaded.signal('SIGTERM')
  t.equal(await code, 0)
})

await t.test('with limits.drainSeconds it is not ready and serves, until that is over', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port: admin } = taken.address() as AddressInfo
  taken.close()
  writeFileSync(file, yaml().replace('graceSeconds: 0.05', 'drainSeconds: 60, graceSeconds: 60').replace('admin: { port: 0 }', `admin: { port: ${admin} }`))
  const platform = new FakeProcess(['serve'])
  const gateway = stub(async () => ({ status: 200, headers: [], body: Buffer.from('ok') }))
  let clock = 0
  const code = serve({ config: file, trial: false }, platform, async () => gateway, new ProcessSignals(platform, () => clock))
  const { port } = await platform.line('listening')
  platform.signal('SIGTERM')
  t.match(await platform.line('stopping'), { drainSeconds: 60, graceSeconds: 60 })
  const ready = get({ host: '127.0.0.1', port: admin, path: '/readyz', agent: false })
  t.equal((await once(ready, 'response') as [IncomingMessage])[0].statusCode, 503)
  const answer = await ask(port)
  t.match([answer.statusCode, answer.headers.connection], [200, 'close'])
  clock = 1000
  platform.signal('SIGTERM')
  t.equal(await code, 0, 'asked again, it does not wait any longer')
  await t.rejects(ask(port), { code: 'ECONNREFUSED' })
  writeFileSync(file, yaml())
})

await t.test('asked to stop again, it does not wait any longer', async (t) => {
  writeFileSync(file, yaml().replace('0.05', '60'))
  const platform = new FakeProcess(['serve'])
  const underWay = Promise.withResolvers<undefined>()
  const gateway = stub(() => {
    underWay.resolve(undefined)
    return new Promise(() => undefined)
  })
  let clock = 0
  const code = serve({ config: file, trial: false }, platform, async () => gateway, new ProcessSignals(platform, () => clock))
  const { port } = await platform.line('listening')
  const failed = once(get({ host: '127.0.0.1', port: Number(port), agent: false }), 'error')
  await underWay.promise
  platform.signal('SIGTERM')
  platform.signal('SIGTERM')
  await platform.line('stopping')
  t.notOk(platform.lines.some(({ msg }) => msg === 'stopped'), 'one wish, sent twice')
  clock = 1000
  platform.signal('SIGINT')
  t.equal(await code, 3)
  await failed
  writeFileSync(file, yaml())
})

await t.test('the exit code shows that transfers were cut', async (t) => {
  const platform = new FakeProcess(['serve'])
  let arrived: () => void = () => undefined
  const underWay = new Promise<void>((resolve) => {
    arrived = resolve
  })
  const gateway = stub(() => {
    arrived()
    return new Promise(() => undefined)
  })
  const code = serve({ config: file, trial: false }, platform, async () => gateway)
  const { port } = await platform.line('listening')
  const pending = get({ host: '127.0.0.1', port: Number(port), agent: false })
  const failed = once(pending, 'error')
  await underWay
  platform.signal('SIGTERM')
  t.equal(await code, 3)
  await failed
})

await t.test('what cannot start says why', async (t) => {
  const noGateway = async (): Promise<Gateway> => {
    throw new Error('the keyring is not there')
  }
  const platform = new FakeProcess([])
  t.equal(await serve({ config: file, trial: false }, platform, noGateway), 1)
  t.match(platform.err, /the keyring is not there/)
  for (const args of [['--config', join(directory, 'nowhere.yaml')], ['--unknown'], ['surplus'], ['--config'], []]) {
    const other = new FakeProcess(['serve', ...args])
    t.equal(await runCommand(other), 2, args.join(' '))
    t.not(other.err, '')
  }
})

await t.test('commands, help and versions', async (t) => {
  const run = async (...args: string[]) => {
    const platform = new FakeProcess(args, { SEALGATE_CONFIG: '' })
    return { code: await runCommand(platform), out: platform.out, err: platform.err }
  }
  t.match(await run('--version'), { code: 0, out: new RegExp(`^sealgate ${version()}\\n(native core|JavaScript core \\(native: .+\\))\\n$`) })
  t.match(await run('config', 'check', '--config', file), { code: 0, out: /is valid\.\n\nlisten {8}/ })
  const named = new FakeProcess(['config', 'check'], { SEALGATE_CONFIG: 'sealgate.yaml' })
  t.equal(await runCommand(named), 0, 'SEALGATE_CONFIG, from the working directory')
  writeFileSync(join(directory, 'bad.yaml'), 'listen: { port: x }\n')
  t.match(await run('config', 'check', '--config', 'bad.yaml'), { code: 2, err: /listen\.port: [^]*upstream: must be given/ })
})

await t.test('the files of a configuration are checked before it is applied', async (t) => {
  const check = async (text: string): Promise<string> => {
    writeFileSync(join(directory, 'files.yaml'), text)
    const platform = new FakeProcess(['config', 'check', '--config', 'files.yaml'])
    t.equal(await runCommand(platform), platform.err === '' ? 0 : 2)
    return platform.err
  }
  const pem = (name: string): string => new URL(`../support/tls/${name}`, import.meta.url).pathname
  writeFileSync(join(directory, 'open.json'), readFileSync(join(directory, 'keyring.json')), { mode: 0o644 })
  const tls = (cert: string, key: string): string => yaml().replace('listen: { port: 0 }', `listen: { port: 0, tls: { cert: ${cert}, key: ${key} } }`)
  t.equal(await check(tls(pem('renewed-cert.pem'), pem('renewed-key.pem')) + 'audit: { file: ./audit.jsonl }\n'), '')
  t.match(
    await check(tls('./none.pem', './none.key')),
    /listen\.tls\.cert: cannot read .*none\.pem: no such file or directory \(ENOENT\)\n +listen\.tls\.key: /
  )
  t.match(
    await check(tls(pem('renewed-cert.pem'), pem('localhost-key.pem'))),
    /listen\.tls\.key: .*localhost-key\.pem is not the key of the certificate/
  )
  const many = await check(
    yaml('audit: { file: ./nowhere/audit.jsonl }').replace('accessKeyId: a', 'ca: ./none.ca, accessKeyId: a')
      .replace(
        './keyring.json }',
        './keyring.json }, twin: { type: local, keyring: ./keyring.json }, open: { type: local, keyring: ./open.json }, gone: { type: local, keyring: ./gone.json }'
      )
      .replace('limits:', 'buckets: { "*": { key: main } }\nlimits:')
  )
  for (
    const fault of [
      /keys\.twin\.keyring: key main has the same key ids: local:main:\*/,
      /keys\.open\.keyring: .*0644.*chmod 600/,
      /keys\.gone\.keyring: .*does not exist/,
      /upstream\.ca: .*ENOENT/,
      /audit\.file: .*audit\.jsonl cannot be written: its directory: no such file or directory \(ENOENT\)/
    ]
  ) t.match(many, fault)
  t.notOk(readdirSync(directory).includes('audit.jsonl'), 'nothing was written')

  const platform = new FakeProcess(['serve'])
  writeFileSync(file, yaml().replace('./keyring.json', './gone.json'))
  await t.rejects(serve({ config: file, trial: false }, platform, async () => stub(async () => ({ status: 200, headers: [], body: null }))), ConfigError)
  writeFileSync(file, yaml())
})

await t.test('the trial set-up is made once, and only its owner can read it', async (t) => {
  const platform = new FakeProcess([])
  const first = await startDemo(platform)
  const second = await startDemo(platform)
  await first.stop()
  await second.stop()
  t.match(first.config, { listen: { host: '127.0.0.1', port: 9000 }, buckets: [['*', { encryption: 'on', plaintext: 'refuse' }]] })
  t.equal(first.config.clients[0]?.secretAccessKey, second.config.clients[0]?.secretAccessKey)
  t.not(first.config.upstreams['default']?.credentials, 'aws')
  first.announce({ host: '127.0.0.1', port: 9000 }, { host: '127.0.0.1', port: 9009 })
  t.match(platform.out, 'Its status page: http://127.0.0.1:9009/\n')
  t.match(platform.out, /http:\/\/127\.0\.0\.1:9000[^]*to try out[^]*aws --endpoint-url http:\/\/127\.0\.0\.1:9000 s3 mb s3:\/\/demo/)
  for (const name of ['keyring.json', 'credentials.json']) t.equal(statSync(join(directory, 'data', name)).mode & 0o777, 0o600, name)
  writeFileSync(join(directory, 'data/credentials.json'), '{}')
  await t.rejects(startDemo(platform), /does not hold a credential/)
})

await t.test('as a process: a command ends with its code, and SIGTERM ends serve with 0', async (t) => {
  const main = new URL('../../src/main.ts', import.meta.url).pathname
  const run = (args: string[]) =>
    spawn(process.execPath, [main, ...args], { cwd: directory, env: { ...process.env, CLIENT_SECRET: 'canary' }, stdio: ['ignore', 'pipe', 'pipe'] })
  const bad = run(['serve', '--config', 'nowhere.yaml'])
  t.equal((await once(bad, 'exit'))[0], 2)
  const served = run(['serve', '--config', 'sealgate.yaml'])
  let port: unknown
  for await (const line of createInterface({ input: served.stdout })) {
    const event = JSON.parse(line) as Record<string, unknown>
    if (event['msg'] !== 'listening') continue
    port = event['port']
    break
  }
  served.stdout.resume()
  t.equal((await ask(port)).statusCode, 403, 'the store is not there, but the gateway is')
  served.kill('SIGTERM')
  t.equal((await once(served, 'exit'))[0], 0)
})
