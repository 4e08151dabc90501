// Keys of every service that is here, beside each other: calls for 10,000 PUT and GET, times of objects whose key must be asked for, and `rewrap --to`
// between every two, with the bytes that went to and from the store counted.
// test/e2e/openbao.sh test/e2e/softhsm.sh node test/campaigns/key-services.ts [OBJECTS [COLD [MOVED]]]; without the scripts a keyring and simulations.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect, createServer, type AddressInfo } from 'node:net'
import { loadavg } from 'node:os'
import { once } from 'node:events'
import process from 'node:process'
import { buffer } from 'node:stream/consumers'
import { parallel } from '../../src/concurrency/parallel.ts'
import { openKeyServices, type ServiceKey } from '../e2e/key-services.ts'
import { runCli } from '../support/run-cli.ts'
import { querySigned } from '../support/wire.ts'
import { credentials, GatewayProcess, startStoreProcess } from './gateway-process.ts'
import { freePort } from '../support/free-port.ts'

const objects = Number(process.argv[2] ?? 10_000)
const cold = Number(process.argv[3] ?? 2000)
const moved = Number(process.argv[4] ?? 20)
const BODY_BYTES = 256 * 1024
const KEPT_SECONDS = 30
const signal = new AbortController().signal

let failed = 0
function expect(what: string, good: boolean, detail = ''): void {
  if (!good) failed += 1
  console.log(`${good ? 'ok  ' : 'FAIL'}  ${what}${detail === '' ? '' : `: ${detail}`}`)
}
const load = (): string => `load ${(loadavg()[0] ?? 0).toFixed(1)}`

const services = await openKeyServices()
const store = await startStoreProcess()
const keys = new Map<string, ServiceKey>()
for (const kind of services.kinds) keys.set(kind, await services.make(kind))
const names = [...keys.keys()]
const sections = Object.fromEntries([...keys].map(([name, { section }]) => [name, section]))

const agent = new Agent({ keepAlive: true, maxSockets: 16 })
async function send(
  port: number,
  method: 'GET' | 'PUT',
  target: string,
  body: string | Buffer = ''
): Promise<{ readonly status: number; readonly body: Buffer }> {
  const draft = querySigned({ endpoint: `http://127.0.0.1:${port}`, ...credentials }, { method, target, headers: [] }, body)
  const sent = request({ host: '127.0.0.1', port, method, path: draft.target, headers: Object.fromEntries(draft.headers), agent })
  sent.end(body)
  const [response] = await once(sent, 'response') as [IncomingMessage]
  return { status: response.statusCode ?? 0, body: await buffer(response) }
}

async function gatewayWith(more: object): Promise<GatewayProcess> {
  const gateway = new GatewayProcess({ endpoint: store.endpoint, sections: { log: { level: 'info' }, ...more } })
  await gateway.prepare()
  await gateway.start()
  return gateway
}

/** Successful and failed calls of key services since the start, and how the keys were asked for at it. */
async function callsOf(adminPort: number): Promise<number> {
  const sent = request({ host: '127.0.0.1', port: adminPort, path: '/metrics' })
  sent.end()
  const [response] = await once(sent, 'response') as [IncomingMessage]
  const lines = (await buffer(response)).toString().split('\n').filter((line) => line.startsWith('sealgate_kms_calls_total{'))
  return lines.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0)
}

for (const name of names) {
  const admin = await freePort()
  const gateway = await gatewayWith({
    keys: { [name]: sections[name] },
    buckets: { '*': { key: name, etag: 'opaque' } },
    admin: { port: admin },
    keyCache: { maxAgeSeconds: KEPT_SECONDS }
  })
  await send(gateway.port, 'PUT', `/${name}`)
  const before = await callsOf(admin)
  const began = performance.now()
  let wrong = 0
  await parallel(Array(objects).keys(), { limit: 16, signal }, async (i) => {
    if ((await send(gateway.port, 'PUT', `/${name}/o${i}`, `body ${i}`)).status !== 200) wrong += 1
  })
  await parallel(Array(objects).keys(), { limit: 16, signal }, async (i) => {
    if ((await send(gateway.port, 'GET', `/${name}/o${i}`)).body.toString() !== `body ${i}`) wrong += 1
  })
  const calls = await callsOf(admin) - before
  const seconds = (performance.now() - began) / 1000
  const shown = `${calls} calls in ${seconds.toFixed(0)} s, keys kept for ${KEPT_SECONDS} s; ${load()}`
  expect(`${name}: ${objects} PUT and ${objects} GET`, wrong === 0 && calls < 20 + seconds / KEPT_SECONDS * 4, shown)
  await gateway.remove()
}

