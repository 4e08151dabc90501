import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { readAll } from '../../src/http/stage.ts'
import type { Seen } from '../support/raw-store.ts'
import { ask, rawStore, upstreamTo } from '../support/raw-store.ts'
import { codeOf } from '../support/error-code.ts'

const head = (lines: string) => `HTTP/1.1 200 OK\r\n${lines}\r\n\r\n`
const ok = head('Content-Length: 2\r\nETag: "e"') + 'ok'
const extra = head('Content-Length: 4') + 'evil'
const read = async (body: Readable) => readAll(body, 1 << 20, () => new Error('too large'))
type Answer = string | ((socket: Socket) => void)

const play = (answer: Answer) => (socket: Socket) => {
  if (typeof answer === 'string') socket.write(answer, 'latin1')
  else answer(socket)
}
const thenEnd = (text: string) => (socket: Socket) => {
  socket.end(text, 'latin1')
}
const thenReset = (text: string) => (socket: Socket) => {
  socket.write(text, () => {
    socket.resetAndDestroy()
  })
}

/** Answers no byte of which may look like a whole one. */
const broken: Record<string, Answer> = {
  'reset at once': (socket) => socket.resetAndDestroy(),
  'end at once': (socket) => socket.end(),
  'half a status line': thenEnd('HTTP/1.1 2'),
  'half a head': thenEnd('HTTP/1.1 200 OK\r\nContent-Length: 2'),
  'not HTTP': 'SSH-2.0-OpenSSH\r\n\r\n',
  'short body, end': thenEnd(head('Content-Length: 10') + 'short'),
  'short body, reset': thenReset(head('Content-Length: 10') + 'short'),
  'no body, end': thenEnd(head('Content-Length: 10')),
  'delimited by the end': thenEnd(head('ETag: "e"') + 'body'),
  'delimited by the end, announced': thenEnd(head('Connection: close') + 'body'),
  'delimited by a reset': thenReset(head('Connection: close') + 'body'),
  'HTTP/1.0 without length': thenEnd('HTTP/1.0 200 OK\r\n\r\nbody'),
  'HTTP/1.0, short': thenEnd('HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nbody'),
  'chunked object': head('Transfer-Encoding: chunked') + '2\r\nok\r\n0\r\n\r\n',
  'chunked, cut': thenEnd(head('Transfer-Encoding: chunked') + '5\r\nok'),
  'gzip, chunked': head('Transfer-Encoding: gzip, chunked') + '2\r\nok\r\n0\r\n\r\n',
  'length and chunked': head('Content-Length: 2\r\nTransfer-Encoding: chunked') + '2\r\nok\r\n0\r\n\r\n',
  'two lengths': head('Content-Length: 2\r\nContent-Length: 3') + 'ok!',
  'two equal lengths': head('Content-Length: 2\r\nContent-Length: 2') + 'ok',
  'negative length': head('Content-Length: -2') + 'ok',
  'huge length': head('Content-Length: 99999999999999999999') + 'ok',
  'two ETags': head('Content-Length: 2\r\nETag: "a"\r\nETag: "b"') + 'ok',
  'two envelopes': head('Content-Length: 2\r\nx-amz-meta-sealgate: a\r\nX-Amz-Meta-Sealgate: b') + 'ok',
  'two ranges': head('Content-Length: 2\r\nContent-Range: bytes 0-1/2\r\nContent-Range: bytes 0-1/3') + 'ok',
  'big head': head(`Content-Length: 2\r\nx-a: ${'a'.repeat(40_000)}`) + 'ok',
  'many fields': head(`Content-Length: 2\r\n${Array.from({ length: 300 }, (_, i) => `x-${i}: 1`).join('\r\n')}`) + 'ok',
  'bare line feeds': 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok',
  'folded field': head('Content-Length: 2\r\nx-a: 1\r\n 2') + 'ok',
  'control byte in a field': head('Content-Length: 2\r\nx-a: \x00') + 'ok',
  'flood of interim answers': 'HTTP/1.1 103 Early\r\n\r\n'.repeat(2000) + ok,
  'unsolicited continue': 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(2000),
  'unsolicited upgrade': 'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  'moved permanently': 'HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/\r\n\r\n',
  'temporary redirect': 'HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:1/\r\n\r\n',
  'endless error document': 'HTTP/1.1 500 Bad\r\nTransfer-Encoding: chunked\r\n\r\n' + `4000\r\n${'x'.repeat(0x4000)}\r\n`.repeat(8),
  'cut error document': thenEnd('HTTP/1.1 404 None\r\nContent-Length: 100\r\n\r\n<Error>')
}

