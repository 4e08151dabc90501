// Syslog and HTTP: real servers on free ports, that go down and come back.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { AuditSinkQueue } from '../../src/observe/audit-sink.ts'
import { openAuditTrail } from '../../src/observe/audit-trail.ts'
import { httpTransport } from '../../src/observe/sink-http.ts'
import { syslogMessage, syslogTransport } from '../../src/observe/sink-syslog.ts'
import { auditEntry, newAuditKey, verifyFiles, NEVER_MS } from '../support/audit-rig.ts'

const pem = (name: string) => join(import.meta.dirname, '../support/tls', name)
const tls = { cert: readFileSync(pem('localhost-cert.pem')), key: readFileSync(pem('localhost-key.pem')) }
const MIB = 1024 * 1024

/** Resolves at each change of the state of a sink. */
function watched(change: Partial<ConstructorParameters<typeof AuditSinkQueue>[1]> = {}) {
  const changes: (string | null)[] = []
  let wake: () => void = () => undefined
  const options = {
    whenDown: 'buffer' as const,
    bufferBytes: MIB,
    firstPauseMs: 5,
    ...change,
    changed: (_name: string, reason: string | null) => {
      changes.push(reason)
      wake()
    }
  }
  const until = async (count: number) => {
    const busy = setInterval(() => undefined, 1000)
    while (changes.length < count) {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      wake = () => {
        resolve(undefined)
      }
      await promise
    }
    clearInterval(busy)
    return changes
  }
  return { options, until }
}

async function listening(t: Test, server: Server, port = 0): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

/** The messages of octet-counted frames. */
function frames(bytes: Buffer): string[] {
  const found: string[] = []
  for (let at = 0; at < bytes.length;) {
    const blank = bytes.indexOf(' ', at)
    const length = Number(bytes.toString('latin1', at, blank))
    found.push(bytes.toString('utf8', blank + 1, blank + 1 + length))
    at = blank + 1 + length
  }
  return found
}

const lines = [1, 2, 3].map((i) => Buffer.from(`{"n":${i},"ü":"x"}\n`))
const wanted = lines.map((line) => line.toString().trimEnd())
const header = /^<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ sealgate \d+ audit - (.*)$/

await t.test('a message of RFC 5424', (t) => {
  const text = syslogMessage(lines[0]!, new Date(0)).toString()
  t.match(text, header)
  t.match(text, `1970-01-01T00:00:00.000Z ${hostname()} `)
  t.end()
})

for (const kind of ['tcp', 'tls', 'unix'] as const) {
  await t.test(`syslog over ${kind}: every line, and again after the server was away`, async (t) => {
    const received: Buffer[] = []
    const open: Socket[] = []
    let heard: () => void = () => undefined
    const take = (socket: Socket): void => {
      open.push(socket)
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Buffer) => {
        received.push(chunk)
        heard()
      })
    }
    const make = () => kind === 'tls' ? createTlsServer(tls, take) : createServer(take)
    // The folders of tap are too long for the name of a socket.
    const path = join(mkdtempSync(join(tmpdir(), 'sealgate-')), 'socket')
    t.teardown(() => {
      rmSync(dirname(path), { recursive: true })
    })
    const first = make()
    let port = 0
    if (kind === 'unix') first.listen(path)
    else port = await listening(t, first)
    const url = new URL(kind === 'unix' ? `unix://${path}` : `${kind}://127.0.0.1:${port}`)
    const { options, until } = watched()
    const sink = new AuditSinkQueue(syslogTransport(url, kind === 'tls' ? pem('localhost-cert.pem') : null), options)
    const messages = () => {
      const bytes = Buffer.concat(received)
      return kind === 'unix' ? bytes.toString().trimEnd().split('\n') : frames(bytes)
    }
    const arrived = async (last: string) => {
      while (received.length === 0 || header.exec(messages().at(-1) ?? '')?.[1] !== last) {
        const { promise, resolve } = Promise.withResolvers<undefined>()
        heard = () => {
          resolve(undefined)
        }
        await promise
      }
    }
    for (const line of lines) sink.offer(line)
    await arrived(wanted[2]!)
    t.same(messages().map((message) => header.exec(message)?.[1]), wanted)

    first.close()
    for (const socket of open) socket.destroy()
    await once(first, 'close')
    // The end of the connection may be seen only when something is written.
    while (sink.check().ok) {
      sink.offer(lines[0]!)
      await setImmediate()
    }
    t.match(await until(1), [/^(ECONNREFUSED|ECONNRESET|EPIPE|ENOENT)$/])
    t.match(sink.check(), {
      name: `audit sink ${kind === 'unix' ? `unix:${path}` : url.origin === 'null' ? `${kind}://${url.host}` : ''}`,
      ok: false,
      error: 'ServiceUnavailable'
    })
    sink.offer(lines[1]!)
    received.length = 0
    const second = make()
    if (kind === 'unix') second.listen(path)
    else await listening(t, second, port)
    await until(2)
    await arrived(wanted[1]!)
    t.match(sink.check(), { ok: true, error: null, failure: null })
    await sink.close()
    second.close()
    for (const socket of open) socket.destroy()
  })
}

await t.test('syslog over UDP: a datagram a line; one that is too large is lost', async (t) => {
  const server = createSocket('udp4')
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  const received: string[] = []
  const all = Promise.withResolvers<undefined>()
  server.on('message', (message) => {
    received.push(message.toString())
    if (received.length === 3) all.resolve(undefined)
  })
  const sink = new AuditSinkQueue(syslogTransport(new URL(`udp://127.0.0.1:${server.address().port}`), null), watched().options)
  sink.offer(Buffer.alloc(70_000, 'x'))
  for (const line of lines) sink.offer(line)
  await all.promise
  t.same(received.map((message) => header.exec(message)?.[1]), wanted)
  await sink.close()
  t.same([sink.counts, sink.waitingBytes], [{ sent: 3, lost: 1 }, 0])
  server.close()
})

