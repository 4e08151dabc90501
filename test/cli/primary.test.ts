import cluster from 'node:cluster'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import t, { type Test } from 'tap'
import { availableDescriptors, connectionsWithin, type Platform } from '../../src/cli/platform.ts'
import { runWorkers } from '../../src/cli/primary.ts'
import { ProcessSignals } from '../../src/cli/signals.ts'
import { openLog } from '../../src/cli/start-up.ts'
import { configOfWorker, workerCount } from '../../src/cli/worker.ts'
import { parseConfig } from '../../src/config/load.ts'
import { createKeyring } from '../../src/keys/keyring-file.ts'
import type { Facts } from '../../src/page/facts.ts'
import { startTestStore } from '../support/hostile.ts'
import { main, Served } from '../support/served.ts'
import { runCli } from '../support/run-cli.ts'
import { querySigned } from '../support/wire.ts'
import { freePort } from '../support/free-port.ts'

const directory = mkdtempSync(join(tmpdir(), 'sealgate-workers-'))
t.teardown(() => {
  rmSync(directory, { recursive: true })
})
await createKeyring(join(directory, 'keyring.json'), 'main', new Date())
// Workers inherit it.
process.env['CLIENT_SECRET'] = 'canary'

const store = await startTestStore()
t.teardown(() => store.close())

interface Settings {
  readonly endpoint?: string
  readonly port?: number
  readonly admin: number
  readonly more?: string
  /** What `keys encrypt` has printed, as the secret of a second client. */
  readonly sealed?: string
}

const yaml = ({ endpoint = store.endpoint, port = 0, admin, more = '', sealed }: Settings): string => `
listen: { port: ${port} }
admin: { port: ${admin}, page: true }
upstream: { endpoint: "${endpoint}", accessKeyId: ${store.accessKeyId}, secretAccessKey: ${store.secretAccessKey} }
clients: [{ accessKeyId: c, secretAccessKey: "\${CLIENT_SECRET}" }${sealed === undefined ? '' : `, { accessKeyId: s, secretAccessKey: { sealed: ${sealed} } }`}]
keys: { main: { type: local, keyring: ./keyring.json } }
buckets: { "*": { publicRead: true } }
audit: { file: ./audit.jsonl }
workers: 2
${more}`

async function fetchText(port: number, path: string): Promise<{ status: number | undefined; body: string }> {
  const [response] = await once(get({ host: '127.0.0.1', port, path, agent: false }), 'response') as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { status: response.statusCode, body }
}

function sample(text: string, name: string): number {
  const lines = text.split('\n').filter((line) => line.startsWith(name))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

async function factsAt(port: number): Promise<Facts> {
  return JSON.parse((await fetchText(port, '/status.json')).body) as Facts
}

function requestsOn({ activity: { minutes } }: Facts): number {
  return minutes.flatMap(({ requests }) => Object.values(requests)).reduce((sum, count) => sum + count, 0)
}

/** What `keys encrypt` prints for a secret. */
async function sealedUnder(config: string, secret: string): Promise<string> {
  const input = join(directory, 'secret')
  writeFileSync(input, secret)
  const { code, out, err } = await runCli(['keys', 'encrypt', '--config', config, '--in', input], directory, { env: process.env })
  if (code !== 0) throw new Error(err)
  return out.trim()
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 20))
}