await t.test('no broken answer is ever a whole one', async (t) => {
  for (const [name, answer] of Object.entries(broken)) {
    const store = await rawStore(t, { onRequest: play(answer) })
    const upstream = upstreamTo(t, store.endpoint, {}, { upstreamFirstByteSeconds: 2 })
    const code = await codeOf(upstream.request(ask({ method: 'GET' })).then(async ({ body }) => read(body)))
    t.match(code, /^(SealgateBadUpstream|ServiceUnavailable|SealgateUpstreamTimeout)$/, `${name}: ${code}`)
    await store.allClosed()
    t.same(upstream.stats()[0]?.inFlight, 0, 'slot given back, socket closed')
  }
  t.comment(`${Object.keys(broken).length} broken answers, 0 accepted`)
})

await t.test('bytes behind an answer do not become the next answer', async (t) => {
  for (const [name, behind, wait] of [['same packet', extra, 0], ['later', extra, 10], ['garbage', 'xx', 0]] as const) {
    const store = await rawStore(t, {
      onRequest: (socket) => {
        if (wait === 0) socket.write(ok + behind)
        else {
          socket.write(ok)
          setTimeout(() => socket.write(behind), wait)
        }
      }
    })
    let unsolicited = 0
    const upstream = upstreamTo(
      t,
      store.endpoint,
      {
        onUnsolicited: () => {
          unsolicited += 1
        }
      },
      {},
      { connections: 1 }
    )
    for (let i = 0; i < 3; i += 1) {
      const outcome = await upstream.request(ask({ method: 'GET' })).then(
        async ({ body }) => (await read(body)).toString(),
        (e: unknown) => (e as S3Error).code
      )
      t.match(outcome, /^(ok|ServiceUnavailable)$/, name)
      await store.allClosed()
    }
    t.equal(unsolicited, 3, 'told of')
  }
})

await t.test('regression: an answer too many, on its way when a write leaves, does not acknowledge it, and its connection ends', async (t) => {
  const store = await rawStore(t, {
    onRequest: (socket, { connection }) => {
      socket.write(connection === 1 ? extra + ok : ok)
    }
  })
  const upstream = upstreamTo(t, store.endpoint, {}, {}, { connections: 1 })
  const put = ask({ method: 'PUT', body: Buffer.alloc(0) })
  t.equal(await codeOf(upstream.request(put)), 'SealgateBadUpstream')
  t.equal(await codeOf(upstream.request(put)), 'ok')
  t.equal(store.connections(), 2, 'the answer that came late is nobody else\'s')
})

await t.test('answers that must not have a body, but have one', async (t) => {
  for (
    const [method, answer] of [['HEAD', ok], ['GET', 'HTTP/1.1 304 N\r\nETag: "e"\r\nContent-Length: 4\r\n\r\nevil'], [
      'DELETE',
      'HTTP/1.1 204 N\r\n\r\nevil'
    ]] as const
  ) {
    const store = await rawStore(t, { onRequest: play(answer) })
    const upstream = upstreamTo(t, store.endpoint, {}, {}, { connections: 1 })
    for (let i = 0; i < 3; i += 1) {
      const outcome = await upstream.request(ask({ method })).then(async ({ body }) => (await read(body)).toString(), (e: unknown) => (e as S3Error).code)
      t.match(outcome, /^(|ServiceUnavailable|SealgateBadUpstream)$/, method)
    }
  }
})

