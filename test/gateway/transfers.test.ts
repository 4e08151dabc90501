// Transfers that stop, lie, crawl or are too large: no partial object, no silent cut, no unbounded memory, no lost socket.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import process from 'node:process'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { CreateMultipartUploadCommand, ListPartsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { breakConnection } from '../../src/listener/connection.ts'
import { byTurns } from '../support/by-turns.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startTestStore, type TestStore } from '../support/hostile.ts'
import { RawConnection } from '../support/raw-client.ts'
import { askings, integrityFailures, judge, read, settled } from '../support/reading.ts'
import { crc32Of, framings, md5Of, upload, type Framing, type Upload, type UploadOptions } from '../support/uploads.ts'
import { headerSigned, headOf, sha256 } from '../support/wire.ts'

const Bucket = 'transfers'

async function rig(t: Test, sections: Record<string, unknown> = {}): Promise<{ store: TestStore; gateway: TestGateway }> {
  const store = await startTestStore({ buckets: [Bucket], keepBodies: false, keepAliveMs: 500 })
  const gateway = await startTestGateway(store, { sections })
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  return { store, gateway }
}

async function idle(gateway: TestGateway, withinMs = 30_000): Promise<boolean> {
  const deadline = performance.now() + withinMs
  const busy = (): boolean => gateway.listener.counts().requestsInFlight > 0 || gateway.listener.counts().connections > 0
  while (busy() && performance.now() < deadline) await sleep(10)
  return !busy()
}

void t.test('a client that vanishes in an upload leaves no object and no socket', async (t) => {
  const { store, gateway } = await rig(t)
  const s3 = gateway.client()
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
  await s3.send(new PutObjectCommand({ Bucket, Key: 'old', Body: 'old' }))
  const old = await store.object(Bucket, 'old').body()
  s3.destroy()
  await idle(gateway)
  let uploads = 0
  const vanish = async (target: string, framing: Framing, size: number, offset: number, how: 'reset' | 'finish'): Promise<void> => {
    const { head, body } = upload(gateway, target, framing, randomBytes(size))
    const connection = await RawConnection.open(gateway.endpoint)
    await connection.send(Buffer.concat([head, body.subarray(0, offset < 0 ? body.length + offset : Math.min(offset, body.length - 1))]))
    // So that what was sent is on its way upstream when the client goes.
    await sleep(5)
    connection[how]()
    uploads += 1
    await sleep(20)
    connection.close()
  }
  for (const [nth, framing] of framings.entries()) {
    for (const [size, offsets] of [[1000, [0, 500, -1]], [140_000, [0, 1, 65479, 65480, 65600, 131_100, -100, -3, -1]]] as const) {
      // By turns: every framing with every offset, and both with every target and every way to go.
      await Promise.all(
        offsets.flatMap((offset, i) =>
          (['reset', 'finish'] as const).filter((_, k) => byTurns((i + k + nth) % 2 === 0)).flatMap((how) =>
            [
              `/${Bucket}/new-${nth}-${size}-${offset}-${how}`,
              `/${Bucket}/old`,
              `/${Bucket}/parts?partNumber=1&uploadId=${UploadId ?? ''}`
            ].filter((_, k) => byTurns((i + k + nth) % 3 === 0)).map((target) => vanish(target, framing, size, offset, how))
          )
        )
      )
    }
  }
  t.ok(await idle(gateway), 'no request of a client is left')
  t.same(store.keys(Bucket), ['old'], 'no object')
  t.ok((await store.object(Bucket, 'old').body()).equals(old), 'the old object is as it was')
  const again = gateway.client()
  t.notOk((await again.send(new ListPartsCommand({ Bucket, Key: 'parts', UploadId }))).Parts?.length, 'no part')
  again.destroy()
  t.ok(await settled(store, 0, 10_000), 'no connection to the store is left')
  t.comment(`${uploads} uploads cut off, 0 objects, 0 parts, 0 sockets left`)
})

interface Spoilt {
  readonly framing: Framing
  readonly options?: UploadOptions
  readonly spoil?: (upload: Upload) => Upload
  readonly codes: readonly string[]
}

const everywhere = (body: Buffer, find: string, nth: number, change: (text: string) => string): Buffer => {
  let at = -1
  for (let i = 0; i <= nth || nth < 0; i += 1) {
    const next = body.indexOf(find, at + 1)
    if (next < 0) break
    at = next
  }
  const line = body.toString('latin1', at, at + find.length + 64)
  return Buffer.concat([body.subarray(0, at), Buffer.from(change(line), 'latin1'), body.subarray(at + line.length)])
}
const nextDigit = (text: string): string => text.slice(0, -1) + (text.endsWith('0') ? '1' : '0')

