// Whole transfers between a client and a store that send and read when and in what pieces they like.
import { deepEqual } from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { StagedReadable, type ByteStage } from '../../src/http/stage.ts'
import type { HttpRequest, HttpResponse } from '../../src/http/message.ts'
import { startListener, text, WireClient } from '../support/listener.ts'
import { ask, rawStore, upstreamTo, type Seen } from '../support/raw-store.ts'

interface Transfer {
  readonly method: 'GET' | 'PUT'
  readonly size: number
  /** Bytes of one write after the other, again from the front when they are used up. */
  readonly pieces: readonly number[]
  /** After which writes the sender waits a turn, and after which reads the reader rests for some milliseconds. */
  readonly waits: readonly boolean[]
  readonly rests: readonly number[]
  /** Where the sender breaks off, as a fraction of the size. */
  readonly breaksAt: number | null
  readonly stages: readonly (keyof typeof stages)[]
}

const data = Buffer.from(Uint8Array.from({ length: 400_000 }, (_, i) => (i * 2_654_435_761) >>> 13))

/** Stages as there are: that pass on, that give more than they take, and that hold back what only their end gives. */
const stages = {
  pass: (): ByteStage => ({ update: (chunk) => [chunk], final: () => [] }),
  split: (): ByteStage => ({ update: (chunk) => [chunk.subarray(0, 1), chunk.subarray(1, 1), chunk.subarray(1)], final: async () => [] }),
  hold: (): ByteStage => {
    let held = Buffer.alloc(0)
    return {
      update(chunk) {
        held = Buffer.concat([held, chunk])
        const out = held.subarray(0, Math.max(0, held.length - 50_000))
        held = held.subarray(out.length)
        return [out]
      },
      final: async () => turn([held])
    }
  }
} as const

const transfer = fc.record<Transfer>({
  method: fc.constantFrom('GET', 'PUT'),
  size: fc.constantFrom(0, 1, 99, 16_384, 16_385, 65_536, 65_537, 150_001, 299_999, 399_999, 400_000),
  pieces: fc.array(fc.constantFrom(1, 7, 1460, 16_384, 65_537, 400_000), { minLength: 1, maxLength: 5 }),
  waits: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
  rests: fc.array(fc.constantFrom(0, 0, 0, 1, 5), { minLength: 1, maxLength: 5 }),
  breaksAt: fc.option(fc.double({ min: 0, max: 0.99, noNaN: true }), { freq: 4 }),
  stages: fc.array(fc.constantFrom('pass', 'split', 'hold'), { maxLength: 3 })
})

/** Sends what the transfer says as it says; breaks the connection where it says. */
async function play(socket: Socket, { size, pieces, waits, breaksAt }: Transfer): Promise<void> {
  const end = breaksAt === null ? size : Math.floor(size * breaksAt)
  for (let at = 0, i = 0; at < end && !socket.destroyed; i += 1) {
    // Small pieces at first only: one by one they would take minutes.
    const piece = i < 40 ? pieces[i % pieces.length]! : 65_536
    const next = Math.min(end, at + piece)
    if (!socket.write(data.subarray(at, next))) await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => undefined)
    else if (waits[i % waits.length]) await turn()
    at = next
  }
  if (breaksAt !== null && size > 0) socket.destroy()
}

function restful(socket: Socket, { rests }: Transfer): void {
  let reads = 0
  socket.on('data', () => {
    const rest = rests[reads % rests.length]!
    reads += 1
    if (rest === 0) return
    socket.pause()
    setTimeout(() => {
      socket.resume()
    }, rest)
  })
}

await t.test('a transfer is right or visibly broken and never hangs, for every order and speed of senders and readers', async (t) => {
  const transfers = new Map<string, Transfer>()
  const stored = new Map<string, Seen>()
  const of = (path: string): Transfer => transfers.get(path.split('/').at(-1) ?? '')!
  const store = await rawStore(t, {
    onHead: (socket, { path, headers }) => {
      if (headers.has('content-length')) restful(socket, of(path))
    },
    onRequest: (socket, seen) => {
      const { method, size } = of(seen.path)
      stored.set(seen.path, seen)
      socket.write(`HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: ${method === 'GET' ? size : 0}\r\n\r\n`)
      if (method === 'GET') void play(socket, of(seen.path))
    }
  })
  const upstream = upstreamTo(t, store.endpoint, { lineLimit: 100 }, {}, { connections: 3 })
  const started = await startListener(async (request: HttpRequest): Promise<HttpResponse> => {
    const path = request.target.rawPath
    const { method, size, stages: names } = of(path)
    const sent = { method, key: path.slice(1), signal: request.signal }
    const through = names.map((name) => stages[name]())
    if (method === 'GET') {
      const { body } = await upstream.request(ask(sent))
      return { status: 200, headers: [['Content-Length', String(size)]], body: new StagedReadable(body, through, { destroySource: true }) }
    }
    const body = new StagedReadable(request.body, through, { destroySource: false })
    const answer = await upstream.request(ask({ ...sent, body, contentLength: size }))
    answer.body.resume()
    return text('stored')
  })
  t.teardown(() => started.listener.stop(0))

  let serial = 0
  const outcome = async (wanted: Transfer): Promise<'right' | 'wrong' | 'broken'> => {
    const name = String(serial += 1)
    transfers.set(name, wanted)
    const client = await WireClient.open(started.port)
    restful(client.socket, wanted)
    client.write(`${wanted.method} /${name} HTTP/1.1\r\nHost: h\r\n${wanted.method === 'PUT' ? `Content-Length: ${wanted.size}\r\n` : ''}\r\n`)
    if (wanted.method === 'PUT') await play(client.socket, wanted)
    const answer = await client.answer()
    client.socket.destroy()
    if (answer?.status !== 200 || !answer.whole) return 'broken'
    const bytes = wanted.method === 'GET' ? answer.body : stored.get(`/bucket/${name}`)?.body
    return bytes?.equals(data.subarray(0, wanted.size)) === true ? 'right' : 'wrong'
  }
  await fc.assert(
    fc.asyncProperty(fc.array(transfer, { minLength: 8, maxLength: 8 }), async (together) => {
      const outcomes = await Promise.race([Promise.all(together.map(outcome)), delay(20_000, null, { ref: false })])
      deepEqual(outcomes, together.map(({ breaksAt, size }) => breaksAt === null || size === 0 ? 'right' : 'broken'))
      // What hangs in one run hangs in the next: nothing would come of shrinking it.
    }),
    { numRuns: 20, endOnFailure: true }
  )
  const held = (): number[] => [started.listener.counts().requestsInFlight, ...upstream.stats().map(({ inFlight }) => inFlight)]
  for (let i = 0; i < 400 && held().some((count) => count > 0); i += 1) await delay(5)
  t.ok(held().every((count) => count === 0), 'nothing is held for what is over')
})
