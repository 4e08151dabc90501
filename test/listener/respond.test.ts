import { once } from 'node:events'
import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import type { HttpRequest, HttpResponse } from '../../src/http/message.ts'
import { StagedReadable } from '../../src/http/stage.ts'
import { asClient, readAll, roomyLimits, startListener, text, WireClient, type Started } from '../support/listener.ts'

const get = (path: string, method = 'GET', version = '1.1'): string => `${method} ${path} HTTP/${version}\r\nHost: h\r\n\r\n`

async function one(started: Started, bytes: string, method = 'GET') {
  const client = await WireClient.open(started.port)
  client.write(bytes)
  const answer = await client.answer(method)
  return { client, answer }
}

function codeIn(body: Buffer | undefined): string | null {
  return /<Code>([^<]+)<\/Code>/.exec(body?.toString() ?? '')?.[1] ?? null
}

/** A body that gives some bytes and then fails. */
function failing(after: number, error: Error): Readable {
  let given = false
  return new Readable({
    read() {
      if (!given && after > 0) {
        given = true
        this.push(Buffer.alloc(after, 'x'))
      } else {
        setImmediate(() => this.destroy(error))
      }
    }
  })
}

const streamed = (body: Readable, length: number): HttpResponse => ({ status: 200, headers: [['Content-Length', String(length)]], body })

await t.test('a body that fails before its first byte becomes an error status', async (t) => {
  const started = await startListener(async (request) =>
    request.target.rawPath === '/known'
      ? streamed(failing(0, new S3Error('SealgateIntegrityError')), 10)
      : streamed(failing(0, new Error('secret-in-message')), 10)
  )
  t.teardown(() => started.listener.stop(0))
  const known = await one(started, get('/known'))
  t.match([known.answer?.status, codeIn(known.answer?.body)], [500, 'SealgateIntegrityError'])
  t.equal(known.answer?.headers.get('connection'), 'keep-alive', 'the connection is in step and stays')
  known.client.write(get('/other'))
  const other = await known.client.answer()
  t.match([other?.status, codeIn(other?.body)], [500, 'InternalError'])
  t.notMatch(other?.body.toString(), /secret/)
  t.notMatch(JSON.stringify(started.lines), /secret-in-message/)
})

await t.test('a body that fails later never looks whole', async (t) => {
  const lengths = {
    '/fails': () => streamed(failing(1000, new S3Error('SealgateIntegrityError')), 2000),
    '/short': () => streamed(Readable.from([Buffer.alloc(1000)]), 2000),
    '/long': () => streamed(Readable.from([Buffer.alloc(1000), Buffer.alloc(1000)]), 1500),
    '/empty': () => streamed(Readable.from([]), 5)
  }
  const started = await startListener(async (request) => {
    const make = lengths[request.target.rawPath as keyof typeof lengths]
    return make()
  })
  t.teardown(() => started.listener.stop(0))
  for (const path of Object.keys(lengths)) {
    const { client, answer } = await one(started, get(path) + get(path))
    t.not(answer?.whole === true && answer.status === 200, true, path)
    t.ok((answer?.body.length ?? 0) <= 2000)
    await client.closed()
  }
  t.same(started.lines.filter((line) => line['msg'] === 'request').map((line) => line['termination']), ['SD', 'SD', 'SD', 'SD'])
})

await t.test('a streamed body without a length, and headers that cannot be sent, are errors of ours', async (t) => {
  const started = await startListener(async (request) =>
    request.target.rawPath === '/length'
      ? { status: 200, headers: [], body: Readable.from([Buffer.from('x')]) }
      : { status: 200, headers: [['X-Bad', 'a\r\nb: c']], body: null }
  )
  t.teardown(() => started.listener.stop(0))
  for (const path of ['/length', '/header']) {
    const { client, answer } = await one(started, get(path))
    t.match([answer?.status, codeIn(answer?.body)], [500, 'InternalError'], path)
    client.socket.destroy()
  }
})

