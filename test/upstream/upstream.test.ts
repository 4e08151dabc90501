import { once } from 'node:events'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setImmediate as tick, setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { readAll } from '../../src/http/stage.ts'
import { emptySha256 } from '../../src/http/checksums.ts'
import { Signer } from '../../src/upstream/signer.ts'
import type { ExchangeReport } from '../../src/upstream/exchange-report.ts'
import { accessKeyId, ask, rawStore, secretAccessKey, upstreamTo } from '../support/raw-store.ts'
import { codeOf } from '../support/error-code.ts'

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "e"\r\n\r\nok'
const answer = (text: string) => (socket: Socket) => {
  socket.write(text)
}
const errorAnswer = (status: number, code: string) => {
  const body = `<Error><Code>${code}</Code><StringToSign>SECRET</StringToSign></Error>`
  return `HTTP/1.1 ${status} X\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}
const text = async (body: Readable) => (await readAll(body, 1 << 20, () => new Error('too large'))).toString('latin1')

await t.test('the request that is sent', async (t) => {
  const store = await rawStore(t, { onRequest: answer(ok) })
  const now = new Date('2026-01-02T03:04:05Z')
  const upstream = upstreamTo(t, store.endpoint, { now: () => now })
  const body = Buffer.from('hello')
  const request = ask({
    method: 'PUT',
    key: '/a//../ü %2F',
    query: [['tagging', null], ['versionId', 'a+b']],
    body,
    headers: [['content-type', 'text/plain; x="y"'], ['x-amz-meta-a', '1'], ['x-amz-meta-a', '2'], ['x-amz-meta-u', 'Ã¼']]
  })
  const response = await upstream.request(request)
  t.equal(response.status, 200)
  t.equal(response.headers.get('etag'), '"e"')
  t.equal(await text(response.body), 'ok')
  const [seen] = store.seen
  t.equal(seen?.path, '/bucket//a//../%C3%BC%20%252F?tagging&versionId=a%2Bb')
  t.equal(seen?.body.toString(), 'hello')
  const { headers, signature } = await new Signer('us-east-1', () => now).sign({
    method: 'PUT',
    host: `127.0.0.1:${store.port}`,
    path: '/bucket//a//../%C3%BC%20%252F',
    query: request.query,
    headers: { 'content-type': 'text/plain; x="y"', 'x-amz-meta-a': '1,2', 'x-amz-meta-u': 'Ã¼' },
    payloadHash: createHash('sha256').update(body).digest('hex')
  }, { accessKeyId, secretAccessKey })
  t.equal(seen?.headers.get('authorization'), headers['authorization'])
  t.match(seen?.headers.get('authorization'), new RegExp(signature))
  t.same([...seen?.headers.keys() ?? []].sort(), [
    'authorization',
    'connection',
    'content-length',
    'content-type',
    'host',
    'x-amz-content-sha256',
    'x-amz-date',
    'x-amz-meta-a',
    'x-amz-meta-u'
  ])
  t.equal(seen?.headers.get('x-amz-meta-u'), 'Ã¼', 'bytes, not characters')
})

await t.test('payload hashes, lengths and identities', async (t) => {
  const store = await rawStore(t, { onRequest: answer(ok) })
  const upstream = upstreamTo(t, store.endpoint)
  const send = async (parts: Parameters<typeof ask>[0]) => {
    await text((await upstream.request(ask(parts))).body)
    return store.seen.at(-1)!
  }
  const get = await send({ method: 'GET' })
  t.equal(get.headers.get('x-amz-content-sha256'), emptySha256)
  t.equal(get.headers.get('accept-encoding'), 'identity')
  t.notMatch(get.headers.get('authorization'), /accept-encoding/, 'proxies rewrite it, so it is not signed')
  t.notOk(get.headers.has('content-length'))
  t.equal((await send({ method: 'PUT' })).headers.get('content-length'), '0')
  t.equal((await send({ method: 'POST', body: Buffer.alloc(0) })).headers.get('content-length'), '0')
  const stream = await send({ method: 'PUT', body: Readable.from([Buffer.from('ab'), Buffer.from('cd')]), contentLength: 4 })
  t.equal(stream.headers.get('x-amz-content-sha256'), 'UNSIGNED-PAYLOAD')
  t.equal(stream.headers.get('content-length'), '4')
  t.equal(stream.body.toString(), 'abcd')
  const empty = await send({ method: 'PUT', body: Readable.from([]), contentLength: 0 })
  t.same([empty.headers.get('content-length'), empty.headers.get('x-amz-content-sha256')], ['0', emptySha256])
  const client = await send({ method: 'GET', identity: { accessKeyId: 'CLIENT', secretAccessKey: 's', sessionToken: 'tok' } })
  t.match(client.headers.get('authorization'), /Credential=CLIENT\//)
  t.equal(client.headers.get('x-amz-security-token'), 'tok')
  const anonymous = await send({ method: 'GET', identity: null })
  t.notOk([...anonymous.headers.keys()].some((name) => name.startsWith('x-amz-') || name === 'authorization'))
})

await t.test('signed chunks on request', async (t) => {
  const store = await rawStore(t, { onRequest: answer(ok) })
  const upstream = upstreamTo(t, store.endpoint, { signStreams: true })
  const data = Buffer.alloc(70_000, 'd')
  await text((await upstream.request(ask({ method: 'PUT', body: Readable.from([data.subarray(0, 10), data.subarray(10)]), contentLength: data.length }))).body)
  const [seen] = store.seen
  t.equal(seen?.headers.get('x-amz-content-sha256'), 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD')
  t.equal(seen?.headers.get('x-amz-decoded-content-length'), '70000')
  t.match(seen?.headers.get('authorization'), /x-amz-decoded-content-length/)
  t.notOk(seen?.headers.has('content-encoding'), 'it would be stored with the object')
  t.match(
    seen?.body.toString('latin1'),
    /^10000;chunk-signature=[0-9a-f]{64}\r\nd+\r\n1170;chunk-signature=[0-9a-f]{64}\r\nd+\r\n0;chunk-signature=[0-9a-f]{64}\r\n\r\n$/
  )
  t.equal(seen?.body.length, Number(seen?.headers.get('content-length')))
})

await t.test('an answer with the checksum of another body acknowledges nothing, and its connection ends', async (t) => {
  const saying = (checksum: string) => ok.replace('\r\n\r\n', `\r\nx-amz-checksum-crc32: ${checksum}\r\n\r\n`)
  const digits = Buffer.from('123456789')
  for (
    const [name, body, signStreams] of [['buffer', () => digits, false], ['stream', () => Readable.from([digits]), false], [
      'signed stream',
      () => Readable.from([digits]),
      true
    ]] as const
  ) {
    const store = await rawStore(t, {
      onRequest: (socket, { connection }) => {
        socket.write(saying(connection === 1 ? 'AAAAAA==' : 'y/Q5Jg=='))
      }
    })
    const upstream = upstreamTo(t, store.endpoint, { signStreams }, {}, { connections: 1 })
    const put = () => codeOf(upstream.request(ask({ method: 'PUT', body: body(), contentLength: 9, checksum: 'crc32' })))
    t.equal(await put(), 'SealgateBadUpstream', name)
    t.equal(await put(), 'ok', name)
    t.equal(store.connections(), 2, name)
  }
})

await t.test('a checksum goes before a Buffer and behind a stream', async (t) => {
  const store = await rawStore(t, { onRequest: answer(ok) })
  const [plain, signing] = [upstreamTo(t, store.endpoint), upstreamTo(t, store.endpoint, { signStreams: true })]
  const send = async (upstream: typeof plain, body: Buffer | Readable, contentLength: number) => {
    const request = ask({ method: 'PUT', body, contentLength, checksum: 'crc32', headers: [['content-encoding', 'gzip']] })
    await text((await upstream.request(request)).body)
    return store.seen.at(-1)!
  }
  const of = (seen: Awaited<ReturnType<typeof send>>) =>
    ['x-amz-content-sha256', 'x-amz-sdk-checksum-algorithm', 'x-amz-checksum-crc32', 'x-amz-trailer', 'x-amz-decoded-content-length', 'content-encoding'].map((
      name
    ) => seen.headers.get(name))
  const data = Buffer.from('123456789')
  const digest = createHash('sha256').update(data).digest('hex')
  const whole = await send(plain, data, 9)
  t.same(of(whole), [digest, 'CRC32', 'y/Q5Jg==', undefined, undefined, 'gzip'])
  t.equal(whole.body.toString(), '123456789')
  t.same(of(await send(plain, Readable.from([]), 0)), [emptySha256, 'CRC32', 'AAAAAA==', undefined, undefined, 'gzip'], 'an empty stream is none')
  for (const [upstream, word] of [[plain, 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'], [signing, 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER']] as const) {
    const seen = await send(upstream, Readable.from([data.subarray(0, 4), data.subarray(4)]), 9)
    t.same(of(seen), [word, 'CRC32', undefined, 'x-amz-checksum-crc32', '9', 'gzip'], 'aws-chunked would be stored with the object')
    t.match(seen.headers.get('authorization'), /x-amz-trailer/)
    t.match(seen.body.toString('latin1'), /^9(;chunk-signature=[0-9a-f]{64})?\r\n123456789\r\n0.*\r\nx-amz-checksum-crc32:y\/Q5Jg==\r\n/)
    t.equal(seen.body.length, Number(seen.headers.get('content-length')))
  }
})

await t.test('HEAD keeps its connection; 204 and 304 have no body', async (t) => {
  const store = await rawStore(t, {
    onRequest: (socket, { path }) => {
      socket.write(
        path.endsWith('head') ?
          'HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 12345\r\n\r\n'
          : `HTTP/1.1 ${path.slice(-3)} X\r\nETag: "e"\r\n\r\n`
      )
    }
  })
  const upstream = upstreamTo(t, store.endpoint, {}, {}, { connections: 1 })
  for (let i = 0; i < 5; i += 1) {
    const head = await upstream.request(ask({ method: 'HEAD', key: 'head' }))
    t.equal(head.headers.get('content-length'), '12345')
    t.equal(await text(head.body), '')
  }
  for (const key of ['304', '204']) {
    const { status, body } = await upstream.request(ask({ method: 'GET', key }))
    t.equal(status, Number(key))
    t.equal(await text(body), '')
  }
  t.equal(store.connections(), 1)
})

await t.test('errors of the store are handed on, body and all; those about our own credentials are not', async (t) => {
  const store = await rawStore(t, {
    onRequest: (socket, { path }) => {
      socket.write(errorAnswer(Number(path.slice(-3)), path.split('/')[2]?.slice(0, -3) ?? ''))
    }
  })
  const refused: string[] = []
  const upstream = upstreamTo(t, store.endpoint, { onRefused: (code) => refused.push(code) })
  for (const [status, code] of [[403, 'AccessDenied'], [404, 'NoSuchKey'], [503, 'SlowDown'], [500, 'InternalError'], [412, 'PreconditionFailed']] as const) {
    const response = await upstream.request(ask({ method: 'GET', key: `${code}${status}` }))
    t.equal(response.status, status)
    t.match(await text(response.body), `<Code>${code}</Code>`)
  }
  const own = ['SignatureDoesNotMatch', 'InvalidAccessKeyId', 'RequestTimeTooSkewed', 'ExpiredToken', 'InvalidToken', 'AuthorizationHeaderMalformed']
  for (const code of own) {
    const error = await upstream.request(ask({ method: 'GET', key: `${code}403` })).catch((e: unknown) => e)
    t.ok(error instanceof S3Error && error.code === 'SealgateBadUpstream', code)
    t.notMatch((error as Error).message, /SECRET/)
  }
  t.same(refused, own)
})

await t.test('more requests than connections wait in line, then run; a longer line is SlowDown', async (t) => {
  let busy = 0
  let most = 0
  const store = await rawStore(t, {
    onRequest: (socket) => {
      busy += 1
      most = Math.max(most, busy)
      setTimeout(() => {
        busy -= 1
        socket.write(ok)
      }, 5)
    }
  })
  const upstream = upstreamTo(t, store.endpoint, { lineLimit: 10 }, {}, { connections: 3 })
  const codes = await Promise.all(Array.from({ length: 20 }, async () => codeOf(upstream.request(ask({ method: 'GET' })).then(async ({ body }) => text(body)))))
  t.same([codes.filter((c) => c === 'ok').length, codes.filter((c) => c === 'SlowDown').length], [13, 7])
  t.equal(most, 3)
  const control = upstream.request(ask({ method: 'HEAD', pool: 'control' }))
  await text((await control).body)
  t.same(upstream.stats().map(({ pool, inFlight, waiting }) => [pool, inFlight, waiting]), [['data', 0, 0], ['source', 0, 0], ['control', 0, 0], [
    'preflight',
    0,
    0
  ]])
})

await t.test('one retry, on a new connection, only where it is asked for and nothing came back', async (t) => {
  for (const [retry, body, times] of [[true, null, 2], [true, Buffer.from('b'), 2], [false, null, 1], [true, 'stream', 1]] as const) {
    const store = await rawStore(t, {
      onRequest: (socket, { connection }) => {
        if (connection === 1) socket.resetAndDestroy()
        else socket.write(ok)
      }
    })
    const upstream = upstreamTo(t, store.endpoint)
    const parts = body === 'stream' ? { body: Readable.from([Buffer.from('b')]), contentLength: 1 } : { body }
    const code = await codeOf(upstream.request(ask({ method: 'PUT', retry, ...parts })).then(async (r) => text(r.body)))
    t.same([code, store.seen.length], [times === 2 ? 'ok' : 'ServiceUnavailable', times], `${String(retry)} ${String(body)}`)
  }
  const always = await rawStore(t, {
    onRequest: (socket) => {
      socket.resetAndDestroy()
    }
  })
  t.equal(await codeOf(upstreamTo(t, always.endpoint).request(ask({ method: 'GET', retry: true }))), 'ServiceUnavailable')
  t.equal(always.seen.length, 2, 'one retry, not more')
  const half = await rawStore(t, {
    onRequest: (socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Le')
    }
  })
  t.not(await codeOf(upstreamTo(t, half.endpoint).request(ask({ method: 'GET', retry: true }))), 'ok')
  t.equal(half.seen.length, 1, 'something came back')
})

await t.test('no server at the address', async (t) => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  const reports: ExchangeReport[] = []
  const upstream = upstreamTo(t, `http://127.0.0.1:${port}`, { onExchange: (r) => reports.push(r) })
  t.equal(await codeOf(upstream.request(ask({ method: 'GET', retry: true }))), 'ServiceUnavailable')
  t.same(reports.map(({ error, status }) => [error, status]), [['ServiceUnavailable', null], ['ServiceUnavailable', null]])
})

