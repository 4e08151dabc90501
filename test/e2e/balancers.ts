// HAProxy, nginx and Caddy in front of two gateways, with the files of docker/balancers, in which only addresses, ports, certificates and the name are
// changed. Each must keep what docs/BALANCERS.md says of it: names, headers, 100-continue, bodies that flow, silence, the client's address, HTTP/2,
// health checks, gateways that are stopped under load, no request sent twice, and the clients of clients.sh, mc and restic.
//
//   node test/e2e/balancers.ts [haproxy-http] [haproxy-tcp] [nginx-http] [nginx-tcp] [caddy]       default: all
//     HAPROXY, NGINX, CADDY, MC: the programs. ONLY=PATTERN chooses by what the lines say; QUICK=1 leaves out the clients and what takes a minute.
//
// nginx needs its module stream (Debian: libnginx-mod-stream), and root for the folders of its package. Everything listens on 127.0.0.0/8. One line for
// each thing tried; the last line counts. Ends with 1 when one failed.
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import type { ClientHttp2Session } from 'node:http2'
import { Agent, createServer as createTlsServer, request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import process from 'node:process'
import { buffer, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { gzipSync } from 'node:zlib'
import type { Draft } from '../support/signing.ts'
import { BalancerRig, ca, certificate, hosts, kinds, type Place, type Result, root, tlsOf } from './balancer-rig.ts'
import { forEach, headerSigned, headOf } from '../support/wire.ts'

const MIB = 1024 * 1024
const LARGE = 200 * MIB
const quick = process.env['QUICK'] !== undefined
const only = new RegExp(process.env['ONLY'] ?? '')
let [passed, failed] = [0, 0]

interface Step {
  readonly what: string
  readonly act: (rig: BalancerRig) => Promise<string>
  /** Only where the balancer reads HTTP, or only where it does not. */
  readonly http?: boolean
  readonly slow?: true
}

async function step(kind: string, what: string, act: () => Promise<string>): Promise<void> {
  try {
    const found = await act()
    passed += 1
    process.stdout.write(`${kind.padEnd(13)} ok      ${what}${found === '' ? '' : `: ${found}`}\n`)
  } catch (error) {
    failed += 1
    process.stdout.write(`${kind.padEnd(13)} FAILED  ${what}: ${error instanceof Error ? error.message : String(error)}\n`)
  }
}

function demand(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}

function codeOf({ status, body }: Result): string {
  return `${status} ${/<Code>([^<]*)/.exec(body.toString('latin1', 0, 4096))?.[1] ?? ''}`.trim()
}

function draft(rig: BalancerRig, method: string, target: string, body: string | Buffer = '', headers: Draft['headers'] = []): Draft {
  return headerSigned(rig.access, { method, target, headers }, body)
}

async function signed(
  rig: BalancerRig,
  place: Place,
  method: string,
  target: string,
  body: string | Buffer = '',
  headers: Draft['headers'] = []
): Promise<Result> {
  return rig.send(place, draft(rig, method, target, body, headers), body)
}

/** Over a session of HTTP/2: the Host header becomes the authority. */
async function overHttp2(session: ClientHttp2Session, { method, target, headers }: Draft, body: string | Buffer): Promise<Result> {
  const fields: Record<string, string> = { ':method': method, ':path': target }
  for (const [name, value] of headers) fields[name.toLowerCase() === 'host' ? ':authority' : name.toLowerCase()] = value
  const stream = session.request(fields, { endStream: body.length === 0 })
  const head = once(stream, 'response') as Promise<[Record<string, string>]>
  if (body.length > 0) stream.end(body)
  const [[response], whole] = await Promise.all([head, buffer(stream)])
  return { status: Number(response[':status']), headers: response, body: whole }
}

/** Signed as they stand. What clients of S3 send for names with blanks, signs, slashes and dots in unusual places. */
const targets = [
  'plain',
  'a%20b',
  'a%2Bb',
  'a%2Fb',
  '/a',
  'a//b',
  'a///',
  'trailing/',
  '%2F%2F',
  '..',
  'a/../b',
  'a/./b',
  '%2E%2E/b',
  'a%25b',
  'a%252Fb',
  'a%3Fb%23c',
  'a%3Bb%3Dc%26d',
  'a%21%2A%27%28%29',
  '~a-b_c.d',
  '%C3%BC%E2%82%AC%F0%9F%98%80',
  'a%5Cb%7Cc%5E%60%7B%7D%22%3C%3E',
  'a%0Ab%09c',
  'a%7Fb',
  'a%00b',
  'a%FFb',
  'a%c3%bcb',
  '..%2F..%2F..%2Fb',
  '../../b'
]
const queries = [
  'list-type=2&prefix=a%2F&delimiter=%2F',
  'list-type=2&prefix=a%20b',
  'list-type=2&prefix=',
  'prefix=%2F&max-keys=3',
  'acl=',
  'uploads=',
  'versions=&key-marker=a%26b%3Bc',
  'list-type=2&start-after=%C3%BC',
  'unknown=1',
  'prefix=a&prefix=b'
]

async function names(rig: BalancerRig): Promise<string> {
  const session = rig.kind.http ? rig.http2() : null
  session?.on('error', () => undefined)
  const differences: string[] = []
  let [same, stored, refused] = [0, 0, 0]
  const compare = async (what: string, send: (draft: Draft, body: string) => Promise<Result>, target: string): Promise<void> => {
    const body = `${what} ${target} ${randomBytes(8).toString('hex')}`
    const wanted = codeOf(await signed(rig, rig.direct, 'PUT', `/names-direct/${target}`, body))
    const got = await send(draft(rig, 'PUT', `/names/${target}`, body), body).then(codeOf, String)
    const back = await signed(rig, rig.direct, 'GET', `/names/${target}`)
    const through = await send(draft(rig, 'GET', `/names/${target}`), '').catch(() => null)
    if (wanted === '200') stored += 1
    if (rig.kind.refuses.test(decodeURIComponent(target.replaceAll('%FF', '')))) {
      refused += 1
      if (got !== '400') differences.push(`${what} ${target} is not refused: ${got}`)
      return
    }
    const right = got === wanted && (wanted !== '200' || (back.body.toString() === body && through?.body.toString() === body))
    if (right) same += 1
    else differences.push(`${what} ${target} (${wanted}, through it ${got})`)
  }
  const compareQuery = async (what: string, send: (draft: Draft, body: string) => Promise<Result>, query: string): Promise<void> => {
    const target = `/names?${query}`
    const wanted = await signed(rig, rig.direct, 'GET', target)
    const got = await send(draft(rig, 'GET', target), '').catch(() => null)
    const plain = (result: Result | null): string =>
      result === null ? '' : result.body.toString().replaceAll(/<(RequestId|HostId|LastModified|ETag)>[^<]*/g, '')
    if (got?.status === wanted.status && plain(got) === plain(wanted)) same += 1
    else differences.push(`${what} ?${query} (${codeOf(wanted)}, through it ${got === null ? 'nothing' : codeOf(got)})`)
  }
  for (const bucket of ['names', 'names-direct']) await signed(rig, rig.direct, 'PUT', `/${bucket}`)
  const ways: [string, (draft: Draft, body: string) => Promise<Result>][] = [['HTTP/1.1', (each, body) => rig.send(rig.front, each, body)]]
  if (session !== null) ways.push(['HTTP/2', (each, body) => overHttp2(session, each, body)])
  for (const [what, send] of ways) {
    await forEach(targets, 4, (target) => compare(what, send, target))
    await forEach(queries, 4, (query) => compareQuery(what, send, query))
  }
  session?.close()
  demand(differences.length === 0, differences.join('; '))
  demand(stored >= 20, `only ${stored} names are good`)
  return `${same} answers and objects as without it${refused === 0 ? '' : `, ${refused} refused`}`
}

async function headers(rig: BalancerRig): Promise<string> {
  await signed(rig, rig.direct, 'PUT', '/headers')
  const odd: Draft['headers'] = [['x-amz-meta-a_b', 'under'], ['x-amz-meta-a.b', 'dot']]
  for (const each of odd) {
    const { status } = await signed(rig, rig.front, 'PUT', '/headers/odd', '', [each])
    demand(status === (rig.kind.drops === true ? 403 : 200), `${each[0]}: ${status}`)
  }
  const meta: Draft['headers'] = [...rig.kind.drops === true ? [] : odd, ['x-amz-meta-c', 'a  b, c'], ['x-amz-meta-d', '=?UTF-8?B?w7w=?='], [
    'Content-Type',
    'text/plain; charset=utf-8'
  ], ['Cache-Control', 'no-cache, max-age=0']]
  const packed = gzipSync('packed '.repeat(1000))
  demand((await signed(rig, rig.front, 'PUT', '/headers/packed', packed, [...meta, ['Content-Encoding', 'gzip']])).status === 200, 'metadata is refused')
  for (const accept of [[], [['Accept-Encoding', 'identity']], [['Accept-Encoding', 'gzip']]] as const) {
    const got = await signed(rig, rig.front, 'GET', '/headers/packed', '', accept)
    demand(
      got.body.equals(packed) && got.headers['content-encoding'] === 'gzip',
      `another body where ${accept.length === 0 ? 'no' : accept[0][1]} encoding is accepted`
    )
    demand(got.headers['content-length'] === String(packed.length), 'Content-Length')
    for (const [name, value] of meta) {
      demand(got.headers[name.toLowerCase()] === value.replaceAll(/ +/g, ' ') || got.headers[name.toLowerCase()] === value, name)
    }
  }
  const head = await signed(rig, rig.front, 'HEAD', '/headers/packed')
  demand(head.status === 200 && head.headers['content-length'] === String(packed.length), 'HEAD without its Content-Length')
  const etag = String(head.headers['etag'])
  demand((await signed(rig, rig.front, 'GET', '/headers/packed', '', [['If-None-Match', etag]])).status === 304, 'no 304')
  demand((await signed(rig, rig.front, 'GET', '/headers/packed', '', [['Range', 'bytes=3-9']])).body.equals(packed.subarray(3, 10)), 'another range')
  const sizes: string[] = []
  for (const size of [15_000, 15_900]) {
    const long = draft(rig, 'GET', '/headers/packed', '', [['x-long', 'a'.repeat(size - 500)]])
    demand((await rig.send(rig.front, long)).status === 200, `a head of ${headOf(long).length} bytes`)
    const target = draft(rig, 'GET', `/headers/packed?x=${'a'.repeat(size - 500)}`)
    demand((await rig.send(rig.front, target)).status === 200, `a target of ${size - 500} bytes`)
    sizes.push(String(headOf(long).length))
  }
  const tooLong = await rig.send(rig.front, draft(rig, 'GET', '/headers/packed', '', [['x-long', 'a'.repeat(60_000)]])).then(codeOf, () => 'closed')
  demand(/^4|closed/.test(tooLong), `a head of 60,000 bytes: ${tooLong}`)
  const key = Buffer.alloc(32, 7)
  const sse: Draft['headers'] = [
    ['x-amz-server-side-encryption-customer-algorithm', 'AES256'],
    ['x-amz-server-side-encryption-customer-key', key.toString('base64')],
    ['x-amz-server-side-encryption-customer-key-md5', createHash('md5').update(key).digest('base64')]
  ]
  const secret = await signed(rig, rig.front, 'PUT', '/headers/ssec', 'body', sse)
  demand(secret.status === 200, `SSE-C: ${codeOf(secret)}`)
  return `heads of ${sizes.join(' and ')} bytes pass, 60,000: ${tooLong}; SSE-C is taken`
}

async function http2(rig: BalancerRig): Promise<string> {
  const session = rig.http2()
  await signed(rig, rig.direct, 'PUT', '/http2')
  const body = randomBytes(256 * 1024)
  await Promise.all(Array.from({ length: 40 }, async (_, n) => {
    const target = `/http2/${n}`
    const put = await overHttp2(session, draft(rig, 'PUT', target, body), body)
    demand(put.status === 200, `PUT: ${codeOf(put)}`)
    const got = await overHttp2(session, draft(rig, 'GET', target), '')
    demand(got.status === 200 && got.body.equals(body), `GET: ${codeOf(got)}, ${got.body.length} bytes`)
  }))
  session.close()
  return '40 objects of 256 KiB written and read at once on one connection'
}

async function noHttp2(rig: BalancerRig): Promise<string> {
  const socket = connectTls({ host: '127.0.0.1', port: rig.ports.front, servername: 'localhost', ca, ALPNProtocols: ['h2', 'http/1.1'] })
  await once(socket, 'secureConnect')
  const { alpnProtocol } = socket
  socket.destroy()
  demand(alpnProtocol === 'http/1.1', `negotiated ${String(alpnProtocol)}`)
  return 'the gateway speaks HTTP/1.1 with clients that also offer HTTP/2'
}

/** Sends a head, and the body only after the first answer, which it returns with the last. */
async function expecting(rig: BalancerRig, head: Draft, body: Buffer): Promise<{ readonly first: string; readonly last: string }> {
  const socket = connectTls({ host: '127.0.0.1', port: rig.ports.front, servername: 'localhost', ca })
  await once(socket, 'secureConnect')
  let received = ''
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
  })
  socket.on('error', () => undefined)
  const until = async (done: () => boolean): Promise<void> => {
    for (let n = 0; n < 500 && !done() && !socket.destroyed; n += 1) await sleep(20)
  }
  socket.write(headOf(head))
  await until(() => received.includes('\r\n\r\n'))
  const first = received.slice(9, 12)
  if (first === '100') {
    received = received.slice(received.indexOf('\r\n\r\n') + 4)
    socket.write(body)
    await until(() => received.includes('\r\n\r\n'))
  }
  const last = received.slice(9, 12)
  socket.destroy()
  return { first, last }
}