await t.test('two processes share a port, are counted together, replaced, reloaded and stopped; a transfer that is cut in one makes the exit code 3', async (t) => {
  const admin = await freePort()
  const file = join(directory, 'two.yaml')
  writeFileSync(file, yaml({ admin }))
  const [firstSecret, secondSecret] = ['first-canary-of-the-client', 'second-canary-of-the-client']
  const [sealedFirst, sealedSecond] = [await sealedUnder(file, firstSecret), await sealedUnder(file, secondSecret)]
  writeFileSync(file, yaml({ admin, more: 'limits: { graceSeconds: 0.1 }', sealed: sealedFirst }))
  const served = new Served(file)
  t.teardown(() => {
    served.child.kill('SIGKILL')
  })
  const { port, workers } = await served.line('workers listening')
  t.equal(workers, 2)
  t.match(await fetchText(admin, '/readyz'), { status: 200, body: /"workers":"ok"/ })

  for (let i = 0; i < 20; i += 1) t.equal((await fetchText(Number(port), '/none/key')).status, 404)
  const answered = served.lines.filter(({ msg }) => msg === 'request')
  await until(async () => sample((await fetchText(admin, '/metrics')).body, 'sealgate_requests_total') === 20)
  const before = (await fetchText(admin, '/metrics')).body
  t.equal(sample(before, 'sealgate_requests_total'), 20)
  t.equal(sample(before, 'sealgate_workers'), 2)
  t.equal(before.match(/^# TYPE sealgate_requests_total/gm)?.length, 1)
  const all = await factsAt(admin)
  t.match(all, { ready: true, workers: [{ number: 1, state: 'serving' }, { number: 2, state: 'serving' }] })
  t.equal(requestsOn(all), 20, 'the page has the requests of both')
  t.ok(answered.length <= 20)

  // Each on a connection of its own: they come to both workers.
  let signed = 0
  const statuses = async (secretAccessKey: string): Promise<(number | undefined)[]> => {
    const endpoint = `http://127.0.0.1:${String(port)}`
    const { target } = querySigned({ endpoint, accessKeyId: 's', secretAccessKey }, { method: 'GET', target: '/none/key', headers: [] })
    const found: (number | undefined)[] = []
    for (let i = 0; i < 6; i += 1) found.push((await fetchText(Number(port), target)).status)
    signed += 6
    return found
  }
  const all6 = (status: number) => Array<number>(6).fill(status)
  t.same(await statuses(firstSecret), all6(404), 'a sealed secret opens in both')
  const reload = (sealed: string): void => {
    writeFileSync(file, yaml({ admin, more: 'limits: { graceSeconds: 0.1 }', sealed }))
    served.child.kill('SIGHUP')
  }
  reload(`${sealedSecond.slice(0, -4)}AAAA`)
  t.match(await served.line('configuration not reloaded'), { faults: /a sealed secret cannot be opened/ })
  t.same(await statuses(firstSecret), all6(404), 'one that does not open changes neither')
  reload(sealedSecond)
  await served.line('configuration reloaded', 2)
  t.same([await statuses(firstSecret), await statuses(secondSecret)], [all6(403), all6(404)], 'a new one is that of both')

  await until(async () => requestsOn(await factsAt(admin)) === 20 + signed)
  const [victim = 0] = served.workers
  process.kill(victim, 'SIGKILL')
  t.match(await served.line('worker ended'), { signal: 'SIGKILL', replacedInSeconds: 1 })
  const during = await fetchText(admin, '/readyz')
  t.match(during, { status: 503, body: /"workers":"1 of 2"/ })
  const dead = await factsAt(admin)
  t.match(dead, { ready: false, findings: { 0: { title: 'The worker is dead' } } })
  t.same(dead.workers.map(({ state }) => state).sort(), ['ended', 'serving'], 'the page has the dead one')
  t.equal(requestsOn(dead), 20 + signed, 'and what it had told of the last hour')
  t.equal((await fetchText(Number(port), '/none/key')).status, 404, 'the other goes on')
  await served.line('workers listening', 2)
  t.same(await statuses(secondSecret), all6(404), 'the one in its place has the secret of the reload')
  const after = (await fetchText(admin, '/metrics')).body
  t.equal(sample(after, 'sealgate_worker_restarts_total'), 1)
  t.equal(sample(after, 'sealgate_workers'), 2)
  const replaced = await factsAt(admin)
  t.match(replaced.workers.toSorted((a, b) => b.restarts - a.restarts), [
    { state: 'serving', restarts: 1, lastEnd: { signal: 'SIGKILL' } },
    { state: 'serving', restarts: 0, lastEnd: null }
  ])
  t.ok(requestsOn(replaced) >= 21, 'the hour goes on')
  t.match((await fetchText(admin, '/')).body, /The worker died and was replaced/)
  t.ok(sample(after, 'sealgate_requests_total') >= 20, 'what the dead one had counted is not lost')

  writeFileSync(file, yaml({ admin, more: 'bucketz: {}' }))
  served.child.kill('SIGHUP')
  t.match(await served.line('configuration not reloaded', 2), { faults: /bucketz: no such section/ })
  t.match(await factsAt(admin), { reload: { ok: false } }, 'regression: no worker hears of a reload that is refused here')
  t.match((await fetchText(admin, '/')).body, /The last reload was refused/)
  writeFileSync(file, yaml({ admin, more: 'limits: { graceSeconds: 1 }' }))
  served.child.kill('SIGHUP')
  await served.line('configuration reloaded', 4)
  t.match(await factsAt(admin), { reload: { ok: true } })
  t.match(served.lines.filter(({ msg }) => msg === 'configuration reloaded').slice(2), [{ needRestart: 'limits' }, { needRestart: 'limits' }])

  store.rules.add({ when: { bucket: 'none', key: 'key' }, times: Infinity, fault: { type: 'stall', at: 'before' } })
  const pending = get({ host: '127.0.0.1', port: Number(port), path: '/none/key', agent: false })
  const failed = once(pending, 'error')
  await until(async () => sample((await fetchText(admin, '/metrics')).body, 'sealgate_requests_in_flight') === 1)
  served.child.kill('SIGTERM')
  await failed
  t.equal(await served.exit, 3)
  store.rules.clear()
  t.notMatch(JSON.stringify(served.lines) + served.err, /canary/)
  t.same(served.lines.filter(({ msg }) => msg === 'stopped').map(({ outcome }) => outcome).sort(), ['cut', 'drained'])
})

/** Takes connections, and says nothing. */
async function silentServer(t: Test): Promise<{ readonly port: number; readonly asked: Promise<unknown> }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
  })
  const asked = once(server, 'connection')
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, asked }
}