await t.test('an upload that fails on our side is never complete at the store', async (t) => {
  const length = 300_000
  const failing = (bytes: number, fail: (stream: Readable) => void): Readable => {
    let left = bytes
    return new Readable({
      read() {
        if (left > 0) {
          const chunk = Buffer.alloc(Math.min(left, 10_000), 'x')
          left -= chunk.length
          this.push(chunk)
        } else {setImmediate(() => {
            fail(this)
          })}
      }
    })
  }
  const ways: Record<string, readonly [fail: (stream: Readable) => void, code: string]> = {
    'error of a check': [(s) => s.destroy(new S3Error('BadDigest')), 'BadDigest'],
    'other error': [(s) => s.destroy(new Error('bug')), 'InternalError'],
    'closed without an error': [(s) => s.destroy(), 'IncompleteBody'],
    'ended early': [(s) => {
      s.push(null)
    }, 'InternalError']
  }
  let attempts = 0
  for (const signStreams of [false, true]) {
    for (const bytes of [0, 1, 10_000, length - 1]) {
      for (const [name, [fail, code]] of Object.entries(ways)) {
        const store = await rawStore(t, {
          onRequest: (socket) => {
            socket.write(ok)
          }
        })
        const upstream = upstreamTo(t, store.endpoint, { signStreams })
        const got = await codeOf(upstream.request(ask({ method: 'PUT', body: failing(bytes, fail), contentLength: length })))
        await store.allClosed()
        attempts += 1
        t.ok(store.seen.every((seen) => !seen.complete), `${name} after ${bytes}`)
        // The framing stage closes on a source that closed: an abort of ours, whichever code.
        t.match(got, signStreams && name.startsWith('closed') ? /^(IncompleteBody|InternalError)$/ : code, `${name} after ${bytes}: ${got}`)
        if (bytes === 0) t.equal(store.seen.length, 0, 'nothing to send: no connection was taken')
      }
    }
  }
  t.comment(`${attempts} failing uploads, 0 complete messages at the store`)
})

await t.test('a body longer than declared is cut off before the first byte too many', async (t) => {
  const store = await rawStore(t, {})
  const upstream = upstreamTo(t, store.endpoint)
  const chunks = [Buffer.alloc(50), Buffer.alloc(51)]
  t.equal(await codeOf(upstream.request(ask({ method: 'PUT', body: Readable.from(chunks), contentLength: 100 }))), 'InternalError')
  t.equal(await codeOf(upstream.request(ask({ method: 'PUT', body: Readable.from(chunks), contentLength: 0 }))), 'InternalError')
  await store.allClosed()
  t.ok(store.seen.every(({ body, complete }) => !complete && body.length <= 50))
})

await t.test('success before the store can have the whole body is no success', async (t) => {
  const store = await rawStore(t, {
    onHead: (socket) => {
      socket.write(ok)
    }
  })
  const upstream = upstreamTo(t, store.endpoint)
  let pushed = 0
  const slow = new Readable({
    read() {
      pushed += 1
      setTimeout(() => this.push(pushed < 100 ? Buffer.alloc(1000) : null), 2)
    }
  })
  t.equal(await codeOf(upstream.request(ask({ method: 'PUT', body: slow, contentLength: 99_000 }))), 'SealgateBadUpstream')
  t.ok(slow.destroyed)
  await store.allClosed()
})

await t.test('an early refusal is handed on, and the upload ends', async (t) => {
  const refusal = '<Error><Code>AccessDenied</Code></Error>'
  const store = await rawStore(t, {
    onHead: (socket) => {
      socket.write(`HTTP/1.1 403 No\r\nContent-Length: ${refusal.length}\r\n\r\n${refusal}`)
    }
  })
  const upstream = upstreamTo(t, store.endpoint)
  const endless = new Readable({
    read() {
      setTimeout(() => this.push(Buffer.alloc(1000)), 2)
    }
  })
  const response = await upstream.request(ask({ method: 'PUT', body: endless, contentLength: 1 << 30 }))
  t.equal(response.status, 403)
  t.equal((await read(response.body)).toString(), refusal)
  await store.allClosed()
  t.ok(endless.destroyed)
})

await t.test('an early refusal is handed on though the connection breaks under the body', async (t) => {
  const refusal = '<Error><Code>NoSuchBucket</Code></Error>'
  const answers = { refused: `HTTP/1.1 404 No\r\nContent-Length: ${refusal.length}\r\n\r\n${refusal}`, silent: '', cut: 'HTTP/1.1 404 No\r\nContent-' }
  for (const [name, answer] of Object.entries(answers)) {
    const body = new Readable({ read: () => undefined })
    body.push(Buffer.alloc(1000))
    const store = await rawStore(t, {
      onHead: (socket) => {
        socket.write(answer)
        socket.resetAndDestroy()
        // Written before anyone can have read the answer.
        body.push(Buffer.alloc(100_000))
      }
    })
    const asked = upstreamTo(t, store.endpoint).request(ask({ method: 'PUT', body, contentLength: 1 << 20 }))
    if (name === 'refused') {
      const response = await asked
      t.same([response.status, (await read(response.body)).toString()], [404, refusal])
    } else {
      t.equal(await codeOf(asked), 'ServiceUnavailable', name)
    }
    await store.allClosed()
    t.ok(body.destroyed, name)
  }
})