async function expectation(rig: BalancerRig): Promise<string> {
  await signed(rig, rig.direct, 'PUT', '/expect')
  const body = randomBytes(MIB)
  // No client signs Expect.
  const waiting = (each: Draft): Draft => ({ ...each, headers: [...each.headers, ['Expect', '100-continue']] })
  const good = await expecting(rig, waiting(draft(rig, 'PUT', '/expect/good', body)), body)
  demand(good.first === '100' && good.last === '200', `a good request: ${good.first}, then ${good.last}`)
  const forged = (target: string, bytes: Buffer): Draft => {
    const { headers, ...rest } = draft(rig, 'PUT', target, bytes)
    return { ...rest, headers: headers.map(([name, value]) => [name, name === 'Authorization' ? value.replace(/.{4}$/, '0000') : value] as const) }
  }
  const bad = await expecting(rig, waiting(forged('/expect/forged', body)), body)
  demand(bad.first === (rig.kind.continues ? '403' : '100') && bad.last === '403', `a wrong signature: ${bad.first}, then ${bad.last}`)
  demand((await signed(rig, rig.direct, 'HEAD', '/expect/forged')).status === 404, 'the forged request was carried out')
  // Clients that do not wait get the answer as well.
  const answers: string[] = []
  for (let n = 0; n < 5; n += 1) {
    const large = Buffer.alloc(4 * MIB, n)
    answers.push(await rig.send(rig.front, forged('/expect/large', large), large).then(codeOf, (error: unknown) => error instanceof Error ? error.message : ''))
  }
  const spread = [...new Set(answers)].join(', ')
  const expected = rig.kind.resets === true ? /^403|ECONNRESET|EPIPE/ : /^403/
  demand(answers.every((answer) => expected.test(answer)), `4 MiB sent with a wrong signature: ${spread}`)
  return `${
    rig.kind.continues ? 'a wrong signature gets 403, and no 100' : 'it says 100 by itself; a wrong signature then gets 403'
  }; to 4 MiB that come all the same: ${spread}`
}