for (const secure of [false, true]) {
  await t.test(`HTTP${secure ? ' over TLS with its own authority' : ''}: JSON lines with a token; what is not 2xx is sent again`, async (t) => {
    const token = join(t.testdir({ token: 'secret-1\n' }), 'token')
    const requests: [token: string | undefined, type: string | undefined, body: string][] = []
    const statuses = [500, 302]
    const handler: RequestListener = (req, res) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
        requests.push([req.headers.authorization, req.headers['content-type'], Buffer.concat(chunks).toString()])
        const status = statuses.shift() ?? 204
        if (status === 302) writeFileSync(token, 'secret-2')
        res.writeHead(status, { location: '/elsewhere' }).end(status === 204 ? undefined : 'x'.repeat(200_000))
      })
    }
    const port = await listening(t, secure ? createHttpsServer(tls, handler) : createHttpServer(handler))
    const { options, until } = watched()
    const url = new URL(`http${secure ? 's' : ''}://127.0.0.1:${port}/audit?key=CANARY`)
    const sink = new AuditSinkQueue(httpTransport(url, { ca: secure ? pem('localhost-cert.pem') : null, tokenFile: token }), options)
    for (const line of lines) sink.offer(line)
    t.same(await until(2), ['HTTP_500', null])
    t.same(requests.map(([auth]) => auth), ['Bearer secret-1', 'Bearer secret-1', 'Bearer secret-2'], 'a new token is taken')
    t.same(requests.at(-1)?.slice(1), ['application/x-ndjson', Buffer.concat(lines).toString()])
    t.notMatch(JSON.stringify([sink.name, sink.check()]), /CANARY|secret/)
    await sink.close()
    t.same(sink.counts, { sent: 3, lost: 0 })
  })
}

await t.test('a certificate that no authority vouches for is refused', async (t) => {
  const port = await listening(t, createHttpsServer(tls, (_req, res) => res.end()))
  for (const scheme of ['https', 'tls']) {
    const { options, until } = watched()
    const url = new URL(`${scheme}://127.0.0.1:${port}`)
    const sink = new AuditSinkQueue(scheme === 'tls' ? syslogTransport(url, null) : httpTransport(url, { ca: null, tokenFile: null }), {
      ...options,
      firstPauseMs: 60_000
    })
    sink.offer(lines[0]!)
    t.match(await until(1), [/SELF_SIGNED|UNABLE_TO|DEPTH_ZERO/])
    const closing = sink.close()
    t.same(sink.counts.sent, 0)
    await closing
    t.same(sink.counts.lost, 1)
  }
})

await t.test('down: buffer keeps to its bytes and counts what is lost; refuse lets no key be used', async (t) => {
  const server = createServer()
  const port = await listening(t, server)
  server.close()
  await once(server, 'close')
  const key = newAuditKey()
  const transport = () => syslogTransport(new URL(`tcp://127.0.0.1:${port}`), null)
  const buffering = watched({ bufferBytes: 1000 })
  const file = join(t.testdir({}), 'audit')
  const buffer = new AuditSinkQueue(transport(), { ...buffering.options, firstPauseMs: 60_000 })
  const trail = openAuditTrail({ file, chain: { key, intervalMs: NEVER_MS }, sinks: [buffer] })
  for (let i = 0; i < 10; i += 1) trail.record(auditEntry)
  t.same(await buffering.until(1), ['ECONNREFUSED'])
  t.ok(buffer.waitingBytes > 0 && buffer.waitingBytes <= 1000, 'bounded')
  t.equal(buffer.counts.lost, 9)
  t.equal(buffer.refusal(), null)

  const refusing = watched({ whenDown: 'refuse' })
  const refuse = new AuditSinkQueue(transport(), { ...refusing.options, firstPauseMs: 60_000 })
  const strict = openAuditTrail({ file: null, chain: { key, intervalMs: NEVER_MS }, sinks: [refuse] })
  await refusing.until(1)
  t.throws(() => {
    strict.record(auditEntry)
  }, { code: 'ServiceUnavailable', status: 503, diagnosis: { service: 'audit', operation: `send to tcp://127.0.0.1:${port}`, system: 'ECONNREFUSED' } })
  // Without waiting for a sink that is down.
  await Promise.all([trail.close(), strict.close()])
  t.match(await verifyFiles([readFileSync(file)], [key]), { fault: null, lines: 12 }, 'the file has everything')
})

await t.test('what a sink has received verifies as the file does, and bears witness', async (t) => {
  let body = ''
  const port = await listening(
    t,
    createHttpServer((req, res) => {
      req.setEncoding('utf8').on('data', (text: string) => {
        body += text
      }).on('end', () => res.end())
    })
  )
  const key = newAuditKey()
  const sink = new AuditSinkQueue(httpTransport(new URL(`http://127.0.0.1:${port}/`), { ca: null, tokenFile: null }), watched().options)
  const file = join(t.testdir({}), 'audit')
  const trail = openAuditTrail({ file, chain: { key, intervalMs: NEVER_MS }, sinks: [sink] })
  for (let i = 0; i < 2500; i += 1) trail.record(auditEntry)
  await trail.close()
  t.equal(body, readFileSync(file, 'utf8'))
  t.same(sink.counts, { sent: body.split('\n').length - 1, lost: 0 })
})
