import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectAclCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import t from 'tap'
import { startTestStore } from './hostile.ts'
import { RawConnection } from './raw-client.ts'
import type { RawResponse } from './raw-client.ts'
import type { Fault } from './faults.ts'

const body = Buffer.from('0123456789')

await t.test('a hostile store', async (t) => {
  const store = await startTestStore({ buckets: ['b'] })
  const client = new S3Client({ endpoint: store.endpoint, region: store.region, credentials: store, forcePathStyle: true, maxAttempts: 1 })
  t.teardown(async () => {
    client.destroy()
    await store.close()
  })
  const [object, other] = [store.object('b', 'k'), store.object('b', 'other')]
  await client.send(new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'older', Metadata: { is: 'older' } }))
  await client.send(new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: body, Metadata: { is: 'own' } }))
  await other.set({ body: Buffer.from('another'), metadata: { is: 'other' } })
  await client.send(new PutObjectAclCommand({ Bucket: 'b', Key: 'k', ACL: 'public-read' }))

  /** An anonymous GET of the public object, as bytes on a socket. `none`: the connection ended without a whole head. */
  const get = async (headers = ''): Promise<RawResponse | 'none'> => {
    const connection = await RawConnection.open(store.endpoint)
    try {
      await connection.send(`GET /b/k HTTP/1.1\r\nHost: x\r\n${headers}\r\n`)
      return await connection.response({ timeout: 300 }).catch(() => 'none')
    } finally {
      connection.close()
    }
  }
  const during = async (fault: Fault, headers?: string): Promise<RawResponse> => {
    const rule = store.rules.add({ fault })
    const answer = await get(headers)
    t.equal(rule.fired, 1, fault.type)
    rule.remove()
    if (answer === 'none') throw new Error(`${fault.type}: no answer`)
    return answer
  }

  await t.test('it is honest without rules, and records', async (t) => {
    store.requests.length = 0
    const answer = await get('Range: bytes=2-3\r\n')
    t.match(answer, { status: 206, headers: { 'content-length': '2', 'x-amz-meta-is': 'own' }, end: 'open' })
    t.match(store.requests, [{ method: 'GET', bucket: 'b', key: 'k', path: '/b/k', status: 206, responseLength: 2, fault: null, bodyLength: 0 }])
    await client.send(new PutObjectCommand({ Bucket: 'b', Key: 'recorded', Body: body }))
    t.match(store.requests[1], { bodyLength: 10, body, complete: true })
    t.ok(store.traffic.received > 100 && store.traffic.sent > 100 && store.traffic.connections >= 2)
    t.same(store.keys('b'), ['k', 'other', 'recorded'])
  })

  await t.test('rules fire when they should', async (t) => {
    const rule = store.rules.add({ when: { method: 'GET', key: /^k$/ }, nth: 2, times: 2, fault: { type: 'answer', status: 503 } })
    const statuses: number[] = []
    for (let i = 0; i < 5; i += 1) {
      statuses.push(await client.send(new HeadObjectCommand({ Bucket: 'b', Key: 'k' })).then(() => 200), ((await get()) as RawResponse).status)
    }
    t.same(statuses, [200, 200, 200, 503, 200, 503, 200, 200, 200, 200])
    t.same([rule.matched, rule.fired], [5, 2])
    rule.remove()
  })

  await t.test('answers that are not the store\'s', async (t) => {
    t.match(await during({ type: 'error', status: 500, code: 'InternalError' }), { status: 500 })
    t.match((await during({ type: 'error', status: 503, code: 'SlowDown' })).body.toString(), '<Code>SlowDown</Code>')
    t.match(await during({ type: 'redirect', status: 307, location: 'http://evil/' }), { status: 307, headers: { location: 'http://evil/' } })
    t.match(await during({ type: 'answer', status: 200, headers: [['x', 'y']], body: 'z' }), { status: 200, headers: { x: 'y' }, body: Buffer.from('z') })
    t.match(await during({ type: 'lost-answer', status: 500, code: 'InternalError' }), { status: 500 })
    t.match(await during({ type: 'delay', milliseconds: 5 }), { status: 200 })
  })

  await t.test('answers that are bent', async (t) => {
    t.equal((await during({ type: 'flip', offset: -1, bit: 0 })).body.toString(), '0123456788')
    t.not((await during({ type: 'flip', offset: 'random' })).body.toString(), body.toString())
    t.match(await during({ type: 'headers', set: { 'ETag': '"x"', 'x-amz-meta-is': null }, add: [['x-amz-meta-a', '1']] }), {
      headers: { 'etag': '"x"', 'x-amz-meta-is': undefined, 'x-amz-meta-a': '1' }
    })
    t.match(await during({ type: 'headers', set: { 'Content-Range': 'bytes 0-1/10' } }, 'Range: bytes=2-3\r\n'), {
      body: Buffer.from('23'),
      headers: { 'content-range': 'bytes 0-1/10' }
    })
    t.equal((await during({ type: 'shift', by: 1 }, 'Range: bytes=2-3\r\n')).body.toString(), '34')
    t.match(await during({ type: 'truncate', bytes: 4 }), { body: Buffer.from('0123'), headers: { 'content-length': '10' }, end: 'fin' })
    t.match(await during({ type: 'content-length', value: 12 }), { body, headers: { 'content-length': '12' }, end: 'fin' })
    t.match(await during({ type: 'close-delimited', bytes: 9 }), { body: body.subarray(0, 9), headers: { 'content-length': undefined }, end: 'fin' })
    t.match(await during({ type: 'extra', bytes: Buffer.from('!'), where: 'in-body' }), { body: Buffer.from('0123456789!') })
    const changed = await during({ type: 'transform', change: (answer) => ({ ...answer, status: 299 }) })
    t.equal(changed.status, 299)
    const rule = store.rules.add({ fault: { type: 'extra', bytes: Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'), where: 'after-response' } })
    const connection = await RawConnection.open(store.endpoint)
    await connection.send('GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n')
    await connection.response()
    t.equal((await connection.response()).body.length, 0, 'a second response nobody asked for')
    connection.close()
    rule.remove()
  })

  await t.test('other objects, older versions', async (t) => {
    const said = ({ headers, body: found }: RawResponse) => `${headers['x-amz-meta-is'] ?? ''}: ${found.toString()}`
    t.equal(said(await during({ type: 'substitute', key: 'other', what: 'body' })), 'own: another')
    t.equal(said(await during({ type: 'substitute', key: 'other', what: 'metadata' })), 'other: 0123456789')
    t.equal(said(await during({ type: 'substitute', key: 'other', what: 'both' })), 'other: another')
    t.equal(said(await during({ type: 'substitute', key: 'other', what: 'body' }, 'Range: bytes=1-2\r\n')), 'own: no')
    t.equal(said(await during({ type: 'older', what: 'body' })), 'own: 0123456789', 'one back is before the ACL was set')
    t.equal(said(await during({ type: 'older', back: 2, what: 'both' })), 'older: older')
    t.equal((await object.body(object.history[0])).toString(), 'older')
  })

  await t.test('connections that break or stop', async (t) => {
    for (const at of ['before', 'after-request', 'mid-head'] as const) {
      for (const type of ['reset', 'stall'] as const) {
        const rule = store.rules.add({ fault: { type, at } })
        t.equal(await get(), 'none', `${type} ${at}`)
        rule.remove()
      }
    }
    const rule = store.rules.add({ fault: { type: 'reset', at: 'mid-body', bytes: 4 } })
    t.match(await get(), { body: Buffer.from('0123'), end: 'reset' })
    rule.remove()
    const garbage = store.rules.add({ fault: { type: 'garbage' } })
    t.equal(await get(), 'none')
    garbage.remove()

    const upload = store.rules.add({ when: { method: 'PUT' }, fault: { type: 'mid-upload', bytes: 1, then: 'reset' } })
    await t.rejects(client.send(new PutObjectCommand({ Bucket: 'b', Key: 'never', Body: body })))
    t.notOk(store.object('b', 'never').exists)
    upload.remove()

    store.rules.add({ fault: { type: 'refuse' } })
    t.equal(await get(), 'none')
    await t.rejects(get(), { code: 'ECONNREFUSED' })
    store.rules.clear()
    await store.listen()
    t.match(await get(), { status: 200 })
  })

  await t.test('listings that lie', async (t) => {
    const keys = async (change: Extract<Fault, { type: 'rows' }>['change'], index?: number) => {
      store.rules.add({ when: { query: { 'list-type': '2' } }, fault: { type: 'rows', element: 'Contents', change, ...index === undefined ? {} : { index } } })
      return (await client.send(new ListObjectsV2Command({ Bucket: 'b' }))).Contents?.map(({ Key }) => Key)
    }
    t.same(await keys('drop', 0), ['other', 'recorded'])
    t.same(await keys('repeat', -1), ['k', 'other', 'recorded', 'recorded'])
    t.same(await keys('reverse'), ['recorded', 'other', 'k'])
    t.same(await keys((row) => row.replace('other', 'forged'), 1), ['k', 'forged', 'recorded'])
  })

  await t.test('objects changed behind everybody\'s back', async (t) => {
    const { etag } = object.version
    await object.set({ body: Buffer.from('0123456780'), etag: 'keep', metadata: { is: 'tampered' } })
    const got = await client.send(new GetObjectCommand({ Bucket: 'b', Key: 'k' }))
    t.match(got, { ETag: `"${etag}"`, Metadata: { is: 'tampered' } })
    t.equal(await got.Body!.transformToString(), '0123456780')
    await object.remove()
    t.match(await get(), { status: 403 })
  })
})

await t.test('the same seed gives the same store', async (t) => {
  const [a, b, c] = [await startTestStore({ seed: 7 }), await startTestStore({ seed: 7 }), await startTestStore({ seed: 8 })]
  const sequence = [a, b, c].map((store) => Array.from({ length: 5 }, () => store.random()))
  t.same(sequence[0], sequence[1])
  t.not(sequence[0]![0], sequence[2]![0])
  await Promise.all([a.close(), b.close(), c.close()])
})