/** Everything that can be wrong with a body and shows only when it has come. */
function spoilt(data: Buffer): Readonly<Record<string, Spoilt>> {
  const other = Buffer.from(data)
  other[data.length - 1]! ^= 1
  const all: Record<string, Spoilt> = {
    'other hash': { framing: 'hash', options: { hash: sha256(other) }, codes: ['XAmzContentSHA256Mismatch'] },
    'last byte changed, hashed': { framing: 'hash', spoil: ({ head }) => ({ head, body: other }), codes: ['XAmzContentSHA256Mismatch'] },
    'other Content-MD5': { framing: 'unsigned', options: { headers: [['Content-MD5', md5Of(other)]] }, codes: ['BadDigest'] },
    'other crc32': { framing: 'unsigned', options: { headers: [['x-amz-checksum-crc32', crc32Of(other)]] }, codes: ['BadDigest'] },
    'other sha256': {
      framing: 'unsigned',
      options: { headers: [['x-amz-checksum-sha256', Buffer.from(sha256(other), 'hex').toString('base64')]] },
      codes: ['BadDigest']
    },
    'last byte changed, crc32': {
      framing: 'unsigned',
      options: { headers: [['x-amz-checksum-crc32', crc32Of(data)]] },
      spoil: ({ head }) => ({ head, body: other }),
      codes: ['BadDigest']
    },
    'trailer of other data, signed': {
      framing: 'signed chunks and trailer',
      options: { trailer: `x-amz-checksum-crc32:${crc32Of(other)}` },
      codes: ['BadDigest']
    },
    'trailer of other data': { framing: 'unsigned chunks and trailer', options: { trailer: `x-amz-checksum-crc32:${crc32Of(other)}` }, codes: ['BadDigest'] },
    'trailer of another name': {
      framing: 'unsigned chunks and trailer',
      options: { trailer: `x-amz-checksum-sha1:${crc32Of(data)}` },
      codes: ['InvalidRequest']
    },
    'trailer signature changed': {
      framing: 'signed chunks and trailer',
      codes: ['SignatureDoesNotMatch'],
      spoil: ({ head, body }) => ({ head, body: everywhere(body, 'x-amz-trailer-signature:', -1, nextDigit) })
    }
  }
  for (const framing of ['signed chunks', 'signed chunks and trailer', 'unsigned chunks and trailer'] as const) {
    all[`${framing}, more announced`] = { framing, options: { decodedLength: data.length + 1 }, codes: ['IncompleteBody'] }
    all[`${framing}, less announced`] = { framing, options: { decodedLength: data.length - 1 }, codes: ['IncompleteBody'] }
    all[`${framing}, byte changed in the last chunk`] = {
      framing,
      codes: ['SignatureDoesNotMatch', 'BadDigest'],
      spoil: ({ head, body }) => {
        const at = body.indexOf(data.subarray(-16))
        const changed = Buffer.from(body)
        changed[at]! ^= 1
        return { head, body: changed }
      }
    }
    if (framing === 'unsigned chunks and trailer') continue
    for (const nth of [0, 1, 2, -1]) {
      all[`${framing}, signature of chunk ${nth} changed`] = {
        framing,
        codes: ['SignatureDoesNotMatch'],
        spoil: ({ head, body }) => ({ head, body: everywhere(body, 'chunk-signature=', nth, nextDigit) })
      }
    }
  }
  return all
}

void t.test('a body that does not hold what was promised becomes no object, wherever it shows', async (t) => {
  const { store, gateway } = await rig(t)
  const s3 = gateway.client()
  await s3.send(new PutObjectCommand({ Bucket, Key: 'old', Body: randomBytes(70_000) }))
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }))
  const old = await store.object(Bucket, 'old').body()
  let sent = 0
  const targets = [`/${Bucket}/new`, `/${Bucket}/old`, `/${Bucket}/parts?partNumber=1&uploadId=${UploadId ?? ''}`]
  for (const [i, size] of [1000, 65480, 65481, 140_000].entries()) {
    const data = randomBytes(size)
    for (const [j, [name, { framing, options, spoil, codes }]] of Object.entries(spoilt(data)).entries()) {
      // By turns: every way to spoil a body with every size, and with every target.
      for (const target of targets.filter((_, k) => byTurns(k === (i + j) % targets.length))) {
        const whole = upload(gateway, target, framing, data, options)
        const { head, body } = spoil?.(whole) ?? whole
        const connection = await RawConnection.open(gateway.endpoint)
        await connection.send(Buffer.concat([head, body]))
        const answer = await connection.response()
        connection.close()
        sent += 1
        const code = /<Code>([^<]*)/.exec(answer.body.toString('latin1'))?.[1] ?? ''
        if (answer.status < 400 || answer.status >= 500 || !codes.includes(code)) t.fail(`${name}, ${size} bytes, ${target}: ${answer.status} ${code}`)
      }
    }
  }
  t.same(store.keys(Bucket), ['old'])
  t.ok((await store.object(Bucket, 'old').body()).equals(old), 'the old object is as it was')
  t.notOk((await s3.send(new ListPartsCommand({ Bucket, Key: 'parts', UploadId }))).Parts?.length, 'no part')
  s3.destroy()
  t.comment(`${sent} spoilt uploads, 0 objects, 0 parts`)
})