await t.test('virtual-host style connects to the host of the bucket', async (t) => {
  const store = await rawStore(t, { onRequest: answer(ok) })
  const asked: string[] = []
  const upstream = upstreamTo(
    t,
    `http://store.test:${store.port}`,
    {
      lookup: (name, options, done) => {
        asked.push(name)
        if (options.all === true) done(null, [{ address: '127.0.0.1', family: 4 }])
        else done(null, '127.0.0.1', 4)
      }
    },
    {},
    { style: 'virtual-host' }
  )
  for (const bucket of ['one', 'two', null]) await text((await upstream.request(ask({ method: 'GET', bucket, key: bucket === null ? null : 'k' }))).body)
  t.same(store.seen.map(({ path, headers }) => [headers.get('host'), path]), [
    [`one.store.test:${store.port}`, '/k'],
    [`two.store.test:${store.port}`, '/k'],
    [`store.test:${store.port}`, '/']
  ])
  t.equal(await codeOf(upstream.request(ask({ method: 'GET', bucket: 'ONE' }))), 'InvalidBucketName', 'regression: it would be the host of bucket one')
  t.same(asked, ['one.store.test', 'two.store.test', 'store.test'])
  t.equal(store.seen.length, 3)
})

await t.test('reports', async (t) => {
  const store = await rawStore(t, { onRequest: answer(ok) })
  const reports: ExchangeReport[] = []
  const upstream = upstreamTo(t, store.endpoint, { onExchange: (r) => reports.push(r) })
  await text((await upstream.request(ask({ method: 'PUT', body: Buffer.from('12345') }))).body)
  await tick()
  t.match(reports, [{ pool: 'data', method: 'PUT', status: 200, error: null, bytesSent: 5, bytesReceived: 2 }])
  t.type(reports[0]?.headSeconds, 'number')
})