await t.test('heads, bodies and what the listener adds', async (t) => {
  const started = await startListener(async (request) => {
    switch (request.target.rawPath) {
      case '/none':
        return { status: 204, headers: [['Content-Length', '5'], ['Connection', 'upgrade'], ['x-amz-request-id', 'theirs']], body: null }
      case '/304':
        throw new S3Error('NotModified', { headers: [['ETag', '"e"']] })
      case '/missing':
        throw new S3Error('NoSuchKey', { fields: { Key: 'a<b' } })
      case '/head':
        return { status: 200, headers: [['Content-Length', '123'], ['x-amz-meta-u', 'Ã©']], body: null }
      case '/headstream':
        return streamed(Readable.from([Buffer.alloc(7)]), 7)
      default:
        return streamed(Readable.from([Buffer.from('abc'), Buffer.from('def')]), 6)
    }
  })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  const ask = async (path: string, method = 'GET') => {
    client.write(get(path, method))
    return client.answer(method)
  }
  const none = await ask('/none')
  t.match([none?.status, none?.headers.has('content-length'), none?.headers.get('server')], [204, false, 'Sealgate'])
  t.match(none?.headers.get('x-amz-request-id'), /^[0-9A-F]{16}$/)
  t.ok(none?.headers.has('date') === true && none.headers.has('x-amz-id-2'))
  const unchanged = await ask('/304')
  t.match([unchanged?.status, unchanged?.headers.get('etag'), unchanged?.headers.has('content-type')], [304, '"e"', false])
  const missing = await ask('/missing')
  t.equal(missing?.status, 404)
  t.match(missing?.body.toString(), /<Key>a&lt;b<\/Key><Resource>\/missing<\/Resource><RequestId>[0-9A-F]{16}</)
  t.match(await ask('/missing', 'HEAD'), { status: 404, body: Buffer.alloc(0) })
  t.match((await ask('/head', 'HEAD'))?.headers.get('content-length'), '123')
  t.match((await ask('/headstream', 'HEAD'))?.headers.get('content-length'), '7')
  t.equal((await ask('/stream'))?.body.toString(), 'abcdef', 'all on one connection, in step')
  client.socket.destroy()
})

await t.test('answers that take long keep the client waiting, and tell errors inside the 200', async (t) => {
  const document = Buffer.from('<?xml version="1.0" encoding="UTF-8"?>\n<Done/>')
  let known: [string, string][] = []
  const later = async (path: string): Promise<Buffer> => {
    known = [['x-amz-version-id', 'early']]
    if (path.startsWith('/slow')) await new Promise((resolve) => setTimeout(resolve, 100))
    known = [['x-amz-version-id', 'late']]
    if (path.endsWith('bad')) throw new S3Error('InvalidPart')
    return document
  }
  const start = async (heartbeatMs: number): Promise<Started> => {
    const made = await startListener(
      async (request) => ({
        status: 200,
        headers: [['Content-Type', 'application/xml']],
        body: null,
        pending: { headers: () => known, document: later(request.target.rawPath) }
      }),
      { heartbeatMs }
    )
    t.teardown(() => made.listener.stop(0))
    return made
  }
  // A busy machine makes the quick ones slow: they meet a heartbeat that never comes.
  const [calm, started] = [await start(600_000), await start(10)]
  const quick = await one(calm, get('/good'))
  t.match([quick.answer?.status, quick.answer?.body.toString(), quick.answer?.headers.get('content-length')], [200, document.toString(), '46'])
  t.match([(await one(calm, get('/bad'))).answer?.status], [400], 'an early error has its own status')
  t.equal(quick.answer?.headers.get('x-amz-version-id'), 'late')
  const slow = await one(started, get('/slow'))
  t.match(slow.answer?.body.toString(), /^<\?xml version="1.0" encoding="UTF-8"\?>\n +<Done\/>$/)
  t.equal(slow.answer?.headers.get('x-amz-version-id'), 'early', 'what is known when the head goes out')
  const bad = await one(started, get('/slowbad'))
  t.equal(bad.answer?.status, 200)
  t.match(bad.answer?.body.toString(), /^<\?xml [^>]+\?>\n +<Error><Code>InvalidPart</)
  const old = await one(started, get('/slow', 'GET', '1.0'))
  t.match([old.answer?.headers.get('content-length'), old.answer?.headers.has('transfer-encoding')], ['46', false], 'HTTP/1.0 gets it in one piece')
  const codes = ({ lines }: Started): unknown[] => lines.filter((line) => line['msg'] === 'request').map((line) => line['code'])
  t.same([codes(calm), codes(started)], [[null, 'InvalidPart'], [null, 'InvalidPart', null]])
})

await t.test('100-continue is sent when the handler asks for it, and not before', async (t) => {
  let mayContinue: () => void = () => undefined
  const asked = new Promise<HttpRequest>((resolve) => {
    mayContinue = () => undefined
    void startListener(async (request) => {
      if (request.target.rawPath === '/denied') throw new S3Error('AccessDenied')
      await new Promise<void>((go) => {
        mayContinue = go
        resolve(request)
      })
      request.sendContinue()
      request.sendContinue()
      return text((await readAll(request)).toString())
    }).then((started) => {
      ready(started)
    })
  })
  let ready: (started: Started) => void = () => undefined
  const started = await new Promise<Started>((resolve) => {
    ready = resolve
  })
  t.teardown(() => started.listener.stop(0))
  const put = (path: string) => `PUT ${path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`

  const client = await WireClient.open(started.port)
  client.write(put('/allowed'))
  const request = await asked
  t.equal(client.socket.bytesRead, 0, 'nothing was sent while the handler had not decided')
  mayContinue()
  t.equal((await client.answer())?.status, 100)
  client.write('hello')
  const answer = await client.answer()
  t.match([answer?.status, answer?.body.toString(), answer?.headers.get('connection')], [200, 'hello', 'keep-alive'])
  t.equal(request.contentLength, 5)
  client.socket.destroy()

  const denied = await one(started, put('/denied'))
  t.match([denied.answer?.status, denied.answer?.headers.get('connection')], [403, 'close'], 'the error comes instead of the 100')
  await denied.client.closed()
})