void t.test('every framing, whole, is stored as it was sent', async (t) => {
  const { gateway } = await rig(t)
  for (const framing of framings) {
    for (const size of [0, 1, 65480, 65481, 140_000]) {
      const data = randomBytes(size)
      const { head, body } = upload(gateway, `/${Bucket}/whole`, framing, data, { chunkSize: 8192 })
      const connection = await RawConnection.open(gateway.endpoint)
      await connection.send(Buffer.concat([head, body]))
      const { status } = await connection.response()
      connection.close()
      t.equal(status, 200, `${framing}, ${size} bytes`)
      t.equal(judge(await read(gateway, `/${Bucket}/whole`, askings[0]!), askings[0]!, [data]), 'right')
    }
  }
})

void t.test('a store that breaks off in a download: the client sees it', async (t) => {
  const { store, gateway } = await rig(t)
  const s3 = gateway.client()
  let cut = 0
  // Opened before the answer begins, and streamed.
  for (const [size, ends] of [[150_000, [149_000]], [300_000, [200_000, 299_000]]] as const) {
    const Body = randomBytes(size)
    await s3.send(new PutObjectCommand({ Bucket, Key: `cut-${size}`, Body }))
    for (const type of ['reset', 'truncate', 'close-delimited'] as const) {
      for (const bytes of [0, 1, 39, 65555, 65556, 65557, 131_112, ...ends]) {
        store.rules.add({ when: { key: `cut-${size}`, method: 'GET' }, fault: type === 'reset' ? { type, at: 'mid-body', bytes } : { type, bytes } })
        const answer = await read(gateway, `/${Bucket}/cut-${size}`, askings[0]!)
        store.rules.clear()
        const verdict = judge(answer, askings[0]!, [Body])
        if (verdict !== 'broken' && !(verdict === 'error' && answer.status >= 500)) t.fail(`${type} at ${bytes} of ${size}: ${verdict} ${answer.status}`)
        cut += 1
      }
    }
  }
  s3.destroy()
  t.equal(integrityFailures(gateway), 0, 'none of it is called tampering')
  t.comment(`${cut} downloads broken off by the store, all visibly`)
})

void t.test('a client that vanishes in a download frees the connection to a store that has stopped', async (t) => {
  const { store, gateway } = await rig(t)
  const s3 = gateway.client()
  // Opened as a whole, and through a stream.
  for (const size of [1000, 200_000, 600_000]) await s3.send(new PutObjectCommand({ Bucket, Key: `${size}`, Body: randomBytes(size) }))
  s3.destroy()
  let left = 0
  for (
    const [size, range, bytes] of [[1000, null, 500], [200_000, null, 0], [200_000, null, 100_000], [600_000, [70_000, 140_000], 1000], [
      600_000,
      null,
      300_000
    ]] as const
  ) {
    for (const how of ['reset', 'finish'] as const) {
      store.rules.add({ when: { method: 'GET', key: `${size}` }, fault: { type: 'stall', at: 'mid-body', bytes } })
      const asked = store.requests.length
      const connection = await RawConnection.open(gateway.endpoint)
      const headers = range === null ? [] : [['Range', `bytes=${range[0]}-${range[1]}`]] as const
      await connection.send(headOf(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/${size}`, headers })))
      while (store.requests.length === asked) await sleep(5)
      await sleep(50)
      connection[how]()
      t.ok(await idle(gateway, 5000) && await settled(store, 0), `${size} bytes, ${range === null ? 'whole' : 'a range'}, ${how}`)
      connection.close()
      store.rules.clear()
      left += 1
    }
  }
  t.comment(`${left} downloads left by their clients, 0 connections kept`)
})

void t.test('a slow reader holds the store back, and gets everything in the end', async (t) => {
  const { store, gateway } = await rig(t)
  const s3 = gateway.client()
  const Body = randomBytes(32 * 1024 * 1024)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'slow', Body }))
  s3.destroy()
  const before = store.traffic.sent
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(gateway.endpoint).port) })
  socket.write(headOf(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/slow`, headers: [['Connection', 'close']] })))
  let sent = -1
  while (sent !== store.traffic.sent || sent === before) {
    sent = store.traffic.sent
    await sleep(200)
  }
  t.ok(sent - before < 24 * 1024 * 1024, `${sent - before} bytes wait in buffers of the kernel and the gateway`)
  const received = await buffer(socket)
  t.ok(received.subarray(received.indexOf('\r\n\r\n') + 4).equals(Body))
})