await t.test('the client goes away', async (t) => {
  const phases: Record<string, (socket: Socket, seen: Seen) => void> = {
    'before the head': () => undefined,
    'in the middle of the body': (socket) => {
      socket.write(head('Content-Length: 1000') + 'part')
    }
  }
  for (const [phase, onRequest] of Object.entries(phases)) {
    const stop = new AbortController()
    const store = await rawStore(t, {
      onRequest: (socket, seen) => {
        onRequest(socket, seen)
        setTimeout(() => {
          stop.abort(new Error('client went away'))
        }, 20)
      }
    })
    const upstream = upstreamTo(t, store.endpoint)
    await t.rejects(upstream.request(ask({ method: 'GET', signal: stop.signal })).then(async ({ body }) => read(body)), /client went away/, phase)
    await store.allClosed()
    t.equal(upstream.stats()[0]?.inFlight, 0)
  }
  const stop = new AbortController()
  // Not before there is a connection: until that has been made or given up, the request keeps its slot.
  const store = await rawStore(t, {
    onHead: () => {
      setTimeout(() => {
        stop.abort(new Error('client went away'))
      }, 20)
    }
  })
  const upstream = upstreamTo(t, store.endpoint)
  const body = new Readable({
    read() {
      setTimeout(() => this.push(Buffer.alloc(1000)), 2)
    }
  })
  await t.rejects(upstream.request(ask({ method: 'PUT', body, contentLength: 1 << 30, signal: stop.signal })), /client went away/)
  await store.allClosed()
  t.ok(body.destroyed)
  t.ok(store.seen.every(({ complete }) => !complete))
  await t.rejects(upstream.request(ask({ method: 'GET', signal: stop.signal })), /client went away/, 'aborted before it began')
  const early = new AbortController()
  const seen = store.seen.length
  const signing = upstream.request(ask({ method: 'DELETE', signal: early.signal }))
  early.abort(new Error('client went away'))
  await t.rejects(signing, /client went away/, 'aborted while it was being signed')
  t.equal(store.seen.length, seen, 'nothing is sent for nobody')
  t.equal(upstream.stats()[0]?.inFlight, 0)
})

await t.test('an unread, endless answer does not delay the close', async (t) => {
  const store = await rawStore(t, {
    onRequest: (socket) => {
      socket.write(head('Content-Length: 1000000000\r\nETag: "e"'))
      const timer = setInterval(() => socket.write(Buffer.alloc(1000)), 10)
      socket.on('close', () => {
        clearInterval(timer)
      })
    }
  })
  const upstream = upstreamTo(t, store.endpoint, { closeSeconds: 0.05 })
  const { body } = await upstream.request(ask({ method: 'PUT', body: Buffer.from('x') }))
  body.resume()
  await upstream.close()
  await store.allClosed()
  t.equal(upstream.stats()[0]?.inFlight, 0)
})

await t.test('the reader stops in the middle: the connection is closed', async (t) => {
  const store = await rawStore(t, {
    onRequest: (socket) => {
      socket.write(head('Content-Length: 1000000') + 'x'.repeat(1000))
    }
  })
  const errors: (string | null)[] = []
  const upstream = upstreamTo(t, store.endpoint, { onExchange: ({ error }) => errors.push(error) })
  for (const reason of [undefined, new Error('what it read did not verify')]) {
    const { body } = await upstream.request(ask({ method: 'GET' }))
    body.destroy(reason)
    await store.allClosed()
    t.equal(upstream.stats()[0]?.inFlight, 0)
  }
  t.strictSame(errors, ['Aborted', 'Aborted'], 'which is no fault of the store, nor of the gateway')
})