await t.test('an early answer to an unread body reaches the client, and the connection closes', async (t) => {
  const started = await startListener(async () => {
    throw new S3Error('AccessDenied')
  })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write(Buffer.concat([Buffer.from('PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n'), Buffer.alloc(3_000_000, 'G')]))
  client.write(get('/probe'))
  const answer = await client.answer()
  t.match([answer?.status, answer?.whole, answer?.headers.get('connection')], [403, true, 'close'])
  t.equal(await client.answer(), null)
})

await t.test('a handler whose pipeline destroys the body in mid-upload can still answer', async (t) => {
  const started = await startListener(async (request) => {
    await once(request.body, 'readable')
    request.body.destroy()
    throw new S3Error('BadDigest')
  })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write(Buffer.concat([Buffer.from('PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n'), Buffer.alloc(400_000)]))
  t.match(await client.answer(), { status: 400, whole: true })
  client.socket.destroy()
})

await t.test('a client that sends its whole body before it looks for an answer gets one', async (t) => {
  const size = 7_000_000
  const started = await startListener(async (request) => {
    if (request.target.rawPath === '/read') {
      const body = new StagedReadable(request.body, [], { destroySource: false })
      await once(body, 'readable')
      body.destroy()
    } else {
      await delay(20)
    }
    throw new S3Error('AccessDenied')
  })
  t.teardown(() => started.listener.stop(0))
  for (
    const [name, head] of [
      ['whose body was read in part', `PUT /read HTTP/1.1\r\nHost: h\r\nContent-Length: ${size}\r\n\r\n`],
      ['that did not wait for the 100', `PUT /b/k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: ${size}\r\n\r\n`]
    ] as const
  ) {
    const client = await WireClient.open(started.port)
    client.socket.pause()
    const failed = await new Promise((resolve) => {
      client.socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(size)]), resolve)
    })
    client.socket.resume()
    t.equal(failed ?? null, null, name)
    t.match(await client.answer(), { status: 403, whole: true }, name)
    await client.closed()
  }
})

await t.test('a client that goes away aborts the request, and its body never ends', async (t) => {
  let told: (value: string) => void = () => undefined
  const outcome = new Promise<string>((resolve) => {
    told = resolve
  })
  let arrived: () => void = () => undefined
  const underWay = new Promise<void>((resolve) => {
    arrived = resolve
  })
  const started = await startListener(async (request) => {
    request.body.once('data', () => {
      arrived()
    })
    const body = await readAll(request).then(() => 'ended', (error: unknown) => error instanceof S3Error ? error.code : 'other')
    told(`${body} ${request.signal.aborted ? 'aborted' : 'going'}`)
    return text('late')
  })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write('PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf')
  await underWay
  client.socket.destroy()
  t.equal(await outcome, 'IncompleteBody aborted')
  await started.listener.stop(1000)
  t.match(started.lines.find((line) => line['msg'] === 'request'), { termination: 'CA', bytesIn: 4 })
})

await t.test('a client that goes away in mid-download frees the body', async (t) => {
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
    return streamed(body, 1e12)
  })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  client.write(get('/b/k'))
  await client.until('Sealgate')
  client.socket.destroy()
  await closed
  await started.listener.stop(1000)
  t.match(started.lines.find((line) => line['msg'] === 'request'), { termination: 'CD', status: 200 })
  t.notOk(started.lines.some((line) => line['msg'] === 'failure'), 'which is nothing to wake an operator for')
})

await t.test('too many requests at once: 503 SlowDown with Retry-After, then recovery', async (t) => {
  let release: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const started = await startListener(async (request) => {
    asClient(request)
    if (request.target.rawPath === '/held') await held
    return text('ok')
  }, { limits: { ...roomyLimits, requestsInFlight: 1 } })
  t.teardown(() => started.listener.stop(0))
  const first = await WireClient.open(started.port)
  first.write(get('/held'))
  while (started.listener.counts().requestsInFlight === 0) await new Promise((resolve) => setImmediate(resolve))
  const { client, answer } = await one(started, get('/b'))
  t.match([answer?.status, codeIn(answer?.body), answer?.headers.get('retry-after')], [503, 'SlowDown', '1'])
  release()
  t.equal((await first.answer())?.status, 200)
  while (started.listener.counts().requestsInFlight > 0) await new Promise((resolve) => setImmediate(resolve))
  client.write(get('/b'))
  t.equal((await client.answer())?.status, 200)
})