void t.test('a stalled reader or writer is disconnected, and its resources are freed', async (t) => {
  const { store, gateway } = await rig(t, { limits: { minRate: 1024, minRateWindowSeconds: 1 } })
  const s3 = gateway.client()
  await s3.send(new PutObjectCommand({ Bucket, Key: 'stalled', Body: randomBytes(24 * 1024 * 1024) }))
  s3.destroy()
  const reader = await RawConnection.open(gateway.endpoint)
  reader.pause()
  await reader.send(headOf(headerSigned(gateway, { method: 'GET', target: `/${Bucket}/stalled`, headers: [] })))
  const writer = await RawConnection.open(gateway.endpoint)
  const { head, body } = upload(gateway, `/${Bucket}/never`, 'hash', randomBytes(300_000))
  await writer.send(Buffer.concat([head, body.subarray(0, 200_000)]))
  const answer = await writer.response()
  t.match([answer.status, /<Code>([^<]*)/.exec(answer.body.toString())?.[1]], [400, 'RequestTimeout'])
  writer.close()
  t.ok(await idle(gateway, 10_000), 'nobody is left')
  t.ok(await settled(store, 0, 10_000), 'no connection to the store is left')
  t.same(store.keys(Bucket), ['stalled'])
  reader.close()
})

void t.test('an error of the store that comes while the client still sends', async (t) => {
  const { store, gateway } = await rig(t)
  const data = randomBytes(2 * 1024 * 1024)
  for (const [status, code] of [[404, 'NoSuchBucket'], [403, 'AccessDenied'], [503, 'SlowDown'], [400, 'EntityTooLarge']] as const) {
    for (const framing of ['hash', 'signed chunks', 'unsigned chunks and trailer'] as const) {
      store.rules.add({ when: { method: 'PUT', key: 'early' }, fault: { type: 'error', status, code } })
      const { head, body } = upload(gateway, `/${Bucket}/early`, framing, data)
      const connection = await RawConnection.open(gateway.endpoint)
      await connection.send(head)
      void connection.send(body)
      const answer = await connection.response()
      t.match([answer.status, /<Code>([^<]*)/.exec(answer.body.toString())?.[1]], [status, code], `${framing}: ${code}`)
      connection.close()
      store.rules.clear()
    }
  }
  t.same(store.keys(Bucket), [])
})

void t.test('100 Continue comes after the signature, never before an error that needs no body', async (t) => {
  const { gateway } = await rig(t)
  const data = randomBytes(100_000)
  const expecting = { headers: [['Expect', '100-continue']] as const }
  const send = async (head: Buffer): Promise<{ connection: RawConnection; first: number }> => {
    const connection = await RawConnection.open(gateway.endpoint)
    await connection.send(head)
    return { connection, first: (await connection.response()).status }
  }
  const good = upload(gateway, `/${Bucket}/continue`, 'hash', data, expecting)
  const { connection, first } = await send(good.head)
  t.equal(first, 100)
  await connection.send(good.body)
  t.equal((await connection.response()).status, 200)
  connection.close()
  const forged = upload({ ...gateway, secretAccessKey: 'wrong' }, `/${Bucket}/continue`, 'hash', data, expecting)
  const refused = await send(forged.head)
  t.equal(refused.first, 403)
  refused.connection.close()
  const large = headOf(headerSigned(
    gateway,
    {
      method: 'PUT',
      target: `/${Bucket}/large`,
      headers: [['Expect', '100-continue'], ['Content-Length', String(6 * 1024 ** 3)]]
    },
    '',
    { payloadHash: 'UNSIGNED-PAYLOAD' }
  ))
  const tooLarge = await send(large)
  t.equal(tooLarge.first, 400, 'EntityTooLarge is told before a byte of the body')
  tooLarge.connection.close()
})