await t.test('old connections are given up, and new ones ask for the store\'s address again', async (t) => {
  const store = await rawStore(t, { onRequest: answer(ok) })
  const asked: string[] = []
  const upstream = upstreamTo(
    t,
    `http://store.test:${store.port}`,
    {
      maxConnectionAgeSeconds: 0.02,
      lookup: (name, _options, done) => {
        asked.push(name)
        done(null, [{ address: '127.0.0.1', family: 4 }])
      }
    },
    {},
    { connections: 1 }
  )
  for (let i = 0; i < 3; i += 1) {
    await text((await upstream.request(ask({ method: 'GET' }))).body)
    await pause(60)
  }
  t.equal(store.connections(), 3)
  t.same(asked, ['store.test', 'store.test', 'store.test'])
})

await t.test('small objects with a lock have Content-MD5, and a page in HTML has a name in the log', async (t) => {
  let html = false
  const page = '<!DOCTYPE html><html><body>502 Bad Gateway</body></html>'
  const store = await rawStore(t, {
    onRequest: (socket) => {
      if (html) socket.write(`HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: ${page.length}\r\n\r\n${page}`)
      else answer(ok)(socket)
    }
  })
  const upstream = upstreamTo(t, store.endpoint)
  const put = async (headers: readonly (readonly [string, string])[]) => {
    const response = await upstream.request(ask({ method: 'PUT', body: Buffer.from('body'), headers }))
    await text(response.body)
    return response
  }
  await put([['x-amz-object-lock-mode', 'GOVERNANCE']])
  t.equal(store.seen.at(-1)?.headers.get('content-md5'), createHash('md5').update('body').digest('base64'))
  t.match(store.seen.at(-1)?.headers.get('authorization'), /content-md5/)
  await put([])
  t.notOk(store.seen.at(-1)?.headers.has('content-md5'))
  html = true
  t.match((await put([])).diagnosis, { status: 502, errorName: 'HtmlErrorPage' })
})
