import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as plain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import t from 'tap'
import { Handshakes, readTls, watchTls } from '../../src/listener/tls.ts'
import { createLog } from '../../src/observe/log.ts'
import { roomyLimits, startListener, text, WireClient } from '../support/listener.ts'

const pem = (name: string): string => new URL(`../support/tls/${name}`, import.meta.url).pathname
const first = { cert: pem('localhost-cert.pem'), key: pem('localhost-key.pem'), clientCa: null }
const renewed = { cert: pem('renewed-cert.pem'), key: pem('renewed-key.pem'), clientCa: null }
const request = 'GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n'

async function open(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
  await once(socket, 'secureConnect')
  return socket
}

await t.test('requests over TLS are secure, and broken answers break', async (t) => {
  const started = await startListener(async ({ secure, target }) => {
    if (target.rawPath === '/cut') {
      const { Readable } = await import('node:stream')
      return { status: 200, headers: [['Content-Length', '100']], body: Readable.from([Buffer.alloc(10)]) }
    }
    return text(String(secure))
  }, { tls: await readTls(first) })
  t.teardown(() => started.listener.stop(0))
  const client = new WireClient(await open(started.port))
  client.write(request)
  t.equal((await client.answer())?.body.toString(), 'true')
  client.write('GET /cut HTTP/1.1\r\nHost: h\r\n\r\n')
  t.not((await client.answer())?.whole, true)
  await client.closed()
})

await t.test('TLS older than 1.2 and plain HTTP are refused', async (t) => {
  const started = await startListener(async () => text('ok'), { tls: await readTls(first) })
  t.teardown(() => started.listener.stop(0))
  await t.rejects(open(started.port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))
  const plain = await WireClient.open(started.port)
  plain.write(request)
  await plain.closed()
  const good = new WireClient(await open(started.port, { maxVersion: 'TLSv1.2' }))
  good.write(request)
  t.equal((await good.answer())?.status, 200)
  good.socket.destroy()
})

await t.test('a client that does not go on with its handshake is counted, and does not hold up a stop', async (t) => {
  const started = await startListener(async () => text('ok'), { tls: await readTls(first) })
  t.teardown(() => started.listener.stop(0))
  const silent = await WireClient.open(started.port)
  const counted = async (count: number): Promise<void> => {
    while (started.listener.counts().connections !== count) await turn()
  }
  await counted(1)
  const good = new WireClient(await open(started.port))
  good.write(request)
  t.equal((await good.answer())?.status, 200)
  await counted(2)
  good.socket.destroy()
  await counted(1)
  t.equal(await started.listener.stop(1000), 'drained')
  await silent.closed()
  await counted(0)
})

await t.test('a renewed certificate serves new connections while the old ones go on', async (t) => {
  const started = await startListener(async () => text('ok'), { tls: await readTls(first) })
  t.teardown(() => started.listener.stop(0))
  const before = await open(started.port)
  const client = new WireClient(before)
  started.listener.reloadTls(await readTls(renewed))
  const after = await open(started.port)
  t.equal(before.getPeerCertificate().subject.CN, 'localhost')
  t.equal(after.getPeerCertificate().subject.CN, 'renewed')
  client.write(request)
  t.equal((await client.answer())?.status, 200)
  before.destroy()
  after.destroy()
})

await t.test('a key that does not fit its certificate is refused before it serves', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sealgate-tls-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true })
  })
  copyFileSync(renewed.cert, join(directory, 'cert'))
  copyFileSync(first.key, join(directory, 'key'))
  const files = { cert: join(directory, 'cert'), key: join(directory, 'key'), clientCa: null }
  await t.rejects(readTls(files))
  writeFileSync(files.cert, 'no certificate')
  await t.rejects(readTls(files))
  await t.rejects(readTls({ ...files, cert: join(directory, 'none') }), /listen\.tls\.cert: cannot read .*none: no such file or directory \(ENOENT\)/)
  await t.resolves(readTls({ ...first, clientCa: renewed.cert }))
})

await t.test('a certificate that is swapped by its link, as Kubernetes does it, is noticed', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sealgate-tls-'))
  t.teardown(() => {
    rmSync(directory, { recursive: true })
  })
  const at = (name: string): string => join(directory, name)
  writeFileSync(at('old'), 'old')
  writeFileSync(at('new'), 'newer')
  writeFileSync(at('key'), 'key')
  symlinkSync(at('old'), at('cert'))
  let unwatch: () => void = () => undefined
  await new Promise<void>((resolve) => {
    unwatch = watchTls({ cert: at('cert'), key: at('key'), clientCa: at('key') }, resolve, 20)
    symlinkSync(at('new'), at('next'))
    // Keeps the process awake: the watching itself does not.
    const awake = setInterval(() => undefined, 1000)
    t.teardown(() => {
      clearInterval(awake)
    })
    setTimeout(() => {
      renameSync(at('next'), at('cert'))
    }, 100)
  })
  unwatch()
})