void t.test('sizes that are only announced cost nothing', async (t) => {
  const { store, gateway } = await rig(t)
  const before = process.memoryUsage().arrayBuffers
  const tebi = String(5 * 1024 ** 4)
  const cases: readonly (readonly [
    name: string,
    draft: { method: string; target: string; headers: readonly (readonly [string, string])[] },
    hash: string,
    code: string
  ])[] = [
    ['PUT of 5 TiB', { method: 'PUT', target: `/${Bucket}/huge`, headers: [['Content-Length', tebi]] }, 'UNSIGNED-PAYLOAD', 'EntityTooLarge'],
    [
      'chunks of 5 TiB',
      { method: 'PUT', target: `/${Bucket}/huge`, headers: [['Content-Length', tebi], ['x-amz-decoded-content-length', tebi]] },
      'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      'EntityTooLarge'
    ],
    [
      '5 TiB in few chunks',
      { method: 'PUT', target: `/${Bucket}/huge`, headers: [['Content-Length', '100'], ['x-amz-decoded-content-length', tebi]] },
      'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      'EntityTooLarge'
    ],
    ['XML of 5 TiB', { method: 'POST', target: `/${Bucket}?delete`, headers: [['Content-Length', tebi]] }, 'UNSIGNED-PAYLOAD', 'MaxMessageLengthExceeded'],
    [
      'policy of 1 GiB',
      { method: 'PUT', target: `/${Bucket}?policy`, headers: [['Content-Length', String(1024 ** 3)]] },
      'UNSIGNED-PAYLOAD',
      'MaxMessageLengthExceeded'
    ],
    [
      'part list of 5 MiB',
      { method: 'POST', target: `/${Bucket}/huge?uploadId=x`, headers: [['Content-Length', String(5 * 1024 ** 2)]] },
      'UNSIGNED-PAYLOAD',
      'MaxMessageLengthExceeded'
    ],
    [
      'copy with a body of 1 GiB',
      { method: 'PUT', target: `/${Bucket}/huge`, headers: [['x-amz-copy-source', `/${Bucket}/x`], ['Content-Length', String(1024 ** 3)]] },
      'UNSIGNED-PAYLOAD',
      'MaxMessageLengthExceeded'
    ]
  ]
  store.requests.length = 0
  for (const [name, draft, payloadHash, code] of cases) {
    const connection = await RawConnection.open(gateway.endpoint)
    await connection.send(headOf(headerSigned(gateway, draft, '', { payloadHash })))
    const answer = await connection.response()
    t.match([answer.status, /<Code>([^<]*)/.exec(answer.body.toString())?.[1]], [400, code], name)
    connection.close()
  }
  t.same(store.requests.filter(({ bucket }) => bucket !== 'sealgate-state').map(({ method, path }) => `${method} ${path}`), [])
  t.ok(process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024)
})

void t.test('documents of the store that are too large are not taken into memory', async (t) => {
  const { store, gateway } = await rig(t)
  const huge = Buffer.alloc(40 * 1024 * 1024, ' ')
  for (
    const [target, method, status] of [[`/${Bucket}?list-type=2`, 'GET', 200], [`/${Bucket}?delete`, 'POST', 200], [`/${Bucket}/x`, 'GET', 404], [
      `/${Bucket}?acl`,
      'GET',
      500
    ]] as const
  ) {
    store.rules.add({ when: { bucket: Bucket }, fault: { type: 'answer', status, headers: [['Content-Type', 'application/xml']], body: huge } })
    const body = method === 'POST' ? '<Delete><Object><Key>x</Key></Object></Delete>' : ''
    const connection = await RawConnection.open(gateway.endpoint)
    const received = (): number => gateway.metric('sealgate_upstream_body_bytes_total{direction="received",upstream="default"}')
    const before = received()
    await connection.send(Buffer.concat([headOf(headerSigned(gateway, { method, target, headers: [] }, body)), Buffer.from(body)]))
    const answer = await connection.response({ timeout: 30_000 })
    connection.close()
    store.rules.clear()
    t.equal(answer.status, 502, `${method} ${target}`)
    t.ok(await idle(gateway))
    t.ok(received() - before > 0 && received() - before < huge.length / 2, 'the connection was cut')
  }
})

void t.test('regression: a connection that has begun to end is closed when it must be broken', async (t) => {
  const server = createServer({ allowHalfOpen: true })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  for (let i = 0; i < 10; i += 1) {
    const client = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
    client.on('error', () => undefined)
    const [socket] = await once(server, 'connection') as [Socket]
    socket.on('error', (error) => t.fail(error.message))
    const closed = once(socket, 'close')
    socket.end('x')
    breakConnection(socket)
    t.ok(await Promise.race([closed.then(() => true), sleep(2000, false)]))
    client.destroy()
  }
  server.close()
})