async function flow(rig: BalancerRig): Promise<string> {
  await signed(rig, rig.direct, 'PUT', '/flow')
  const before = rig.memory()
  let most = before
  const watch = setInterval(() => {
    most = Math.max(most, rig.memory())
  }, 50)
  const block = randomBytes(MIB)
  const head = headerSigned(rig.access, { method: 'PUT', target: '/flow/large', headers: [['Content-Length', String(LARGE)]] }, '', {
    payloadHash: 'UNSIGNED-PAYLOAD'
  })
  let early = 0
  const slowBody = async function*(): AsyncGenerator<Buffer> {
    for (let sent = 0; sent < LARGE; sent += MIB) {
      if (sent === 2 * MIB) {
        await sleep(1500)
        early = await rig.inFlight()
      }
      yield block
    }
  }
  const put = await rig.send(rig.front, head, slowBody())
  demand(put.status === 200, `PUT: ${codeOf(put)}`)
  demand(early === 1, 'the gateway does not have the request before the end of its body')
  let [held, length] = [0, 0]
  const get = draft(rig, 'GET', '/flow/large')
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const target = { host: '127.0.0.1', port: rig.ports.front, servername: 'localhost', ca, agent: false as const, path: get.target, setHost: false }
  httpsRequest({ ...target, headers: get.headers.flatMap(([name, value]) => [name, value]) }, resolve).on('error', reject).end()
  const response = await promise
  for await (const chunk of response as AsyncIterable<Buffer>) {
    const at = length % MIB
    demand(chunk.equals(Buffer.concat([block, block]).subarray(at, at + chunk.length)), 'another body')
    if (length < MIB && length + chunk.length >= MIB) {
      await sleep(3000)
      held = await rig.inFlight()
    }
    length += chunk.length
  }
  clearInterval(watch)
  demand(length === LARGE, `${length} bytes`)
  demand(held === 1, 'the gateway has sent everything to a client that does not read')
  demand(most - before < 32, `${(most - before).toFixed(0)} MiB more memory`)
  return `200 MiB each way, ${before.toFixed(0)} MiB of memory before, ${most.toFixed(0)} at most`
}