await t.test('a slow reader pauses the store, and is not called a slow store', async (t) => {
  const total = 8 << 20
  let sent = 0
  const store = await rawStore(t, {
    onRequest: (socket) => {
      socket.write(head(`Content-Length: ${total}`))
      const fill = (): void => {
        while (sent < total) {
          sent += 65536
          if (!socket.write(Buffer.alloc(65536))) {
            socket.once('drain', fill)
            return
          }
        }
      }
      fill()
    }
  })
  const upstream = upstreamTo(t, store.endpoint, {}, { minRate: 1 << 20, minRateWindowSeconds: 0.2 })
  const { body } = await upstream.request(ask({ method: 'GET' }))
  await pause(600)
  t.ok(body.readableLength <= 2 * 65536, `${body.readableLength} bytes wait here`)
  let bytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) bytes += chunk.length
  t.equal(bytes, total)
})

await t.test('slow stores are cut', async (t) => {
  const limits = { minRate: 100_000, minRateWindowSeconds: 0.2, upstreamFirstByteSeconds: 0.3 }
  const trickle = (socket: Socket) => {
    socket.write(head('Content-Length: 1000000'))
    const timer = setInterval(() => socket.write('x'), 10)
    socket.on('close', () => {
      clearInterval(timer)
    })
  }
  const cases: Record<string, [Answer, Parameters<typeof ask>[0]]> = {
    'no answer': [() => undefined, { method: 'GET' }],
    'half a head': ['HTTP/1.1 200 OK\r\n', { method: 'GET' }],
    'no body': [head('Content-Length: 5'), { method: 'GET' }],
    'a trickle': [trickle, { method: 'GET' }],
    'a trickle of an error': [(socket) => {
      socket.write('HTTP/1.1 500 E\r\nContent-Length: 1000\r\n\r\n')
      const timer = setInterval(() => socket.write('x'), 10)
      socket.on('close', () => {
        clearInterval(timer)
      })
    }, { method: 'GET' }]
  }
  for (const [name, [answer, parts]] of Object.entries(cases)) {
    const store = await rawStore(t, { onRequest: play(answer) })
    const upstream = upstreamTo(t, store.endpoint, {}, limits)
    t.equal(await codeOf(upstream.request(ask(parts)).then(async ({ body }) => read(body))), 'SealgateUpstreamTimeout', name)
    await store.allClosed()
  }
})

await t.test('a request may give the store more time to answer than others, or less', async (t) => {
  // undici looks at its clock every half a second.
  const store = await rawStore(t, {
    onRequest: (socket) => {
      setTimeout(() => socket.write(ok), 1500)
    }
  })
  const upstream = upstreamTo(t, store.endpoint, {}, { upstreamFirstByteSeconds: 0.1 })
  const patient = upstreamTo(t, store.endpoint)
  const put = ask({ method: 'PUT', body: Buffer.from('x') })
  const [usual, more, less] = await Promise.all([
    codeOf(upstream.request(put)),
    codeOf(upstream.request({ ...put, answerSeconds: 30 })),
    codeOf(patient.request({ ...put, answerSeconds: 0.1 }))
  ])
  t.same({ usual, more, less }, { usual: 'SealgateUpstreamTimeout', more: 'ok', less: 'SealgateUpstreamTimeout' })
})

await t.test('a store that stops taking an upload is cut, a slow source is not', async (t) => {
  const limits = { minRate: 1 << 20, minRateWindowSeconds: 0.3, upstreamFirstByteSeconds: 30 }
  const deaf = await rawStore(t, {
    onConnection: (socket) => {
      socket.pause()
    }
  })
  const endless = new Readable({
    read() {
      this.push(Buffer.alloc(65536))
    }
  })
  const upstream = upstreamTo(t, deaf.endpoint, {}, limits)
  t.equal(await codeOf(upstream.request(ask({ method: 'PUT', body: endless, contentLength: 1 << 30 }))), 'SealgateUpstreamTimeout')
  t.ok(endless.destroyed)
  const store = await rawStore(t, {
    onRequest: (socket) => {
      socket.write(ok)
    }
  })
  let pushed = 0
  const slow = new Readable({
    read() {
      pushed += 1
      setTimeout(() => this.push(pushed <= 20 ? Buffer.alloc(10) : null), 40)
    }
  })
  t.equal(await codeOf(upstreamTo(t, store.endpoint, {}, limits).request(ask({ method: 'PUT', body: slow, contentLength: 200 }))), 'ok')
})
