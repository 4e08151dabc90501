import { randomBytes, randomInt } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { RequestMessage } from '../../src/listener/request-body.ts'
import { startListener, text, WireClient } from '../support/listener.ts'

await t.test('chunks of one byte wait in blocks, and stop the socket at the same number of bytes', async (t) => {
  const message = new RequestMessage(new Socket())
  const limit = message.readableHighWaterMark
  const bytes = randomBytes(limit + 10_000)
  let wanted = 0
  for (const byte of bytes) if (message.push(Buffer.of(byte))) wanted += 1
  t.equal(wanted, limit - 1)
  t.equal(message.waitingLength, bytes.length)
  message.push(null)
  const chunks: Buffer[] = []
  message.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  await once(message, 'end')
  t.ok(Buffer.concat(chunks).equals(bytes))
  t.equal(chunks.length, Math.ceil(bytes.length / 4096), 'of 4 KiB')
})

await t.test('what flows is not held up, and what is large is not copied', async (t) => {
  const message = new RequestMessage(new Socket())
  const large = randomBytes(2000)
  message.push(Buffer.of(1))
  message.push(large)
  t.equal(message.readableLength, 2001, 'order is kept')
  const chunks: Buffer[] = []
  message.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  await turn()
  message.push(Buffer.of(2))
  t.same(chunks.map(({ length }) => length), [1, 2000, 1])
  t.equal(chunks[1]?.buffer, large.buffer)
})

await t.test('a body behind another request also waits in blocks', async (t) => {
  const arrived: IncomingMessage[] = []
  const onRequest = (event: unknown): void => {
    arrived.push((event as { request: IncomingMessage }).request)
  }
  const requests = channel('http.server.request.start')
  requests.subscribe(onRequest)
  t.teardown(() => {
    requests.unsubscribe(onRequest)
  })
  const first = Promise.withResolvers<undefined>()
  const started = await startListener(async (request) => {
    if (request.method === 'GET') return first.promise.then(() => text('first'))
    const chunks: Buffer[] = []
    for await (const chunk of request.body as AsyncIterable<Buffer>) chunks.push(chunk)
    return text(`${chunks.length} ${Buffer.concat(chunks).toString()}`)
  })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  const count = 5 * 4096
  client.write(`GET /b/k HTTP/1.1\r\nHost: h\r\n\r\nPUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\na\r\n'.repeat(count)}0\r\n\r\n`)
  while (arrived[1]?.complete !== true) await turn()
  first.resolve(undefined)
  t.equal((await client.answer())?.body.toString(), 'first')
  t.equal((await client.answer())?.body.toString(), `5 ${'a'.repeat(count)}`)
  client.socket.destroy()
})

await t.test('a socket that was stopped while some waited to become a block is read again', async (t) => {
  const message = new RequestMessage(new Socket())
  let asked = 0
  message._read = (size) => {
    asked += 1
    RequestMessage.prototype._read.call(message, size)
  }
  message.read(0)
  message.push(randomBytes(1100))
  do await turn()
  while (message.push(randomBytes(100)))
  asked = 0
  message.resume()
  await turn()
  t.ok(asked > 0)
})

await t.test('a body comes in whole, however it is framed and whenever it is read', async (t) => {
  const started = await startListener(async (request) => {
    const chunks: Buffer[] = []
    for await (const chunk of request.body as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      if (randomInt(20) === 0) await new Promise((resolve) => setTimeout(resolve, randomInt(3)))
    }
    return text(Buffer.concat(chunks).toString('hex'))
  }, {
    limits: {
      connections: 10,
      headerBytes: 16_384,
      headersMs: 20_000,
      keepAliveMs: 20_000,
      highWaterMark: 1024,
      requestsInFlight: 10,
      unauthenticatedRequests: 256,
      anonymousRequests: 128,
      formFieldsMs: 10_000,
      minRate: 1,
      minRateWindowMs: 60_000
    }
  })
  t.teardown(() => started.listener.stop(0))
  const client = await WireClient.open(started.port)
  for (let round = 0; round < 20; round += 1) {
    const pieces = Array.from({ length: randomInt(1, 200) }, () => randomBytes(randomInt(5) === 0 ? randomInt(1, 3000) : randomInt(1, 4)))
    const body = Buffer.concat(pieces)
    const chunked = round % 2 === 0
    client.write(`PUT /b/k HTTP/1.1\r\nHost: h\r\n${chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`}\r\n\r\n`)
    for (const piece of pieces) {
      client.write(chunked ? Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]) : piece)
      if (randomInt(4) === 0) await turn()
    }
    if (chunked) client.write('0\r\n\r\n')
    const answer = await client.answer()
    t.ok(answer?.body.toString() === body.toString('hex'), `round ${round}`)
  }
  client.socket.destroy()
})