// A call for every object: no bucket keys, and no cache. In turn, so that the machine is as busy for one as for the other.
const asking = await gatewayWith({
  keys: sections,
  buckets: Object.fromEntries(names.map((name) => [`cold-${name}`, { key: name, bucketKeys: false, etag: 'opaque' }])),
  keyCache: { maxAgeSeconds: 0 }
})
const times = new Map<string, number[]>()
for (const name of names) await send(asking.port, 'PUT', `/cold-${name}`)
for (const method of ['PUT', 'GET'] as const) {
  let wrong = 0
  const began = load()
  for (let i = 0; i < cold; i += 1) {
    for (const name of names) {
      const started = performance.now()
      const { status, body } = await send(asking.port, method, `/cold-${name}/${i}`, method === 'PUT' ? 'cold' : '')
      const list = times.get(`${method} ${name}`) ?? []
      list.push(performance.now() - started)
      times.set(`${method} ${name}`, list)
      if (status !== 200 || (method === 'GET' && body.toString() !== 'cold')) wrong += 1
    }
  }
  expect(`${cold} cold ${method} of each`, wrong === 0, `${began} to ${loadavg()[0]?.toFixed(1) ?? ''}`)
  for (const name of names) {
    const list = (times.get(`${method} ${name}`) ?? []).toSorted((a, b) => a - b)
    const at = (part: number): string => (list[Math.floor(list.length * part)] ?? 0).toFixed(1)
    console.log(`        ${name}: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, p99 ${at(0.99)} ms`)
  }
}
await asking.remove()

/** Between a command and the store. */
const passed = { bytes: 0 }
const counter = createServer((socket) => {
  const { hostname, port } = new URL(store.endpoint)
  const other = connect({ host: hostname, port: Number(port) })
  for (const [from, to] of [[socket, other], [other, socket]] as const) {
    from.on('data', (chunk: Buffer) => {
      passed.bytes += chunk.length
      to.write(chunk)
    })
    from.on('error', () => to.destroy())
    from.on('end', () => to.end())
  }
}).listen(0, '127.0.0.1')
await once(counter, 'listening')
const counted = `http://127.0.0.1:${(counter.address() as AddressInfo).port}`

const gateway = await gatewayWith({ keys: sections, buckets: { '*': { key: names[0], allowedKeys: names.slice(1), etag: 'opaque' } } })
await send(gateway.port, 'PUT', '/moving')
const sums = new Map<string, string>()
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const config = JSON.parse(readFileSync(gateway.config, 'utf8')) as { upstream: object; buckets: object }
const pairs = names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to] as const))
const file = `${gateway.config}.counted.yaml`
/** Every pair in a bucket whose default key is the first. */
async function configured(key: string): Promise<void> {
  writeFileSync(
    file,
    JSON.stringify({
      ...config,
      upstream: { ...config.upstream, endpoint: counted },
      buckets: { '*': { key, allowedKeys: names.filter((name) => name !== key), etag: 'opaque' } }
    })
  )
}
const client = gateway.client()
const { PutObjectCommand } = await import('@aws-sdk/client-s3')
for (const [from, to] of pairs) {
  const prefix = `${from}-${to}/`
  for (let i = 0; i < moved; i += 1) {
    const body = randomBytes(BODY_BYTES)
    sums.set(`${prefix}${i}`, digest(body))
    await client.send(new PutObjectCommand({ Bucket: 'moving', Key: `${prefix}${i}`, Body: body, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: from }))
  }
}
await configured(names[0] ?? '')
let [most, all] = [0, 0]
for (const [from, to] of pairs) {
  passed.bytes = 0
  const { code, out, err } = await runCli(['rewrap', '--config', file, '--bucket', 'moving', '--prefix', `${from}-${to}/`, '--to', to], '/')
  most = Math.max(most, passed.bytes)
  all += passed.bytes
  if (code !== 0 || !out.includes(`re-wrapped ${moved} objects`)) expect(`${from} to ${to}`, false, out + err)
  else console.log(`        ${from} to ${to}: ${moved} objects, ${passed.bytes.toLocaleString('en')} bytes to and from the store`)
}
const usage = await runCli(['keys', 'usage', '--config', file, '--bucket', 'moving', '--json'], '/')
const rows = JSON.parse(usage.out) as { readonly key: string; readonly objects: number }[]
let wrong = 0
for (const [name, sum] of sums) if (digest((await send(gateway.port, 'GET', `/moving/${name}`)).body) !== sum) wrong += 1
expect(
  `rewrap --to of ${pairs.length} pairs`,
  wrong === 0 && rows.every(({ objects: count }) => count === moved * (names.length - 1)) && all < sums.size * BODY_BYTES / 4,
  `${sums.size} objects of ${(sums.size * BODY_BYTES).toLocaleString('en')} bytes, ${wrong} wrong; ${all.toLocaleString('en')} bytes to and from the store, ${
    most.toLocaleString('en')
  } of a pair at most; `
    + rows.map(({ key, objects: count }) => `${count} under ${key}`).join(', ')
)
client.destroy()
agent.destroy()
counter.close()
await gateway.remove()
await services.close()
store.stop()
console.log(failed === 0 ? 'as promised' : `NOT AS PROMISED: ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
