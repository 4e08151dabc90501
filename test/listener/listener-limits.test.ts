import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as secureConnect } from 'node:tls'
import { Readable } from 'node:stream'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { readTls } from '../../src/listener/tls.ts'
import { asClient, readAll, roomyLimits, startListener, text, WireClient } from '../support/listener.ts'
import { loadUntilClosed } from '../support/steady-load.ts'

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`
/** 1 MB/s over 100 ms: slower clients are disconnected. */
const strict = { ...roomyLimits, minRate: 1_000_000, minRateWindowMs: 100 }
const pem = (name: string): string => join(import.meta.dirname, '../support/tls', name)
const tls = await readTls({ cert: pem('localhost-cert.pem'), key: pem('localhost-key.pem'), clientCa: null })

await t.test('a reader that stalls is cut, and what fed it is freed', async (t) => {
  let freed: () => void = () => undefined
  const closed = new Promise<void>((resolve) => {
    freed = resolve
  })
  const started = await startListener(async () => {
    const body = new Readable({
      read() {
        this.push(Buffer.alloc(65_536))
      }
    })
    body.once('close', () => {
      freed()
    })
    return { status: 200, headers: [['Content-Length', '1000000000000']], body }
  }, { limits: strict })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write(get('/b/k'))
  await client.until('Sealgate')
  client.socket.pause()
  await closed
  await started.listener.stop(5000)
  t.match(started.lines.find((line) => line['msg'] === 'request'), { termination: 'CD', status: 200 })
})

await t.test('a slow store is not blamed on the reader', async (t) => {
  const started = await startListener(async () => {
    const body = Readable.from((async function*() {
      for (let i = 0; i < 10; i += 1) {
        await new Promise((resolve) => setTimeout(resolve, 40))
        yield Buffer.alloc(10)
      }
    })())
    return { status: 200, headers: [['Content-Length', '100']], body }
  }, { limits: strict })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write(get('/b/k'))
  t.match(await client.answer(), { status: 200, whole: true })
  client.socket.destroy()
})

await t.test('a writer that stalls gets RequestTimeout, and its body fails', async (t) => {
  let told: (outcome: string) => void = () => undefined
  const outcome = new Promise<string>((resolve) => {
    told = resolve
  })
  const started = await startListener(async (request) => {
    await readAll(request).then(() => {
      told('ended')
    }, () => {
      told('failed')
    })
    return text('late')
  }, { limits: strict })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write('PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome')
  const answer = await client.answer()
  t.match([answer?.status, answer?.headers.get('connection')], [400, 'close'])
  t.match(answer?.body.toString(), /<Code>RequestTimeout</)
  t.equal(await outcome, 'failed')
  await client.closed()
})

await t.test('a handler that does not read is not blamed on the writer', async (t) => {
  const started = await startListener(async (request) => {
    await new Promise((resolve) => setTimeout(resolve, 400))
    return text(String((await readAll(request)).length))
  }, { limits: strict })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write(Buffer.concat([Buffer.from('PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n'), Buffer.alloc(500_000)]))
  const answer = await client.answer()
  t.match([answer?.status, answer?.body.toString()], [200, '500000'])
  client.socket.destroy()
})

await t.test('a slow, refused upload keeps no client out', async (t) => {
  const started = await startListener(async (request) => {
    asClient(request)
    if (request.method === 'PUT') throw new S3Error('NoSuchBucket')
    return text('ok')
  }, { limits: { ...roomyLimits, requestsInFlight: 1 } })
  t.teardown(() => started.listener.stop(0))
  const trickle = await WireClient.open(started.port)
  trickle.write('PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome')
  t.match(await trickle.answer(), { status: 404, whole: true })
  const timer = setInterval(() => {
    trickle.write('.')
  }, 20)
  const other = await WireClient.open(started.port)
  other.write(get('/'))
  t.match(await other.answer(), { status: 200 })
  t.notOk(trickle.socket.readableEnded, 'what it sends is still swallowed')
  clearInterval(timer)
  trickle.socket.destroy()
  other.socket.destroy()
  const line = () => started.lines.find(({ method }) => method === 'PUT')
  while (line() === undefined) await new Promise((resolve) => setTimeout(resolve, 5))
  t.match(line(), { termination: '--', status: 404, code: 'NoSuchBucket' }, 'nobody has cut it short')
})

await t.test('heads that do not come are not waited for', async (t) => {
  const started = await startListener(async () => text('ok'), { limits: { ...roomyLimits, headersMs: 100, keepAliveMs: 50 } })
  t.teardown(() => started.listener.stop(0))
  const silent = await WireClient.open(started.port)
  t.equal(await silent.answer(), null, 'a connection that says nothing is closed')
  const slow = await WireClient.open(started.port)
  slow.write('GET / HTTP/1.1\r\nHost: h\r\nX-Sl')
  t.match((await slow.answer())?.body.toString(), /<Code>RequestTimeout</)
  await slow.closed()
  const idle = await WireClient.open(started.port)
  idle.write(get('/'))
  t.equal((await idle.answer())?.status, 200)
  t.equal(await idle.answer(), null, 'an idle connection is closed')
})

await t.test('connections beyond the limit: unsigned ones are closed first, then idle ones, never one with a request', async (t) => {
  let release: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const limited: string[] = []
  const started = await startListener(async (request) => {
    if (request.target.rawPath !== '/stranger') asClient(request)
    if (request.target.rawPath === '/held') await held
    return text('ok')
  }, {
    limits: { ...roomyLimits, connections: 3 },
    limited: (limit) => {
      limited.push(limit)
    }
  })
  t.teardown(() => started.listener.stop(0))
  const open = async (path: string | null): Promise<WireClient> => {
    const client = await WireClient.open(started.port)
    if (path !== null) client.write(get(path))
    if (path !== null && path !== '/held') t.equal((await client.answer())?.status, 200)
    return client
  }
  const known = await open('/known')
  const stranger = await open('/stranger')
  await open(null)
  const second = await open('/known')
  await stranger.closed()
  for (let i = 0; i < 5; i += 1) await open(null)
  for (const client of [known, second]) {
    client.write(get('/held'))
  }
  while (started.listener.counts().requestsInFlight < 2) await new Promise((resolve) => setTimeout(resolve, 5))
  await open('/held')
  while (started.listener.counts().requestsInFlight < 3) await new Promise((resolve) => setTimeout(resolve, 5))
  const surplus = connect(started.port, '127.0.0.1')
  surplus.on('error', () => undefined)
  await once(surplus, 'close')
  release()
  for (const client of [known, second]) t.equal((await client.answer())?.status, 200, 'requests under way go on')
  await open('/known')
  t.same([...new Set(limited)], ['connections'])
  limited.length = 0
  started.listener.reloadLimits({ ...roomyLimits, connections: 4 })
  await open('/known')
  t.equal(started.listener.counts().connections, 4)
  t.same(limited, [], 'there is room for one more')
  started.listener.reloadLimits({ ...roomyLimits, connections: 3 })
  t.equal(started.listener.counts().connections, 4, 'none is closed before a new one comes')
  await open('/known')
  t.equal(started.listener.counts().connections, 3)
  t.same(limited, ['connections', 'connections'])
})

await t.test('regression: the connection of a form that has lost its place can be closed for another', async (t) => {
  const limited: string[] = []
  const started = await startListener(async (request) => {
    if (request.method !== 'POST') return text('ok')
    request.admit?.({ kind: 'form' })
    if (request.target.rawPath === '/read') await readAll(request)
    // More than the kernel takes for a client that does not read: the connection stays when its exchange has been ended.
    return text('a'.repeat(request.target.rawPath === '/read' ? 1 : 32 * 1024 * 1024))
  }, {
    limits: { ...roomyLimits, connections: 2, unauthenticatedRequests: 1 },
    limited: (limit) => {
      limited.push(limit)
    }
  })
  t.teardown(() => started.listener.stop(0))
  const form = (path: string): string => `POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n`
  const first = await WireClient.open(started.port)
  first.write(form('/unread'))
  await first.until('Sealgate')
  first.socket.pause()
  const second = await WireClient.open(started.port)
  second.write(form('/read'))
  while (limited.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  t.same([limited, started.listener.counts().connections], [['forms'], 2])
  const third = await WireClient.open(started.port)
  third.write(get('/b/k'))
  t.equal((await third.answer())?.status, 200)
  second.write('x'.repeat(10))
  t.equal((await second.answer())?.status, 200, 'a form that has its place keeps its connection')
  first.socket.resume()
  await first.closed()
  t.same(limited, ['forms', 'connections'])
})

await t.test('endless handshakes keep no client out', async (t) => {
  const started = await startListener(async () => text('ok'), { tls, limits: { ...roomyLimits, connections: 4 } })
  t.teardown(() => started.listener.stop(0))
  const silent = Array.from({ length: 12 }, () => connect(started.port, '127.0.0.1').on('error', () => undefined))
  await Promise.all(silent.slice(0, 4).map(async (socket) => once(socket, 'close')))
  const client = secureConnect({ port: started.port, host: '127.0.0.1', rejectUnauthorized: false })
  client.write(get('/'))
  const [answer] = await once(client, 'data') as [Buffer]
  t.match(answer.toString(), /^HTTP\/1\.1 200 /)
  t.ok(started.listener.counts().connections <= 4)
  for (const socket of [client, ...silent]) socket.destroy()
})

await t.test('a graceful stop lets transfers finish, closes idle connections, and takes no more', async (t) => {
  const held = Promise.withResolvers<undefined>()
  const waits = [Promise.resolve(), held.promise]
  const started = await startListener(async () => {
    await waits.shift()
    return text('done')
  })
  const idle = await WireClient.open(started.port)
  idle.write(get('/'))
  await idle.answer()
  const busy = await WireClient.open(started.port)
  busy.write(get('/'))
  while (started.listener.counts().requestsInFlight === 0) await new Promise((resolve) => setImmediate(resolve))
  const stopped = started.listener.stop(20_000)
  await idle.closed()
  const late = connect(started.port, '127.0.0.1')
  const [refused] = await once(late, 'error') as [NodeJS.ErrnoException]
  t.equal(refused.code, 'ECONNREFUSED')
  held.resolve(undefined)
  const answer = await busy.answer()
  t.match([answer?.status, answer?.body.toString(), answer?.headers.get('connection')], [200, 'done', 'close'])
  t.equal(await stopped, 'drained')
})

await t.test('a stop serves the first request of every connection that was there before, also of those that Node has not taken yet', async (t) => {
  for (const material of [null, tls]) {
    const started = await startListener(async () => text('done'), { tls: material })
    const open = (): Socket =>
      material === null
        ? connect(started.port, '127.0.0.1')
        : secureConnect({ port: started.port, host: '127.0.0.1', rejectUnauthorized: false })
    const taken = new WireClient(open())
    while (started.listener.counts().connections === 0) await new Promise((resolve) => setImmediate(resolve))
    const clients = [taken, ...Array.from({ length: 20 }, () => new WireClient(open()))]
    // Of connections that Node makes on the next tick: the system has them, and the listener has not.
    await new Promise<void>((resolve) => {
      process.nextTick(resolve)
    })
    t.equal(started.listener.counts().connections, 1)
    // Longer than usual: on a busy machine 20 handshakes take seconds.
    const stopped = started.listener.stop(60_000, 30_000)
    for (let refused = false; !refused;) {
      const late = connect(started.port, '127.0.0.1')
      refused = await once(late, 'connect').then(() => false, () => true)
      late.destroy()
    }
    for (const client of clients) client.write(get('/'))
    for (const client of clients) {
      const answer = await client.answer()
      t.match([answer?.status, answer?.body.toString(), answer?.headers.get('connection')], [200, 'done', 'close'])
    }
    t.equal(await stopped, 'drained')
  }
})

await t.test('a stop under clients that wait for each answer before they connect again loses none of them', async (t) => {
  for (const material of [null, tls]) {
    const started = await startListener(async () => text('done'), { tls: material })
    let stopped: Promise<string> = Promise.resolve('')
    const { lost } = await loadUntilClosed({
      port: started.port,
      secure: material !== null,
      short: 30,
      keep: 0,
      pause: 0,
      target: '/b/k',
      then: () => {
        stopped = started.listener.stop(20_000)
      }
    })
    t.same(lost, [])
    t.equal(await stopped, 'drained')
  }
})

await t.test('a connection that never has a request does not hold up a stop', async (t) => {
  const started = await startListener(async () => text('done'))
  const silent = await WireClient.open(started.port)
  t.equal(await started.listener.stop(20_000), 'drained')
  await silent.closed()
})

await t.test('a listener that drains serves connections, old and new, once more, and leaves idle ones open', async (t) => {
  const started = await startListener(async () => text('done'))
  const [idle, used] = [await WireClient.open(started.port), await WireClient.open(started.port)]
  for (const client of [idle, used]) {
    client.write(get('/'))
    t.equal((await client.answer())?.headers.get('connection'), 'keep-alive')
  }
  const cut = Promise.withResolvers<undefined>()
  const drained = started.listener.drain(60_000, cut.promise)
  for (const client of [used, await WireClient.open(started.port)]) {
    client.write(get('/'))
    const answer = await client.answer()
    t.match([answer?.status, answer?.body.toString(), answer?.headers.get('connection')], [200, 'done', 'close'])
    await client.closed()
  }
  t.equal(started.listener.counts().connections, 1)
  cut.resolve(undefined)
  await drained
  t.equal(await started.listener.stop(20_000), 'drained')
  await idle.closed()
})

await t.test('what does not finish within the grace period is broken, visibly', async (t) => {
  const started = await startListener(async () => ({
    status: 200,
    headers: [['Content-Length', '100']],
    body: new Readable({
      read() {
        if (this.readableLength === 0) this.push('x')
      }
    })
  }))
  const client = await WireClient.open(started.port)
  client.write(get('/'))
  await client.until('Sealgate')
  t.equal(await started.listener.stop(10), 'cut')
  t.equal((await client.answer())?.whole, false)
})