/** The primary in this process, with one worker: each further one would start as the first does. */
async function primaryWithOneWorker(settings: Settings) {
  const file = join(directory, `${settings.admin}-${settings.port ?? 0}.yaml`)
  const text = yaml(settings)
  writeFileSync(file, text)
  const [lines, err]: [string[], string[]] = [[], []]
  const { env } = process
  const keep = (text: string): unknown => lines.push(text)
  const platform: Platform = { args: [], env, cwd: directory, stdout: { write: keep }, stderr: { write: keep }, writeLog: keep, onSignal: () => undefined }
  cluster.setupPrimary({ exec: main, args: ['serve', '--config', file], silent: true })
  cluster.once('fork', ({ process: { stdout, stderr } }) => {
    stdout?.on('data', (text: Buffer) => lines.push(text.toString()))
    stderr?.on('data', (text: Buffer) => err.push(text.toString()))
  })
  const config = parseConfig(text, { file, env })
  const signals = new ProcessSignals(platform)
  const code = runWorkers({ file, text, unsealed: {}, config, workers: 1, platform, signals, log: await openLog(config, platform) })
  return {
    code,
    lines,
    err: () => err.join(''),
    stop: () => {
      signals.stop()
    }
  }
}

await t.test('workers that cannot start end the gateway with 1, and say why', async (t) => {
  const taken = await silentServer(t)
  const primary = await primaryWithOneWorker({ admin: 0, port: taken.port })
  t.equal(await primary.code, 1)
  t.match(primary.err(), /EADDRINUSE/)
})

await t.test('workers that are still starting stop at once', async (t) => {
  const silent = await silentServer(t)
  const primary = await primaryWithOneWorker({ admin: 0, endpoint: `http://127.0.0.1:${silent.port}`, more: 'limits: { graceSeconds: 60 }' })
  // It waits for the store.
  await silent.asked
  primary.stop()
  t.equal(await primary.code, 0)
  t.notMatch(primary.lines.join(), /"msg":"listening"/)
})

await t.test('limits that hold for all are shared out', async (t) => {
  const text = yaml({ admin: 1, more: 'limits: { connections: 101, requestsInFlight: 10 }' })
  const env = { CLIENT_SECRET: 'canary' }
  const file = join(directory, 'share.yaml')
  const config = configOfWorker({ file, text, unsealed: {}, workers: 4 }, env)
  t.match(config, { admin: null, limits: { connections: 26, requestsInFlight: 3, headerBytes: 16_384 }, upstreams: { default: { connections: 64 } } })
  t.same(config.clients, parseConfig(text, { file, env }).clients)
  t.equal(workerCount(3), 3)
  t.ok(workerCount('auto') >= 1)
})

await t.test('client connections leave descriptors for the store', async (t) => {
  t.equal(connectionsWithin(4096, 320, null), 4096)
  t.equal(connectionsWithin(4096, 320, 1_048_576), 4096)
  t.equal(connectionsWithin(4096, 320, 4096), 4096 - 320 - 64)
  t.equal(connectionsWithin(4096, 320, 256), 96)
  t.equal(connectionsWithin(50, 320, 256), 50)
  t.equal(connectionsWithin(4096, 320, 10), 1)
  const file = join(directory, 'limits')
  writeFileSync(
    file,
    'Limit                     Soft Limit           Hard Limit           Units     \nMax open files            256                  512                  files     \n'
  )
  t.equal(availableDescriptors(file), 512)
  writeFileSync(file, 'Max open files            unlimited            unlimited            files     \n')
  t.equal(availableDescriptors(file), null)
  t.equal(availableDescriptors(join(directory, 'nowhere')), null)
})