await t.test('client certificates are demanded where an authority is named', async (t) => {
  const clientCa = pem('client-cert.pem')
  const started = await startListener(async () => text('ok'), { tls: await readTls({ ...first, clientCa }) })
  t.teardown(() => started.listener.stop(0))
  const own = { cert: readFileSync(clientCa), key: readFileSync(pem('client-key.pem')) }
  const known = new WireClient(await open(started.port, own))
  known.write(request)
  t.equal((await known.answer())?.status, 200)
  known.socket.destroy()
  for (const options of [{}, { cert: readFileSync(renewed.cert), key: readFileSync(renewed.key) }]) {
    const socket = connect({ port: started.port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    const client = new WireClient(socket)
    client.write(request)
    t.equal(await client.answer(), null, 'closed without an answer')
  }
})

await t.test('handshakes that fail are counted by reason, and told once a minute of each', async (t) => {
  const clientCa = pem('client-cert.pem')
  const reasons: string[] = []
  const started = await startListener(async () => text('ok'), {
    tls: await readTls({ ...first, clientCa }),
    handshakeFailed: (reason) => {
      reasons.push(reason)
    }
  })
  t.teardown(() => started.listener.stop(0))
  const own = { cert: readFileSync(clientCa), key: readFileSync(pem('client-key.pem')) }
  const fails = async (options: ConnectionOptions | string | null): Promise<void> => {
    const before = reasons.length
    const socket = options === null || typeof options === 'string'
      ? plain({ port: started.port, host: '127.0.0.1' })
      : connect({ port: started.port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    socket.on('error', () => undefined)
    if (typeof options === 'string') socket.write(options)
    else if (options === null) socket.end()
    while (reasons.length === before) await turn()
    socket.destroy()
  }
  await fails({})
  await fails({ cert: readFileSync(renewed.cert), key: readFileSync(renewed.key) })
  await fails({ ...own, ALPNProtocols: ['h2'] })
  await fails(request)
  await fails(null)
  t.same(reasons, ['certificate', 'certificate', 'protocol', 'protocol', 'closed'])
  const lines = started.lines.filter(({ msg }) => msg === 'TLS handshake failed')
  t.match(lines, [
    { level: 'warn', reason: 'certificate', code: 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE', address: '127.0.0.1', failures: 1 },
    { reason: 'protocol', code: 'ERR_SSL_NO_APPLICATION_PROTOCOL' }
  ])
  t.equal(lines.length, 2)
})

await t.test('a line has the number of failures since the last one', async (t) => {
  const server = createServer()
  const lines: unknown[] = []
  let now = 0
  const handshakes = new Handshakes({
    failed: () => undefined,
    now: () => now,
    log: createLog({
      level: 'info',
      write: (line) => {
        lines.push(JSON.parse(line))
      }
    })
  })
  handshakes.follow(server)
  const fail = (code: string) => server.emit('tlsClientError', Object.assign(new Error(), { code }), { authorizationError: null })
  for (now of [0, 1000, 59_999, 60_000, 119_999]) fail('ERR_TLS_HANDSHAKE_TIMEOUT')
  // What OpenSSL calls the alert of a client that does not know the gateway's authority.
  fail('ERR_SSL_TLSV1_ALERT_UNKNOWN_CA')
  t.match(lines, [{ reason: 'timeout', address: null, failures: 1 }, { failures: 3 }, { reason: 'refused' }])
  t.equal(lines.length, 3)
})

await t.test('X-Forwarded-Proto is believed from trusted front ends only', async (t) => {
  for (
    const [trustedProxies, header, secure] of [
      [['127.0.0.1'], 'X-Forwarded-Proto: https', 'true'],
      [['127.0.0.0/8'], 'x-forwarded-proto: HTTPS', 'true'],
      [['127.0.0.1'], 'X-Forwarded-Proto: http', 'false'],
      [['127.0.0.1'], 'X-Forwarded-Proto: https, http', 'false'],
      [['127.0.0.1'], 'Forwarded: proto=https', 'false'],
      [['127.0.0.1'], 'X-Other: https', 'false'],
      [[], 'X-Forwarded-Proto: https', 'false'],
      [['127.0.0.2', '10.0.0.0/8', '::1'], 'X-Forwarded-Proto: https', 'false']
    ] as const
  ) {
    const started = await startListener(async (request) => text(`${String(request.secure)} ${request.remoteAddress}`), { trustedProxies, limits: roomyLimits })
    const client = await WireClient.open(started.port)
    client.write(`GET / HTTP/1.1\r\nHost: h\r\n${header}\r\n\r\n`)
    t.equal((await client.answer())?.body.toString(), `${secure} 127.0.0.1`, `${header} from ${trustedProxies.join()}`)
    await started.listener.stop(0)
  }
})