async function silence(rig: BalancerRig): Promise<string> {
  await signed(rig, rig.direct, 'PUT', '/silence')
  const body = randomBytes(8 * MIB)
  demand((await signed(rig, rig.direct, 'PUT', '/silence/read', body)).status === 200, 'the object to read')
  const pausing = async (): Promise<void> => {
    const halves = async function*(): AsyncGenerator<Buffer> {
      yield body.subarray(0, 4 * MIB)
      await sleep(50_000)
      yield body.subarray(4 * MIB)
    }
    const answer = await rig.send(rig.front, draft(rig, 'PUT', '/silence/put', body), halves())
    demand(answer.status === 200, `a body with a pause of 50 s: ${codeOf(answer)}`)
  }
  const reading = async (): Promise<void> => {
    const get = draft(rig, 'GET', '/silence/read')
    const socket = connectTls({ host: '127.0.0.1', port: rig.ports.front, servername: 'localhost', ca })
    await once(socket, 'secureConnect')
    socket.write(headOf({ ...get, headers: [...get.headers, ['Connection', 'close']] }))
    await once(socket, 'readable')
    await sleep(50_000)
    const whole = await buffer(socket)
    demand(whole.subarray(whole.indexOf('\r\n\r\n') + 4).equals(body), 'a reader that paused for 50 s')
  }
  const late = async (): Promise<void> => {
    await signed(rig, rig.direct, 'PUT', '/silence/late', 'late')
    rig.store.rules.add({ when: { method: 'GET', key: 'late' }, fault: { type: 'delay', milliseconds: 55_000 } })
    const answer = await signed(rig, rig.front, 'GET', '/silence/late')
    demand(answer.body.toString() === 'late', `a store that is silent for 55 s: ${codeOf(answer)}`)
  }
  const completing = async (): Promise<string> => {
    const started = await signed(rig, rig.front, 'POST', '/silence/parts?uploads=')
    const id = /<UploadId>([^<]*)/.exec(started.body.toString())?.[1] ?? ''
    const part = await signed(rig, rig.front, 'PUT', `/silence/parts?partNumber=1&uploadId=${encodeURIComponent(id)}`, 'part')
    const document = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${String(part.headers['etag'])}</ETag></Part></CompleteMultipartUpload>`
    rig.store.rules.add({ when: { method: 'POST', key: 'parts', query: { uploadId: true } }, fault: { type: 'delay', milliseconds: 45_000 } })
    const complete = draft(rig, 'POST', `/silence/parts?uploadId=${encodeURIComponent(id)}`, document)
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const began = performance.now()
    const target = {
      host: '127.0.0.1',
      port: rig.ports.front,
      servername: 'localhost',
      ca,
      agent: false as const,
      method: 'POST',
      path: complete.target,
      setHost: false
    }
    httpsRequest({ ...target, headers: complete.headers.flatMap(([name, value]) => [name, value]) }, resolve).on('error', reject).end(document)
    const response = await promise
    const first = (performance.now() - began) / 1000
    let signs = 0
    response.on('data', () => {
      signs += 1
    })
    const answer = await text(response)
    demand(answer.includes('<ETag>'), `Complete: ${answer.slice(0, 300)}`)
    demand(first < 25 && signs >= 4, `Complete was held back: the first byte after ${first.toFixed(0)} s, in ${signs} pieces`)
    return `the first byte of a Complete of 45 s after ${first.toFixed(0)} s`
  }
  const [said] = await Promise.all([completing(), pausing(), reading(), late()])
  return `pauses of 50 s in bodies, a silent store for 55 s, ${said}`
}

async function address(rig: BalancerRig): Promise<string> {
  await signed(rig, rig.direct, 'PUT', '/address')
  for (
    const [n, more]
      of ([[], [['X-Forwarded-For', '6.6.6.6']], [['X-Forwarded-For', '127.0.0.1'], ['X-Forwarded-Proto', 'http']], [['Forwarded', 'for=6.6.6.6']]] as const)
        .entries()
  ) {
    // Not signed: a balancer adds to them.
    const plain = draft(rig, 'PUT', `/address/${n}`, 'x')
    const answer = await rig.send({ ...rig.front, from: `127.0.0.${77 + n}` }, { ...plain, headers: [...plain.headers, ...more] }, 'x')
    demand(answer.status === 200, codeOf(answer))
  }
  await sleep(500)
  const found = (lines: readonly string[]): string =>
    lines.flatMap((line) => {
      const { bucket, key, sourceAddress } = JSON.parse(line) as { bucket?: string; key?: string; sourceAddress?: string }
      return bucket === 'address' && typeof key === 'string' ? [`${key}=${sourceAddress ?? ''}`] : []
    }).toSorted().join(' ')
  const wanted = [0, 1, 2, 3].map((n) => `${n}=127.0.0.${77 + n}`).join(' ')
  const logged = found(rig.gateways.flatMap(({ lines }) => lines.filter((line) => line.includes('"address"'))))
  const audited = found(
    hosts.flatMap((host) => readFileSync(join(rig.work, `${host}.audit.jsonl`), 'utf8').split('\n').filter((line) => line.includes('"address"')))
  )
  demand(logged === wanted, `access log: ${logged}`)
  demand(audited === wanted, `audit trail: ${audited}`)
  return 'log and audit trail have the client, whatever it says of itself'
}

interface Load {
  requests: number
  readonly failures: string[]
  stop: boolean
}

/** Clients that keep their connections and repeat nothing. */
async function loaded(rig: BalancerRig, load: Load): Promise<void> {
  const small = randomBytes(20_000)
  const large = randomBytes(2 * MIB)
  const slowly = async function*(): AsyncGenerator<Buffer> {
    for (let at = 0; at < large.length; at += 128 * 1024) {
      yield large.subarray(at, at + 128 * 1024)
      await sleep(150)
    }
  }
  const one = async (what: string, work: Promise<Result>, good: (result: Result) => boolean): Promise<void> => {
    load.requests += 1
    try {
      const result = await work
      if (!good(result)) load.failures.push(`${what} ${codeOf(result)}`)
    } catch (error) {
      load.failures.push(`${what} ${error instanceof Error && 'code' in error ? String(error.code) : String(error)}`)
    }
  }
  const quickly = async (n: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (!load.stop) {
      const target = `/drain/${n}`
      await one('PUT', rig.send(rig.front, draft(rig, 'PUT', target, small), small, agent), ({ status }) => status === 200)
      await one('GET', rig.send(rig.front, draft(rig, 'GET', target), '', agent), ({ body }) => body.equals(small))
      await one('DELETE', rig.send(rig.front, draft(rig, 'DELETE', target), '', agent), ({ status }) => status === 204)
      await sleep(n * 5)
    }
    agent.destroy()
  }
  const steadily = async (n: number): Promise<void> => {
    const target = `/drain/large-${n}`
    while (!load.stop) {
      await one('slow PUT', rig.send(rig.front, draft(rig, 'PUT', target, large), slowly()), ({ status }) => status === 200)
      await one('large GET', signed(rig, rig.front, 'GET', target), ({ body }) => body.equals(large))
    }
  }
  await Promise.all([...Array.from({ length: 8 }, (_, n) => quickly(n)), ...Array.from({ length: 3 }, (_, n) => steadily(n))])
}

/** Sockets that the kernel has reset because the whole machine's memory for TCP was used up (net.ipv4.tcp_mem): another program can be the cause. */
function resetForMemory(): number {
  const [names = '', values = ''] = readFileSync('/proc/net/netstat', 'utf8').split('\n').filter((line) => line.startsWith('TcpExt:'))
  return Number(values.split(' ')[names.split(' ').indexOf('TCPAbortOnMemory')])
}

async function drain(rig: BalancerRig): Promise<string> {
  const resets = resetForMemory()
  await signed(rig, rig.direct, 'PUT', '/drain')
  const load: Load = { requests: 0, failures: [], stop: false }
  const clients = loaded(rig, load)
  const codes: (number | null)[] = []
  for (const n of [0, 1, 0, 1]) {
    await sleep(2000)
    const gateway = rig.gateways[n]!
    await rig.route(gateway.host, false)
    codes.push(await gateway.stop())
    const before = gateway.lines.length
    await gateway.start()
    await rig.route(gateway.host, true)
    // The balancer uses it again: only then the other one may be stopped.
    for (let tries = 0; tries < 600 && gateway.lines.slice(before).filter((line) => line.includes('"status":200')).length < 10; tries += 1) await sleep(100)
  }
  load.stop = true
  await clients
  const kinds = [...new Set(load.failures)].map((each) => `${load.failures.filter((other) => other === each).length} × ${each}`).join(', ')
  const cause = resetForMemory() === resets ? '' : `; the kernel had no memory for TCP and reset ${resetForMemory() - resets} sockets`
  demand(load.failures.length === 0, `${load.failures.length} of ${load.requests} requests failed: ${kinds}${cause}`)
  demand(codes.every((code) => code === 0), `exit codes ${codes.join()}`)
  return `${load.requests} requests, 0 failed, while ${codes.length} gateways were stopped and started`
}

/** In the place of the gateways: counts what comes, and breaks the connection of what is called so. */
class Counting {
  readonly seen = new Map<string, number>()
  readonly perHost = new Map<string, number>()
  readonly unready = new Set<string>()
  readonly #servers: { close: () => unknown; closeAllConnections: () => void }[] = []

  async start(rig: BalancerRig): Promise<void> {
    for (const host of hosts) {
      const server = createTlsServer({ ...tlsOf, keepAliveTimeout: 75_000 }, (request, response) => {
        void buffer(request).then((body) => {
          const name = `${request.method ?? ''} ${request.url ?? ''}`
          this.seen.set(name, (this.seen.get(name) ?? 0) + 1)
          this.perHost.set(host, (this.perHost.get(host) ?? 0) + 1)
          if (name.includes('broken')) request.socket.destroy()
          else response.end(String(body.length))
        }, () => undefined)
      }).listen(rig.ports.gateway, host)
      const admin = createHttpServer((_, response) => {
        response.statusCode = this.unready.has(host) ? 503 : 200
        response.end()
      }).listen(rig.ports.admin, host)
      await Promise.all([once(server, 'listening'), once(admin, 'listening')])
      this.#servers.push(server, admin)
    }
  }

  close(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }
}

async function onlyOnce(rig: BalancerRig): Promise<string> {
  await Promise.all(rig.gateways.map((gateway) => gateway.stop()))
  const counting = new Counting()
  await counting.start(rig)
  await sleep(4000)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    const rows: [string, string, string][] = []
    for (const method of ['PUT', 'POST', 'DELETE']) for (const body of ['', 'small']) for (const kept of ['new', 'kept']) rows.push([method, body, kept])
    for (const [method, body, kept] of rows) {
      const host = ['Host', rig.name] as const
      // Several, so that the connection behind it is one that has been used.
      if (kept === 'kept') { for (let n = 0; n < 4; n += 1) await rig.send(rig.front, { method: 'GET', target: '/good', headers: [host] }, '', agent) }
      const sent = { method, target: `/broken/${body}/${kept}`, headers: [host, ['Content-Length', String(body.length)]] as const }
      const answer = await rig.send(rig.front, sent, body, agent).then(codeOf, () => 'broken')
      demand(/^5|broken/.test(answer), `${method}: ${answer}`)
    }
    await rig.send(rig.front, { method: 'GET', target: '/broken/get', headers: [['Host', rig.name]] }).catch(() => null)
    const twice = [...counting.seen].filter(([name, count]) => name.includes('broken') && !name.startsWith('GET') && count !== 1)
    demand(twice.length === 0, twice.map(([name, count]) => `${name} came ${count} times`).join(', '))
    const reads = counting.seen.get('GET /broken/get') ?? 0
    if (!rig.kind.asks) return `${rows.length} writes whose answer was lost came once, a read ${reads} times`
    counting.unready.add(hosts[0])
    await sleep(4000)
    const before = counting.perHost.get(hosts[0]) ?? 0
    for (let n = 0; n < 40; n += 1) await rig.send(rig.front, { method: 'GET', target: '/good', headers: [['Host', rig.name]] })
    demand(counting.perHost.get(hosts[0]) === before, 'a gateway that is not ready gets requests')
    return `${rows.length} writes whose answer was lost came once, a read ${reads} times; a gateway that is not ready gets none of 40`
  } finally {
    agent.destroy()
    counting.close()
  }
}

async function clients(rig: BalancerRig): Promise<string> {
  const { accessKeyId, secretAccessKey } = rig.access
  const args = ['--store', `https://localhost:${rig.ports.front}`, '--access-key', accessKeyId, '--secret-key', secretAccessKey]
  const child = spawn(join(root, 'test/e2e/clients.sh'), args, { env: { ...process.env, DIRECT: '1' }, stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = await Promise.all([text(child.stdout), once(child, 'exit')])
  const wrong = said.split('\n').filter((line) => line.includes(' FAIL'))
  // Go writes names of headers in its own way, and boto3 takes them for names of metadata.
  const known = rig.kind.drops === true && wrong.length === 1 && /boto3-new +round/.test(wrong[0] ?? '')
  demand(child.exitCode === 0 || known, said.split('\n').filter((line) => /FAIL|\|/.test(line)).join(' '))
  return said.trim().split('\n').at(-1) ?? ''
}

/** minio-go, as mc and restic use it: bodies of unknown length, many files at once, ranges. In an empty folder. */
const goPrograms = `set -euo pipefail
mkdir -p tree mc/certs/CAs; head -c 20000000 /dev/urandom >tree/large; seq 1 200000 >'tree/a b+ü'; cp "$CA" mc/certs/CAs/ca.pem
m() { "$MC" --config-dir mc --quiet "$@" >/dev/null; }
m alias set b "$ENDPOINT" "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" --api S3v4 --path on
m mb b/go-programs; m mirror tree b/go-programs/tree; m mirror b/go-programs/tree back; diff -r tree back
m pipe b/go-programs/piped <tree/large; "$MC" --config-dir mc cat b/go-programs/piped | cmp - tree/large
m rm --recursive --force b/go-programs/tree
r() { restic --cacert "$CA" -o s3.bucket-lookup=path --no-cache -q -r "s3:$ENDPOINT/go-programs/restic" "$@"; }
r init; r backup tree; r check --read-data; r restore latest --target restored; diff -r tree restored/tree`

async function goClients(rig: BalancerRig): Promise<string> {
  const { endpoint, accessKeyId, secretAccessKey } = rig.access
  const folder = join(rig.work, 'go-programs')
  mkdirSync(folder)
  const env = {
    ...process.env,
    HOME: folder,
    MC: process.env['MC'] ?? 'mc',
    CA: certificate,
    ENDPOINT: endpoint,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    RESTIC_PASSWORD: 'password'
  }
  const child = spawn('bash', ['-c', goPrograms], { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] })
  const [said] = await Promise.all([text(child.stderr), once(child, 'exit')])
  demand(child.exitCode === 0, said.slice(-500))
  return 'mc mirrored both ways and piped, restic backed up, checked all data and restored'
}

const steps: readonly Step[] = [
  { what: 'names and queries', act: names },
  { what: 'headers', act: headers },
  { what: 'HTTP/2', act: http2, http: true },
  { what: 'HTTP/2', act: noHttp2, http: false },
  { what: '100-continue', act: expectation },
  { what: 'bodies flow', act: flow },
  { what: 'the client\'s address', act: address },
  { what: 'silence', act: silence, slow: true },
  { what: 'clients.sh', act: clients, slow: true },
  { what: 'mc and restic', act: goClients, slow: true },
  { what: 'gateways stopped under load', act: drain },
  { what: 'nothing is sent twice', act: onlyOnce, http: true }
]

for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(kinds)) {
  const kind = kinds[name]
  if (kind === undefined) throw new Error(`not one of ${Object.keys(kinds).join(', ')}: ${name}`)
  const rig = await BalancerRig.start(kind)
  try {
    for (const { what, act, http, slow } of steps) {
      if (only.test(what) && (http ?? kind.http) === kind.http && !(quick && slow === true)) await step(name, what, () => act(rig))
    }
  } finally {
    await rig.close()
  }
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1
